//! A sender that repeats one buffer for hundreds of megabytes, as load generators and backups do: independent blocks
//! hold the buffer once each, which made a recording of iperf3 seventeen times as large as a compressed pcap file.

mod common;

use common::{Random, create, file_info};
use kcap_format::{
    BlockEncoder, BlockEntry, BlockType, Effort, Error, FileStorage, Identities, Outcome, PacketBatch,
    PacketColumns, PacketRow, ReadMode, ReadOptions, Recipient, Segment, SegmentWriter, repair,
};
use std::path::Path;

/// Keys that nothing else is encrypted to.
const PUBLIC_KEY: &str = "age1mgs3k78ema2ud5hk3hc6nul8kt8dgst928rmw3qth2gevvmr4e6q0tfl3v";
const SECRET_KEY: &str = "AGE-SECRET-KEY-185DFAKNF7A4CC2QKW38Y027QZQDV86VYF6LGM4AE6ADY2Y7LXZWS4RJ22P";

const BUFFER_LEN: usize = 128 << 10;
const BLOCK_COUNT: usize = 6;
const PACKETS_OF_BLOCK: usize = 20;
const PAYLOAD_LEN: usize = 60_000;

/// Blocks of packets of a stream that sends one buffer again and again.
fn batches() -> Vec<PacketBatch> {
    let buffer = Random(7).bytes(BUFFER_LEN).repeat(2);
    let mut random = Random(8);
    let (mut time_ns, mut from) = (0, 0);
    let mut batch = || {
        let mut batch = PacketBatch::default();
        for _ in 0..PACKETS_OF_BLOCK {
            time_ns += 1_000;
            let header = random.bytes(52);
            batch.push(
                &PacketRow { time_ns, ..PacketRow::default() },
                &header,
                &buffer[from..from + PAYLOAD_LEN],
            );
            from = (from + PAYLOAD_LEN) % BUFFER_LEN;
        }
        batch
    };
    (0..BLOCK_COUNT).map(|_| batch()).collect()
}

fn write(mut writer: SegmentWriter<FileStorage>, effort: Effort) -> Vec<PacketBatch> {
    let batches = batches();
    let mut encoder = BlockEncoder::new();
    for batch in &batches {
        writer.append(&encoder.packets(batch, effort)).unwrap();
    }
    writer.seal().unwrap();
    batches
}

fn packets(segment: &Segment) -> Vec<BlockEntry> {
    segment.blocks_of(BlockType::PACKETS).copied().collect()
}

/// Damages these dictionaries.
fn damage_dictionaries(path: &Path, which: &[usize]) {
    let segment = Segment::open(path).unwrap();
    let blocks: Vec<_> = segment.blocks_of(BlockType::DICTIONARY).collect();
    let mut bytes = std::fs::read(path).unwrap();
    for &at in which {
        bytes[blocks[at].offset as usize + 1_000] ^= 1;
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_repeated_is_stored_twice_a_segment_and_not_once_a_block() {
    let folder = tempfile::tempdir().unwrap();
    for level in [-5, 1, 3] {
        let path = folder.path().join(format!("{level}.kcap"));
        let batches = write(create(&path), Effort::Zstd { level });
        let segment = Segment::open(&path).unwrap();
        assert_eq!(segment.blocks_of(BlockType::DICTIONARY).count(), 2, "level {level}");
        for (block, batch) in packets(&segment).iter().zip(&batches) {
            assert_eq!(&segment.packets(block, PacketColumns::ALL).unwrap(), batch, "level {level}");
        }
        let later: u32 = packets(&segment)[1..].iter().map(|block| block.stored_len).sum();
        let headers = (BLOCK_COUNT * PACKETS_OF_BLOCK * 52) as u32;
        assert!(later < 2 * headers, "level {level}: {later} bytes, of which {headers} are headers");
    }
}

#[test]
fn stored_blocks_need_no_dictionary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stored.kcap");
    write(create(&path), Effort::Stored);
    assert_eq!(Segment::open(&path).unwrap().blocks_of(BlockType::DICTIONARY).count(), 0);
}

#[test]
fn damage_of_one_dictionary_costs_nothing_and_of_both_the_payloads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kcap");
    let batches = write(create(&path), Effort::default());
    let whole = std::fs::read(&path).unwrap();

    for damaged in [0, 1] {
        std::fs::write(&path, &whole).unwrap();
        damage_dictionaries(&path, &[damaged]);
        let segment = Segment::open(&path).unwrap();
        for (block, batch) in packets(&segment).iter().zip(&batches) {
            assert_eq!(&segment.packets(block, PacketColumns::ALL).unwrap(), batch);
        }
    }

    std::fs::write(&path, &whole).unwrap();
    damage_dictionaries(&path, &[0, 1]);
    let segment = Segment::open(&path).unwrap();
    let blocks = packets(&segment);
    assert!(segment.packets(&blocks[0], PacketColumns::ALL).is_ok(), "the first block needs none");
    for (block, batch) in blocks.iter().zip(&batches).skip(1) {
        let error = segment.packets(block, PacketColumns::ALL).unwrap_err();
        assert!(
            matches!(&error, Error::Corrupt { .. }) && error.to_string().contains("dictionary"),
            "{error}"
        );
        let read = segment.packets(block, PacketColumns::META | PacketColumns::HEADER).unwrap();
        assert_eq!((read.header, read.time_ns), (batch.header.clone(), batch.time_ns.clone()));
    }
}

#[test]
fn a_repair_keeps_dictionaries_and_makes_them_two_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kcap");
    let batches = write(create(&path), Effort::default());
    let whole = std::fs::read(&path).unwrap();
    for damaged in [&[0][..], &[1], &[0, 1]] {
        std::fs::write(&path, &whole).unwrap();
        damage_dictionaries(&path, damaged);
        let out = folder.path().join(format!("{damaged:?}.kcap"));
        let report = repair(&path, &out, &|_| {}).unwrap();
        assert!(report.result.is_clean(), "{report:?}");
        let Outcome::Rewritten(repair) = &report.files[0].outcome else { panic!("{report:?}") };
        let repaired = Segment::open(&out).unwrap();
        let dictionaries: Vec<u32> =
            repaired.blocks_of(BlockType::DICTIONARY).map(|block| block.sequence).collect();
        let blocks = packets(&repaired);
        assert_eq!(blocks.len(), BLOCK_COUNT);
        if damaged.len() == 1 {
            // Before the first block that needs it, and behind all.
            assert_eq!(dictionaries, [blocks[0].sequence + 1, blocks[BLOCK_COUNT - 1].sequence + 1]);
            assert_eq!(repair.lost.len(), 1, "{repair:?}");
            assert!(!repair.lost[0].payloads_only);
        } else {
            assert_eq!(dictionaries, []);
            let payloads = repair.lost.iter().filter(|lost| lost.payloads_only).count();
            assert_eq!((payloads, repair.lost.len()), (BLOCK_COUNT - 1, BLOCK_COUNT + 1), "{repair:?}");
        }
        for (at, (block, batch)) in blocks.iter().zip(&batches).enumerate() {
            let read = repaired.packets(block, PacketColumns::ALL).unwrap();
            assert_eq!((&read.time_ns, &read.header), (&batch.time_ns, &batch.header));
            let has_payloads = damaged.len() == 1 || at == 0;
            assert_eq!(read.payload == batch.payload, has_payloads, "block {at}");
        }
    }
}

#[test]
fn dictionaries_of_an_encrypted_segment_are_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret.kcap");
    let recipient: Recipient = PUBLIC_KEY.parse().unwrap();
    let storage = FileStorage::create(&path).unwrap();
    let writer = SegmentWriter::create_encrypted(storage, &file_info(), &[recipient]).unwrap();
    let batches = write(writer, Effort::default());

    let bytes = std::fs::read(&path).unwrap();
    let buffer = Random(7).bytes(64);
    assert!(!bytes.windows(buffer.len()).any(|window| window == buffer), "the buffer can be read");
    let identities = Identities::parse("key.txt", SECRET_KEY).unwrap();
    let options = ReadOptions::with_mode(ReadMode::Strict).with_identities(identities);
    let segment = Segment::open_with(&path, &options).unwrap();
    assert_eq!(segment.blocks_of(BlockType::DICTIONARY).count(), 2);
    for (block, batch) in packets(&segment).iter().zip(&batches) {
        assert_eq!(&segment.packets(block, PacketColumns::ALL).unwrap(), batch);
    }

    // Who repairs it can't read it, and keeps all of it.
    damage_dictionaries(&path, &[0]);
    let out = folder.path().join("out.kcap");
    assert!(repair(&path, &out, &|_| {}).unwrap().result.is_clean());
    let repaired = Segment::open_with(&out, &options).unwrap();
    for (block, batch) in packets(&repaired).iter().zip(&batches) {
        assert_eq!(&repaired.packets(block, PacketColumns::ALL).unwrap(), batch);
    }
}
