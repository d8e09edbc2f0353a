//! The one place with `unsafe`: a file as bytes.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

/// The bytes that a file had when it was mapped. What is appended later is not seen.
#[derive(Debug)]
pub(crate) struct MappedFile(memmap2::Mmap);

impl MappedFile {
    pub(crate) fn open(file: &File) -> io::Result<Self> {
        // SAFETY: the map is only sound while nobody changes the mapped bytes. Segments are append-only: the recorder
        // adds bytes behind the mapped length and never changes or cuts off what is there, and retention unlinks whole
        // files, which keeps the mapped pages. Someone who cuts the file off meanwhile ends this process with SIGBUS;
        // someone who writes into it changes bytes that are checked by CRC and parsed without trust in them.
        unsafe { memmap2::Mmap::map(file) }.map(Self)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
