//! Packets that no process sent.

use super::PacketFacts;
use crate::Direction;
use crate::decode::{Network, Transport, tcp_flag};

/// Internet group management: only kernels speak it.
const IGMP: u8 = 2;

/// True for ARP, and when a packet that left without a known socket is of a kind that the kernel sends by itself, through
/// sockets of its own: resets of connections that nobody has, answers to pings, ICMP errors, neighbour and group management, and
/// acknowledgements for a connection that was closed (`connection_closed`; `tcp_v4_timewait_ack`).
pub(super) fn made_by_kernel(packet: &PacketFacts<'_>, connection_closed: bool) -> bool {
    if matches!(packet.decoded.network, Network::Arp(_)) {
        return true;
    }
    if packet.direction != Direction::Egress {
        return false;
    }
    let Some(ip) = packet.decoded.ip() else { return false };
    match &packet.decoded.transport {
        Transport::Tcp(tcp) if tcp.flags & tcp_flag::RST != 0 => true,
        Transport::Tcp(tcp) => {
            connection_closed
                && packet.decoded.payload_len == 0
                && tcp.flags & (tcp_flag::SYN | tcp_flag::FIN | tcp_flag::ACK) == tcp_flag::ACK
        }
        // Echo reply; unreachable, quench, redirect, time exceeded, parameter problem; timestamp reply.
        Transport::Icmp(icmp) if ip.version == 4 => matches!(icmp.kind, 0 | 3..=5 | 11 | 12 | 14),
        // Errors; echo reply, multicast listeners, neighbour discovery, redirect; listener reports of version 2.
        Transport::Icmp(icmp) => matches!(icmp.kind, 1..=4 | 129..=137 | 143),
        _ => ip.protocol == IGMP,
    }
}
