//! Looking for whole blocks behind damage, and for whose they are.

use super::block::{check_payload, whole_block};
use crate::header::BlockHeader;
use crate::limits::{
    BLOCK_ALIGNMENT, IDENTITY_CANDIDATE_COUNT_MAX, SEARCH_CHECKED_FILE_LENS_MAX, SYNC_MARKER,
};

/// Looks for whole blocks by their sync markers, never by a length that a damaged header states.
///
/// Blocks lie one behind the other, so that a file which a writer made costs each of its bytes one checksum at most.
/// One that was made to cost time can have headers within what other headers state as their payload: the search ends
/// when it has checked [`SEARCH_CHECKED_FILE_LENS_MAX`] times the file's length, as if nothing more were there.
pub(super) struct Search<'a> {
    bytes: &'a [u8],
    /// Bytes that may still be checked.
    checkable_len: u64,
    /// Whether a header of another segment was passed.
    pub(super) met_foreign: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let checkable_len = SEARCH_CHECKED_FILE_LENS_MAX.saturating_mul(bytes.len() as u64);
        Self { bytes, checkable_len, met_foreign: false }
    }

    /// The first whole block at or behind `from`: of this segment, or of any.
    pub(super) fn next_block(&mut self, from: u64, segment_id: Option<[u8; 16]>) -> Option<BlockHeader> {
        let first = from.next_multiple_of(BLOCK_ALIGNMENT);
        for at in (first..self.bytes.len() as u64).step_by(BLOCK_ALIGNMENT as usize) {
            if !self.bytes[at as usize..].starts_with(&SYNC_MARKER) {
                continue;
            }
            let Ok((header, payload)) = whole_block(self.bytes, at, None) else { continue };
            if segment_id.is_some_and(|id| id != header.segment_id) {
                self.met_foreign = true;
                continue;
            }
            self.checkable_len = self.checkable_len.checked_sub(payload.len() as u64)?;
            if check_payload(&header, payload).is_ok() {
                return Some(header);
            }
        }
        None
    }
}

/// Whose file this is: the segment that most of its whole blocks name, and the first of those blocks. Where two have
/// as many, the one that comes first.
pub(super) fn identify(bytes: &[u8]) -> Option<BlockHeader> {
    let mut search = Search::new(bytes);
    let mut candidates: Vec<(BlockHeader, u32)> = Vec::new();
    let mut from = 0;
    while let Some(header) = search.next_block(from, None) {
        from = header.next_offset();
        let known = candidates.iter().position(|(first, _)| first.segment_id == header.segment_id);
        if let Some(at) = known {
            candidates[at].1 += 1;
        } else if candidates.len() < IDENTITY_CANDIDATE_COUNT_MAX {
            candidates.push((header, 1));
        }
    }
    let most = candidates.iter().map(|(_, count)| *count).max()?;
    candidates.into_iter().find(|(_, count)| *count == most).map(|(first, _)| first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::{BLOCK_HEADER_LEN, BlockType, CIPHER_NONE};
    use crate::limits::FORMAT_VERSION;

    /// A header at `offset` that states a payload of this length, with this checksum.
    fn header(offset: usize, id: u8, stored_len: usize, payload_crc: u32) -> [u8; BLOCK_HEADER_LEN] {
        let mut header = BlockHeader {
            header_crc: 0,
            payload_crc,
            segment_id: [id; 16],
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
            bytes.extend(header(at, 7, len - at - BLOCK_HEADER_LEN, 0xBAD));
        }
        bytes.extend(header(bytes.len(), 7, 0, 0));
        bytes
    }

    #[test]
    fn headers_within_stated_payloads_cannot_make_a_search_quadratic() {
        let found = |bytes: &[u8]| Search::new(bytes).next_block(8, None).map(|header| header.offset);
        let honest = nested(1);
        assert_eq!(found(&honest), Some(2 * BLOCK_HEADER_LEN as u64));
        assert_eq!(found(&nested(10_000)), None);
    }

    /// Empty blocks of these segments, one behind the other.
    fn blocks_of(ids: impl IntoIterator<Item = u8>) -> Vec<u8> {
        let mut bytes = Vec::new();
        ids.into_iter().for_each(|id| bytes.extend(header(bytes.len(), id, 0, 0)));
        bytes
    }

    #[test]
    fn a_file_is_of_the_segment_that_most_blocks_name() {
        let id = |ids: &[u8]| identify(&blocks_of(ids.iter().copied())).map(|header| header.segment_id[0]);
        assert_eq!(id(&[]), None);
        assert_eq!(id(&[3]), Some(3));
        assert_eq!(id(&[3, 5, 5]), Some(5));
        assert_eq!(id(&[3, 5, 9, 5, 3]), Some(3));
        assert_eq!(identify(&blocks_of([3, 5, 5])).unwrap().offset, BLOCK_HEADER_LEN as u64);
    }

    #[test]
    fn many_segments_in_one_file_take_no_more_memory() {
        let mut ids: Vec<u8> = (0..=255).collect();
        ids.splice(8..8, [200; 3]);
        assert_eq!(identify(&blocks_of(ids)).unwrap().segment_id, [200; 16]);
    }
}
