//! What was measured, as a table and as JSON.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use kcap_format::PacketBatch;
use serde_json::{Value, json};

use crate::capture::Capture;

/// One run.
pub(crate) struct Row {
    what: &'static str,
    /// What is read; `None` for a write.
    read: Option<&'static str>,
    time: Duration,
    /// Bytes of the file that was written.
    len: Option<u64>,
}

impl Row {
    pub(crate) fn write(what: &'static str, time: Duration, len: u64) -> Self {
        Self { what, read: None, time, len: Some(len) }
    }

    pub(crate) fn read(what: &'static str, read: &'static str, time: Duration) -> Self {
        Self { what, read: Some(read), time, len: None }
    }
}

/// All runs.
pub(crate) struct Report {
    source: String,
    bytes: usize,
    packets: usize,
    blocks: usize,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(capture: &Capture, batches: &[PacketBatch]) -> Self {
        Self {
            source: capture.name.clone(),
            bytes: capture.bytes.len(),
            packets: batches.iter().map(|batch| batch.len).sum(),
            blocks: batches.len(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn measured_on(&self) -> String {
        let (packets, blocks) = (self.packets, self.blocks);
        format!("{}: {packets} packets, {:.1} MB, in {blocks} blocks", self.source, self.bytes as f64 / 1e6)
    }

    fn rate(&self, row: &Row) -> f64 {
        self.bytes as f64 / 1e6 / row.time.as_secs_f64()
    }

    /// How many times as fast one kind of reading is than reading everything, of a segment of this level.
    fn speedup(&self, what: &str, read: &str) -> Option<f64> {
        let find = |read| self.rows.iter().find(|row| row.what == what && row.read == Some(read));
        Some(find("everything")?.time.as_secs_f64() / find(read)?.time.as_secs_f64())
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{:<12} {:>10} {:>10} {:>8}\n", "write", "MB/s", "MB", "ratio");
        for row in &self.rows {
            if let Some(len) = row.len {
                let ratio = self.bytes as f64 / len as f64;
                let (rate, len) = (self.rate(row), len as f64 / 1e6);
                let _ = writeln!(text, "{:<12} {rate:>10.0} {len:>10.2} {ratio:>8.2}", row.what);
            }
        }
        let _ = writeln!(text, "{:<12} {:<11} {:>10}", "read", "", "MB/s");
        for row in &self.rows {
            if let Some(read) = row.read {
                let _ = writeln!(text, "{:<12} {read:<11} {:>10.0}", row.what, self.rate(row));
            }
        }
        for what in ["kcap stored", "kcap 1", "kcap 3"] {
            if let (Some(metadata), Some(headers)) =
                (self.speedup(what, "metadata"), self.speedup(what, "headers"))
            {
                let _ = writeln!(
                    text,
                    "{what}: metadata is read {metadata:.0} times as fast as everything, headers {headers:.1} times"
                );
            }
        }
        text
    }

    /// Writes the JSON beside what was built, and returns where.
    pub(crate) fn write(&self) -> Result<PathBuf> {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
        let folder = target.join("bench");
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let path = folder.join("format.json");
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "what": row.what,
                    "read": row.read,
                    "seconds": row.time.as_secs_f64(),
                    "mb_per_second": self.rate(row),
                    "bytes": row.len,
                })
            })
            .collect();
        let document =
            json!({ "source": self.source, "bytes": self.bytes, "packets": self.packets, "rows": rows });
        std::fs::write(&path, serde_json::to_string_pretty(&document)?)
            .with_context(|| path.display().to_string())?;
        Ok(path)
    }
}
