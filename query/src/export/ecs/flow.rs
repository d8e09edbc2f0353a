//! Documents of flows, as Packetbeat's flows report them.

use kcap_dissect::protocol::{Fields, Sender, Value};

use super::{FLOW_TYPE, end_fields, network_type, transport_name};
use crate::table::types::mac_text;
use crate::transactions::FlowReportRecord;

/// The document of a report, with counts since the begin of the flow, or since the report before it.
pub(super) fn of(record: &FlowReportRecord, is_delta: bool) -> Fields {
    let (flow, report) = (&record.facts.flow, &record.report);
    let mut document = Fields::new();
    document.set("@timestamp", Value::Time(report.due_ns));
    document.set("type", FLOW_TYPE);
    document.set("event.kind", "event");
    document.set("event.category", Value::list(["network"]));
    let kinds: &[&str] = if report.is_final { &["connection", "end"] } else { &["connection"] };
    document.set("event.type", Value::list(kinds.iter().copied()));
    document.set("event.action", "network_flow");
    document.set("event.dataset", FLOW_TYPE);
    document.set("event.start", Value::Time(report.start_ns));
    document.set("event.end", Value::Time(report.end_ns));
    document.set("event.duration", report.end_ns.saturating_sub(report.start_ns));
    document.set("flow.id", format!("{:016x}-{:x}-{}", flow.flow_id, flow.conversation, report.series));
    document.set("flow.final", report.is_final);
    let vlans: Vec<u16> = flow.vlan_ids.into_iter().filter(|id| *id != 0).collect();
    match vlans.as_slice() {
        [] => {}
        [one] => document.set("flow.vlan", *one),
        several => document.set("flow.vlan", Value::list(several.iter().copied())),
    }
    let counters = if is_delta { &report.deltas } else { &report.totals };
    for (name, end) in [("source", Sender::Originator), ("destination", Sender::Responder)] {
        let endpoint = flow.end(end);
        let mut fields = end_fields(endpoint);
        fields.set_some("mac", endpoint.mac.map(|mac| mac_text(&mac)));
        let counters = &counters[end.index()];
        if counters.packets > 0 {
            fields.set("packets", counters.packets);
            fields.set("bytes", counters.bytes);
        }
        if let Some(pid) = record.facts.end(end).pid {
            fields.set("process.pid", pid);
            fields.set_some("process.name", record.facts.end(end).process_name.as_deref());
        }
        document.set(name, fields);
    }
    document.set("network.type", network_type(flow.ip_version));
    document.set("network.transport", transport_name(flow.ip_protocol));
    document.set("network.community_id", record.facts.community_id());
    document.set("network.packets", counters.iter().map(|side| side.packets).sum::<u64>());
    document.set("network.bytes", counters.iter().map(|side| side.bytes).sum::<u64>());
    document
}
