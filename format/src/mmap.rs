//! The one place with `unsafe`: a file as bytes.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Bytes that Linux may map around one that is touched, while it has them in memory: a whole folio of its cache (`finish_fault`
/// in mm/memory.c, Linux 6.18), or `fault_around_bytes` before. Those behind a block are of use to the next one; those before
/// it would stay mapped.
const MAPPED_AROUND_LEN: usize = 2 << 20;

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
    /// Adds a block; gives the range that is to be given back, when it is time.
    fn add(&mut self, block: Range<usize>) -> Option<Range<usize>> {
        self.len += block.len();
        let begin = block.start.saturating_sub(MAPPED_AROUND_LEN);
        let range = self.range.get_or_insert(begin..block.end);
        *range = range.start.min(begin)..range.end.max(block.end);
        if self.len < RELEASE_LEN {
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
    /// What the kernel mapped before it goes with it. It may go later; after the last block of a file that is read to its end,
    /// the whole file does.
    pub(crate) fn release(&self, block: Range<usize>, is_last: bool) {
        let Self::Mapped { map, read } = self else { return };
        let due = read.lock().unwrap_or_else(PoisonError::into_inner).add(block);
        let due = if is_last { Some(0..map.len()) } else { due };
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
        assert_eq!(read.add(20 * half..21 * half), None);
        assert_eq!(read.add(4 * half..5 * half), Some(4 * half - MAPPED_AROUND_LEN..21 * half));
        assert_eq!(read.add(0..half), None, "it begins anew");
        assert_eq!(read.add(half..2 * half), Some(0..2 * half), "there is nothing before the first byte");
    }
}
