//! IGMP (RFC 3376 and its predecessors).

use super::Cursor;
use super::error::{DecodeError, Layer};
use super::model::{Decoded, Transport};
use super::transport::mark_end;
use crate::bytes::array_at;

/// Bytes that all messages begin with.
const HEADER_LEN: usize = 8;
/// A report of version 3: has its groups further back, in records.
const REPORT_V3: u8 = 0x22;

/// Decodes type and group; the rest is payload.
pub(super) fn decode(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    let &[kind] = cursor.fixed::<1>(Layer::Igmp)?;
    decoded.transport = Transport::Igmp { kind, group: [0; 4] };
    let header = cursor.fixed::<HEADER_LEN>(Layer::Igmp)?;
    let group = if kind == REPORT_V3 { [0; 4] } else { array_at(header, 4) };
    decoded.transport = Transport::Igmp { kind, group };
    mark_end(cursor.skip(HEADER_LEN), decoded);
    Ok(())
}
