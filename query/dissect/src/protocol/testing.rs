//! Driving parsers in tests: a connection written down as what each end sends.

use std::sync::Arc;

use super::options::{CommonOptions, OptionTable};
use super::parser::{Chunk, Context, StreamParser};
use super::registry::Protocol;
use super::{Endpoint, Flow, Moment, Sender, Transaction};
use crate::decode::ip_protocol;

/// The client, in a flow whose beginning was seen.
pub(crate) const CLIENT: Sender = Sender::Originator;
/// The server.
pub(crate) const SERVER: Sender = Sender::Responder;

/// Something that happens on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Bytes of one end.
    Data(Sender, Vec<u8>),
    /// Missing bytes of one end.
    Gap(Sender, u64),
    /// Nothing, for so many nanoseconds.
    Pause(i64),
}

/// Bytes of the client.
pub(crate) fn client(bytes: &[u8]) -> Event {
    Event::Data(CLIENT, bytes.to_vec())
}

/// Bytes of the server.
pub(crate) fn server(bytes: &[u8]) -> Event {
    Event::Data(SERVER, bytes.to_vec())
}

/// A flow to the first default port of a protocol.
pub(crate) fn flow(protocol: &Protocol, originator_known: bool) -> Arc<Flow> {
    Arc::new(Flow {
        originator: Endpoint { port: 40_000, ..Endpoint::default() },
        responder: Endpoint { port: protocol.ports[0], ..Endpoint::default() },
        ip_protocol: ip_protocol::TCP,
        originator_known,
        ..Flow::default()
    })
}

/// A parser with the options of this text.
pub(crate) fn parser(protocol: &Protocol, flow: &Arc<Flow>, options: &str) -> Box<dyn StreamParser> {
    let mut table = OptionTable::new(protocol.name, options.parse().unwrap());
    let common = CommonOptions::read(&mut table, protocol.ports).unwrap();
    let dissector = (protocol.configure)(&common, &mut table).unwrap();
    table.finish().unwrap();
    dissector.stream(flow).unwrap()
}

/// What a parser makes of a connection. Events are a microsecond apart.
pub(crate) fn run_with(
    protocol: &Protocol,
    originator_known: bool,
    options: &str,
    events: &[Event],
) -> Vec<Transaction> {
    let flow = flow(protocol, originator_known);
    let mut parser = parser(protocol, &flow, options);
    let mut transactions = Vec::new();
    let mut at = Moment::default();
    for event in events {
        at.ts_ns += 1000;
        at.packet_id += 1;
        let mut context = Context::new(&flow, &mut transactions);
        match event {
            Event::Data(sender, bytes) => {
                if !bytes.is_empty() {
                    parser.data(Chunk { sender: *sender, bytes, at }, &mut context);
                }
            }
            Event::Gap(sender, len) => parser.gap(*sender, *len, at, &mut context),
            Event::Pause(ns) => at.ts_ns += ns,
        }
    }
    parser.finish(&mut Context::new(&flow, &mut transactions));
    transactions
}

/// [`run_with`] default options, of a connection seen from its beginning.
pub(crate) fn run(protocol: &Protocol, events: &[Event]) -> Vec<Transaction> {
    run_with(protocol, true, "", events)
}

/// Feeds every prefix of a connection, every piece size, every connection with a hole in it, and every one that is joined late:
/// nothing may panic. When pieces are cut elsewhere, the transactions must stay the same.
pub(crate) fn torture(protocol: &Protocol, events: &[Event]) {
    let all: Vec<(Sender, u8)> = (events.iter())
        .filter_map(|event| match event {
            Event::Data(sender, bytes) => Some((*sender, bytes)),
            _ => None,
        })
        .flat_map(|(sender, bytes)| bytes.iter().map(move |&byte| (sender, byte)))
        .collect();
    let pieces = |part: &[(Sender, u8)], size: usize| -> Vec<Event> {
        (part.chunk_by(|one, next| one.0 == next.0))
            .flat_map(|run| run.chunks(size))
            .map(|piece| Event::Data(piece[0].0, piece.iter().map(|&(_, byte)| byte).collect()))
            .collect()
    };
    let summary = |transactions: &[Transaction]| -> Vec<_> {
        (transactions.iter())
            .map(|one| {
                (one.method.clone(), one.query.clone(), one.status, one.incomplete, one.fields.clone())
            })
            .collect()
    };
    let expected = summary(&run(protocol, events));
    for size in [1, 2, 3, 7] {
        assert_eq!(summary(&run(protocol, &pieces(&all, size))), expected, "in pieces of {size} bytes");
    }
    let step = (all.len() / 300).max(1);
    for at in (0..=all.len()).step_by(step) {
        run(protocol, &pieces(&all[..at], usize::MAX));
        for port in ["", "ports = [1]"] {
            run_with(protocol, false, port, &pieces(&all[at..], usize::MAX));
        }
        for length in [1, 5, 50] {
            let after = (at + length).min(all.len());
            let mut holed = pieces(&all[..at], usize::MAX);
            // A hole is of one direction: the other one's bytes go missing with it, each with a gap of its own.
            for sender in Sender::BOTH {
                let missing = all[at..after].iter().filter(|(from, _)| *from == sender).count();
                if missing > 0 {
                    holed.push(Event::Gap(sender, missing as u64));
                }
            }
            holed.extend(pieces(&all[after..], usize::MAX));
            run(protocol, &holed);
        }
    }
}
