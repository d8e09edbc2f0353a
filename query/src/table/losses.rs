//! `losses`: what became of everything that the kernel programs saw.

use std::sync::Arc;

use arrow::datatypes::{UInt16Type, UInt64Type};
use kcap_format::{BlockType, proto};

use super::column::Column;
use super::facts::{Facts, RowSink};
use super::text::program_name;
use crate::error::Result;
use crate::source::{Library, uuid_text};

/// The table.
#[derive(Debug)]
pub(super) struct Losses;

/// One report.
#[derive(Debug)]
pub(super) struct LossRow {
    begin: i64,
    end: i64,
    segment: u64,
    capture_id: String,
    program: String,
    report: proto::LossReport,
}

impl LossRow {
    fn lost(&self, cause: proto::LossCause) -> u64 {
        let of_cause = self.report.lost.iter().filter(|lost| lost.cause() == cause);
        of_cause.map(|lost| lost.count).fold(0, u64::saturating_add)
    }

    fn lost_in_all(&self) -> u64 {
        self.report.lost.iter().map(|lost| lost.count).fold(0, u64::saturating_add)
    }
}

impl Facts for Losses {
    type Row = LossRow;
    const NAME: &'static str = "losses";
    const SUMMARY: &'static str = "The account of one kernel program on one processor between two times: in every row \
        `seen = filtered + stored + lost`, and `lost` is the sum of the columns `lost_*`.";

    #[rustfmt::skip]
    fn columns() -> Vec<Column<[LossRow]>> {
        use proto::LossCause;
        vec![
            Column::timestamp("begin_ts", "Begin of the account", |rows: &[LossRow], row| Some(rows[row].begin)).required(),
            Column::timestamp("end_ts", "End of the account", |rows: &[LossRow], row| Some(rows[row].end)).required(),
            Column::number::<UInt64Type>("segment", "Sequence number of the segment whose records are counted", |rows: &[LossRow], row| Some(rows[row].segment)).required(),
            Column::repeated_text("program", "Kernel program: packet_ingress, packet_egress, process_fork, …", |rows: &[LossRow], row| Some(&rows[row].program)).required(),
            Column::number::<UInt16Type>("cpu", "Processor that ran it", |rows: &[LossRow], row| u16::try_from(rows[row].report.cpu).ok()),
            Column::number::<UInt64Type>("seen", "Events whose fate became known", |rows: &[LossRow], row| Some(rows[row].report.seen)).required(),
            Column::number::<UInt64Type>("filtered", "Events left out because a filter said so", |rows: &[LossRow], row| Some(rows[row].report.filtered)).required(),
            Column::number::<UInt64Type>("stored", "Records that lie in the segment", |rows: &[LossRow], row| Some(rows[row].report.stored)).required(),
            Column::number::<UInt64Type>("lost", "Events lost, whatever the cause", |rows: &[LossRow], row| Some(rows[row].lost_in_all())).required(),
            Column::number::<UInt64Type>("lost_ring_full", "Lost because the ring between kernel and recorder was full", |rows: &[LossRow], row| Some(rows[row].lost(LossCause::RingFull))).required(),
            Column::number::<UInt64Type>("lost_copy_failed", "Lost because the kernel refused to copy the bytes", |rows: &[LossRow], row| Some(rows[row].lost(LossCause::CopyFailed))).required(),
            Column::number::<UInt64Type>("lost_bad_record", "Lost because the recorder could not make sense of a record", |rows: &[LossRow], row| Some(rows[row].lost(LossCause::BadRecord))).required(),
            Column::number::<UInt64Type>("lost_write_failed", "Lost because a segment could not be written", |rows: &[LossRow], row| Some(rows[row].lost(LossCause::WriteFailed))).required(),
            Column::number::<UInt64Type>("lost_disk_full", "Lost because there was no space left", |rows: &[LossRow], row| Some(rows[row].lost(LossCause::DiskFull))).required(),
            Column::number::<UInt64Type>("lost_overload", "Given up by the recorder to keep the host running", |rows: &[LossRow], row| Some(rows[row].lost(LossCause::Overload))).required(),
            Column::number::<UInt64Type>("lost_state_full", "Owners lost because a table in the kernel was full", |rows: &[LossRow], row| Some(rows[row].lost(LossCause::StateFull))).required(),
            Column::number::<UInt64Type>("lost_unspecified", "Lost for a cause that this version does not know", |rows: &[LossRow], row| Some(rows[row].lost(LossCause::Unspecified))).required(),
            Column::number::<UInt64Type>("kernel_seen", "The program's own count since it was attached, read at `end_ts`; a running total: never add it up", |rows: &[LossRow], row| Some(rows[row].report.kernel_seen)).required(),
            Column::number::<UInt64Type>("in_flight", "Counted by the program but with no fate yet at `end_ts`", |rows: &[LossRow], row| Some(rows[row].report.in_flight)).required(),
            Column::text("capture_id", "The recording", |rows: &[LossRow], row| Some(&rows[row].capture_id)).required(),
        ]
    }

    fn rows(library: &Arc<Library>, sink: &mut RowSink<LossRow>) -> Result<()> {
        for handle in library.segments() {
            let clock = handle.clock()?;
            let file = handle.file_info();
            for block in handle.blocks(BlockType::LOSS)? {
                for report in handle.block_losses(block)? {
                    sink.push(LossRow {
                        begin: clock.realtime_ns(report.begin_ns),
                        end: clock.realtime_ns(report.end_ns),
                        segment: file.segment_sequence,
                        capture_id: uuid_text(&file.capture_id),
                        program: program_name(report.program),
                        report,
                    })?;
                }
            }
        }
        Ok(())
    }
}
