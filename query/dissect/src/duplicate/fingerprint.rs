//! What two copies of a packet have in common.

use twox_hash::XxHash3_128;

use super::Candidate;
use crate::decode::{DecodeError, Network, SPLIT_HEADER_LEN_MAX, Transport};

/// Bytes of payload that are compared when more was captured of one copy than of the other.
const PREFIX_LEN: usize = 64;

/// Bytes that are hashed beside the headers: length on the wire, and namespace.
const TAIL_LEN: usize = 12;

/// Places of total length and identification in an IPv4 header.
const IPV4_LENGTH_AND_ID: std::ops::Range<usize> = 2..6;

/// Place of the payload length in an IPv6 header.
const IPV6_LENGTH: std::ops::Range<usize> = 4..6;

/// Places of the next header in an IPv6 header, and of the header after it.
const IPV6_NEXT_HEADER: usize = 6;
const IPV6_HEADER_LEN: usize = 40;

/// Bytes of a hop-by-hop header that has only a jumbo payload option, and how it goes on after its next header
/// (RFC 2675, 2): its length in units of eight bytes without the first, and the option's type and length.
const JUMBO_HEADER_LEN: usize = 8;
const JUMBO_HEADER: [u8; 3] = [0, 0xc2, 4];

/// Place of the low eight flags in a TCP header, and three of them.
const TCP_FLAGS: usize = 13;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// Places of TTL and hop limit.
const IPV4_TTL: usize = 8;
const IPV6_HOP_LIMIT: usize = 7;

/// Bytes of an ARP packet for Ethernet and IPv4 (RFC 826).
const ARP_LEN: usize = 28;

/// Place of the checksum in an IPv4 header.
const IPV4_CHECKSUM: std::ops::Range<usize> = 10..12;

/// A hash of all that must be equal in the headers of two copies; 128 bits, so that equal hashes mean equal headers. `None`
/// for what is not matched: no IP, or headers that were not wholly captured.
pub(super) fn headers(candidate: &Candidate<'_>) -> Option<u128> {
    let headers = Headers::of(candidate)?;
    let wire_len = candidate.wire_len.saturating_sub(candidate.decoded.network_offset);
    Some(headers.hash(candidate, wire_len))
}

/// A hash of all that must be equal in a packet's frames at several interfaces, and the TTL, which routers lower: a packet
/// of IP without it, or ARP. Padding behind a short packet doesn't count.
pub(super) fn routed(candidate: &Candidate<'_>) -> Option<(u128, u8)> {
    let decoded = candidate.decoded;
    if let Network::Arp(_) = decoded.network {
        let arp = candidate.header.get(decoded.network_offset as usize..)?.get(..ARP_LEN)?;
        return Some((XxHash3_128::oneshot(arp), 0));
    }
    let mut headers = Headers::of(candidate)?;
    let ip = decoded.ip()?;
    let ttl_at = if ip.version == 4 { IPV4_TTL } else { IPV6_HOP_LIMIT };
    *headers.bytes.get_mut(ttl_at)? = 0;
    let wire_len = candidate.wire_len.saturating_sub(decoded.network_offset);
    Some((headers.hash(candidate, wire_len.min(ip.total_len)), ip.ttl))
}

/// A hash of all that must be equal in the headers of a TCP packet and of the pieces that it is cut into: all but lengths,
/// identification, sequence number and the flags that only the first or the last piece has (`tcp_gso_segment`).
pub(super) fn pieces(candidate: &Candidate<'_>) -> Option<u128> {
    let mut headers = Headers::of(candidate)?;
    let ip = candidate.decoded.ip()?;
    candidate.decoded.tcp()?;
    headers.remove_jumbo_header();
    let varying = if ip.version == 4 { IPV4_LENGTH_AND_ID } else { IPV6_LENGTH };
    headers.bytes.get_mut(varying)?.fill(0);
    let tcp = headers.transport;
    headers.bytes.get_mut(tcp + 4..tcp + 8)?.fill(0);
    *headers.bytes.get_mut(tcp + TCP_FLAGS)? &= !(FIN | PSH | CWR);
    Some(headers.hash(candidate, 0))
}

/// Headers without what devices change.
struct Headers {
    bytes: [u8; SPLIT_HEADER_LEN_MAX + TAIL_LEN],
    len: usize,
    /// Where the transport header begins.
    transport: usize,
}

impl Headers {
    fn of(candidate: &Candidate<'_>) -> Option<Self> {
        let decoded = candidate.decoded;
        let ip = decoded.ip()?;
        // Headers that were not read to their end say too little of what is behind them.
        match decoded.error {
            Some(DecodeError::Truncated { .. } | DecodeError::HeaderLen { .. }) => return None,
            Some(_) if decoded.transport == Transport::None => return None,
            _ => {}
        }
        let start = decoded.network_offset as usize;
        let headers = candidate.header.get(start..decoded.header_len as usize)?;
        let mut buffer = [0; SPLIT_HEADER_LEN_MAX + TAIL_LEN];
        if headers.len() > SPLIT_HEADER_LEN_MAX {
            return None;
        }
        buffer[..headers.len()].copy_from_slice(headers);
        if ip.version == 4 {
            buffer[IPV4_CHECKSUM].fill(0);
        }
        let transport = (decoded.transport_offset as usize).saturating_sub(start);
        let checksum = match decoded.transport {
            Transport::Tcp(_) => 16..18,
            Transport::Udp { .. } => 6..8,
            Transport::Icmp(_) | Transport::Igmp { .. } => 2..4,
            Transport::Sctp { .. } => 8..12,
            Transport::None => 0..0,
        };
        let checksum = transport + checksum.start..transport + checksum.end;
        if let Some(checksum) = buffer[..headers.len()].get_mut(checksum) {
            checksum.fill(0);
        }
        Some(Self { bytes: buffer, len: headers.len(), transport })
    }

    /// Removes the header that the kernel puts before TCP packets longer than IPv6 can tell (`ip6_xmit`), and takes away
    /// again before it cuts them (`ipv6_hopopt_jumbo_remove`).
    fn remove_jumbo_header(&mut self) {
        let end = IPV6_HEADER_LEN + JUMBO_HEADER_LEN;
        let is_ipv6 = self.bytes[0] >> 4 == 6;
        let has_jumbo_header = self.bytes[IPV6_NEXT_HEADER] == 0
            && self.bytes[IPV6_HEADER_LEN + 1..][..JUMBO_HEADER.len()] == JUMBO_HEADER;
        if is_ipv6 && has_jumbo_header && self.transport >= end && self.len >= self.transport {
            self.bytes[IPV6_NEXT_HEADER] = self.bytes[IPV6_HEADER_LEN];
            self.bytes.copy_within(end..self.len, IPV6_HEADER_LEN);
            self.len -= JUMBO_HEADER_LEN;
            self.transport -= JUMBO_HEADER_LEN;
        }
    }

    /// The hash of the headers, a length and the namespace.
    fn hash(mut self, candidate: &Candidate<'_>, wire_len: u32) -> u128 {
        let len = self.len;
        self.bytes[len..len + 4].copy_from_slice(&wire_len.to_be_bytes());
        // Every namespace has its own loopback addresses; others may be at the two ends of a link between namespaces.
        let is_loopback = candidate.decoded.ip().is_some_and(crate::decode::Ip::is_loopback);
        let namespace = if is_loopback { candidate.netns_cookie } else { 0 };
        self.bytes[len + 4..len + TAIL_LEN].copy_from_slice(&namespace.to_be_bytes());
        XxHash3_128::oneshot(&self.bytes[..len + TAIL_LEN])
    }
}

/// What is remembered of a captured payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PayloadPrint {
    /// Captured bytes; 0 also when they were not read.
    len: usize,
    /// Hash of the first [`PREFIX_LEN`] bytes.
    prefix: u64,
    /// Hash of all captured bytes.
    whole: u64,
}

impl PayloadPrint {
    pub(super) fn of(payload: Option<&[u8]>) -> Self {
        let payload = payload.unwrap_or_default();
        let prefix = &payload[..payload.len().min(PREFIX_LEN)];
        let hash = |bytes: &[u8]| if bytes.is_empty() { 0 } else { XxHash3_128::oneshot(bytes) as u64 };
        let prefix_hash = hash(prefix);
        let whole = if payload.len() > PREFIX_LEN { hash(payload) } else { prefix_hash };
        Self { len: payload.len(), prefix: prefix_hash, whole }
    }

    /// False when the payloads are known to differ.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        if self.len == other.len {
            self.whole == other.whole
        } else if self.len.min(other.len) >= PREFIX_LEN {
            self.prefix == other.prefix
        } else {
            true
        }
    }
}
