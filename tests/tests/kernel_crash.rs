//! Recorders that are killed: what was written stays, what is missing shows, and the next recorder goes on.
//!
//! A sender keeps a ledger of what it sent when, and runs through all kills. Each datagram bears its number, so that a
//! hole shows, wherever it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use kcap_format::proto::{FileInfo, LossProgram, predecessor::State};
use kcap_format::{
    BlockEncoder, Capture, Effort, FileState, FileStorage, PacketBatch, PacketRow, Segment, SegmentState,
    SegmentWriter, VerifyOptions, verify,
};
use kcap_tests::binary;
use kcap_tests::books::{Books, ledger_numbers};
use kcap_tests::command::run;
use kcap_tests::kernel;
use kcap_tests::ledger::{Ledger, LedgerSender, boot_ns};
use kcap_tests::recorder::{Recorder, segments};
use nix::sys::signal::Signal;

/// How often the recorder is killed unless this variable says otherwise.
const KILLS_VARIABLE: &str = "KCAP_TEST_KILLS";
const KILLS: usize = 50;
/// What a kill may cost: packets are written at least so often.
const LAST_SECOND_NS: u64 = 1_000_000_000;
/// Datagrams a second, and bytes of each: some segments of the smallest size between two kills.
const RATE: u64 = 5_000;
const DATAGRAM_LEN: usize = 700;

/// Small segments, and no step down: each datagram is to be compared byte for byte.
const OPTIONS: [&str; 6] = ["--segment-size", "1MiB", "--degrade-to", "full", "--sync-interval", "100ms"];

/// A recording that was cut off.
struct Killed {
    at_ns: u64,
    /// Oldest first.
    files: Vec<PathBuf>,
}

#[test]
fn a_kill_costs_the_last_second_at_most_and_shows() {
    if !kernel::available() {
        return;
    }
    let kills =
        std::env::var(KILLS_VARIABLE).map_or(KILLS, |kills| kills.parse().expect("a number of kills"));
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let folder = scratch.path().join("capture");
    let sender = LedgerSender::start(scratch.path(), RATE, DATAGRAM_LEN);
    let port = sender.port;
    let mut recordings = Vec::new();
    for round in 0..kills as u64 {
        let before = segments(&folder);
        let recorder = Recorder::start(&folder, &OPTIONS);
        // At any moment: while a batch is being filled, compressed, written, synced, or a segment sealed.
        // Most of them soon, since a recording's begin is where most is happening; each fifth so late that more than the last
        // second can be missing.
        let life_ms = 200 + round * 379 % 800 + if round % 5 == 4 { 1_500 } else { 0 };
        thread::sleep(Duration::from_millis(life_ms));
        let at_ns = boot_ns();
        recorder.end(Signal::SIGKILL);
        let files = segments(&folder).into_iter().filter(|file| !before.contains(file)).collect();
        recordings.push(Killed { at_ns, files });
    }
    // Whoever records next finds the last one.
    Recorder::start(&folder, &OPTIONS).stop();
    let ledger = sender.stop();

    let mut costs_ms = Vec::new();
    let mut recorded = 0;
    for (round, killed) in recordings.iter().enumerate() {
        let (cost_ns, count) = check(killed, port, &ledger, round);
        costs_ms.push(cost_ns as f64 / 1e6);
        recorded += count;
    }
    costs_ms.sort_by(f64::total_cmp);
    println!(
        "{kills} kills under {RATE} datagrams/s: {recorded} of {} datagrams recorded, {} segments; a kill cost \
         {:.0} ms (median), {:.0} ms (most)",
        ledger.count(),
        recordings.iter().map(|killed| killed.files.len()).sum::<usize>(),
        costs_ms[costs_ms.len() / 2],
        costs_ms[costs_ms.len() - 1],
    );
    check_chain(&folder, &recordings);
    check_verify(&folder);
}

/// What kcap verify says of it: ends are missing, and nothing else.
fn check_verify(folder: &Path) {
    let report = verify(&[folder], &VerifyOptions::default()).expect("a report");
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let mut counts = BTreeMap::new();
    for file in &report.files {
        *counts.entry(file.state.name()).or_insert(0) += 1;
        // A file whose first block was being written is not a segment yet.
        assert!(
            matches!(file.state, FileState::Clean | FileState::Unsealed | FileState::Torn)
                || file.block_count == 0,
            "{}: {:?} {:?}",
            file.path.display(),
            file.state,
            file.reason
        );
    }
    println!("verify says: {counts:?}");
}

/// Checks a recording against the ledger; gives how much of its end is missing, and how many datagrams it has.
fn check(killed: &Killed, port: u16, ledger: &Ledger, round: usize) -> (u64, u64) {
    let mut read: Vec<Segment> = Vec::new();
    for file in &killed.files {
        match Segment::open(file) {
            Ok(segment) => read.push(segment),
            // Killed before its first block was whole.
            Err(error) => assert_eq!(Some(file), killed.files.last(), "round {round}: {error}"),
        }
    }
    let Some((last, ended)) = read.split_last() else { return (0, 0) };
    assert_ne!(last.state(), SegmentState::Sealed, "round {round}: that its end is missing shows");
    // The one before may have been killed while it was being sealed.
    let sealed = ended.iter().filter(|segment| segment.state() == SegmentState::Sealed).count();
    assert!(ended.len() - sealed <= 1, "round {round}: {sealed} of {} are sealed", ended.len());
    let digests = read.windows(2).filter_map(|pair| Some((pair[0].seal()?.digest, &pair[1])));
    for (digest, next) in digests {
        assert_eq!(next.file_info().previous_digest, digest, "round {round}: the chain of segments is whole");
    }

    let mut there = BTreeSet::new();
    for number in read.iter().flat_map(|segment| ledger_numbers(segment, port)) {
        let number = number.expect("a payload, since nothing was reduced");
        assert!(there.insert(number), "round {round}: datagram {number} is there twice");
    }
    let begun_ns = read[0].file_info().clock.as_ref().expect("a clock").boot_after_ns;
    let lost = Books::of(&read, LossProgram::PacketEgress).lost_total();
    let due = ledger.between(begun_ns, killed.at_ns.saturating_sub(LAST_SECOND_NS));
    let missing: Vec<u64> = due.map(|(number, _)| number).filter(|number| !there.contains(number)).collect();
    assert!(
        missing.len() as u64 <= lost,
        "round {round}: {} missing, {lost} lost: {missing:?}",
        missing.len()
    );
    // Nor is there a hole within the last second.
    let newest = there.last().copied().unwrap_or(0);
    let holes = ledger.between(begun_ns, killed.at_ns).filter(|(number, _)| number < &newest);
    let holes = holes.filter(|(number, _)| !there.contains(number)).count() as u64;
    assert!(holes <= lost, "round {round}: {holes} holes, {lost} lost");
    let next_ns = if there.is_empty() { Some(begun_ns) } else { ledger.time_ns(newest + 1) };
    (killed.at_ns.saturating_sub(next_ns.unwrap_or(killed.at_ns)), there.len() as u64)
}

/// Each recording tells in what state it found the one before.
fn check_chain(folder: &Path, recordings: &[Killed]) {
    let files = segments(folder);
    for killed in recordings {
        let Some(newest) = killed.files.iter().rfind(|file| file.metadata().is_ok_and(|file| file.len() > 0))
        else {
            continue;
        };
        let after = files.iter().skip_while(|file| *file != newest).nth(1).expect("a later recording");
        let Ok(next) = Segment::open(after) else { continue };
        let found = next.file_info().predecessor.clone().expect("what the recorder found");
        assert_eq!(Some(&found.name[..]), newest.file_name().map(std::ffi::OsStr::as_encoded_bytes));
        let Ok(segment) = Segment::open(newest) else {
            assert_eq!(found.state(), State::Unreadable, "{}", newest.display());
            continue;
        };
        let state = match segment.state() {
            SegmentState::Unsealed => State::Unsealed,
            SegmentState::Torn { .. } => State::Torn,
            other => panic!("{}: {other:?}", newest.display()),
        };
        assert_eq!(found.state(), state, "{}", newest.display());
        assert_eq!((found.len, found.block_count), (segment.len(), segment.blocks().len() as u32));
        assert_eq!(found.synced_offset, segment.synced_offset());
    }
}

/// A segment as a recorder leaves it that is killed just before it would have ended it: synced but for its last blocks.
fn large_unsealed_segment(path: &Path, len: u64) -> u64 {
    let mut writer = SegmentWriter::create(FileStorage::create(path).expect("a file"), &FileInfo::default())
        .expect("a segment");
    let mut encoder = BlockEncoder::new();
    let mut batch = PacketBatch::default();
    while batch.raw_len() < 1 << 20 {
        batch.push(&PacketRow::default(), &[0; 28], &vec![batch.len as u8; 60_000]);
    }
    let block = encoder.packets(&batch, Effort::Stored);
    let synced_len = len - len / 64;
    while writer.len() < len {
        writer.append(&block).expect("room");
        if writer.len() >= synced_len && writer.synced_len() == 0 {
            writer.sync().expect("a sync");
        }
    }
    writer.len()
}

#[test]
fn a_restart_beside_a_large_segment_takes_less_than_a_second() {
    if !kernel::available() {
        return;
    }
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let started = |folder: &Path| {
        let begun = Instant::now();
        let recorder = Recorder::start(folder, &[]);
        let took = begun.elapsed();
        recorder.stop();
        took
    };
    let empty = started(&scratch.path().join("empty"));
    let folder = scratch.path().join("capture");
    std::fs::create_dir(&folder).expect("a folder");
    let large = folder.join("000001-20260101T000000Z.kcap");
    let len = large_unsealed_segment(&large, 256 << 20);
    // As after a crash of the host: nothing of it is in memory.
    let file = File::open(&large).expect("the segment");
    file.sync_all().expect("a sync");
    // SAFETY: advice about an open file.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    let beside = started(&folder);
    println!(
        "first segment begun after {:.0} ms beside an unsealed segment of {} MiB, after {:.0} ms in an empty folder",
        beside.as_secs_f64() * 1e3,
        len >> 20,
        empty.as_secs_f64() * 1e3
    );
    let capture = Capture::open(&folder).expect("a capture");
    assert!(capture.problems.is_empty(), "{:?}", capture.problems);
    assert_eq!(capture.segments.len(), 2);
    let new = capture.segments.iter().find(|segment| segment.path() != large).expect("a new segment");
    let found = new.file_info().predecessor.clone().expect("what was found");
    assert_eq!((found.state(), found.len), (State::Unsealed, large.metadata().expect("the segment").len()));
    assert!(found.synced_offset > len / 64 * 62, "{found:?}");
}

#[test]
fn a_second_recorder_in_the_folder_is_refused_with_one_line() {
    if !kernel::available() {
        return;
    }
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let recorder = Recorder::start(&scratch.path().join("capture"), &[]);
    let second = run(Command::new(binary::kcap_record()).arg("run").arg("-o").arg(recorder.folder()));
    assert_eq!(second.status.code(), Some(1), "{}", second.stderr);
    let [line] = &second.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{}", second.stderr) };
    assert!(line.contains("another kcap-record records into"), "{line}");
    assert!(line.contains("give -o another folder"), "{line}");
    recorder.stop();
}
