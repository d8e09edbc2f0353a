//! UDP (RFC 768).

use super::error::{DecodeError, Layer};
use super::model::{Decoded, Ports, Transport};
use super::tcp::ports;
use super::transport::mark_end;
use super::{Cursor, geneve, gtp, vxlan};
use crate::bytes::u16_at;

/// Bytes of the header.
const HEADER_LEN: usize = 8;

/// Decodes a UDP header. `first_fragment`: the datagram goes on in other packets, so that its length says nothing here.
pub(super) fn decode(
    first_fragment: bool,
    cursor: Cursor<'_>,
    decoded: &mut Decoded,
) -> Result<(), DecodeError> {
    decoded.ports = ports(cursor);
    let header = cursor.fixed::<HEADER_LEN>(Layer::Udp)?;
    let length = u16_at(header, 4);
    decoded.transport = Transport::Udp { length };
    let actual_len = cursor.wire_len();
    mark_end(cursor.skip(HEADER_LEN), decoded);
    // 0: a jumbogram (RFC 2675), or a packet that stands for several.
    if first_fragment {
        return Ok(());
    }
    if length == 0 {
        return tunnelled(cursor.skip(HEADER_LEN), decoded);
    }
    let stated_len = u32::from(length);
    if stated_len > actual_len || (stated_len as usize) < HEADER_LEN {
        return Err(DecodeError::PacketLen {
            layer: Layer::Udp,
            offset: cursor.offset,
            stated_len,
            actual_len,
        });
    }
    // Bytes behind the length are options (RFC 9868), not payload.
    decoded.payload_len = stated_len - HEADER_LEN as u32;
    tunnelled(cursor.within(stated_len).skip(HEADER_LEN), decoded)
}

/// Whether a datagram goes to the port of a tunnel.
pub(super) fn is_tunnel(decoded: &Decoded) -> bool {
    let to_tunnel =
        |ports: Ports| [vxlan::PORT, vxlan::LINUX_PORT, geneve::PORT, gtp::PORT].contains(&ports.destination);
    matches!(decoded.transport, Transport::Udp { .. }) && decoded.ports.is_some_and(to_tunnel)
}

/// Decodes what a datagram to the port of a tunnel carries.
fn tunnelled(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    match decoded.ports.map_or(0, |ports| ports.destination) {
        vxlan::PORT | vxlan::LINUX_PORT => vxlan::decode(cursor, decoded),
        geneve::PORT => geneve::decode(cursor, decoded),
        gtp::PORT => gtp::decode(cursor, decoded),
        _ => Ok(()),
    }
}
