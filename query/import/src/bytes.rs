//! The bytes of a capture file, wherever they come from.

use std::fs::File;
use std::io;

use crate::spool::Spool;

/// Bytes that can be read at any offset.
#[derive(Debug)]
pub(crate) enum Bytes {
    /// A regular file that is not compressed.
    File {
        file: File,
        /// Bytes that it had when it was opened: what is appended later is not seen.
        len: u64,
    },
    /// What comes out of a decompressor or a pipe.
    Spool(Spool),
}

impl Bytes {
    /// Reads what is there at an offset; fewer bytes than asked for only at the end.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::File { file, len } => {
                let there = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX);
                let wanted = there.min(buffer.len());
                read_file_at(file, &mut buffer[..wanted], offset)
            }
            Self::Spool(spool) => spool.read_at(buffer, offset),
        }
    }

    /// How many bytes there are, where that is known without reading them.
    pub(crate) fn known_len(&self) -> Option<u64> {
        match self {
            Self::File { len, .. } => Some(*len),
            Self::Spool(_) => None,
        }
    }
}

/// Reads until the buffer is full or the file ends.
pub(crate) fn read_file_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read_once(file, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(unix)]
fn read_once(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_once(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}
