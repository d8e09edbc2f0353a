//! `recorder_steps`: when and why the recorder kept less than it was asked to.

use std::sync::Arc;

use arrow::datatypes::{Int32Type, UInt8Type, UInt64Type};
use kcap_format::proto::{self, event::Event as Kind};

use super::column::Column;
use super::facts::{Facts, RowSink};
use crate::error::Result;
use crate::source::{Library, uuid_text};

/// The table.
#[derive(Debug)]
pub(super) struct RecorderSteps;

/// What can be captured of packets, in the order of `RecordingMode.Capture`, less the unspecified one.
const CAPTURES: [&str; 4] = ["full", "headers", "counts", "asleep"];
/// Why a step is taken, in the order of `GovernorStep.Reason`, less the unspecified one.
const REASONS: [&str; 6] =
    ["processors_busy", "disk_slow", "ring_filling", "calm", "nobody_wanted", "wanted"];

/// One step.
#[derive(Debug)]
pub(super) struct StepRow {
    time: i64,
    asked: Option<i64>,
    step: proto::GovernorStep,
    segment: u64,
    capture_id: String,
}

impl Facts for RecorderSteps {
    type Row = StepRow;
    const NAME: &'static str = "recorder_steps";
    const SUMMARY: &'static str = "A step by which the recorder changed how much it captured of packets, or how it \
        compressed, because of what waited, or of who is wanted. No rows: it kept up.";

    #[rustfmt::skip]
    fn columns() -> Vec<Column<[StepRow]>> {
        vec![
            Column::timestamp("ts", "When it was taken", |rows: &[StepRow], row| Some(rows[row].time)).required(),
            Column::enumeration("reason", &REASONS, "processors_busy (batches waited to be compressed), disk_slow (batches waited to be written), ring_filling (packets came faster than they were taken), calm (little waited for a while), nobody_wanted (no process that conditions ask for) or wanted (there may be one)", |rows: &[StepRow], row| place(rows[row].step.reason)),
            Column::enumeration("from_capture", &CAPTURES, "What was captured before: full (what the options ask), headers, counts (nothing; packets were counted as `lost_overload`) or asleep (nothing; nobody was wanted)", |rows: &[StepRow], row| place(rows[row].step.from?.capture)),
            Column::enumeration("to_capture", &CAPTURES, "What was captured from then on", |rows: &[StepRow], row| place(rows[row].step.to?.capture)),
            Column::number::<Int32Type>("from_compression_level", "Level of zstd before; 0 when blocks were stored uncompressed", |rows: &[StepRow], row| Some(rows[row].step.from?.compression_level)),
            Column::number::<Int32Type>("to_compression_level", "Level of zstd from then on", |rows: &[StepRow], row| Some(rows[row].step.to?.compression_level)),
            Column::number::<UInt8Type>("waiting_for_processor_percent", "Batches that waited to be compressed, of all that there are", |rows: &[StepRow], row| u8::try_from(rows[row].step.waiting_for_processor_percent).ok()),
            Column::number::<UInt8Type>("waiting_for_disk_percent", "Batches that waited to be written, of all that there are", |rows: &[StepRow], row| u8::try_from(rows[row].step.waiting_for_disk_percent).ok()),
            Column::number::<UInt8Type>("ring_filled_percent", "How full the ring of packets was", |rows: &[StepRow], row| u8::try_from(rows[row].step.ring_filled_percent).ok()),
            Column::timestamp("asked", "When it was asked for, where that took a while: packets of who was wanted then may be missing until `ts`, and those of sockets that somebody else made until their next use", |rows: &[StepRow], row| rows[row].asked),
            Column::number::<UInt64Type>("early_sockets", "How often processes that may be wanted made, bound or connected a socket in between", |rows: &[StepRow], row| rows[row].asked.map(|_| rows[row].step.early_sockets)),
            Column::number::<UInt64Type>("segment", "Sequence number of the segment that tells of it", |rows: &[StepRow], row| Some(rows[row].segment)).required(),
            Column::text("capture_id", "The recording", |rows: &[StepRow], row| Some(&rows[row].capture_id)).required(),
        ]
    }

    fn rows(library: &Arc<Library>, sink: &mut RowSink<StepRow>) -> Result<()> {
        for recording in &library.recordings {
            for (position, handle) in recording.segments.iter().enumerate() {
                let clock = handle.clock()?;
                for events in handle.events()? {
                    for event in events? {
                        let Some(Kind::Governor(step)) = event.event else { continue };
                        // A snapshot repeats the last one, except where the recording begins.
                        if event.snapshot && position > 0 {
                            continue;
                        }
                        let asked = Some(step.asked_ns).filter(|asked_ns| *asked_ns != 0);
                        sink.push(StepRow {
                            time: clock.realtime_ns(event.time_ns),
                            asked: asked.map(|asked_ns| clock.realtime_ns(asked_ns)),
                            step,
                            segment: handle.file_info().segment_sequence,
                            capture_id: uuid_text(&handle.file_info().capture_id),
                        })?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The place of a number in the names, which begin with that of 1.
fn place(number: i32) -> Option<usize> {
    usize::try_from(number).ok()?.checked_sub(1)
}
