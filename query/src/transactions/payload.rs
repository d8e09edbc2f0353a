//! The bytes after a packet's headers.

use crate::table::packets::PacketBlock;

/// Captured bytes after the headers. Segments keep the headers that their recorder understood apart from the rest; where decoding
/// now sees the border elsewhere, the parts are put together in `scratch`.
pub(super) fn transport_payload<'a>(
    block: &'a PacketBlock,
    row: usize,
    scratch: &'a mut Vec<u8>,
) -> &'a [u8] {
    let header = block.batch.header.get(row).unwrap_or_default();
    let payload = block.batch.payload.get(row).unwrap_or_default();
    let header_len = block.decoded[row].header_len as usize;
    if header_len == header.len() {
        return payload;
    }
    if payload.is_empty() {
        return header.get(header_len..).unwrap_or_default();
    }
    match header.get(header_len..) {
        None => payload.get(header_len - header.len()..).unwrap_or_default(),
        Some(rest) => {
            scratch.clear();
            scratch.extend_from_slice(rest);
            scratch.extend_from_slice(payload);
            scratch
        }
    }
}
