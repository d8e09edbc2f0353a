//! The bytes after a packet's headers.

use crate::table::packets::PacketBlock;

/// Most zeros: no capture has packets of more bytes, whatever a damaged length says.
const ZEROS_MAX: usize = 8 << 20;

/// Memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    joined: Vec<u8>,
    zeros: Vec<u8>,
}

/// Captured bytes after the headers; as many zeros, where nobody wanted to read them. Segments keep the headers that their
/// recorder understood apart from the rest; where decoding now sees the border elsewhere, the parts are put together.
pub(super) fn transport_payload<'a>(
    block: &'a PacketBlock,
    row: usize,
    captured_len: usize,
    scratch: &'a mut Scratch,
) -> &'a [u8] {
    if !block.payloads_are_read() {
        let captured_len = captured_len.min(ZEROS_MAX);
        if scratch.zeros.len() < captured_len {
            scratch.zeros.resize(captured_len, 0);
        }
        return &scratch.zeros[..captured_len];
    }
    let header = block.batch.header.get(row).unwrap_or_default();
    let payload = block.batch.payload.get(row).unwrap_or_default();
    let header_len = block.decoded[row].header_len as usize;
    match header.get(header_len..) {
        Some([]) => payload,
        Some(rest) if payload.is_empty() => rest,
        Some(rest) => {
            scratch.joined.clear();
            scratch.joined.extend_from_slice(rest);
            scratch.joined.extend_from_slice(payload);
            &scratch.joined
        }
        None => payload.get(header_len - header.len()..).unwrap_or_default(),
    }
}
