//! Equal packets in one block, which are stored once.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use crate::batch::PacketBatch;

/// Says that the payload, too, is equal to that of the earlier row.
pub(super) const PAYLOAD_EQUAL: u32 = 1;

/// The value of COPY_OF: how many rows back, and what is equal.
pub(super) fn encode_copy(distance: usize, payload_equal: bool) -> u32 {
    (distance as u32) << 1 | if payload_equal { PAYLOAD_EQUAL } else { 0 }
}

/// How many rows back the row with the same header bytes is; 0 for a row with its own bytes.
pub(super) fn distance(copy_of: u32) -> usize {
    (copy_of >> 1) as usize
}

/// Finds, for each row, the last earlier row whose header bytes are equal. Rows are compared byte by byte: a hash
/// alone never decides.
#[derive(Default)]
pub(super) struct CopyFinder {
    /// By hash: number of the last row with it, plus one.
    rows: Vec<u32>,
    /// What was found for each row: values of COPY_OF.
    pub(super) of_row: Vec<u32>,
}

/// Equal payloads are left out of a block if they are at least one part in this many of its payload bytes. Leaving out
/// fewer would cost copying all others; the compressor finds these as well.
const PAYLOADS_WORTHWHILE_PART: usize = 4;

/// Most slots of the table: more would not stay in the processor's cache.
const SLOT_COUNT_MAX: usize = 1 << 15;

impl CopyFinder {
    pub(super) fn find(&mut self, batch: &PacketBatch) {
        let slots = (batch.len * 2).next_power_of_two().min(SLOT_COUNT_MAX);
        self.rows.clear();
        self.rows.resize(slots, 0);
        self.of_row.clear();
        for row in 0..batch.len {
            let header = batch.header.get(row).unwrap_or_default();
            let slot = hash(header) as usize & (slots - 1);
            let earlier = std::mem::replace(&mut self.rows[slot], row as u32 + 1) as usize;
            self.of_row.push(match earlier.checked_sub(1) {
                Some(earlier) if !header.is_empty() && batch.header.get(earlier) == Some(header) => {
                    encode_copy(row - earlier, is_same(batch.payload.get(earlier), batch.payload.get(row)))
                }
                _ => 0,
            });
        }
        self.keep_few_payloads(batch);
    }

    /// Takes back that payloads are equal where leaving them out wouldn't be worth it.
    fn keep_few_payloads(&mut self, batch: &PacketBatch) {
        let is_equal = |copy: u32| copy & PAYLOAD_EQUAL != 0;
        let equal_lens = self
            .of_row
            .iter()
            .zip(batch.payload.lens())
            .filter(|(copy, _)| is_equal(**copy))
            .map(|(_, len)| len);
        let equal_len: usize = equal_lens.map(|len| len as usize).sum();
        if equal_len >= batch.payload.data_len() / PAYLOADS_WORTHWHILE_PART {
            return;
        }
        for (copy, len) in self.of_row.iter_mut().zip(batch.payload.lens()) {
            if len > 0 {
                *copy &= !PAYLOAD_EQUAL;
            }
        }
    }
}

/// Whether the bytes are equal. Empty ones aren't compared: what the C library has for that (`memcmp`) reads nothing of the
/// place where none are, and a processor with AVX-512 takes a hundred nanoseconds to find out that it needn't have.
fn is_same(earlier: Option<&[u8]>, bytes: Option<&[u8]>) -> bool {
    let (earlier, bytes) = (earlier.unwrap_or_default(), bytes.unwrap_or_default());
    earlier.len() == bytes.len() && (bytes.is_empty() || earlier == bytes)
}

fn hash(header: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(header);
    hasher.finish() >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::PacketRow;

    #[test]
    fn only_equal_bytes_are_copies() {
        let mut batch = PacketBatch::default();
        let row = PacketRow::default();
        batch.push(&row, b"header one", b"payload");
        batch.push(&row, b"header two", b"payload");
        batch.push(&row, b"header one", b"payload");
        batch.push(&row, b"header one", b"another");
        batch.push(&row, b"", b"");
        batch.push(&row, b"", b"");
        batch.push(&row, b"header two", b"payload");
        let mut finder = CopyFinder::default();
        finder.find(&batch);
        let same = |distance| encode_copy(distance, true);
        assert_eq!(finder.of_row, [0, 0, same(2), encode_copy(1, false), 0, 0, same(5)]);
    }

    #[test]
    fn few_equal_payloads_are_kept() {
        let mut batch = PacketBatch::default();
        let row = PacketRow::default();
        batch.push(&row, b"one", b"");
        batch.push(&row, b"one", b"");
        batch.push(&row, b"two", b"short");
        batch.push(&row, b"two", b"short");
        batch.push(&row, b"three", &[7; 100]);
        let mut finder = CopyFinder::default();
        finder.find(&batch);
        let (whole, header) = (encode_copy(1, true), encode_copy(1, false));
        assert_eq!(finder.of_row, [0, whole, 0, header, 0]);
    }

    #[test]
    fn a_thousand_pairs_find_each_other() {
        let mut batch = PacketBatch::default();
        for i in 0..1_000u32 {
            for _ in 0..2 {
                batch.push(&PacketRow::default(), &i.to_be_bytes(), b"x");
            }
        }
        let mut finder = CopyFinder::default();
        finder.find(&batch);
        let pairs =
            finder.of_row.iter().skip(1).step_by(2).filter(|&&copy| copy == encode_copy(1, true)).count();
        assert_eq!(pairs, 1_000);
        assert!(finder.of_row.iter().step_by(2).all(|&copy| copy == 0));
    }
}
