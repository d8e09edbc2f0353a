//! From the link type to the first header.

use super::error::{DecodeError, Layer};
use super::model::{Decoded, ether_type};
use super::{Cursor, arp, ethernet, ipv4, ipv6, linux_cooked, mpls, ppp, wireless};

/// Link types that are decoded: `LINKTYPE_*` of <https://www.tcpdump.org/linktypes.html>.
pub mod link_type {
    /// BSD loopback: the address family in the byte order of the host that captured.
    pub const NULL: u16 = 0;
    /// Ethernet.
    pub const ETHERNET: u16 = 1;
    /// PPP, with or without the address and control bytes of HDLC.
    pub const PPP: u16 = 9;
    /// Raw IP as some systems number it.
    pub const RAW_12: u16 = 12;
    /// Raw IP as OpenBSD numbers it.
    pub const RAW_14: u16 = 14;
    /// PPP in HDLC-like framing (RFC 1662), and Cisco's HDLC.
    pub const PPP_HDLC: u16 = 50;
    /// PPP over Ethernet, without an Ethernet header.
    pub const PPP_ETHER: u16 = 51;
    /// IPv4 or IPv6 without a link header; what the cgroup hooks record.
    pub const RAW: u16 = 101;
    /// Cisco's HDLC.
    pub const C_HDLC: u16 = 104;
    /// IEEE 802.11.
    pub const IEEE802_11: u16 = 105;
    /// OpenBSD loopback: the address family in network order.
    pub const LOOP: u16 = 108;
    /// Linux cooked, version 1.
    pub const LINUX_SLL: u16 = 113;
    /// IEEE 802.11 behind a radiotap header.
    pub const IEEE802_11_RADIOTAP: u16 = 127;
    /// MPLS labels.
    pub const MPLS: u16 = 219;
    /// IPv4 without a link header.
    pub const IPV4: u16 = 228;
    /// IPv6 without a link header.
    pub const IPV6: u16 = 229;
    /// Linux cooked, version 2.
    pub const LINUX_SLL2: u16 = 276;
}

/// Decodes from the link header on.
pub(super) fn decode(link_type: u16, cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    match link_type {
        link_type::RAW | link_type::RAW_12 | link_type::RAW_14 => ip(cursor, decoded),
        link_type::ETHERNET => ethernet::decode(cursor, decoded),
        link_type::NULL | link_type::LOOP => loopback(cursor, decoded),
        link_type::LINUX_SLL => linux_cooked::decode_v1(cursor, decoded),
        link_type::LINUX_SLL2 => linux_cooked::decode_v2(cursor, decoded),
        link_type::IPV4 => ipv4::decode(cursor, decoded),
        link_type::IPV6 => ipv6::decode(cursor, decoded),
        link_type::PPP | link_type::PPP_HDLC => ppp::decode(cursor, decoded),
        link_type::C_HDLC => ppp::decode_cisco(cursor, decoded),
        link_type::PPP_ETHER => ppp::decode_over_ethernet(cursor, decoded),
        link_type::IEEE802_11 => wireless::decode(cursor, false, decoded),
        link_type::IEEE802_11_RADIOTAP => wireless::decode_radiotap(cursor, decoded),
        link_type::MPLS => mpls::decode(cursor, decoded),
        _ => {
            decoded.payload_len = cursor.wire_len();
            Err(DecodeError::LinkType { link_type })
        }
    }
}

/// Decodes what an EtherType says; others than IP and ARP end there, which is no error.
pub(super) fn by_ether_type(
    number: u16,
    cursor: Cursor<'_>,
    decoded: &mut Decoded,
) -> Result<(), DecodeError> {
    decoded.link.ether_type = number;
    match number {
        ether_type::IPV4 => ipv4::decode(cursor, decoded),
        ether_type::IPV6 => ipv6::decode(cursor, decoded),
        ether_type::ARP => arp::decode(cursor, decoded),
        ether_type::MPLS | ether_type::MPLS_MULTICAST => mpls::decode(cursor, decoded),
        ether_type::PPPOE_SESSION => ppp::decode_over_ethernet(cursor, decoded),
        _ => {
            mark_end(cursor, decoded);
            Ok(())
        }
    }
}

/// Notes that headers were understood up to here.
pub(super) fn mark_end(cursor: Cursor<'_>, decoded: &mut Decoded) {
    decoded.network_offset = cursor.offset;
    decoded.transport_offset = cursor.offset;
    decoded.header_len = cursor.offset;
    decoded.payload_len = cursor.wire_len();
}

/// Decodes IP of the version in its first nibble.
pub(super) fn ip(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    mark_end(cursor, decoded);
    let [first] = cursor.fixed::<1>(Layer::RawIp)?;
    match first >> 4 {
        4 => ipv4::decode(cursor, decoded),
        6 => ipv6::decode(cursor, decoded),
        version => Err(DecodeError::Version { layer: Layer::RawIp, offset: cursor.offset, version }),
    }
}

/// Decodes the four bytes of address family. Both link types tell IP apart by the nibble that follows: the family of IPv6
/// is 10, 24, 28 or 30 depending on the system, and the byte order on the host.
fn loopback(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    const AF_INET: u32 = 2;
    const AF_INET6: [u32; 4] = [10, 24, 28, 30];
    decoded.payload_len = cursor.wire_len();
    let family = cursor.fixed::<4>(Layer::Loopback)?;
    let (little, big) = (u32::from_le_bytes(*family), u32::from_be_bytes(*family));
    let next = cursor.skip(4);
    mark_end(next, decoded);
    if [little, big].iter().any(|family| *family == AF_INET || AF_INET6.contains(family)) {
        return ip(next, decoded);
    }
    Ok(())
}
