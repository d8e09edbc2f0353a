//! Headers of a packet, from the link to the transport: one file a header.
//!
//! Each header has a checked view (`Ipv4Header<'_>`, …) whose accessors cannot fail, apart from the meaning that
//! [`decode`] gathers in [`Decoded`]. Decoding allocates nothing, and always returns what it understood.

mod arp;
mod checksum;
mod error;
mod ethernet;
mod fragments;
mod geneve;
mod gre;
mod gtp;
mod icmp;
mod igmp;
mod incomplete;
mod ipv4;
mod ipv6;
mod link;
mod linux_cooked;
mod llc;
mod model;
mod mpls;
mod ppp;
mod sctp;
mod tcp;
mod tcp_options;
mod transport;
mod tunnel;
mod udp;
mod vxlan;
mod wireless;

#[cfg(test)]
mod fragments_tests;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tunnel_tests;
#[cfg(test)]
mod wireless_tests;

pub use checksum::{ChecksumStatus, ip_checksum_status, transport_checksum_status};
pub use error::{DecodeError, Layer};
pub use ethernet::VLAN_TAGS_MAX;
pub use fragments::{
    Defragmenter, Fragment, FragmentCounts, FragmentError, FragmentOptions, Overlap, Reassembled,
};
pub use incomplete::{GivenUp, IncompletePacket};
pub use ipv6::IPV6_EXTENSIONS_MAX;
pub use link::link_type;
pub(crate) use model::map_ipv4;
pub use model::{
    Arp, Decoded, Icmp, Ip, Link, Network, Ports, Tcp, Transport, Tunnel, TunnelKind, ether_type,
    ip_protocol, tcp_flag,
};
pub use mpls::MPLS_LABELS_MAX;
pub use tcp_options::{TcpOption, TcpOptions};
pub use tunnel::TUNNELS_MAX;

/// Most bytes that headers are looked for in when a packet's headers continue in its payload; see [`decode_parts`].
pub const SPLIT_HEADER_LEN_MAX: usize = 512;

/// Decodes the headers of a packet.
///
/// `bytes` begin at the link header (or the network header, for raw IP) and reach at least to the end of the transport
/// header; more is allowed. `wire_len` is what the packet had on the wire, from the same place.
///
/// ```
/// use kcap_dissect::decode::{decode, link_type};
///
/// let packet = [
///     0x45, 0, 0, 29, 0, 1, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, // IPv4
///     0x30, 0x39, 0, 53, 0, 9, 0, 0, // UDP from 12345 to 53
///     b'?',
/// ];
/// let decoded = decode(link_type::RAW, &packet, 29);
/// assert_eq!(decoded.ports.map(|ports| ports.destination), Some(53));
/// assert_eq!((decoded.header_len, decoded.payload_len, decoded.error), (28, 1, None));
/// ```
#[must_use]
pub fn decode(link_type: u16, bytes: &[u8], wire_len: u32) -> Decoded {
    decode_outer(link_type, bytes, wire_len, TUNNELS_MAX)
}

/// As [`decode`], but follows at most so many tunnels: with 0, the headers are those of the outermost packet.
///
/// The packet around the innermost one is that of `decoded.tunnel_depth - 1`.
#[must_use]
pub fn decode_outer(link_type: u16, bytes: &[u8], wire_len: u32, tunnels_max: u8) -> Decoded {
    let mut decoded = Decoded::default();
    let wire_len = wire_len.max(model::saturate(bytes.len()));
    let cursor = Cursor { bytes, offset: 0, end: wire_len, tunnels_max, links_left: LINKS_MAX };
    if let Err(error) = link::decode(link_type, cursor, &mut decoded) {
        decoded.error = Some(error);
    }
    decoded
}

/// Whether headers may go on behind the bytes that were decoded, where these end with the last header that was understood: one
/// was cut, or it is of a tunnel that carries packets.
#[must_use]
pub fn may_go_on(decoded: &Decoded) -> bool {
    match decoded.error {
        Some(error) => matches!(error, DecodeError::Truncated { .. }),
        None => udp::is_tunnel(decoded),
    }
}

/// Decodes a packet whose captured bytes were stored in two parts, headers and payload.
///
/// The headers alone are enough for most packets. Where whoever split it stopped too early, the beginning of the payload
/// is looked at too ([`SPLIT_HEADER_LEN_MAX`] bytes of both together).
#[must_use]
pub fn decode_parts(link_type: u16, header: &[u8], payload: &[u8], wire_len: u32) -> Decoded {
    let decoded = decode(link_type, header, wire_len);
    if payload.is_empty() || !may_go_on(&decoded) {
        return decoded;
    }
    let mut joined = [0; SPLIT_HEADER_LEN_MAX];
    let mut len = 0;
    for (place, &byte) in joined.iter_mut().zip(header.iter().chain(payload)) {
        *place = byte;
        len += 1;
    }
    decode(link_type, &joined[..len], wire_len)
}

/// Most links within others that are followed: pseudowires, and PPP in its frames. Providers put two into each other.
pub const LINKS_MAX: u8 = 8;

/// What is left of a packet: the place of the next header.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    /// Captured bytes from here on, none of them behind `end`.
    bytes: &'a [u8],
    /// Bytes before these.
    offset: u32,
    /// Offset at which the packet ended on the wire, as far as the headers so far tell.
    end: u32,
    /// How many tunnels are followed.
    tunnels_max: u8,
    /// How many links within links are still followed.
    links_left: u8,
}

impl<'a> Cursor<'a> {
    /// Bytes on the wire from here on.
    fn wire_len(&self) -> u32 {
        self.end.saturating_sub(self.offset)
    }

    /// The fixed part of a header.
    fn fixed<const LEN: usize>(&self, layer: Layer) -> Result<&'a [u8; LEN], DecodeError> {
        self.bytes.first_chunk().ok_or_else(|| self.cut(layer, LEN))
    }

    /// A header at this place that takes more bytes than there are: the capture ends within it, or the packet itself.
    fn cut(&self, layer: Layer, needed_len: usize) -> DecodeError {
        let (offset, needed_len, actual_len) = (self.offset, model::saturate(needed_len), self.wire_len());
        if needed_len > actual_len {
            return DecodeError::PacketLen { layer, offset, stated_len: needed_len, actual_len };
        }
        DecodeError::Truncated { layer, offset, needed_len, captured_len: model::saturate(self.bytes.len()) }
    }

    /// The same place, in a packet that ends `len` bytes further on, unless it ends before: what lies behind is padding of
    /// the link, or what somebody added who wants it taken for headers.
    fn within(self, len: u32) -> Self {
        let end = self.offset.saturating_add(len).min(self.end);
        let captured = self.bytes.len().min(end.saturating_sub(self.offset) as usize);
        Self { bytes: &self.bytes[..captured], end, ..self }
    }

    /// The same place, in a link of this kind within those around it.
    fn in_link(self, layer: Layer) -> Result<Self, DecodeError> {
        let too_many = DecodeError::TooMany { layer, offset: self.offset };
        Ok(Self { links_left: self.links_left.checked_sub(1).ok_or(too_many)?, ..self })
    }

    /// The place `len` bytes further on, or as far as bytes were captured.
    fn skip(self, len: usize) -> Self {
        let captured = len.min(self.bytes.len());
        Self {
            bytes: &self.bytes[captured..],
            offset: self.offset.saturating_add(model::saturate(len)),
            ..self
        }
    }
}
