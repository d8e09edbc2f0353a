//! What `repair` makes of damage: everything that is whole comes through byte for byte, the result verifies, and what is
//! lost is listed in it.

mod common;
#[path = "common/recording.rs"]
mod recording;

use std::path::{Path, PathBuf};

use common::{Random, small_segment};
use kcap_format::{
    BlockType, Capture, Error, FileState, FileStorage, Outcome, PacketColumns, ReadMode, ReadOptions,
    RepairReport, Segment, SegmentState, VerifyOptions, proto, repair, verify,
};
use recording::{change, cut_at_block, predecessor, write, write_behind};

const HEADER_LEN: usize = 96;

/// Repairs a folder, and checks what is true of every repair.
fn repaired(source: &Path) -> (tempfile::TempDir, RepairReport) {
    let before = contents(source);
    let out = tempfile::tempdir().unwrap();
    let report = repair(source, out.path(), &|_| {}).unwrap();
    assert_eq!(contents(source), before, "the source is only read");
    assert!(report.result.is_clean(), "{:?}", report.result);
    assert!(verify(&[out.path()], &VerifyOptions::default()).unwrap().is_clean());
    (out, report)
}

fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

fn rewritten(report: &RepairReport, at: usize) -> &proto::Repair {
    match &report.files[at].outcome {
        Outcome::Rewritten(repair) => repair,
        outcome => panic!("{outcome:?}"),
    }
}

fn is_copied(report: &RepairReport, at: usize) -> bool {
    matches!(report.files[at].outcome, Outcome::Copied)
}

/// All records of a segment, block by block, in their order; blocks that the writer makes by itself left out.
fn records(path: &Path, mode: ReadMode) -> Vec<String> {
    records_of(&Segment::open_with(path, &ReadOptions::with_mode(mode)).unwrap())
}

fn records_of(segment: &Segment) -> Vec<String> {
    let blocks = segment.blocks().iter().filter(|block| !OF_THE_WRITER.contains(&block.block_type));
    let records = blocks.filter_map(|block| match block.block_type {
        BlockType::PACKETS => Some(format!("{:?}", segment.packets(block, PacketColumns::ALL).ok()?)),
        _ => Some(format!("{:?}", segment.message_bytes(block).ok()?)),
    });
    records.collect()
}

/// Blocks that a writer makes by itself.
const OF_THE_WRITER: [BlockType; 3] = [BlockType::FILE, BlockType::INDEX, BlockType::SEAL];

#[test]
fn a_whole_recording_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), 1, 1, 3);
    let (out, report) = repaired(folder.path());
    for (at, path) in paths.iter().enumerate() {
        assert!(is_copied(&report, at));
        let copy = out.path().join(path.file_name().unwrap());
        assert_eq!(report.files[at].path.as_deref(), Some(&*copy));
        assert_eq!(std::fs::read(copy).unwrap(), std::fs::read(path).unwrap());
    }
}

#[test]
fn damaged_blocks_are_left_out_and_listed_and_the_neighbours_still_fit() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), 1, 1, 3);
    let segment = Segment::open(&paths[1]).unwrap();
    let events = *segment.blocks_of(BlockType::EVENTS).nth(2).unwrap();
    let clock = *segment.blocks_of(BlockType::CLOCK).nth(4).unwrap();
    let whole = records(&paths[1], ReadMode::Strict);
    change(&paths[1], |bytes| {
        bytes[events.offset as usize + HEADER_LEN + 1] ^= 1;
        bytes[clock.offset as usize + 33] ^= 1;
    });
    let (out, report) = repaired(folder.path());
    assert!(is_copied(&report, 0) && is_copied(&report, 2), "{report:?}");
    let lost = &rewritten(&report, 1).lost;
    let told = |at: usize| (lost[at].begin, lost[at].block_type, lost[at].block_count, lost[at].record_count);
    assert_eq!(lost.len(), 2);
    assert_eq!(told(0), (events.offset, 5, 1, 5));
    assert_eq!(told(1), (clock.offset, 2, 1, 1));
    assert_eq!(lost[0].what, "the payload's checksum is wrong");
    assert_eq!(lost[0].first_time_ns, events.first_time_ns);

    let result = out.path().join("000002.kcap");
    let kept = records(&result, ReadMode::Strict);
    assert_eq!(kept, records(&paths[1], ReadMode::Salvage));
    assert_eq!(kept.len(), whole.len() - 2);
    let segment_after = Segment::open(&result).unwrap();
    let info = segment_after.file_info();
    assert_eq!(info.repair.as_ref(), Some(rewritten(&report, 1)), "the result says what is lost");
    let repair = rewritten(&report, 1);
    assert_eq!(repair.source_segment_id, segment.id());
    assert_eq!(repair.source_digest, segment.seal().unwrap().digest);
    assert_eq!((&*repair.source_state, repair.source_len), ("corrupt", segment.len()));
    assert_ne!(segment_after.id(), segment.id());
    assert_eq!(info.segment_sequence, 2);
    assert_eq!(repair.lost_text().unwrap(), "2 blocks with 6 or more records");

    // What was repaired can be damaged again, and goes on to stand for what was recorded.
    change(&result, |bytes| {
        let last = bytes.len() - 200;
        bytes[last] ^= 1;
    });
    let (_, again) = repaired(out.path());
    assert!(is_copied(&again, 0) && is_copied(&again, 2));
    assert_eq!(rewritten(&again, 1).source_segment_id, segment.id());
    assert_eq!(rewritten(&again, 1).lost[..2], lost[..]);
}

#[test]
fn packets_whose_payloads_are_damaged_keep_their_headers() {
    let folder = tempfile::tempdir().unwrap();
    let path = &write(folder.path(), 1, 1, 1)[0];
    let segment = Segment::open(path).unwrap();
    let block = *segment.blocks_of(BlockType::PACKETS).nth(1).unwrap();
    let whole = segment.packets(&block, PacketColumns::ALL).unwrap();
    // Payloads lie last.
    change(path, |bytes| bytes[block.offset as usize + HEADER_LEN + block.stored_len as usize - 1] ^= 1);
    let (out, report) = repaired(folder.path());
    let lost = &rewritten(&report, 0).lost;
    assert_eq!(lost.len(), 1);
    assert!(lost[0].payloads_only);
    assert_eq!((lost[0].block_type, lost[0].record_count), (4, u64::from(block.record_count)));

    let result = Segment::open(out.path().join("000001.kcap")).unwrap();
    let block = result.blocks_of(BlockType::PACKETS).nth(1).unwrap();
    let kept = result.packets(block, PacketColumns::ALL).unwrap();
    assert_eq!(
        (&kept.time_ns, &kept.wire_len, &kept.header),
        (&whole.time_ns, &whole.wire_len, &whole.header)
    );
    assert_eq!(kept.payload.data_len(), 0);
    assert!(kept.payload_len.iter().all(|len| *len == 0), "as if only headers had been recorded");
}

#[test]
fn what_a_crash_left_is_sealed_without_a_loss() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), 1, 1, 2);
    let blocks = Segment::open(&paths[1]).unwrap().blocks().len();
    cut_at_block(&paths[1], blocks - 4);
    let (out, report) = repaired(folder.path());
    let repair = rewritten(&report, 1);
    assert_eq!((&*repair.source_state, repair.lost.len(), repair.lost_text()), ("unsealed", 0, None));
    assert_eq!(
        records(&out.path().join("000002.kcap"), ReadMode::Strict),
        records(&paths[1], ReadMode::Strict)
    );

    // Torn: the last block is not whole, and nothing tells what was in it.
    change(&paths[1], |bytes| bytes.truncate(bytes.len() - 9));
    let (_, report) = repaired(folder.path());
    let repair = rewritten(&report, 1);
    assert_eq!((&*repair.source_state, repair.lost.len()), ("torn", 1));
    assert_eq!((repair.lost[0].block_type, repair.lost[0].block_count), (0, 0));
    assert_eq!(repair.lost[0].end, paths[1].metadata().unwrap().len());
}

#[test]
fn what_is_missing_between_segments_is_noted_in_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), 1, 1, 6);
    std::fs::remove_file(&paths[1]).unwrap();
    std::fs::remove_file(&paths[2]).unwrap();
    let blocks = Segment::open(&paths[4]).unwrap().blocks().len();
    cut_at_block(&paths[4], blocks - 2);
    let (out, report) = repaired(folder.path());
    assert_eq!(report.files.len(), 4);
    assert!(is_copied(&report, 0) && is_copied(&report, 3));
    let behind_gap = rewritten(&report, 1);
    assert_eq!((behind_gap.segments_lost_before, &*behind_gap.source_state), (2, "clean"));
    assert!(behind_gap.lost.is_empty());
    assert_eq!(rewritten(&report, 2).notes, ["blocks behind the last one are gone"]);
    let capture = Capture::open(out.path()).unwrap();
    let sequences: Vec<_> =
        capture.segments.iter().map(|segment| segment.file_info().segment_sequence).collect();
    assert_eq!(sequences, [1, 4, 5, 6]);
}

#[test]
fn a_lost_file_block_is_taken_from_the_segments_around() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), 1, 1, 4);
    for path in [&paths[1], &paths[3]] {
        change(path, |bytes| bytes[..200].fill(0));
    }
    let (out, report) = repaired(folder.path());
    let segment = Segment::open(out.path().join("000002.kcap")).unwrap();
    let info = segment.file_info();
    assert_eq!((&info.capture_id[..], info.segment_sequence), (&[1; 16][..], 2));
    assert!(info.repair.as_ref().unwrap().file_lost);
    assert_eq!(info.host, Segment::open(&paths[0]).unwrap().file_info().host);
    // Nothing follows the last one that would tell whose it was.
    let last = rewritten(&report, 3);
    assert!(last.file_lost);
    let segment = Segment::open(out.path().join("000004.kcap")).unwrap();
    assert!(segment.file_info().capture_id.is_empty());
    assert_eq!(
        records(&out.path().join("000004.kcap"), ReadMode::Strict),
        records(&paths[3], ReadMode::Salvage)
    );
}

#[test]
fn what_is_no_segment_any_more_is_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), 1, 1, 3);
    std::fs::write(&paths[1], [0; 5_000]).unwrap();
    let (_, report) = repaired(folder.path());
    let Outcome::LeftOut { reason } = &report.files[1].outcome else { panic!("{report:?}") };
    assert_eq!(reason, "there is no whole block in it");
    assert_eq!(report.files[1].source.state, FileState::NotASegment);
    assert_eq!(rewritten(&report, 2).segments_lost_before, 1);
}

#[test]
fn the_same_segment_twice_is_kept_once_and_a_stranger_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), 1, 1, 3);
    std::fs::copy(&paths[0], folder.path().join("000001-copy.kcap")).unwrap();
    let others = tempfile::tempdir().unwrap();
    std::fs::copy(&write(others.path(), 1, 1, 3)[1], &paths[1]).unwrap();
    let (_, report) = repaired(folder.path());
    let left_out = report.files.iter().filter(|file| matches!(file.outcome, Outcome::LeftOut { .. }));
    assert_eq!(left_out.count(), 1);
    assert!(rewritten(&report, 2).notes[0].contains("is not the one that was recorded"));
}

#[test]
fn recordings_one_after_the_other_still_fit() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), 1, 1, 2);
    let blocks = Segment::open(&first[1]).unwrap().blocks().len();
    cut_at_block(&first[1], blocks - 2);
    let told = predecessor(&first[1]);
    write_behind(folder.path(), 2, 3, 2, Some(&told));
    let (_, report) = repaired(folder.path());
    assert!(is_copied(&report, 0) && is_copied(&report, 2) && is_copied(&report, 3), "{report:?}");
    assert_eq!(rewritten(&report, 1).source_state, "unsealed");

    cut_at_block(&first[1], blocks - 5);
    let (_, report) = repaired(folder.path());
    assert!(is_copied(&report, 2), "the repaired segment stands for the one that was found");

    std::fs::remove_file(&first[1]).unwrap();
    let (_, report) = repaired(folder.path());
    assert!(rewritten(&report, 1).notes[0].contains("000002.kcap"));
}

/// Numbers that no recorder writes once made the plan overflow.
#[test]
fn sequences_at_the_end_of_their_range_are_repaired() {
    let folder = tempfile::tempdir().unwrap();
    for (name, segment_sequence) in [("a", u64::MAX), ("b", u64::MAX - 1), ("c", 0)] {
        let path = folder.path().join(name).with_extension("kcap");
        let info = proto::FileInfo { segment_sequence, ..common::file_info() };
        let storage = FileStorage::create(path).unwrap();
        drop(kcap_format::SegmentWriter::create(storage, &info).unwrap());
    }
    let (_, report) = repaired(folder.path());
    assert_eq!(rewritten(&report, 1).segments_lost_before, u64::MAX - 2);
}

#[test]
fn a_single_segment_is_repaired_into_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let [source, out] = ["a.kcap", "b.kcap"].map(|name| folder.path().join(name));
    let bytes = small_segment(true);
    std::fs::write(&source, &bytes[..bytes.len() - 1]).unwrap();
    let report = repair(&source, &out, &|_| {}).unwrap();
    assert!(report.result.is_clean());
    assert_eq!(Segment::open(&out).unwrap().state(), SegmentState::Sealed);
    // Nothing is ever written over.
    let error = repair(&source, &out, &|_| {}).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let error = repair(folder.path(), folder.path(), &|_| {}).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    std::fs::write(&source, b"nothing").unwrap();
    assert!(matches!(repair(&source, &out, &|_| {}), Err(Error::NotASegment { .. })));
}

/// Whatever happened to a recording, its repair verifies, and holds the records of all whole blocks and no others.
#[test]
fn every_damage_can_be_repaired() {
    let original = tempfile::tempdir().unwrap();
    write(original.path(), 1, 1, 4);
    let original = contents(original.path());
    let mut outcomes = [0; 3];
    for seed in 0..60 {
        let mut random = Random(seed);
        let folder = tempfile::tempdir().unwrap();
        for (path, bytes) in &original {
            let mut bytes = bytes.clone();
            for _ in 0..random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                let len = (random.below(600) as usize).min(bytes.len() - at);
                match random.below(4) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes[at..at + len].fill(0),
                    2 => bytes.truncate(at.max(1)),
                    _ => bytes.extend_from_within(at..at + len),
                }
            }
            if random.below(12) > 0 {
                std::fs::write(folder.path().join(path.file_name().unwrap()), bytes).unwrap();
            }
        }
        if contents(folder.path()).is_empty() {
            continue;
        }
        let (_out, report) = repaired(folder.path());
        for file in &report.files {
            outcomes[match &file.outcome {
                Outcome::Copied => 0,
                Outcome::Rewritten(_) => 1,
                _ => 2,
            }] += 1;
            let Some(path) = &file.path else { continue };
            assert_eq!(
                records(path, ReadMode::Strict).len(),
                result_len(&file.source.path),
                "seed {seed}: {file:?}"
            );
            let name = file.source.path.file_name();
            let (_, known) = original.iter().find(|(known, _)| known.file_name() == name).unwrap();
            let known = Segment::from_bytes("known", known.clone(), &ReadOptions::default()).unwrap();
            let known = records_of(&known);
            let headers_only = matches!(&file.outcome, Outcome::Rewritten(repair) if repair.lost.iter().any(|lost| lost.payloads_only));
            let mut rest = known.iter();
            for record in records(path, ReadMode::Strict) {
                assert!(headers_only || rest.any(|known| *known == record), "seed {seed}: wrong records");
            }
        }
    }
    println!(
        "copied {}, rewritten {}, left out {} damaged or whole segments",
        outcomes[0], outcomes[1], outcomes[2]
    );
}

/// Blocks of which something can be read.
fn result_len(path: &Path) -> usize {
    let segment = Segment::open_with(path, &ReadOptions::with_mode(ReadMode::Salvage)).unwrap();
    let blocks = segment.blocks().iter().filter(|block| !OF_THE_WRITER.contains(&block.block_type));
    blocks
        .filter(|block| match block.block_type {
            BlockType::PACKETS => segment.packets(block, PacketColumns::META | PacketColumns::HEADER).is_ok(),
            _ => segment.message_bytes(block).is_ok(),
        })
        .count()
}
