//! Documents in the Elastic Common Schema, as Packetbeat writes them.
//!
//! `document` makes them of transactions, `flow` of reports of flows; [`EcsWriter`] lets processors have them and writes lines.

mod document;
mod flow;

use std::io::Write;

use kcap_dissect::protocol::{Fields, Protocol, Value};

use super::json::{json_object, json_text};
use crate::config::{Config, ExtraFields, document_value};
use crate::transactions::Found;

/// `type` of documents of flows.
pub const FLOW_TYPE: &str = "flow";

/// How documents are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcsFormat {
    /// A document a line.
    Ndjson,
    /// Elasticsearch's bulk format: before each document a line that says what to do with it. The index is that of the
    /// request's path.
    Bulk,
}

/// Writes documents.
#[derive(Debug)]
pub struct EcsWriter<'a, W> {
    config: &'a Config,
    format: EcsFormat,
    output: W,
    written: u64,
}

impl<'a, W: Write> EcsWriter<'a, W> {
    /// A writer that has written nothing.
    #[must_use]
    pub fn new(config: &'a Config, format: EcsFormat, output: W) -> Self {
        Self { config, format, output, written: 0 }
    }

    /// Writes the document of what was found, unless Packetbeat has none of its kind, or a processor drops it.
    ///
    /// # Errors
    /// When the output can't be written.
    pub fn write(&mut self, found: &Found) -> std::io::Result<()> {
        let (document_type, mut document) = match found {
            Found::Transaction(record) if record.transaction.table_only => return Ok(()),
            Found::Transaction(record) => {
                let protocol = record.transaction.protocol;
                let Some(configured) = self.config.protocols.named(protocol) else { return Ok(()) };
                let mut document = document::of(record, &configured.common);
                let own = &configured.common;
                let own_fields =
                    ExtraFields { fields: own.fields.clone(), under_root: own.fields_under_root };
                self.add_extras(&mut document, &own.tags, &own_fields);
                if own.keep_null {
                    add_nulls(&mut document, configured.protocol);
                } else {
                    remove_nulls(&mut document);
                }
                (protocol, document)
            }
            Found::Flow(record) => {
                let Some(flows) = &self.config.flows else { return Ok(()) };
                let mut document = flow::of(record, flows.is_delta);
                self.add_extras(&mut document, &flows.tags, &flows.fields);
                (FLOW_TYPE, document)
            }
        };
        let id = self.format == EcsFormat::Bulk;
        let id = id.then(|| document_id(found, self.written));
        if !self.config.process(document_type, &mut document) {
            return Ok(());
        }
        self.written += 1;
        if let Some(id) = id {
            writeln!(self.output, "{{\"create\":{{\"_id\":{}}}}}", json_text(&id.into()))?;
        }
        writeln!(self.output, "{}", json_object(&document))
    }

    /// The output, when all is written.
    pub fn into_inner(self) -> W {
        self.output
    }

    /// Adds the tags and fields of the file: those of all documents, then those of its kind.
    fn add_extras(&self, document: &mut Fields, own_tags: &[String], own_fields: &ExtraFields) {
        let tags: Vec<_> = self.config.tags.iter().chain(own_tags).cloned().collect();
        if !tags.is_empty() {
            document.set("tags", Value::list(tags));
        }
        for extra in [&self.config.fields, own_fields] {
            if extra.fields.is_empty() {
                continue;
            }
            let Value::Object(fields) = document_value(&toml::Value::Table(extra.fields.clone())) else {
                continue;
            };
            if extra.under_root {
                document.merge(fields);
            } else {
                document.object("fields").merge(fields);
            }
        }
    }
}

/// A name for a document that another run over the same packets gives too, so that nothing is there twice when it is loaded
/// again. `place` tells documents apart that come from the same packets.
fn document_id(found: &Found, place: u64) -> String {
    match found {
        Found::Transaction(record) => {
            let transaction = &record.transaction;
            let (start, end) =
                (transaction.start().unwrap_or_default(), transaction.end().unwrap_or_default());
            format!(
                "{}-{}-{:x}-{:x}-{place:x}",
                record.facts.capture_id, transaction.protocol, start.packet_id, end.packet_id
            )
        }
        Found::Flow(record) => {
            let (flow, report) = (&record.facts.flow, &record.report);
            format!(
                "{}-{FLOW_TYPE}-{:x}-{:x}-{}-{}",
                record.facts.capture_id, flow.flow_id, flow.conversation, report.series, report.number
            )
        }
    }
}

/// Fields that the protocol's table has, and the document hasn't, are null.
fn add_nulls(document: &mut Fields, protocol: &Protocol) {
    let columns = protocol.columns.iter().map(|column| column.path);
    for path in ["method", "query", "resource"].into_iter().chain(columns) {
        if document.value(path).is_none() {
            document.set(path, Value::Null);
        }
    }
}

fn remove_nulls(fields: &mut Fields) {
    fields.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(below) => {
            remove_nulls(below);
            true
        }
        _ => true,
    });
}

/// Address, port and hardware address of an end.
fn end_fields(end: &kcap_dissect::protocol::Endpoint) -> Fields {
    let mut fields = Fields::new();
    fields.set("ip", Value::Ip(end.ip));
    if end.port != 0 {
        fields.set("port", end.port);
    }
    fields
}

/// Field `network.type`.
fn network_type(ip_version: u8) -> &'static str {
    if ip_version == 6 { "ipv6" } else { "ipv4" }
}

/// Field `network.transport`: IANA's name of the protocol, its number where it has none here.
fn transport_name(ip_protocol: u8) -> String {
    let name = match ip_protocol {
        1 => "icmp",
        2 => "igmp",
        4 => "ipv4",
        6 => "tcp",
        17 => "udp",
        41 => "ipv6",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "ipv6-icmp",
        89 => "ospfigp",
        132 => "sctp",
        other => return other.to_string(),
    };
    name.to_owned()
}
