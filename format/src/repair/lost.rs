//! What a damaged segment has lost.

use crate::header::BLOCK_HEADER_LEN;
use crate::index::BlockEntry;
use crate::proto::Repair;
use crate::proto::repair::Lost;
use crate::segment::{DamagedRange, Segment};
use crate::verify::FileReport;

/// Bytes and blocks that are lost, in the order of the file. Damaged blocks of which something is left are not among
/// them.
pub(super) fn lost(file: &FileReport, segment: &Segment, is_left: impl Fn(&BlockEntry) -> bool) -> Vec<Lost> {
    let mut lost: Vec<Lost> = Vec::new();
    for range in &file.damage {
        let place = |offset| file.blocks.partition_point(|block| block.entry.offset < offset);
        let told = &file.blocks[place(range.begin)..place(range.end)];
        if told.is_empty() {
            lost.push(range_lost(range, segment));
        }
        lost.extend(told.iter().map(|block| block_lost(&block.entry, range.what)));
    }
    let is_in_range = |offset| {
        let behind = file.damage.partition_point(|range| range.begin <= offset);
        behind.checked_sub(1).is_some_and(|at| offset < file.damage[at].end)
    };
    for block in &file.blocks {
        if let Some(what) = block.fault
            && !is_in_range(block.entry.offset)
            && !is_left(&block.entry)
        {
            lost.push(block_lost(&block.entry, what));
        }
    }
    lost.sort_by_key(|lost| lost.begin);
    lost
}

/// A block of which its entry is known.
pub(super) fn block_lost(entry: &BlockEntry, what: &str) -> Lost {
    Lost {
        begin: entry.offset,
        // An INDEX can tell of a block anywhere.
        end: entry.offset.saturating_add(BLOCK_HEADER_LEN as u64 + u64::from(entry.stored_len)),
        what: what.to_owned(),
        block_type: entry.block_type.0.into(),
        block_count: 1,
        record_count: entry.record_count.into(),
        first_time_ns: entry.first_time_ns,
        last_time_ns: entry.last_time_ns,
        payloads_only: false,
    }
}

impl Repair {
    /// What the segment that was repaired had lost, in words; `None` when that was nothing.
    #[must_use]
    pub fn lost_text(&self) -> Option<String> {
        // A FILE block can state any numbers.
        let sum = |of: &dyn Fn(&Lost) -> u64| self.lost.iter().map(of).fold(0, u64::saturating_add);
        let is_block = |lost: &Lost| lost.block_count > 0 && !lost.payloads_only;
        let blocks = sum(&|lost| if is_block(lost) { lost.block_count } else { 0 });
        let records = sum(&|lost| if is_block(lost) { lost.record_count } else { 0 });
        let payloads = sum(&|lost| if lost.payloads_only { lost.record_count } else { 0 });
        let bytes = sum(&|lost| if lost.block_count == 0 { lost.end.saturating_sub(lost.begin) } else { 0 });
        let parts = [
            (blocks, format!("{} with {records} or more records", counted(blocks, "block"))),
            (payloads, format!("the payloads of {}", counted(payloads, "packet"))),
            (bytes, format!("{} that may have been blocks", counted(bytes, "byte"))),
            (self.more_lost, format!("{} more", counted(self.more_lost, "range"))),
            (u64::from(self.file_lost), "what the FILE block said".to_owned()),
            (
                self.segments_lost_before,
                format!("{} before it", counted(self.segments_lost_before, "whole segment")),
            ),
        ];
        let mut parts: Vec<String> =
            parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, part)| part).collect();
        parts.extend(self.notes.iter().cloned());
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Bytes in which there were blocks: as many as the sequences of the blocks around leave out.
fn range_lost(range: &DamagedRange, segment: &Segment) -> Lost {
    let blocks = segment.blocks();
    let behind = blocks.partition_point(|block| block.offset < range.begin);
    let first = behind.checked_sub(1).map_or(0, |before| blocks[before].sequence + 1);
    let after = blocks.get(behind);
    let before_ns = behind.checked_sub(1).map_or(0, |before| blocks[before].last_time_ns);
    Lost {
        begin: range.begin,
        end: range.end,
        what: range.what.to_owned(),
        block_count: after.map_or(0, |after| after.sequence.saturating_sub(first).into()),
        first_time_ns: before_ns,
        last_time_ns: after.map_or(0, |after| after.first_time_ns),
        ..Lost::default()
    }
}
