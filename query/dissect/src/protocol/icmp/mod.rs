//! ICMP for IPv4 (RFC 792) and IPv6 (RFC 4443).
//!
//! Requests are matched with their replies by identifier and sequence number. An error is a transaction of its own, tied to
//! the flow whose packet it carries.

mod columns;
mod names;
mod original;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::names::{Role, message_name, role};
use super::flow::{Flow, Sender};
use super::matcher::{Limits, Matcher, Unanswered};
use super::options::{CommonOptions, OptionError, OptionTable};
use super::parser::{Context, Datagram, DatagramParser, Detection, Dissector, Sample};
use super::registry::Protocol;
use super::transaction::{Incomplete, Message, Status, Transaction};
use super::value::Fields;
use crate::decode::{Icmp, ip_protocol};

/// The entry of the registry.
pub static PROTOCOL: Protocol = Protocol {
    name: "icmp",
    title: "ICMP",
    ports: &[],
    ip_protocols: &[ip_protocol::ICMP, ip_protocol::ICMPV6],
    columns: columns::COLUMNS,
    configure,
};

/// Sentences that Packetbeat has in `error.message`.
mod sentence {
    pub(super) const NO_RESPONSE: &str = "Request was received without an associated response.";
    pub(super) const NO_REQUEST: &str = "Response was received without an associated request.";
    pub(super) const REPLACED: &str = "Another request with the same id/seq was received so this request was closed \
                                       without receiving a response.";
}

struct IcmpDissector(Limits);

fn configure(common: &CommonOptions, _options: &mut OptionTable) -> Result<Arc<dyn Dissector>, OptionError> {
    Ok(Arc::new(IcmpDissector(Limits::with_timeout(common.transaction_timeout_ns))))
}

impl Dissector for IcmpDissector {
    fn detect(&self, _sample: &Sample<'_>) -> Detection {
        // It is a protocol of IP: nothing else has its number.
        Detection::Certain
    }

    fn datagrams(&self, _flow: &Arc<Flow>) -> Option<Box<dyn DatagramParser>> {
        Some(Box::new(Messages { waiting: Matcher::new(self.0) }))
    }
}

/// Sender, type, identifier and sequence number of a request.
type Key = (Sender, u8, Option<(u16, u16)>);

/// The messages between two hosts.
struct Messages {
    waiting: Matcher<Key, Part>,
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    sender: Sender,
    icmp: Icmp,
    place: Message,
}

/// Memory that a request counts while it waits: that of the transaction that is made of it. When a conversation ends, all that wait
/// become transactions at once.
const PART_BYTES: usize = 1024;

impl DatagramParser for Messages {
    fn datagram(&mut self, datagram: Datagram<'_>, context: &mut Context<'_>) {
        let Some(icmp) = datagram.icmp else { return };
        let part = Part { sender: datagram.sender, icmp, place: Message::at(datagram.at, datagram.wire_len) };
        let now_ns = datagram.at.ts_ns;
        match role(context.flow.ip_protocol, icmp.kind) {
            Role::Request => {
                let key = (requester(context.flow, part.sender), icmp.kind, icmp.echo);
                report(self.waiting.request_once(key, now_ns, PART_BYTES, part), context);
            }
            Role::ResponseTo(request_kind) => {
                report(self.waiting.expired(now_ns), context);
                let key = (requester(context.flow, part.sender.other()), request_kind, icmp.echo);
                let request = self.waiting.response(&key);
                emit(context, request, Some(part), sentence::NO_REQUEST);
            }
            Role::Error => {
                let mut transaction = alone(context, &part);
                transaction.status = Status::Error;
                if context.wants_fields {
                    let mut fields = Fields::new();
                    original::set_fields(&mut fields, context.flow, datagram.bytes);
                    transaction.fields.object("icmp").merge(fields);
                }
                context.emit(transaction);
            }
            Role::Notice => {
                let transaction = alone(context, &part);
                context.emit(transaction);
            }
        }
    }

    fn finish(&mut self, context: &mut Context<'_>) {
        for request in self.waiting.drain() {
            emit(context, Some(request), None, sentence::NO_RESPONSE);
        }
    }
}

/// The end that is taken for the sender of a request: nothing tells the ends of a host apart that asks itself.
fn requester(flow: &Flow, sender: Sender) -> Sender {
    if flow.originator.ip == flow.responder.ip { Sender::Originator } else { sender }
}

fn report(unanswered: Vec<Unanswered<Part>>, context: &mut Context<'_>) {
    for request in unanswered {
        let why = match request {
            Unanswered::Replaced(_) => sentence::REPLACED,
            _ => sentence::NO_RESPONSE,
        };
        emit(context, Some(request.into_request()), None, why);
    }
}

/// Reports a request and its response, one of which may be missing.
fn emit(context: &mut Context<'_>, request: Option<Part>, response: Option<Part>, if_alone: &str) {
    let client = match (&request, &response) {
        (Some(request), _) => request.sender,
        (None, Some(response)) => response.sender.other(),
        (None, None) => return,
    };
    let mut transaction = Transaction::new(PROTOCOL.name, context.flow, client);
    let missing = match (&request, &response) {
        (None, _) => Some(Incomplete::NoRequest),
        (_, None) => Some(Incomplete::NoResponse),
        _ => None,
    };
    if let Some(reason) = missing {
        transaction.set_incomplete(reason);
        transaction.errors.push(if_alone.to_owned());
        transaction.status = Status::Error;
    }
    transaction.request = request.as_ref().map(|part| part.place);
    transaction.response = response.as_ref().map(|part| part.place);
    if context.wants_fields {
        set_common(&mut transaction);
        for (name, part) in [("request", request), ("response", response)] {
            if let Some(part) = part {
                let fields = message_fields(context.flow.ip_protocol, part.icmp);
                transaction.fields.object("icmp").set(name, fields);
            }
        }
    }
    context.emit(transaction);
}

/// A message that neither asks nor answers.
fn alone(context: &Context<'_>, part: &Part) -> Transaction {
    let mut transaction = Transaction::new(PROTOCOL.name, context.flow, part.sender);
    transaction.request = Some(part.place);
    if context.wants_fields {
        set_common(&mut transaction);
        let fields = message_fields(context.flow.ip_protocol, part.icmp);
        transaction.fields.object("icmp").set("request", fields);
    }
    transaction
}

fn set_common(transaction: &mut Transaction) {
    let version: u8 = if transaction.flow.ip_protocol == ip_protocol::ICMP { 4 } else { 6 };
    transaction.fields.set("icmp.version", version);
    transaction.fields.set("event.type", super::Value::list(["connection"]));
    transaction.fields.set("path", super::Value::Ip(transaction.server_end().ip));
}

fn message_fields(ip_protocol: u8, icmp: Icmp) -> Fields {
    let mut fields = Fields::new();
    fields.set("message", message_name(ip_protocol, icmp));
    fields.set("type", icmp.kind);
    fields.set("code", icmp.code);
    if let Some((identifier, sequence)) = icmp.echo {
        fields.set("id", identifier);
        fields.set("seq", sequence);
    }
    fields
}
