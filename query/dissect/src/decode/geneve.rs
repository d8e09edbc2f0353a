//! Geneve (RFC 8926).

use super::error::DecodeError;
use super::model::{Decoded, Tunnel, TunnelKind, ether_type};
use super::{Cursor, ethernet, ipv4, ipv6, tunnel};
use crate::bytes::{u16_at, u32_at};

/// Port of the protocol.
pub(super) const PORT: u16 = 6081;

/// Bytes of the header without options.
const FIXED_LEN: usize = 8;

/// Decodes the header and what is behind it. A datagram that does not look like it stays one.
pub(super) fn decode(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    let Some(header) = cursor.bytes.first_chunk::<FIXED_LEN>() else { return Ok(()) };
    let (version, options_len) = (header[0] >> 6, usize::from(header[0] & 0x3f) * 4);
    // The lower six bits of the flags are reserved, and the last byte.
    if version != 0 || header[1] & 0x3f != 0 || header[7] != 0 {
        return Ok(());
    }
    let inner = match u16_at(header, 2) {
        ether_type::ETHERNET => ethernet::decode_inner,
        ether_type::IPV4 => ipv4::decode,
        ether_type::IPV6 => ipv6::decode,
        _ => return Ok(()),
    };
    let tunnel = Tunnel { kind: TunnelKind::Geneve, id: Some(u32_at(header, 4) >> 8) };
    tunnel::try_enter(tunnel, cursor.skip(FIXED_LEN + options_len), decoded, inner)
}
