//! What one file states stops no repair: neither of its own blocks that are whole, nor of the files beside it.

mod common;
#[path = "common/forged.rs"]
mod forged;

use std::path::Path;

use common::{exit_event, file_info};
use forged::{Block, blocks, messages};
use kcap_format::limits::{FILE_MESSAGE_LEN_MAX, MESSAGES_RAW_LEN_MAX, REPAIR_LOST_COUNT_MAX};
use kcap_format::{
    BlockType, FileState, Outcome, RepairReport, RepairedFile, Segment, VerifyOptions, proto, repair, verify,
};
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

fn of_type(path: &Path, block_type: BlockType) -> usize {
    Segment::open(path).unwrap().blocks_of(block_type).count()
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

/// A segment without a SEAL, that was made by an earlier repair.
fn repaired_before(earlier: proto::Repair) -> Vec<u8> {
    let info = proto::FileInfo { repair: Some(earlier), ..info(1) };
    with_file(&info, &[clock_block()])
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

#[test]
fn losses_that_an_earlier_repair_counted_stay_counted() {
    let lost = vec![proto::repair::Lost::default(); REPAIR_LOST_COUNT_MAX + 1];
    let earlier = proto::Repair { lost, more_lost: u64::MAX, ..Default::default() };
    let (_out, report) = repaired(&[("a.kcap", repaired_before(earlier))]);
    let told = rewritten(&report.files[0]);
    assert_eq!((told.lost.len(), told.more_lost), (REPAIR_LOST_COUNT_MAX, u64::MAX));
}

/// Verifying looks at none of them: their type is not known, or they are encrypted.
#[test]
fn blocks_that_no_writer_takes_are_lost_and_the_others_are_kept() {
    const UNKNOWN: BlockType = BlockType(99);
    let unknown = |record_count, raw_len, codec| Block {
        flags: 0,
        ..messages(UNKNOWN, record_count, raw_len, codec, vec![1; 8])
    };
    let encrypted = |record_count, raw_len| Block {
        is_encrypted: true,
        ..messages(BlockType::EVENTS, record_count, raw_len, 0, vec![1; 8])
    };
    let key = messages(BlockType::KEY, 1, 8, 77, vec![1; 8]);
    let strange = [
        ("an unknown codec", unknown(1, 8, 77)),
        ("an unknown codec", key),
        ("too long", unknown(1, MESSAGES_RAW_LEN_MAX + 1, 0)),
        ("too many", unknown(70_000, 8, 0)),
        ("too long", encrypted(1, MESSAGES_RAW_LEN_MAX + 1)),
        ("too many", encrypted(70_000, 8)),
    ];
    for (what, block) in strange {
        let files = [
            ("a.kcap", with_file(&info(1), &[clock_block()])),
            ("b.kcap", with_file(&info(2), &[clock_block(), block.clone(), clock_block(), unknown(1, 8, 0)])),
        ];
        let (out, report) = repaired(&files);
        assert_eq!(report.files[1].source.state, FileState::Unsealed, "{what}");
        assert_eq!(report.files[1].source.blocks, [], "verifying finds nothing");
        let lost = &rewritten(&report.files[1]).lost;
        assert_eq!(lost.len(), 1, "{what}: {lost:?}");
        assert_eq!(lost[0].block_type, u32::from(block.block_type.0));
        assert!(!lost[0].what.is_empty());
        println!("{what}: {}", lost[0].what);
        let path = out.path().join("b.kcap");
        assert_eq!((of_type(&path, BlockType::CLOCK), of_type(&path, UNKNOWN)), (2, 1), "{what}");
    }
}

/// The FILE of the greatest length that there may be; `make` takes the length of a text in it.
fn filled(make: impl Fn(usize) -> proto::FileInfo) -> proto::FileInfo {
    let beside = make(FILE_MESSAGE_LEN_MAX).encoded_len() - FILE_MESSAGE_LEN_MAX;
    let info = make(FILE_MESSAGE_LEN_MAX - beside);
    assert!(info.encoded_len() > FILE_MESSAGE_LEN_MAX - 10);
    info
}

/// A FILE block has no room for what a repair says when it is as long as one can be.
#[test]
fn a_long_file_block_gives_way_to_what_the_repair_says() {
    let text = |len: usize| "x".repeat(len);
    let recorder = |recorder| proto::FileInfo { recorder: Some(recorder), ..info(1) };
    let task = |filter| proto::PayloadTask { filter, ..Default::default() };
    let earlier = |repair| proto::FileInfo { repair: Some(repair), ..info(1) };
    let lost = |what| proto::repair::Lost { what, ..Default::default() };
    let infos = [
        filled(|len| recorder(proto::Recorder { command_line: vec![text(len)], ..Default::default() })),
        filled(|len| {
            recorder(proto::Recorder { payload_tasks: vec![task(text(len))], ..Default::default() })
        }),
        filled(|len| proto::FileInfo {
            host: Some(proto::Host { hostname: text(len), ..Default::default() }),
            ..info(1)
        }),
        filled(|len| proto::FileInfo {
            predecessor: Some(proto::Predecessor { name: text(len).into(), ..Default::default() }),
            ..info(1)
        }),
        filled(|len| earlier(proto::Repair { lost: vec![lost(text(len))], ..Default::default() })),
        filled(|len| earlier(proto::Repair { notes: vec!["short".into(), text(len)], ..Default::default() })),
        filled(|len| earlier(proto::Repair { source_segment_id: text(len).into(), ..Default::default() })),
        filled(|len| proto::FileInfo { capture_id: text(len).into(), ..info(1) }),
    ];
    for (at, long_info) in infos.iter().enumerate() {
        let older = proto::FileInfo { capture_id: vec![3; 16], ..info(1) };
        let files = [("a.kcap", with_file(&older, &[])), ("b.kcap", with_file(long_info, &[clock_block()]))];
        let (out, report) = repaired(&files);
        let told = rewritten(&report.files[1]);
        let path = out.path().join("b.kcap");
        let kept = Segment::open(&path).unwrap();
        assert_eq!(of_type(&path, BlockType::CLOCK), 1, "{at}");
        let is_named = at + 1 < infos.len();
        assert_eq!(kept.file_info().capture_id.is_empty(), !is_named, "{at}");
        assert_eq!(told.file_lost, !is_named, "{at}");
        let says_so = told.file_lost || told.more_lost > 0 || !told.notes.is_empty();
        assert!(says_so || at == 6, "{at}: {told:?}");
        println!("{at}: {} {:?}", told.more_lost, told.notes);
    }
}

/// What a writer adds for itself may not fit beside as many blocks as a segment can have.
#[test]
fn blocks_beyond_a_full_segment_are_lost_and_told() {
    let many = vec![Block { flags: 0, ..messages(BlockType(99), 0, 0, 0, Vec::new()) }; 65_535];
    let event = exit_event(0, b"name").encode_length_delimited_to_vec();
    let event = messages(BlockType::EVENTS, 1, event.len() as u32, 0, event);
    let files =
        [("a.kcap", with_file(&info(1), &many)), ("b.kcap", with_file(&info(2), &[clock_block(), event]))];
    let (out, report) = repaired(&files);
    let told = rewritten(&report.files[0]);
    let lost = told.lost.len() as u64 + told.more_lost;
    let kept = of_type(&out.path().join("a.kcap"), BlockType(99));
    assert_eq!((kept as u64 + lost, lost > 0), (65_535, true));
    assert!(kept > 60_000, "{kept}");
}
