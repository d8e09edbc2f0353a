//! Finding the blocks of a segment by walking from header to header.

use super::block::{
    DamagedRange, FOREIGN, Refusal, UNKNOWN_CRITICAL, checked_block, is_refused, whole_block,
};
use super::search::Search;
use crate::error::Fault;
use crate::header::{BlockHeader, BlockType};
use crate::index::BlockEntry;

/// What a walk found.
pub(super) struct Walk {
    pub(super) segment_id: [u8; 16],
    /// The whole blocks, in their order; not the SEAL.
    pub(super) blocks: Vec<BlockEntry>,
    /// Up to where some whole block says that the file was synced: damage before is corruption, and damage behind is
    /// what a crash leaves.
    pub(super) synced_offset: u64,
    /// Where the last of them ends, its padding included.
    pub(super) end: u64,
    /// What belongs to no whole block, in the order of the file.
    pub(super) damage: Vec<DamagedRange>,
    /// Where the first damage begins, and what it is.
    pub(super) first_fault: Option<(u64, Fault)>,
    /// Whether a block of another segment lies where it says that it belongs.
    pub(super) met_foreign: bool,
}

impl Walk {
    /// Walks from the whole block at `begin`, which is of this segment.
    pub(super) fn run(bytes: &[u8], segment_id: [u8; 16], begin: u64) -> Self {
        let mut walk = Self {
            segment_id,
            blocks: Vec::new(),
            synced_offset: 0,
            end: 0,
            damage: Vec::new(),
            first_fault: None,
            met_foreign: false,
        };
        if begin > 0 {
            let fault = whole_block(bytes, 0, Some(segment_id)).err().map_or(FIRST_DAMAGED, Refusal::fault);
            walk.note(0, begin, fault);
        }
        let headers = walk.headers(bytes, begin);
        walk.keep_whole(bytes, &headers);
        walk.damage.sort_by_key(|range| range.begin);
        walk
    }

    fn headers(&mut self, bytes: &[u8], begin: u64) -> Vec<BlockHeader> {
        let len = bytes.len() as u64;
        let mut search = Search::new(bytes);
        let mut headers: Vec<BlockHeader> = Vec::new();
        let mut offset = begin;
        while offset < len {
            match self.header_at(bytes, offset, headers.last()) {
                Ok(header) => {
                    self.synced_offset = self.synced_offset.max(header.synced_offset);
                    offset = header.next_offset();
                    headers.push(header);
                }
                Err(refusal) => {
                    self.met_foreign |= refusal == Refusal::Fault(Fault::Corrupt(FOREIGN));
                    let next = search.next_block(offset + 1, Some(self.segment_id));
                    let end = next.map_or(len, |header| header.offset);
                    self.note(offset, end, refusal.fault());
                    offset = end;
                }
            }
        }
        self.met_foreign |= search.met_foreign;
        headers
    }

    fn header_at(
        &self,
        bytes: &[u8],
        offset: u64,
        previous: Option<&BlockHeader>,
    ) -> Result<BlockHeader, Refusal> {
        let (header, _) = whole_block(bytes, offset, Some(self.segment_id))?;
        // Behind damage blocks may be missing; right behind another block none can be.
        let is_next = match previous {
            None => offset > 0 || header.sequence == 0,
            Some(previous) if previous.next_offset() == offset => header.sequence == previous.sequence + 1,
            Some(previous) => header.sequence > previous.sequence,
        };
        if !is_next {
            return Err(
                Fault::Corrupt("the block's sequence does not follow that of the block before").into()
            );
        }
        if previous.is_some_and(|previous| previous.block_type == BlockType::SEAL) {
            return Err(Fault::Corrupt("a block behind the SEAL").into());
        }
        if header.block_type == BlockType::FILE && header.sequence > 0 {
            return Err(Fault::Corrupt("a second FILE block").into());
        }
        if is_refused(header.block_type, header.flags) {
            return Err(Fault::Unsupported(UNKNOWN_CRITICAL).into());
        }
        Ok(header)
    }

    /// A crash can leave a header without its payload wherever the file was not synced: there the payloads are checked
    /// now, and that of the FILE block always. All others are checked when they are read.
    fn keep_whole(&mut self, bytes: &[u8], headers: &[BlockHeader]) {
        let len = bytes.len() as u64;
        for header in headers {
            let is_trusted = header.offset < self.synced_offset && header.block_type != BlockType::FILE;
            if !is_trusted && let Err(refusal) = checked_block(bytes, header.offset, None) {
                self.note(header.offset, header.next_offset().min(len), refusal.fault());
            } else if header.block_type != BlockType::SEAL {
                self.end = header.next_offset();
                self.blocks.push(BlockEntry::of(header));
            }
        }
    }

    fn note(&mut self, begin: u64, end: u64, fault: Fault) {
        if self.first_fault.is_none_or(|(known, _)| begin < known) {
            self.first_fault = Some((begin, fault));
        }
        self.damage.push(DamagedRange { begin, end, what: fault.what() });
    }
}

const FIRST_DAMAGED: Fault = Fault::Corrupt("the first block is damaged");
