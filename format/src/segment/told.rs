//! What a segment says about blocks that are not there any more.

use super::block::checked_block;
use super::{Segment, SegmentState, sealed};
use crate::header::BlockType;
use crate::index::{BlockEntry, Index};

impl Segment {
    /// The blocks that the segment's INDEX blocks and SEAL tell of, and that opening did not find, in their order. In a
    /// sealed segment opening takes the SEAL's word, so that there are none.
    #[must_use]
    pub fn missing_blocks(&self) -> Vec<BlockEntry> {
        if self.state() == SegmentState::Sealed {
            return Vec::new();
        }
        let bytes = self.bytes();
        let mut told: Vec<BlockEntry> = match sealed::of_segment(bytes, self.id()) {
            Some(sealed) => sealed.blocks,
            None => self.blocks_of(BlockType::INDEX).flat_map(|block| self.index_entries(block)).collect(),
        };
        told.sort_by_key(|entry| entry.offset);
        told.dedup();
        let found = self.blocks();
        told.retain(|entry| found.binary_search_by_key(&entry.offset, |block| block.offset).is_err());
        told
    }

    /// What an INDEX block tells of; nothing when it is damaged.
    pub(crate) fn index_entries(&self, block: &BlockEntry) -> Vec<BlockEntry> {
        checked_block(self.bytes(), block.offset, Some(self.id()))
            .ok()
            .and_then(|(_, payload)| Index::decode(payload).ok())
            .map_or_else(Vec::new, |index| index.entries)
    }
}
