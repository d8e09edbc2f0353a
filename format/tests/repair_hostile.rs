//! What one file states stops no repair: neither of its own blocks that are whole, nor of the files beside it.

mod common;
#[path = "common/forged.rs"]
mod forged;

use common::file_info;
use forged::{Block, blocks, messages};
use kcap_format::{BlockType, Outcome, RepairReport, RepairedFile, VerifyOptions, proto, repair, verify};
use prost::Message;

/// Repairs a folder of these files, and checks that the result is whole.
fn repaired(files: &[(&str, Vec<u8>)]) -> (tempfile::TempDir, RepairReport) {
    let (source, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, bytes) in files {
        std::fs::write(source.path().join(name), bytes).unwrap();
    }
    let report = repair(source.path(), out.path(), &|_| {}).unwrap();
    assert!(verify(&[out.path()], &VerifyOptions::default()).unwrap().is_clean(), "{:?}", report.result);
    (out, report)
}

fn rewritten(file: &RepairedFile) -> &proto::Repair {
    match &file.outcome {
        Outcome::Rewritten(repair) => repair,
        outcome => panic!("{outcome:?}"),
    }
}

/// A CLOCK block with a sample of the time 0, which is what forged headers state.
fn clock_block() -> Block {
    messages(BlockType::CLOCK, 1, 1, 0, vec![0])
}

fn info(segment_sequence: u64) -> proto::FileInfo {
    proto::FileInfo { clock: None, segment_sequence, ..file_info() }
}

/// A block of entries as `spec/segment.md` has INDEX, with one entry.
fn index(offset: u64) -> Block {
    // The INDEX before, how many entries, and padding.
    let mut payload = [0u64.to_le_bytes(), 1u64.to_le_bytes()].concat();
    for time_or_offset in [offset, 0, 0] {
        payload.extend(u64::to_le_bytes(time_or_offset));
    }
    for value in [7u32, 1, 100, 100, 0] {
        payload.extend(value.to_le_bytes());
    }
    payload.extend(BlockType::CLOCK.0.to_le_bytes());
    payload.extend([0; 2]);
    messages(BlockType::INDEX, 1, payload.len() as u32, 0, payload)
}

fn with_file(info: &proto::FileInfo, more: &[Block]) -> Vec<u8> {
    let raw = info.encode_length_delimited_to_vec();
    let file = messages(BlockType::FILE, 1, raw.len() as u32, 0, raw);
    blocks(&[&[file], more].concat())
}

#[test]
fn sums_of_losses_stop_at_the_largest_number() {
    let lost = |payloads_only| proto::repair::Lost {
        end: u64::MAX,
        block_count: u64::MAX,
        record_count: u64::MAX,
        payloads_only,
        ..Default::default()
    };
    let ranges = proto::repair::Lost { end: u64::MAX, ..Default::default() };
    let all = vec![lost(false), lost(false), lost(true), lost(true), ranges.clone(), ranges];
    let told = proto::Repair { lost: all, more_lost: u64::MAX, ..Default::default() };
    let text = told.lost_text().unwrap();
    assert_eq!(text.matches(&u64::MAX.to_string()).count(), 5, "{text}");
}

#[test]
fn a_lost_block_at_the_end_of_all_numbers_ends_there() {
    let (_out, report) = repaired(&[("a.kcap", with_file(&info(1), &[clock_block(), index(u64::MAX - 8)]))]);
    let lost = &rewritten(&report.files[0]).lost;
    // The INDEX itself is the first.
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert_eq!((lost[1].begin, lost[1].end), (u64::MAX - 8, u64::MAX));
}
