//! The one place with `unsafe`: a file as bytes.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

/// Bytes that Linux maps around one that is touched, while it has them in memory (`fault_around_bytes` in mm/memory.c). Those
/// behind a block are of use to the next one; those before it would stay mapped, a quarter of all that is read.
#[cfg(unix)]
const FAULT_AROUND_LEN: usize = 64 << 10;

/// The bytes of a segment.
#[derive(Debug)]
pub(crate) enum SegmentBytes {
    /// Those that a file had when it was mapped. What is appended later is not seen.
    Mapped(memmap2::Mmap),
    /// In memory.
    Owned(Vec<u8>),
}

impl SegmentBytes {
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        // SAFETY: the map is only sound while nobody changes the mapped bytes. Segments are append-only: the recorder
        // adds bytes behind the mapped length and never changes or cuts off what is there, and retention unlinks whole
        // files, which keeps the mapped pages. Someone who cuts the file off meanwhile ends this process with SIGBUS;
        // someone who writes into it changes bytes that are checked by CRC and parsed without trust in them.
        unsafe { memmap2::Mmap::map(file) }.map(Self::Mapped)
    }

    /// Says that bytes will not be needed soon: a process that reads large segments would otherwise be as large as all it has
    /// read. They stay in the page cache, and come back from there when they are asked for.
    ///
    /// What the kernel mapped before them goes with them.
    pub(crate) fn release(&self, offset: usize, len: usize) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            let before = offset.min(FAULT_AROUND_LEN);
            let (offset, len) = (offset - before, before + len);
            // SAFETY: the map is shared, of a file, and never written to: its pages have the file's bytes whenever they are
            // touched again, so that references into them stay as valid as they are.
            let released =
                unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, len) };
            // Where it isn't possible, the process stays large.
            released.ok();
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}
