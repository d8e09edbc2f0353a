//! Messages of a block. The input is its type, its codec, two bytes of the number of messages, four of their length
//! before compression, and the payload.
#![no_main]

use kcap_format::{BlockType, ReadMode};
use kcap_fuzz::segment::{Block, open, read, with_block};

const TYPES: [BlockType; 4] = [BlockType::EVENTS, BlockType::SNAPSHOT, BlockType::CLOCK, BlockType::LOSS];

kcap_fuzz::fuzz_target!(|data: &[u8]| {
    let Some(([block_type, codec, count @ .., a, b, c, d], payload)) = data.split_first_chunk::<8>() else {
        return;
    };
    let block = Block {
        block_type: TYPES[usize::from(*block_type) % TYPES.len()],
        record_count: u16::from_le_bytes(*count).into(),
        raw_len: u32::from_le_bytes([*a, *b, *c, *d]),
        codec: *codec,
        payload,
    };
    let Ok(segment) = open(&with_block(&block), ReadMode::TailTolerant) else { return };
    let Some(entry) = segment.blocks().get(1) else { return };
    let messages = segment.message_bytes(entry);
    if read(&segment, entry).is_ok() {
        let messages = messages.expect("what can be decoded can be divided");
        assert_eq!(messages.len(), entry.record_count as usize);
    }
});
