//! What is known of a flow.

use super::endpoint::{ConnState, Endpoint};
use super::history::History;
use super::tcp_side::TcpSide;
use crate::decode::ip_protocol;
use crate::flow_id::FlowKey;

/// An end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The one that began: it sent the SYN, the request, the first packet.
    Client,
    /// The other.
    Server,
}

impl Side {
    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// Name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    /// 0 for the client, 1 for the server.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self == Self::Server)
    }
}

/// What a side sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes on the wire as recorded, link headers included where there are any: Wireshark's bytes of a conversation.
    pub bytes: u64,
    /// Bytes from the IP header on: Zeek's `ip_bytes`.
    pub ip_bytes: u64,
    /// Bytes of transport payload, retransmissions included.
    pub payload_bytes: u64,
    /// Bytes of payload that were on the wire and not captured.
    pub truncated_bytes: u64,
}

/// What a side's TCP did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpSideCounters {
    /// Segments that were sent again, by the rules of Wireshark's `tcp.analysis.retransmission` (which counts fast and
    /// spurious ones).
    pub retransmissions: u32,
    /// Bytes of those.
    pub retransmitted_bytes: u64,
    /// Segments that came late but were not sent again, by the rules of Wireshark's `tcp.analysis.out_of_order`.
    pub out_of_order: u32,
    /// Keep-alives: no data or one byte, from before the next byte.
    pub keep_alives: u32,
    /// Packets that announce a window of zero.
    pub zero_windows: u32,
    /// Acknowledgements that repeat the one before, by Wireshark's rules.
    pub duplicate_acks: u32,
    /// Holes in what was recorded of the stream.
    pub gaps: u32,
    /// Bytes in the holes.
    pub missing_bytes: u64,
}

/// What is known of a TCP connection.
#[derive(Debug, Default)]
pub struct TcpFlow {
    pub(super) endpoints: [Endpoint; 2],
    pub(super) sides: [TcpSide; 2],
    pub(super) syn_ns: Option<i64>,
    pub(super) syn_ack_ns: Option<i64>,
    pub(super) handshake_ack_ns: Option<i64>,
}

impl TcpFlow {
    /// What a side's TCP did.
    #[must_use]
    pub fn side(&self, side: Side) -> TcpSideCounters {
        self.sides[side.index()].counters()
    }

    /// Bytes of a side's stream by its sequence numbers, recorded or not: Zeek's `orig_bytes` and `resp_bytes`.
    #[must_use]
    pub fn stream_bytes(&self, side: Side) -> u64 {
        self.sides[side.index()].stream_bytes()
    }

    /// The initial sequence number of a side, if its SYN was recorded.
    #[must_use]
    pub fn initial_sequence(&self, side: Side) -> Option<u32> {
        self.sides[side.index()].initial_sequence()
    }

    /// From the SYN to the acknowledgement of the SYN-ACK, in nanoseconds: a round trip of both halves of the way.
    #[must_use]
    pub fn handshake_rtt_ns(&self) -> Option<i64> {
        Some(self.handshake_ack_ns?.saturating_sub(self.syn_ns?))
    }

    /// From the SYN to the SYN-ACK: a round trip between where it was recorded and the server.
    #[must_use]
    pub fn server_rtt_ns(&self) -> Option<i64> {
        Some(self.syn_ack_ns?.saturating_sub(self.syn_ns?))
    }

    /// From the SYN-ACK to its acknowledgement: a round trip between where it was recorded and the client.
    #[must_use]
    pub fn client_rtt_ns(&self) -> Option<i64> {
        Some(self.handshake_ack_ns?.saturating_sub(self.syn_ack_ns?))
    }
}

/// A conversation.
#[derive(Debug)]
pub struct Flow {
    /// [`flow_id`](crate::flow_id()) of its packets.
    pub flow_id: u64,
    /// Its addresses and ports: the source is the client.
    pub key: FlowKey,
    /// 4 or 6.
    pub ip_version: u8,
    /// The flow of the tunnel that carries this one.
    pub parent_flow_id: Option<u64>,
    /// First packet. Addresses and ports are used again, and flow ids with them: this tells one conversation from the next.
    pub first_packet_id: u64,
    /// When it was seen, in nanoseconds since 1970.
    pub first_ns: i64,
    /// When the last packet was seen.
    pub last_ns: i64,
    /// True when it is certain which side began: a SYN or SYN-ACK, or an ICMP request, was recorded. Else the first packet and
    /// well-known ports decide.
    pub initiator_known: bool,
    /// What the client sent, and the server.
    pub sides: [Counters; 2],
    /// Types and codes of ICMP, as Zeek shows them in place of ports: type of the client's messages; type of the answers, or
    /// the code where there are none.
    pub icmp: Option<(u8, u8)>,
    /// For TCP.
    pub tcp: Option<TcpFlow>,
    pub(super) history: History,
}

impl Flow {
    /// What a side sent.
    #[must_use]
    pub fn side(&self, side: Side) -> &Counters {
        &self.sides[side.index()]
    }

    /// IP protocol.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.key.protocol
    }

    /// Zeek's `conn_state`.
    #[must_use]
    pub fn conn_state(&self) -> ConnState {
        if let Some(tcp) = &self.tcp {
            let [client, server] = &tcp.endpoints;
            let is_empty = tcp.sides.iter().all(|side| side.stream_bytes() == 0);
            return ConnState::of_tcp(client.state, server.state, is_empty);
        }
        if self.key.protocol == ip_protocol::UDP {
            return ConnState::of_udp(self.sides[0].packets > 0, self.sides[1].packets > 0);
        }
        ConnState::Oth
    }

    /// Zeek's `history`.
    #[must_use]
    pub fn history(&self) -> &str {
        self.history.as_str()
    }

    /// For TCP, true when the recording has all of it: both SYNs, the end, and all bytes between. `None` for what has no beginning
    /// and end.
    #[must_use]
    pub fn complete(&self) -> Option<bool> {
        let tcp = self.tcp.as_ref()?;
        let whole = tcp.sides.iter().all(TcpSide::is_whole);
        let ended = tcp.endpoints.iter().any(|end| end.state == super::EndpointState::Reset)
            || tcp.endpoints.iter().all(|end| end.state == super::EndpointState::Closed);
        let captured = self.sides.iter().all(|side| side.truncated_bytes == 0);
        Some(whole && ended && captured)
    }
}
