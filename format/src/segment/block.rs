//! One block of a file: where it is, and whether it is whole.

use crate::checksum;
use crate::error::Fault;
use crate::header::{BlockHeader, BlockType, block_flags};
use crate::index::BlockEntry;

/// Why there is no whole block at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The file ends before the block does.
    CutShort,
    /// The bytes are not those of a block of this segment.
    Fault(Fault),
}

impl Refusal {
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::CutShort => Fault::Corrupt("the file ends before the block does"),
            Self::Fault(fault) => fault,
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Bytes that belong to no whole block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedRange {
    /// Where they begin in the file.
    pub begin: u64,
    /// Where they end: at a whole block, or the end of the file.
    pub end: u64,
    /// Why there is no whole block where they begin.
    pub what: &'static str,
}

pub(super) const FOREIGN: &str = "the block belongs to another segment";
pub(super) const UNKNOWN_CRITICAL: &str = "a critical block of an unknown type";

/// The header and payload at an offset. The payload's checksum is not checked.
pub(super) fn whole_block(
    bytes: &[u8],
    offset: u64,
    segment_id: Option<[u8; 16]>,
) -> Result<(BlockHeader, &[u8]), Refusal> {
    let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).ok_or(Refusal::CutShort)?;
    let header = BlockHeader::decode(rest, offset).ok_or(Refusal::CutShort)??;
    if segment_id.is_some_and(|id| id != header.segment_id) {
        return Err(Fault::Corrupt(FOREIGN).into());
    }
    let begin = usize::from(header.header_len);
    let payload = rest.get(begin..begin + header.stored_len as usize).ok_or(Refusal::CutShort)?;
    Ok((header, payload))
}

/// As [`whole_block`], with a payload that is as it was written.
pub(super) fn checked_block(
    bytes: &[u8],
    offset: u64,
    segment_id: Option<[u8; 16]>,
) -> Result<(BlockHeader, &[u8]), Refusal> {
    let (header, payload) = whole_block(bytes, offset, segment_id)?;
    check_payload(&header, payload)?;
    Ok((header, payload))
}

pub(super) fn check_payload(header: &BlockHeader, payload: &[u8]) -> Result<(), Fault> {
    if checksum::matches(checksum::crc32c(payload), header.payload_crc) {
        Ok(())
    } else {
        Err(Fault::Corrupt("the payload's checksum is wrong"))
    }
}

/// Whether a reader that doesn't know the block's type must not go on.
pub(super) fn is_refused(block_type: BlockType, flags: u16) -> bool {
    block_type.name().is_none() && flags & block_flags::CRITICAL != 0
}

/// The block that an entry tells of, if it is there.
pub(super) fn block_of_entry<'a>(
    bytes: &'a [u8],
    entry: &BlockEntry,
    segment_id: [u8; 16],
) -> Result<(BlockHeader, &'a [u8]), Refusal> {
    let (header, payload) = whole_block(bytes, entry.offset, Some(segment_id))?;
    if BlockEntry::of(&header) == *entry {
        Ok((header, payload))
    } else {
        Err(Fault::Corrupt("the block is not the one that the index tells of").into())
    }
}
