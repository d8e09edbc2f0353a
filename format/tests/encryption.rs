//! Encrypted segments: only recipients read what was recorded; everybody can check, count and repair it.

mod common;

use common::{MemoryStorage, Random, clock, exit_event, file_info};
use kcap_format::{
    BlockEncoder, BlockType, Direction, Effort, Encryption, Error, Identities, PacketBatch, PacketColumns,
    PacketRow, ReadMode, ReadOptions, Recipient, Segment, SegmentState, SegmentWriter, limits, proto,
};

/// Two pairs of keys that nothing else is encrypted to.
const ALICE: (&str, &str) = (
    "age1mgs3k78ema2ud5hk3hc6nul8kt8dgst928rmw3qth2gevvmr4e6q0tfl3v",
    "AGE-SECRET-KEY-185DFAKNF7A4CC2QKW38Y027QZQDV86VYF6LGM4AE6ADY2Y7LXZWS4RJ22P",
);
const BOB: (&str, &str) = (
    "age15sypsmmqp3t2pqpkdx3py7z50834qj4cgjlx3vfzv6v77e909c8sjsftpd",
    "AGE-SECRET-KEY-1295GEAM0UFRRWXM9H4ALMVPNVANE2HQR28G6403DN03QRVZPAUHQDHZ38C",
);

const HEADER: &[u8] = b"header bytes of a packet";
const PAYLOAD: &[u8] = b"GET /secret HTTP/1.1\r\n";
const PROCESS: &[u8] = b"secret-process";
const COOKIE: u64 = 0x5EC2_E7C0_0C1E_5EC2;

fn recipient(pair: (&str, &str)) -> Recipient {
    pair.0.parse().unwrap()
}

fn identities(pair: (&str, &str)) -> Identities {
    Identities::parse("key.txt", pair.1).unwrap()
}

fn options(identities: &Identities) -> ReadOptions {
    ReadOptions::with_mode(ReadMode::Strict).with_identities(identities.clone())
}

/// Packets with payloads of so many bytes.
fn packets(count: u64, payload_len: usize) -> PacketBatch {
    let mut batch = PacketBatch::default();
    let mut random = Random(count);
    for time_ns in 0..count {
        let row = PacketRow {
            time_ns,
            socket_cookie: COOKIE,
            direction: Direction::Egress,
            wire_len: payload_len as u32,
            ..PacketRow::default()
        };
        batch.push(&row, HEADER, &[PAYLOAD, &random.bytes(payload_len)].concat());
    }
    batch
}

struct Written {
    bytes: Vec<u8>,
    batches: Vec<PacketBatch>,
    events: Vec<proto::Event>,
}

fn write(recipients: &[Recipient], effort: Effort, sealed: bool) -> Written {
    let memory = MemoryStorage::default();
    let mut writer = SegmentWriter::create_encrypted(memory.clone(), &file_info(), recipients).unwrap();
    let mut encoder = BlockEncoder::new();
    let events: Vec<_> = (0..9).map(|time_ns| exit_event(time_ns, PROCESS)).collect();
    let batches = vec![packets(3, 0), packets(1, 9), packets(40, 4_000), PacketBatch::default()];
    writer.append(&encoder.snapshot(&events[..4], effort)).unwrap();
    for batch in &batches {
        writer.append(&encoder.packets(batch, effort)).unwrap();
    }
    writer.append(&encoder.events(&events[4..], effort)).unwrap();
    writer.append(&encoder.events(&[], effort)).unwrap();
    writer.append(&encoder.clock(&[clock(5)])).unwrap();
    let loss = proto::LossReport { seen: 4, stored: 4, ..Default::default() };
    writer.append(&encoder.losses(&[loss])).unwrap();
    writer.sync().unwrap();
    if sealed {
        writer.seal().unwrap();
    }
    Written { bytes: memory.bytes(), batches, events }
}

fn open(bytes: &[u8], options: &ReadOptions) -> Segment {
    Segment::from_bytes("memory", bytes.to_vec(), options).unwrap()
}

fn read_packets(segment: &Segment) -> Vec<PacketBatch> {
    let blocks = segment.blocks_of(BlockType::PACKETS);
    blocks.map(|block| segment.packets(block, PacketColumns::ALL).unwrap()).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn each_recipient_reads_what_was_recorded() {
    for effort in [Effort::Stored, Effort::default()] {
        for sealed in [false, true] {
            let written = write(&[recipient(ALICE), recipient(BOB)], effort, sealed);
            for pair in [ALICE, BOB] {
                let segment = open(&written.bytes, &options(&identities(pair)));
                assert!(segment.is_encrypted());
                assert_eq!(read_packets(&segment), written.batches);
                assert_eq!(segment.all_events().unwrap(), written.events);
                for columns in [PacketColumns::META, PacketColumns::HEADER, PacketColumns::PAYLOAD] {
                    for (block, batch) in segment.blocks_of(BlockType::PACKETS).zip(&written.batches) {
                        let read = segment.packets(block, columns).unwrap();
                        assert_eq!(read.len, batch.len);
                        assert!(read.time_ns.is_empty() || read.time_ns == batch.time_ns);
                        assert!(read.header.is_empty() || read.header == batch.header);
                        assert!(read.payload.is_empty() || read.payload == batch.payload);
                    }
                }
            }
        }
    }
}

#[test]
fn without_the_key_structure_times_and_counts_are_readable_and_nothing_else() {
    let written = write(&[recipient(ALICE)], Effort::Stored, true);
    let plain = write(&[], Effort::Stored, true);
    for secret in [HEADER, PAYLOAD, PROCESS, &COOKIE.to_le_bytes()] {
        assert!(contains(&plain.bytes, secret), "the test looks for the right bytes");
        assert!(!contains(&written.bytes, secret));
    }

    let segment = open(&written.bytes, &ReadOptions::default());
    assert_eq!(segment.state(), SegmentState::Sealed);
    assert_eq!(segment.file_info(), &file_info());
    assert_eq!(segment.all_losses().unwrap()[0].seen, 4);
    assert_eq!(segment.all_clocks().unwrap().len(), 2);
    let counted: u64 = written.batches.iter().map(|batch| batch.len as u64).sum();
    assert_eq!(segment.seal().unwrap().record_count(BlockType::PACKETS), counted);
    for block in segment.blocks() {
        segment.check_block(block).unwrap();
    }
    let same = |segment: &Segment, at: usize| {
        let entry = segment.blocks_of(BlockType::PACKETS).nth(at).unwrap();
        (entry.record_count, entry.raw_len, entry.first_time_ns, entry.last_time_ns)
    };
    let plain = open(&plain.bytes, &ReadOptions::default());
    assert!(!plain.is_encrypted());
    assert_eq!(same(&segment, 2), same(&plain, 2));

    let without = open(&written.bytes, &ReadOptions::default());
    let with_another = open(&written.bytes, &options(&identities(BOB)));
    for (segment, advice) in [
        (without, "memory: encrypted; give --identity FILE"),
        (with_another, "memory: encrypted, and for other recipients than the identity given"),
    ] {
        let block = segment.blocks_of(BlockType::PACKETS).next().unwrap();
        for error in [
            segment.packets(block, PacketColumns::NONE).unwrap_err(),
            segment.packets(block, PacketColumns::TIME).unwrap_err(),
            segment.all_events().unwrap_err(),
        ] {
            assert!(matches!(error, Error::Encrypted { .. }), "{error}");
            let line = error.to_string();
            assert!(line.starts_with(advice) && line.lines().count() == 1, "{line}");
        }
    }
}

#[test]
fn reading_metadata_decrypts_no_payload() {
    let mut written = write(&[recipient(ALICE)], Effort::Stored, true);
    let segment = open(&written.bytes, &options(&identities(ALICE)));
    let block = *segment.blocks_of(BlockType::PACKETS).nth(2).unwrap();
    assert!(block.stored_len as usize > 4 * limits::ENCRYPTED_CHUNK_LEN);
    let last = block.offset as usize + 96 + block.stored_len as usize - 1;
    written.bytes[last] ^= 1;
    let segment = open(&written.bytes, &options(&identities(ALICE)));
    let read = segment.packets(&block, PacketColumns::META | PacketColumns::HEADER).unwrap();
    assert_eq!(read.header, written.batches[2].header);
    assert!(matches!(segment.packets(&block, PacketColumns::PAYLOAD), Err(Error::Corrupt { .. })));
}

#[test]
fn whoever_changes_encrypted_bytes_and_puts_the_checksums_right_is_found_out() {
    let written = write(&[recipient(ALICE)], Effort::default(), false);
    let identities = identities(ALICE);
    let segment = open(&written.bytes, &options(&identities));
    let block = *segment.blocks_of(BlockType::PACKETS).nth(1).unwrap();
    let begin = block.offset as usize;
    let end = begin + 96 + block.stored_len as usize;
    // Of the header: counts, lengths, times, codec and cipher; and every byte of the payload.
    let places = (52..80).chain([84, 85]).chain(92..96).map(|at| begin + at).chain(begin + 96..end);
    for at in places {
        let mut bytes = written.bytes.clone();
        bytes[at] ^= 1;
        let payload_crc = crc32c::crc32c(&bytes[begin + 96..end]);
        bytes[begin + 12..begin + 16].copy_from_slice(&payload_crc.to_le_bytes());
        let header_crc = crc32c::crc32c(&bytes[begin + 12..begin + 96]);
        bytes[begin + 8..begin + 12].copy_from_slice(&header_crc.to_le_bytes());
        let salvage = ReadOptions::with_mode(ReadMode::Salvage).with_identities(identities.clone());
        let segment = open(&bytes, &salvage);
        let Some(block) = segment.blocks().iter().find(|other| other.offset == block.offset) else {
            continue;
        };
        let read = segment.packets(block, PacketColumns::ALL);
        // The zeros behind the block's number are reserved, and not looked at.
        let is_reserved = (begin + 100..begin + 104).contains(&at);
        assert_eq!(read.is_ok(), is_reserved, "byte {} of the block: {read:?}", at - begin);
    }
}

#[test]
fn damage_costs_a_block_and_never_the_key() {
    let written = write(&[recipient(ALICE)], Effort::default(), true);
    let identities = identities(ALICE);
    let whole = open(&written.bytes, &options(&identities));
    let keys: Vec<_> = whole.blocks_of(BlockType::KEY).copied().collect();
    assert_eq!(keys.len(), 2, "one on either side of the first block that needs it");
    assert_eq!(whole.blocks()[2].block_type, BlockType::SNAPSHOT);
    for key in keys {
        for at in (0..96 + key.stored_len as usize).step_by(7) {
            let mut bytes = written.bytes.clone();
            bytes[key.offset as usize + at] ^= 0x10;
            let salvage = ReadOptions::with_mode(ReadMode::Salvage).with_identities(identities.clone());
            let segment = open(&bytes, &salvage);
            assert_eq!(read_packets(&segment), written.batches, "byte {at} of a KEY block");
        }
    }
}

#[test]
fn each_segment_has_a_key_of_its_own_and_an_index_repeats_it() {
    let memory = MemoryStorage::default();
    let mut writer =
        SegmentWriter::create_encrypted(memory.clone(), &file_info(), &[recipient(ALICE)]).unwrap();
    let mut encoder = BlockEncoder::new();
    let block = encoder.packets(&packets(2, 5), Effort::Stored);
    for _ in 0..2 * limits::INDEX_BLOCK_COUNT {
        writer.append(&block).unwrap();
    }
    writer.seal().unwrap();
    let first = memory.bytes();
    let segment = open(&first, &options(&identities(ALICE)));
    assert_eq!(segment.blocks_of(BlockType::INDEX).count(), 2);
    assert_eq!(segment.blocks_of(BlockType::KEY).count(), 4);
    let payload = |bytes: &[u8], at: usize| {
        let entry = open(bytes, &ReadOptions::default());
        let entry = *entry.blocks_of(BlockType::PACKETS).nth(at).unwrap();
        bytes[entry.offset as usize + 104..][..entry.stored_len as usize - 8].to_vec()
    };
    assert_ne!(payload(&first, 0), payload(&first, 1), "equal packets look different");
    let second = write(&[recipient(ALICE)], Effort::Stored, true).bytes;
    let third = write(&[recipient(ALICE)], Effort::Stored, true).bytes;
    assert_ne!(payload(&second, 0), payload(&third, 0));
}

#[test]
fn a_recipient_verifies_what_others_cannot_look_into() {
    let written = write(&[recipient(ALICE)], Effort::default(), true);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kcap");
    let verify = |bytes: &[u8], identities: Identities| {
        std::fs::write(&path, bytes).unwrap();
        let mut options = kcap_format::VerifyOptions::default();
        options.identities = identities;
        kcap_format::verify(&[&path], &options).unwrap()
    };
    for (who, expected) in [
        (Identities::default(), Encryption::Closed),
        (identities(BOB), Encryption::Closed),
        (identities(ALICE), Encryption::Open),
    ] {
        let report = verify(&written.bytes, who);
        assert!(report.is_clean());
        assert_eq!(report.files[0].encryption, expected);
    }

    // Someone who knows the format makes all checksums fit: only the key shows it.
    let whole = open(&written.bytes, &ReadOptions::default());
    let at = whole.blocks_of(BlockType::PACKETS).nth(2).unwrap();
    let begin = at.offset as usize;
    let forged = {
        let mut bytes = written.bytes[..begin + 96 + at.stored_len as usize].to_vec();
        bytes[begin + 96 + 8] ^= 1;
        let payload_crc = crc32c::crc32c(&bytes[begin + 96..]);
        bytes[begin + 12..begin + 16].copy_from_slice(&payload_crc.to_le_bytes());
        let header_crc = crc32c::crc32c(&bytes[begin + 12..begin + 96]);
        bytes[begin + 8..begin + 12].copy_from_slice(&header_crc.to_le_bytes());
        bytes
    };
    let faults = |report: &kcap_format::Report| report.files[0].blocks.len();
    assert_eq!(faults(&verify(&forged, Identities::default())), 0);
    assert_eq!(faults(&verify(&forged, identities(ALICE))), 1);

    let plain = write(&[], Effort::default(), true);
    assert_eq!(verify(&plain.bytes, identities(ALICE)).files[0].encryption, Encryption::None);
}

#[test]
fn a_segment_is_verified_and_repaired_by_those_who_may_not_read_it() {
    let written = write(&[recipient(ALICE)], Effort::default(), true);
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (folder.path().join("source.kcap"), folder.path().join("out.kcap"));
    std::fs::write(&source, &written.bytes).unwrap();
    let verify = |path| kcap_format::verify(&[path], &kcap_format::VerifyOptions::default()).unwrap();
    assert!(verify(&source).is_clean());

    let whole = open(&written.bytes, &ReadOptions::default());
    let lost = whole.blocks_of(BlockType::PACKETS).nth(1).unwrap();
    let mut bytes = written.bytes.clone();
    bytes[lost.offset as usize + 100] ^= 1;
    std::fs::write(&source, &bytes).unwrap();
    assert!(!verify(&source).is_clean());
    kcap_format::repair(&source, &out, &|_| ()).unwrap();
    assert!(verify(&out).is_clean());
    let repaired = Segment::open_with(&out, &options(&identities(ALICE))).unwrap();
    let mut left = written.batches;
    left.remove(1);
    assert_eq!(read_packets(&repaired), left);
    assert_eq!(repaired.all_events().unwrap(), written.events);
}
