//! Rows that are made while flows are followed: what the tables of them have in common.

use std::sync::Arc;

use kcap_dissect::flow::{Flow, FlowConsumer, FlowOptions, Side};

use super::conversation::{Conversation, OWNER_COLUMNS};
use super::facts::RowSink;
use crate::error::Result;
use crate::flows::{CurrentPacket, FlowEnds, FragmentFinding, PacketConsumer, PassSettings, follow};
use crate::source::Library;
use crate::table::packets::PacketBlock;

/// A row that a [`RowCollector`] makes. What makes it is the collector's [`FlowConsumer`].
pub(super) trait CollectedRow: Send + Sized + 'static {
    /// Bytes that it holds beside its own size.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Makes rows of a packet alone.
    fn of_packet(_collector: &mut RowCollector<Self>, _block: &PacketBlock, _row: usize) {}

    /// Makes a row of what is wrong with fragments.
    fn of_fragments(_collector: &mut RowCollector<Self>, _finding: FragmentFinding<'_>) {}
}

/// Knows the packet that flows are told of, and gathers rows.
pub(super) struct RowCollector<Row> {
    current: CurrentPacket,
    pub(super) rows: Vec<Row>,
}

impl<Row> Default for RowCollector<Row> {
    fn default() -> Self {
        Self { current: CurrentPacket::default(), rows: Vec::new() }
    }
}

impl<Row> RowCollector<Row> {
    /// Learns from the current packet, which `side` sent, who has the ends. True when it told something new.
    pub(super) fn learn(&self, ends: &mut FlowEnds, side: Side) -> bool {
        self.current.get().is_some_and(|(block, row)| ends.learn(block, row, side))
    }

    /// Recording of the current packet; of the last when there are no more.
    pub(super) fn capture_id(&self) -> &str {
        self.current.get().map_or("", |(block, _)| block.capture_id())
    }

    /// Bytes of the current packet on the wire.
    pub(super) fn wire_len(&self) -> u32 {
        self.current.get().map_or(0, |(block, row)| block.batch.wire_len[row])
    }

    /// The conversation of a flow.
    pub(super) fn conversation(&self, flow: &Flow, ends: FlowEnds) -> Conversation {
        Conversation::of(flow, ends, self.capture_id())
    }
}

impl<Row: CollectedRow> PacketConsumer for RowCollector<Row>
where
    Self: FlowConsumer,
{
    fn begin(&mut self, block: &Arc<PacketBlock>, row: usize) {
        self.current.set(block, row);
        Row::of_packet(self, block, row);
    }

    fn fragments(&mut self, finding: FragmentFinding<'_>) {
        Row::of_fragments(self, finding);
    }
}

impl<Row: CollectedRow> RowCollector<Row> {
    /// Hands the rows to a sink.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped) when nobody wants more.
    pub(super) fn drain(&mut self, sink: &mut RowSink<Row>) -> Result<()> {
        sink.check_wanted()?;
        self.rows.drain(..).try_for_each(|row| {
            let bytes = row.held_bytes();
            sink.push_bytes(row, bytes)
        })
    }
}

/// Follows the flows of a library with the session's options, as `adapt` changes them, and hands the rows to the sink. `bytes`
/// says whether rows depend on the bytes of streams.
pub(super) fn collect<Row: CollectedRow>(
    library: &Arc<Library>,
    sink: &mut RowSink<Row>,
    bytes: bool,
    adapt: impl FnOnce(FlowOptions) -> FlowOptions,
) -> Result<()>
where
    RowCollector<Row>: FlowConsumer,
{
    let settings = PassSettings {
        flows: adapt(sink.options().flow_options()),
        bytes,
        owners: sink.wants(&OWNER_COLUMNS),
        flow_ids: sink.flow_ids(),
    };
    follow(library, &settings, RowCollector::default, |collector| collector.drain(sink))
}
