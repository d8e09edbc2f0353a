//! An allocator that knows how much memory is in use.
#![allow(dead_code, unreachable_pub)] // each user needs a part

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what lies between it and the system. With a limit it ends the process where that is exceeded.
pub struct Counting {
    live: AtomicUsize,
    peak: AtomicUsize,
    limit: usize,
}

impl Counting {
    pub const fn new() -> Self {
        Self::with_limit(usize::MAX)
    }

    pub const fn with_limit(limit: usize) -> Self {
        Self { live: AtomicUsize::new(0), peak: AtomicUsize::new(0), limit }
    }

    /// Bytes in use now.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Most bytes that were in use at once since the last [`Self::forget_peak`].
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Begins to look for the peak anew.
    pub fn forget_peak(&self) {
        self.peak.store(self.live(), Ordering::Relaxed);
    }

    fn grew(&self, len: usize) {
        let live = self.live.fetch_add(len, Ordering::Relaxed) + len;
        self.peak.fetch_max(live, Ordering::Relaxed);
        if live > self.limit {
            // Unwinding would allocate.
            eprintln!("{live} bytes are in use, and {} are allowed", self.limit);
            std::process::abort();
        }
    }

    fn shrank(&self, len: usize) {
        self.live.fetch_sub(len, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it came; the counters don't touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.grew(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is that of the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.grew(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.shrank(layout.size());
        // SAFETY: as above; the block came from the system.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        self.grew(new_size);
        self.shrank(layout.size());
        // SAFETY: as above; the block came from the system.
        unsafe { System.realloc(block, layout, new_size) }
    }
}
