//! `flows`: a row for each conversation.

use std::sync::Arc;

use arrow::datatypes::{Int64Type, UInt8Type, UInt32Type, UInt64Type};
use kcap_dissect::flow::{
    CloseReason, ConnState, Counters, Flow, FlowConsumer, FlowOptions, Side, TcpSideCounters,
};
use kcap_dissect::stream::PacketRef;

use super::column::Column;
use super::conversation::Conversation;
use super::facts::{Facts, RowSink};
use super::row_collector::{CollectedRow, RowCollector, collect};
use crate::error::Result;
use crate::flows::FlowEnds;
use crate::source::Library;

/// Names of [`ConnState`]s, by their numbers.
const CONN_STATES: [&str; ConnState::ALL.len()] = {
    let mut names = [""; ConnState::ALL.len()];
    let mut place = 0;
    while place < names.len() {
        names[place] = ConnState::ALL[place].as_str();
        place += 1;
    }
    names
};

/// The table.
#[derive(Debug)]
pub(super) struct Flows;

/// One conversation.
#[derive(Debug)]
pub(super) struct FlowRow {
    conversation: Conversation,
    end_ns: i64,
    sides: [Counters; 2],
    icmp: Option<(u8, u8)>,
    tcp: Option<TcpRow>,
    conn_state: ConnState,
    history: String,
    initiator_known: bool,
    complete: Option<bool>,
    parent_flow_id: Option<u64>,
    reason: CloseReason,
}

/// What only TCP has.
#[derive(Debug)]
struct TcpRow {
    sides: [TcpSideCounters; 2],
    stream_bytes: [u64; 2],
    handshake_rtt_ns: Option<i64>,
    server_rtt_ns: Option<i64>,
    client_rtt_ns: Option<i64>,
}

type Rows = [FlowRow];

impl FlowRow {
    fn of(flow: &Flow, conversation: Conversation, reason: CloseReason) -> Self {
        let sides = [Side::Client, Side::Server];
        Self {
            conversation,
            end_ns: flow.last_ns,
            sides: flow.sides,
            icmp: flow.icmp,
            tcp: flow.tcp.as_ref().map(|tcp| TcpRow {
                sides: sides.map(|side| tcp.side(side)),
                stream_bytes: sides.map(|side| tcp.stream_bytes(side)),
                handshake_rtt_ns: tcp.handshake_rtt_ns(),
                server_rtt_ns: tcp.server_rtt_ns(),
                client_rtt_ns: tcp.client_rtt_ns(),
            }),
            conn_state: flow.conn_state(),
            history: flow.history().to_owned(),
            initiator_known: flow.initiator_known,
            complete: flow.complete(),
            parent_flow_id: flow.parent_flow_id,
            reason,
        }
    }
}

impl Facts for Flows {
    type Row = FlowRow;
    const NAME: &'static str = "flows";
    const OF_FLOWS: bool = true;
    const SUMMARY: &'static str = "A conversation: all packets between two addresses and ports, both ways. A TCP connection ends where \
        a SYN begins another with the same ports, or after a silence of 2 hours and 4 minutes (5 minutes when only one side spoke, \
        4 when it was closed); other conversations end after a silence of `kcap.flow_timeout_ms`. Columns \
        `client_*` are of the side that began.";

    #[rustfmt::skip]
    fn columns() -> Vec<Column<Rows>> {
        let mut columns = super::conversation::columns(|row: &FlowRow| &row.conversation);
        columns.splice(1..1, [
            Column::timestamp("end_ts", "Last packet", |rows: &Rows, row| Some(rows[row].end_ns)).required(),
            Column::number::<Int64Type>("duration_ns", "From the first to the last packet", |rows: &Rows, row| Some(rows[row].end_ns.saturating_sub(rows[row].conversation.first_ns))).required(),
        ]);
        columns.extend([
            Column::number::<UInt8Type>("icmp_type", "Type of the client's ICMP messages", |rows: &Rows, row| Some(rows[row].icmp?.0)),
            Column::number::<UInt8Type>("icmp_code", "Type of the ICMP messages that answer, or the code where there are none: what Zeek shows as the server's port", |rows: &Rows, row| Some(rows[row].icmp?.1)),
            Column::number::<UInt64Type>("parent_flow_id", "Flow of the tunnel that carries this one", |rows: &Rows, row| rows[row].parent_flow_id),
            Column::enumeration("conn_state", &CONN_STATES, "How it went, in Zeek's words: S0 no answer, S1 established, SF ended in order, REJ rejected, S2 and S3 only the client or the server closed, RSTO and RSTR reset by client or server, RSTOS0, RSTRH, SH, SHR half seen, OTH joined late or no connection", |rows: &Rows, row| Some(rows[row].conn_state as usize)).required(),
            Column::text("history", "What was seen, in Zeek's letters, capital ones for the client: s SYN, h SYN-ACK, a acknowledgement, d data, f FIN, r RST, g gap, t retransmission, w zero window, i and q odd flags, ^ the first packet was taken for the server's", |rows: &Rows, row| Some(&rows[row].history)).required(),
            Column::boolean("initiator_known", "Whether it is certain which side began: a SYN or an ICMP request was seen", |rows: &Rows, row| Some(rows[row].initiator_known)).required(),
            Column::boolean("complete", "Whether all of a TCP connection is recorded: SYNs, end and every byte; null for others", |rows: &Rows, row| rows[row].complete),
            Column::repeated_text("end_reason", "Why no packet was counted after the last: closed, timeout, reused (its addresses and ports began anew), evicted (given up to make room), end_of_capture", |rows: &Rows, row| Some(rows[row].reason.as_str())).required(),
            Column::number::<Int64Type>("handshake_rtt_ns", "From the SYN to the acknowledgement of the SYN-ACK", |rows: &Rows, row| rows[row].tcp.as_ref()?.handshake_rtt_ns),
            Column::number::<Int64Type>("server_rtt_ns", "From the SYN to the SYN-ACK: the way to the server and back", |rows: &Rows, row| rows[row].tcp.as_ref()?.server_rtt_ns),
            Column::number::<Int64Type>("client_rtt_ns", "From the SYN-ACK to its acknowledgement: the way to the client and back", |rows: &Rows, row| rows[row].tcp.as_ref()?.client_rtt_ns),
        ]);
        columns.extend(sides());
        columns
    }

    fn rows(library: &Arc<Library>, sink: &mut RowSink<FlowRow>) -> Result<()> {
        collect(library, sink, false, |options| FlowOptions { streams: false, ..options })
    }
}

/// What each side sent.
#[rustfmt::skip]
fn sides() -> Vec<Column<Rows>> {
    vec![
        Column::number::<UInt64Type>("client_packets", "Packets that the client sent", |rows: &Rows, row| Some(rows[row].sides[0].packets)).required(),
        Column::number::<UInt64Type>("client_bytes", "Their bytes on the wire as recorded, with link headers where there are any: Wireshark's bytes of a conversation", |rows: &Rows, row| Some(rows[row].sides[0].bytes)).required(),
        Column::number::<UInt64Type>("client_ip_bytes", "Their bytes from the IP header on: Zeek's `orig_ip_bytes`", |rows: &Rows, row| Some(rows[row].sides[0].ip_bytes)).required(),
        Column::number::<UInt64Type>("client_payload_bytes", "Their bytes after the transport header, retransmissions included", |rows: &Rows, row| Some(rows[row].sides[0].payload_bytes)).required(),
        Column::number::<UInt64Type>("client_truncated_bytes", "Of those, bytes that were on the wire and not captured", |rows: &Rows, row| Some(rows[row].sides[0].truncated_bytes)).required(),
        Column::number::<UInt64Type>("client_stream_bytes", "Length of its TCP stream by sequence numbers, recorded or not: Zeek's `orig_bytes`; null for others than TCP", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.stream_bytes[0])),
        Column::number::<UInt32Type>("client_retransmissions", "Segments sent again, by the rules of Wireshark's `tcp.analysis.retransmission`; null for others than TCP", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[0].retransmissions)),
        Column::number::<UInt64Type>("client_retransmitted_bytes", "Payload bytes of those", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[0].retransmitted_bytes)),
        Column::number::<UInt32Type>("client_out_of_order", "Segments that came late, by the rules of Wireshark's `tcp.analysis.out_of_order`", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[0].out_of_order)),
        Column::number::<UInt32Type>("client_duplicate_acks", "Acknowledgements that repeat the one before", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[0].duplicate_acks)),
        Column::number::<UInt32Type>("client_keep_alives", "Keep-alives", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[0].keep_alives)),
        Column::number::<UInt32Type>("client_zero_windows", "Packets that announce a window of zero", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[0].zero_windows)),
        Column::number::<UInt32Type>("client_gaps", "Holes in what was recorded of its stream", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[0].gaps)),
        Column::number::<UInt64Type>("client_missing_bytes", "Bytes in the holes", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[0].missing_bytes)),
        Column::number::<UInt64Type>("server_packets", "Packets that the server sent", |rows: &Rows, row| Some(rows[row].sides[1].packets)).required(),
        Column::number::<UInt64Type>("server_bytes", "Their bytes on the wire as recorded, with link headers where there are any: Wireshark's bytes of a conversation", |rows: &Rows, row| Some(rows[row].sides[1].bytes)).required(),
        Column::number::<UInt64Type>("server_ip_bytes", "Their bytes from the IP header on", |rows: &Rows, row| Some(rows[row].sides[1].ip_bytes)).required(),
        Column::number::<UInt64Type>("server_payload_bytes", "Their bytes after the transport header, retransmissions included", |rows: &Rows, row| Some(rows[row].sides[1].payload_bytes)).required(),
        Column::number::<UInt64Type>("server_truncated_bytes", "Of those, bytes that were on the wire and not captured", |rows: &Rows, row| Some(rows[row].sides[1].truncated_bytes)).required(),
        Column::number::<UInt64Type>("server_stream_bytes", "Length of its TCP stream by sequence numbers, recorded or not; null for others than TCP", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.stream_bytes[1])),
        Column::number::<UInt32Type>("server_retransmissions", "Segments sent again, by the rules of Wireshark's `tcp.analysis.retransmission`; null for others than TCP", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[1].retransmissions)),
        Column::number::<UInt64Type>("server_retransmitted_bytes", "Payload bytes of those", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[1].retransmitted_bytes)),
        Column::number::<UInt32Type>("server_out_of_order", "Segments that came late, by the rules of Wireshark's `tcp.analysis.out_of_order`", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[1].out_of_order)),
        Column::number::<UInt32Type>("server_duplicate_acks", "Acknowledgements that repeat the one before", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[1].duplicate_acks)),
        Column::number::<UInt32Type>("server_keep_alives", "Keep-alives", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[1].keep_alives)),
        Column::number::<UInt32Type>("server_zero_windows", "Packets that announce a window of zero", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[1].zero_windows)),
        Column::number::<UInt32Type>("server_gaps", "Holes in what was recorded of its stream", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[1].gaps)),
        Column::number::<UInt64Type>("server_missing_bytes", "Bytes in the holes", |rows: &Rows, row| Some(rows[row].tcp.as_ref()?.sides[1].missing_bytes)),
    ]
}

impl CollectedRow for FlowRow {}

/// Gathers the flows that ended.
impl FlowConsumer for RowCollector<FlowRow> {
    type State = FlowEnds;

    fn packet(&mut self, _: &Flow, ends: &mut FlowEnds, side: Side, _: PacketRef) {
        self.learn(ends, side);
    }

    fn closed(&mut self, flow: &Flow, ends: FlowEnds, reason: CloseReason) {
        let conversation = self.conversation(flow, ends);
        self.rows.push(FlowRow::of(flow, conversation, reason));
    }
}
