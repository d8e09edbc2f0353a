//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112).
//!
//! `head` and `chunked` are the views of what is on the wire, `messages` cuts a direction into messages, `connection` brings
//! requests and responses together, and `fields` says what they mean. What follows `CONNECT` and `101 Switching Protocols` is
//! handed over to other protocols.

mod chunked;
mod coding;
mod columns;
mod connection;
mod cookie;
#[cfg(test)]
mod damage_tests;
mod fields;
mod head;
mod message;
mod messages;
mod options;
mod parameters;
mod redact;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::connection::Connection;
use self::head::{Looks, looks};
use self::options::Options;
use super::{Detection, Dissector, Flow, Protocol, Sample, Sender, StreamParser};
use crate::decode::ip_protocol;

/// Name of the protocol.
const NAME: &str = "http";

/// HTTP.
pub static PROTOCOL: Protocol = Protocol {
    name: NAME,
    title: "HTTP",
    // Packetbeat's, save 5000, where much else is spoken.
    ports: &[80, 8080, 8000, 8002],
    ip_protocols: &[ip_protocol::TCP],
    columns: columns::COLUMNS,
    configure: |common, table| Ok(Arc::new(Http { options: Arc::new(Options::read(common, table)?) })),
};

#[derive(Debug)]
struct Http {
    options: Arc<Options>,
}

impl Dissector for Http {
    fn detect(&self, sample: &Sample<'_>) -> Detection {
        let directions = Sender::BOTH.map(|sender| {
            let bytes = sample.of(sender);
            match looks(bytes) {
                Looks::Message => Detection::Certain,
                _ if bytes.is_empty() => Detection::No,
                Looks::Unclear => Detection::More,
                // In the middle of a body, the next message may still be found.
                Looks::Other if !sample.from_start[sender.index()] => Detection::Port,
                Looks::Other => Detection::No,
            }
        });
        directions.into_iter().max().unwrap_or(Detection::No)
    }

    fn stream(&self, flow: &Arc<Flow>) -> Option<Box<dyn StreamParser>> {
        Some(Box::new(Connection::new(&self.options, flow)))
    }
}
