//! The one place with `unsafe`: a file as bytes.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Bytes that Linux maps around one that is touched, while it has them in memory (`fault_around_bytes` in mm/memory.c). Those
/// behind a block are of use to the next one; those before it would stay mapped, a quarter of all that is read.
const FAULT_AROUND_LEN: usize = 64 << 10;

/// Bytes of blocks that are given back at once: each time interrupts all processors that the process runs on.
const RELEASE_LEN: usize = 2 << 20;

/// The bytes of a segment.
#[derive(Debug)]
pub(crate) enum SegmentBytes {
    /// Those that a file had when it was mapped. What is appended later is not seen.
    Mapped { map: memmap2::Mmap, read: Mutex<Read> },
    /// In memory.
    Owned(Vec<u8>),
}

/// What was read of a map and not yet given back.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// In all blocks.
    len: usize,
    /// From the first of them to the last, whichever order they were read in.
    range: Option<Range<usize>>,
}

impl Read {
    /// Adds a block; gives the range that is to be given back, when it is time: for the last one it is.
    fn add(&mut self, block: Range<usize>, is_last: bool) -> Option<Range<usize>> {
        self.len += block.len();
        let begin = block.start.saturating_sub(FAULT_AROUND_LEN);
        let range = self.range.get_or_insert(begin..block.end);
        *range = range.start.min(begin)..range.end.max(block.end);
        if self.len < RELEASE_LEN && !is_last {
            return None;
        }
        self.len = 0;
        self.range.take()
    }
}

impl SegmentBytes {
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        // SAFETY: the map is only sound while nobody changes the mapped bytes. Segments are append-only: the recorder
        // adds bytes behind the mapped length and never changes or cuts off what is there, and retention unlinks whole
        // files, which keeps the mapped pages. Someone who cuts the file off meanwhile ends this process with SIGBUS;
        // someone who writes into it changes bytes that are checked by CRC and parsed without trust in them.
        unsafe { memmap2::Mmap::map(file) }.map(|map| Self::Mapped { map, read: Mutex::default() })
    }

    /// Says that a block will not be needed soon: a process that reads large segments would otherwise be as large as all it
    /// has read. Its bytes stay in the page cache, and come back from there when they are asked for.
    ///
    /// What the kernel mapped before it goes with it. Unless it is the last one that will be read, it may go later.
    pub(crate) fn release(&self, block: Range<usize>, is_last: bool) {
        let Self::Mapped { map, read } = self else { return };
        let due = read.lock().unwrap_or_else(PoisonError::into_inner).add(block, is_last);
        #[cfg(unix)]
        if let Some(range) = due {
            // SAFETY: the map is shared, of a file, and never written to: its pages have the file's bytes whenever they are
            // touched again, so that references into them stay as valid as they are.
            let released = unsafe {
                map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len())
            };
            // Where it isn't possible, the process stays large.
            released.ok();
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped { map, .. } => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_given_back_many_at_once_with_what_lies_between_them() {
        let mut read = Read::default();
        let half = RELEASE_LEN / 2;
        assert_eq!(read.add(10 * half..11 * half, false), None);
        assert_eq!(read.add(4 * half..5 * half, false), Some(4 * half - FAULT_AROUND_LEN..11 * half));
        assert_eq!(read.add(0..half, false), None, "it begins anew");
        assert_eq!(
            read.add(half..2 * half, false),
            Some(0..2 * half),
            "there is nothing before the first byte"
        );
        assert_eq!(read.add(8 * half..9 * half, true), Some(8 * half - FAULT_AROUND_LEN..9 * half));
    }
}
