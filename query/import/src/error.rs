//! The one error type of this crate.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with a capture file. Each prints as one line: where, what, and what to do next. A file that is cut short
/// or damaged is none of these: what lies before is read, and [`CaptureFile::state`](crate::CaptureFile::state) tells.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused, or compressed data are damaged from their first byte on.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file begins as none that is known.
    #[error(
        "{}: neither a kcap segment nor a capture file; name a .kcap file, pcap or pcapng (plain, gzip or zstd), or a folder of them",
        path.display()
    )]
    NotACapture {
        /// The file.
        path: PathBuf,
    },
    /// A capture file of a version that is not known.
    #[error("{}: {format} version {major}.{minor}, which this version cannot read; use a newer kcap", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// pcap or pcapng.
        format: &'static str,
        /// Version in the file.
        major: u16,
        /// Its second part.
        minor: u16,
    },
    /// A segment could not be written.
    #[error(transparent)]
    Format(#[from] kcap_format::Error),
    /// The file is not the one that was walked before.
    #[error("{}: was changed at offset {offset} while it was read; run the command again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// Where, in bytes.
        offset: u64,
    },
}

/// A result with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// Why a walk over records ended.
#[derive(Debug)]
pub(crate) enum Stop {
    /// At the end of the file, behind a whole record.
    End,
    /// Within the record that begins here.
    Torn(u64),
    /// At something that is no record.
    Corrupt(u64, &'static str),
    /// The operating system refused, or compressed data are damaged.
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
