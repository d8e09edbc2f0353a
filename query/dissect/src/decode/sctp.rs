//! SCTP (RFC 9260), its common header.

use super::Cursor;
use super::error::{DecodeError, Layer};
use super::model::{Decoded, Transport};
use super::tcp::ports;
use super::transport::mark_end;
use crate::bytes::u32_at;

/// Bytes of the common header.
const HEADER_LEN: usize = 12;

/// Decodes the common header; chunks are payload.
pub(super) fn decode(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    decoded.ports = ports(cursor);
    let header = cursor.fixed::<HEADER_LEN>(Layer::Sctp)?;
    decoded.transport = Transport::Sctp { verification_tag: u32_at(header, 4) };
    mark_end(cursor.skip(HEADER_LEN), decoded);
    Ok(())
}
