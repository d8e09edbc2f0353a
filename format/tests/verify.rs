//! What `verify` says of files and folders: the right state, and everything that is missing between them.

mod common;
#[path = "common/recording.rs"]
mod recording;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{MemoryStorage, small_segment};
use kcap_format::{
    BlockEncoder, BlockType, ChainFaultKind, Effort, FileState, PacketBatch, PacketRow, Report, Segment,
    SegmentWriter, VerifyOptions, verify,
};
use recording::{change, cut_at_block, predecessor, write, write_behind};

const HEADER_LEN: u64 = 96;

fn check(source: &Path) -> Report {
    verify(&[source], &VerifyOptions::default()).unwrap()
}

fn states(report: &Report) -> Vec<&'static str> {
    report.files.iter().map(|file| file.state.name()).collect()
}

fn faults(report: &Report) -> Vec<(usize, &'static str)> {
    report.faults.iter().map(|fault| (fault.file, fault.kind.name())).collect()
}

#[test]
fn a_recording_that_ended_in_order_is_clean() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), 1, 1, 3);
    let read = AtomicU64::new(0);
    let mut options = VerifyOptions::default();
    let on_read = |len| {
        read.fetch_add(len, Ordering::Relaxed);
    };
    options.on_read = &on_read;
    let report = verify(&[folder.path()], &options).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(states(&report), ["clean"; 3]);
    assert_eq!(
        read.load(Ordering::Relaxed),
        paths.iter().map(|path| path.metadata().unwrap().len()).sum::<u64>()
    );
    let file = &report.files[1];
    assert_eq!((file.lost_block_count, file.lost_record_count), (Some(0), 0));
    assert_eq!(file.block_count, 21);
    assert!(file.record_count > 6 * 25);
    assert_eq!(file.sealed_digest, Some(file.digest));
    assert!(file.blocks.is_empty(), "whole blocks are only told when asked for");
    options.every_block = true;
    let blocks = &verify(&[&paths[1]], &options).unwrap().files[0].blocks;
    assert_eq!(blocks.len(), 21);
    assert!(blocks.iter().all(|block| block.fault.is_none()));
}

/// Every bit of a sealed segment counts: padding and reserved bytes, too.
#[test]
fn every_flipped_bit_of_a_sealed_segment_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kcap");
    let mut bytes = small_segment(true);
    let mut found = std::collections::BTreeMap::new();
    for at in 0..bytes.len() {
        let bit = 1 << (at % 8);
        bytes[at] ^= bit;
        std::fs::write(&path, &bytes).unwrap();
        let report = check(&path);
        *found.entry(states(&report)[0]).or_insert(0) += 1;
        assert!(!report.is_clean(), "a flipped bit of byte {at} was not found");
        bytes[at] ^= bit;
    }
    println!("a flipped bit in each of {} bytes: {found:?}", bytes.len());
    assert_eq!(found.keys().collect::<Vec<_>>(), [&"corrupt", &"torn"], "torn: in the SEAL alone");
}

#[test]
fn each_state_has_its_name_and_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = &write(folder.path(), 1, 1, 1)[0];
    let bytes = std::fs::read(path).unwrap();
    let blocks = Segment::open(path).unwrap().blocks().to_vec();
    let state = |bytes: &[u8]| {
        std::fs::write(path, bytes).unwrap();
        let report = check(folder.path());
        let file = &report.files[0];
        (file.state, file.reason.clone().unwrap_or_default(), file.lost_block_count)
    };
    assert_eq!(state(&bytes), (FileState::Clean, String::new(), Some(0)));

    let seal = blocks.last().unwrap().offset as usize + 96 + blocks.last().unwrap().stored_len as usize;
    let (unsealed, reason, lost) = state(&bytes[..seal]);
    assert_eq!((unsealed, lost), (FileState::Unsealed, Some(0)));
    assert_eq!(reason, "it has no SEAL");

    let (torn, reason, lost) = state(&bytes[..seal - 1]);
    assert_eq!((torn, lost), (FileState::Torn, None), "nothing tells how many followed");
    assert!(reason.starts_with("at offset ") && reason.contains("the file ends"), "{reason}");

    let events = blocks.iter().find(|block| block.block_type == BlockType::EVENTS).unwrap();
    let mut damaged = bytes.clone();
    damaged[(events.offset + HEADER_LEN) as usize] ^= 1;
    let (corrupt, reason, lost) = state(&damaged);
    assert_eq!((corrupt, lost), (FileState::Corrupt, Some(1)));
    assert_eq!(reason, format!("at offset {}: the payload's checksum is wrong", events.offset));
    assert_eq!(check(path).files[0].lost_record_count, 5);

    // Without its SEAL, too: the damage was synced.
    let (corrupt, _, lost) = state(&damaged[..seal]);
    assert_eq!((corrupt, lost), (FileState::Corrupt, Some(1)));

    // A header that is gone is known by the SEAL; without it by the sequences around.
    let mut headless = bytes.clone();
    headless[events.offset as usize..][..96].fill(0);
    assert_eq!(state(&headless).2, Some(1));
    assert_eq!(check(path).files[0].lost_record_count, 5);
    assert_eq!(state(&headless[..seal]).2, Some(1));
    assert_eq!(check(path).files[0].lost_record_count, 0, "nothing tells what was in it");

    assert_eq!(state(b"").0, FileState::NotASegment);
    assert_eq!(state(&[0; 4_096]).0, FileState::NotASegment);
    assert_eq!(state(&bytes[..50]).0, FileState::Torn);
    let mut later = bytes.clone();
    later[86] = 2;
    let crc = crc32c::crc32c(&later[12..96]);
    later[8..12].copy_from_slice(&crc.to_le_bytes());
    let (unsupported, reason, _) = state(&later[..blocks[1].offset as usize]);
    assert_eq!(unsupported, FileState::Unsupported);
    assert!(reason.contains("use a newer kcap"), "{reason}");
}

/// Queries pass blocks over by the times in their headers.
#[test]
fn times_that_are_not_those_of_the_records_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kcap");
    let storage = MemoryStorage::default();
    let mut writer = SegmentWriter::create(storage.clone(), &common::file_info()).unwrap();
    let mut batch = PacketBatch::default();
    batch.push(&PacketRow { time_ns: 500, ..PacketRow::default() }, b"header", b"payload");
    let mut block = BlockEncoder::new().packets(&batch, Effort::default());
    block.first_time_ns = 501;
    block.last_time_ns = 501;
    writer.append(&block).unwrap();
    writer.seal().unwrap();
    std::fs::write(&path, storage.bytes()).unwrap();
    let report = check(&path);
    assert_eq!(report.files[0].state, FileState::Corrupt);
    let fault = report.files[0].blocks[0].fault.unwrap();
    assert_eq!(fault, "the records have other times than the header says");
}

#[test]
fn a_whole_segment_that_is_missing_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), 1, 1, 5);
    std::fs::remove_file(&paths[2]).unwrap();
    std::fs::remove_file(&paths[3]).unwrap();
    let report = check(folder.path());
    assert_eq!(faults(&report), [(2, "missing")]);
    assert_eq!(report.faults[0].kind, ChainFaultKind::Missing { first: 3, last: 4 });
    assert_eq!(report.faults[0].kind.to_string(), "segments 3 to 4 of this recording are missing");
    assert!(
        verify(&paths[..2], &VerifyOptions::default()).unwrap().is_clean(),
        "files don't claim to be all"
    );
    assert!(!report.is_clean());

    // Retention removes the oldest.
    std::fs::remove_file(&paths[0]).unwrap();
    std::fs::remove_file(&paths[1]).unwrap();
    assert!(check(folder.path()).is_clean());
    // But not those behind an older recording.
    write(folder.path(), 0, 0, 1);
    assert_eq!(faults(&check(folder.path())), [(1, "missing")]);
}

#[test]
fn an_end_that_was_sealed_and_is_gone_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), 1, 1, 3);
    let whole = Segment::open(&paths[1]).unwrap().blocks().len();
    // Only the SEAL: nothing that was recorded is missing.
    cut_at_block(&paths[1], whole);
    let report = check(folder.path());
    assert_eq!((states(&report)[1], faults(&report)), ("unsealed", vec![]));
    // The file by itself looks as a crash would leave it.
    cut_at_block(&paths[1], whole - 3);
    let report = check(folder.path());
    assert_eq!((states(&report)[1], faults(&report)), ("unsealed", vec![(2, "end_gone")]));
    assert_eq!(report.faults[0].kind, ChainFaultKind::EndGone { path: paths[1].clone() });
}

#[test]
fn another_segment_in_its_place_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), 1, 1, 3);
    let others = tempfile::tempdir().unwrap();
    let others = write(others.path(), 1, 1, 3);
    std::fs::copy(&others[1], &paths[1]).unwrap();
    let report = check(folder.path());
    assert_eq!(states(&report), ["clean"; 3]);
    assert_eq!(faults(&report), [(1, "replaced"), (2, "replaced")]);

    std::fs::copy(&paths[0], folder.path().join("000001-copy.kcap")).unwrap();
    assert!(faults(&check(folder.path())).contains(&(1, "duplicate")));
}

#[test]
fn what_a_recorder_found_must_still_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), 1, 1, 2);
    let blocks = Segment::open(&first[1]).unwrap().blocks().len();
    cut_at_block(&first[1], blocks - 2);
    let told = predecessor(&first[1]);
    write_behind(folder.path(), 2, 3, 1, Some(&told));
    let report = check(folder.path());
    assert_eq!((states(&report)[1], faults(&report)), ("unsealed", vec![]));

    let kept = std::fs::read(&first[1]).unwrap();
    cut_at_block(&first[1], blocks - 3);
    assert_eq!(faults(&check(folder.path())), [(2, "predecessor_changed")]);
    std::fs::write(&first[1], kept).unwrap();
    change(&first[1], |bytes| bytes[120] ^= 1);
    assert_eq!(faults(&check(folder.path())), [(2, "predecessor_changed")]);
    std::fs::remove_file(&first[1]).unwrap();
    assert_eq!(faults(&check(folder.path())), [(1, "predecessor_gone")]);
    std::fs::remove_file(&first[0]).unwrap();
    assert!(check(folder.path()).is_clean(), "retention may have removed it");
}

#[test]
fn a_segment_that_lost_its_name_is_not_missing_too() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), 1, 1, 3);
    change(&paths[1], |bytes| bytes[120] ^= 1);
    let report = check(folder.path());
    assert_eq!((states(&report), faults(&report)), (vec!["clean", "corrupt", "clean"], vec![]));
}

#[test]
fn what_cannot_be_verified_is_an_error_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("none")] {
        let error = verify(&[path], &VerifyOptions::default()).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
