//! `decode_errors`: what was malformed.

use std::sync::Arc;

use arrow::datatypes::{UInt32Type, UInt64Type};
use kcap_dissect::flow::{Flow, FlowConsumer, Side};
use kcap_dissect::stream::{DisagreementFact, Dropped, PacketRef};

use super::column::Column;
use super::conversation::SIDES;
use super::facts::{Facts, RowSink};
use super::row_collector::{CollectedRow, RowCollector, collect};
use crate::error::Result;
use crate::flows::{FragmentFinding, FragmentName};
use crate::source::Library;
use crate::table::packets::PacketBlock;

/// The table.
#[derive(Debug)]
pub(super) struct DecodeErrors;

/// One finding.
#[derive(Debug)]
pub(super) struct ErrorRow {
    packet: PacketRef,
    kind: &'static str,
    message: String,
    len: u32,
    flow_id: Option<u64>,
    /// For streams: side, offset if it has one, and bytes.
    stream: Option<(Side, Option<u64>, u64)>,
    other_packet_id: Option<u64>,
    capture_id: String,
}

type Rows = [ErrorRow];

impl Facts for DecodeErrors {
    type Row = ErrorRow;
    const NAME: &'static str = "decode_errors";
    const OF_FLOWS: bool = true;
    const SUMMARY: &'static str = "What could not be decoded, or contradicts itself: headers that end too early or lie about lengths, \
        fragments that never made a packet, TCP segments that overlap and disagree, and bytes that have no place in their stream.";

    #[rustfmt::skip]
    fn columns() -> Vec<Column<Rows>> {
        vec![
            Column::timestamp("ts", "When the packet was seen", |rows: &Rows, row| Some(rows[row].packet.time_ns)).required(),
            Column::number::<UInt64Type>("packet_id", "The packet", |rows: &Rows, row| Some(rows[row].packet.packet_id)).required(),
            Column::repeated_text("kind", "header (headers could not be followed), fragments (of a packet not all came: a row for the first that did), fragment (it cannot be a part of a packet), fragment_disagreement (fragments of a packet overlap with other bytes; those that came first count), disagreement (other bytes for the same place of a stream), before_start, late and after_end (bytes of a stream that came before its start, after their gap was told, or behind its end)", |rows: &Rows, row| Some(rows[row].kind)).required(),
            Column::text("message", "What is wrong, in a sentence", |rows: &Rows, row| Some(&rows[row].message)).required(),
            Column::number::<UInt32Type>("packet_len", "Bytes of the packet on the wire", |rows: &Rows, row| Some(rows[row].len)).required(),
            Column::number::<UInt64Type>("flow_id", "Its flow; null when the headers didn't tell", |rows: &Rows, row| rows[row].flow_id),
            Column::enumeration("side", &SIDES, "For streams: the side that sent it", |rows: &Rows, row| Some(rows[row].stream?.0.index())),
            Column::number::<UInt64Type>("offset", "For disagreements: bytes of the stream before the first that differs", |rows: &Rows, row| rows[row].stream?.1),
            Column::number::<UInt64Type>("len", "For streams: how many bytes", |rows: &Rows, row| Some(rows[row].stream?.2)),
            Column::number::<UInt64Type>("other_packet_id", "For disagreements: the packet whose bytes are in the stream; for fragments: the last that came", |rows: &Rows, row| rows[row].other_packet_id),
            Column::repeated_text("capture_id", "The recording (UUID)", |rows: &Rows, row| Some(&rows[row].capture_id)).required(),
        ]
    }

    fn rows(library: &Arc<Library>, sink: &mut RowSink<ErrorRow>) -> Result<()> {
        collect(library, sink, true, |options| options)
    }
}

impl CollectedRow for ErrorRow {
    fn of_packet(collector: &mut RowCollector<Self>, block: &PacketBlock, row: usize) {
        if let Some(error) = block.decoded[row].error {
            let packet = PacketRef {
                packet_id: block.packet_id(row),
                time_ns: block.realtime_ns(row).unwrap_or(0),
                ..PacketRef::default()
            };
            let found = Self::of(collector, packet, "header", error.to_string(), block.flow_id(row));
            collector.rows.push(found);
        }
    }

    fn of_fragments(collector: &mut RowCollector<Self>, finding: FragmentFinding<'_>) {
        collector.rows.push(match finding {
            FragmentFinding::Incomplete(packet) => Self {
                other_packet_id: Some(packet.last.packet.packet_id),
                ..Self::of_fragment(&packet.first, "fragments", packet.to_string())
            },
            FragmentFinding::Rejected(name, error) => {
                Self::of_fragment(name, "fragment", error.to_string())
            }
            FragmentFinding::Disagreement(name) => {
                let message = "fragments of its packet carry other bytes for the same place; those that came first count";
                Self::of_fragment(name, "fragment_disagreement", message.to_owned())
            }
        });
    }
}

impl ErrorRow {
    /// A finding about a packet, told of with the current one.
    fn of(
        collector: &RowCollector<Self>,
        packet: PacketRef,
        kind: &'static str,
        message: String,
        flow_id: Option<u64>,
    ) -> Self {
        let capture_id = collector.capture_id().to_owned();
        let len = collector.wire_len();
        Self { packet, kind, message, len, flow_id, stream: None, other_packet_id: None, capture_id }
    }

    fn of_fragment(name: &FragmentName, kind: &'static str, message: String) -> Self {
        let FragmentName { packet, wire_len: len, flow_id, capture_id } = name.clone();
        Self { packet, kind, message, len, flow_id, stream: None, other_packet_id: None, capture_id }
    }
}

/// Gathers findings.
impl FlowConsumer for RowCollector<ErrorRow> {
    type State = ();

    fn disagreement(&mut self, flow: &Flow, (): &mut (), side: Side, fact: DisagreementFact) {
        let message = format!(
            "{} bytes of the {}'s stream at offset {} came twice and differ",
            fact.len,
            side.as_str(),
            fact.offset
        );
        let kept = Some(fact.kept.packet_id);
        let row = ErrorRow::of(self, fact.rejected, "disagreement", message, Some(flow.flow_id));
        let stream = Some((side, Some(fact.offset), fact.len));
        self.rows.push(ErrorRow { stream, other_packet_id: kept, ..row });
    }

    fn dropped(&mut self, flow: &Flow, (): &mut (), side: Side, dropped: Dropped) {
        let kind = dropped.reason.as_str();
        let message = format!(
            "{} bytes of the {} with sequence number {} have no place in its stream: {}",
            dropped.len,
            side.as_str(),
            dropped.sequence,
            kind.replace('_', " ")
        );
        let row = ErrorRow::of(self, dropped.packet, kind, message, Some(flow.flow_id));
        self.rows.push(ErrorRow { stream: Some((side, None, dropped.len)), ..row });
    }
}
