//! Finding the blocks of a segment, and what a mode makes of damage.

use std::path::Path;

use super::block::{DamagedRange, FOREIGN, Refusal, checked_block, whole_block};
use super::search::identify;
use super::walk::Walk;
use super::{ReadMode, SegmentState, sealed};
use crate::error::{Error, Fault, Result};
use crate::header::BlockType;
use crate::index::{BlockEntry, Index, Seal};
use crate::limits::SYNC_MARKER;

/// What a scan found.
pub(super) struct Scan {
    pub(super) segment_id: [u8; 16],
    pub(super) blocks: Vec<BlockEntry>,
    pub(super) seal: Option<Seal>,
    pub(super) state: SegmentState,
    pub(super) synced_offset: u64,
    pub(super) damage: Vec<DamagedRange>,
    /// Where the SEAL begins, or would begin behind the last whole block.
    pub(super) sealed_len: u64,
}

/// Finds the blocks, and decides what the mode makes of damage.
pub(super) fn scan(path: &Path, bytes: &[u8], mode: ReadMode) -> Result<Scan> {
    if let Some(sealed) = sealed::trusted(bytes) {
        return Ok(Scan {
            segment_id: sealed.segment_id,
            blocks: sealed.blocks,
            synced_offset: bytes.len() as u64,
            seal: Some(sealed.seal),
            state: SegmentState::Sealed,
            damage: Vec::new(),
            sealed_len: sealed.offset,
        });
    }
    let walk = walk(path, bytes, mode)?;
    let state = match walk.first_fault {
        None => SegmentState::Unsealed,
        Some((offset, fault @ Fault::Unsupported(_))) if mode != ReadMode::Salvage => {
            return Err(Error::at(path, offset, fault));
        }
        Some((offset, fault)) if offset < walk.synced_offset => {
            if mode != ReadMode::Salvage {
                return Err(Error::at(path, offset, fault));
            }
            SegmentState::Corrupt { offset, what: fault.what() }
        }
        Some((offset, _)) if mode == ReadMode::Strict => {
            return Err(Error::Torn { path: path.to_owned(), offset });
        }
        Some((offset, _)) => SegmentState::Torn { offset },
    };
    if mode == ReadMode::Strict {
        check_indexes(bytes, &walk.blocks).map_err(|(offset, fault)| Error::at(path, offset, fault))?;
    }
    let sealed = sealed::of_segment(bytes, walk.segment_id);
    Ok(Scan {
        segment_id: walk.segment_id,
        blocks: walk.blocks,
        sealed_len: sealed.as_ref().map_or(walk.end, |sealed| sealed.offset),
        seal: sealed.map(|sealed| sealed.seal),
        state,
        synced_offset: walk.synced_offset,
        damage: walk.damage,
    })
}

/// Walks the blocks of the segment that this file is of: that of its first block, unless most blocks name another.
fn walk(path: &Path, bytes: &[u8], mode: ReadMode) -> Result<Walk> {
    let (refusal, owner) = match whole_block(bytes, 0, None) {
        Ok((first, _)) => {
            let walk = Walk::run(bytes, first.segment_id, 0);
            let owner = if walk.met_foreign { identify(bytes) } else { None };
            if owner.is_none_or(|owner| owner.segment_id == first.segment_id) {
                return Ok(walk);
            }
            (Refusal::Fault(Fault::Corrupt(FOREIGN)), owner)
        }
        Err(refusal) => (refusal, identify(bytes)),
    };
    match (owner, refusal.fault()) {
        (Some(owner), _) if mode == ReadMode::Salvage => Ok(Walk::run(bytes, owner.segment_id, owner.offset)),
        (Some(_), fault) | (None, fault @ Fault::Unsupported(_)) => Err(Error::at(path, 0, fault)),
        (None, _) if is_beginning(bytes) => Err(Error::Torn { path: path.to_owned(), offset: 0 }),
        (None, _) => Err(Error::NotASegment { path: path.to_owned() }),
    }
}

/// Whether these bytes, without any whole block, are the beginning of a segment that was cut short.
fn is_beginning(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().zip(&SYNC_MARKER).all(|(byte, marker)| byte == marker)
}

/// Every INDEX must tell of the blocks that are there.
fn check_indexes(bytes: &[u8], blocks: &[BlockEntry]) -> Result<(), (u64, Fault)> {
    for block in blocks.iter().filter(|block| block.block_type == BlockType::INDEX) {
        let at = |fault| (block.offset, fault);
        let (_, payload) = checked_block(bytes, block.offset, None).map_err(|refusal| at(refusal.fault()))?;
        let index = Index::decode(payload).map_err(at)?;
        let end = block.sequence as usize;
        let told = end.checked_sub(index.entries.len()).and_then(|begin| blocks.get(begin..end));
        if told != Some(&index.entries[..]) {
            return Err(at(Fault::Corrupt("the INDEX tells of other blocks than those before it")));
        }
    }
    Ok(())
}
