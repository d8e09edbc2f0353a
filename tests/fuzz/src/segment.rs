//! Segments with a block that the fuzzer made. Checksums are left out: they pass where a fuzzer runs.

use std::sync::OnceLock;

use kcap_format::limits::{FORMAT_VERSION, SYNC_MARKER};
use kcap_format::testing::CrashStorage;
use kcap_format::{
    BlockEntry, BlockType, PacketColumns, ReadMode, ReadOptions, Segment, SegmentWriter, block_flags, proto,
};

/// All ways of taking damage.
pub const MODES: [ReadMode; 3] = [ReadMode::Strict, ReadMode::TailTolerant, ReadMode::Salvage];

/// A block, as far as its header and payload don't follow from where it lies.
pub struct Block<'a> {
    pub block_type: BlockType,
    pub record_count: u32,
    pub raw_len: u32,
    pub codec: u8,
    pub payload: &'a [u8],
}

/// The bytes of a segment whose second and last block is this one.
pub fn with_block(block: &Block<'_>) -> Vec<u8> {
    static FIRST: OnceLock<Vec<u8>> = OnceLock::new();
    let mut bytes = FIRST.get_or_init(first_block).clone();
    let offset = bytes.len() as u64;
    let segment_id = bytes[16..32].to_vec();
    bytes.extend_from_slice(&SYNC_MARKER);
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&segment_id);
    bytes.extend_from_slice(&offset.to_le_bytes());
    bytes.extend_from_slice(&0u64.to_le_bytes());
    for value in [1, block.record_count, block.payload.len() as u32, block.raw_len] {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(&block.block_type.0.to_le_bytes());
    bytes.extend_from_slice(&block_flags::CRITICAL.to_le_bytes());
    bytes.extend_from_slice(&[block.codec, 0]);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&96u16.to_le_bytes());
    bytes.extend_from_slice(&[0; 6]);
    bytes.extend_from_slice(block.payload);
    bytes
}

fn first_block() -> Vec<u8> {
    let storage = CrashStorage::default();
    SegmentWriter::create(storage.clone(), &proto::FileInfo::default()).expect("memory doesn't fail");
    let mut bytes = storage.bytes();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// Opens bytes as a segment.
pub fn open(bytes: &[u8], mode: ReadMode) -> kcap_format::Result<Segment> {
    Segment::from_bytes("fuzz.kcap", bytes.to_vec(), &ReadOptions::with_mode(mode))
}

/// Reads all that a block has.
pub fn read(segment: &Segment, block: &BlockEntry) -> kcap_format::Result<()> {
    match block.block_type {
        BlockType::PACKETS => segment.packets(block, PacketColumns::ALL).map(drop),
        BlockType::EVENTS | BlockType::SNAPSHOT => segment.events(block).map(drop),
        BlockType::CLOCK => segment.clocks(block).map(drop),
        BlockType::LOSS => segment.losses(block).map(drop),
        _ => segment.check_block(block),
    }
}
