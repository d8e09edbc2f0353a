//! PPP (RFC 1661, 1662), PPP over Ethernet (RFC 2516), and Cisco's HDLC.

use super::error::{DecodeError, Layer};
use super::link::{by_ether_type, mark_end};
use super::model::{Decoded, ether_type};
use super::{Cursor, ipv4, ipv6, mpls};
use crate::bytes::u16_at;

/// Address and control bytes of HDLC-like framing.
const HDLC: [u8; 2] = [0xff, 0x03];
/// Address bytes of Cisco's HDLC: to one, to all.
const CISCO: [u8; 2] = [0x0f, 0x8f];
/// Bytes of the header of PPP over Ethernet.
const OVER_ETHERNET_LEN: usize = 6;
/// Bytes of address, control and type of Cisco's HDLC.
const CISCO_LEN: usize = 4;

/// Protocol numbers of PPP that are followed.
mod protocol {
    pub(super) const IPV4: u16 = 0x0021;
    pub(super) const IPV6: u16 = 0x0057;
    pub(super) const MPLS: u16 = 0x0281;
}

/// Decodes PPP, with or without the bytes of HDLC in front. Other protocols than IP end there, which is no error.
pub(super) fn decode(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    mark_end(cursor, decoded);
    let first = cursor.fixed::<2>(Layer::Ppp)?;
    if CISCO.contains(&first[0]) {
        return decode_cisco(cursor, decoded);
    }
    let cursor = if *first == HDLC { cursor.skip(HDLC.len()) } else { cursor };
    mark_end(cursor, decoded);
    let &[high] = cursor.fixed::<1>(Layer::Ppp)?;
    // The first byte of a number is even; one that is odd is a number compressed to one byte (RFC 1661, section 6.5).
    let (number, len) =
        if high & 1 == 1 { (u16::from(high), 1) } else { (u16_at(cursor.fixed::<2>(Layer::Ppp)?, 0), 2) };
    let next = cursor.skip(len);
    mark_end(next, decoded);
    match number {
        protocol::IPV4 => {
            decoded.link.ether_type = ether_type::IPV4;
            ipv4::decode(next, decoded)
        }
        protocol::IPV6 => {
            decoded.link.ether_type = ether_type::IPV6;
            ipv6::decode(next, decoded)
        }
        protocol::MPLS => mpls::decode(next, decoded),
        _ => Ok(()),
    }
}

/// Decodes a session's packet: version and type, code, session, length, and PPP.
pub(super) fn decode_over_ethernet(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    mark_end(cursor, decoded);
    let header = cursor.fixed::<OVER_ETHERNET_LEN>(Layer::Pppoe)?;
    decoded.link.pppoe_session = Some(u16_at(header, 2));
    let next = cursor.skip(OVER_ETHERNET_LEN);
    mark_end(next, decoded);
    // Discovery, and whatever a later version is, has no PPP behind it.
    if header[0] != 0x11 || header[1] != 0 {
        return Ok(());
    }
    decode(next.in_link(Layer::Pppoe)?.within(u32::from(u16_at(header, 4))), decoded)
}

/// Decodes address, control and an EtherType.
pub(super) fn decode_cisco(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    mark_end(cursor, decoded);
    let header = cursor.fixed::<CISCO_LEN>(Layer::Ppp)?;
    by_ether_type(u16_at(header, 2), cursor.in_link(Layer::Ppp)?.skip(CISCO_LEN), decoded)
}
