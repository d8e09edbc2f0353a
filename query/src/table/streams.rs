//! `streams`: the bytes that each side of a TCP connection sent, in order.

use std::sync::Arc;

use arrow::datatypes::UInt64Type;
use kcap_dissect::flow::{Flow, FlowConsumer, Side};
use kcap_dissect::stream::{Gap, PacketRef, StreamData};

use super::column::Column;
use super::conversation::{Conversation, SIDES};
use super::facts::{Facts, RowSink};
use super::row_collector::{CollectedRow, RowCollector, collect};
use crate::error::Result;
use crate::flows::FlowEnds;
use crate::source::Library;

/// The column that takes more than lengths.
const DATA: &str = "data";

/// The table.
#[derive(Debug)]
pub(super) struct Streams;

/// The bytes of one packet at their place in the stream.
#[derive(Debug)]
pub(super) struct StreamRow {
    conversation: Arc<Conversation>,
    side: Side,
    offset: u64,
    gap_before: u64,
    packet: PacketRef,
    data: Vec<u8>,
}

type Rows = [StreamRow];

impl Facts for Streams {
    type Row = StreamRow;
    const NAME: &'static str = "streams";
    const OF_FLOWS: bool = true;
    const SUMMARY: &'static str = "Bytes that one side of a TCP connection sent, in the order of the stream: a row for what one packet \
        brought, retransmissions left out. Rows of a side come in order; `offset` and `packet_id` map places of the stream to packets \
        and back.";

    #[rustfmt::skip]
    fn columns() -> Vec<Column<Rows>> {
        let mut columns = super::conversation::columns(|row: &StreamRow| &*row.conversation);
        columns.splice(1..1, [
            Column::timestamp("packet_ts", "When the packet was seen that brought the bytes", |rows: &Rows, row| Some(rows[row].packet.time_ns)).required(),
            Column::enumeration("side", &SIDES, "The side that sent them: client or server", |rows: &Rows, row| Some(rows[row].side.index())).required(),
            Column::number::<UInt64Type>("offset", "Bytes of the stream before these, gaps included", |rows: &Rows, row| Some(rows[row].offset)).required(),
            Column::number::<UInt64Type>("len", "How many bytes", |rows: &Rows, row| Some(rows[row].data.len() as u64)).required(),
            Column::number::<UInt64Type>("gap_before", "Bytes that are missing just before these; see `gaps`", |rows: &Rows, row| Some(rows[row].gap_before)).required(),
            Column::number::<UInt64Type>("packet_id", "The packet that brought them", |rows: &Rows, row| Some(rows[row].packet.packet_id)).required(),
            Column::bytes(DATA, "The bytes", |rows: &Rows, row| Some(rows[row].data.as_slice())).required(),
        ]);
        columns
    }

    fn rows(library: &Arc<Library>, sink: &mut RowSink<StreamRow>) -> Result<()> {
        let bytes = sink.wants(&[DATA]);
        collect(library, sink, bytes, |options| options)
    }
}

impl CollectedRow for StreamRow {
    fn held_bytes(&self) -> usize {
        self.data.len()
    }
}

/// What is kept of a flow.
#[derive(Default)]
pub(super) struct StreamState {
    ends: FlowEnds,
    conversation: Option<Arc<Conversation>>,
    gaps: [u64; 2],
}

/// Gathers bytes.
impl FlowConsumer for RowCollector<StreamRow> {
    type State = StreamState;

    fn packet(&mut self, _: &Flow, state: &mut StreamState, side: Side, _: PacketRef) {
        if self.learn(&mut state.ends, side) {
            state.conversation = None;
        }
    }

    fn data(&mut self, flow: &Flow, state: &mut StreamState, side: Side, data: StreamData<'_>) {
        let conversation =
            state.conversation.get_or_insert_with(|| Arc::new(self.conversation(flow, state.ends.clone())));
        let conversation = Arc::clone(conversation);
        self.rows.push(StreamRow {
            conversation,
            side,
            offset: data.offset,
            gap_before: std::mem::take(&mut state.gaps[side.index()]),
            packet: data.packet,
            data: data.bytes.to_vec(),
        });
    }

    fn gap(&mut self, _: &Flow, state: &mut StreamState, side: Side, gap: Gap) {
        state.gaps[side.index()] += gap.len;
    }
}
