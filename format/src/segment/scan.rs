//! Finding the blocks of a segment: by its SEAL, or by walking from header to header.

use std::path::Path;

use super::{ReadMode, SegmentState};
use crate::error::{Error, Fault, Result};
use crate::header::{BLOCK_HEADER_LEN, BlockHeader, BlockType, block_flags};
use crate::index::{BlockEntry, Index, Seal, TRAILER_LEN, seal_offset};
use crate::limits::{BLOCK_ALIGNMENT, SEARCH_CHECKED_FILE_LENS_MAX, SYNC_MARKER};

/// What a scan found.
pub(super) struct Scan {
    pub(super) segment_id: [u8; 16],
    pub(super) blocks: Vec<BlockEntry>,
    pub(super) seal: Option<Seal>,
    pub(super) state: SegmentState,
    /// Bytes that belong to no whole block.
    pub(super) skipped_len: u64,
    /// Greatest synced offset of the whole blocks; the file's length when there is a SEAL.
    pub(super) synced_offset: u64,
}

/// Why there is no whole block at an offset.
#[derive(Clone, Copy, Debug)]
pub(super) enum Damage {
    /// The file ends before the block does.
    CutShort,
    /// The bytes are not those of a block of this segment.
    Fault(Fault),
}

impl Damage {
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::CutShort => Fault::Corrupt("the file ends before the block does"),
            Self::Fault(fault) => fault,
        }
    }
}

impl From<Fault> for Damage {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The header and payload at an offset. The payload's checksum is not checked.
pub(super) fn whole_block(
    bytes: &[u8],
    offset: u64,
    segment_id: Option<[u8; 16]>,
) -> Result<(BlockHeader, &[u8]), Damage> {
    let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).ok_or(Damage::CutShort)?;
    let header = BlockHeader::decode(rest, offset).ok_or(Damage::CutShort)??;
    if segment_id.is_some_and(|id| id != header.segment_id) {
        return Err(Fault::Corrupt("the block belongs to another segment").into());
    }
    let begin = usize::from(header.header_len);
    let payload = rest.get(begin..begin + header.stored_len as usize).ok_or(Damage::CutShort)?;
    Ok((header, payload))
}

pub(super) fn check_payload(header: &BlockHeader, payload: &[u8]) -> Result<(), Fault> {
    if crc32c::crc32c(payload) == header.payload_crc {
        Ok(())
    } else {
        Err(Fault::Corrupt("the payload's checksum is wrong"))
    }
}

/// Finds the blocks, and decides what the mode makes of damage.
pub(super) fn scan(path: &Path, bytes: &[u8], mode: ReadMode) -> Result<Scan> {
    if let Some(sealed) = sealed(bytes) {
        return Ok(sealed);
    }
    let mut search = Search::new(bytes);
    let begin = begin(path, &mut search, mode)?;
    let walk = Walk::run(&mut search, begin);
    let state = match walk.damage {
        None => SegmentState::Unsealed,
        Some((offset, Fault::Unsupported(_))) if mode != ReadMode::Salvage => {
            return Err(Error::at(path, offset, Fault::Unsupported(UNKNOWN_CRITICAL)));
        }
        Some((offset, fault)) if offset < walk.synced_offset => {
            if mode != ReadMode::Salvage {
                return Err(Error::at(path, offset, fault));
            }
            let (Fault::Corrupt(what) | Fault::Unsupported(what)) = fault;
            SegmentState::Corrupt { offset, what }
        }
        Some((offset, _)) if mode == ReadMode::Strict => {
            return Err(Error::Torn { path: path.to_owned(), offset });
        }
        Some((offset, _)) => SegmentState::Torn { offset },
    };
    if mode == ReadMode::Strict {
        check_indexes(bytes, &walk.blocks).map_err(|(offset, fault)| Error::at(path, offset, fault))?;
    }
    let skipped_len = (bytes.len() as u64).saturating_sub(walk.whole_len);
    Ok(Scan {
        segment_id: walk.segment_id,
        blocks: walk.blocks,
        seal: None,
        state,
        skipped_len,
        synced_offset: walk.synced_offset,
    })
}

const UNKNOWN_CRITICAL: &str = "a critical block of an unknown type";

/// Where the first whole block is: at 0, except when salvaging.
fn begin(path: &Path, search: &mut Search<'_>, mode: ReadMode) -> Result<u64> {
    let bytes = search.bytes;
    let Err(damage) = whole_block(bytes, 0, None) else { return Ok(0) };
    let later = search.next_block(0, None);
    match (later, damage) {
        (Some(later), _) if mode == ReadMode::Salvage => Ok(later),
        (Some(_), _) | (None, Damage::Fault(Fault::Unsupported(_))) => {
            Err(Error::at(path, 0, damage.fault()))
        }
        (None, _)
            if !bytes.is_empty() && bytes.iter().zip(&SYNC_MARKER).all(|(byte, marker)| byte == marker) =>
        {
            Err(Error::Torn { path: path.to_owned(), offset: 0 })
        }
        (None, _) => Err(Error::NotASegment { path: path.to_owned() }),
    }
}

/// What the SEAL at the end says, if there is a whole one.
fn sealed(bytes: &[u8]) -> Option<Scan> {
    let trailer = bytes.get(bytes.len().checked_sub(TRAILER_LEN)?..)?;
    let offset = seal_offset(trailer)?;
    let (first, _) = whole_block(bytes, 0, None).ok()?;
    let (header, payload) = whole_block(bytes, offset, Some(first.segment_id)).ok()?;
    if header.block_type != BlockType::SEAL || header.next_offset() != bytes.len() as u64 {
        return None;
    }
    check_payload(&header, payload).ok()?;
    let (seal, blocks) = Seal::decode(payload, offset, bytes.len() as u64).ok()?;
    let mut next = 0;
    for (block, sequence) in blocks.iter().zip(0..) {
        if block.sequence != sequence || block.offset < next || !block.offset.is_multiple_of(BLOCK_ALIGNMENT)
        {
            return None;
        }
        next = block.offset.checked_add(BLOCK_HEADER_LEN as u64 + u64::from(block.stored_len))?;
    }
    let complete = next <= offset && header.sequence as usize == blocks.len();
    let known = !blocks.iter().any(is_refused);
    (complete && known).then_some(Scan {
        segment_id: first.segment_id,
        blocks,
        seal: Some(seal),
        state: SegmentState::Sealed,
        skipped_len: 0,
        synced_offset: bytes.len() as u64,
    })
}

fn is_refused(block: &BlockEntry) -> bool {
    block.block_type.name().is_none() && block.flags & block_flags::CRITICAL != 0
}

/// A walk from header to header.
struct Walk {
    segment_id: [u8; 16],
    blocks: Vec<BlockEntry>,
    /// Up to where some whole block says that the file was synced: damage before is corruption, and damage behind is
    /// what a crash leaves.
    synced_offset: u64,
    /// Where the first damage is, and which.
    damage: Option<(u64, Fault)>,
    /// Bytes of whole blocks, their headers and the padding behind them included.
    whole_len: u64,
}

impl Walk {
    /// `begin` is the offset of a whole block, which gives the segment's id.
    fn run(search: &mut Search<'_>, begin: u64) -> Self {
        let bytes = search.bytes;
        let mut walk =
            Self { segment_id: [0; 16], blocks: Vec::new(), synced_offset: 0, damage: None, whole_len: 0 };
        if let Ok((first, _)) = whole_block(bytes, begin, None) {
            walk.segment_id = first.segment_id;
        }
        if begin > 0 {
            walk.note(0, Fault::Corrupt("the first block is damaged"));
        }
        let mut headers: Vec<BlockHeader> = Vec::new();
        let mut offset = begin;
        while offset < bytes.len() as u64 {
            let sequence = headers.last().map_or(0, |header| header.sequence + 1);
            match walk.header_at(bytes, offset, sequence) {
                Ok(header) => {
                    walk.synced_offset = walk.synced_offset.max(header.synced_offset);
                    offset = header.next_offset();
                    headers.push(header);
                }
                Err(damage) => {
                    walk.note(offset, damage.fault());
                    let Some(next) = search.next_block(offset, Some(walk.segment_id)) else { break };
                    offset = next;
                }
            }
        }
        walk.keep_whole(bytes, &headers);
        walk
    }

    fn header_at(&self, bytes: &[u8], offset: u64, sequence_min: u32) -> Result<BlockHeader, Damage> {
        let (header, _) = whole_block(bytes, offset, Some(self.segment_id))?;
        if header.sequence < sequence_min {
            return Err(Fault::Corrupt("the block's sequence is that of an earlier one").into());
        }
        if is_refused(&BlockEntry::of(&header)) {
            return Err(Fault::Unsupported(UNKNOWN_CRITICAL).into());
        }
        Ok(header)
    }

    /// A crash can leave a header without its payload wherever the file was not synced: there the payloads are checked
    /// now. All others are checked when they are read.
    fn keep_whole(&mut self, bytes: &[u8], headers: &[BlockHeader]) {
        for header in headers {
            let whole = header.offset < self.synced_offset
                || whole_block(bytes, header.offset, None)
                    .is_ok_and(|(header, payload)| check_payload(&header, payload).is_ok());
            if !whole {
                self.note(header.offset, Fault::Corrupt("the payload's checksum is wrong"));
                continue;
            }
            // The padding of the last one may not be there.
            self.whole_len += header.next_offset().min(bytes.len() as u64) - header.offset;
            if header.block_type != BlockType::SEAL {
                self.blocks.push(BlockEntry::of(header));
            }
        }
    }

    fn note(&mut self, offset: u64, fault: Fault) {
        if self.damage.is_none_or(|(known, _)| offset < known) {
            self.damage = Some((offset, fault));
        }
    }
}

/// Looks for whole blocks behind damage.
///
/// Blocks lie one behind the other, so that a file which a writer made costs each of its bytes one checksum at most.
/// One that was made to cost time can have headers within what other headers state as their payload: the search ends
/// when it has checked [`SEARCH_CHECKED_FILE_LENS_MAX`] times the file's length, as if nothing more were there.
struct Search<'a> {
    bytes: &'a [u8],
    /// Bytes that may still be checked.
    checkable_len: u64,
}

impl<'a> Search<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, checkable_len: SEARCH_CHECKED_FILE_LENS_MAX.saturating_mul(bytes.len() as u64) }
    }

    /// The next offset behind `offset` at which a whole block begins. Only sync markers count, never a length that a
    /// damaged header states.
    fn next_block(&mut self, offset: u64, segment_id: Option<[u8; 16]>) -> Option<u64> {
        let first = (offset + 1).next_multiple_of(BLOCK_ALIGNMENT);
        for at in (first..self.bytes.len() as u64).step_by(BLOCK_ALIGNMENT as usize) {
            if !self.bytes[at as usize..].starts_with(&SYNC_MARKER) {
                continue;
            }
            let Ok((header, payload)) = whole_block(self.bytes, at, segment_id) else { continue };
            self.checkable_len = self.checkable_len.checked_sub(payload.len() as u64)?;
            if check_payload(&header, payload).is_ok() {
                return Some(at);
            }
        }
        None
    }
}

/// Every INDEX must tell of the blocks that are there.
fn check_indexes(bytes: &[u8], blocks: &[BlockEntry]) -> Result<(), (u64, Fault)> {
    for block in blocks.iter().filter(|block| block.block_type == BlockType::INDEX) {
        let at = |fault| (block.offset, fault);
        let (header, payload) =
            whole_block(bytes, block.offset, None).map_err(|damage| at(damage.fault()))?;
        check_payload(&header, payload).map_err(at)?;
        let index = Index::decode(payload).map_err(at)?;
        let end = block.sequence as usize;
        let told = end.checked_sub(index.entries.len()).and_then(|begin| blocks.get(begin..end));
        if told != Some(&index.entries[..]) {
            return Err(at(Fault::Corrupt("the INDEX tells of other blocks than those before it")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::CIPHER_NONE;
    use crate::limits::FORMAT_VERSION;

    /// A header at `offset` that states a payload of this length, with this checksum.
    fn header(offset: usize, stored_len: usize, payload_crc: u32) -> [u8; BLOCK_HEADER_LEN] {
        let mut header = BlockHeader {
            header_crc: 0,
            payload_crc,
            segment_id: [7; 16],
            offset: offset as u64,
            synced_offset: 0,
            sequence: 1,
            record_count: 0,
            stored_len: stored_len as u32,
            raw_len: stored_len as u32,
            first_time_ns: 0,
            last_time_ns: 0,
            block_type: BlockType::CLOCK,
            flags: 0,
            codec: 0,
            cipher: CIPHER_NONE,
            version: FORMAT_VERSION,
            header_len: BLOCK_HEADER_LEN as u16,
            directory_crc: 0,
        };
        header.encode()
    }

    /// Bytes that begin with damage and end with a whole block; between them, headers that state all bytes that follow
    /// as their payload, with a wrong checksum.
    fn nested(count: usize) -> Vec<u8> {
        let len = (count + 2) * BLOCK_HEADER_LEN;
        let mut bytes = vec![0; BLOCK_HEADER_LEN];
        for _ in 0..count {
            let at = bytes.len();
            bytes.extend(header(at, len - at - BLOCK_HEADER_LEN, 0xBAD));
        }
        bytes.extend(header(bytes.len(), 0, 0));
        bytes
    }

    #[test]
    fn headers_within_stated_payloads_cannot_make_a_search_quadratic() {
        let found = |bytes: &[u8]| Search::new(bytes).next_block(0, None);
        let honest = nested(1);
        assert_eq!(found(&honest), Some(2 * BLOCK_HEADER_LEN as u64));
        assert_eq!(found(&nested(10_000)), None);
    }
}
