//! A part of a file in memory, that moves over it.

use std::io;

use crate::bytes::Bytes;

/// Reads ahead, so that walking from record to record costs few system calls.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    bytes: &'a Bytes,
    buffer: Vec<u8>,
    /// Offset of the first byte of `buffer` in the file.
    start: u64,
    /// Bytes of `buffer` that are filled.
    filled: usize,
    /// Whether it moves where bytes are asked for that it has not.
    moves: bool,
}

/// Bytes that are read at once.
const WINDOW_LEN: usize = 1 << 18;

impl<'a> Window<'a> {
    /// A window that has nothing yet.
    pub(crate) fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, buffer: Vec::new(), start: 0, filled: 0, moves: true }
    }

    /// A window that has a range of the file, in a buffer whose bytes don't matter, and stays there.
    pub(crate) fn of_range(bytes: &'a Bytes, start: u64, end: u64, mut buffer: Vec<u8>) -> io::Result<Self> {
        let len = usize::try_from(end - start).map_err(io::Error::other)?;
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let filled = bytes.read_at(&mut buffer[..len], start)?;
        Ok(Self { bytes, buffer, start, filled, moves: false })
    }

    /// The buffer, for another window.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// So many bytes from an offset on, or as many as there are.
    pub(crate) fn read(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        if self.moves && self.slice(offset, len).is_none() {
            self.buffer.resize(len.max(WINDOW_LEN), 0);
            self.start = offset;
            self.filled = self.bytes.read_at(&mut self.buffer, offset)?;
        }
        let from = usize::try_from(offset.saturating_sub(self.start)).map_err(io::Error::other)?;
        Ok(&self.buffer[from.min(self.filled)..from.saturating_add(len).min(self.filled)])
    }

    /// Bytes that the window has; `None` when it has not all of them.
    fn slice(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.buffer[..self.filled].get(from..from.checked_add(len)?)
    }
}
