//! The columns that all transactions have.

use arrow::datatypes::{Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use kcap_dissect::protocol::Message;

use crate::source::EndFacts;
use crate::table::column::Column;
use crate::transactions::TransactionRecord;

type Rows = [Box<TransactionRecord>];

/// The columns in their order; with that of the protocol, if the table isn't of one.
#[rustfmt::skip]
pub(super) fn columns(with_protocol: bool) -> Vec<Column<Rows>> {
    let mut columns = vec![
        Column::timestamp("ts", "When it began: the first byte of the request, or of the response where there is no request", |rows: &Rows, row| Some(rows[row].transaction.start()?.ts_ns)),
        Column::timestamp("end_ts", "When it ended: the last byte of the response, or of the request where there is no response", |rows: &Rows, row| Some(rows[row].transaction.end()?.ts_ns)),
        Column::number::<Int64Type>("duration_ns", "From the first byte of the request to the last one of the response; null without both", |rows: &Rows, row| rows[row].transaction.duration_ns()),
        Column::number::<UInt64Type>("flow_id", "The flow that it was seen in", |rows: &Rows, row| Some(rows[row].transaction.flow.flow_id)).required(),
        Column::number::<UInt8Type>("ip_version", "4 or 6", |rows: &Rows, row| Some(rows[row].transaction.flow.ip_version)).required(),
        Column::number::<UInt8Type>("ip_proto", "Protocol number (IANA): 6 TCP, 17 UDP", |rows: &Rows, row| Some(rows[row].transaction.flow.ip_protocol)).required(),
        Column::address("client_ip", "Address of the end that asks", |rows: &Rows, row| Some(rows[row].transaction.client_end().ip)),
        Column::number::<UInt16Type>("client_port", "Its port; null where there are none", |rows: &Rows, row| port(rows[row].transaction.client_end().port)),
        Column::address("server_ip", "Address of the end that answers", |rows: &Rows, row| Some(rows[row].transaction.server_end().ip)),
        Column::number::<UInt16Type>("server_port", "Its port", |rows: &Rows, row| port(rows[row].transaction.server_end().port)),
        Column::text("method", "The verb: `GET`, `SELECT`, `QUERY`", |rows: &Rows, row| rows[row].transaction.method.as_deref()),
        Column::text("query", "What was asked", |rows: &Rows, row| rows[row].transaction.query.as_deref()),
        Column::text("resource", "What it was about: a path, a table, a key, a name", |rows: &Rows, row| rows[row].transaction.resource.as_deref()),
        Column::repeated_text("status", "How it ended: `OK`, `Error`, `Client Error`, `Server Error`", |rows: &Rows, row| Some(rows[row].transaction.status.name())).required(),
        Column::rare_text("error", "What went wrong, said by the protocol or by the dissector; null when nothing did", |rows: &Rows, row| joined(&rows[row].transaction.errors)),
        Column::boolean("complete", "Whether all of it was seen", |rows: &Rows, row| Some(rows[row].transaction.incomplete.is_none())).required(),
        Column::repeated_text("incomplete_reason", "Why it is not complete: no_response, no_request, request_gap, response_gap, joined_late, ended, limit, malformed", |rows: &Rows, row| Some(rows[row].transaction.incomplete?.name())),
        Column::number::<UInt64Type>("request_bytes", "Bytes of the request, above TCP or UDP; null without one", |rows: &Rows, row| Some(rows[row].transaction.request?.bytes)),
        Column::number::<UInt64Type>("response_bytes", "Bytes of the response", |rows: &Rows, row| Some(rows[row].transaction.response?.bytes)),
        Column::number::<UInt64Type>("request_packet_id", "Packet with the first byte of the request", |rows: &Rows, row| first_packet(rows[row].transaction.request)),
        Column::number::<UInt64Type>("request_last_packet_id", "Packet with its last byte", |rows: &Rows, row| last_packet(rows[row].transaction.request)),
        Column::number::<UInt64Type>("response_packet_id", "Packet with the first byte of the response", |rows: &Rows, row| first_packet(rows[row].transaction.response)),
        Column::number::<UInt64Type>("response_last_packet_id", "Packet with its last byte", |rows: &Rows, row| last_packet(rows[row].transaction.response)),
        Column::text("request", "The request as text, when option `send_request` is on", |rows: &Rows, row| rows[row].transaction.request_text.as_deref()),
        Column::text("response", "The response as text, when option `send_response` is on", |rows: &Rows, row| rows[row].transaction.response_text.as_deref()),
        Column::rare_text("community_id", "Community ID of the flow", |rows: &Rows, row| Some(rows[row].facts.community_id())),
        Column::repeated_text("client_proc_id", "Process that asks; null when it is on another host, or not known", |rows: &Rows, row| client(&rows[row]).proc_id.as_deref()),
        Column::number::<UInt32Type>("client_pid", "Its process id", |rows: &Rows, row| client(&rows[row]).pid),
        Column::repeated_text("client_process_name", "Its name then", |rows: &Rows, row| client(&rows[row]).process_name.as_deref()),
        Column::repeated_text("client_container_id", "Container that it was in", |rows: &Rows, row| client(&rows[row]).container_id()),
        Column::repeated_text("client_container_name", "Name of the container; null when no runtime told it", |rows: &Rows, row| client(&rows[row]).container_name()),
        Column::repeated_text("client_pod_name", "Name of its pod", |rows: &Rows, row| client(&rows[row]).pod_name()),
        Column::repeated_text("client_pod_namespace", "Namespace of its pod", |rows: &Rows, row| client(&rows[row]).pod_namespace()),
        Column::repeated_text("server_proc_id", "Process that answers; null when it is on another host, or not known", |rows: &Rows, row| server(&rows[row]).proc_id.as_deref()),
        Column::number::<UInt32Type>("server_pid", "Its process id", |rows: &Rows, row| server(&rows[row]).pid),
        Column::repeated_text("server_process_name", "Its name then", |rows: &Rows, row| server(&rows[row]).process_name.as_deref()),
        Column::repeated_text("server_container_id", "Container that it was in", |rows: &Rows, row| server(&rows[row]).container_id()),
        Column::repeated_text("server_container_name", "Name of the container; null when no runtime told it", |rows: &Rows, row| server(&rows[row]).container_name()),
        Column::repeated_text("server_pod_name", "Name of its pod", |rows: &Rows, row| server(&rows[row]).pod_name()),
        Column::repeated_text("server_pod_namespace", "Namespace of its pod", |rows: &Rows, row| server(&rows[row]).pod_namespace()),
        Column::repeated_text("capture_id", "The recording (UUID)", |rows: &Rows, row| Some(&rows[row].facts.capture_id)).required(),
    ];
    if with_protocol {
        columns.insert(3, Column::repeated_text("protocol", "Name of the protocol, which is that of its table", |rows: &Rows, row| Some(rows[row].transaction.protocol)).required());
    }
    columns
}

fn port(port: u16) -> Option<u16> {
    Some(port).filter(|port| *port != 0)
}

fn joined(errors: &[String]) -> Option<String> {
    (!errors.is_empty()).then(|| errors.join("; "))
}

fn first_packet(message: Option<Message>) -> Option<u64> {
    Some(message?.first.packet_id)
}

fn last_packet(message: Option<Message>) -> Option<u64> {
    Some(message?.last.packet_id)
}

fn client(record: &TransactionRecord) -> &EndFacts {
    record.facts.end(record.transaction.client)
}

fn server(record: &TransactionRecord) -> &EndFacts {
    record.facts.end(record.transaction.client.other())
}
