//! What `kcap info` tells of a recording, as data.

use std::collections::BTreeMap;

use kcap_format::{BlockType, proto};
use serde_json::{Value, json};

use crate::error::Result;
use crate::source::{Recording, SegmentHandle, uuid_text};
use crate::table::segments::{STATES, state_index};

/// A recording.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) capture_id: String,
    pub(super) host: proto::Host,
    pub(super) recorder: proto::Recorder,
    /// Whether the packets come from a capture file of another program.
    pub(super) is_import: bool,
    pub(super) segments: Vec<SegmentSummary>,
    /// First and last record in nanoseconds since 1970.
    pub(super) times: Option<(i64, i64)>,
    pub(super) clock_error_ns: u64,
    /// The account of each kernel program.
    pub(super) programs: BTreeMap<String, Account>,
    /// What each program on each processor had seen when it was last asked, but not decided yet.
    in_flight: BTreeMap<(i32, u32), (u64, u64)>,
}

/// A segment.
#[derive(Debug)]
pub(super) struct SegmentSummary {
    pub(super) path: String,
    pub(super) sequence: u64,
    pub(super) state: &'static str,
    /// Where it is cut or damaged, and how.
    pub(super) damage: Option<String>,
    pub(super) bytes: u64,
    pub(super) raw_bytes: u64,
    pub(super) packets: u64,
    pub(super) events: u64,
    /// Records that the segment's loss reports tell of.
    pub(super) accounted: u64,
    /// Blocks that were found damaged while this was read.
    pub(super) damaged_blocks: u64,
}

/// What became of a program's events.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) seen: u64,
    pub(super) filtered: u64,
    pub(super) stored: u64,
    /// Counts by cause.
    pub(super) lost: BTreeMap<String, u64>,
}

impl Account {
    pub(super) fn lost_in_all(&self) -> u64 {
        self.lost.values().copied().fold(0, u64::saturating_add)
    }
}

impl Summary {
    /// Reads what is to be told.
    pub(super) fn of(recording: &Recording) -> Result<Self> {
        let file = recording.file_info().cloned().unwrap_or_default();
        let is_import = file.origin() == proto::file_info::Origin::Import;
        let mut summary = Self {
            is_import,
            capture_id: uuid_text(&file.capture_id),
            host: file.host.unwrap_or_default(),
            recorder: file.recorder.unwrap_or_default(),
            segments: Vec::new(),
            times: None,
            clock_error_ns: 0,
            programs: BTreeMap::new(),
            in_flight: BTreeMap::new(),
        };
        for handle in &recording.segments {
            summary.add(handle)?;
        }
        Ok(summary)
    }

    fn add(&mut self, handle: &SegmentHandle) -> Result<()> {
        let clock = handle.clock()?;
        self.clock_error_ns = self.clock_error_ns.max(clock.error_ns());
        let blocks = handle.all_blocks()?;
        let of_type = |block_type| blocks.iter().filter(move |block| block.block_type == block_type);
        let count = |block_type| of_type(block_type).map(|block| u64::from(block.record_count)).sum();
        for block in of_type(BlockType::PACKETS).chain(of_type(BlockType::EVENTS)) {
            let (first, last) = clock.range(block.first_time_ns, block.last_time_ns);
            let known = self.times.unwrap_or((first, last));
            self.times = Some((known.0.min(first), known.1.max(last)));
        }
        let mut accounted = 0;
        for block in of_type(BlockType::LOSS) {
            for report in handle.block_losses(block)? {
                let account =
                    self.programs.entry(report.program().as_str_name().to_ascii_lowercase()).or_default();
                add(&mut account.seen, report.seen);
                add(&mut account.filtered, report.filtered);
                add(&mut account.stored, report.stored);
                add(&mut accounted, report.stored);
                let last = self.in_flight.entry((report.program, report.cpu)).or_default();
                *last = (*last).max((report.end_ns, report.in_flight));
                for lost in report.lost.iter().filter(|lost| lost.count > 0) {
                    let cause = lost.cause().as_str_name().to_ascii_lowercase();
                    add(account.lost.entry(cause).or_default(), lost.count);
                }
            }
        }
        self.segments.push(SegmentSummary {
            path: handle.path().display().to_string(),
            sequence: handle.file_info().segment_sequence,
            state: STATES[state_index(&handle.state())],
            damage: handle.damage_text(),
            bytes: handle.disk_len(),
            raw_bytes: blocks.iter().map(|block| u64::from(block.raw_len)).sum(),
            packets: count(BlockType::PACKETS),
            events: count(BlockType::EVENTS),
            accounted,
            damaged_blocks: handle.damaged_blocks(),
        });
        Ok(())
    }

    pub(super) fn total(&self, of: impl Fn(&SegmentSummary) -> u64) -> u64 {
        self.segments.iter().map(of).fold(0, u64::saturating_add)
    }

    /// Records that are there, but that no loss report tells of.
    pub(super) fn unaccounted(&self) -> u64 {
        self.total(|segment| (segment.packets + segment.events).saturating_sub(segment.accounted))
    }

    /// Events whose fate was not known at the last account.
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.values().map(|(_, in_flight)| *in_flight).fold(0, u64::saturating_add)
    }

    /// True when every segment ended orderly.
    pub(super) fn is_sealed(&self) -> bool {
        self.segments.iter().all(|segment| segment.state == SEALED)
    }

    /// The recording as JSON. Times are nanoseconds since 1970, as text: JSON numbers lose digits.
    pub(super) fn json(&self) -> Value {
        let segment = |segment: &SegmentSummary| {
            json!({
                "path": segment.path, "segment": segment.sequence, "state": segment.state, "damage": segment.damage,
                "bytes": segment.bytes, "raw_bytes": segment.raw_bytes, "packets": segment.packets, "events": segment.events,
                "damaged_blocks": segment.damaged_blocks,
            })
        };
        let account = |(program, account): (&String, &Account)| {
            json!({
                "program": program, "seen": account.seen, "filtered": account.filtered, "stored": account.stored,
                "lost": account.lost_in_all(), "lost_by_cause": account.lost,
            })
        };
        json!({
            "capture_id": self.capture_id,
            "host": {
                "name": self.host.hostname, "boot_id": uuid_text(&self.host.boot_id), "os": self.host.os,
                "kernel_release": self.host.kernel_release, "kernel_version": self.host.kernel_version,
                "architecture": self.host.architecture, "cpu_count": self.host.cpu_count,
            },
            "recorder": {
                "name": self.recorder.name, "version": self.recorder.version, "command_line": self.recorder.command_line,
                "options": self.recorder.options, "hooks": self.recorder.hooks, "missing": self.recorder.missing,
            },
            "first_ns": self.times.map(|(first, _)| first.to_string()),
            "last_ns": self.times.map(|(_, last)| last.to_string()),
            "clock_error_ns": self.clock_error_ns,
            "packets": self.total(|segment| segment.packets),
            "events": self.total(|segment| segment.events),
            "bytes": self.total(|segment| segment.bytes),
            "segments": self.segments.iter().map(segment).collect::<Vec<_>>(),
            "records_without_account": self.unaccounted(),
            "in_flight": self.in_flight(),
            "losses": self.programs.iter().map(account).collect::<Vec<_>>(),
        })
    }
}

/// The state of a segment that ended orderly, as [`STATES`] names it.
const SEALED: &str = "sealed";

/// Adds to a count. What a file says may be anything, and its report goes on to the end.
fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more);
}
