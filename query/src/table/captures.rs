//! `captures`: a row for each recording.

use std::sync::Arc;

use arrow::datatypes::{Int64Type, UInt32Type, UInt64Type};
use kcap_format::{BlockType, proto};

use super::column::Column;
use super::facts::{Facts, RowSink};
use crate::error::Result;
use crate::source::{Library, uuid_text};

/// The table.
#[derive(Debug)]
pub(super) struct Captures;

/// One recording.
#[derive(Debug)]
pub(super) struct CaptureRow {
    capture_id: String,
    boot_id: String,
    machine_id: Option<String>,
    host: proto::Host,
    recorder: proto::Recorder,
    recorder_name: String,
    command_line: String,
    options: String,
    hooks: Vec<String>,
    first: Option<i64>,
    last: Option<i64>,
    segments: u64,
    packets: u64,
    events: u64,
    bytes: u64,
    clock_error: u64,
}

impl Facts for Captures {
    type Row = CaptureRow;
    const NAME: &'static str = "captures";
    const SUMMARY: &'static str = "A recording: where, when, by what, and how well its clock is known.";

    #[rustfmt::skip]
    fn columns() -> Vec<Column<[CaptureRow]>> {
        vec![
            Column::text("capture_id", "Id of the recording (UUID)", |rows: &[CaptureRow], row| Some(&rows[row].capture_id)).required(),
            Column::text("host", "Host name", |rows: &[CaptureRow], row| Some(&rows[row].host.hostname)).required(),
            Column::text("boot_id", "Boot of the host (UUID): the scope of pids and cookies", |rows: &[CaptureRow], row| Some(&rows[row].boot_id)).required(),
            Column::text("machine_id", "/etc/machine-id; null when the host has none", |rows: &[CaptureRow], row| rows[row].machine_id.as_deref()),
            Column::text("kernel_release", "Kernel release, as `uname -r`", |rows: &[CaptureRow], row| Some(&rows[row].host.kernel_release)).required(),
            Column::text("kernel_version", "Kernel version, as `uname -v`", |rows: &[CaptureRow], row| Some(&rows[row].host.kernel_version)).required(),
            Column::text("architecture", "Machine, as `uname -m`", |rows: &[CaptureRow], row| Some(&rows[row].host.architecture)).required(),
            Column::text("os", "Name of the distribution", |rows: &[CaptureRow], row| Some(&rows[row].host.os)).required(),
            Column::number::<UInt32Type>("cpu_count", "Processors of the host", |rows: &[CaptureRow], row| Some(rows[row].host.cpu_count)).required(),
            Column::text("recorder", "Name and version of the recorder", |rows: &[CaptureRow], row| Some(&rows[row].recorder_name)).required(),
            Column::text("command_line", "How the recorder was called", |rows: &[CaptureRow], row| Some(&rows[row].command_line)).required(),
            Column::text("options", "Options in force, as name=value with blanks between", |rows: &[CaptureRow], row| Some(&rows[row].options)).required(),
            Column::text_list("hooks", "What was attached, as program=hook", |rows: &[CaptureRow], row| Some(&rows[row].hooks[..])),
            Column::text_list("missing", "What the kernel did not offer", |rows: &[CaptureRow], row| Some(&rows[row].recorder.missing[..])),
            Column::timestamp("first_ts", "Time of the first packet or event", |rows: &[CaptureRow], row| rows[row].first),
            Column::timestamp("last_ts", "Time of the last packet or event", |rows: &[CaptureRow], row| rows[row].last),
            Column::number::<UInt64Type>("segments", "Segments that are there", |rows: &[CaptureRow], row| Some(rows[row].segments)).required(),
            Column::number::<UInt64Type>("packets", "Packet records, both copies of local packets counted", |rows: &[CaptureRow], row| Some(rows[row].packets)).required(),
            Column::number::<UInt64Type>("events", "Event records", |rows: &[CaptureRow], row| Some(rows[row].events)).required(),
            Column::number::<UInt64Type>("bytes", "Bytes of all segments on disk", |rows: &[CaptureRow], row| Some(rows[row].bytes)).required(),
            Column::number::<Int64Type>("clock_error_ns", "Bound on the error of `ts` against the host's wall clock, in nanoseconds", |rows: &[CaptureRow], row| i64::try_from(rows[row].clock_error).ok()),
        ]
    }

    fn rows(library: &Arc<Library>, sink: &mut RowSink<CaptureRow>) -> Result<()> {
        for recording in &library.recordings {
            let Some(file) = recording.file_info() else { continue };
            let host = file.host.clone().unwrap_or_default();
            let recorder = file.recorder.clone().unwrap_or_default();
            let mut row = CaptureRow {
                capture_id: uuid_text(&file.capture_id),
                boot_id: uuid_text(&host.boot_id),
                machine_id: (!host.machine_id.is_empty())
                    .then(|| host.machine_id.iter().map(|byte| format!("{byte:02x}")).collect()),
                recorder_name: format!("{} {}", recorder.name, recorder.version).trim().to_owned(),
                command_line: recorder.command_line.join(" "),
                options: pairs(&recorder.options).join(" "),
                hooks: pairs(&recorder.hooks),
                host,
                recorder,
                first: None,
                last: None,
                segments: 0,
                packets: 0,
                events: 0,
                bytes: 0,
                clock_error: 0,
            };
            for handle in &recording.segments {
                let clock = handle.clock()?;
                row.segments += 1;
                row.bytes += handle.disk_len();
                row.clock_error = row.clock_error.max(clock.error_ns());
                for block in handle.all_blocks()? {
                    match block.block_type {
                        BlockType::PACKETS => row.packets += u64::from(block.record_count),
                        BlockType::EVENTS => row.events += u64::from(block.record_count),
                        _ => continue,
                    }
                    let (first, last) = clock.range(block.first_time_ns, block.last_time_ns);
                    row.first = Some(row.first.map_or(first, |known| known.min(first)));
                    row.last = Some(row.last.map_or(last, |known| known.max(last)));
                }
            }
            sink.push(row)?;
        }
        Ok(())
    }
}

fn pairs(map: &std::collections::BTreeMap<String, String>) -> Vec<String> {
    map.iter().map(|(name, value)| format!("{name}={value}")).collect()
}
