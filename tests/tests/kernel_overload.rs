//! Ten times more than the recorder can take: what was sent is what was stored and what was counted as lost, exactly.
//!
//! The senders run in a cgroup that is the root for the recorder, so that it sees their datagrams and no others, and the
//! senders' own count is the whole truth.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use kcap_format::proto::{LossCause, LossProgram};
use kcap_format::{Capture, ReadOptions, Segment, SegmentState};
use kcap_tests::books::Books;
use kcap_tests::command::wait_until;
use kcap_tests::isolated::Isolated;
use kcap_tests::kernel;
use kcap_tests::ledger::LedgerSender;
use kcap_tests::recorder::Recorder;
use kcap_tests::slow_disk::SlowDisk;

/// More than a sender can send in a second: it never rests.
const NO_REST: u64 = 100_000_000;

/// Checks that the senders' count is the recorder's; gives how many times more was sent than stored.
fn check(segments: &[Segment], sent: u64, name: &str) -> f64 {
    let books = Books::of(segments, LossProgram::PacketEgress);
    println!(
        "{name}: {sent} datagrams sent = {} stored + {} lost {:?}",
        books.there,
        books.lost_total(),
        books.lost
    );
    assert!(segments.iter().all(|segment| segment.state() == SegmentState::Sealed));
    assert_eq!(books.there + books.lost_total(), sent, "{books:?}");
    assert_eq!((books.kernel_seen, books.seen, books.stored), (sent, sent, books.there), "{books:?}");
    sent as f64 / books.there as f64
}

/// Datagrams that all processes of this network namespace have sent: OutDatagrams of /proc/net/snmp.
fn datagrams_sent() -> u64 {
    let snmp = fs::read_to_string("/proc/net/snmp").expect("the counters of the network");
    let lines: Vec<Vec<&str>> =
        snmp.lines().filter(|line| line.starts_with("Udp:")).map(|line| line.split(' ').collect()).collect();
    let column = lines[0].iter().position(|name| *name == "OutDatagrams").expect("a counter");
    lines[1][column].parse().expect("a number")
}

#[test]
fn a_recorder_that_seldom_runs_counts_what_the_ring_could_not_take() {
    if !kernel::available() {
        return;
    }
    let isolated = Isolated::new();
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let options = ["--packet-buffer", "256KiB", "--threads", "1", "--degrade-to", "full"];
    let recorder =
        Recorder::start_as(&scratch.path().join("capture"), &options, |program| isolated.recorder(&program));
    let senders = ["a", "b"].map(|name| {
        let folder = scratch.path().join(name);
        fs::create_dir(&folder).expect("a folder");
        LedgerSender::start_as(&folder, NO_REST, 64, |program| isolated.command(program))
    });
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        recorder.while_stopped(|| thread::sleep(Duration::from_millis(280)));
        thread::sleep(Duration::from_millis(1));
    }
    let sent: u64 = recorder.while_stopped(|| senders.into_iter().map(|sender| sender.stop().count()).sum());
    let folder = recorder.folder().to_owned();
    recorder.stop();
    let capture = Capture::open(&folder).expect("a capture");
    assert!(capture.problems.is_empty(), "{:?}", capture.problems);
    let times = check(&capture.segments, sent, "a recorder that seldom runs");
    assert!(times >= 10.0, "{times:.1} times overload");
}

#[test]
fn a_recorder_with_a_slow_disk_counts_what_it_gave_up() {
    if !kernel::available() {
        return;
    }
    let isolated = Isolated::new();
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let disk = SlowDisk::new(50_000);
    let options = ["--packet-buffer", "256KiB", "--segment-size", "4MiB"];
    let recorder = Recorder::start_as(disk.path(), &options, |program| isolated.recorder(&program));
    let sender = LedgerSender::start_as(scratch.path(), NO_REST, 1_000, |program| isolated.command(program));
    // Many times what rings and batches hold.
    let before = datagrams_sent();
    wait_until("many datagrams", || (datagrams_sent() > before + 200_000).then_some(()));
    let sent = sender.stop().count();
    // What it has taken is to be written before the test gets old.
    disk.set_speed(1 << 30);
    recorder.stop();
    let files =
        disk.files().into_iter().filter(|(name, _)| name.extension().is_some_and(|end| end == "kcap"));
    let options = ReadOptions::default();
    let segments = files.map(|(name, bytes)| Segment::from_bytes(name, bytes, &options).expect("a segment"));
    let segments: Vec<Segment> = segments.collect();
    let times = check(&segments, sent, "a slow disk");
    let books = Books::of(&segments, LossProgram::PacketEgress);
    assert!(books.lost.contains_key(&LossCause::Overload), "{books:?}");
    assert!(times >= 10.0, "{times:.1} times overload");
}
