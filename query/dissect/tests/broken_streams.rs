//! Every conversation of the captures, cut short, with a hole, and joined late, through every dissector.
//!
//! A dissector that panics, or that keeps what never ends, fails here before it fails on a host.

#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kcap_dissect::decode::Icmp;
use kcap_dissect::flow::{CloseReason, Datagram, Flow, FlowConsumer, FlowOptions, Side};
use kcap_dissect::protocol::{self, Chunk, Conversation, Endpoint, Moment, Protocols, Sender, Transaction};
use kcap_dissect::stream::{Gap, StreamData};

/// Streams up to this length are cut at every byte; longer ones at every border of a chunk, a byte before and behind it, and at
/// [`CUTS_MAX`] places in all.
const LEN_OF_EVERY_CUT: usize = 600;
const CUTS_MAX: usize = 60;
/// Holes, and late starts, of one conversation: evenly over its chunks when there are more.
const VARIANTS_MAX: usize = 24;

/// Something that came, in its order.
#[derive(Clone)]
enum Event {
    Data(Sender, Vec<u8>),
    Gap(Sender, u64),
    Datagram(Sender, Vec<u8>, Option<Icmp>),
}

/// A conversation that can be had again.
struct Script {
    flow: protocol::Flow,
    events: Vec<Event>,
}

#[derive(Default)]
struct Recorder(Vec<Script>);

impl FlowConsumer for Recorder {
    type State = Vec<Event>;

    fn data(&mut self, _flow: &Flow, state: &mut Vec<Event>, side: Side, data: StreamData<'_>) {
        state.push(Event::Data(sender(side), data.bytes.to_vec()));
    }

    fn gap(&mut self, _flow: &Flow, state: &mut Vec<Event>, side: Side, gap: Gap) {
        state.push(Event::Gap(sender(side), gap.len));
    }

    fn datagram(&mut self, flow: &Flow, state: &mut Vec<Event>, side: Side, datagram: Datagram<'_>) {
        let icmp = flow.icmp.map(|(kind, code)| Icmp { kind, code, echo: Some((1, 1)) });
        state.push(Event::Datagram(sender(side), datagram.payload.to_vec(), icmp));
    }

    fn closed(&mut self, flow: &Flow, events: Vec<Event>, _reason: CloseReason) {
        let end = |ip, port| Endpoint { ip, port, mac: None };
        self.0.push(Script {
            flow: protocol::Flow {
                flow_id: flow.flow_id,
                originator: end(flow.key.source, flow.key.source_port),
                responder: end(flow.key.destination, flow.key.destination_port),
                ip_version: flow.ip_version,
                ip_protocol: flow.key.protocol,
                originator_known: flow.initiator_known,
                ..protocol::Flow::default()
            },
            events,
        });
    }
}

fn sender(side: Side) -> Sender {
    match side {
        Side::Client => Sender::Originator,
        Side::Server => Sender::Responder,
    }
}

/// The captures of this project, and of the collection beside it.
fn captures() -> Vec<PathBuf> {
    let mut captures = Vec::new();
    support::gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata"), &mut captures);
    assert!(!captures.is_empty(), "testdata is part of the project");
    captures.extend(support::all_captures());
    captures
}

fn scripts(capture: &Path) -> Vec<Script> {
    support::follow(&support::packets(capture), FlowOptions::default(), Recorder::default()).0
}

fn play<'a>(
    protocols: &Protocols,
    flow: &protocol::Flow,
    events: impl IntoIterator<Item = &'a Event>,
) -> Vec<Transaction> {
    let mut conversation = Conversation::new(Arc::new(flow.clone()));
    let mut transactions = Vec::new();
    for (place, event) in events.into_iter().enumerate() {
        let at = Moment { ts_ns: place as i64 * 1_000_000, packet_id: place as u64 };
        match event {
            Event::Data(_, bytes) if bytes.is_empty() => {}
            Event::Data(sender, bytes) => {
                conversation.data(protocols, Chunk { sender: *sender, bytes, at }, &mut transactions);
            }
            Event::Gap(sender, len) => conversation.gap(protocols, *sender, *len, at, &mut transactions),
            Event::Datagram(sender, bytes, icmp) => {
                let wire_len = bytes.len();
                let datagram = protocol::Datagram { sender: *sender, bytes, wire_len, icmp: *icmp, at };
                conversation.datagram(protocols, datagram, &mut transactions);
            }
        }
    }
    conversation.finish(protocols, &mut transactions);
    transactions
}

/// The options that make dissectors do the most.
fn protocols() -> Protocols {
    let common = "send_request = true\nsend_response = true";
    let options = format!(
        "[dns]\n{common}\ninclude_authorities = true\ninclude_additionals = true\n[dhcpv4]\n{common}\n\
         [http]\n{common}\nsend_all_headers = true\ndecode_body = true\n[icmp]\n{common}"
    );
    Protocols::read(options.parse().expect("TOML")).expect("options")
}

/// At most so many of the numbers below `len`, evenly.
fn some_of(len: usize, max: usize) -> impl Iterator<Item = usize> {
    let step = len.div_ceil(max).max(1);
    (0..len).step_by(step)
}

#[test]
fn cut_short_at_every_place() {
    let protocols = protocols();
    for capture in captures() {
        for script in scripts(&capture) {
            for (place, event) in script.events.iter().enumerate() {
                let (Event::Data(_, bytes) | Event::Datagram(_, bytes, _)) = event else { continue };
                let total: usize = script.events.len();
                if total > CUTS_MAX && place % total.div_ceil(CUTS_MAX) != 0 {
                    continue;
                }
                let step =
                    if bytes.len() <= LEN_OF_EVERY_CUT && total <= 8 { 1 } else { bytes.len().max(3) / 3 };
                for len in (0..bytes.len()).step_by(step).chain([bytes.len().saturating_sub(1)]) {
                    let cut = match event {
                        Event::Datagram(sender, bytes, icmp) => {
                            Event::Datagram(*sender, bytes[..len].to_vec(), *icmp)
                        }
                        Event::Data(sender, bytes) => Event::Data(*sender, bytes[..len].to_vec()),
                        Event::Gap(..) => continue,
                    };
                    play(&protocols, &script.flow, script.events[..place].iter().chain([&cut]));
                }
            }
        }
    }
}

#[test]
fn with_a_hole() {
    let protocols = protocols();
    for capture in captures() {
        for script in scripts(&capture) {
            for hole in some_of(script.events.len(), VARIANTS_MAX) {
                let mut events = script.events.clone();
                events[hole] = match &events[hole] {
                    Event::Data(sender, bytes) => Event::Gap(*sender, bytes.len() as u64),
                    Event::Datagram(sender, _, icmp) => Event::Datagram(*sender, Vec::new(), *icmp),
                    gap @ Event::Gap(..) => gap.clone(),
                };
                play(&protocols, &script.flow, &events);
            }
        }
    }
}

#[test]
fn joined_late() {
    let protocols = protocols();
    for capture in captures() {
        for script in scripts(&capture) {
            let late = protocol::Flow { originator_known: false, ..script.flow.clone() };
            for start in some_of(script.events.len(), VARIANTS_MAX) {
                play(&protocols, &late, &script.events[start..]);
                // Also from within a message, and with the ends the wrong way round.
                let mut events = script.events[start..].to_vec();
                if let Some(Event::Data(_, bytes)) = events.first_mut() {
                    bytes.drain(..bytes.len() / 2);
                }
                for event in &mut events {
                    let (Event::Data(sender, _) | Event::Gap(sender, _) | Event::Datagram(sender, _, _)) =
                        event;
                    *sender = sender.other();
                }
                let turned = protocol::Flow {
                    originator: script.flow.responder,
                    responder: script.flow.originator,
                    ..late.clone()
                };
                play(&protocols, &turned, &events);
            }
        }
    }
}
