//! Segments on a disk that fills, breaks and recovers: nothing is written twice, and every record is booked
//! once.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use kcap_format::proto::{LossReport, ProcessExit, ProcessId, event};
use kcap_format::{Capture, FileStorage, PacketBatch, PacketColumns, PacketRow};

use super::*;

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
}

impl Disk {
    fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }
}

struct DiskFile {
    file: FileStorage,
    disk: Disk,
}

impl Storage for DiskFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.disk.broken.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let free = self.disk.free.load(Ordering::Relaxed);
        let fits = (free as usize).min(bytes.len());
        self.disk.free.fetch_sub(fits as u64, Ordering::Relaxed);
        self.file.append(&bytes[..fits])?;
        if fits < bytes.len() { Err(io::Error::from_raw_os_error(libc::ENOSPC)) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.disk.broken.load(Ordering::Relaxed) {
            Err(io::Error::from_raw_os_error(libc::EIO))
        } else {
            Ok(())
        }
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
        Ok(DiskFile { file: self.folder.create(realtime_ns)?, disk: self.disk.clone() })
    }

    fn sync_later(&self, _: &DiskFile) -> crate::syncer::Sync {
        let disk = self.disk.clone();
        Box::new(move || {
            let _open = disk.sync_gate.lock().unwrap();
            let broken = disk.broken.load(Ordering::Relaxed);
            if broken { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
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
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        disk.free.store(u64::from(u32::MAX), Ordering::Relaxed);
        let store =
            DiskStore { folder: crate::folder::Folder::open(folder.path()).unwrap(), disk: disk.clone() };
        let kernel_seen = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&kernel_seen);
        let read_counters: CounterReader = Box::new(move || {
            let seen = seen.load(Ordering::Relaxed);
            Ok(vec![(EGRESS, Counters { seen, stored: seen, ..Counters::default() })])
        });
        let recording = Recording::begin(store, limits, FileInfo::default(), 0, read_counters).unwrap();
        Self { folder, disk, kernel_seen, recording, encoder: BlockEncoder::new(), pushed: 0 }
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
    Limits { segment_len: 1 << 30, segment_time: hour, disk_len_max: None, sync_interval: hour }
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
    let mut fixture = Fixture::new(Limits { sync_interval: Duration::from_secs(1), ..limits() });
    fixture.push(10, SECOND_NS);
    fixture.disk.set_broken(true);
    fixture.recording.tick(2 * SECOND_NS);
    fixture.recording.settle();
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
    let mut fixture = Fixture::new(Limits { sync_interval: Duration::from_secs(1), ..limits() });
    let gate = Arc::clone(&fixture.disk.sync_gate);
    let waiting = gate.lock().unwrap();
    fixture.recording.tick(2 * SECOND_NS);
    fixture.disk.set_broken(true);
    fixture.recording.tick(3 * SECOND_NS);
    fixture.disk.set_broken(false);
    fixture.push(10, 5 * SECOND_NS);
    fixture.disk.set_broken(true);
    drop(waiting);
    fixture.recording.settle();
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
    fixture.recording.settle();
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
