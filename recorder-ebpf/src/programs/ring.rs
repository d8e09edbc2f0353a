//! The rings, and when their reader is woken.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_ringbuf_discard, bpf_ringbuf_reserve, bpf_ringbuf_submit},
    macros::map,
    maps::RingBuf,
};

use super::settings::setting;

/// Sizes here only say that there is a size: the loader sets them.
#[map]
pub(super) static PACKETS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);
/// Short packets go here first: it is small enough to stay in a processor's cache, where a large ring is cold memory
/// at every record.
#[map]
pub(super) static SHORT_PACKETS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);
#[map]
pub(super) static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// The reader is woken while the data in the ring lie between the threshold and this much above it: wide enough not
/// to be jumped over by a large record or by several processors, narrow enough to wake it once and not for each record.
const WAKEUP_WINDOW_LEN: u64 = 256 << 10;

/// Short packets that come while these bits of the clock are zero look at how full the ring is: for two microseconds of
/// each sixteen. A clock that is coarser than that changes them too.
const WAKEUP_LOOK_MASK_NS: u64 = 7 << 11;

/// Reserves `LEN` bytes. `None` when the ring is full.
#[inline(always)]
pub(super) fn reserve<const LEN: u64>(ring: &RingBuf) -> Option<*mut u8> {
    // SAFETY: the map is a ring, and `LEN` a constant as the verifier wants it.
    let record = unsafe { bpf_ringbuf_reserve(map_pointer(ring), LEN, 0) }.cast::<u8>();
    if record.is_null() { None } else { Some(record) }
}

/// Hands a record of [`PACKETS`] over.
#[inline(always)]
pub(super) fn submit_packet(record: *mut u8) {
    let flags = wakeup(&PACKETS, setting!(packet_wakeup_len));
    // SAFETY: `record` was reserved and not yet given back.
    unsafe { bpf_ringbuf_submit(record.cast(), flags) };
}

/// Hands a record of [`SHORT_PACKETS`] over, which was made at `time_ns`.
#[inline(always)]
pub(super) fn submit_short_packet(record: *mut u8, time_ns: u64) {
    // Thousands of these fit into the window: that some of them look is enough.
    let flags = if time_ns & WAKEUP_LOOK_MASK_NS == 0 {
        wakeup(&SHORT_PACKETS, setting!(short_packet_wakeup_len))
    } else {
        u64::from(BPF_RB_NO_WAKEUP)
    };
    // SAFETY: `record` was reserved and not yet given back.
    unsafe { bpf_ringbuf_submit(record.cast(), flags) };
}

/// Hands an event record over.
#[inline(always)]
pub(super) fn submit_event(record: *mut u8) {
    // SAFETY: as above.
    unsafe { bpf_ringbuf_submit(record.cast(), event_wakeup()) };
}

/// Whether handing over an event wakes the reader.
#[inline(always)]
pub(super) fn event_wakeup() -> u64 {
    wakeup(&EVENTS, setting!(event_wakeup_len))
}

/// Gives a record back; the reader skips it.
#[inline(always)]
pub(super) fn discard(record: *mut u8) {
    // SAFETY: as above.
    unsafe { bpf_ringbuf_discard(record.cast(), u64::from(BPF_RB_NO_WAKEUP)) };
}

/// A wakeup costs more than a record: the reader looks every few hundredths of a second by itself, and is only woken when so
/// much has come in between that waiting might fill the ring, and again at each multiple of that. `threshold_len` is a power
/// of two.
#[inline(always)]
fn wakeup(ring: &RingBuf, threshold_len: u32) -> u64 {
    let (filled_len, threshold_len) = (ring.query(u64::from(BPF_RB_AVAIL_DATA)), u64::from(threshold_len));
    let is_due = filled_len >= threshold_len && filled_len & (threshold_len - 1) < WAKEUP_WINDOW_LEN;
    u64::from(if is_due { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP })
}

#[inline(always)]
fn map_pointer(ring: &RingBuf) -> *mut core::ffi::c_void {
    core::ptr::from_ref(ring).cast_mut().cast()
}
