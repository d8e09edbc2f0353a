//! Everything that can be said about whether segments are as they were written: each file by itself, and one after the
//! other.

mod block;
mod chain;
mod file;

use std::path::{Path, PathBuf};

use crate::capture::segment_files;
use crate::encryption::Identities;
use crate::error::{Error, Result};
use crate::index::BlockEntry;
use crate::proto;
use crate::segment::DamagedRange;

pub use chain::{ChainFault, ChainFaultKind};
pub(crate) use chain::{is_nameless, link, predecessor_fault};
pub(crate) use file::check_file;

/// The state of a file of which every byte was read. `spec/segment.md` defines them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileState {
    /// Sealed, and every byte is as it was sealed.
    Clean,
    /// Whole blocks without a SEAL: still being written, or the recorder was killed.
    Unsealed,
    /// As unsealed, and what was not yet synced is not whole: what a crash leaves.
    Torn,
    /// Bytes changed that were on stable storage.
    Corrupt,
    /// Written by a later version, or with what this version cannot read.
    Unsupported,
    /// There is no whole block in it.
    NotASegment,
    /// The operating system refused to read it.
    Unreadable,
}

impl FileState {
    /// The name in `spec/segment.md`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Unsealed => "unsealed",
            Self::Torn => "torn",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::NotASegment => "not a segment",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Whether the records of a file were decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encryption {
    /// Not encrypted: every record was decoded.
    #[default]
    None,
    /// Encrypted, and none of the identities is that of a recipient: the bytes are compared with their checksums, and
    /// what they hold is not looked at.
    Closed,
    /// Encrypted, and an identity is that of a recipient: every record was decrypted and decoded.
    Open,
}

/// A block that is in the file, or that the rest of the segment tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockReport {
    /// What its header, or an INDEX or the SEAL, says of it.
    pub entry: BlockEntry,
    /// Why it can't be read, or not all of it.
    pub fault: Option<&'static str>,
}

/// What was found out about a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
    /// Whether it is as it was written.
    pub state: FileState,
    /// Why it isn't, in one line, where one line says it.
    pub reason: Option<String>,
    /// The segment that its blocks name; `None` when it has no whole block.
    pub segment_id: Option<[u8; 16]>,
    /// Whether its records were looked at.
    pub encryption: Encryption,
    /// What its FILE block says; empty when that is lost.
    pub file_info: proto::FileInfo,
    /// Blocks that can be read, without the SEAL.
    pub block_count: u64,
    /// Packets and events in them.
    pub record_count: u64,
    /// Packets and events in blocks that can't be read, as far as the segment tells how many there were.
    pub lost_record_count: u64,
    /// The blocks that are there or that the segment tells of, in their order, without the SEAL: all of them, or only
    /// those with a fault.
    pub blocks: Vec<BlockReport>,
    /// Bytes that belong to no whole block.
    pub damage: Vec<DamagedRange>,
    /// Blocks that were written and can't be read; `None` when nothing in the file tells how many.
    pub lost_block_count: Option<u64>,
    /// The digest in the SEAL.
    pub sealed_digest: Option<[u8; 32]>,
    /// The digest of what a SEAL would seal: of all bytes up to the end of the last whole block.
    pub digest: [u8; 32],
}

/// What was found out about segments.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// One for each file, in the order of their paths.
    pub files: Vec<FileReport>,
    /// What is missing between the files, or does not fit together.
    pub faults: Vec<ChainFault>,
}

impl Report {
    /// True when nothing is wrong, and nothing is missing.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty() && self.files.iter().all(|file| file.state == FileState::Clean)
    }
}

/// How segments are read, and what to tell meanwhile.
#[derive(Clone)]
#[non_exhaustive]
pub struct VerifyOptions<'a> {
    /// Whose keys encrypted records are decrypted with, so that they are checked as those of other segments are.
    pub identities: Identities,
    /// Report every block, not only those with a fault: much for a large recording.
    pub every_block: bool,
    /// Hears how many bytes more were read, on any thread.
    pub on_read: &'a (dyn Fn(u64) + Sync),
}

impl Default for VerifyOptions<'_> {
    fn default() -> Self {
        Self { identities: Identities::default(), every_block: false, on_read: &|_| {} }
    }
}

/// Reads every byte of segments and of folders of segments.
///
/// # Errors
/// [`Error::Io`] when a path cannot be looked at, [`Error::NoSegments`] for a folder without one. What is wrong with
/// files is no error but in the report.
pub fn verify(sources: &[impl AsRef<Path>], options: &VerifyOptions<'_>) -> Result<Report> {
    let mut report = Report::default();
    for source in sources {
        let source = source.as_ref();
        let begin = report.files.len();
        let files = source_files(source)?;
        let is_folder = source.is_dir();
        let checked = files.iter().map(|path| check_file(path, options));
        // Retention may remove a segment meanwhile.
        report.files.extend(checked.filter(|file| {
            !is_folder || file.state != FileState::Unreadable || file.path.symlink_metadata().is_ok()
        }));
        let mut faults = chain::check(&report.files[begin..], is_folder);
        faults.iter_mut().for_each(|fault| fault.file += begin);
        report.faults.append(&mut faults);
    }
    Ok(report)
}

/// The file itself, or the segments of a folder, sorted by name.
pub(crate) fn source_files(source: &Path) -> Result<Vec<PathBuf>> {
    let metadata = std::fs::metadata(source).map_err(|error| Error::io(source, error))?;
    if !metadata.is_dir() {
        return Ok(vec![source.to_owned()]);
    }
    let files = segment_files(source)?;
    if files.is_empty() { Err(Error::NoSegments { path: source.to_owned() }) } else { Ok(files) }
}
