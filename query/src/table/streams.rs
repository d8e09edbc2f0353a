//! `streams`: the bytes that each side of a TCP connection sent, in order.

use std::sync::Arc;

use arrow::datatypes::UInt64Type;
use kcap_dissect::flow::{Flow, FlowConsumer, Side};
use kcap_dissect::stream::{Gap, PacketRef, StreamData};

use super::column::Column;
use super::conversation::{Conversation, OWNER_COLUMNS, SIDES};
use super::facts::{Facts, RowSink};
use crate::error::Result;
use crate::flows::{FlowEnds, PacketConsumer, PassSettings, follow};
use crate::source::Library;
use crate::table::packets::PacketBlock;

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
            Column::bytes("data", "The bytes", |rows: &Rows, row| Some(rows[row].data.as_slice())).required(),
        ]);
        columns
    }

    fn rows(library: &Arc<Library>, sink: &mut RowSink<StreamRow>) -> Result<()> {
        let settings = PassSettings {
            flows: sink.options().flow_options(),
            owners: sink.wants(&OWNER_COLUMNS),
            flow_ids: sink.flow_ids(),
        };
        follow(library, &settings, Collector::default, |collector| {
            sink.check_wanted()?;
            collector.rows.drain(..).try_for_each(|row| {
                let bytes = row.data.len();
                sink.push_bytes(row, bytes)
            })
        })
    }
}

/// Gathers bytes.
#[derive(Default)]
struct Collector {
    current: Option<(Arc<PacketBlock>, usize)>,
    rows: Vec<StreamRow>,
}

/// What is kept of a flow.
#[derive(Default)]
struct State {
    ends: FlowEnds,
    conversation: Option<Arc<Conversation>>,
    gaps: [u64; 2],
}

impl PacketConsumer for Collector {
    fn begin(&mut self, block: &Arc<PacketBlock>, row: usize) {
        self.current = Some((Arc::clone(block), row));
    }
}

impl FlowConsumer for Collector {
    type State = State;

    fn packet(&mut self, _: &Flow, state: &mut State, side: Side, _: PacketRef) {
        if let Some((block, row)) = &self.current
            && state.ends.learn(block, *row, side)
        {
            state.conversation = None;
        }
    }

    fn data(&mut self, flow: &Flow, state: &mut State, side: Side, data: StreamData<'_>) {
        let capture_id = self.current.as_ref().map_or("", |(block, _)| block.capture_id());
        let conversation = state
            .conversation
            .get_or_insert_with(|| Arc::new(Conversation::of(flow, state.ends.clone(), capture_id)));
        self.rows.push(StreamRow {
            conversation: Arc::clone(conversation),
            side,
            offset: data.offset,
            gap_before: std::mem::take(&mut state.gaps[side.index()]),
            packet: data.packet,
            data: data.bytes.to_vec(),
        });
    }

    fn gap(&mut self, _: &Flow, state: &mut State, side: Side, gap: Gap) {
        state.gaps[side.index()] += gap.len;
    }
}
