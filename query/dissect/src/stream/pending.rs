//! Segments that wait for what is missing before them.

use std::collections::BTreeMap;

use super::event::{DisagreementFact, PacketRef, StreamEvent};
use super::options::{Overlaps, PENDING_SEGMENTS_MAX, SEGMENT_OVERHEAD, StreamBudget};

/// Bytes at a place of a stream, or the knowledge that a packet had bytes there which were not captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Captured bytes; none where only the length is known.
    pub(super) bytes: Vec<u8>,
    /// Length in the stream: that of `bytes`, unless it is empty.
    pub(super) len: u64,
    /// The packet they came with.
    pub(super) packet: PacketRef,
}

impl Piece {
    pub(super) fn captured(bytes: &[u8], packet: PacketRef) -> Self {
        Self { bytes: bytes.to_vec(), len: bytes.len() as u64, packet }
    }

    pub(super) fn unknown(len: u64, packet: PacketRef) -> Self {
        Self { bytes: Vec::new(), len, packet }
    }

    fn is_captured(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Cuts off what lies `at` bytes behind the beginning, and returns it. `at` is below the length.
    fn split_off(&mut self, at: u64) -> Self {
        let bytes = if self.is_captured() { self.bytes.split_off(at as usize) } else { Vec::new() };
        // What is counted is what is kept: not the room of all that was cut off.
        self.bytes.shrink_to_fit();
        let rest = Self { bytes, len: self.len - at, packet: self.packet };
        self.len = at;
        rest
    }

    fn cost(&self) -> usize {
        self.bytes.len() + SEGMENT_OVERHEAD
    }
}

/// The first to the last byte that differ, if any does: (place of the first, bytes to the last).
pub(super) fn differing(one: &[u8], other: &[u8]) -> Option<(usize, usize)> {
    if one == other {
        return None;
    }
    let differs = |(a, b): (&u8, &u8)| a != b;
    let first = one.iter().zip(other).position(differs)?;
    let last = one.iter().zip(other).rposition(differs)?;
    Some((first, last - first + 1))
}

/// Pieces that don't overlap, by their offset.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pieces: BTreeMap<u64, Piece>,
    /// What the pieces took from the budget.
    cost: usize,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Offset of the first piece.
    pub(super) fn first_offset(&self) -> Option<u64> {
        self.pieces.first_key_value().map(|(offset, _)| *offset)
    }

    /// Where the last piece ends.
    pub(super) fn end_offset(&self) -> Option<u64> {
        self.pieces.last_key_value().map(|(offset, piece)| offset + piece.len)
    }

    /// True when the stream or all streams hold more than they may.
    pub(super) fn is_over(&self, stream_bytes_max: usize) -> bool {
        self.cost > stream_bytes_max || self.pieces.len() > PENDING_SEGMENTS_MAX
    }

    /// Removes the first piece.
    pub(super) fn pop_first(&mut self, budget: &mut StreamBudget) -> Option<(u64, Piece)> {
        let (offset, piece) = self.pieces.pop_first()?;
        self.uncount(&piece, budget);
        Some((offset, piece))
    }

    /// Adds a piece, and tells where it contradicts those that are there. False when the budget of all streams does not
    /// allow it; nothing is added then.
    pub(super) fn insert(
        &mut self,
        mut offset: u64,
        mut piece: Piece,
        overlaps: Overlaps,
        budget: &mut StreamBudget,
        sink: &mut impl FnMut(StreamEvent<'_>),
    ) -> bool {
        // Each piece that is there can cut the new one, or be cut by it, once.
        let pieces_max = 1 + self.overlapping(offset, piece.len).count();
        if budget.left() < piece.cost() + pieces_max * SEGMENT_OVERHEAD {
            return false;
        }
        loop {
            let end = offset + piece.len;
            let Some(&at) = self.overlapping(offset, piece.len).next().as_ref() else {
                self.put(offset, piece, budget);
                return true;
            };
            let Some(mut there) = self.pieces.remove(&at) else { return true };
            self.uncount(&there, budget);
            // Keep what lies before and behind the common part.
            let mut common = offset.max(at);
            if at < common {
                let rest = there.split_off(common - at);
                self.put(at, std::mem::replace(&mut there, rest), budget);
            } else if offset < common {
                let rest = piece.split_off(common - offset);
                self.put(offset, std::mem::replace(&mut piece, rest), budget);
            }
            let common_len = piece.len.min(there.len);
            if there.len > common_len {
                let rest = there.split_off(common_len);
                self.put(common + common_len, rest, budget);
            }
            let rest = (piece.len > common_len).then(|| piece.split_off(common_len));
            let keeps_first = match (there.is_captured(), piece.is_captured()) {
                (true, true) => {
                    let keeps_first = overlaps == Overlaps::FirstWins;
                    if let Some((first, len)) = differing(&there.bytes, &piece.bytes) {
                        let (kept, rejected) = if keeps_first { (&there, &piece) } else { (&piece, &there) };
                        sink(StreamEvent::Disagreement(DisagreementFact {
                            offset: common + first as u64,
                            len: len as u64,
                            kept: kept.packet,
                            rejected: rejected.packet,
                        }));
                    }
                    keeps_first
                }
                (captured, _) => captured,
            };
            self.put(common, if keeps_first { there } else { piece }, budget);
            common += common_len;
            match rest {
                Some(rest) if common < end => (offset, piece) = (common, rest),
                _ => return true,
            }
        }
    }

    /// Gives all memory back.
    pub(super) fn clear(&mut self, budget: &mut StreamBudget) {
        self.pieces.clear();
        budget.give_back(std::mem::take(&mut self.cost));
    }

    /// Offsets of the pieces that have bytes in a range.
    fn overlapping(&self, offset: u64, len: u64) -> impl Iterator<Item = u64> {
        let before = self.pieces.range(..offset).next_back();
        let reaching = before.filter(|(at, piece)| **at + piece.len > offset).map(|(at, _)| *at);
        reaching.into_iter().chain(self.pieces.range(offset..offset + len).map(|(at, _)| *at))
    }

    fn put(&mut self, offset: u64, piece: Piece, budget: &mut StreamBudget) {
        if piece.len == 0 {
            return;
        }
        let cost = piece.cost();
        // The caller saw to it that there is enough.
        budget.take(cost);
        self.cost += cost;
        self.pieces.insert(offset, piece);
    }

    fn uncount(&mut self, piece: &Piece, budget: &mut StreamBudget) {
        let cost = piece.cost();
        self.cost -= cost;
        budget.give_back(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each once kept the room of all that was cut off it: a hundred times of what was counted.
    #[test]
    fn pieces_hold_what_they_count() {
        let packet = PacketRef { packet_id: 1, time_ns: 1, tag: 0 };
        let mut piece = Piece::captured(&[1; 10_000], packet);
        let rest = piece.split_off(10);
        assert_eq!((piece.bytes.len(), rest.bytes.len()), (10, 9_990));
        assert!(piece.bytes.capacity() < 100);
    }
}
