//! Disks fail by the sector: they lose what was written, write it to another place, or give back what lay there before.
//! Whatever happens to some sectors of a segment, no reader may return a record that was not written to this segment,
//! in another order, or twice.

mod common;

use common::{MemoryStorage, Random, clock, exit_event, file_info, random_batch};
use kcap_format::{
    BlockEncoder, BlockEntry, BlockType, Effort, PacketBatch, PacketColumns, ReadMode, ReadOptions, Segment,
    SegmentState, SegmentWriter, proto,
};

const SEEDS: u64 = 10_000;
const SECTOR_LENS: [usize; 2] = [512, 4_096];
const HEADER_LEN: usize = 96;
const MODES: [ReadMode; 3] = [ReadMode::Strict, ReadMode::TailTolerant, ReadMode::Salvage];

fn open(bytes: &[u8], mode: ReadMode) -> kcap_format::Result<Segment> {
    Segment::from_bytes("memory", bytes.to_vec(), &ReadOptions::with_mode(mode))
}

/// All records of a block; `None` when the reader refuses it.
#[derive(Debug, PartialEq)]
enum Records {
    Packets(Box<PacketBatch>),
    Messages(Vec<Vec<u8>>),
    Index,
}

fn records(segment: &Segment, block: &BlockEntry) -> Option<Records> {
    match block.block_type {
        BlockType::PACKETS => {
            segment.packets(block, PacketColumns::ALL).ok().map(Box::new).map(Records::Packets)
        }
        BlockType::INDEX => segment.check_block(block).ok().map(|()| Records::Index),
        _ => segment.message_bytes(block).ok().map(Records::Messages),
    }
}

/// A segment as it was written.
struct Truth {
    bytes: Vec<u8>,
    file_info: proto::FileInfo,
    blocks: Vec<(BlockEntry, Records)>,
}

impl Truth {
    fn of(bytes: Vec<u8>) -> Self {
        let segment = open(&bytes, ReadMode::Strict).unwrap();
        let blocks = segment.blocks().iter().map(|block| (*block, records(&segment, block).unwrap()));
        Self { file_info: segment.file_info().clone(), blocks: blocks.collect(), bytes }
    }

    /// Panics on a wrong record, and returns how many blocks were read. What reads as it did because its bytes are as
    /// they were is only read when `all` is.
    fn check(&self, segment: &Segment, bytes: &[u8], all: bool, what: &dyn std::fmt::Debug) -> usize {
        assert!(
            *segment.file_info() == self.file_info || *segment.file_info() == proto::FileInfo::default(),
            "{what:?}: told of another segment"
        );
        let mut read = 0;
        let mut behind = 0;
        for block in segment.blocks() {
            let is_untouched =
                self.extent(block).is_some_and(|extent| bytes[extent.clone()] == self.bytes[extent]);
            let records = if is_untouched && !all { None } else { records(segment, block) };
            if records.is_none() && !is_untouched {
                continue;
            }
            let truth = self.blocks.iter().position(|(known, _)| known == block);
            let at = truth.unwrap_or_else(|| panic!("{what:?}: no block was written at {}", block.offset));
            assert!(at >= behind, "{what:?}: block {at} out of order, or twice");
            behind = at + 1;
            if let Some(records) = records {
                assert!(records == self.blocks[at].1, "{what:?}: wrong records at {}", block.offset);
            }
            read += 1;
        }
        read
    }

    fn extent(&self, block: &BlockEntry) -> Option<std::ops::Range<usize>> {
        let begin = block.offset as usize;
        let end = begin + HEADER_LEN + block.stored_len as usize;
        (end <= self.bytes.len()).then_some(begin..end)
    }
}

/// A segment of about 80 KiB. Segments with other seeds and the same `layout` have blocks of the same types, lengths and
/// counts at the same places, and other records: nothing but the identity tells a sector of one from that of another.
/// In half of the layouts payloads begin with a sector, so that a header never shares one with its payload.
fn segment(seed: u64, layout: u64, sealed: bool) -> Vec<u8> {
    let storage = MemoryStorage::default();
    let mut random = Random(seed);
    let info = proto::FileInfo { capture_id: random.bytes(16), ..file_info() };
    let mut writer = SegmentWriter::create(storage.clone(), &info).unwrap();
    let mut encoder = BlockEncoder::new();
    let mut shape = Random(layout);
    for i in 0..40 {
        if layout.is_multiple_of(2) {
            // An event's length is chosen so that the next payload begins with a sector.
            let next = (writer.len() as usize + 2 * HEADER_LEN + 64).next_multiple_of(SECTOR_LENS[0]);
            let name_len = (1..SECTOR_LENS[0])
                .find(|len| {
                    let block = encoder.events(&[event(&mut Random(1), *len)], Effort::Stored);
                    let end = writer.len() as usize + HEADER_LEN + block.payload.len();
                    end.next_multiple_of(8) + HEADER_LEN == next
                })
                .unwrap();
            writer.append(&encoder.events(&[event(&mut random, name_len)], Effort::Stored)).unwrap();
        }
        let rows = 4 + shape.below(24);
        let batch = same_shape_batch(&mut random, rows as usize);
        writer.append(&encoder.packets(&batch, Effort::Stored)).unwrap();
        if i % 4 == 3 {
            writer.append(&encoder.clock(&[clock(1 << 40 | random.below(1 << 20))])).unwrap();
            writer.sync().unwrap();
        }
    }
    if sealed {
        writer.seal().unwrap();
    }
    storage.bytes()
}

fn event(random: &mut Random, name_len: usize) -> proto::Event {
    exit_event(1 << 40 | random.below(1 << 20), &random.bytes(name_len))
}

/// Packets whose encoding has the same length whatever the random numbers are.
fn same_shape_batch(random: &mut Random, rows: usize) -> PacketBatch {
    let mut batch = PacketBatch::default();
    for i in 0..rows as u64 {
        let row = kcap_format::PacketRow {
            time_ns: (1 << 40) + i * 1_000_000 + random.below(1_000),
            socket_cookie: 1 << 30 | random.below(1 << 20),
            wire_len: 1_500,
            cpu: (i % 2) as u16,
            ..Default::default()
        };
        batch.push(&row, &random.bytes(40), &random.bytes(80));
    }
    batch
}

/// What happens to a sector.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Zeros,
    Ones,
    /// What lay there before: a sector of an older segment.
    Stale,
    /// Two sectors change places.
    Swapped,
    /// Written to the place of another; its own keeps what lay there before.
    Misdirected,
}

const FATES: [Fate; 5] = [Fate::Zeros, Fate::Ones, Fate::Stale, Fate::Swapped, Fate::Misdirected];

fn damage(bytes: &mut [u8], older: &[u8], sector_len: usize, fate: Fate, random: &mut Random) {
    let sectors = bytes.len() / sector_len;
    let [at, other] = [0; 2].map(|_| random.below(sectors as u64) as usize * sector_len);
    let older_at = &older[at..at + sector_len];
    match fate {
        Fate::Zeros => bytes[at..at + sector_len].fill(0),
        Fate::Ones => bytes[at..at + sector_len].fill(0xFF),
        Fate::Stale => bytes[at..at + sector_len].copy_from_slice(older_at),
        Fate::Swapped => {
            let first = bytes[at..at + sector_len].to_vec();
            bytes.copy_within(other..other + sector_len, at);
            bytes[other..other + sector_len].copy_from_slice(&first);
        }
        Fate::Misdirected => {
            bytes.copy_within(at..at + sector_len, other);
            bytes[at..at + sector_len].copy_from_slice(older_at);
        }
    }
}

#[test]
fn sectors_lost_stale_swapped_or_misdirected_give_no_wrong_record() {
    let layouts: Vec<(Truth, Vec<u8>)> = (0..16)
        .map(|layout| {
            let sealed = layout % 4 < 2;
            let (bytes, older) = (segment(7, layout, sealed), segment(8, layout, sealed));
            assert_eq!(bytes.len(), older.len(), "an older segment with blocks at the same places");
            (Truth::of(bytes), older)
        })
        .collect();
    let (mut blocks, mut read) = (0, 0);
    let mut opened = [0; 3];
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let (truth, older) = &layouts[random.below(layouts.len() as u64) as usize];
        let sector_len = SECTOR_LENS[random.below(2) as usize];
        let mut bytes = truth.bytes.clone();
        let fates: Vec<_> = (0..=random.below(3)).map(|_| FATES[random.below(5) as usize]).collect();
        fates.iter().for_each(|fate| damage(&mut bytes, older, sector_len, *fate, &mut random));
        let what = (seed, sector_len, fates);
        for (at, mode) in MODES.into_iter().enumerate() {
            let Ok(segment) = open(&bytes, mode) else { continue };
            opened[at] += 1;
            let whole = truth.check(&segment, &bytes, seed.is_multiple_of(16), &what);
            if mode == ReadMode::Salvage {
                blocks += truth.blocks.len();
                read += whole;
                let untouched = truth.blocks.iter().filter(|(block, _)| {
                    truth.extent(block).is_some_and(|extent| bytes[extent.clone()] == truth.bytes[extent])
                });
                assert_eq!(whole, untouched.count(), "{what:?}: a whole block was not read");
            }
        }
    }
    assert_eq!(opened[2], SEEDS, "what has whole blocks can be salvaged");
    println!(
        "{SEEDS} segments with damaged sectors: {} opened strictly, {} tail-tolerant, {} salvaged; {read} of {blocks} \
         blocks read, no wrong record",
        opened[0], opened[1], opened[2]
    );
}

/// The directory of a PACKETS block is read without the rest of the payload. Its own checksum once was all that was
/// looked at: whole sectors of an older segment behind a header gave that segment's packets.
#[test]
fn the_payload_of_an_older_segment_behind_a_header_is_refused() {
    let (bytes, older) = (segment(7, 2, true), segment(8, 2, true));
    let truth = Truth::of(bytes);
    let mut refused = 0;
    for (block, _) in truth.blocks.iter().filter(|(block, _)| block.block_type == BlockType::PACKETS) {
        let payload = block.offset as usize + HEADER_LEN..truth.extent(block).unwrap().end;
        let mut damaged = truth.bytes.clone();
        damaged[payload.clone()].copy_from_slice(&older[payload]);
        for mode in MODES {
            let segment = open(&damaged, mode).unwrap();
            for columns in [PacketColumns::TIME, PacketColumns::META, PacketColumns::ALL] {
                assert!(segment.packets(block, columns).is_err(), "stale packets at {}", block.offset);
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
}

/// People record the traffic by which segments are copied. Rescans then meet whole blocks within payloads.
#[test]
fn blocks_within_the_payload_of_others_are_not_taken_for_blocks() {
    let storage = MemoryStorage::default();
    let mut writer = SegmentWriter::create(storage.clone(), &file_info()).unwrap();
    let mut encoder = BlockEncoder::new();
    let strange = segment(9, 1, true);
    for shift in 0..8 {
        let mut batch = PacketBatch::default();
        batch.push(&kcap_format::PacketRow::default(), &vec![0; shift], &strange[..4_096]);
        // What this file holds so far: blocks with its own identity.
        batch.push(&kcap_format::PacketRow::default(), &[], &storage.bytes());
        writer.append(&encoder.packets(&batch, Effort::Stored)).unwrap();
        writer.append(&encoder.packets(&random_batch(&mut Random(shift as u64), 3), Effort::Stored)).unwrap();
        writer.sync().unwrap();
    }
    let truth = Truth::of(storage.bytes());
    for (block, _) in &truth.blocks {
        // Without its header, all of the payload is searched.
        let mut bytes = truth.bytes.clone();
        bytes[block.offset as usize + 40] ^= 1;
        let salvaged = open(&bytes, ReadMode::Salvage).unwrap();
        assert_eq!(truth.check(&salvaged, &bytes, true, &block.offset), truth.blocks.len() - 1);
        assert_eq!(salvaged.damage().len(), 1, "{:?}", salvaged.damage());
        assert_eq!(salvaged.damage()[0].begin, block.offset);
    }
}

#[test]
fn a_whole_older_segment_in_front_does_not_make_the_file_its_own() {
    for sealed in [false, true] {
        let (bytes, older) = (segment(7, 1, sealed), segment(8, 1, sealed));
        let truth = Truth::of(bytes);
        let mut damaged = truth.bytes.clone();
        damaged[..4_096].copy_from_slice(&older[..4_096]);
        if sealed {
            // The SEAL of the older one, too: first and last block agree on the wrong segment.
            let tail = damaged.len() - 1_024;
            damaged[tail..].copy_from_slice(&older[tail..]);
        }
        let salvaged = open(&damaged, ReadMode::Salvage).unwrap();
        assert!(truth.check(&salvaged, &damaged, true, &sealed) > 5);
        assert!(
            matches!(salvaged.state(), SegmentState::Corrupt { offset: 0, .. }),
            "{:?}",
            salvaged.state()
        );
        assert!(open(&damaged, ReadMode::TailTolerant).is_err());
    }
}
