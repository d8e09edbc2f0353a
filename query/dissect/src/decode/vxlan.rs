//! VXLAN (RFC 7348).

use super::error::DecodeError;
use super::model::{Decoded, Tunnel, TunnelKind};
use super::{Cursor, ethernet, tunnel};
use crate::bytes::u32_at;

/// Port that IANA gave it.
pub(super) const PORT: u16 = 4789;
/// Port that Linux uses unless told otherwise, from before there was one.
pub(super) const LINUX_PORT: u16 = 8472;

/// Bytes of the header.
const HEADER_LEN: usize = 8;

/// The flag that says that the header has a network identifier.
const HAS_VNI: u32 = 0x0800_0000;
/// Flags that no version of the header for Ethernet frames leaves to chance: extensions use some of the others.
const FLAGS_OF_OTHERS: u32 = 0x7700_0000;

/// Decodes the header and the frame behind it. A datagram that does not look like it stays one.
pub(super) fn decode(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    let Some(header) = cursor.bytes.first_chunk::<HEADER_LEN>() else { return Ok(()) };
    if u32_at(header, 0) & (HAS_VNI | FLAGS_OF_OTHERS) != HAS_VNI || header[7] != 0 {
        return Ok(());
    }
    let tunnel = Tunnel { kind: TunnelKind::Vxlan, id: Some(u32_at(header, 4) >> 8) };
    tunnel::try_enter(tunnel, cursor.skip(HEADER_LEN), decoded, ethernet::decode_inner)
}
