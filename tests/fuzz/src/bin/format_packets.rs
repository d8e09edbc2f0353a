//! The records of a PACKETS block. The input is the stated raw length, two bytes that choose columns, and the payload.
#![no_main]

use kcap_format::{BlockEncoder, BlockType, Effort, PacketBatch, PacketColumns, ReadMode, Segment};
use kcap_fuzz::segment::{Block, open, with_block};

const COLUMNS: [PacketColumns; 16] = [
    PacketColumns::TIME,
    PacketColumns::SOCKET_COOKIE,
    PacketColumns::NETNS_COOKIE,
    PacketColumns::INTERFACE_INDEX,
    PacketColumns::WIRE_LEN,
    PacketColumns::LINK_TYPE,
    PacketColumns::DIRECTION,
    PacketColumns::FLAGS,
    PacketColumns::PROGRAM,
    PacketColumns::CPU,
    PacketColumns::GSO_SIZE,
    PacketColumns::GSO_SEGMENTS,
    PacketColumns::MARK,
    PacketColumns::PAYLOAD_LEN,
    PacketColumns::HEADER,
    PacketColumns::PAYLOAD,
];

fn packets(segment: &Segment, columns: PacketColumns) -> kcap_format::Result<PacketBatch> {
    let block = segment.blocks_of(BlockType::PACKETS).next().expect("it is the second block");
    segment.packets(block, columns)
}

kcap_fuzz::fuzz_target!(|data: &[u8]| {
    let Some((raw_len, rest)) = data.split_first_chunk() else { return };
    let Some((columns, payload)) = rest.split_first_chunk() else { return };
    let rows = payload.get(4..8).map_or(0, |rows| u32::from_le_bytes([rows[0], rows[1], rows[2], rows[3]]));
    let block = Block {
        block_type: BlockType::PACKETS,
        record_count: rows,
        raw_len: u32::from_le_bytes(*raw_len),
        codec: 0,
        payload,
    };
    let Ok(segment) = open(&with_block(&block), ReadMode::TailTolerant) else { return };
    if segment.blocks_of(BlockType::PACKETS).next().is_none() {
        return;
    }
    let chosen = u16::from_le_bytes(*columns);
    let some = COLUMNS.iter().enumerate().filter(|(bit, _)| chosen >> bit & 1 == 1);
    let some = some.fold(PacketColumns::NONE, |all, (_, column)| all | *column);
    let some = packets(&segment, some);
    let Ok(all) = packets(&segment, PacketColumns::ALL) else { return };
    assert!(all.raw_len() <= kcap_format::limits::BLOCK_RAW_LEN_MAX as usize);
    // Each column is the same, whichever others are read.
    let some = some.expect("what is read with all columns is read without them");
    assert!(some.time_ns.is_empty() || some.time_ns == all.time_ns);
    assert!(some.wire_len.is_empty() || some.wire_len == all.wire_len);
    assert!(some.header.is_empty() || some.header == all.header);
    assert!(some.payload.is_empty() || some.payload == all.payload);
    if all.len > 0 {
        round_trip(&all);
    }
});

/// What was read can be written, and read again.
fn round_trip(batch: &PacketBatch) {
    let encoded = BlockEncoder::new().packets(batch, Effort::Stored);
    let block = Block {
        block_type: BlockType::PACKETS,
        record_count: encoded.record_count,
        raw_len: encoded.raw_len,
        codec: 0,
        payload: &encoded.payload,
    };
    let segment = open(&with_block(&block), ReadMode::Strict).expect("a whole segment");
    let again = packets(&segment, PacketColumns::ALL).expect("a block that was just written");
    assert!(again == *batch);
}
