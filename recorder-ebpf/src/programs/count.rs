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
    unsafe { add(&raw mut (*counters).seen, 1) };
    let fate = body();
    // SAFETY: as above.
    unsafe { add(word_of(counters, fate), 1) };
}

/// The same for packets, most of which are stored: seen and stored are then one addition.
#[inline(always)]
pub(super) fn counted_packet(program: Program, body: impl FnOnce() -> Fate) {
    let fate = body();
    let Some(counters) = COUNTERS.get_ptr_mut(program as u32) else { return };
    // SAFETY: as above.
    unsafe {
        if matches!(fate, Fate::Stored) {
            add(&raw mut (*counters).kept, 1);
        } else {
            add(&raw mut (*counters).seen, 1);
            add(word_of(counters, fate), 1);
        }
    }
}

/// Where runs of this fate are counted.
///
/// # Safety
/// `counters` points to some.
#[inline(always)]
unsafe fn word_of(counters: *mut Counters, fate: Fate) -> *mut u64 {
    // SAFETY: the caller's promise.
    unsafe {
        match fate {
            Fate::Filtered => &raw mut (*counters).filtered,
            Fate::Stored => &raw mut (*counters).stored,
            Fate::RingFull => &raw mut (*counters).lost_ring_full,
            Fate::CopyFailed => &raw mut (*counters).lost_copy_failed,
            Fate::StateFull => &raw mut (*counters).lost_state_full,
            Fate::Overload => &raw mut (*counters).lost_overload,
        }
    }
}

/// Counts a run that ended where it began: seen and filtered in one addition.
#[inline(always)]
pub(super) fn count_unwanted(program: Program) {
    let Some(counters) = COUNTERS.get_ptr_mut(program as u32) else { return };
    // SAFETY: as above.
    unsafe { add(&raw mut (*counters).unwanted, 1) };
}

/// Adds in one instruction, the plain one that every kernel has; `core::sync::atomic` has none for this target.
///
/// That it may touch any memory, for all that the compiler knows, keeps the accesses between two of them where they are.
///
/// # Safety
/// The word is valid and aligned.
#[inline(always)]
pub(super) unsafe fn add(word: *mut u64, amount: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!("lock *(u64 *)({word} + 0) += {amount}", word = in(reg) word, amount = in(reg) amount);
    }
}
