//! Ratios, medians, a table, and the same as JSON.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::load::Load;
use crate::size::Size;
use crate::turns::{Comparison, Turns};
use crate::watcher::{Observed, Watcher};

/// One load with one watcher in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) round: u32,
    pub(crate) load: Load,
    pub(crate) watcher: Watcher,
    /// In [`Load::unit`].
    pub(crate) throughput: f64,
    pub(crate) observed: Observed,
}

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    rounds: u32,
    load_time: Duration,
    runs: Vec<Run>,
    turns: Vec<Turns>,
    sizes: Vec<Size>,
}

/// Medians over the rounds of one load with one watcher.
#[derive(Debug, Serialize)]
struct Row {
    load: &'static str,
    watcher: &'static str,
    throughput: f64,
    unit: &'static str,
    /// Throughput divided by the mean of those with nothing recording in the same round.
    kept: f64,
    recorded: f64,
    /// Lost packets of those seen.
    lost_ratio: f64,
    /// Packets of which less was kept than asked, of those recorded.
    cut_ratio: f64,
    cpu_seconds: f64,
    disk_bytes: f64,
    /// Bytes on disk divided by records; kcap has two for a packet over loopback.
    bytes_a_record: f64,
}

#[derive(Serialize)]
struct Document<'a> {
    rounds: u32,
    load_seconds: f64,
    rows: Vec<Row>,
    turns: Vec<Comparison>,
    sizes: &'a [Size],
}

impl Report {
    pub(crate) fn new(rounds: u32, load_time: Duration) -> Self {
        Self { rounds, load_time, runs: Vec::new(), turns: Vec::new(), sizes: Vec::new() }
    }

    pub(crate) fn add(&mut self, run: Run) {
        self.runs.push(run);
    }

    pub(crate) fn add_turns(&mut self, turns: Turns) {
        self.turns.push(turns);
    }

    pub(crate) fn add_size(&mut self, size: Size) {
        self.sizes.push(size);
    }

    pub(crate) fn json(&self) -> Result<String> {
        let load_seconds = self.load_time.as_secs_f64();
        let document = Document {
            rounds: self.rounds,
            load_seconds,
            rows: self.rows(),
            turns: self.turns.iter().flat_map(Turns::comparisons).collect(),
            sizes: &self.sizes,
        };
        Ok(serde_json::to_string_pretty(&document)?)
    }

    fn rows(&self) -> Vec<Row> {
        let pairs = Load::ALL.into_iter().flat_map(|load| Watcher::ALL.map(|watcher| (load, watcher)));
        pairs.map(|(load, watcher)| self.row(load, watcher)).collect()
    }

    fn row(&self, load: Load, watcher: Watcher) -> Row {
        let of =
            |watcher: Watcher| self.runs.iter().filter(move |run| run.load == load && run.watcher == watcher);
        let median_of = |value: &dyn Fn(&Run) -> f64| median(of(watcher).map(value).collect());
        let kept = |run: &Run| {
            let undisturbed = of(Watcher::Nothing).filter(|other| other.round == run.round);
            ratio(run.throughput, mean(undisturbed.map(|run| run.throughput)))
        };
        Row {
            load: load.name(),
            watcher: watcher.name(),
            throughput: median_of(&|run| run.throughput),
            unit: load.unit(),
            kept: median_of(&kept),
            recorded: median_of(&|run| run.observed.recorded as f64),
            lost_ratio: median_of(&|run| {
                ratio(run.observed.lost as f64, (run.observed.recorded + run.observed.lost) as f64)
            }),
            cut_ratio: median_of(&|run| ratio(run.observed.cut as f64, run.observed.recorded as f64)),
            cpu_seconds: median_of(&|run| run.observed.cpu_seconds),
            disk_bytes: median_of(&|run| run.observed.disk_bytes as f64),
            bytes_a_record: median_of(&|run| {
                ratio(run.observed.disk_bytes as f64, run.observed.recorded as f64)
            }),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rounds != 0 {
            self.write_rounds(f)?;
            self.write_sizes(f)?;
        }
        if !self.turns.is_empty() {
            writeln!(
                f,
                "\nTaking turns at one load, what was sent under kcap to what was sent under tcpdump:\n"
            )?;
        }
        self.turns.iter().try_for_each(|turns| write!(f, "{turns}"))
    }
}

impl Report {
    fn write_rounds(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Medians of {} rounds of {} s.", self.rounds, self.load_time.as_secs())?;
        writeln!(
            f,
            "kcap records packets over loopback twice, leaving and arriving, tcpdump once. Cut packets are kept without"
        )?;
        writeln!(
            f,
            "their payload, since the recorder could not keep up. Unwanted: with conditions that match nothing.\n"
        )?;
        writeln!(
            f,
            "{:22} {:17} {:>24} {:>6} {:>12} {:>6} {:>6} {:>6} {:>12} {:>9}",
            "load",
            "recording",
            "throughput",
            "kept",
            "recorded",
            "lost",
            "cut",
            "CPU s",
            "bytes",
            "a record"
        )?;
        for row in self.rows() {
            let throughput =
                format!("{:.*} {}", if row.throughput < 1e3 { 2 } else { 0 }, row.throughput, row.unit);
            write!(f, "{:22} {:17} {throughput:>24} {:>5.1}%", row.load, row.watcher, row.kept * 100.0)?;
            if row.watcher == Watcher::Nothing.name() {
                writeln!(f)?;
                continue;
            }
            writeln!(
                f,
                " {:>12.0} {:>5.1}% {:>5.1}% {:>6.2} {:>12.0} {:>9.1}",
                row.recorded,
                row.lost_ratio * 100.0,
                row.cut_ratio * 100.0,
                row.cpu_seconds,
                row.disk_bytes,
                row.bytes_a_record
            )?;
        }
        Ok(())
    }

    fn write_sizes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nBytes on disk, and those of the same packets (each once) as pcap | zstd -3; the ratio is of packets alone:\n"
        )?;
        writeln!(
            f,
            "{:22} {:17} {:>10} {:>13} {:>16} {:>15} {:>6}",
            "load", "recording", "records", "bytes", "of packets alone", "pcap | zstd -3", "ratio"
        )?;
        for size in &self.sizes {
            writeln!(
                f,
                "{:22} {:17} {:>10} {:>13} {:>16} {:>15} {:>6.2}",
                size.load,
                size.recording,
                size.kcap_records,
                size.kcap_bytes,
                size.kcap_packet_bytes,
                size.pcap_zstd_bytes,
                ratio(size.kcap_packet_bytes as f64, size.pcap_zstd_bytes as f64)
            )?;
        }
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    ratio(sum, f64::from(count))
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
