//! Finding the blocks of a segment by its SEAL.

use super::block::{block_of_entry, checked_block, is_refused};
use super::search::identify;
use crate::header::{BLOCK_HEADER_LEN, BlockType};
use crate::index::{BlockEntry, Seal, TRAILER_LEN, seal_offset};
use crate::limits::{BLOCK_ALIGNMENT, SEAL_SAMPLE_COUNT};

/// What a SEAL says, when it is whole and its own numbers agree.
pub(super) struct Sealed {
    pub(super) segment_id: [u8; 16],
    pub(super) seal: Seal,
    pub(super) blocks: Vec<BlockEntry>,
    /// Where the SEAL begins.
    pub(super) offset: u64,
}

/// The SEAL that the end of the file leads to, if it can be trusted to be that of this file.
///
/// Its first block is whole, and so are some of the others, or this is what most blocks of the file say.
pub(super) fn trusted(bytes: &[u8]) -> Option<Sealed> {
    let sealed = at_end(bytes)?;
    checked_block(bytes, 0, Some(sealed.segment_id)).ok()?;
    let is_there = |entry: &BlockEntry| block_of_entry(bytes, entry, sealed.segment_id).is_ok();
    let is_trusted = samples(&sealed.blocks).all(is_there)
        || identify(bytes).is_some_and(|first| first.segment_id == sealed.segment_id);
    is_trusted.then_some(sealed)
}

/// The SEAL that the end of the file leads to, whoever's it is.
pub(super) fn at_end(bytes: &[u8]) -> Option<Sealed> {
    let len = bytes.len() as u64;
    let trailer = bytes.get(bytes.len().checked_sub(TRAILER_LEN)?..)?;
    let offset = seal_offset(trailer)?;
    let (header, payload) = checked_block(bytes, offset, None).ok()?;
    if header.block_type != BlockType::SEAL || header.next_offset() != len {
        return None;
    }
    let (seal, blocks) = Seal::decode(payload, offset, len).ok()?;
    let mut next = 0;
    for (block, sequence) in blocks.iter().zip(0..) {
        let is_aligned = block.offset.is_multiple_of(BLOCK_ALIGNMENT);
        let is_file = block.block_type == BlockType::FILE;
        if is_file != (sequence == 0) || block.sequence != sequence || block.offset < next || !is_aligned {
            return None;
        }
        next = block.offset.checked_add(BLOCK_HEADER_LEN as u64 + u64::from(block.stored_len))?;
    }
    let complete = next <= offset && header.sequence as usize == blocks.len();
    let known = !blocks.iter().any(|block| is_refused(block.block_type, block.flags));
    (complete && known).then_some(Sealed { segment_id: header.segment_id, seal, blocks, offset })
}

/// The SEAL at the end of the file, if it is of this segment and lies at this offset.
pub(super) fn of_segment(bytes: &[u8], segment_id: [u8; 16]) -> Option<Sealed> {
    at_end(bytes).filter(|sealed| sealed.segment_id == segment_id)
}

/// Some of the blocks, spread over all of them, the first and the last included.
fn samples(blocks: &[BlockEntry]) -> impl Iterator<Item = &BlockEntry> {
    let count = blocks.len().min(SEAL_SAMPLE_COUNT);
    let last = blocks.len().saturating_sub(1);
    (0..count).map(move |at| &blocks[at * last / (count - 1).max(1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread_over_all_blocks() {
        let entry = |sequence| BlockEntry {
            offset: 0,
            first_time_ns: 0,
            last_time_ns: 0,
            sequence,
            record_count: 0,
            stored_len: 0,
            raw_len: 0,
            header_crc32c: 0,
            block_type: BlockType::CLOCK,
            flags: 0,
        };
        let sampled = |len: u32| {
            let blocks: Vec<_> = (0..len).map(entry).collect();
            samples(&blocks).map(|block| block.sequence).collect::<Vec<_>>()
        };
        assert_eq!(sampled(0), []);
        assert_eq!(sampled(1), [0]);
        assert_eq!(sampled(5), [0, 1, 2, 3, 4]);
        let many = sampled(1_000);
        assert_eq!((many.len(), many[0], many[SEAL_SAMPLE_COUNT - 1]), (SEAL_SAMPLE_COUNT, 0, 999));
    }
}
