//! Disks that refuse: whichever operation fails, once or for good, no writer panics, nothing follows in that segment,
//! another one can be begun, and every record is booked exactly once.

mod common;

use std::io::ErrorKind;

use common::{MemoryStorage, Random, file_info, random_batch};
use kcap_format::testing::{Failure, Faults, FaultyStorage};
use kcap_format::{
    BlockEncoder, BlockType, Effort, Error, PacketColumns, ReadMode, ReadOptions, Segment, SegmentWriter,
    Storage,
};

const BLOCK_COUNT: u64 = 24;
/// Blocks between two syncs.
const SYNC_BLOCK_COUNT: u64 = 3;
/// Blocks of a segment.
const SEGMENT_BLOCK_COUNT: u64 = 9;

type Writer = SegmentWriter<FaultyStorage<MemoryStorage>>;

/// As a recorder does: one block after the other, and another segment when one breaks.
#[derive(Default)]
struct Recording {
    files: Vec<MemoryStorage>,
    open: Option<Writer>,
    /// Packets that the writer took.
    taken: u64,
    /// Packets that no segment took.
    lost: u64,
    /// Of the packets taken: those whose block was synced, and those that may be lost in a crash.
    synced: u64,
    unsynced: u64,
    /// Segments that a failure ended.
    broken: u64,
}

impl Recording {
    fn run(faults: &Faults) -> Self {
        let mut recording = Self::default();
        let mut random = Random(5);
        let mut encoder = BlockEncoder::new();
        for number in 0..BLOCK_COUNT {
            let batch = random_batch(&mut random, 4);
            if recording.open.is_none() {
                recording.begin(faults);
            }
            let packets = batch.len as u64;
            if recording.append(&encoder.packets(&batch, Effort::Stored)) {
                recording.taken += packets;
                recording.unsynced += packets;
            } else {
                recording.lost += packets;
            }
            if number % SYNC_BLOCK_COUNT == SYNC_BLOCK_COUNT - 1 {
                recording.sync();
            }
            if number % SEGMENT_BLOCK_COUNT == SEGMENT_BLOCK_COUNT - 1 {
                recording.seal();
            }
        }
        recording.seal();
        recording
    }

    fn begin(&mut self, faults: &Faults) {
        let file = MemoryStorage::default();
        self.files.push(file.clone());
        match SegmentWriter::create(FaultyStorage::new(file, faults), &file_info()) {
            Ok(writer) => self.open = Some(writer),
            Err(error) => assert!(matches!(error, Error::Io { .. }), "{error}"),
        }
    }

    /// True when the segment took the block.
    fn append(&mut self, block: &kcap_format::EncodedBlock) -> bool {
        let Some(writer) = &mut self.open else { return false };
        match writer.append(block) {
            Ok(_) => true,
            Err(error) => {
                self.give_up(&error);
                false
            }
        }
    }

    fn sync(&mut self) {
        let Some(writer) = &mut self.open else { return };
        match writer.sync() {
            Ok(()) => self.synced += std::mem::take(&mut self.unsynced),
            Err(error) => self.give_up(&error),
        }
    }

    fn seal(&mut self) {
        let Some(writer) = self.open.take() else { return };
        let blocks = writer.blocks().len();
        match writer.seal() {
            Ok(seal) => {
                assert_eq!(seal.counts.iter().map(|count| count.block_count as usize).sum::<usize>(), blocks);
                self.synced += std::mem::take(&mut self.unsynced);
            }
            Err(error) => {
                assert!(matches!(error, Error::Io { .. }), "{error}");
                self.broken += 1;
                self.unsynced = 0;
            }
        }
    }

    /// The segment ends, and nothing can follow in it.
    fn give_up(&mut self, error: &Error) {
        assert!(matches!(error, Error::Io { .. }), "{error}");
        let mut writer = self.open.take().expect("it was open");
        let before = writer.storage().storage().bytes();
        assert!(matches!(
            writer.append(&BlockEncoder::new().clock(&[common::clock(1)])),
            Err(Error::Poisoned { .. })
        ));
        assert!(matches!(writer.sync(), Err(Error::Poisoned { .. })));
        let file = writer.storage().storage().clone();
        assert!(matches!(writer.seal(), Err(Error::Poisoned { .. })));
        assert_eq!(file.bytes(), before, "nothing follows");
        self.broken += 1;
        self.unsynced = 0;
    }

    /// Packets that can be read from all segments.
    fn readable(&self) -> u64 {
        let options = ReadOptions::with_mode(ReadMode::TailTolerant);
        let mut packets = 0;
        for file in &self.files {
            let segment = match Segment::from_bytes("memory", file.bytes(), &options) {
                Ok(segment) => segment,
                Err(error) => {
                    assert!(
                        matches!(error, Error::NotASegment { .. } | Error::Torn { offset: 0, .. }),
                        "only one that has no whole block cannot be read: {error}"
                    );
                    continue;
                }
            };
            for block in segment.blocks_of(BlockType::PACKETS) {
                packets += segment.packets(block, PacketColumns::ALL).unwrap().len as u64;
            }
        }
        packets
    }
}

#[test]
fn whichever_operation_fails_the_segment_ends_another_begins_and_the_books_are_exact() {
    let whole = Faults::default();
    let untroubled = Recording::run(&whole);
    let total = untroubled.taken;
    assert_eq!((untroubled.readable(), untroubled.synced, untroubled.lost), (total, total, 0));
    assert_eq!(untroubled.files.len() as u64, BLOCK_COUNT.div_ceil(SEGMENT_BLOCK_COUNT));

    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        for operation in 0..whole.operations() {
            let faults = Faults::default();
            faults.fail_at(operation, Failure::once(kind));
            let recording = Recording::run(&faults);
            let what = format!("operation {operation} fails once with {kind}");
            check(&recording, total, &what);
            assert!(recording.files.len() >= untroubled.files.len(), "{what}: it went on");
            assert!(recording.lost <= total / 4, "{what}: {} lost", recording.lost);

            let faults = Faults::default();
            faults.fail_at(operation, Failure::lasting(kind));
            check(
                &Recording::run(&faults),
                total,
                &format!("operation {operation} fails for good with {kind}"),
            );
        }
    }
    println!("{} operations, each failing once and for good, with 2 errors", whole.operations());
}

fn check(recording: &Recording, total: u64, what: &str) {
    assert_eq!(recording.taken + recording.lost, total, "{what}");
    let readable = recording.readable();
    assert!(readable >= recording.synced, "{what}: {readable} of {} synced are there", recording.synced);
    assert_eq!(readable, recording.taken, "{what}: what was booked as lost cannot be read, all else can");
}

#[test]
fn a_disk_that_fills_and_is_emptied_costs_only_what_came_meanwhile() {
    let mut encoder = BlockEncoder::new();
    let block = encoder.packets(&random_batch(&mut Random(3), 10), Effort::Stored);
    for free_len in 0..2 * block.payload.len() as u64 {
        let faults = Faults::default();
        faults.set_free_len(Some(free_len));
        let file = MemoryStorage::default();
        let mut written = 0;
        if let Ok(mut writer) = SegmentWriter::create(FaultyStorage::new(file.clone(), &faults), &file_info())
        {
            written = 1;
            let error = loop {
                match writer.append(&block) {
                    Ok(_) => written += 1,
                    Err(error) => break error,
                }
            };
            assert!(
                matches!(&error, Error::Io { source, .. } if source.kind() == ErrorKind::StorageFull),
                "{error}"
            );
            assert!(error.to_string().starts_with("memory: "), "{error}");
        }
        assert_eq!(file.bytes().len() as u64, free_len, "what fits is written");
        if let Ok(segment) = Segment::from_bytes("memory", file.bytes(), &ReadOptions::default()) {
            assert_eq!(segment.blocks().len(), written, "with room for {free_len}");
        } else {
            assert_eq!(written, 0);
        }
        faults.give_back(1 << 20);
        let file = MemoryStorage::default();
        let mut writer =
            SegmentWriter::create(FaultyStorage::new(file.clone(), &faults), &file_info()).unwrap();
        writer.append(&block).unwrap();
        writer.seal().unwrap();
        assert_eq!(
            Segment::from_bytes("memory", file.bytes(), &ReadOptions::default()).unwrap().blocks().len(),
            2
        );
    }
}

#[test]
fn a_broken_disk_heals() {
    let faults = Faults::default();
    let mut storage = FaultyStorage::new(MemoryStorage::default(), &faults);
    storage.append(b"before").unwrap();
    faults.break_now(ErrorKind::Other);
    assert!(storage.append(b"ab").is_err() && storage.sync().is_err() && faults.operate().is_err());
    faults.heal();
    storage.append(b"after").unwrap();
    storage.sync().unwrap();
    assert_eq!(storage.storage().bytes(), b"beforeaafter");
}
