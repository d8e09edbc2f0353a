//! Names of packets that stay the same however the recording is read.

use std::fmt;

/// A packet's place in its recording: sequence of the segment (20 bits), of the block (24 bits), row (20 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(u64);

const ROW_BITS: u32 = 20;
const BLOCK_BITS: u32 = 24;
const SEGMENT_BITS: u32 = 20;

impl PacketId {
    /// The id of a row. Higher bits than the id has room for are cut off: a recording of more than a million
    /// segments counts from zero again.
    #[must_use]
    pub fn new(segment_sequence: u64, block_sequence: u32, row: u32) -> Self {
        let segment = segment_sequence & mask(SEGMENT_BITS);
        let block = u64::from(block_sequence) & mask(BLOCK_BITS);
        let row = u64::from(row) & mask(ROW_BITS);
        Self(segment << (BLOCK_BITS + ROW_BITS) | block << ROW_BITS | row)
    }

    /// The id with this number.
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The number, which sorts as segment, block, row.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// Segment sequence, block sequence and row.
    #[must_use]
    pub fn parts(self) -> (u64, u32, u32) {
        let segment = self.0 >> (BLOCK_BITS + ROW_BITS);
        let block = (self.0 >> ROW_BITS) & mask(BLOCK_BITS);
        let row = self.0 & mask(ROW_BITS);
        (segment, block as u32, row as u32)
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (segment, block, row) = self.parts();
        write!(f, "{segment}.{block}.{row}")
    }
}

const fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_and_order_is_that_of_the_recording() {
        let id = PacketId::new(3, 70_000, 1_048_575);
        assert_eq!(id.parts(), (3, 70_000, 1_048_575));
        assert_eq!(PacketId::from_u64(id.as_u64()), id);
        assert_eq!(id.to_string(), "3.70000.1048575");
        assert!(id < PacketId::new(3, 70_001, 0));
        assert!(id < PacketId::new(4, 0, 0));
    }

    #[test]
    fn the_largest_parts_do_not_run_into_each_other() {
        let id = PacketId::new((1 << 20) - 1, (1 << 24) - 1, (1 << 20) - 1);
        assert_eq!(id.as_u64(), u64::MAX);
        assert_eq!(PacketId::new(1 << 20, 1 << 24, 1 << 20).as_u64(), 0);
    }
}
