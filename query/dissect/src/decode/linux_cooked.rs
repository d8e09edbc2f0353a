//! Linux cooked captures: <https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html> and `LINKTYPE_LINUX_SLL2`.

use super::Cursor;
use super::error::{DecodeError, Layer};
use super::ethernet::tags;
use super::link::mark_end;
use super::model::Decoded;
use crate::bytes::{array_at, u16_at};

/// Bytes of the header of version 1.
const V1_LEN: usize = 16;

/// Bytes of the header of version 2.
const V2_LEN: usize = 20;

/// Bytes of an Ethernet address.
const MAC_LEN: u16 = 6;

/// Decodes version 1: packet type, ARPHRD type, address length, address, protocol.
pub(super) fn decode_v1(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    mark_end(cursor, decoded);
    let header = cursor.fixed::<V1_LEN>(Layer::LinuxCooked)?;
    decoded.link.source_mac = (u16_at(header, 4) == MAC_LEN).then(|| array_at(header, 6));
    tags(u16_at(header, 14), cursor.skip(V1_LEN), decoded)
}

/// Decodes version 2: protocol, reserved, interface index, ARPHRD type, packet type, address length, address.
pub(super) fn decode_v2(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    mark_end(cursor, decoded);
    let header = cursor.fixed::<V2_LEN>(Layer::LinuxCooked)?;
    decoded.link.source_mac = (u16::from(header[11]) == MAC_LEN).then(|| array_at(header, 12));
    tags(u16_at(header, 0), cursor.skip(V2_LEN), decoded)
}
