//! `segments`: a row for each segment file.

use std::sync::Arc;

use arrow::datatypes::{Float64Type, UInt64Type};
use kcap_format::{BlockType, SegmentState};

use super::column::Column;
use super::facts::{Facts, RowSink};
use crate::error::Result;
use crate::source::{Library, SegmentHandle, uuid_text};

/// The table.
#[derive(Debug)]
pub(super) struct Segments;

/// What a segment's state can be.
pub(crate) const STATES: [&str; 4] = ["sealed", "unsealed", "torn", "corrupt"];

/// The place of a segment's state in [`STATES`].
pub(crate) fn state_index(state: &SegmentState) -> usize {
    match state {
        SegmentState::Sealed => 0,
        SegmentState::Unsealed => 1,
        SegmentState::Torn { .. } => 2,
        _ => 3,
    }
}

/// One segment.
#[derive(Debug)]
pub(super) struct SegmentRow {
    path: String,
    capture_id: String,
    sequence: u64,
    state: usize,
    bytes: u64,
    raw_bytes: u64,
    blocks: u64,
    damaged_blocks: u64,
    packets: u64,
    events: u64,
    first: Option<i64>,
    last: Option<i64>,
}

impl Facts for Segments {
    type Row = SegmentRow;
    const NAME: &'static str = "segments";
    const SUMMARY: &'static str = "A segment file, or a capture file of another program.";

    #[rustfmt::skip]
    fn columns() -> Vec<Column<[SegmentRow]>> {
        vec![
            Column::text("path", "The file", |rows: &[SegmentRow], row| Some(&rows[row].path)).required(),
            Column::text("capture_id", "The recording it belongs to", |rows: &[SegmentRow], row| Some(&rows[row].capture_id)).required(),
            Column::number::<UInt64Type>("segment", "Sequence number in the recording, from 1", |rows: &[SegmentRow], row| Some(rows[row].sequence)).required(),
            Column::enumeration("state", &STATES, "sealed (complete; of a capture file of another program: it ends with a whole record), unsealed (being written, or the recorder was killed), torn (and a block that was not yet synced is not whole: mostly the last) or corrupt (a block is damaged that was synced)", |rows: &[SegmentRow], row| Some(rows[row].state)).required(),
            Column::number::<UInt64Type>("bytes", "Bytes on disk", |rows: &[SegmentRow], row| Some(rows[row].bytes)).required(),
            Column::number::<UInt64Type>("raw_bytes", "Bytes of all blocks before compression", |rows: &[SegmentRow], row| Some(rows[row].raw_bytes)).required(),
            Column::number::<Float64Type>("ratio", "raw_bytes / bytes", |rows: &[SegmentRow], row| (rows[row].bytes > 0).then(|| rows[row].raw_bytes as f64 / rows[row].bytes as f64)),
            Column::number::<UInt64Type>("blocks", "Blocks that were found", |rows: &[SegmentRow], row| Some(rows[row].blocks)).required(),
            Column::number::<UInt64Type>("damaged_blocks", "Blocks of them that were found damaged, and left out of answers, since the recording was opened: a block is checked when a query reads it", |rows: &[SegmentRow], row| Some(rows[row].damaged_blocks)).required(),
            Column::number::<UInt64Type>("packets", "Packet records, both copies of local packets counted", |rows: &[SegmentRow], row| Some(rows[row].packets)).required(),
            Column::number::<UInt64Type>("events", "Event records, without the snapshot", |rows: &[SegmentRow], row| Some(rows[row].events)).required(),
            Column::timestamp("first_ts", "Time of the first packet or event", |rows: &[SegmentRow], row| rows[row].first),
            Column::timestamp("last_ts", "Time of the last packet or event", |rows: &[SegmentRow], row| rows[row].last),
        ]
    }

    fn rows(library: &Arc<Library>, sink: &mut RowSink<SegmentRow>) -> Result<()> {
        library.segments().try_for_each(|handle| sink.push(row_of(handle)?))
    }
}

fn row_of(handle: &SegmentHandle) -> Result<SegmentRow> {
    let clock = handle.clock()?;
    let file = handle.file_info();
    let blocks = handle.all_blocks()?;
    let of_type = |block_type| blocks.iter().filter(move |block| block.block_type == block_type);
    let count = |block_type| of_type(block_type).map(|block| u64::from(block.record_count)).sum();
    let timed = || of_type(BlockType::PACKETS).chain(of_type(BlockType::EVENTS));
    Ok(SegmentRow {
        path: handle.path().display().to_string(),
        capture_id: uuid_text(&file.capture_id),
        sequence: file.segment_sequence,
        state: state_index(&handle.state()),
        bytes: handle.disk_len(),
        raw_bytes: blocks.iter().map(|block| u64::from(block.raw_len)).sum(),
        blocks: blocks.len() as u64,
        damaged_blocks: handle.damaged_blocks(),
        packets: count(BlockType::PACKETS),
        events: count(BlockType::EVENTS),
        first: timed().map(|block| clock.range(block.first_time_ns, block.last_time_ns).0).min(),
        last: timed().map(|block| clock.range(block.first_time_ns, block.last_time_ns).1).max(),
    })
}
