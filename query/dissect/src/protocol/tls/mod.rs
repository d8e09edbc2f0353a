//! TLS 1.0 to 1.3, and SSL 3.0: the handshake of each connection (RFC 8446, RFC 5246).
//!
//! `record` and `messages` cut the stream into messages, `hello` and `extension` are views of those, `connection`
//! follows a handshake, and `fields` says what it means. Whatever comes after the handshake is encrypted and not looked at.

mod certificate;
mod cipher_suites;
mod columns;
mod connection;
mod distinguished_name;
mod extension;
mod fields;
mod hello;
mod hex;
mod ja3;
mod ja4;
mod messages;
mod names;
mod options;
mod reader;
mod record;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::connection::Connection;
use self::messages::MESSAGE_LEN_MAX;
use self::options::Options;
use self::record::{ContentType, HEADER_LEN, RecordHeader};
use super::{Detection, Dissector, Flow, Protocol, Sample, StreamParser};
use crate::decode::ip_protocol;

/// Name of the protocol.
const NAME: &str = "tls";

/// TLS.
pub static PROTOCOL: Protocol = Protocol {
    name: NAME,
    title: "TLS",
    ports: &[443, 993, 995, 5223, 8443, 8883, 9243],
    ip_protocols: &[ip_protocol::TCP],
    columns: columns::COLUMNS,
    configure: |_, table| Ok(Arc::new(Tls { options: Arc::new(Options::read(table)?) })),
};

#[derive(Debug)]
struct Tls {
    options: Arc<Options>,
}

impl Dissector for Tls {
    fn detect(&self, sample: &Sample<'_>) -> Detection {
        let found = super::Sender::BOTH.map(|sender| detect_direction(sample.of(sender)));
        found.into_iter().max().unwrap_or(Detection::No)
    }

    fn stream(&self, flow: &Arc<Flow>) -> Option<Box<dyn StreamParser>> {
        Some(Box::new(Connection::new(&self.options, flow)))
    }
}

/// A hello is beyond doubt; other records make it TLS on its ports.
fn detect_direction(bytes: &[u8]) -> Detection {
    const CLIENT_HELLO: u8 = 1;
    const SERVER_HELLO: u8 = 2;
    let Some(header) = RecordHeader::at_start(bytes) else {
        let may_begin = bytes.is_empty() || matches!(bytes, [20..=24] | [20..=24, 3, ..]);
        return if !bytes.is_empty() && bytes.len() < HEADER_LEN && may_begin {
            Detection::More
        } else {
            Detection::No
        };
    };
    match (header.content_type, bytes.get(HEADER_LEN..)) {
        // The kind, and a length that is possible.
        (ContentType::Handshake, Some(&[CLIENT_HELLO | SERVER_HELLO, 0, ..])) => Detection::Certain,
        (ContentType::Handshake, Some(&[CLIENT_HELLO | SERVER_HELLO] | &[])) => Detection::More,
        (ContentType::Alert, _) if header.len == 2 => Detection::Likely,
        _ => Detection::Port,
    }
}
