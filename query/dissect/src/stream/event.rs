//! What reassembly tells.

/// The packet that something comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PacketRef {
    /// The packet's id in its recording.
    pub packet_id: u64,
    /// When it was seen, in nanoseconds since 1970.
    pub time_ns: i64,
    /// Whatever who gave the packet wants to know of it, when what it brought is told.
    pub tag: u32,
}

/// Something about a stream, in the order of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEvent<'a> {
    /// The next bytes.
    Data(StreamData<'a>),
    /// The next bytes are missing.
    Gap(Gap),
    /// Bytes came twice, and not the same ones.
    Disagreement(DisagreementFact),
    /// Bytes came that have no place in the stream any more.
    Dropped(Dropped),
    /// No more comes. `offset` is the length of the stream, gaps included.
    End {
        /// Why.
        reason: EndReason,
        /// Bytes and gaps before the end.
        offset: u64,
        /// The last packet, or the one that ended it.
        packet: PacketRef,
    },
}

/// Contiguous bytes of a stream that came with one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamData<'a> {
    /// Bytes of the stream before these, gaps included. 0 is the first byte after the SYN; of a stream that was joined late,
    /// the first byte that was seen or was expected.
    pub offset: u64,
    /// At least one.
    pub bytes: &'a [u8],
    /// The packet that carried them.
    pub packet: PacketRef,
}

/// Bytes that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where the gap begins.
    pub offset: u64,
    /// Bytes that are missing; at least one.
    pub len: u64,
    /// Why.
    pub reason: GapReason,
    /// The packet that made the gap certain.
    pub packet: PacketRef,
}

/// Why bytes are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// The receiver acknowledged them; no packet of the recording carries them.
    NotCaptured,
    /// Their packet was recorded, but not its end (snaplen, headers only).
    Truncated,
    /// Later bytes waited for them until the memory limit of the stream or of all streams was reached.
    Budget,
    /// The flow ended, or the recording, with later bytes waiting for them.
    NeverSeen,
}

impl GapReason {
    /// Name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotCaptured => "not_captured",
            Self::Truncated => "truncated",
            Self::Budget => "budget",
            Self::NeverSeen => "never_seen",
        }
    }
}

/// Two packets that carry different bytes for one place of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisagreementFact {
    /// The first byte that differs.
    pub offset: u64,
    /// Bytes from the first that differs to the last that differs.
    pub len: u64,
    /// The packet whose bytes are in the stream.
    pub kept: PacketRef,
    /// The packet whose bytes are not.
    pub rejected: PacketRef,
}

/// Bytes without a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Sequence number of the first of them.
    pub sequence: u32,
    /// How many.
    pub len: u64,
    /// Why.
    pub reason: DropReason,
    /// The packet that carried them.
    pub packet: PacketRef,
}

/// Why bytes have no place in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// They belong before the first byte of a stream that was joined late.
    BeforeStart,
    /// They came after their gap had been told.
    Late,
    /// They lie behind the end that a FIN gave.
    AfterEnd,
}

impl DropReason {
    /// Name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeStart => "before_start",
            Self::Late => "late",
            Self::AfterEnd => "after_end",
        }
    }
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// A FIN, and all before it was told.
    Fin,
    /// A RST of either side.
    Reset,
    /// Another connection with the same addresses and ports began.
    Reused,
    /// Nothing came for too long.
    Timeout,
    /// The flow was given up to make room.
    Evicted,
    /// The recording ended.
    EndOfCapture,
}

impl EndReason {
    /// Name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Reset => "reset",
            Self::Reused => "reused",
            Self::Timeout => "timeout",
            Self::Evicted => "evicted",
            Self::EndOfCapture => "end_of_capture",
        }
    }
}
