//! `gaps`: bytes of streams that are missing.

use std::sync::Arc;

use arrow::datatypes::UInt64Type;
use kcap_dissect::flow::{Flow, FlowConsumer, Side};
use kcap_dissect::stream::{Gap, PacketRef};

use super::column::Column;
use super::conversation::{Conversation, SIDES};
use super::facts::{Facts, RowSink};
use super::row_collector::{CollectedRow, RowCollector, collect};
use crate::error::Result;
use crate::flows::FlowEnds;
use crate::source::Library;

/// The table.
#[derive(Debug)]
pub(super) struct Gaps;

/// One hole.
#[derive(Debug)]
pub(super) struct GapRow {
    conversation: Conversation,
    side: Side,
    gap: Gap,
}

type Rows = [GapRow];

impl Facts for Gaps {
    type Row = GapRow;
    const NAME: &'static str = "gaps";
    const OF_FLOWS: bool = true;
    const SUMMARY: &'static str = "Bytes of a TCP stream that are missing in the recording, and why.";

    #[rustfmt::skip]
    fn columns() -> Vec<Column<Rows>> {
        let mut columns = super::conversation::columns(|row: &GapRow| &row.conversation);
        columns.splice(1..1, [
            Column::timestamp("packet_ts", "When the packet was seen that made the gap certain", |rows: &Rows, row| Some(rows[row].gap.packet.time_ns)).required(),
            Column::enumeration("side", &SIDES, "The side that sent the bytes: client or server", |rows: &Rows, row| Some(rows[row].side.index())).required(),
            Column::number::<UInt64Type>("offset", "Bytes of the stream before the gap", |rows: &Rows, row| Some(rows[row].gap.offset)).required(),
            Column::number::<UInt64Type>("len", "Bytes that are missing", |rows: &Rows, row| Some(rows[row].gap.len)).required(),
            Column::repeated_text("reason", "not_captured (acknowledged, but in no packet), truncated (the end of a packet was not captured), budget (given up to stay within memory), never_seen (still missing at the end)", |rows: &Rows, row| Some(rows[row].gap.reason.as_str())).required(),
            Column::number::<UInt64Type>("packet_id", "The packet that made the gap certain", |rows: &Rows, row| Some(rows[row].gap.packet.packet_id)).required(),
        ]);
        columns
    }

    fn rows(library: &Arc<Library>, sink: &mut RowSink<GapRow>) -> Result<()> {
        collect(library, sink, false, |options| options)
    }
}

impl CollectedRow for GapRow {}

/// Gathers gaps.
impl FlowConsumer for RowCollector<GapRow> {
    type State = FlowEnds;

    fn packet(&mut self, _: &Flow, ends: &mut FlowEnds, side: Side, _: PacketRef) {
        self.learn(ends, side);
    }

    fn gap(&mut self, flow: &Flow, ends: &mut FlowEnds, side: Side, gap: Gap) {
        let conversation = self.conversation(flow, ends.clone());
        self.rows.push(GapRow { conversation, side, gap });
    }
}
