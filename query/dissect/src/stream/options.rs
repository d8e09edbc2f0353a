//! Limits and choices of reassembly.

/// Bytes that may wait in one direction for what is missing before them, unless options say otherwise.
pub const STREAM_BYTES_MAX: usize = 4 << 20;
/// Bytes that may wait in all streams together, unless options say otherwise.
pub const TOTAL_BYTES_MAX: usize = 256 << 20;
/// Segments that may wait in one direction: bounds the memory that tiny ones take beside their bytes.
pub const PENDING_SEGMENTS_MAX: usize = 4096;
/// Bytes that were handed on and are kept for comparing them with retransmissions, in each direction.
pub const RECENT_BYTES_MAX: usize = 16 << 10;
/// What a waiting segment takes beside its bytes, in bytes.
pub(super) const SEGMENT_OVERHEAD: usize = 96;

/// Whose bytes count where segments overlap that still wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlaps {
    /// Those that came first, as most receivers do.
    #[default]
    FirstWins,
    /// Those that came last. Bytes that were already handed on stay as they are.
    LastWins,
}

/// Choices of reassembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Whose bytes count.
    pub overlaps: Overlaps,
    /// Bytes that may wait in one direction.
    pub stream_bytes_max: usize,
    /// Bytes that may wait in all streams.
    pub total_bytes_max: usize,
    /// Bytes that were handed on and are compared with retransmissions; 0 compares only bytes that wait.
    pub recent_bytes_max: usize,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            overlaps: Overlaps::default(),
            stream_bytes_max: STREAM_BYTES_MAX,
            total_bytes_max: TOTAL_BYTES_MAX,
            recent_bytes_max: RECENT_BYTES_MAX,
        }
    }
}

/// The memory that waiting segments of all streams share.
#[derive(Debug)]
pub struct StreamBudget {
    left: usize,
}

impl StreamBudget {
    /// A budget of this many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { left: bytes }
    }

    /// Bytes that are not taken.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left
    }

    /// Takes bytes, if there are as many.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let enough = bytes <= self.left;
        if enough {
            self.left -= bytes;
        }
        enough
    }

    pub(super) fn give_back(&mut self, bytes: usize) {
        self.left += bytes;
    }
}
