//! INDEX and SEAL. The input is the type, and the payload; what a payload must state of its own place is put right.
#![no_main]

use kcap_format::limits::END_MARKER;
use kcap_format::{BlockType, SegmentState};
use kcap_fuzz::segment::{Block, MODES, open, read, with_block};

kcap_fuzz::fuzz_target!(|data: &[u8]| {
    let Some((kind, payload)) = data.split_first() else { return };
    let block_type = if kind & 1 == 0 { BlockType::INDEX } else { BlockType::SEAL };
    let raw_len = payload.len() as u32;
    let block = Block { block_type, record_count: 1, raw_len, codec: 0, payload };
    let mut bytes = with_block(&block);
    if kind & 2 == 2 && payload.len() >= 16 {
        let seal_offset = (bytes.len() - payload.len() - 96) as u64;
        let trailer = bytes.len() - 16;
        bytes[trailer..trailer + 8].copy_from_slice(&seal_offset.to_le_bytes());
        bytes[trailer + 8..].copy_from_slice(&END_MARKER);
    }
    for mode in MODES {
        let Ok(segment) = open(&bytes, mode) else { continue };
        if segment.state() == SegmentState::Sealed {
            assert_eq!(segment.seal().expect("it is sealed").len, bytes.len() as u64);
        }
        for block in segment.blocks() {
            let _ = read(&segment, block);
        }
    }
});
