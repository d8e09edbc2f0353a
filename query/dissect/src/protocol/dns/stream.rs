//! DNS over TCP: messages with their length before them (RFC 1035, section 4.2.2; RFC 7766).

use std::sync::Arc;

use super::Options;
use super::datagrams::report;
use super::meaning::{Alone, Part, emit};
use super::message::{HEADER_LEN, Header, read};
use crate::protocol::flow::{Flow, Moment, Sender};
use crate::protocol::matcher::{Limits, Matcher};
use crate::protocol::parser::{Chunk, Context, Detection, StreamParser};
use crate::protocol::transaction::Message as Place;

/// Bytes of the length.
const PREFIX_LEN: usize = 2;

/// Queries and responses of one connection.
#[derive(Debug)]
pub(super) struct Stream {
    options: Options,
    directions: [Direction; 2],
    waiting: Matcher<(Sender, u16), (Sender, Part)>,
    transfer: Option<Transfer>,
}

/// One direction: the message that isn't whole yet. At most 64 KiB, by its length.
#[derive(Debug, Default)]
struct Direction {
    bytes: Vec<u8>,
    first: Moment,
    /// After a gap: bytes are passed over until a chunk begins with what looks like a message.
    lost: bool,
}

/// A transfer of a zone: a response of several messages.
#[derive(Debug)]
struct Transfer {
    client: Sender,
    request: Part,
    response: Option<Part>,
    soa_seen: usize,
}

impl Stream {
    pub(super) fn new(flow: &Arc<Flow>, options: Options) -> Self {
        let limits = Limits::with_timeout(options.transaction_timeout_ns);
        let direction = || Direction { lost: !flow.originator_known, ..Direction::default() };
        Self {
            options,
            directions: [direction(), direction()],
            waiting: Matcher::new(limits),
            transfer: None,
        }
    }

    fn message(&mut self, sender: Sender, part: Part, context: &mut Context<'_>) {
        let now_ns = part.place.first.ts_ns;
        if !part.header.is_response() {
            let key = (sender, part.header.id);
            let unanswered = self.waiting.request_once(key, now_ns, part.memory_bytes(), (sender, part));
            report(unanswered, context);
            return;
        }
        let client = sender.other();
        if self.continues_transfer(client, &part) {
            self.transfer_part(part, context);
            return;
        }
        report(self.waiting.expired(now_ns), context);
        match self.waiting.response(&(client, part.header.id)) {
            Some((_, request)) if request.is_transfer() && part.header.response_code() == 0 => {
                self.end_transfer(context);
                self.transfer = Some(Transfer { client, request, response: None, soa_seen: 0 });
                self.transfer_part(part, context);
            }
            request => {
                let request = request.map(|(_, request)| request);
                emit(context, client, request, Some(part), Alone::NoResponse);
            }
        }
    }

    fn continues_transfer(&self, client: Sender, part: &Part) -> bool {
        self.transfer
            .as_ref()
            .is_some_and(|transfer| transfer.client == client && transfer.request.header.id == part.header.id)
    }

    /// A transfer ends with the SOA record that it began with (RFC 5936, section 2.2); an incremental one has more of them
    /// (RFC 1995, section 4) and is taken to end when the next query is answered or the connection is closed.
    fn transfer_part(&mut self, part: Part, context: &mut Context<'_>) {
        let Some(transfer) = &mut self.transfer else { return };
        transfer.soa_seen += part.soa_count;
        match &mut transfer.response {
            Some(response) => response.append(&part),
            None => transfer.response = Some(part),
        }
        let is_full = transfer.request.is_full_transfer();
        if is_full && transfer.soa_seen >= 2 {
            self.end_transfer(context);
        }
    }

    fn end_transfer(&mut self, context: &mut Context<'_>) {
        if let Some(transfer) = self.transfer.take() {
            emit(context, transfer.client, Some(transfer.request), transfer.response, Alone::NoResponse);
        }
    }
}

impl StreamParser for Stream {
    fn data(&mut self, chunk: Chunk<'_>, context: &mut Context<'_>) {
        let direction = &mut self.directions[chunk.sender.index()];
        if direction.lost {
            if !begins_message(chunk.bytes) {
                return;
            }
            direction.lost = false;
        }
        let mut rest = chunk.bytes;
        while !rest.is_empty() {
            let direction = &mut self.directions[chunk.sender.index()];
            if direction.bytes.is_empty() {
                direction.first = chunk.at;
            }
            let missing = direction.missing();
            let (taken, after) = rest.split_at(missing.min(rest.len()));
            direction.bytes.extend_from_slice(taken);
            rest = after;
            if direction.missing() > 0 {
                continue;
            }
            let bytes = std::mem::take(&mut direction.bytes);
            let place = Place { first: direction.first, last: chunk.at, bytes: bytes.len() as u64 };
            match read(&bytes[PREFIX_LEN..]) {
                Some(message) => {
                    let part = Part::new(&message, place, &self.options, context.wants_fields);
                    self.message(chunk.sender, part, context);
                }
                // Shorter than a header: the lengths are no lengths.
                None => direction.lost = true,
            }
            if self.directions[chunk.sender.index()].lost {
                return;
            }
        }
    }

    fn gap(&mut self, sender: Sender, _len: u64, _at: Moment, _context: &mut Context<'_>) {
        let direction = &mut self.directions[sender.index()];
        direction.bytes.clear();
        direction.lost = true;
    }

    fn finish(&mut self, context: &mut Context<'_>) {
        self.end_transfer(context);
        for (client, request) in self.waiting.drain() {
            emit(context, client, Some(request), None, Alone::NoResponse);
        }
    }
}

impl Direction {
    /// Bytes that the message still needs.
    fn missing(&self) -> usize {
        match self.bytes.first_chunk::<PREFIX_LEN>() {
            None => PREFIX_LEN - self.bytes.len(),
            Some(prefix) => PREFIX_LEN + usize::from(u16::from_be_bytes(*prefix)) - self.bytes.len(),
        }
    }
}

/// How much the first bytes of a stream look like a message with its length.
pub(super) fn detect(bytes: &[u8], from_start: bool) -> Detection {
    const ENOUGH: usize = PREFIX_LEN + HEADER_LEN;
    if !from_start {
        return Detection::Port;
    }
    let Some((prefix, message)) = bytes.split_first_chunk::<PREFIX_LEN>() else { return Detection::More };
    let len = usize::from(u16::from_be_bytes(*prefix));
    if len < HEADER_LEN {
        return Detection::No;
    }
    if let Some(message) = message.get(..len) {
        return super::detect(message);
    }
    match Header::read(message) {
        Some(header) if is_plausible(header) => Detection::More,
        None if bytes.len() < ENOUGH => Detection::More,
        _ => Detection::No,
    }
}

/// True when a chunk looks like the beginning of a message.
fn begins_message(bytes: &[u8]) -> bool {
    matches!(detect(bytes, true), Detection::More | Detection::Likely)
        && bytes.len() >= PREFIX_LEN + HEADER_LEN
}

/// A query or response with one question or none, as they all are over TCP.
fn is_plausible(header: Header) -> bool {
    header.opcode() <= 6 && header.counts[0] <= 1 && !header.has(super::message::flag::ZERO)
}
