//! `flow_reports`: what was counted of each flow up to now, again and again while it lasts.

use std::sync::Arc;

use arrow::datatypes::{UInt32Type, UInt64Type};
use kcap_dissect::flow::{Flow, FlowConsumer, FlowOptions, FlowReport, Side};
use kcap_dissect::stream::PacketRef;

use super::column::Column;
use super::conversation::Conversation;
use super::facts::{Facts, RowSink};
use super::row_collector::{CollectedRow, RowCollector, collect};
use crate::error::Result;
use crate::flows::FlowEnds;
use crate::source::Library;

/// The table.
#[derive(Debug)]
pub(super) struct FlowReports;

/// One report.
#[derive(Debug)]
pub(super) struct ReportRow {
    conversation: Conversation,
    report: FlowReport,
}

type Rows = [ReportRow];

impl Facts for FlowReports {
    type Row = ReportRow;
    const NAME: &'static str = "flow_reports";
    const OF_FLOWS: bool = true;
    const SUMMARY: &'static str = "What was counted of a flow up to a time: a row each `kcap.flow_period_ms` in which packets came, and a \
        final one when the flow is over or silent for `kcap.flow_timeout_ms`. A flow that goes on after such a silence begins another \
        series.";

    #[rustfmt::skip]
    fn columns() -> Vec<Column<Rows>> {
        let mut columns = super::conversation::columns(|row: &ReportRow| &row.conversation);
        columns.splice(1..1, [
            Column::timestamp("report_ts", "When the report was due: a multiple of the period after `start_ts`; of a final one, the last packet", |rows: &Rows, row| Some(rows[row].report.due_ns)).required(),
            Column::timestamp("start_ts", "First packet of the series", |rows: &Rows, row| Some(rows[row].report.start_ns)).required(),
            Column::timestamp("end_ts", "Last packet that is counted", |rows: &Rows, row| Some(rows[row].report.end_ns)).required(),
            Column::number::<UInt32Type>("series", "Which series of the flow, from 0", |rows: &Rows, row| Some(rows[row].report.series)).required(),
            Column::number::<UInt32Type>("report", "Which report of the series, from 0", |rows: &Rows, row| Some(rows[row].report.number)).required(),
            Column::boolean("final", "Whether it is the last of the series", |rows: &Rows, row| Some(rows[row].report.is_final)).required(),
        ]);
        columns.extend([
            Column::number::<UInt64Type>("client_packets", "Packets that the client sent, since the start of the series", |rows: &Rows, row| Some(rows[row].report.totals[0].packets)).required(),
            Column::number::<UInt64Type>("client_bytes", "Bytes on the wire that the client sent, since the start of the series", |rows: &Rows, row| Some(rows[row].report.totals[0].bytes)).required(),
            Column::number::<UInt64Type>("client_payload_bytes", "Bytes of payload that the client sent, since the start of the series", |rows: &Rows, row| Some(rows[row].report.totals[0].payload_bytes)).required(),
            Column::number::<UInt64Type>("client_packets_delta", "Packets that the client sent, since the report before", |rows: &Rows, row| Some(rows[row].report.deltas[0].packets)).required(),
            Column::number::<UInt64Type>("client_bytes_delta", "Bytes on the wire that the client sent, since the report before", |rows: &Rows, row| Some(rows[row].report.deltas[0].bytes)).required(),
            Column::number::<UInt64Type>("client_payload_bytes_delta", "Bytes of payload that the client sent, since the report before", |rows: &Rows, row| Some(rows[row].report.deltas[0].payload_bytes)).required(),
            Column::number::<UInt64Type>("server_packets", "Packets that the server sent, since the start of the series", |rows: &Rows, row| Some(rows[row].report.totals[1].packets)).required(),
            Column::number::<UInt64Type>("server_bytes", "Bytes on the wire that the server sent, since the start of the series", |rows: &Rows, row| Some(rows[row].report.totals[1].bytes)).required(),
            Column::number::<UInt64Type>("server_payload_bytes", "Bytes of payload that the server sent, since the start of the series", |rows: &Rows, row| Some(rows[row].report.totals[1].payload_bytes)).required(),
            Column::number::<UInt64Type>("server_packets_delta", "Packets that the server sent, since the report before", |rows: &Rows, row| Some(rows[row].report.deltas[1].packets)).required(),
            Column::number::<UInt64Type>("server_bytes_delta", "Bytes on the wire that the server sent, since the report before", |rows: &Rows, row| Some(rows[row].report.deltas[1].bytes)).required(),
            Column::number::<UInt64Type>("server_payload_bytes_delta", "Bytes of payload that the server sent, since the report before", |rows: &Rows, row| Some(rows[row].report.deltas[1].payload_bytes)).required(),
        ]);
        columns
    }

    fn rows(library: &Arc<Library>, sink: &mut RowSink<ReportRow>) -> Result<()> {
        collect(library, sink, false, |options| FlowOptions { streams: false, reports: true, ..options })
    }
}

impl CollectedRow for ReportRow {}

/// Gathers reports.
impl FlowConsumer for RowCollector<ReportRow> {
    type State = FlowEnds;

    fn packet(&mut self, _: &Flow, ends: &mut FlowEnds, side: Side, _: PacketRef) {
        self.learn(ends, side);
    }

    fn report(&mut self, flow: &Flow, ends: &mut FlowEnds, report: &FlowReport) {
        let conversation = self.conversation(flow, ends.clone());
        self.rows.push(ReportRow { conversation, report: *report });
    }
}
