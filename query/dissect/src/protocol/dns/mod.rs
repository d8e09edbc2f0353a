//! The Domain Name System (RFC 1034, 1035), over UDP and TCP.
//!
//! [`message`] is the view: sections, records, names. [`records`] and `meaning` turn it into fields; `datagrams` and `stream`
//! bring queries and responses together.

mod columns;
mod datagrams;
mod domain;
mod meaning;
pub mod message;
pub mod names;
pub mod records;
#[cfg(test)]
mod samples;
mod service;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use message::Section;

use super::flow::Flow;
use super::options::{CommonOptions, OptionError, OptionTable};
use super::parser::{DatagramParser, Detection, Dissector, Sample, StreamParser};
use super::registry::Protocol;
use crate::decode::ip_protocol;

/// The entry of the registry.
pub static PROTOCOL: Protocol = Protocol {
    name: "dns",
    title: "DNS",
    ports: &[53],
    ip_protocols: &[ip_protocol::UDP, ip_protocol::TCP],
    columns: columns::COLUMNS,
    configure,
};

/// Options of the protocol.
#[derive(Clone, Copy, Debug)]
struct Options {
    send_request: bool,
    send_response: bool,
    transaction_timeout_ns: i64,
    include_authorities: bool,
    include_additionals: bool,
}

struct Dns(Options);

fn configure(common: &CommonOptions, options: &mut OptionTable) -> Result<Arc<dyn Dissector>, OptionError> {
    Ok(Arc::new(Dns(Options {
        send_request: common.send_request,
        send_response: common.send_response,
        transaction_timeout_ns: common.transaction_timeout_ns,
        include_authorities: options.switch("include_authorities", false)?,
        include_additionals: options.switch("include_additionals", false)?,
    })))
}

impl Dissector for Dns {
    fn detect(&self, sample: &Sample<'_>) -> Detection {
        let bytes = sample.of(sample.first);
        if sample.flow.ip_protocol == ip_protocol::TCP {
            stream::detect(bytes, sample.from_start[sample.first.index()])
        } else {
            detect(bytes)
        }
    }

    fn stream(&self, flow: &Arc<Flow>) -> Option<Box<dyn StreamParser>> {
        Some(Box::new(stream::Stream::new(flow, self.0)))
    }

    fn datagrams(&self, _flow: &Arc<Flow>) -> Option<Box<dyn DatagramParser>> {
        Some(Box::new(datagrams::Datagrams::new(self.0)))
    }
}

/// How much a message looks like one: there is no magic number, but a header that makes sense before records that end where the
/// message does is rare by chance.
fn detect(bytes: &[u8]) -> Detection {
    const OPCODE_MAX: u8 = 6;
    const CLASSES: [u16; 4] = [1, 3, 254, 255];
    let Some(message) = message::read(bytes) else { return Detection::No };
    let header = message.header;
    if header.opcode() > OPCODE_MAX {
        return Detection::No;
    }
    let known = |question: message::Question<'_>| {
        names::is_known_type(question.kind) && CLASSES.contains(&(question.class & 0x7fff))
    };
    let has_content = message.questions().next().is_some() || message.record_count(Section::Answers) > 0;
    let whole = message.error.is_none() && message.len == bytes.len();
    if whole && has_content && !header.has(message::flag::ZERO) && message.questions().all(known) {
        Detection::Likely
    } else {
        Detection::Port
    }
}
