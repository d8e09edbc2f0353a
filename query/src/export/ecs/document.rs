//! Documents of transactions.

use std::collections::HashSet;

use kcap_dissect::decode::ip_protocol;
use kcap_dissect::protocol::{CommonOptions, Fields, Sender, Value};
use kcap_format::proto;

use super::{end_fields, network_type, transport_name};
use crate::export::json::json_text;
use crate::source::EndFacts;
use crate::transactions::TransactionRecord;

/// The document of a transaction. Fields that the protocol sets replace those that all have; its `related.*` are added.
pub(super) fn of(record: &TransactionRecord, options: &CommonOptions) -> Fields {
    let transaction = &record.transaction;
    let flow = &transaction.flow;
    let mut document = Fields::new();
    if let Some(start) = transaction.start() {
        document.set("@timestamp", Value::Time(start.ts_ns));
    }
    document.set("type", transaction.protocol);
    document.set("status", transaction.status.name());
    document.set_some("method", transaction.method.as_deref());
    document.set_some("query", transaction.query.as_deref());
    document.set_some("resource", transaction.resource.as_deref());
    set_event(record, &mut document);
    set_ends(record, &mut document);
    document.set("network.type", network_type(flow.ip_version));
    document.set("network.transport", transport_name(flow.ip_protocol));
    document.set("network.community_id", record.facts.community_id());
    if !matches!(flow.ip_protocol, ip_protocol::ICMP | ip_protocol::ICMPV6) {
        document.set("network.protocol", transaction.protocol);
    }
    if options.monitor_processes.unwrap_or(true) {
        set_processes(record, &mut document);
    }
    if let Some(text) = &transaction.request_text {
        document.set("request", text.as_str());
    }
    if let Some(text) = &transaction.response_text {
        document.set("response", text.as_str());
    }
    match transaction.errors.as_slice() {
        [] => {}
        [one] => document.set("error.message", one.as_str()),
        several => document.set("error.message", Value::list(several.iter().cloned())),
    }
    merge(&mut document, transaction.fields.clone());
    document
}

fn set_event(record: &TransactionRecord, document: &mut Fields) {
    let transaction = &record.transaction;
    document.set("event.kind", "event");
    document.set("event.category", Value::list(["network"]));
    document.set("event.type", Value::list(["connection", "protocol"]));
    document.set("event.dataset", transaction.protocol);
    if let Some(start) = transaction.start() {
        document.set("event.start", Value::Time(start.ts_ns));
    }
    if let Some(duration_ns) = transaction.duration_ns() {
        document.set("event.duration", duration_ns);
        if let Some(end) = transaction.end() {
            document.set("event.end", Value::Time(end.ts_ns));
        }
    }
}

fn set_ends(record: &TransactionRecord, document: &mut Fields) {
    let transaction = &record.transaction;
    let request = transaction.request.map_or(0, |message| message.bytes);
    let response = transaction.response.map_or(0, |message| message.bytes);
    let fields_of = |end: Sender| {
        let mut fields = end_fields(transaction.flow.end(end));
        let bytes = if end == transaction.client { request } else { response };
        if bytes > 0 {
            fields.set("bytes", bytes);
        }
        fields
    };
    document.set("client", fields_of(transaction.client));
    document.set("server", fields_of(transaction.client.other()));
    document.set("source", fields_of(transaction.source));
    document.set("destination", fields_of(transaction.source.other()));
    if request + response > 0 {
        document.set("network.bytes", request + response);
    }
    let (source, destination) =
        (transaction.flow.end(transaction.source), transaction.flow.end(transaction.source.other()));
    let mut related = vec![Value::Ip(source.ip)];
    if destination.ip != source.ip {
        related.push(Value::Ip(destination.ip));
    }
    document.set("related.ip", Value::List(related));
}

/// The processes at both ends. `process` and `container` are of the client when it is on the host, else of the server.
fn set_processes(record: &TransactionRecord, document: &mut Fields) {
    let transaction = &record.transaction;
    let ends = [
        ("client", transaction.client),
        ("server", transaction.client.other()),
        ("source", transaction.source),
        ("destination", transaction.source.other()),
    ];
    for (name, end) in ends {
        let facts = record.facts.end(end);
        if facts.pid.is_some() {
            document.object(name).set("process", process_fields(facts));
        }
    }
    let known = [transaction.client, transaction.client.other()]
        .into_iter()
        .map(|end| record.facts.end(end))
        .find(|facts| facts.pid.is_some());
    if let Some(facts) = known {
        document.set("process", process_fields(facts));
        if let Some(container) = facts.container.as_deref() {
            set_container(container, document);
        }
    }
}

/// ECS has no fields for pods: `kubernetes` is what Beats use.
fn set_container(container: &proto::Container, document: &mut Fields) {
    let mut set = |name: &str, text: &str| {
        if !text.is_empty() {
            document.set(name, text);
        }
    };
    set("container.id", &container.id);
    set("container.name", &container.name);
    set("container.runtime", &container.runtime);
    set("container.image.name", &container.image);
    if let Some(pod) = &container.pod {
        set("kubernetes.pod.name", &pod.name);
        set("kubernetes.pod.uid", &pod.id);
        set("kubernetes.namespace", &pod.namespace);
    }
}

fn process_fields(facts: &EndFacts) -> Fields {
    let mut fields = Fields::new();
    fields.set_some("pid", facts.pid);
    fields.set_some("name", facts.process_name.as_deref());
    fields.set_some("executable", facts.executable.as_deref());
    fields.set_some("command_line", facts.command_line.as_deref());
    fields.set_some("entity_id", facts.proc_id.as_deref());
    fields
}

/// Adds the protocol's fields. A null takes the field out that all have.
fn merge(document: &mut Fields, mut own: Fields) {
    if let Some(Value::Object(related)) = own.remove("related") {
        for (name, value) in related.iter() {
            let mut all = match document.remove(&format!("related.{name}")) {
                Some(Value::List(values)) => values,
                Some(one) => vec![one],
                None => Vec::new(),
            };
            let more = match value {
                Value::List(values) => values.as_slice(),
                one => std::slice::from_ref(one),
            };
            // Equal as documents show it: an address may come as such, and as text.
            let mut known: HashSet<String> = all.iter().map(json_text).collect();
            all.extend(more.iter().filter(|value| known.insert(json_text(value))).cloned());
            document.object("related").set_key(name, Value::List(all));
        }
    }
    document.merge(own);
}
