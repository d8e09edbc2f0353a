//! Where long records are put together, before as much of them as there is goes into the ring.

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, bpf_ringbuf_output},
    macros::map,
    maps::Array,
};
use kcap_recorder_ebpf::{ARGUMENTS_LEN_MAX, ENVIRONMENT_LEN_MAX, ExecEvent, FILENAME_LEN_MAX, PATH_LEN_MAX};

use super::ring::{EVENTS, event_wakeup};

/// Room for the file name and four paths.
pub(super) const NAMES_LEN: usize = 8192;
/// Longest name in a path, with its NUL (`NAME_MAX`): the last one of a path may reach beyond its end.
pub(super) const NAME_LEN: u32 = 256;

const _: () = assert!(FILENAME_LEN_MAX + 4 * PATH_LEN_MAX <= NAMES_LEN as u32);

/// Room for what follows the event in its record.
pub(super) const DATA_LEN: usize = 64 << 10;

const _: () = assert!(NAMES_LEN + (ARGUMENTS_LEN_MAX + ENVIRONMENT_LEN_MAX + NAME_LEN) as usize <= DATA_LEN);

/// The longest record.
#[repr(C)]
pub(super) struct Scratch {
    pub(super) event: ExecEvent,
    pub(super) data: [u8; DATA_LEN],
}

/// One for each processor; user space sets how many there are. Programs that use it can't be interrupted by each other
/// on one processor: tracepoints run with preemption disabled, and all of these in process context.
#[map]
static SCRATCH: Array<Scratch> = Array::with_max_entries(1, 0);

/// This processor's.
#[inline(always)]
pub(super) fn scratch() -> Option<*mut Scratch> {
    // SAFETY: no arguments.
    SCRATCH.get_ptr_mut(unsafe { bpf_get_smp_processor_id() })
}

/// Puts the first `len` bytes at `record` into the ring of events. False when it has no room.
#[inline(always)]
pub(super) fn output(record: *mut u8, len: u64) -> bool {
    let ring = core::ptr::from_ref(&EVENTS).cast_mut().cast();
    // SAFETY: the verifier checks that the record has these bytes.
    unsafe { bpf_ringbuf_output(ring, record.cast(), len, event_wakeup()) == 0 }
}
