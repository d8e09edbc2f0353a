//! Segments on a disk that fills, breaks and recovers: nothing is written twice, and every record is booked
//! once.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use kcap_format::proto::{GovernorStep, Predecessor};
use kcap_format::proto::{LossProgram, LossReport, ProcessExit, ProcessId, event};
use kcap_format::{Capture, PacketBatch, PacketColumns, PacketRow, SegmentState};

use super::*;
use crate::segment_file::SegmentFile;

const SECOND_NS: u64 = 1_000_000_000;
const EGRESS: Source = Source { program: 2, cpu: 0 };
const PAYLOAD_LEN: usize = 1000;

/// A disk that the test fills and breaks.
#[derive(Clone, Default)]
struct Disk {
    free: Arc<AtomicU64>,
    broken: Arc<AtomicBool>,
    /// Syncs wait while the test holds it.
    sync_gate: Arc<Mutex<()>>,
    /// Files made, writes and syncs so far.
    operations: Arc<AtomicU64>,
    fault: Option<Fault>,
}

/// The operation with this number fails, counted from 0.
#[derive(Clone, Copy, Debug)]
struct Fault {
    at: u64,
    /// And all that follow.
    lasts: bool,
    /// A write that fails has written half.
    is_torn: bool,
}

impl Disk {
    fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    /// Counts an operation, and says whether it works.
    fn operation(&self) -> io::Result<()> {
        let number = self.operations.fetch_add(1, Ordering::Relaxed);
        let faulty = self.fault.is_some_and(|fault| number == fault.at || fault.lasts && number > fault.at);
        let broken = faulty || self.broken.load(Ordering::Relaxed);
        if broken { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }
}

struct DiskFile {
    file: SegmentFile,
    disk: Disk,
}

impl Storage for DiskFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.operation().inspect_err(|_| {
            if self.disk.fault.is_some_and(|fault| fault.is_torn) {
                self.file.append(&bytes[..bytes.len() / 2]).unwrap();
            }
        })?;
        let free = self.disk.free.load(Ordering::Relaxed);
        let fits = (free as usize).min(bytes.len());
        self.disk.free.fetch_sub(fits as u64, Ordering::Relaxed);
        self.file.append(&bytes[..fits])?;
        if fits < bytes.len() { Err(io::Error::from_raw_os_error(libc::ENOSPC)) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.operation()
    }

    fn path(&self) -> &Path {
        self.file.path()
    }
}

struct DiskStore {
    folder: crate::folder::Folder,
    disk: Disk,
}

impl Store for DiskStore {
    type Storage = DiskFile;

    fn create(&mut self, realtime_ns: u64) -> kcap_format::Result<DiskFile> {
        let path = || std::path::PathBuf::from("new segment");
        self.disk.operation().map_err(|source| kcap_format::Error::Io { path: path(), source })?;
        Ok(DiskFile { file: self.folder.create(realtime_ns)?, disk: self.disk.clone() })
    }

    fn sync_later(&self, _: &DiskFile) -> crate::syncer::Sync {
        let disk = self.disk.clone();
        Box::new(move || {
            let _open = disk.sync_gate.lock().unwrap();
            disk.operation()
        })
    }

    fn close(&mut self, path: &Path, len: u64) {
        self.folder.close(path, len);
    }

    fn discard(&mut self, path: &Path) {
        let len = std::fs::metadata(path).unwrap().len();
        self.disk.free.fetch_add(len, Ordering::Relaxed);
        self.folder.discard(path);
    }

    fn closed_len(&self) -> u64 {
        self.folder.closed_len()
    }

    fn remove_oldest(&mut self) -> bool {
        self.folder.remove_oldest()
    }
}

/// A recording in a folder of its own, with a kernel that has stored what the test pushes.
struct Fixture {
    folder: tempfile::TempDir,
    disk: Disk,
    kernel_seen: Arc<AtomicU64>,
    recording: Recording<DiskStore>,
    encoder: BlockEncoder,
    pushed: u64,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        Self::with(limits, FileInfo::default(), None).unwrap()
    }

    fn with(limits: Limits, file: FileInfo, fault: Option<Fault>) -> Result<Self> {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk { fault, ..Disk::default() };
        disk.free.store(u64::from(u32::MAX), Ordering::Relaxed);
        let store =
            DiskStore { folder: crate::folder::Folder::open(folder.path()).unwrap(), disk: disk.clone() };
        let kernel_seen = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&kernel_seen);
        let read_counters: CounterReader = Box::new(move || {
            let seen = seen.load(Ordering::Relaxed);
            Ok(vec![(EGRESS, Counters { seen, stored: seen, ..Counters::default() })])
        });
        let recording = Recording::begin(store, limits, file, 0, read_counters)?;
        Ok(Self { folder, disk, kernel_seen, recording, encoder: BlockEncoder::new(), pushed: 0 })
    }

    fn block(&mut self, count: u64, now_ns: u64) -> TalliedBlock {
        let mut batch = PacketBatch::default();
        for index in 0..count {
            let row = PacketRow {
                time_ns: now_ns,
                program: EGRESS.program,
                mark: (self.pushed + index) as u32,
                ..PacketRow::default()
            };
            // Payloads that differ: equal ones are stored once.
            let mut payload = [0; PAYLOAD_LEN];
            payload[..8].copy_from_slice(&(self.pushed + index).to_le_bytes());
            batch.push(&row, b"head", &payload);
        }
        self.pushed += count;
        self.kernel_seen.fetch_add(count, Ordering::Relaxed);
        let mut tally = Tally::default();
        tally.add(EGRESS, count);
        TalliedBlock { block: self.encoder.packets(&batch, Effort::Stored), tally }
    }

    fn push(&mut self, count: u64, now_ns: u64) {
        let block = self.block(count, now_ns);
        self.recording.write(&block, now_ns);
    }

    fn capture(&self) -> Capture {
        Capture::open(self.folder.path()).unwrap()
    }
}

fn limits() -> Limits {
    let hour = Duration::from_secs(3600);
    Limits {
        segment_len: 1 << 30,
        segment_time: hour,
        disk_len_max: None,
        sync: SyncPolicy::Interval(hour),
        recipients: Vec::new(),
    }
}

/// Packets that lie in a segment.
fn packets(segment: &kcap_format::Segment) -> u64 {
    let blocks = segment.blocks().iter().filter(|block| block.block_type == BlockType::PACKETS);
    blocks.map(|block| segment.packets(block, PacketColumns::ALL).unwrap().len as u64).sum()
}

fn reports(segment: &kcap_format::Segment) -> Vec<LossReport> {
    let blocks = segment.blocks().iter().filter(|block| block.block_type == BlockType::LOSS);
    blocks.flat_map(|block| segment.losses(block).unwrap()).collect()
}

/// Checks each report and sums them: seen, stored, lost.
fn sums(reports: &[LossReport]) -> (u64, u64, u64) {
    reports.iter().fold((0, 0, 0), |(seen, stored, lost), report| {
        let lost_here: u64 = report.lost.iter().map(|lost| lost.count).sum();
        assert_eq!(report.seen, report.filtered + report.stored + lost_here, "{report:?}");
        (seen + report.seen, stored + report.stored, lost + lost_here)
    })
}

#[test]
fn reports_agree_with_what_lies_in_each_segment() {
    let mut fixture = Fixture::new(Limits { segment_time: Duration::from_secs(10), ..limits() });
    for second in 1..=25 {
        let now_ns = second * SECOND_NS;
        fixture.push(second, now_ns);
        fixture.recording.tick(now_ns);
        fixture.recording.apply(&mut Vec::new(), now_ns);
        if fixture.recording.rotation_pending(now_ns) {
            assert!(fixture.recording.rotate_if_ready(now_ns));
        }
    }
    assert!(fixture.recording.finish(26 * SECOND_NS));
    let capture = fixture.capture();
    assert_eq!(capture.segments.len(), 3);
    let mut seen = 0;
    for segment in &capture.segments {
        let reports = reports(segment);
        assert_eq!(sums(&reports).1, packets(segment));
        seen += sums(&reports).0;
        assert!(segment.seal().is_some());
    }
    let last = reports(capture.segments.last().unwrap()).pop().unwrap();
    assert_eq!((seen, last.kernel_seen, last.in_flight), (fixture.pushed, fixture.pushed, 0));
    assert_eq!(capture.segments[1].file_info().segment_sequence, 2);
    assert_eq!(capture.segments[1].file_info().previous_digest, capture.segments[0].seal().unwrap().digest);
}

#[test]
fn processes_that_no_snapshot_has_are_told_in_its_segment() {
    let mut fixture = Fixture::new(limits());
    let found = Enumerated { events: Vec::new(), processes_left_out: 7 };
    fixture.recording.add_enumerated(found, SECOND_NS);
    fixture.push(1, SECOND_NS);
    assert!(fixture.recording.finish(2 * SECOND_NS));
    let capture = fixture.capture();
    let left_out = |report: &&LossReport| report.program() == LossProgram::SnapshotProcesses;
    let reports = reports(&capture.segments[0]);
    let report = reports.iter().find(left_out).expect("a report on the snapshot");
    assert_eq!((report.seen, report.lost[0].count), (7, 7));
    assert_eq!(report.lost[0].cause(), LossCause::StateFull);
}

#[test]
fn a_full_disk_is_survived_and_its_losses_are_counted() {
    let mut fixture = Fixture::new(limits());
    fixture.push(10, SECOND_NS);
    fixture.recording.tick(SECOND_NS);
    fixture.disk.free.store(2000, Ordering::Relaxed);
    fixture.push(20, 2 * SECOND_NS);
    for second in 2..6 {
        fixture.push(5, second * SECOND_NS);
        fixture.recording.tick(second * SECOND_NS);
    }
    assert!(fixture.recording.totals().lost[&LossCause::DiskFull] >= 40);
    fixture.disk.free.store(1 << 20, Ordering::Relaxed);
    fixture.push(30, 8 * SECOND_NS);
    assert!(fixture.recording.finish(9 * SECOND_NS));

    let capture = fixture.capture();
    assert_eq!(capture.segments.len(), 2, "the attempts in between left no files");
    let (first, second) = (&capture.segments[0], &capture.segments[1]);
    assert_eq!((packets(first), packets(second)), (10, 30));
    let (seen, stored, lost) = sums(&reports(second));
    assert_eq!((stored, lost), (30, 40));
    assert_eq!(packets(first) + seen, fixture.pushed);
    assert_eq!(second.file_info().segment_sequence, 2);
    let last = reports(second).pop().unwrap();
    assert_eq!((last.kernel_seen, last.in_flight), (fixture.pushed, 0));
}

#[test]
fn a_disk_that_breaks_ends_the_segment_and_another_follows() {
    let mut fixture = Fixture::new(Limits { sync: SyncPolicy::Interval(Duration::from_secs(1)), ..limits() });
    fixture.push(10, SECOND_NS);
    fixture.disk.set_broken(true);
    fixture.recording.tick(2 * SECOND_NS);
    fixture.recording.settle(2 * SECOND_NS);
    fixture.push(7, 2 * SECOND_NS + 1);
    fixture.disk.set_broken(false);
    fixture.push(3, 4 * SECOND_NS);
    assert!(fixture.recording.finish(5 * SECOND_NS));
    let capture = fixture.capture();
    let written: Vec<u64> = capture.segments.iter().map(packets).collect();
    assert_eq!(written, [10, 3]);
    assert_eq!(fixture.recording.totals().lost, [(LossCause::WriteFailed, 7)].into());
    assert_eq!(sums(&reports(&capture.segments[1])), (10, 3, 7));
    assert_eq!(fixture.recording.written().segments_broken, 1);
}

/// A segment that is discarded leaves its number to the next: the answer to its sync used to be taken for that of the
/// next, which was then given up, or counted as synced.
#[test]
fn the_sync_of_a_discarded_segment_says_nothing_about_the_next() {
    let mut fixture = Fixture::new(Limits { sync: SyncPolicy::Interval(Duration::from_secs(1)), ..limits() });
    let gate = Arc::clone(&fixture.disk.sync_gate);
    let waiting = gate.lock().unwrap();
    fixture.recording.tick(2 * SECOND_NS);
    fixture.disk.set_broken(true);
    fixture.recording.tick(3 * SECOND_NS);
    fixture.disk.set_broken(false);
    fixture.push(10, 5 * SECOND_NS);
    fixture.disk.set_broken(true);
    drop(waiting);
    fixture.recording.settle(2 * SECOND_NS);
    fixture.disk.set_broken(false);
    fixture.push(5, 6 * SECOND_NS);
    assert!(fixture.recording.finish(7 * SECOND_NS));
    let capture = fixture.capture();
    let written: Vec<u64> = capture.segments.iter().map(packets).collect();
    assert_eq!((written, fixture.recording.written().segments_broken), (vec![15], 0));
    assert_eq!(capture.segments[0].file_info().segment_sequence, 1);
}

#[test]
fn a_discarded_segment_does_not_break_the_chain_of_digests() {
    let mut fixture = Fixture::new(Limits { segment_len: 1, ..limits() });
    fixture.push(10, SECOND_NS);
    fixture.recording.apply(&mut Vec::new(), SECOND_NS);
    assert!(fixture.recording.rotation_pending(SECOND_NS) && fixture.recording.rotate_if_ready(SECOND_NS));
    fixture.recording.settle(2 * SECOND_NS);
    fixture.disk.set_broken(true);
    fixture.recording.tick(2 * SECOND_NS);
    fixture.disk.set_broken(false);
    fixture.push(3, 4 * SECOND_NS);
    assert!(fixture.recording.finish(5 * SECOND_NS));
    let capture = fixture.capture();
    assert_eq!(capture.segments.iter().map(packets).collect::<Vec<_>>(), [10, 3]);
    let told = &capture.segments[1].file_info().previous_digest;
    assert_eq!(told, &capture.segments[0].seal().unwrap().digest);
}

#[test]
fn the_oldest_segments_make_room() {
    let limit = 200_000;
    let mut fixture = Fixture::new(Limits { segment_len: 50_000, disk_len_max: Some(limit), ..limits() });
    for round in 1..=100 {
        fixture.push(10, round * SECOND_NS);
        fixture.recording.apply(&mut Vec::new(), round * SECOND_NS);
        if fixture.recording.rotation_pending(round * SECOND_NS) {
            assert!(fixture.recording.rotate_if_ready(round * SECOND_NS));
        }
        let files = std::fs::read_dir(fixture.folder.path()).unwrap();
        let len: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(len <= limit, "{len} bytes after round {round}");
    }
    assert!(fixture.recording.finish(101 * SECOND_NS));
    let capture = fixture.capture();
    assert_eq!(fixture.recording.totals().lost_total(), 0);
    assert!(capture.segments.len() >= 3);
    let sequences: Vec<u64> =
        capture.segments.iter().map(|segment| segment.file_info().segment_sequence).collect();
    assert_eq!(*sequences.last().unwrap(), fixture.recording.written().segments);
    assert!(sequences.is_sorted() && sequences[0] > 1);
}

/// Six seconds of recording in small segments, whatever the disk does.
fn record(fixture: &mut Fixture) {
    for half_second in 2..14 {
        let now_ns = half_second * SECOND_NS / 2;
        fixture.push(3, now_ns);
        fixture.recording.apply(&mut Vec::new(), now_ns);
        if half_second % 2 == 0 {
            fixture.recording.tick(now_ns);
        }
        // What the other thread does has its place in the order of the operations.
        fixture.recording.settle(now_ns);
        if fixture.recording.rotation_pending(now_ns) {
            fixture.recording.rotate_if_ready(now_ns);
        }
        fixture.recording.settle(now_ns);
    }
}

/// Every record is readable in one segment or counted as lost, and never both; the reports of each segment claim what
/// lies in it and no more.
fn check_books(fixture: &Fixture, what: &str) -> Capture {
    let capture = fixture.capture();
    assert!(capture.problems.is_empty(), "{what}: {:?}", capture.problems);
    let (mut stored, mut lost) = (0, 0);
    for segment in &capture.segments {
        let (there, (_, told, lost_here)) = (packets(segment), sums(&reports(segment)));
        match segment.state() {
            SegmentState::Sealed => assert_eq!(told, there, "{what}"),
            state => assert!(told <= there, "{what}: {told} told of {there}, {state:?}"),
        }
        stored += there;
        lost += lost_here;
    }
    let lost_total = fixture.recording.totals().lost_total();
    assert_eq!(stored + lost_total, fixture.pushed, "{what}");
    assert!(lost <= lost_total, "{what}");
    let sequences = capture.segments.iter().map(|segment| segment.file_info().segment_sequence);
    assert!(sequences.eq(1..=capture.segments.len() as u64), "{what}: no number twice, none left out");
    capture
}

/// A write or sync that fails ends its segment, and no other record is lost than those that were to be written.
#[test]
fn an_error_at_any_operation_costs_one_segment_its_end_and_nobody_his_count() {
    for sync in [SyncPolicy::Interval(Duration::from_secs(1)), SyncPolicy::Block, SyncPolicy::Never] {
        let limits = || Limits { segment_len: 8_000, sync, ..limits() };
        let mut sound = Fixture::new(limits());
        record(&mut sound);
        assert!(sound.recording.finish(8 * SECOND_NS));
        let segments_of_sound = check_books(&sound, "sound").segments.len();
        assert!(segments_of_sound >= 3);
        let operations = sound.disk.operations.load(Ordering::Relaxed);
        let mut failed_to_begin = 0;
        for (at, is_torn) in (0..operations).flat_map(|at| [(at, false), (at, true)]) {
            let fault = Fault { at, is_torn, lasts: false };
            let what = format!("{sync:?}, {fault:?} of {operations}");
            let Ok(mut fixture) = Fixture::with(limits(), FileInfo::default(), Some(fault)) else {
                failed_to_begin += 1;
                continue;
            };
            record(&mut fixture);
            let sealed = fixture.recording.finish(8 * SECOND_NS);
            let capture = check_books(&fixture, &what);
            let totals = fixture.recording.totals();
            let told: u64 = capture.segments.iter().map(|segment| sums(&reports(segment)).2).sum();
            let last = capture.segments.last().unwrap();
            // Only where the very end of the recording was hit is nobody left to tell.
            let hit_at_the_end = last.seal().is_none();
            assert!(told == totals.lost_total() || hit_at_the_end, "{what}: {told} of {totals:?}");
            assert!(totals.lost_total() <= 3, "{what}: one block at most: {totals:?}");
            let unsealed = capture.segments.iter().filter(|segment| segment.seal().is_none()).count();
            assert!(
                unsealed <= 1 && (unsealed == 0 || segments_of_sound <= capture.segments.len()),
                "{what}"
            );
            assert!(!sealed || last.seal().is_some(), "{what}: an end without a seal is said");
        }
        // The folder may refuse the first file, and the file its FILE block, of a header and a payload.
        assert!((2..=8).contains(&failed_to_begin), "{sync:?}: {failed_to_begin}");
    }
}

#[test]
fn a_disk_that_breaks_for_good_costs_everything_behind_and_no_count() {
    for sync in [SyncPolicy::Interval(Duration::from_secs(1)), SyncPolicy::Block, SyncPolicy::Never] {
        let limits = || Limits { segment_len: 8_000, sync, ..limits() };
        let mut sound = Fixture::new(limits());
        record(&mut sound);
        sound.recording.finish(8 * SECOND_NS);
        for at in 0..sound.disk.operations.load(Ordering::Relaxed) {
            let fault = Fault { at, is_torn: at % 2 == 1, lasts: true };
            let Ok(mut fixture) = Fixture::with(limits(), FileInfo::default(), Some(fault)) else { continue };
            record(&mut fixture);
            assert!(!fixture.recording.finish(8 * SECOND_NS), "{fault:?}: an end without a seal is said");
            if std::fs::read_dir(fixture.folder.path()).unwrap().count() > 1 {
                check_books(&fixture, &format!("{sync:?}, {fault:?}"));
            } else {
                assert_eq!(fixture.recording.totals().lost_total(), fixture.pushed);
            }
        }
    }
}

#[test]
fn recording_goes_on_within_a_second_of_space_returning() {
    let mut fixture = Fixture::new(limits());
    fixture.push(1, SECOND_NS);
    fixture.disk.free.store(100, Ordering::Relaxed);
    fixture.push(1, 2 * SECOND_NS);
    let tick_ns = SECOND_NS / 10;
    for tick in 1..40 {
        fixture.recording.resume_if_due(2 * SECOND_NS + tick * tick_ns);
    }
    assert!(fixture.recording.is_paused());
    fixture.disk.free.store(1 << 20, Ordering::Relaxed);
    let resumed = (40..50).find(|tick| {
        fixture.recording.resume_if_due(2 * SECOND_NS + tick * tick_ns);
        !fixture.recording.is_paused()
    });
    assert!(resumed.is_some(), "nothing came, and it went on all the same");
    assert!(fixture.recording.finish(8 * SECOND_NS));
    assert_eq!(
        sums(&reports(&fixture.capture().segments[1])),
        (1, 0, 1),
        "the loss is told where it goes on"
    );
}

#[test]
fn each_block_is_synced_before_the_next_if_so_asked() {
    for (sync, synced) in [(SyncPolicy::Block, true), (SyncPolicy::Never, false)] {
        let mut fixture = Fixture::new(Limits { sync, ..limits() });
        for second in 1..5 {
            fixture.push(2, second * SECOND_NS);
            fixture.recording.tick(second * SECOND_NS);
            let writer = &fixture.recording.open.as_ref().unwrap().writer;
            assert_eq!(writer.synced_len() == writer.len(), synced, "{sync:?}");
        }
        assert!(fixture.recording.finish(6 * SECOND_NS));
    }
}

#[test]
fn only_the_first_segment_tells_what_was_there_before() {
    let predecessor = Some(Predecessor { name: b"before".to_vec(), ..Predecessor::default() });
    let file = FileInfo { predecessor: predecessor.clone(), ..FileInfo::default() };
    // The first attempt fails at the end of its FILE block, or with its first record: the next one is the first then.
    for at in [2, 3] {
        let fault = Fault { at, lasts: false, is_torn: true };
        let limits = Limits { segment_len: 1, ..limits() };
        let Ok(mut fixture) = Fixture::with(limits, file.clone(), Some(fault)) else { continue };
        for second in 1..4 {
            fixture.push(1, second * SECOND_NS);
            fixture.recording.apply(&mut Vec::new(), second * SECOND_NS);
            if fixture.recording.rotation_pending(second * SECOND_NS) {
                fixture.recording.rotate_if_ready(second * SECOND_NS);
            }
        }
        fixture.recording.finish(5 * SECOND_NS);
        let capture = check_books(&fixture, "with a predecessor");
        let told: Vec<_> =
            capture.segments.iter().map(|segment| segment.file_info().predecessor.clone()).collect();
        assert!(
            told.len() > 1 && told[0] == predecessor && told[1..].iter().all(Option::is_none),
            "{told:?}"
        );
    }
}

#[test]
fn steps_of_the_governor_are_written_once_and_known_to_each_segment() {
    let step = |time_ns| Event {
        time_ns,
        event: Some(event::Event::Governor(GovernorStep::default())),
        ..Event::default()
    };
    let mut fixture = Fixture::new(Limits { segment_len: 1, ..limits() });
    fixture.recording.note_step(step(1), true, SECOND_NS);
    fixture.disk.free.store(0, Ordering::Relaxed);
    fixture.push(1, SECOND_NS);
    fixture.recording.note_step(step(2), true, SECOND_NS);
    fixture.disk.free.store(1 << 20, Ordering::Relaxed);
    for second in 2..5 {
        fixture.push(1, second * SECOND_NS);
        fixture.recording.apply(&mut Vec::new(), second * SECOND_NS);
        assert!(fixture.recording.rotation_pending(second * SECOND_NS));
        assert!(fixture.recording.rotate_if_ready(second * SECOND_NS));
    }
    fixture.recording.note_step(step(3), false, 5 * SECOND_NS);
    fixture.push(1, 5 * SECOND_NS);
    fixture.recording.apply(&mut Vec::new(), 5 * SECOND_NS);
    assert!(
        fixture.recording.rotation_pending(5 * SECOND_NS) && fixture.recording.rotate_if_ready(5 * SECOND_NS)
    );
    assert!(fixture.recording.finish(6 * SECOND_NS));
    let capture = check_books(&fixture, "with steps");
    let steps = |segment: &kcap_format::Segment| {
        let events = segment.all_events().unwrap();
        events.iter().map(|event| (event.time_ns, event.snapshot)).collect::<Vec<_>>()
    };
    let told: Vec<_> = capture.segments.iter().map(steps).collect();
    let in_force = || vec![(2, true)];
    assert_eq!(
        told,
        [vec![(1, false)], vec![(2, false)], in_force(), in_force(), vec![(2, true), (3, false)], vec![]]
    );
}

#[test]
fn a_segment_waits_for_the_events_of_its_packets_but_not_for_ever() {
    let mut fixture = Fixture::new(Limits { segment_len: 1, ..limits() });
    fixture.push(1, 5 * SECOND_NS);
    assert!(fixture.recording.rotation_pending(5 * SECOND_NS));
    fixture.recording.apply(&mut Vec::new(), 5 * SECOND_NS - 1);
    assert!(!fixture.recording.rotate_if_ready(5 * SECOND_NS + 1));
    fixture.recording.apply(&mut Vec::new(), 5 * SECOND_NS);
    assert!(fixture.recording.rotate_if_ready(5 * SECOND_NS + 2));
    fixture.push(1, 7 * SECOND_NS);
    assert!(fixture.recording.rotation_pending(7 * SECOND_NS));
    assert!(!fixture.recording.rotate_if_ready(7 * SECOND_NS + 1));
    assert!(fixture.recording.rotate_if_ready(7 * SECOND_NS + ROTATION_WAIT_NS));
}

#[test]
fn a_new_segment_begins_with_what_is_alive() {
    let mut fixture = Fixture::new(Limits { segment_len: 1, ..limits() });
    let id = Some(ProcessId { pid: 4, start_time_ns: 1, start_time_coarse: false });
    let exit = event::Event::Exit(ProcessExit { id, ..ProcessExit::default() });
    let mut events = vec![Event { time_ns: SECOND_NS, event: Some(exit), ..Event::default() }];
    fixture.recording.apply(&mut events, SECOND_NS);
    assert!(fixture.recording.rotation_pending(SECOND_NS));
    assert!(fixture.recording.rotate_if_ready(SECOND_NS));
    assert!(fixture.recording.finish(2 * SECOND_NS));
    let capture = fixture.capture();
    let snapshot = |index: usize| {
        let segment = &capture.segments[index];
        let blocks = segment.blocks().iter().filter(|block| block.block_type == BlockType::SNAPSHOT);
        blocks.flat_map(|block| segment.events(block).unwrap()).collect::<Vec<_>>()
    };
    assert!(snapshot(0).is_empty());
    assert_eq!(snapshot(1).len(), 1);
    assert!(snapshot(1)[0].snapshot);
}

#[test]
fn every_segment_is_encrypted_to_the_recipients() {
    let recipient = "age1mgs3k78ema2ud5hk3hc6nul8kt8dgst928rmw3qth2gevvmr4e6q0tfl3v".parse().unwrap();
    let identities = kcap_format::Identities::parse(
        "key.txt",
        "AGE-SECRET-KEY-185DFAKNF7A4CC2QKW38Y027QZQDV86VYF6LGM4AE6ADY2Y7LXZWS4RJ22P",
    )
    .unwrap();
    let mut fixture = Fixture::new(Limits { segment_len: 1, recipients: vec![recipient], ..limits() });
    let mut events = vec![Event { time_ns: SECOND_NS, ..Event::default() }];
    fixture.recording.apply(&mut events, SECOND_NS);
    fixture.push(3, SECOND_NS);
    assert!(fixture.recording.rotation_pending(SECOND_NS) && fixture.recording.rotate_if_ready(SECOND_NS));
    fixture.push(4, 2 * SECOND_NS);
    assert!(fixture.recording.finish(2 * SECOND_NS));

    let capture = fixture.capture();
    assert_eq!(capture.segments.len(), 2);
    for segment in &capture.segments {
        let block = segment.blocks_of(BlockType::PACKETS).next().unwrap();
        let error = segment.packets(block, PacketColumns::NONE).unwrap_err();
        assert!(matches!(error, kcap_format::Error::Encrypted { .. }), "{error}");
        assert!(!reports(segment).is_empty(), "losses are for everybody");
    }
    let options = kcap_format::ReadOptions::default().with_identities(identities);
    let capture = Capture::open_with(fixture.folder.path(), &options).unwrap();
    assert_eq!(capture.segments.iter().map(packets).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(fixture.recording.totals().lost_total(), 0);
}
