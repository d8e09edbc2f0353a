//! UDP (RFC 768).

use super::Cursor;
use super::error::{DecodeError, Layer};
use super::model::{Decoded, Transport};
use super::tcp::ports;
use super::transport::mark_end;
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
    if length == 0 || first_fragment {
        return Ok(());
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
    Ok(())
}
