//! The bytes after a packet's headers.

use crate::table::packets::PacketBlock;

/// Captured bytes after the headers, if payloads were read. Segments keep the headers that their recorder understood apart from
/// the rest; where decoding now sees the border elsewhere, the parts are put together in `scratch`.
pub(super) fn transport_payload<'a>(
    block: &'a PacketBlock,
    row: usize,
    scratch: &'a mut Vec<u8>,
) -> &'a [u8] {
    let header = block.batch.header.get(row).unwrap_or_default();
    let payload = block.batch.payload.get(row).unwrap_or_default();
    let header_len = block.decoded[row].header_len as usize;
    match header.get(header_len..) {
        Some([]) => payload,
        Some(rest) if payload.is_empty() => rest,
        Some(rest) => {
            scratch.clear();
            scratch.extend_from_slice(rest);
            scratch.extend_from_slice(payload);
            scratch
        }
        None => payload.get(header_len - header.len()..).unwrap_or_default(),
    }
}
