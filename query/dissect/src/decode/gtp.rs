//! GTP-U: the user plane of GPRS, LTE and 5G (3GPP TS 29.281).

use super::error::DecodeError;
use super::link;
use super::model::{Decoded, Tunnel, TunnelKind};
use super::{Cursor, tunnel};
use crate::bytes::{u16_at, u32_at};

/// Port of the protocol.
pub(super) const PORT: u16 = 2152;

/// Bytes of the mandatory part of the header.
const FIXED_LEN: usize = 8;
/// Bytes of sequence number, N-PDU number and type of the first extension, which are there when any of three flags is set.
const OPTIONAL_LEN: usize = 4;
/// Most extension headers that are passed; there are five kinds.
const EXTENSIONS_MAX: usize = 8;
/// Message type of a user's packet.
const G_PDU: u8 = 255;

/// Decodes the header and the packet behind it. Signalling, and what does not look like it, stays a datagram.
pub(super) fn decode(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    let Some(header) = cursor.bytes.first_chunk::<FIXED_LEN>() else { return Ok(()) };
    let (version, is_gtp, has_more) = (header[0] >> 5, header[0] & 0x10 != 0, header[0] & 0x07 != 0);
    let len = u32::from(u16_at(header, 2));
    let mut next = cursor.skip(FIXED_LEN);
    if version != 1 || !is_gtp || header[1] != G_PDU || len > next.wire_len() {
        return Ok(());
    }
    if has_more {
        let Some(optional) = next.bytes.first_chunk::<OPTIONAL_LEN>() else { return Ok(()) };
        let mut extension = optional[3];
        next = next.skip(OPTIONAL_LEN);
        for _ in 0..EXTENSIONS_MAX {
            if extension == 0 {
                break;
            }
            // The length counts units of four bytes; the last byte is the type of the next.
            let Some(len) = next.bytes.first().map(|units| usize::from(*units) * 4).filter(|len| *len > 0)
            else {
                return Ok(());
            };
            let Some(following) = next.bytes.get(len - 1) else { return Ok(()) };
            extension = *following;
            next = next.skip(len);
        }
    }
    let tunnel = Tunnel { kind: TunnelKind::GtpU, id: Some(u32_at(header, 4)) };
    tunnel::try_enter(tunnel, next, decoded, link::ip)
}
