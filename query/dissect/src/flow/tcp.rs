//! What a TCP packet changes in its flow.

use super::endpoint::{Endpoint, EndpointState, Flags};
use super::history::History;
use super::model::{Flow, Side, TcpFlow};
use super::recency::Class;
use super::tcp_side::{Header, TcpSide};
use crate::decode::{Tcp, tcp_flag};

impl Flow {
    /// Follows a TCP header that `side` sent.
    pub(super) fn follow_tcp(&mut self, side: Side, tcp: &Tcp, payload_len: u32, time_ns: i64) {
        let flow = self.tcp.get_or_insert_default();
        let has = |flag| tcp.flags & flag != 0;
        let header = Header {
            sequence: tcp.sequence,
            acknowledgement: has(tcp_flag::ACK).then_some(tcp.acknowledgement),
            window: tcp.window,
            payload_len,
            syn: has(tcp_flag::SYN),
            fin: has(tcp_flag::FIN),
            rst: has(tcp_flag::RST),
            time_ns,
        };
        let flags = Flags {
            syn: header.syn,
            ack: header.acknowledgement.is_some(),
            fin: header.fin,
            rst: header.rst,
        };
        flow.time_handshake(side, &header);
        let round_trip_ns = flow.handshake_rtt_ns();
        let [client, server] = &mut flow.sides;
        let (own, peer) = if side == Side::Client { (client, server) } else { (server, client) };
        let history = &mut self.history;
        push_flags(history, side, own, &header);
        if header.window == 0 && !header.rst {
            history.push_scaled(side, b'w', own.counters().zero_windows + 1);
        }
        if let Some(count) = own.zeek_retransmission(&header) {
            history.push_scaled(side, b't', count);
        }
        own.segment(&header, peer, round_trip_ns);
        let [client, server] = &mut flow.endpoints;
        let (sender, receiver) = if side == Side::Client { (client, server) } else { (server, client) };
        Endpoint::update(sender, receiver, side == Side::Client, flags);
        // The acknowledgement in a RST need not be one of what was sent.
        if let Some(acknowledgement) = header.acknowledgement.filter(|_| !header.rst)
            && let Some(count) = peer.acknowledged_by_peer(acknowledgement)
        {
            history.push_scaled(side.other(), b'g', count);
        }
    }
}

/// Zeek's letters for flags, data and acknowledgements (`update_history` in `TCPSessionAdapter.cc`).
fn push_flags(history: &mut History, side: Side, own: &mut TcpSide, header: &Header) {
    let acknowledges = header.acknowledgement.is_some();
    match (header.syn, header.fin, header.rst) {
        (false, false, false) if header.payload_len > 0 => {
            history.push_once(side, b'd');
        }
        (false, false, false) if acknowledges => {
            history.push_once(side, b'a');
        }
        (false, false, false) => {}
        (true, false, false) => {
            if !own.repeats_syn(header.sequence) {
                history.push(side, if acknowledges { b'h' } else { b's' });
            }
        }
        (false, true, false) => {
            if !own.repeats_fin(header.sequence.wrapping_add(header.payload_len)) {
                history.push(side, b'f');
            }
        }
        (false, false, true) => {
            if !own.repeats_rst(header.sequence) {
                history.push(side, b'r');
            }
        }
        (false, true, true) => {
            history.push_once(side, b'i');
        }
        (true, ..) => {
            history.push_once(side, b'q');
        }
    }
}

impl TcpFlow {
    /// Notes when the handshake's packets came: the last SYN before the SYN-ACK, and the first of the others.
    fn time_handshake(&mut self, side: Side, header: &Header) {
        let acknowledges = header.acknowledgement.is_some();
        match (side, header.syn) {
            (Side::Client, true) if self.syn_ack_ns.is_none() => self.syn_ns = Some(header.time_ns),
            (Side::Server, true) if acknowledges => {
                self.syn_ack_ns.get_or_insert(header.time_ns);
            }
            (Side::Client, false) if acknowledges && !header.rst && self.syn_ack_ns.is_some() => {
                self.handshake_ack_ns.get_or_insert(header.time_ns);
            }
            _ => {}
        }
    }

    /// True when a SYN of a side begins another connection.
    pub(super) fn is_reused_by(&self, side: Side, tcp: &Tcp) -> bool {
        tcp.flags & (tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST) == tcp_flag::SYN
            && self.sides[side.index()].is_other_syn(tcp.sequence)
    }

    fn is_over(&self) -> bool {
        let states = self.endpoints.map(|end| end.state);
        states.contains(&EndpointState::Reset) || states == [EndpointState::Closed; 2]
    }

    /// How long its silence may last.
    pub(super) fn class(&self, both_spoke: bool) -> Class {
        if self.is_over() {
            Class::Closed
        } else if both_spoke {
            Class::Open
        } else {
            Class::HalfOpen
        }
    }
}
