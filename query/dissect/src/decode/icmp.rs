//! ICMP (RFC 792) and ICMPv6 (RFC 4443).

use super::Cursor;
use super::error::{DecodeError, Layer};
use super::model::{Decoded, Icmp, Transport};
use super::transport::mark_end;
use crate::bytes::u16_at;

/// Bytes of the header that all messages have.
const HEADER_LEN: usize = 8;

/// Decodes ICMP; types 0 and 8 are echo reply and request.
pub(super) fn decode_v4(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    decode(Layer::Icmp, [0, 8], cursor, decoded)
}

/// Decodes ICMPv6; types 128 and 129 are echo request and reply.
pub(super) fn decode_v6(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    decode(Layer::Icmpv6, [128, 129], cursor, decoded)
}

fn decode(
    layer: Layer,
    echo_kinds: [u8; 2],
    cursor: Cursor<'_>,
    decoded: &mut Decoded,
) -> Result<(), DecodeError> {
    // Type and code are worth having even when the rest was cut.
    let &[kind, code] = cursor.fixed::<2>(layer)?;
    decoded.transport = Transport::Icmp(Icmp { kind, code, echo: None });
    let header = cursor.fixed::<HEADER_LEN>(layer)?;
    let echo = echo_kinds.contains(&kind).then(|| (u16_at(header, 4), u16_at(header, 6)));
    decoded.transport = Transport::Icmp(Icmp { kind, code, echo });
    mark_end(cursor.skip(HEADER_LEN), decoded);
    Ok(())
}
