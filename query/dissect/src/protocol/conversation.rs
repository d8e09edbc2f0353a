//! One conversation: finds out which protocol it speaks, and hands its bytes to the parser.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::flow::{Flow, Moment, Sender};
use super::parser::{Chunk, Context, Datagram, DatagramParser, Detection, Sample, StreamParser};
use super::registry::{Configured, Protocols};
use super::transaction::Transaction;

/// Bytes of each direction that detection looks at.
pub const SAMPLE_LEN_MAX: usize = 4096;

/// Bytes that are held back while it isn't known which protocol they are of.
pub const HELD_LEN_MAX: usize = 64 * 1024;

/// Parts that are held back.
pub const HELD_PARTS_MAX: usize = 64;

/// Chunks at whose begin a protocol is looked for again in a stream that was not recognised: it may have been joined late, or
/// change to TLS.
pub const LATER_TRIES_MAX: u8 = 16;

/// How often a stream may change to another protocol. A connection through a chain of proxies changes once for each of them, and
/// once more for TLS: chains are of two or three. What changes more often was made to be followed in vain.
pub const HAND_OVERS_MAX: u8 = 8;

/// What the last transaction of a stream says that changes its protocol once more.
const HAND_OVERS_NOTE: &str = "The connection changed its protocol too often: what follows is not looked at";

/// Datagrams of a conversation that detection looks at.
pub const DATAGRAM_TRIES_MAX: u8 = 4;

/// One conversation, a connection of TCP or datagrams between two ends.
pub struct Conversation {
    flow: Arc<Flow>,
    state: State,
    /// How often its protocol changed.
    hand_overs: u8,
}

enum State {
    /// A stream: held back until there is enough.
    Detecting(Held),
    /// A stream whose protocol is known.
    Stream { known: Known, parser: Box<dyn StreamParser> },
    /// Datagrams whose protocol is known.
    Datagrams { known: Known, parser: Box<dyn DatagramParser> },
    /// No protocol was recognised; so many tries are left.
    Unknown { tries: u8 },
}

/// What is to be remembered of the protocol.
#[derive(Clone, Copy)]
struct Known {
    name: &'static str,
    wants_fields: bool,
}

impl Known {
    fn of(configured: &Configured) -> Self {
        Self { name: configured.protocol.name, wants_fields: configured.wants_fields() }
    }

    fn context<'a>(self, flow: &'a Arc<Flow>, transactions: &'a mut Vec<Transaction>) -> Context<'a> {
        Context::new(flow, transactions).wanting_fields(self.wants_fields)
    }
}

/// What came before a decision, to be given to the parser then.
#[derive(Default)]
struct Held {
    parts: Vec<Part>,
    samples: [Vec<u8>; 2],
    /// A direction with a gap in it: later bytes don't continue its sample.
    closed: [bool; 2],
    from_start: [bool; 2],
    len: usize,
}

enum Part {
    Data { sender: Sender, bytes: Vec<u8>, at: Moment },
    Gap { sender: Sender, len: u64, at: Moment },
    End { sender: Sender, at: Moment },
}

impl Conversation {
    /// A conversation of which nothing was seen yet.
    #[must_use]
    pub fn new(flow: Arc<Flow>) -> Self {
        let from_start = [flow.originator_known; 2];
        Self { flow, state: State::Detecting(Held { from_start, ..Held::default() }), hand_overs: 0 }
    }

    /// Name of the protocol, once it is known.
    #[must_use]
    pub fn protocol(&self) -> Option<&'static str> {
        match &self.state {
            State::Stream { known, .. } | State::Datagrams { known, .. } => Some(known.name),
            _ => None,
        }
    }

    /// True when nothing that follows will be looked at: the caller needs not reassemble it.
    #[must_use]
    pub fn is_ignored(&self) -> bool {
        matches!(self.state, State::Unknown { tries: 0 })
    }

    /// The next bytes of one direction of a stream.
    pub fn data(&mut self, protocols: &Protocols, chunk: Chunk<'_>, transactions: &mut Vec<Transaction>) {
        let released = self.take_data(protocols, chunk, transactions);
        self.take_parts(protocols, released, transactions);
    }

    /// Bytes of one direction of a stream are missing.
    pub fn gap(
        &mut self,
        protocols: &Protocols,
        sender: Sender,
        len: u64,
        at: Moment,
        transactions: &mut Vec<Transaction>,
    ) {
        let released = self.take_gap(protocols, sender, len, at, transactions);
        self.take_parts(protocols, released, transactions);
    }

    /// One direction of a stream was closed.
    pub fn end(
        &mut self,
        protocols: &Protocols,
        sender: Sender,
        at: Moment,
        transactions: &mut Vec<Transaction>,
    ) {
        let released = self.take_end(protocols, sender, at, transactions);
        self.take_parts(protocols, released, transactions);
    }

    /// The next datagram.
    pub fn datagram(
        &mut self,
        protocols: &Protocols,
        datagram: Datagram<'_>,
        transactions: &mut Vec<Transaction>,
    ) {
        let tries = match &mut self.state {
            State::Datagrams { known, parser } => {
                parser.datagram(datagram, &mut known.context(&self.flow, transactions));
                return;
            }
            State::Detecting(_) => DATAGRAM_TRIES_MAX,
            State::Unknown { tries } if *tries > 0 => *tries,
            State::Unknown { .. } | State::Stream { .. } => return,
        };
        let mut bytes: [&[u8]; 2] = [&[], &[]];
        bytes[datagram.sender.index()] = datagram.bytes;
        let sample = Sample { flow: &self.flow, bytes, first: datagram.sender, from_start: [true; 2] };
        // A datagram is whole: there will never be more of it.
        let found = best(protocols, &sample, wanted)
            .and_then(|found| Some((Known::of(found), found.dissector.datagrams(&self.flow)?)));
        self.state = match found {
            Some((known, mut parser)) => {
                parser.datagram(datagram, &mut known.context(&self.flow, transactions));
                State::Datagrams { known, parser }
            }
            None => State::Unknown { tries: tries - 1 },
        };
    }

    /// The conversation is over, or the capture is. Nothing may follow.
    pub fn finish(&mut self, protocols: &Protocols, transactions: &mut Vec<Transaction>) {
        let released = self.decide(protocols, true);
        self.take_parts(protocols, released, transactions);
        match &mut self.state {
            State::Stream { known, parser } => parser.finish(&mut known.context(&self.flow, transactions)),
            State::Datagrams { known, parser } => {
                parser.finish(&mut known.context(&self.flow, transactions));
            }
            State::Detecting(_) | State::Unknown { .. } => {}
        }
        self.state = State::Unknown { tries: 0 };
    }

    /// Takes parts one after the other; those that one of them releases come before the next one. A queue and no recursion, since
    /// each few bytes of a chunk may change the protocol.
    fn take_parts(
        &mut self,
        protocols: &Protocols,
        released: Vec<Part>,
        transactions: &mut Vec<Transaction>,
    ) {
        let mut parts = VecDeque::from(released);
        while let Some(part) = parts.pop_front() {
            let released = match part {
                Part::Data { sender, bytes, at } => {
                    self.take_data(protocols, Chunk { sender, bytes: &bytes, at }, transactions)
                }
                Part::Gap { sender, len, at } => self.take_gap(protocols, sender, len, at, transactions),
                Part::End { sender, at } => self.take_end(protocols, sender, at, transactions),
            };
            for part in released.into_iter().rev() {
                parts.push_front(part);
            }
        }
    }

    /// Gives what is to be taken next: what was held back, or is handed over to another protocol. Likewise below.
    fn take_data(
        &mut self,
        protocols: &Protocols,
        chunk: Chunk<'_>,
        transactions: &mut Vec<Transaction>,
    ) -> Vec<Part> {
        if let State::Unknown { tries } = &mut self.state {
            if *tries == 0 {
                return Vec::new();
            }
            *tries -= 1;
            self.look_again(protocols, chunk);
        }
        match &mut self.state {
            State::Stream { known, parser } => {
                let before = transactions.len();
                let mut context = known.context(&self.flow, transactions);
                parser.data(chunk, &mut context);
                let Some(rest) = context.handed_over.take() else { return Vec::new() };
                parser.finish(&mut context);
                self.hand_over(chunk, rest, &mut transactions[before..])
            }
            State::Detecting(held) => {
                held.push_data(chunk);
                self.decide(protocols, false)
            }
            State::Unknown { .. } | State::Datagrams { .. } => Vec::new(),
        }
    }

    fn take_gap(
        &mut self,
        protocols: &Protocols,
        sender: Sender,
        len: u64,
        at: Moment,
        transactions: &mut Vec<Transaction>,
    ) -> Vec<Part> {
        match &mut self.state {
            State::Stream { known, parser } => {
                parser.gap(sender, len, at, &mut known.context(&self.flow, transactions));
                Vec::new()
            }
            State::Detecting(held) => {
                held.push_gap(sender, len, at);
                self.decide(protocols, false)
            }
            State::Unknown { .. } | State::Datagrams { .. } => Vec::new(),
        }
    }

    fn take_end(
        &mut self,
        protocols: &Protocols,
        sender: Sender,
        at: Moment,
        transactions: &mut Vec<Transaction>,
    ) -> Vec<Part> {
        match &mut self.state {
            State::Stream { known, parser } => {
                parser.end(sender, at, &mut known.context(&self.flow, transactions));
                Vec::new()
            }
            State::Detecting(held) => {
                held.parts.push(Part::End { sender, at });
                self.decide(protocols, false)
            }
            State::Unknown { .. } | State::Datagrams { .. } => Vec::new(),
        }
    }

    /// Looks for a protocol at the begin of a chunk, in a stream that was not recognised before.
    fn look_again(&mut self, protocols: &Protocols, chunk: Chunk<'_>) {
        let mut samples: [&[u8]; 2] = [&[], &[]];
        samples[chunk.sender.index()] = sample_of(chunk.bytes);
        let sample = Sample { flow: &self.flow, bytes: samples, first: chunk.sender, from_start: [false; 2] };
        if let Some(found) = best(protocols, &sample, |found, _| found == Detection::Certain)
            && let Some(parser) = found.dissector.stream(&self.flow)
        {
            self.state = State::Stream { known: Known::of(found), parser };
        }
    }

    /// Makes a parser when it is clear enough of which protocol. Gives what was held back for it.
    fn decide(&mut self, protocols: &Protocols, last: bool) -> Vec<Part> {
        let State::Detecting(held) = &self.state else { return Vec::new() };
        let Some(first) = held.first_sender() else {
            if held.is_full() {
                self.state = State::Unknown { tries: LATER_TRIES_MAX };
            }
            return Vec::new();
        };
        let last = last || held.is_full() || held.closed == [true; 2];
        let sample = Sample {
            flow: &self.flow,
            bytes: [&held.samples[0], &held.samples[1]],
            first,
            from_start: held.from_start,
        };
        if !last && best(protocols, &sample, |found, _| found == Detection::Certain).is_none() {
            let more = candidates(protocols, &self.flow)
                .any(|(configured, _)| configured.dissector.detect(&sample) == Detection::More);
            if more {
                return Vec::new();
            }
        }
        let found = best(protocols, &sample, wanted)
            .and_then(|found| Some((Known::of(found), found.dissector.stream(&self.flow)?)));
        let state = match found {
            Some((known, parser)) => State::Stream { known, parser },
            None => State::Unknown { tries: LATER_TRIES_MAX },
        };
        match std::mem::replace(&mut self.state, state) {
            State::Detecting(held) if self.protocol().is_some() => held.parts,
            _ => Vec::new(),
        }
    }

    /// The stream goes on in another protocol, with the rest of a chunk. `reported`: what came of the chunk before.
    fn hand_over(&mut self, chunk: Chunk<'_>, rest: Vec<u8>, reported: &mut [Transaction]) -> Vec<Part> {
        if self.hand_overs == HAND_OVERS_MAX {
            self.state = State::Unknown { tries: 0 };
            if let Some(last) = reported.last_mut() {
                last.errors.push(HAND_OVERS_NOTE.to_owned());
            }
            return Vec::new();
        }
        self.hand_overs += 1;
        self.state = State::Detecting(Held { from_start: [true; 2], ..Held::default() });
        // Each hand-over must use some bytes up, else two parsers could hand the same ones to and fro.
        if rest.is_empty() || rest.len() >= chunk.bytes.len() {
            return Vec::new();
        }
        vec![Part::Data { sender: chunk.sender, bytes: rest, at: chunk.at }]
    }
}

impl Held {
    fn push_data(&mut self, chunk: Chunk<'_>) {
        let direction = chunk.sender.index();
        if !self.closed[direction] {
            let sample = &mut self.samples[direction];
            let room = SAMPLE_LEN_MAX - sample.len();
            sample.extend_from_slice(&chunk.bytes[..room.min(chunk.bytes.len())]);
        }
        self.len += chunk.bytes.len();
        self.parts.push(Part::Data { sender: chunk.sender, bytes: chunk.bytes.to_vec(), at: chunk.at });
    }

    fn push_gap(&mut self, sender: Sender, len: u64, at: Moment) {
        let direction = sender.index();
        if self.samples[direction].is_empty() {
            self.from_start[direction] = false;
        } else {
            self.closed[direction] = true;
        }
        self.parts.push(Part::Gap { sender, len, at });
    }

    fn first_sender(&self) -> Option<Sender> {
        self.parts.iter().find_map(|part| match part {
            Part::Data { sender, .. } => Some(*sender),
            _ => None,
        })
    }

    fn is_full(&self) -> bool {
        self.len >= HELD_LEN_MAX
            || self.parts.len() >= HELD_PARTS_MAX
            || self.samples.iter().any(|sample| sample.len() >= SAMPLE_LEN_MAX)
    }
}

/// Good enough to be followed, when there will be no more bytes to look at.
fn wanted(found: Detection, on_port: bool) -> bool {
    match found {
        Detection::No => false,
        Detection::Port | Detection::More => on_port,
        Detection::Likely | Detection::Certain => true,
    }
}

/// The surest of the protocols that are good enough; of equals one that has the port.
fn best<'p>(
    protocols: &'p Protocols,
    sample: &'p Sample<'_>,
    good_enough: impl Fn(Detection, bool) -> bool,
) -> Option<&'p Configured> {
    candidates(protocols, sample.flow)
        .map(|(configured, on_port)| (configured.dissector.detect(sample), on_port, configured))
        .filter(|(found, on_port, _)| good_enough(*found, *on_port))
        .max_by_key(|(found, on_port, _)| (*found, *on_port))
        .map(|(_, _, configured)| configured)
}

/// The protocols that are looked for in such a flow, and whether one of its ports is one of theirs.
fn candidates<'p>(protocols: &'p Protocols, flow: &'p Flow) -> impl Iterator<Item = (&'p Configured, bool)> {
    let ports = [flow.originator.port, flow.responder.port];
    protocols
        .enabled()
        .filter(|configured| configured.protocol.ip_protocols.contains(&flow.ip_protocol))
        .map(move |configured| (configured, ports.iter().any(|port| configured.common.ports.contains(port))))
        .filter(|(configured, on_port)| *on_port || protocols.is_on_any_port(configured))
}

fn sample_of(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(SAMPLE_LEN_MAX)]
}

impl fmt::Debug for Conversation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Conversation")
            .field("flow", &self.flow)
            .field("protocol", &self.protocol())
            .finish_non_exhaustive()
    }
}
