//! LLC with SNAP (IEEE 802.2, RFC 1042): how frames without an EtherType say what they carry.

use super::Cursor;
use super::error::DecodeError;
use super::ethernet::tags;
use super::link::mark_end;
use super::model::Decoded;
use crate::bytes::u16_at;

/// Bytes of LLC and SNAP together.
const SNAP_LEN: usize = 8;
/// Both service access points of SNAP, and unnumbered information.
const SNAP: [u8; 3] = [0xaa, 0xaa, 0x03];
/// Organisations whose protocol numbers are EtherTypes: RFC 1042, and bridged from Ethernet (IEEE 802.1H).
const WITH_ETHER_TYPE: [[u8; 3]; 2] = [[0, 0, 0], [0, 0, 0xf8]];

/// Decodes an EtherType in SNAP and what follows. Anything else is payload, which is no error.
pub(super) fn decode(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    mark_end(cursor, decoded);
    let Some(header) = cursor.bytes.first_chunk::<SNAP_LEN>() else { return Ok(()) };
    if header[..3] != SNAP || !WITH_ETHER_TYPE.iter().any(|organisation| header[3..6] == *organisation) {
        return Ok(());
    }
    tags(u16_at(header, 6), cursor.skip(SNAP_LEN), decoded)
}
