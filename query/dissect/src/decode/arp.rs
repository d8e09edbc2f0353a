//! ARP (RFC 826) for IPv4 on Ethernet.

use super::Cursor;
use super::error::{DecodeError, Layer};
use super::link::mark_end;
use super::model::{Arp, Decoded, Network, ether_type};
use crate::bytes::{array_at, u16_at};

/// Bytes of the part that does not depend on the kinds of addresses.
const FIXED_LEN: usize = 8;

/// Bytes of the whole for Ethernet and IPv4.
const ETHERNET_IPV4_LEN: usize = 28;

/// Decodes an ARP packet. Other address kinds than Ethernet and IPv4 stay payload.
pub(super) fn decode(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    const HARDWARE_ETHERNET: u16 = 1;
    mark_end(cursor, decoded);
    let fixed = cursor.fixed::<FIXED_LEN>(Layer::Arp)?;
    let kinds = (u16_at(fixed, 0), u16_at(fixed, 2), fixed[4], fixed[5]);
    if kinds != (HARDWARE_ETHERNET, ether_type::IPV4, 6, 4) {
        return Ok(());
    }
    let whole = cursor.fixed::<ETHERNET_IPV4_LEN>(Layer::Arp)?;
    decoded.network = Network::Arp(Arp {
        operation: u16_at(whole, 6),
        sender_mac: array_at(whole, 8),
        sender_ip: array_at(whole, 14),
        target_mac: array_at(whole, 18),
        target_ip: array_at(whole, 24),
    });
    let next = cursor.skip(ETHERNET_IPV4_LEN);
    decoded.transport_offset = next.offset;
    decoded.header_len = next.offset;
    decoded.payload_len = next.wire_len();
    Ok(())
}
