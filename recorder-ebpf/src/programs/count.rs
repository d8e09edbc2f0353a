//! What became of each run, by program and CPU.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use kcap_recorder_ebpf::{Counters, PROGRAM_COUNT_MAX, Program};

#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(PROGRAM_COUNT_MAX, 0);

/// The fate of one run.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    Filtered,
    Stored,
    RingFull,
    CopyFailed,
    StateFull,
    Overload,
}

/// Runs `body` and counts the run and its fate, once each.
#[inline(always)]
pub(super) fn counted(program: Program, body: impl FnOnce() -> Fate) {
    let Some(counters) = COUNTERS.get_ptr_mut(program as u32) else { return };
    // SAFETY: the map's value outlives the program, and is only ever added to atomically.
    unsafe {
        add(&raw mut (*counters).seen);
        match body() {
            Fate::Filtered => add(&raw mut (*counters).filtered),
            Fate::Stored => add(&raw mut (*counters).stored),
            Fate::RingFull => add(&raw mut (*counters).lost_ring_full),
            Fate::CopyFailed => add(&raw mut (*counters).lost_copy_failed),
            Fate::StateFull => add(&raw mut (*counters).lost_state_full),
            Fate::Overload => add(&raw mut (*counters).lost_overload),
        }
    }
}

/// Counts a run that ended where it began: seen and filtered in one addition.
#[inline(always)]
pub(super) fn count_unwanted(program: Program) {
    let Some(counters) = COUNTERS.get_ptr_mut(program as u32) else { return };
    // SAFETY: as above.
    unsafe { add(&raw mut (*counters).unwanted) };
}

/// The plain atomic addition that every kernel has; `core::sync::atomic` has none for this target.
#[inline(always)]
unsafe fn add(counter: *mut u64) {
    // SAFETY: the caller's pointer is valid and aligned.
    unsafe {
        core::arch::asm!("lock *(u64 *)({counter} + 0) += {one}", counter = in(reg) counter, one = in(reg) 1u64);
    }
}
