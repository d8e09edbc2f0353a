//! Damaged segments: a reader must never return a record that was not written, and must not lose whole blocks.

mod common;

use common::{MemoryStorage, Random, file_info, random_batch, small_segment};
use kcap_format::{
    BlockEncoder, BlockEntry, BlockType, Effort, Error, PacketColumns, ReadMode, ReadOptions, Segment,
    SegmentState, SegmentWriter,
};

/// All records of a block, as text that can be compared; `None` when the reader refuses it.
fn records(segment: &Segment, block: &BlockEntry) -> Option<String> {
    Some(match block.block_type {
        BlockType::PACKETS => format!("{:?}", segment.packets(block, PacketColumns::ALL).ok()?),
        BlockType::INDEX => {
            segment.check_block(block).ok()?;
            String::new()
        }
        _ => format!("{:?}", segment.message_bytes(block).ok()?),
    })
}

fn open(bytes: &[u8], mode: ReadMode) -> kcap_format::Result<Segment> {
    Segment::from_bytes("memory", bytes.to_vec(), &ReadOptions::with_mode(mode))
}

/// The records of an undamaged segment by the offset of their block.
struct Truth {
    bytes: Vec<u8>,
    blocks: Vec<(BlockEntry, String)>,
}

impl Truth {
    fn new(sealed: bool) -> Self {
        let bytes = small_segment(sealed);
        let segment = open(&bytes, ReadMode::Strict).unwrap();
        let blocks =
            segment.blocks().iter().map(|block| (*block, records(&segment, block).unwrap())).collect();
        Self { bytes, blocks }
    }

    fn id(&self) -> [u8; 16] {
        open(&self.bytes, ReadMode::Strict).unwrap().id()
    }

    fn payload_end(&self, at: usize) -> usize {
        let block = self.blocks[at].0;
        block.offset as usize + 96 + block.stored_len as usize
    }

    /// Panics on a wrong record, and returns how many blocks were read.
    fn check(&self, segment: &Segment, what: &dyn std::fmt::Debug) -> usize {
        let read = segment.blocks().iter().filter_map(|block| Some((block, records(segment, block)?)));
        read.map(|(block, records)| {
            let truth = self.blocks.iter().find(|(known, _)| known.offset == block.offset);
            let (_, truth) =
                truth.unwrap_or_else(|| panic!("{what:?}: no block was written at {}", block.offset));
            assert_eq!(&records, truth, "{what:?}: wrong records");
        })
        .count()
    }
}

#[test]
fn cut_at_every_byte_all_whole_blocks_are_read() {
    let mut states = std::collections::BTreeMap::new();
    for sealed in [false, true] {
        let truth = Truth::new(sealed);
        for len in 0..truth.bytes.len() {
            let whole = (0..truth.blocks.len()).filter(|&at| truth.payload_end(at) <= len).count();
            let opened = open(&truth.bytes[..len], ReadMode::TailTolerant);
            let Ok(segment) = opened else {
                let error = opened.unwrap_err();
                assert_eq!(whole, 0, "cut at {len}: {error}");
                assert!(
                    matches!(error, Error::Torn { offset: 0, .. } | Error::NotASegment { .. }),
                    "{error}"
                );
                continue;
            };
            assert_eq!(truth.check(&segment, &len), whole, "cut at {len}");
            let last_end = truth.payload_end(whole - 1);
            match segment.state() {
                SegmentState::Torn { offset } => {
                    assert!(offset as usize <= len && len > last_end, "cut at {len}");
                }
                state => {
                    assert_eq!(state, SegmentState::Unsealed);
                    assert!(len <= last_end.next_multiple_of(8), "cut at {len} is torn");
                }
            }
            let strict = open(&truth.bytes[..len], ReadMode::Strict);
            assert_eq!(strict.is_ok(), segment.state() == SegmentState::Unsealed, "cut at {len}");
            let name = if strict.is_ok() { "unsealed" } else { "torn" };
            *states.entry(name).or_insert(0) += 1;
        }
    }
    println!("cut at every byte: {states:?}, every whole block read");
}

#[test]
fn any_flipped_bit_gives_no_wrong_record_and_costs_at_most_a_block() {
    let (mut bits, mut lost) = (0, 0);
    for sealed in [false, true] {
        let truth = Truth::new(sealed);
        let mut bytes = truth.bytes.clone();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let salvaged = open(&bytes, ReadMode::Salvage).unwrap();
            let read = truth.check(&salvaged, &(sealed, bit));
            assert!(read + 1 >= truth.blocks.len(), "bit {bit} cost {} blocks", truth.blocks.len() - read);
            bits += 1;
            lost += truth.blocks.len() - read;
            if let Ok(segment) = open(&bytes, ReadMode::TailTolerant) {
                truth.check(&segment, &(sealed, bit));
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
    println!("{bits} bits flipped one by one: {lost} cost a block, none gave a wrong record");
}

#[test]
fn sectors_overwritten_at_random_give_no_wrong_record() {
    let truth = Truth::new(true);
    let sector = 64;
    for seed in 0..2_000 {
        let mut random = Random(seed);
        let mut bytes = truth.bytes.clone();
        let sectors = bytes.len() / sector;
        for _ in 0..=random.below(3) {
            let at = random.below(sectors as u64) as usize * sector;
            let from = random.below(sectors as u64) as usize * sector;
            match random.below(4) {
                0 => bytes[at..at + sector].fill(0),
                1 => bytes[at..at + sector].fill(0xFF),
                2 => bytes.copy_within(from..from + sector, at),
                _ => bytes[at..at + sector].copy_from_slice(&random.bytes(sector)),
            }
        }
        for mode in [ReadMode::Strict, ReadMode::TailTolerant, ReadMode::Salvage] {
            if let Ok(segment) = open(&bytes, mode) {
                truth.check(&segment, &seed);
            }
        }
    }
}

#[test]
fn blocks_that_moved_or_belong_elsewhere_are_refused() {
    let truth = Truth::new(false);
    let (first, second) = (truth.blocks[1].0.offset as usize, truth.blocks[2].0.offset as usize);
    let mut moved = truth.bytes.clone();
    moved.drain(first..second);
    assert!(matches!(open(&moved, ReadMode::TailTolerant), Err(Error::Corrupt { .. }) | Ok(_)));
    let salvaged = open(&moved, ReadMode::Salvage).unwrap();
    assert_eq!(truth.check(&salvaged, &"moved"), 1, "only the FILE block is where it belongs");

    let other = Truth::new(false);
    let fifth = truth.blocks[5].0.offset as usize;
    let mut mixed = truth.bytes.clone();
    mixed[fifth..].copy_from_slice(&other.bytes[fifth..]);
    let salvaged = open(&mixed, ReadMode::Salvage).unwrap();
    assert_eq!(truth.check(&salvaged, &"mixed"), 5, "the rest belongs to another segment");
    assert_eq!(salvaged.id(), truth.id());

    // Where the first blocks are those of another segment, the file is whose most blocks are.
    mixed.copy_from_slice(&truth.bytes);
    mixed[second..].copy_from_slice(&other.bytes[second..]);
    let salvaged = open(&mixed, ReadMode::Salvage).unwrap();
    assert_eq!(other.check(&salvaged, &"mixed"), other.blocks.len() - 2);
    assert_eq!(salvaged.id(), other.id());
    assert_eq!(salvaged.file_info(), &kcap_format::proto::FileInfo::default());
    for mode in [ReadMode::Strict, ReadMode::TailTolerant] {
        let error = open(&mixed, mode).unwrap_err();
        assert!(matches!(error, Error::Corrupt { offset: 0, .. }), "{error}");
    }
}

#[test]
fn damage_below_the_synced_offset_is_corruption_and_behind_it_a_torn_tail() {
    let truth = Truth::new(false);
    let damaged = |at: usize| {
        let mut bytes = truth.bytes.clone();
        bytes[truth.blocks[at].0.offset as usize + 20] ^= 1;
        bytes
    };
    let synced = damaged(2);
    let error = open(&synced, ReadMode::TailTolerant).unwrap_err();
    let at = truth.blocks[2].0.offset;
    assert!(matches!(error, Error::Corrupt { offset, .. } if offset == at), "{error}");
    let salvaged = open(&synced, ReadMode::Salvage).unwrap();
    assert!(matches!(salvaged.state(), SegmentState::Corrupt { offset, .. } if offset == at));
    assert_eq!(truth.check(&salvaged, &"synced"), truth.blocks.len() - 1);

    let unsynced = damaged(4);
    let segment = open(&unsynced, ReadMode::TailTolerant).unwrap();
    assert_eq!(segment.state(), SegmentState::Torn { offset: truth.blocks[4].0.offset });
    assert_eq!(truth.check(&segment, &"unsynced"), truth.blocks.len() - 1);
}

#[test]
fn what_belongs_to_no_whole_block_is_measured() {
    let truth = Truth::new(false);
    let offset = |at: usize| truth.blocks[at].0.offset;
    assert_eq!(open(&truth.bytes, ReadMode::Strict).unwrap().skipped_len(), 0);
    assert_eq!(open(&Truth::new(true).bytes, ReadMode::Strict).unwrap().skipped_len(), 0);

    let mut damaged = truth.bytes.clone();
    damaged[offset(2) as usize + 20] ^= 1;
    damaged[offset(4) as usize + 20] ^= 1;
    let salvaged = open(&damaged, ReadMode::Salvage).unwrap();
    assert_eq!(salvaged.skipped_len(), offset(3) - offset(2) + offset(5) - offset(4));

    let cut = &truth.bytes[..offset(6) as usize + 7];
    assert_eq!(open(cut, ReadMode::TailTolerant).unwrap().skipped_len(), 7);
    let payload_gone = &truth.bytes[..truth.payload_end(6) - 1];
    let segment = open(payload_gone, ReadMode::TailTolerant).unwrap();
    assert_eq!(segment.skipped_len(), payload_gone.len() as u64 - offset(6));
}

#[test]
fn a_header_without_its_payload_is_torn() {
    let truth = Truth::new(false);
    let last = truth.blocks.last().unwrap().0;
    let mut bytes = truth.bytes.clone();
    bytes[last.offset as usize + 96..].fill(0);
    let segment = open(&bytes, ReadMode::TailTolerant).unwrap();
    assert_eq!(segment.state(), SegmentState::Torn { offset: last.offset });
    assert_eq!(truth.check(&segment, &"no payload"), truth.blocks.len() - 1);
}

#[test]
fn what_is_no_segment_is_named_so() {
    for bytes in [&b""[..], b"\x0A\x0D\x0D\x0A pcapng", &[0; 4_096], &[0xFF; 100]] {
        for mode in [ReadMode::Strict, ReadMode::TailTolerant, ReadMode::Salvage] {
            let error = open(bytes, mode).unwrap_err();
            assert!(matches!(error, Error::NotASegment { .. } | Error::Torn { offset: 0, .. }), "{error}");
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.kcap");
    std::fs::write(&empty, b"").unwrap();
    assert!(matches!(Segment::open(&empty), Err(Error::NotASegment { .. })));
    assert!(matches!(Segment::open(folder.path()), Err(Error::NotASegment { .. } | Error::Io { .. })));
}

#[test]
fn reading_metadata_never_looks_at_payloads() {
    let memory = MemoryStorage::default();
    let mut writer = SegmentWriter::create(memory.clone(), &file_info()).unwrap();
    let batch = random_batch(&mut Random(9), 200);
    let block = writer.append(&BlockEncoder::new().packets(&batch, Effort::default())).unwrap();
    writer.sync().unwrap();
    writer.append(&BlockEncoder::new().clock(&[common::clock(5)])).unwrap();
    let mut bytes = memory.bytes();
    let end = block.offset as usize + 96 + block.stored_len as usize;
    bytes[end - 1] ^= 0xFF;
    let segment = open(&bytes, ReadMode::Strict).unwrap();
    let read = segment.packets(&block, PacketColumns::META | PacketColumns::HEADER).unwrap();
    assert_eq!((read.time_ns, read.header), (batch.time_ns, batch.header));
    assert!(matches!(segment.packets(&block, PacketColumns::PAYLOAD), Err(Error::Corrupt { .. })));
    assert!(segment.check_block(&block).is_err());
}
