//! GRE (RFC 2784 and 2890), that of PPTP (RFC 2637), and ERSPAN in it (draft-foschiano-erspan).

use super::error::{DecodeError, Layer};
use super::model::{Decoded, Tunnel, TunnelKind, ether_type};
use super::transport::mark_end;
use super::{Cursor, ethernet, ipv4, ipv6, mpls, ppp, tunnel};
use crate::bytes::{u16_at, u32_at};

/// Bytes of flags and protocol type.
const FIXED_LEN: usize = 4;

/// Bits of the flags.
mod flag {
    pub(super) const CHECKSUM: u16 = 0x8000;
    pub(super) const ROUTING: u16 = 0x4000;
    pub(super) const KEY: u16 = 0x2000;
    pub(super) const SEQUENCE: u16 = 0x1000;
    /// Only in version 1.
    pub(super) const ACKNOWLEDGEMENT: u16 = 0x0080;
    pub(super) const VERSION: u16 = 0x0007;
}

/// Decodes the header and what it carries; other protocols than these end there, which is no error.
pub(super) fn decode(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    let fixed = cursor.fixed::<FIXED_LEN>(Layer::Gre)?;
    let (flags, protocol) = (u16_at(fixed, 0), u16_at(fixed, 2));
    let has = |flag: u16| flags & flag != 0;
    let version = flags & flag::VERSION;
    // RFC 2784 left out the source routes of RFC 1701, which nobody sends; they have no length that could be passed over.
    if version > 1 || has(flag::ROUTING) {
        return Ok(());
    }
    let key_at = FIXED_LEN + if has(flag::CHECKSUM) { 4 } else { 0 };
    let optional = [flag::KEY, flag::SEQUENCE].into_iter().filter(|flag| has(*flag)).count()
        + usize::from(version == 1 && has(flag::ACKNOWLEDGEMENT));
    let header_len = key_at + 4 * optional;
    if cursor.bytes.len() < header_len {
        return Err(cursor.cut(Layer::Gre, header_len));
    }
    let key = cursor.bytes[key_at..].first_chunk::<4>().map(|bytes| u32_at(bytes, 0));
    let id = if has(flag::KEY) { key } else { None };
    let next = cursor.skip(header_len);
    mark_end(next, decoded);
    // In PPTP the upper half of the key is the length, and only the lower one names the call.
    let id = if version == 1 { id.map(|key| key & 0xffff) } else { id };
    let inner = match protocol {
        ether_type::IPV4 => ipv4::decode,
        ether_type::IPV6 => ipv6::decode,
        ether_type::ETHERNET => ethernet::decode_inner,
        ether_type::MPLS | ether_type::MPLS_MULTICAST => mpls::decode,
        ether_type::PPP => ppp::decode,
        ether_type::ERSPAN if has(flag::SEQUENCE) => return erspan(ERSPAN_2_LEN, next, decoded),
        ether_type::ERSPAN => {
            // Type I has no header of its own.
            let tunnel = Tunnel { kind: TunnelKind::Erspan, id: None };
            return tunnel::enter(tunnel, next, decoded, ethernet::decode_inner);
        }
        ether_type::ERSPAN_3 => return erspan(ERSPAN_3_LEN, next, decoded),
        _ => return Ok(()),
    };
    tunnel::enter(Tunnel { kind: TunnelKind::Gre, id }, next, decoded, inner)
}

/// Bytes of a header of type II.
const ERSPAN_2_LEN: usize = 8;
/// Bytes of a header of type III.
const ERSPAN_3_LEN: usize = 12;
/// Bytes of the platform's own part, which the last bit of a header of type III announces.
const ERSPAN_PLATFORM_LEN: usize = 8;

fn erspan(fixed_len: usize, cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    if cursor.bytes.is_empty() {
        return Ok(());
    }
    let Some(header) = cursor.bytes.get(..fixed_len) else {
        return Err(cursor.cut(Layer::Erspan, fixed_len));
    };
    let has_platform = fixed_len == ERSPAN_3_LEN && header[ERSPAN_3_LEN - 1] & 1 != 0;
    let len = fixed_len + if has_platform { ERSPAN_PLATFORM_LEN } else { 0 };
    let session = u32::from(u16::from_be_bytes([header[2], header[3]]) & 0x03ff);
    let tunnel = Tunnel { kind: TunnelKind::Erspan, id: Some(session) };
    tunnel::enter(tunnel, cursor.skip(len), decoded, ethernet::decode_inner)
}
