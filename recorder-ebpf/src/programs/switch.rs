//! How much is captured of packets, which user space changes while the programs run.

use aya_ebpf::{macros::map, maps::Array};

#[map]
static CAPTURE: Array<u32> = Array::with_max_entries(1, 0);

/// The word as user space set it: `CAPTURE_*`, and the count of its changes.
#[inline(always)]
pub(super) fn capture_switch() -> u32 {
    // SAFETY: the map's value outlives the program; a word is read at once. It can't be missing.
    CAPTURE.get_ptr(0).map_or(0, |word| unsafe { core::ptr::read_volatile(word) })
}
