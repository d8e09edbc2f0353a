//! Crashes of the host. A recording that was promised to be on disk must be there after any of them, whatever of the
//! rest the disk had kept, in whatever order. The harm would be silent: all tests on a healthy disk pass.

mod common;

use common::{MemoryStorage, Random, exit_event, file_info, random_batch};
use kcap_format::testing::KeptPages;
use kcap_format::{
    BlockEncoder, BlockEntry, BlockType, Effort, Error, PacketBatch, PacketColumns, ReadMode, ReadOptions,
    Segment, SegmentState, SegmentWriter,
};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

const SEED_COUNT: u64 = 1_000;

/// What was written in a block.
#[derive(Debug, PartialEq)]
#[allow(clippy::large_enum_variant)] // a test keeps few
enum Records {
    Packets(PacketBatch),
    Messages(Vec<Vec<u8>>),
    Index,
}

fn records(segment: &Segment, block: &BlockEntry) -> kcap_format::Result<Records> {
    Ok(match block.block_type {
        BlockType::PACKETS => Records::Packets(segment.packets(block, PacketColumns::ALL)?),
        BlockType::INDEX => {
            segment.check_block(block)?;
            Records::Index
        }
        _ => Records::Messages(segment.message_bytes(block)?),
    })
}

/// Blocks of many sizes, with a sync now and then: on this thread, or on another one while more is written.
fn record(seed: u64) -> MemoryStorage {
    let mut random = Random(seed);
    let memory = MemoryStorage::default();
    let mut writer = SegmentWriter::create(memory.clone(), &file_info()).unwrap();
    let mut encoder = BlockEncoder::new();
    if random.below(4) > 0 {
        writer.sync().unwrap();
    }
    let mut syncing = None;
    for time_ns in 0..2 + random.below(6) {
        let effort = if random.below(2) == 0 { Effort::Stored } else { Effort::Zstd { level: 1 } };
        let block = match random.below(8) {
            0 => encoder.clock(&[common::clock(time_ns)]),
            1 => encoder.events(&[exit_event(time_ns, b"a process")], effort),
            _ => {
                let packets = 1 + random.below(20) as usize;
                encoder.packets(&random_batch(&mut random, packets), effort)
            }
        };
        writer.append(&block).unwrap();
        match random.below(6) {
            0 => writer.sync().unwrap(),
            1 => syncing = Some(writer.len()),
            2 => {
                if let Some(len) = syncing.take() {
                    memory.sync_to(len as usize);
                    writer.mark_synced(len);
                }
            }
            _ => {}
        }
    }
    if random.below(3) > 0 {
        writer.seal().unwrap();
    }
    memory
}

#[derive(Clone, Copy, Default)]
struct Figures {
    images: u64,
    refused: u64,
    sealed: u64,
    unsealed: u64,
    torn: u64,
    blocks_read: u64,
    blocks_unsynced: u64,
}

impl Figures {
    fn add(self, other: Self) -> Self {
        Self {
            images: self.images + other.images,
            refused: self.refused + other.refused,
            sealed: self.sealed + other.sealed,
            unsealed: self.unsealed + other.unsealed,
            torn: self.torn + other.torn,
            blocks_read: self.blocks_read + other.blocks_read,
            blocks_unsynced: self.blocks_unsynced + other.blocks_unsynced,
        }
    }
}

#[test]
fn no_synced_block_is_lost_and_the_state_is_named_right() {
    let seeds = std::env::var("KCAP_CRASH_SEEDS").map_or(SEED_COUNT, |seeds| seeds.parse().unwrap());
    let figures = (0..seeds).into_par_iter().map(crash_everywhere).reduce(Figures::default, Figures::add);
    println!(
        "{seeds} seeds, {} crash images: {} sealed, {} unsealed, {} torn, {} with nothing synced refused; {} blocks \
         read, {} of them not yet synced",
        figures.images,
        figures.sealed,
        figures.unsealed,
        figures.torn,
        figures.refused,
        figures.blocks_read,
        figures.blocks_unsynced,
    );
    for count in [figures.sealed, figures.unsealed, figures.torn, figures.refused, figures.blocks_unsynced] {
        assert!(count > seeds / 10, "the test made too few images of one kind");
    }
}

/// Crashes at each operation of one recording.
fn crash_everywhere(seed: u64) -> Figures {
    let mut figures = Figures::default();
    let memory = record(seed);
    let whole = open(memory.bytes(), ReadMode::Strict).unwrap();
    let truth: Vec<(BlockEntry, Records)> =
        whole.blocks().iter().map(|block| (*block, records(&whole, block).unwrap())).collect();
    let mut random = Random(seed ^ 0xC4A5_4000);
    for operation in 0..=memory.operations() {
        for kept in KeptPages::EACH {
            let image = memory.crash(operation, kept, &mut random);
            let what = format!("seed {seed}, operation {operation}, {kept:?}");
            check(image.bytes, image.synced_len, &whole, &truth, &what, &mut figures);
        }
    }
    figures
}

fn open(bytes: Vec<u8>, mode: ReadMode) -> kcap_format::Result<Segment> {
    Segment::from_bytes("memory", bytes, &ReadOptions::with_mode(mode))
}

fn check(
    bytes: Vec<u8>,
    synced_len: usize,
    whole: &Segment,
    truth: &[(BlockEntry, Records)],
    what: &str,
    figures: &mut Figures,
) {
    figures.images += 1;
    let len = bytes.len() as u64;
    let is_synced = |block: &BlockEntry| payload_end(block) <= synced_len as u64;
    let segment = match open(bytes, ReadMode::TailTolerant) {
        Ok(segment) => segment,
        Err(error) => {
            assert!(!truth.iter().any(|(block, _)| is_synced(block)), "{what}: {error}");
            assert!(
                matches!(error, Error::NotASegment { .. } | Error::Torn { .. } | Error::Corrupt { .. }),
                "{what}: {error}"
            );
            figures.refused += 1;
            return;
        }
    };
    for (block, records_written) in truth {
        let is_found = segment.blocks().contains(block);
        assert!(is_found || !is_synced(block), "{what}: the synced block at {} is gone", block.offset);
        if is_found {
            assert_eq!(&records(&segment, block).unwrap(), records_written, "{what}: wrong records");
            figures.blocks_read += 1;
            figures.blocks_unsynced += u64::from(!is_synced(block));
        }
    }
    let is_known = |block| truth.iter().any(|(known, _)| known == block);
    assert!(segment.blocks().iter().all(is_known), "{what}: a block was made up");
    match segment.state() {
        SegmentState::Sealed => {
            figures.sealed += 1;
            assert_eq!(len, whole.len(), "{what}: sealed, and not whole");
            assert_eq!(segment.blocks().len(), truth.len(), "{what}");
        }
        SegmentState::Unsealed => {
            figures.unsealed += 1;
            let end = segment.blocks().last().map_or(0, payload_end).next_multiple_of(8);
            assert!(
                len <= end || whole.seal().is_some() && len == whole.len(),
                "{what}: bytes that are no block"
            );
        }
        SegmentState::Torn { offset } => {
            figures.torn += 1;
            assert!(offset >= synced_len as u64, "{what}: torn at {offset}, synced to {synced_len}");
        }
        state => panic!("{what}: {state:?}, and the disk kept its promise to {synced_len}"),
    }
}

fn payload_end(block: &BlockEntry) -> u64 {
    block.offset + 96 + u64::from(block.stored_len)
}
