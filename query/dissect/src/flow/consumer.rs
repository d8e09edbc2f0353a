//! Who wants to know what happens in flows.

use super::model::{Flow, Side};
use super::report::FlowReport;
use crate::decode::Icmp;
use crate::stream::{DisagreementFact, Dropped, EndReason, Gap, PacketRef, StreamData};

/// A datagram: the payload of a packet of anything but TCP.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Captured bytes after the transport header; after the network header for protocols that are not decoded.
    pub payload: &'a [u8],
    /// Bytes on the wire: as many or more.
    pub payload_len: u32,
    /// For ICMP, the header of the message.
    pub icmp: Option<Icmp>,
    /// The packet; the last one of a datagram that came in fragments.
    pub packet: PacketRef,
}

/// Why a flow is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both sides closed their direction, or one reset the connection, and nothing came any more.
    Closed,
    /// Nothing came for too long.
    Timeout,
    /// A new connection with the same addresses and ports began.
    Reused,
    /// It was given up to make room for others.
    Evicted,
    /// The recording ended.
    EndOfCapture,
}

impl CloseReason {
    /// Name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Reused => "reused",
            Self::Evicted => "evicted",
            Self::EndOfCapture => "end_of_capture",
        }
    }

    pub(super) fn end_of_streams(self) -> EndReason {
        match self {
            Self::Closed | Self::Timeout => EndReason::Timeout,
            Self::Reused => EndReason::Reused,
            Self::Evicted => EndReason::Evicted,
            Self::EndOfCapture => EndReason::EndOfCapture,
        }
    }
}

/// What is told of flows, with a state of the consumer's own kept for each. Between both directions of a flow, bytes come
/// in causal order: what a side sent after it acknowledged bytes comes after these.
#[allow(unused_variables)]
pub trait FlowConsumer {
    /// What the consumer keeps of a flow.
    type State: Default;

    /// A flow begins with this packet.
    fn opened(&mut self, flow: &Flow, state: &mut Self::State) {}

    /// A packet belongs to this flow; it was counted, and what it carries is told next.
    fn packet(&mut self, flow: &Flow, state: &mut Self::State, side: Side, packet: PacketRef) {}

    /// The next bytes that a side sent over TCP.
    fn data(&mut self, flow: &Flow, state: &mut Self::State, side: Side, data: StreamData<'_>) {}

    /// The next bytes that a side sent over TCP are missing.
    fn gap(&mut self, flow: &Flow, state: &mut Self::State, side: Side, gap: Gap) {}

    /// A side sends no more over TCP. `offset` is the length of its stream.
    fn end(
        &mut self,
        flow: &Flow,
        state: &mut Self::State,
        side: Side,
        reason: EndReason,
        offset: u64,
        packet: PacketRef,
    ) {
    }

    /// A side sent a datagram.
    fn datagram(&mut self, flow: &Flow, state: &mut Self::State, side: Side, datagram: Datagram<'_>) {}

    /// Two packets of a side carry different bytes for one place of its stream.
    fn disagreement(&mut self, flow: &Flow, state: &mut Self::State, side: Side, fact: DisagreementFact) {}

    /// Bytes of a side have no place in its stream.
    fn dropped(&mut self, flow: &Flow, state: &mut Self::State, side: Side, dropped: Dropped) {}

    /// A report of a flow that goes on, or its last.
    fn report(&mut self, flow: &Flow, state: &mut Self::State, report: &FlowReport) {}

    /// A flow is over.
    fn closed(&mut self, flow: &Flow, state: Self::State, reason: CloseReason) {}
}
