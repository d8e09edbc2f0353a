//! Limits and choices of following flows.

use crate::stream::StreamOptions;

/// Flows that are followed at a time. When there are more, those that were silent longest are given up, closed and
/// half-open ones first.
pub const FLOWS_MAX: usize = 1 << 18;
/// Silence after which a conversation without connections (UDP, ICMP, …) is over, and after which the reports of any flow
/// end: Packetbeat's `flows.timeout`.
pub const FLOW_TIMEOUT_DEFAULT_NS: i64 = 30_000_000_000;
/// Time between two reports of a flow: Packetbeat's `flows.period`.
pub const FLOW_PERIOD_DEFAULT_NS: i64 = 10_000_000_000;
/// Silence after which a closed connection is forgotten: TIME-WAIT, twice the maximum segment lifetime (RFC 9293, section
/// 3.4.2). A late packet is still one of its packets until then.
pub(super) const CLOSED_LINGER_NS: i64 = 240_000_000_000;
/// Silence after which a connection that only one side ever spoke on is forgotten: longer than Linux repeats a SYN (127 s
/// with `tcp_syn_retries = 6`).
pub(super) const HALF_OPEN_TIMEOUT_NS: i64 = 300_000_000_000;
/// Silence after which a connection that both sides spoke on is over: 2 hours and 4 minutes, the least that a translator has to
/// keep it for (RFC 5382, section 5), since hosts ask whether the other one is alive after two hours (RFC 9293, section 3.8.4).
/// Recordings miss the end of many connections: without it, what is kept would grow with the recording.
pub const OPEN_TIMEOUT_NS: i64 = 7_440_000_000_000;
/// Packets of a flow for which an acknowledgement of missing bytes may be early, before the bytes are called missing:
/// recordings of several queues or processors are a little out of order.
pub const HOLD_PACKETS_MAX: u32 = 16;
/// Time for which it may be early.
pub(super) const HOLD_TIME_MAX_NS: i64 = 100_000_000;
/// After this many acknowledgements in a row that were not early, but told of missing packets, nothing is waited for.
pub(super) const HOLDS_FAILED_MAX: u8 = 3;

/// One of several parts of all flows, for those who divide them between tables: each flow, whichever way its packets go, is in
/// one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowPart {
    /// Which part, from 0.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

impl FlowPart {
    /// All flows.
    pub const ALL: Self = Self { number: 0, of: 1 };

    /// The part that a flow of this id is in, of so many.
    #[must_use]
    pub fn number_of(flow_id: u64, of: u32) -> u32 {
        // The remainder is less than a number of 32 bits.
        (flow_id % u64::from(of.max(1))) as u32
    }

    /// Whether a flow of this id is in it.
    #[must_use]
    pub fn has(self, flow_id: u64) -> bool {
        self.of <= 1 || Self::number_of(flow_id, self.of) == self.number
    }
}

/// Choices of following flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowOptions {
    /// Silence after which a conversation without connections is over, in nanoseconds.
    pub timeout_ns: i64,
    /// Time between reports in nanoseconds; `None` for one report at the end.
    pub period_ns: Option<i64>,
    /// Flows that are followed at a time.
    pub flows_max: usize,
    /// The flows that are followed; packets of others are passed over.
    pub part: FlowPart,
    /// Whether streams are reassembled, and datagrams handed on.
    pub streams: bool,
    /// Whether [`FlowConsumer::report`](super::FlowConsumer::report) is called.
    pub reports: bool,
    /// How streams are reassembled.
    pub stream: StreamOptions,
}

impl Default for FlowOptions {
    fn default() -> Self {
        Self {
            timeout_ns: FLOW_TIMEOUT_DEFAULT_NS,
            period_ns: Some(FLOW_PERIOD_DEFAULT_NS),
            flows_max: FLOWS_MAX,
            part: FlowPart::ALL,
            streams: true,
            reports: false,
            stream: StreamOptions::default(),
        }
    }
}
