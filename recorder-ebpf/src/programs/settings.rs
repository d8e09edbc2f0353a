//! The global that user space fills before the programs are loaded.

use core::cell::UnsafeCell;

use kcap_recorder_ebpf::Settings;

/// Wrapper that keeps the compiler from taking the zeroes for the values.
#[repr(transparent)]
pub(super) struct Constant(UnsafeCell<Settings>);

// SAFETY: the kernel freezes the map behind it before any program runs: it is never written.
unsafe impl Sync for Constant {}

/// See [`Settings`].
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
pub(super) static SETTINGS: Constant = Constant(UnsafeCell::new(NOTHING));

// SAFETY: all fields are integers.
const NOTHING: Settings = unsafe { core::mem::zeroed() };

/// The word at `offset` of [`SETTINGS`], as the loader left it.
#[inline(always)]
pub(super) fn word_at(offset: usize) -> u32 {
    // SAFETY: `setting!` only makes offsets of fields, all of which are words; volatile keeps the read for the verifier
    // to resolve.
    unsafe { core::ptr::read_volatile(SETTINGS.0.get().cast::<u8>().add(offset).cast::<u32>()) }
}

/// One field of [`Settings`].
macro_rules! setting {
    ($($field:ident).+) => {
        crate::programs::settings::word_at(core::mem::offset_of!(kcap_recorder_ebpf::Settings, $($field).+))
    };
}
pub(super) use setting;
