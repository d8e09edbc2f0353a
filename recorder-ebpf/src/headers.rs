//! How long the headers of a packet are, up to the transport layer: the same for the kernel programs and for frames that
//! come through a packet socket.

use crate::{ETH_P_8021AD, ETH_P_8021Q, LINK_TYPE_ETHERNET};

/// What [`measure_headers`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Bytes of headers.
    pub len: u32,
    /// IPv4 or IPv6 was reached.
    pub is_ip: bool,
    /// Bytes before its header.
    pub link_len: u32,
    /// Bytes before the transport header; 0 when it wasn't reached.
    pub network_len: u32,
    /// `IPPROTO_*` there.
    pub protocol: u8,
    /// The transport header begins with two ports.
    pub has_ports: bool,
    /// The transport header was reached and understood, or there can't be one (a later fragment).
    pub complete: bool,
}

impl Headers {
    /// Headers that end before a transport header.
    #[inline(always)]
    fn network(len: u32, complete: bool) -> Self {
        Self {
            len,
            is_ip: false,
            link_len: 0,
            network_len: 0,
            protocol: IPPROTO_NONE,
            has_ports: false,
            complete,
        }
    }
}

/// Where a frame's EtherType is.
const ETHERNET_TYPE_AT: u32 = 12;
/// Tags that are followed.
const TAG_COUNT_MAX: u32 = 2;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_ARP: u16 = 0x0806;
const ETH_P_RARP: u16 = 0x8035;
const ETH_P_IPV6: u16 = 0x86dd;
/// Of Ethernet and IPv4 addresses (RFC 826).
const ARP_LEN: u32 = 28;

const IPPROTO_HOPOPTS: u8 = 0;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const IPPROTO_ROUTING: u8 = 43;
const IPPROTO_FRAGMENT: u8 = 44;
const IPPROTO_AH: u8 = 51;
const IPPROTO_ICMP: u8 = 1;
const IPPROTO_ICMPV6: u8 = 58;
const IPPROTO_NONE: u8 = 59;
const IPPROTO_DSTOPTS: u8 = 60;
const IPPROTO_SCTP: u8 = 132;
const IPPROTO_UDPLITE: u8 = 136;

const IPV6_HEADER_LEN: u32 = 40;
/// Extension headers that are followed; RFC 8200 section 4.1 lists seven, one of them twice.
const EXTENSION_COUNT_MAX: u32 = 8;
/// Greatest offset that is looked at. It keeps offsets in what the verifier accepts for packet pointers; IPv6 with all
/// extensions may be longer, and is then reported as incomplete.
pub const HEADER_OFFSET_MAX: u32 = 0xfff;

const UDP_HEADER_LEN: u32 = 8;
const ICMP_HEADER_LEN: u32 = 8;
/// Common header and the first chunk's header (RFC 9260 section 3).
const SCTP_HEADER_LEN: u32 = 12;

/// Gives the byte of a packet at an offset up to [`HEADER_OFFSET_MAX`], if there is one.
pub trait ByteAt: Fn(u32) -> Option<u8> + Copy {}

impl<F: Fn(u32) -> Option<u8> + Copy> ByteAt for F {}

/// Follows the headers of a packet that starts with a header of this link type.
#[inline(always)]
pub fn measure_headers(byte: impl ByteAt, link_type: u16) -> Headers {
    let mut at = 0;
    if link_type == LINK_TYPE_ETHERNET {
        let Some((ether_type, behind)) = ether_type(byte) else { return Headers::network(0, false) };
        at = behind;
        match ether_type {
            ETH_P_IP | ETH_P_IPV6 => {}
            ETH_P_ARP | ETH_P_RARP => return Headers::network(at + ARP_LEN, true),
            _ => return Headers::network(at, false),
        }
    }
    let headers = measure_network(byte, at);
    // Nothing of what should be IP is understood: the link header is.
    if headers.len == 0 { Headers::network(at, false) } else { headers }
}

/// The EtherType of a frame, and where what it announces begins: IEEE 802.3 clause 3, with tags of IEEE 802.1Q that the
/// kernel left where they were.
#[inline(always)]
fn ether_type(byte: impl ByteAt) -> Option<(u16, u32)> {
    let mut at = ETHERNET_TYPE_AT;
    let mut ether_type = 0;
    for _ in 0..=TAG_COUNT_MAX {
        ether_type = u16::from_be_bytes([byte(at)?, byte(at + 1)?]);
        at += 2;
        if ether_type != ETH_P_8021Q && ether_type != ETH_P_8021AD {
            break;
        }
        at += 2;
    }
    Some((ether_type, at))
}

#[inline(always)]
fn measure_network(byte: impl ByteAt, at: u32) -> Headers {
    let Some(first) = byte(at) else { return Headers::network(0, false) };
    let headers = match first >> 4 {
        4 => measure_ipv4(byte, at, u32::from(first & 0xf) * 4),
        6 => measure_ipv6(byte, at),
        _ => Headers::network(0, false),
    };
    Headers { is_ip: headers.len != 0, link_len: at, ..headers }
}

/// RFC 791 section 3.1.
#[inline(always)]
fn measure_ipv4(byte: impl ByteAt, at: u32, header_len: u32) -> Headers {
    let (Some(fragment_high), Some(fragment_low), Some(protocol)) =
        (byte(at + 6), byte(at + 7), byte(at + 9))
    else {
        return Headers::network(0, false);
    };
    let len = at + header_len;
    if (fragment_high & 0x1f) | fragment_low != 0 {
        return Headers::network(len, true);
    }
    measure_transport(byte, protocol, len)
}

/// RFC 8200 section 4.
#[inline(always)]
fn measure_ipv6(byte: impl ByteAt, at: u32) -> Headers {
    let Some(mut protocol) = byte(at + 6) else { return Headers::network(0, false) };
    let mut len = at + IPV6_HEADER_LEN;
    for _ in 0..EXTENSION_COUNT_MAX {
        let units = match protocol {
            IPPROTO_HOPOPTS | IPPROTO_ROUTING | IPPROTO_DSTOPTS | IPPROTO_FRAGMENT | IPPROTO_AH => {
                let (Some(next), Some(units)) = (byte(len), byte(len + 1)) else {
                    return Headers::network(len, false);
                };
                if protocol == IPPROTO_FRAGMENT {
                    let (Some(high), Some(low)) = (byte(len + 2), byte(len + 3)) else {
                        return Headers::network(len, false);
                    };
                    if high | (low & 0xf8) != 0 {
                        return Headers::network(len + 8, true);
                    }
                }
                let units = match protocol {
                    IPPROTO_FRAGMENT => 8,
                    // RFC 4302 section 2.2: in words of four bytes, less two
                    IPPROTO_AH => (u32::from(units) + 2) * 4,
                    _ => (u32::from(units) + 1) * 8,
                };
                protocol = next;
                units
            }
            _ => return measure_transport(byte, protocol, len),
        };
        len += units;
        if len > HEADER_OFFSET_MAX - 64 {
            return Headers::network(at + IPV6_HEADER_LEN, false);
        }
    }
    Headers::network(len, false)
}

#[inline(always)]
fn measure_transport(byte: impl ByteAt, protocol: u8, offset: u32) -> Headers {
    let header_len = match protocol {
        IPPROTO_TCP => match byte(offset + 12) {
            // RFC 9293 section 3.1: data offset, in words of four bytes
            Some(data_offset) => u32::from(data_offset >> 4) * 4,
            None => return Headers::network(offset, false),
        },
        IPPROTO_UDP | IPPROTO_UDPLITE => UDP_HEADER_LEN,
        IPPROTO_ICMP | IPPROTO_ICMPV6 => ICMP_HEADER_LEN,
        IPPROTO_SCTP => SCTP_HEADER_LEN,
        IPPROTO_NONE => 0,
        _ => return Headers::network(offset, false),
    };
    let has_ports = matches!(protocol, IPPROTO_TCP | IPPROTO_UDP | IPPROTO_UDPLITE | IPPROTO_SCTP);
    Headers {
        len: offset + header_len,
        is_ip: true,
        link_len: 0,
        network_len: offset,
        protocol,
        has_ports,
        complete: true,
    }
}
