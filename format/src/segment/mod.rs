//! Reading a segment.

mod block;
mod dictionaries;
mod plain;
mod read;
mod scan;
mod sealed;
mod search;
mod told;
mod walk;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use block::DamagedRange;
use dictionaries::Dictionaries;

use crate::encryption::{Identities, SegmentKey};
use crate::error::{Error, Fault, Result};
use crate::header::{BlockHeader, BlockType};
use crate::index::{BlockEntry, Seal};
use crate::limits::FILE_MESSAGE_LEN_MAX;
use crate::mmap::SegmentBytes;
use crate::{messages, proto};

/// How a reader takes damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// Every damage is an error, a torn tail too.
    Strict,
    /// What a crash or a segment that is still being written explains is left out: blocks that are not whole and
    /// were never synced. Any other damage is an error.
    #[default]
    TailTolerant,
    /// Every whole block is read, whatever lies between them.
    Salvage,
}

/// How to open a segment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReadOptions {
    /// How damage is taken.
    pub mode: ReadMode,
    /// Whose keys encrypted blocks are read with.
    pub identities: Identities,
}

impl ReadOptions {
    /// Options with this mode.
    #[must_use]
    pub fn with_mode(mode: ReadMode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// The same options with these identities.
    #[must_use]
    pub fn with_identities(self, identities: Identities) -> Self {
        Self { identities, ..self }
    }
}

/// In which state a segment was found when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentState {
    /// Ended orderly: nothing is missing.
    Sealed,
    /// All bytes are whole blocks, and there is no SEAL: still being written, or the recorder was killed.
    Unsealed,
    /// As unsealed, and a block that was not yet synced is not whole: mostly the last one.
    Torn {
        /// Where the first block begins that is not whole, in bytes.
        offset: u64,
    },
    /// Bytes are damaged that were synced.
    Corrupt {
        /// Where the first damage begins, in bytes.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
}

/// A segment that is open for reading. Cheap to clone, and shared between threads.
#[derive(Clone, Debug)]
pub struct Segment(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    bytes: SegmentBytes,
    segment_id: [u8; 16],
    file_info: proto::FileInfo,
    blocks: Vec<BlockEntry>,
    /// Where the last block of packets begins; 0 without any.
    last_packets_offset: u64,
    seal: Option<Seal>,
    state: SegmentState,
    synced_offset: u64,
    damage: Vec<DamagedRange>,
    sealed_len: u64,
    /// Of an encrypted segment, for one of its recipients.
    key: Option<SegmentKey>,
    identity_given: bool,
    dictionaries: Dictionaries,
}

impl Segment {
    /// Opens a segment tail-tolerant.
    ///
    /// # Errors
    /// As [`Self::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &ReadOptions::default())
    }

    /// Opens a segment as it is now; what is appended later is not seen. A sealed segment is trusted by its SEAL, so
    /// that opening it reads a few pages; any other is walked from header to header.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotASegment`], [`Error::Unsupported`] when a later version wrote it, and what the mode
    /// makes of damage: [`Error::Corrupt`], [`Error::Torn`].
    pub fn open_with(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let metadata = file.metadata().map_err(|error| Error::io(path, error))?;
        if !metadata.is_file() {
            return Err(Error::NotASegment { path: path.to_owned() });
        }
        let bytes = SegmentBytes::map(&file).map_err(|error| Error::io(path, error))?;
        Self::of(path, bytes, options)
    }

    /// Reads a segment that is in memory. `name` stands for the path in messages.
    ///
    /// # Errors
    /// As [`Self::open_with`].
    pub fn from_bytes(name: impl AsRef<Path>, bytes: Vec<u8>, options: &ReadOptions) -> Result<Self> {
        Self::of(name.as_ref(), SegmentBytes::Owned(bytes), options)
    }

    fn of(path: &Path, bytes: SegmentBytes, options: &ReadOptions) -> Result<Self> {
        let scan = scan::scan(path, bytes.bytes(), options.mode)?;
        let last_of_packets = scan.blocks.iter().rfind(|block| block.block_type == BlockType::PACKETS);
        let last_packets_offset = last_of_packets.map_or(0, |block| block.offset);
        let mut inner = Inner {
            path: path.to_owned(),
            bytes,
            segment_id: scan.segment_id,
            file_info: proto::FileInfo::default(),
            blocks: scan.blocks,
            last_packets_offset,
            seal: scan.seal,
            state: scan.state,
            synced_offset: scan.synced_offset,
            damage: scan.damage,
            sealed_len: scan.sealed_len,
            key: None,
            identity_given: !options.identities.is_empty(),
            dictionaries: Dictionaries::default(),
        };
        inner.key = inner.find_key(&options.identities);
        match inner.read_file_info() {
            Ok(file_info) => inner.file_info = file_info,
            Err(_) if options.mode == ReadMode::Salvage => {}
            Err(error) => return Err(error),
        }
        Ok(Self(Arc::new(inner)))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What the FILE block says; empty when salvaging a segment whose first block is damaged.
    #[must_use]
    pub fn file_info(&self) -> &proto::FileInfo {
        &self.0.file_info
    }

    /// Identifies the segment: every block names it. A random UUID.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.0.segment_id
    }

    /// The state that opening found.
    #[must_use]
    pub fn state(&self) -> SegmentState {
        self.0.state
    }

    /// Bytes that opening found to belong to no whole block: damage between blocks, and a tail that was cut short. 0 for
    /// a sealed segment, whose blocks are checked when they are read.
    #[must_use]
    pub fn skipped_len(&self) -> u64 {
        self.0.damage.iter().map(|range| range.end - range.begin).sum()
    }

    /// Where those bytes are. Each range is one or more blocks that were lost, or what was never a block.
    #[must_use]
    pub fn damage(&self) -> &[DamagedRange] {
        &self.0.damage
    }

    /// Up to here the file is known to have been on stable storage: damage before it is corruption, and damage behind it
    /// what a crash leaves.
    #[must_use]
    pub fn synced_offset(&self) -> u64 {
        self.0.synced_offset
    }

    /// The bytes of the file when it was opened.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.bytes.bytes()
    }

    /// Where the SEAL begins, or would begin behind the last whole block.
    pub(crate) fn sealed_len(&self) -> u64 {
        self.0.sealed_len
    }

    /// All blocks before the SEAL, in their order in the file.
    #[must_use]
    pub fn blocks(&self) -> &[BlockEntry] {
        &self.0.blocks
    }

    /// The blocks of one type.
    pub fn blocks_of(&self, block_type: BlockType) -> impl Iterator<Item = &BlockEntry> {
        self.0.blocks.iter().filter(move |block| block.block_type == block_type)
    }

    /// Bytes of the file when it was opened.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // an empty file is no segment
    pub fn len(&self) -> u64 {
        self.0.bytes.bytes().len() as u64
    }

    /// The SEAL, if the segment has one.
    #[must_use]
    pub fn seal(&self) -> Option<&Seal> {
        self.0.seal.as_ref()
    }
}

/// Bytes of the varint before the message of a FILE block.
const FILE_PREFIX_LEN_MAX: u32 = 3;

impl Inner {
    fn read_file_info(&self) -> Result<proto::FileInfo> {
        let not_a_segment = || Error::NotASegment { path: self.path.clone() };
        let first = self.blocks.first().ok_or_else(not_a_segment)?;
        if first.block_type != BlockType::FILE || first.offset != 0 {
            return Err(not_a_segment());
        }
        // Its length is a few bytes longer with its prefix.
        let len_max = FILE_MESSAGE_LEN_MAX as u32 + FILE_PREFIX_LEN_MAX;
        if first.record_count != 1 || first.raw_len > len_max {
            return Err(
                self.fault(first, Fault::Corrupt("the FILE block has more than one message of its length"))
            );
        }
        let mut files = self.messages(first)?;
        files.pop().ok_or_else(not_a_segment)
    }

    fn messages<M: prost::Message + Default>(&self, block: &BlockEntry) -> Result<Vec<M>> {
        let (raw, header) = self.raw_messages(block)?;
        messages::decode(&raw, header.record_count).map_err(|fault| self.fault(block, fault))
    }

    fn fault(&self, block: &BlockEntry, fault: Fault) -> Error {
        Error::at(&self.path, block.offset, fault)
    }

    /// Checks the block's header against its entry and this segment, and returns it with the payload's bytes.
    fn payload(&self, block: &BlockEntry) -> Result<(BlockHeader, &[u8])> {
        block::block_of_entry(self.bytes.bytes(), block, self.segment_id)
            .map_err(|refusal| self.fault(block, refusal.fault()))
    }
}
