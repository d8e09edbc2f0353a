//! The segments of a recording: begun, written, rotated, sealed, and given up when a write fails.

mod disk;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use kcap_format::limits::{DICTIONARY_COUNT_MAX, SEGMENT_BLOCK_COUNT_MAX};
use kcap_format::proto::{Event, FileInfo, LossCause, LossReport, Predecessor, event};
use kcap_format::{
    BlockEncoder, BlockType, Effort, EncodedBlock, Recipient, SegmentWriter, Storage, split_events,
};
use kcap_recorder_ebpf::Counters;
use tracing::{debug, info, warn};

use crate::account::{self, Account, Source, Tally, Totals};
use crate::clock;
use crate::enrich::{Enumerated, State};
use crate::folder::Store;
use crate::pipeline::TalliedBlock;
use crate::syncer::{Order, Syncer};

/// How long to wait after a segment could not be begun before trying again: recording goes on within a second of
/// space returning.
const RETRY_NS: u64 = 200_000_000;
/// Longest wait for the events that belong to the packets of a segment that is due to end.
const ROTATION_WAIT_NS: u64 = 1_000_000_000;
/// A segment ends when there is room left for only this many blocks: snapshot, losses, clock and the held
/// back.
const BLOCKS_SPARE: usize = 4096;
/// The same of dictionaries. Blocks on their way name few.
const DICTIONARIES_SPARE: usize = 8;
/// Most bytes of a SEAL block, without and for each block of its segment.
const SEAL_LEN_BASE: u64 = 1024;
const SEAL_LEN_PER_BLOCK: u64 = 64;
/// Snapshots are written while packets wait.
const SNAPSHOT_EFFORT: Effort = Effort::Zstd { level: 1 };
/// Notes that wait for a segment; beyond that the oldest are forgotten.
const NOTES_WAITING_MAX: usize = 1 << 14;
/// Notes that are written together, at the latest each second.
const NOTES_PER_BLOCK: usize = 1024;

/// Reads the kernel's counters.
pub(crate) type CounterReader = Box<dyn FnMut() -> Result<Vec<(Source, Counters)>> + Send>;

/// When segments end, how much of them may lie on disk, and who may read them.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) segment_len: u64,
    pub(crate) segment_time: Duration,
    /// Bytes of all segments together; the oldest make room.
    pub(crate) disk_len_max: Option<u64>,
    pub(crate) sync: SyncPolicy,
    /// Whom they are encrypted to; nobody for not at all.
    pub(crate) recipients: Vec<Recipient>,
}

/// When what was written is made to survive a crash of the host (fdatasync(2)). What was written survives the end of the
/// recorder, kill -9 included, without that. A segment that ends is always synced before it is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncPolicy {
    /// Not while a segment is open.
    Never,
    /// Each block, before the next one is written.
    Block,
    /// All that was written, so often.
    Interval(Duration),
}

/// What was written so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    pub(crate) segments: u64,
    pub(crate) segments_broken: u64,
    /// On disk, in all segments.
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    pub(crate) events: u64,
    /// Of packets and events, before compression.
    pub(crate) raw_bytes: u64,
}

/// The recording, with one open segment unless the disk refuses.
pub(crate) struct Recording<S: Store> {
    store: S,
    limits: Limits,
    file: FileInfo,
    /// For the recording's first segment.
    predecessor: Option<Predecessor>,
    open: Option<Open<S::Storage>>,
    /// Without an open segment: when to try again, and why there is none.
    retry_at_ns: u64,
    broken_by: LossCause,
    /// It was said that recording pauses.
    pause_told: bool,
    events_through_ns: u64,
    encoder: BlockEncoder,
    account: Account,
    state: State,
    read_counters: CounterReader,
    syncer: Syncer<S::Storage>,
    is_syncing: bool,
    /// Bytes that segments will have that ended but have no SEAL yet.
    sealing_len: u64,
    seal_failed: bool,
    /// Steps of the governor, and what else user space found out, that are not yet in a segment.
    notes_waiting: VecDeque<Event>,
    /// The last step, for the snapshots of segments that begin while it is in force.
    step_in_force: Option<Event>,
    written: Written,
}

struct Open<T: Storage> {
    writer: SegmentWriter<T>,
    begun_ns: u64,
    synced_ns: u64,
    last_packet_ns: u64,
    /// Packets, events and steps of the governor in it.
    records: u64,
    /// Reports that lie in it while it has no record: it may yet be discarded.
    reports: Vec<LossReport>,
    rotation_due_ns: Option<u64>,
    /// The digest that its FILE block repeats, for the next one if this is discarded.
    previous_digest: Vec<u8>,
}

impl<S: Store> Recording<S> {
    /// Begins a recording with its first segment. `file` is what all FILE blocks have in common; the books
    /// begin at `begin_ns`, when the programs were attached.
    pub(crate) fn begin(
        store: S,
        limits: Limits,
        mut file: FileInfo,
        begin_ns: u64,
        read_counters: CounterReader,
    ) -> Result<Self> {
        let mut recording = Self {
            store,
            limits,
            predecessor: file.predecessor.take(),
            file,
            open: None,
            retry_at_ns: 0,
            broken_by: LossCause::WriteFailed,
            pause_told: false,
            events_through_ns: 0,
            encoder: BlockEncoder::new(),
            account: Account::new(begin_ns),
            state: State::default(),
            read_counters,
            syncer: Syncer::start()?,
            is_syncing: false,
            sealing_len: 0,
            seal_failed: false,
            notes_waiting: VecDeque::new(),
            step_in_force: None,
            written: Written::default(),
        };
        recording.open_segment(begin_ns)?;
        Ok(recording)
    }

    /// Writes a block of packets or events, or books its records as lost.
    pub(crate) fn write(&mut self, tallied: &TalliedBlock, now_ns: u64) {
        let block = &tallied.block;
        self.resume_if_due(now_ns);
        if self.open.is_none() {
            return self.account.lost(&tallied.tally, self.broken_by);
        }
        if !self.make_room(block.payload.len() as u64, now_ns) {
            return self.account.lost(&tallied.tally, LossCause::DiskFull);
        }
        if let Err(error) = self.append(block, now_ns) {
            return self.account.lost(&tallied.tally, cause_of(&error));
        }
        self.account.stored(&tallied.tally);
        self.count(block, &tallied.tally);
        self.sync_block(now_ns);
    }

    /// Books records that turned out not to be wanted.
    pub(crate) fn filter(&mut self, tally: &Tally) {
        self.account.filtered(tally);
    }

    /// Books records that never became part of a block.
    pub(crate) fn lose(&mut self, tally: &Tally, cause: LossCause) {
        self.account.lost(tally, cause);
    }

    /// Keeps up with events that were written (or lost: they happened all the same).
    pub(crate) fn apply(&mut self, events: &mut Vec<Event>, through_ns: u64) {
        for event in events.drain(..) {
            self.state.apply(event);
        }
        self.events_through_ns = self.events_through_ns.max(through_ns);
    }

    /// Writes what is older than the recorder into the open segment; later ones have it in their snapshots.
    pub(crate) fn add_enumerated(&mut self, found: Enumerated, now_ns: u64) {
        if self.write_snapshot(&found.events, found.processes_left_out, now_ns).is_err() {
            debug!("the enumeration goes into the next segment");
        }
        self.state.add_enumerated(found.events);
    }

    /// Writes that the governor took a step, when there is a segment to write to. `in_force` is false when it is back
    /// at what was asked for.
    pub(crate) fn note_step(&mut self, step: Event, in_force: bool, now_ns: u64) {
        self.step_in_force = in_force.then(|| step.clone());
        self.keep_note(step);
        self.write_notes(now_ns);
    }

    /// Takes note of what is attached from now on, and what is missing beside what already was, for the segments that begin
    /// later.
    pub(crate) fn note_attached(&mut self, hooks: BTreeMap<String, String>, missing: Vec<String>) {
        if let Some(recorder) = &mut self.file.recorder {
            recorder.hooks = hooks;
            recorder.missing.extend(missing);
        }
    }

    /// Takes note of what user space found out. It is written within a second.
    pub(crate) fn note_told(&mut self, event: Event) {
        self.state.apply(event.clone());
        self.keep_note(event);
        if self.notes_waiting.len() >= NOTES_PER_BLOCK && self.open.is_some() {
            self.write_notes(clock::boot_ns());
        }
    }

    fn keep_note(&mut self, event: Event) {
        if self.notes_waiting.len() >= NOTES_WAITING_MAX {
            self.notes_waiting.pop_front();
        }
        self.notes_waiting.push_back(event);
    }

    /// True while there is no segment to write to.
    pub(crate) fn is_paused(&self) -> bool {
        self.open.is_none()
    }

    /// Begins a segment if there is none, and it is time to try again.
    pub(crate) fn resume_if_due(&mut self, now_ns: u64) {
        if self.open.is_some() || now_ns < self.retry_at_ns {
            return;
        }
        if self.open_segment(now_ns).is_ok() && self.open.is_some() {
            self.read_counters();
            let _ = self.report(now_ns, Account::report_changes);
        }
    }

    /// What is done each second: counters, clock, losses, and a sync if it is time for one.
    pub(crate) fn tick(&mut self, now_ns: u64) {
        self.hear_syncer(now_ns);
        self.resume_if_due(now_ns);
        self.read_counters();
        self.write_notes(now_ns);
        self.state.expire(now_ns);
        // A segment that never gets its end tells what became of all events but those of its last second.
        if self.write_clock(now_ns).is_ok() {
            // A failure has ended the segment, and says so itself.
            let _ = self.report(now_ns, Account::report_changes);
        }
        self.sync_if_due(now_ns);
    }

    /// True when the open segment takes no more packets, and waits for the events that belong to those it
    /// has.
    pub(crate) fn rotation_pending(&mut self, now_ns: u64) -> bool {
        let limits = &self.limits;
        let Some(open) = &mut self.open else { return false };
        let due = open.writer.len() >= limits.segment_len
            || u128::from(now_ns.saturating_sub(open.begun_ns)) >= limits.segment_time.as_nanos()
            || open.writer.blocks().len() + BLOCKS_SPARE >= SEGMENT_BLOCK_COUNT_MAX as usize
            || open.writer.dictionary_count() + DICTIONARIES_SPARE >= DICTIONARY_COUNT_MAX;
        if due && open.rotation_due_ns.is_none() {
            open.rotation_due_ns = Some(now_ns);
        }
        open.rotation_due_ns.is_some()
    }

    /// Ends the segment and begins the next, once its events have come; true when it did.
    pub(crate) fn rotate_if_ready(&mut self, now_ns: u64) -> bool {
        let Some(Open { rotation_due_ns: Some(due_ns), last_packet_ns, .. }) = &self.open else {
            return false;
        };
        let waited_ns = now_ns.saturating_sub(*due_ns);
        if self.events_through_ns < *last_packet_ns && waited_ns < ROTATION_WAIT_NS {
            return false;
        }
        self.end_segment(now_ns);
        // A failure is told there, and tried again.
        let _ = self.open_segment(now_ns);
        true
    }

    /// Ends the recording: last counters, last segment. True when all that ended orderly could be sealed.
    pub(crate) fn finish(&mut self, now_ns: u64) -> bool {
        self.retry_at_ns = self.retry_at_ns.min(now_ns);
        self.resume_if_due(now_ns);
        let ended = self.open.is_some() && self.end_segment(now_ns);
        self.settle(now_ns);
        ended && !self.seal_failed
    }

    /// What was written so far.
    pub(crate) fn written(&self) -> Written {
        let open_len = self.open.as_ref().map_or(0, |open| open.writer.len());
        Written { bytes: self.written.bytes + open_len, ..self.written.clone() }
    }

    /// Sums of the books.
    pub(crate) fn totals(&self) -> &Totals {
        self.account.totals()
    }

    fn count(&mut self, block: &EncodedBlock, tally: &Tally) {
        let records = tally.total();
        self.written.raw_bytes += u64::from(block.raw_len);
        if let Some(open) = &mut self.open {
            if std::mem::take(&mut self.pause_told) {
                warn!(path = %open.writer.storage().path().display(), "recording goes on in a new segment");
            }
            open.records += records;
            open.reports.clear();
            if block.block_type == BlockType::PACKETS {
                open.last_packet_ns = open.last_packet_ns.max(block.last_time_ns);
            }
        }
        match block.block_type {
            BlockType::PACKETS => self.written.packets += records,
            _ => self.written.events += records,
        }
    }

    fn read_counters(&mut self) {
        match (self.read_counters)() {
            Ok(counters) => self.account.read_kernel(counters),
            Err(error) => warn!(error = %format!("{error:#}"), "the kernel's counters could not be read"),
        }
    }

    fn open_segment(&mut self, now_ns: u64) -> kcap_format::Result<()> {
        self.retry_at_ns = now_ns + RETRY_NS;
        let begun = self.create_segment();
        let writer = begun.inspect_err(|error| self.pause(error))?;
        info!(path = %writer.storage().path().display(), "segment begun");
        self.written.segments += 1;
        self.open = Some(Open {
            writer,
            begun_ns: now_ns,
            synced_ns: now_ns,
            last_packet_ns: 0,
            records: 0,
            reports: Vec::new(),
            rotation_due_ns: None,
            previous_digest: std::mem::take(&mut self.file.previous_digest),
        });
        let mut snapshot = self.state.snapshot();
        // Those that wait are told right after it.
        let is_step = |event: &Event| matches!(event.event, Some(event::Event::Governor(_)));
        let waits = self.notes_waiting.iter().any(is_step);
        let step = self.step_in_force.as_ref().filter(|_| !waits);
        snapshot.extend(step.map(|step| Event { snapshot: true, ..step.clone() }));
        self.write_snapshot(&snapshot, self.state.processes_left_out(), now_ns)?;
        self.write_notes(now_ns);
        Ok(())
    }

    /// Makes the next file, with its FILE block.
    fn create_segment(&mut self) -> kcap_format::Result<SegmentWriter<S::Storage>> {
        let clock = clock::sample();
        let storage = self.store.create(clock.realtime_ns)?;
        let path = storage.path().to_owned();
        self.file.segment_sequence += 1;
        self.file.predecessor = self.predecessor.clone().filter(|_| self.file.segment_sequence == 1);
        self.file.clock = Some(clock);
        SegmentWriter::create_encrypted(storage, &self.file, &self.limits.recipients).inspect_err(|_| {
            self.file.segment_sequence -= 1;
            self.store.discard(&path);
        })
    }

    /// Takes note that there is no segment to write to.
    fn pause(&mut self, error: &kcap_format::Error) {
        self.broken_by = cause_of(error);
        if !std::mem::replace(&mut self.pause_told, true) {
            warn!(%error, "recording pauses, and goes on when a segment can be begun; losses are counted");
        }
    }

    /// Writes the last reports, and has the segment sealed; false when the reports could not be written.
    fn end_segment(&mut self, now_ns: u64) -> bool {
        self.write_notes(now_ns);
        self.read_counters();
        if self.write_clock(now_ns).and_then(|()| self.report(now_ns, Account::report_all)).is_err() {
            return false;
        }
        let Some(open) = self.open.take() else { return false };
        let (path, len) = place(&open);
        self.file.previous_digest = open.writer.digest().to_vec();
        let reserved_len = len + SEAL_LEN_BASE + SEAL_LEN_PER_BLOCK * open.writer.blocks().len() as u64;
        self.sealing_len += reserved_len;
        self.written.bytes += len;
        self.syncer.order(Order::Seal { path, reserved_len, writer: Box::new(open.writer) });
        true
    }

    fn append(&mut self, block: &EncodedBlock, now_ns: u64) -> kcap_format::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        match open.writer.append(block) {
            Ok(_) => Ok(()),
            // The writer refused before it wrote, and can go on.
            Err(error @ kcap_format::Error::Limit { .. }) => {
                warn!(%error, "a block was given up");
                Err(error)
            }
            Err(error) => {
                self.give_up_segment(&error, now_ns);
                Err(error)
            }
        }
    }

    fn give_up_segment(&mut self, error: &kcap_format::Error, now_ns: u64) {
        let Some(open) = self.open.take() else { return };
        if open.records > 0 {
            warn!(%error, "writing failed: the segment ends here, and another is tried");
            self.broken_by = cause_of(error);
        } else {
            self.pause(error);
        }
        self.account.segment_broke();
        let (path, len) = place(&open);
        if open.records == 0 {
            // A full disk would otherwise collect such beginnings. Its reports go into the next one.
            self.account.unreport(&open.reports);
            self.written.segments -= 1;
            self.file.segment_sequence -= 1;
            self.file.previous_digest = open.previous_digest;
            self.store.discard(&path);
            self.retry_at_ns = now_ns + RETRY_NS;
        } else {
            self.written.segments_broken += 1;
            self.close(&path, len);
            self.retry_at_ns = now_ns;
        }
    }

    fn close(&mut self, path: &Path, len: u64) {
        self.written.bytes += len;
        self.store.close(path, len);
    }

    fn write_clock(&mut self, now_ns: u64) -> kcap_format::Result<()> {
        let block = self.encoder.clock(&[clock::sample()]);
        self.append(&block, now_ns)?;
        self.sync_block(now_ns);
        Ok(())
    }

    /// Writes what is alive, and how many living processes are not among it.
    fn write_snapshot(
        &mut self,
        events: &[Event],
        processes_left_out: u64,
        now_ns: u64,
    ) -> kcap_format::Result<()> {
        for part in split_events(events) {
            let block = self.encoder.snapshot(part, SNAPSHOT_EFFORT);
            self.append(&block, now_ns)?;
        }
        if processes_left_out > 0 {
            let block = self.encoder.losses(&[account::snapshot_report(processes_left_out, now_ns)]);
            self.append(&block, now_ns)?;
        }
        self.sync_block(now_ns);
        Ok(())
    }

    fn write_notes(&mut self, now_ns: u64) {
        if self.open.is_none() || self.notes_waiting.is_empty() {
            return;
        }
        let notes: Vec<Event> = self.notes_waiting.drain(..).collect();
        let mut written = 0;
        for part in split_events(&notes) {
            let block = self.encoder.events(part, SNAPSHOT_EFFORT);
            if self.append(&block, now_ns).is_err() {
                break;
            }
            written += part.len();
        }
        for note in notes.into_iter().skip(written).rev() {
            self.notes_waiting.push_front(note);
        }
        let Some(open) = self.open.as_mut().filter(|_| written > 0) else { return };
        open.records += written as u64;
        open.reports.clear();
        self.sync_block(now_ns);
    }

    fn report(
        &mut self,
        now_ns: u64,
        reports_of: fn(&mut Account, u64) -> Vec<LossReport>,
    ) -> kcap_format::Result<()> {
        if self.open.is_none() {
            return Ok(());
        }
        let reports = reports_of(&mut self.account, now_ns);
        if reports.is_empty() {
            return Ok(());
        }
        let block = self.encoder.losses(&reports);
        if let Err(error) = self.append(&block, now_ns) {
            self.account.unreport(&reports);
            return Err(error);
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.records == 0) {
            open.reports.extend(reports);
        }
        self.sync_block(now_ns);
        Ok(())
    }
}

fn place<T: Storage>(open: &Open<T>) -> (PathBuf, u64) {
    (open.writer.storage().path().to_owned(), open.writer.len())
}

/// Under which cause records are booked that an error kept from being written.
fn cause_of(error: &kcap_format::Error) -> LossCause {
    match error {
        kcap_format::Error::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
        {
            LossCause::DiskFull
        }
        _ => LossCause::WriteFailed,
    }
}

#[cfg(test)]
mod tests;
