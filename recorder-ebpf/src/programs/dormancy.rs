//! Calling user space when somebody may be wanted: while nobody is, the programs that see packets aren't attached.

use aya_ebpf::{
    bindings::BPF_RB_FORCE_WAKEUP,
    helpers::{bpf_ktime_get_boot_ns, bpf_ringbuf_submit, generated::bpf_probe_read_kernel},
    macros::map,
    maps::{Array, RingBuf},
};
use core::ptr;
use kcap_recorder_ebpf::{
    ALERTNESS_ASLEEP, ALERTNESS_AWAKE, ALERTNESS_WAITED_FOR, ProcessKey, WAIT_NS_MAX, WakeCall,
};

use super::{count::add, ring::reserve};

/// `ALERTNESS_*`
#[map]
static ALERTNESS: Array<u32> = Array::with_max_entries(1, 0);
/// A [`WakeCall`] for each process that may be wanted while asleep. When there is no room, user space has been called before.
/// As long as the largest page.
#[map]
static WAKE: RingBuf = RingBuf::with_byte_size(1 << 16, 0);
/// Times that a socket was made, bound or connected by a process that may be wanted, before its packets were seen.
#[map]
static EARLY: Array<u64> = Array::with_max_entries(1, 0);

/// Copied onto itself to let time pass, some microseconds each time.
const PAUSE_LEN: usize = 128 << 10;
#[map]
static PAUSE: Array<[u8; PAUSE_LEN]> = Array::with_max_entries(1, 0);
/// Times that are enough for [`WAIT_NS_MAX`]. The verifier follows each of them, and compares it with all before.
const PAUSE_COUNT_MAX: u32 = 1 << 9;

/// Whether packets are seen.
#[inline(always)]
pub(super) fn is_awake() -> bool {
    alertness() == ALERTNESS_AWAKE
}

/// Whether packets are not seen because nobody is wanted, nor has anybody who may be used a socket since: nobody was told of
/// one.
#[inline(always)]
pub(super) fn is_fast_asleep() -> bool {
    // SAFETY: as in `alertness`.
    let has_early = || EARLY.get_ptr(0).is_some_and(|count| unsafe { ptr::read_volatile(count) } != 0);
    matches!(alertness(), ALERTNESS_ASLEEP | ALERTNESS_WAITED_FOR) && !has_early()
}

/// A process may be wanted: it goes on when its packets are seen, unless that takes too long.
///
/// Only where the current task holds no lock that attaching takes.
#[inline(always)]
pub(super) fn wake(process: &ProcessKey) {
    call(process);
    wait();
}

/// A process may be wanted.
#[inline(always)]
pub(super) fn call(process: &ProcessKey) {
    let Some(record) = reserve::<{ size_of::<WakeCall>() as u64 }>(&WAKE) else { return };
    // SAFETY: the record is as large as the call, and not yet given back; the helper has no demands.
    unsafe {
        let time_ns = bpf_ktime_get_boot_ns();
        record.cast::<WakeCall>().write(WakeCall { time_ns, pid: process.pid, reserved: 0 });
        bpf_ringbuf_submit(record.cast(), u64::from(BPF_RB_FORCE_WAKEUP));
    }
}

/// A process that may be wanted makes a socket, or uses it with an address.
#[inline(always)]
pub(super) fn count_early() {
    if !is_awake()
        && let Some(count) = EARLY.get_ptr_mut(0)
    {
        // SAFETY: the map's value outlives the program.
        unsafe { add(count, 1) };
    }
}

#[inline(always)]
fn alertness() -> u32 {
    // SAFETY: the map's value outlives the program; a word is read at once. It can't be missing.
    ALERTNESS.get_ptr(0).map_or(ALERTNESS_AWAKE, |word| unsafe { ptr::read_volatile(word) })
}

/// Lets time pass while user space attaches, on another processor. Programs can't sleep here.
#[inline(never)]
fn wait() {
    if alertness() != ALERTNESS_WAITED_FOR {
        return;
    }
    let Some(pause) = PAUSE.get_ptr_mut(0) else { return };
    // SAFETY: a helper without demands.
    let begun_ns = unsafe { bpf_ktime_get_boot_ns() };
    for _ in 0..PAUSE_COUNT_MAX {
        // SAFETY: the helper checks the address that it reads, and the target is as long; nobody cares about the bytes.
        let waited_ns = unsafe {
            bpf_probe_read_kernel(pause.cast(), PAUSE_LEN as u32, pause.cast_const().cast());
            bpf_ktime_get_boot_ns() - begun_ns
        };
        if alertness() != ALERTNESS_WAITED_FOR || waited_ns > WAIT_NS_MAX {
            return;
        }
    }
}
