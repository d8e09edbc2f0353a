//! The one error type of this crate.

use std::path::{Path, PathBuf};

/// What can go wrong with a segment. Each prints as one line: where, what, and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file does not begin as a segment does.
    #[error("{}: not a kcap segment (it does not begin with a FILE block); name a .kcap file or its folder", path.display())]
    NotASegment {
        /// The file.
        path: PathBuf,
    },
    /// A folder without a segment.
    #[error("{}: no .kcap segment in this folder; name the folder that kcap-record wrote to", path.display())]
    NoSegments {
        /// The folder.
        path: PathBuf,
    },
    /// Bytes that are not what the writer wrote.
    #[error("{}: corrupt at offset {offset}: {what}; the blocks that are whole can be read without it", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Offset of the block, in bytes.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A block that was not yet synced is not whole, and the reader was asked to be strict, or it is the first.
    #[error("{}: cut short at offset {offset}, or still being written; tail-tolerant reading has the blocks before", path.display())]
    Torn {
        /// The file.
        path: PathBuf,
        /// Where that block begins, in bytes.
        offset: u64,
    },
    /// Something is larger than the format allows.
    #[error("{what} is {value}, and the format allows {limit}; split it into more blocks or segments")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        value: u64,
        /// How large it may be.
        limit: u64,
    },
    /// Written by a later version, or with a codec or cipher that this one doesn't have.
    #[error("{}: block at offset {offset} has {what}, which this version cannot read; use a newer kcap", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Offset of the block, in bytes.
        offset: u64,
        /// What is not known.
        what: &'static str,
    },
    /// A block of one type was asked for the records of another.
    #[error("block at offset {offset} is of type {found}, and the records asked for are in {wanted}")]
    WrongBlockType {
        /// Offset of the block, in bytes.
        offset: u64,
        /// Its type.
        found: crate::BlockType,
        /// Where such records are.
        wanted: &'static str,
    },
    /// The records are encrypted, and no identity was given that they are encrypted to.
    #[error("{}: encrypted{}", path.display(), encrypted_advice(*identity_given))]
    Encrypted {
        /// The file.
        path: PathBuf,
        /// Whether some identity was given.
        identity_given: bool,
    },
    /// Not a public key to encrypt to.
    #[error("{text}: {what}")]
    Recipient {
        /// What was given.
        text: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Not a file of secret keys.
    #[error("{}: {}{what}", path.display(), line.map(|line| format!("line {line}: ")).unwrap_or_default())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: Option<usize>,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An earlier write failed, so nothing may follow it.
    #[error("{}: an earlier write failed; begin another segment", path.display())]
    Poisoned {
        /// The file.
        path: PathBuf,
    },
}

fn encrypted_advice(identity_given: bool) -> &'static str {
    if identity_given {
        ", and for other recipients than the identity given; give --identity the identity file of one of them"
    } else {
        "; give --identity FILE with the age identity of one of its recipients"
    }
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn at(path: &Path, offset: u64, fault: Fault) -> Self {
        let path = path.to_owned();
        match fault {
            Fault::Corrupt(what) => Self::Corrupt { path, offset, what },
            Fault::Unsupported(what) => Self::Unsupported { path, offset, what },
        }
    }
}

/// What is wrong with bytes whose file and offset the caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Corrupt(&'static str),
    Unsupported(&'static str),
}

impl Fault {
    pub(crate) fn what(self) -> &'static str {
        let (Self::Corrupt(what) | Self::Unsupported(what)) = self;
        what
    }
}

/// Checks a limit before a write.
pub(crate) fn check_limit(what: &'static str, value: u64, limit: u64) -> Result<()> {
    if value > limit { Err(Error::Limit { what, value, limit }) } else { Ok(()) }
}
