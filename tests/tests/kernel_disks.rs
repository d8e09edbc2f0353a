//! Disks that are full, limited or slow: the recorder goes on, and every packet is in a segment or counted.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use kcap_format::proto::{GovernorStep, LossCause, LossProgram, event, recording_mode};
use kcap_format::{Capture, FileState, ReadOptions, Segment, SegmentState, VerifyOptions, verify};
use kcap_tests::books::{Books, ledger_numbers};
use kcap_tests::command::wait_until;
use kcap_tests::kcap::sql;
use kcap_tests::kernel;
use kcap_tests::ledger::{Ledger, LedgerSender, boot_ns};
use kcap_tests::recorder::{Recorder, segments};
use kcap_tests::slow_disk::SlowDisk;
use kcap_tests::small_disk::SmallDisk;
use nix::sys::signal::Signal;

const PACKET_PROGRAMS: [LossProgram; 2] = [LossProgram::PacketEgress, LossProgram::PacketIngress];

/// Checks the account of the packet programs, and the ledger against it; gives the datagrams that are there.
fn check(segments: &[Segment], port: u16, ledger: &Ledger, until_ns: u64) -> BTreeSet<u64> {
    let mut there = BTreeSet::new();
    for number in segments.iter().flat_map(|segment| ledger_numbers(segment, port)).flatten() {
        assert!(there.insert(number), "datagram {number} is there twice");
    }
    for program in PACKET_PROGRAMS {
        Books::of(segments, program).check_complete();
    }
    let begun_ns = segments[0].file_info().clock.as_ref().expect("a clock").boot_after_ns;
    let missing = ledger.between(begun_ns, until_ns).filter(|(number, _)| !there.contains(number)).count();
    let lost = Books::of(segments, LossProgram::PacketEgress).lost_total();
    assert!(
        missing as u64 <= lost,
        "{missing} datagrams are missing, and {lost} packets are counted as lost"
    );
    there
}

fn a_full_disk_is_survived(disk: &SmallDisk, name: &str) {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let filler = disk.path().join("filler");
    // Three segments and a half: the disk is full in the middle of one.
    let filler_len = disk.available_len() - (7 << 20);
    fs::write(&filler, vec![1; filler_len as usize]).expect("room for it");
    let folder = disk.path().join("capture");
    // Each datagram is to be compared byte for byte.
    let options = ["--segment-size", "2MiB", "--degrade-to", "full", "--compression-level", "stored"];
    let mut recorder = Recorder::start(&folder, &options);
    let sender = LedgerSender::start(scratch.path(), 4_000, 700);
    let port = sender.port;
    recorder.wait_for_stderr("recording pauses");
    thread::sleep(Duration::from_millis(1200));
    let full_from = segments(&folder).len();
    let used = disk_usage(&folder);
    let room_ns = boot_ns();
    fs::remove_file(&filler).expect("room again");
    wait_until("recording to go on", || (disk_usage(&folder) > used + (1 << 20)).then_some(()));
    let until_ns = boot_ns();
    let ledger = sender.stop();
    let said = recorder.stop();

    let capture = Capture::open(&folder).expect("a capture");
    assert!(capture.problems.is_empty(), "{:?}", capture.problems);
    let there = check(&capture.segments, port, &ledger, until_ns);
    let sent_ns = |number: &u64| ledger.time_ns(*number).expect("the time of a datagram");
    let resumed_ns = there.iter().map(sent_ns).find(|sent_ns| *sent_ns > room_ns).expect("a later datagram");
    let books = Books::of(&capture.segments, LossProgram::PacketEgress);
    println!(
        "{name}: {} segments, full after {full_from}; {} of {} datagrams recorded, {} packets lost because the disk \
         was full; recorded again what was sent {:.0} ms after there was room",
        capture.segments.len(),
        there.len(),
        ledger.count(),
        books.lost[&LossCause::DiskFull],
        (resumed_ns - room_ns) as f64 / 1e6,
    );
    assert!(there.iter().any(|number| ledger.time_ns(*number) > Some(resumed_ns)), "recording went on");
    assert!(there.iter().any(|number| ledger.time_ns(*number) < Some(room_ns)), "what was there stays");
    let broken = capture.segments.iter().filter(|segment| segment.state() != SegmentState::Sealed).count();
    assert!(
        (1..=2).contains(&broken),
        "the one that had no more room, and the one that had none for its seal"
    );
    assert!(said.stderr.contains("because the disk was full"), "{}", said.stderr);
    let report = verify(&[&folder], &VerifyOptions::default()).expect("a report");
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    assert!(report.files.iter().all(|file| file.state != FileState::Corrupt), "{:?}", report.files);
}

#[test]
fn a_full_tmpfs_is_survived() {
    if kernel::available() {
        a_full_disk_is_survived(&SmallDisk::tmpfs(24 << 20), "tmpfs");
    }
}

#[test]
fn a_full_ext4_is_survived() {
    if kernel::available() {
        a_full_disk_is_survived(&SmallDisk::ext4(32 << 20), "ext4");
    }
}

/// Bytes of the segments in a folder: as long as they are, and as du counts them.
fn disk_usage(folder: &Path) -> u64 {
    let metadata = segments(folder).into_iter().filter_map(|segment| fs::metadata(segment).ok());
    metadata.map(|file| file.len().max(file.blocks() * 512)).sum()
}

#[test]
fn no_more_than_the_limit_and_a_segment_is_ever_on_disk() {
    if !kernel::available() {
        return;
    }
    const DISK_MAX: u64 = 16 << 20;
    const SEGMENT_MAX: u64 = 2 << 20;
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let folder = scratch.path().join("capture");
    let options = ["--segment-size", "2MiB", "--max-disk", "16MiB", "--compression-level", "stored"];
    let recorder = Recorder::start(&folder, &options);
    let sender = LedgerSender::start(scratch.path(), 10_000, 1_000);
    let mut most = 0;
    let mut rotations = 0;
    let mut newest = segments(&folder).pop();
    wait_until("a dozen segments more than there is room for", || {
        most = most.max(disk_usage(&folder));
        let now = segments(&folder).pop();
        rotations += usize::from(now != newest);
        newest = now;
        (rotations >= 20).then_some(())
    });
    sender.stop();
    recorder.stop();
    most = most.max(disk_usage(&folder));
    println!(
        "--max-disk 16 MiB, segments of 2 MiB: at most {:.1} MiB on disk",
        most as f64 / (1 << 20) as f64
    );
    assert!(most <= DISK_MAX + SEGMENT_MAX, "{most} bytes");
    assert!(most > DISK_MAX - 2 * SEGMENT_MAX, "the limit is made use of: {most} bytes");
}

/// A disk of 0.3 MB/s gets 10 MB/s, and becomes fast again after some seconds.
#[test]
fn a_slow_disk_makes_the_recorder_step_down_and_up_again() {
    if !kernel::available() {
        return;
    }
    let disk = SlowDisk::new(300_000);
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let mut recorder = Recorder::start(disk.path(), &["--packet-buffer", "4MiB", "--segment-size", "8MiB"]);
    let sender = LedgerSender::start(scratch.path(), 10_000, 1_000);
    let port = sender.port;
    recorder.wait_for_stderr("packets are only counted");
    thread::sleep(Duration::from_secs(1));
    disk.set_speed(1 << 30);
    let fast = Instant::now();
    recorder.wait_for_stderr("everything is captured again");
    let recovered = fast.elapsed();
    let again_ns = boot_ns();
    thread::sleep(Duration::from_millis(300));
    let ledger = sender.stop();
    let said = recorder.end(Signal::SIGINT).success();

    let files =
        disk.files().into_iter().filter(|(name, _)| name.extension().is_some_and(|end| end == "kcap"));
    let options = ReadOptions::default();
    let copy = scratch.path().join("copy");
    fs::create_dir(&copy).expect("a folder");
    let read = files.map(|(name, bytes)| {
        let name_only = name.file_name().expect("a name");
        fs::write(copy.join(name_only), &bytes).expect("a copy");
        Segment::from_bytes(name, bytes, &options).expect("a segment")
    });
    let read: Vec<Segment> = read.collect();
    let books = PACKET_PROGRAMS.map(|program| Books::of(&read, program));
    books.iter().for_each(Books::check_complete);
    let steps = governor_steps(&read);
    for (time_ns, step) in &steps {
        println!(
            "{:6.2} s: {}",
            (time_ns - read[0].file_info().clock.as_ref().expect("a clock").boot_after_ns) as f64 / 1e9,
            describe(step)
        );
    }
    let numbers: Vec<Option<u64>> = read.iter().flat_map(|segment| ledger_numbers(segment, port)).collect();
    let headers = numbers.iter().filter(|number| number.is_none()).count();
    println!(
        "slow disk: {} datagrams sent, {} recorded whole, {headers} as headers, {} packets only counted, {} lost to a \
         full ring; everything again {:.1} s after the disk was fast",
        ledger.count(),
        numbers.len() - headers,
        books[0].lost.get(&LossCause::Overload).unwrap_or(&0),
        books[0].lost.get(&LossCause::RingFull).unwrap_or(&0),
        recovered.as_secs_f64(),
    );
    let there: BTreeSet<u64> = numbers.iter().flatten().copied().collect();
    assert!(headers > 0 && books[0].lost[&LossCause::Overload] > 0);
    assert!(there.iter().any(|number| ledger.time_ns(*number) > Some(again_ns)), "whole packets again");

    // The steps are a way without leaps, from what was asked for and back to it.
    let captures: Vec<_> =
        steps.iter().map(|(_, step)| (step.from.expect("from"), step.to.expect("to"))).collect();
    assert!(captures.windows(2).all(|pair| pair[0].1 == pair[1].0), "{captures:?}");
    let way: Vec<_> = captures.iter().map(|(_, to)| to.capture()).collect();
    assert!(
        way.contains(&recording_mode::Capture::Headers) && way.contains(&recording_mode::Capture::Counts)
    );
    assert_eq!(way.last(), Some(&recording_mode::Capture::Full), "{way:?}");
    assert!(steps.is_sorted_by_key(|(time_ns, _)| *time_ns), "{steps:?}");
    let told = sql(&copy, "SELECT to_capture FROM recorder_steps ORDER BY ts");
    let told: Vec<&str> = told.iter().map(|row| row["to_capture"].as_str().expect("a name")).collect();
    let way: Vec<_> = way.iter().map(|capture| capture.as_str_name().to_lowercase()).collect();
    assert_eq!(told, way);
    assert!(
        said.stderr.contains("reduced  to headers") && said.stderr.contains("reduced  to counts"),
        "{}",
        said.stderr
    );
}

/// The steps of the governor that segments tell of, without what their snapshots repeat.
fn governor_steps(segments: &[Segment]) -> Vec<(u64, GovernorStep)> {
    let events = segments.iter().flat_map(|segment| segment.all_events().expect("events"));
    let steps = events.filter(|event| !event.snapshot).filter_map(|event| match event.event {
        Some(event::Event::Governor(step)) => Some((event.time_ns, step)),
        _ => None,
    });
    steps.collect()
}

fn describe(step: &GovernorStep) -> String {
    let mode = |mode: Option<kcap_format::proto::RecordingMode>| {
        let mode = mode.expect("a mode");
        format!("{} at level {}", mode.capture().as_str_name(), mode.compression_level)
    };
    format!(
        "{} to {}: {}; waiting for a processor {}%, for the disk {}%, ring {}%",
        mode(step.from),
        mode(step.to),
        step.reason().as_str_name(),
        step.waiting_for_processor_percent,
        step.waiting_for_disk_percent,
        step.ring_filled_percent
    )
}
