//! Dynamic Host Configuration Protocol for IPv4 (RFC 2131), and BOOTP (RFC 951) where it has no options.
//!
//! As in Packetbeat, each message is a transaction: what belongs together has the same `dhcpv4.transaction_id`, while addresses
//! change on the way, and broadcasts have many readers.

mod columns;
mod kinds;
mod message;
mod options;
mod relay;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use self::message::{COOKIE, COOKIE_OFFSET, Message};
use super::flow::Flow;
use super::options::{CommonOptions, OptionError, OptionTable};
use super::parser::{Context, Datagram, DatagramParser, Detection, Dissector, Sample};
use super::registry::Protocol;
use super::transaction::{Incomplete, Message as Place, Status, Transaction};
use super::value::{Fields, Value, text};
use crate::decode::{ip_protocol, map_ipv4};

/// The entry of the registry.
pub static PROTOCOL: Protocol = Protocol {
    name: "dhcpv4",
    title: "DHCP for IPv4",
    ports: &[67, 68],
    ip_protocols: &[ip_protocol::UDP],
    columns: columns::COLUMNS,
    configure,
};

#[derive(Clone, Copy)]
struct Dhcp {
    send_request: bool,
    send_response: bool,
}

fn configure(common: &CommonOptions, _options: &mut OptionTable) -> Result<Arc<dyn Dissector>, OptionError> {
    Ok(Arc::new(Dhcp { send_request: common.send_request, send_response: common.send_response }))
}

impl Dissector for Dhcp {
    fn detect(&self, sample: &Sample<'_>) -> Detection {
        let bytes = sample.of(sample.first);
        match bytes.get(COOKIE_OFFSET..COOKIE_OFFSET + COOKIE.len()) {
            Some(cookie) if cookie == COOKIE && matches!(bytes[0], 1 | 2) => Detection::Certain,
            _ if Message::read(bytes).is_some() => Detection::Port,
            _ => Detection::No,
        }
    }

    fn datagrams(&self, _flow: &Arc<Flow>) -> Option<Box<dyn DatagramParser>> {
        Some(Box::new(*self))
    }
}

impl DatagramParser for Dhcp {
    fn datagram(&mut self, datagram: Datagram<'_>, context: &mut Context<'_>) {
        let Some(message) = Message::read(datagram.bytes) else { return };
        let place = Some(Place::at(datagram.at, datagram.wire_len));
        let is_request = message.operation() == message::BOOT_REQUEST;
        let client = if is_request { datagram.sender } else { datagram.sender.other() };
        let mut transaction = Transaction::new(PROTOCOL.name, context.flow, client);
        transaction.source = datagram.sender;
        let wants_all = context.wants_fields;
        let options = options::option_fields(&message, |code| {
            wants_all || matches!(code, options::MESSAGE_TYPE | options::MESSAGE)
        });
        let message_type = options.value("message_type").and_then(Value::as_text).map(str::to_owned);
        if matches!(message_type.as_deref(), Some("nak" | "decline")) {
            transaction.status = Status::Error;
            transaction.errors.extend(options.value("message").and_then(Value::as_text).map(str::to_owned));
        }
        if message.options_error().is_some() || datagram.bytes.len() < datagram.wire_len {
            transaction.set_incomplete(Incomplete::Malformed);
            transaction.errors.push("Malformed message: its options are cut".to_owned());
        }
        transaction.method = message_type.map(|name| name.to_uppercase().into());
        let wanted = if is_request { self.send_request } else { self.send_response };
        let shown = wanted.then(|| text(datagram.bytes));
        if is_request {
            (transaction.request, transaction.request_text) = (place, shown);
        } else {
            (transaction.response, transaction.response_text) = (place, shown);
        }
        if context.wants_fields {
            transaction.fields.set("dhcpv4", message_fields(&message, options));
        }
        context.emit(transaction);
    }

    fn finish(&mut self, _context: &mut Context<'_>) {}
}

/// The fields below `dhcpv4`. Addresses that are 0.0.0.0 say that there is none, and are left out.
fn message_fields(message: &Message<'_>, options: Fields) -> Fields {
    let mut fields = Fields::new();
    fields.set("op_code", kinds::operation_name(message.operation()));
    fields.set("hardware_type", kinds::hardware_name(message.hardware_type()));
    fields.set("hops", message.hops());
    fields.set("transaction_id", format!("0x{:08x}", message.transaction_id()));
    fields.set("seconds", message.seconds());
    fields.set("flags", if message.is_broadcast() { "broadcast" } else { "unicast" });
    fields.set("client_mac", values::mac(message.client_hardware_address()));
    let addresses = [
        ("client_ip", message.client_ip()),
        ("assigned_ip", message.assigned_ip()),
        ("server_ip", message.server_ip()),
        ("relay_ip", message.relay_ip()),
    ];
    for (name, address) in addresses {
        if address != [0; 4] {
            fields.set(name, Value::Ip(map_ipv4(address)));
        }
    }
    if let Some(name) = message.server_name() {
        fields.set("server_name", name);
    }
    if let Some(name) = message.boot_file_name() {
        fields.set("boot_file_name", name);
    }
    if !options.is_empty() {
        fields.set("option", options);
    }
    fields
}
