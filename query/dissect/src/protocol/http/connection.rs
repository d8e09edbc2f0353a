//! A connection: requests in one direction, responses in the other, brought together in their order (RFC 9112, section 9).

use std::sync::Arc;

use super::chunked::Chunked;
use super::fields;
use super::head::{Head, Start};
use super::message::Message;
use super::messages::{Event, Framing, Gap, Messages};
use super::options::Options;
use crate::protocol::{
    Chunk, Context, Flow, Incomplete, Limits, Matcher, Moment, Sender, Status, StreamParser, Transaction,
    Unanswered,
};

/// The parser of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    options: Arc<Options>,
    directions: [Direction; 2],
    /// The end that sends requests, once one of its messages was seen.
    client: Option<Sender>,
    /// A request that isn't whole yet.
    sending: Option<Box<Message>>,
    /// Requests without a response.
    waiting: Matcher<(), Box<Message>>,
    /// Requests that are given up; their responses may come yet, and come before others.
    given_up: usize,
    /// The exchange whose response is coming in.
    answering: Option<Exchange>,
    /// `CONNECT` was sent: what the client sends before the answer is for the tunnel.
    awaits_tunnel: bool,
}

#[derive(Debug)]
struct Direction {
    messages: Messages,
    /// Where the head began that isn't whole yet.
    head_first: Option<Moment>,
    /// The message that is being read is not reported: an interim response.
    is_passed_over: bool,
}

#[derive(Debug)]
struct Exchange {
    request: Option<Box<Message>>,
    response: Box<Message>,
}

impl Exchange {
    fn has_open_request(&self) -> bool {
        self.request.as_ref().is_some_and(|request| !request.is_done)
    }
}

impl Connection {
    pub(super) fn new(options: &Arc<Options>, flow: &Flow) -> Self {
        let direction = || Direction {
            messages: Messages::new(flow.originator_known),
            head_first: None,
            is_passed_over: false,
        };
        let mut limits = Limits::with_timeout(options.transaction_timeout_ns);
        limits.bytes_max = limits.bytes_max.max(options.max_message_size);
        Self {
            options: Arc::clone(options),
            directions: [direction(), direction()],
            client: None,
            sending: None,
            waiting: Matcher::new(limits),
            given_up: 0,
            answering: None,
            awaits_tunnel: false,
        }
    }

    /// The message of this direction that is being read.
    fn open_message(&mut self, sender: Sender) -> Option<&mut Message> {
        if self.directions[sender.index()].is_passed_over {
            return None;
        }
        if self.client != Some(sender) {
            return self
                .answering
                .as_mut()
                .map(|exchange| &mut *exchange.response)
                .filter(|response| !response.is_done);
        }
        match &mut self.sending {
            Some(request) => Some(request),
            None => self.answering.as_mut()?.request.as_deref_mut().filter(|request| !request.is_done),
        }
    }

    /// Reads on to the end of these bytes. Gives the bytes that are of another protocol, if it changes.
    fn read<'a>(
        &mut self,
        sender: Sender,
        bytes: &'a [u8],
        at: Moment,
        context: &mut Context<'_>,
    ) -> Option<&'a [u8]> {
        let mut rest = bytes;
        loop {
            let before = rest.len();
            let event = self.directions[sender.index()].messages.next(&mut rest);
            let used = before - rest.len();
            match event {
                Some(Event::Head(head)) => {
                    let first = self.directions[sender.index()].head_first.take().unwrap_or(at);
                    if self.head(sender, head, first, at, context) {
                        return Some(rest);
                    }
                }
                Some(Event::Body(data)) => {
                    if let Some(message) = self.open_message(sender) {
                        message.took(used, at);
                        message.push_body(data);
                    }
                }
                Some(Event::End) => {
                    if let Some(message) = self.open_message(sender) {
                        message.took(used, at);
                    }
                    self.end_of_message(sender, context);
                }
                Some(Event::Malformed { what, len }) => self.malformed(sender, what, len, at, context),
                None => {
                    let direction = &mut self.directions[sender.index()];
                    if direction.messages.is_in_head() {
                        direction.head_first.get_or_insert(at);
                    } else if let Some(message) = self.open_message(sender) {
                        message.took(used, at);
                    }
                    return None;
                }
            }
        }
    }

    /// The begin of a message. True when what follows it is another protocol.
    fn head(
        &mut self,
        sender: Sender,
        head: Head,
        first: Moment,
        at: Moment,
        context: &mut Context<'_>,
    ) -> bool {
        let is_request = matches!(head.start, Start::Request { .. });
        let client = *self.client.get_or_insert(if is_request { sender } else { sender.other() });
        self.directions[sender.index()].is_passed_over = false;
        if is_request != (client == sender) {
            // A request where responses are, or the reverse: no client or server does that.
            let len = head.raw.len();
            self.directions[sender.index()].messages = Messages::new(false);
            self.malformed(sender, "message in the wrong direction", len, at, context);
            return false;
        }
        if is_request {
            self.request(sender, head, first, at);
            false
        } else {
            self.response(sender, head, first, at, context)
        }
    }

    fn request(&mut self, sender: Sender, head: Head, first: Moment, at: Moment) {
        let framing = request_framing(&head);
        self.awaits_tunnel = head.method() == Some("CONNECT");
        let keep = self.options.kept_body_len(&head);
        self.sending = Some(Box::new(Message::new(head, first, at, keep)));
        self.directions[sender.index()].messages.expect_body(framing);
    }

    fn response(
        &mut self,
        sender: Sender,
        head: Head,
        first: Moment,
        at: Moment,
        context: &mut Context<'_>,
    ) -> bool {
        const SWITCHING_PROTOCOLS: u16 = 101;
        let status = head.status().unwrap_or_default();
        if (100..200).contains(&status) && status != SWITCHING_PROTOCOLS {
            // Interim: the final response follows.
            let direction = &mut self.directions[sender.index()];
            direction.is_passed_over = true;
            direction.messages.expect_body(Framing::Empty);
            return false;
        }
        if let Some(unfinished) = self.answering.take() {
            self.emit_exchange(unfinished, context);
        }
        let request = if self.given_up > 0 {
            self.given_up -= 1;
            None
        } else {
            // The response may come before the request is whole.
            self.waiting.response(&()).or_else(|| self.sending.take())
        };
        self.awaits_tunnel = false;
        let method = request.as_ref().and_then(|request| request.head.method());
        let is_tunnel = method == Some("CONNECT") && (200..300).contains(&status);
        let changes_protocol = is_tunnel || status == SWITCHING_PROTOCOLS;
        let framing = response_framing(&head, method, status, changes_protocol);
        let keep = self.options.kept_body_len(&head);
        let response = Box::new(Message::new(head, first, at, keep));
        self.answering = Some(Exchange { request, response });
        self.directions[sender.index()].messages.expect_body(framing);
        if changes_protocol {
            self.end_of_message(sender, context);
        }
        changes_protocol
    }

    fn end_of_message(&mut self, sender: Sender, context: &mut Context<'_>) {
        if let Some(message) = self.open_message(sender) {
            message.is_done = true;
        }
        self.directions[sender.index()].is_passed_over = false;
        if self.sending.as_ref().is_some_and(|request| request.is_done)
            && let Some(request) = self.sending.take()
        {
            let since_ns = request.place.last.ts_ns;
            let memory = request.memory(self.options.decode_body);
            let unanswered = self.waiting.request((), since_ns, memory, request);
            self.give_up(unanswered, context);
        }
        let is_done = |exchange: &mut Exchange| exchange.response.is_done && !exchange.has_open_request();
        if let Some(exchange) = self.answering.take_if(is_done) {
            self.emit_exchange(exchange, context);
        }
    }

    /// Bytes that are no message. What was being read ends here; a head that wasn't one is reported as such.
    fn malformed(
        &mut self,
        sender: Sender,
        what: &'static str,
        len: usize,
        at: Moment,
        context: &mut Context<'_>,
    ) {
        let first = self.directions[sender.index()].head_first.take().unwrap_or(at);
        if let Some(message) = self.open_message(sender) {
            message.malformed = Some(what);
            self.end_of_message(sender, context);
            return;
        }
        let is_request = self.client.is_none_or(|client| client == sender);
        let client = if is_request { sender } else { sender.other() };
        let mut transaction = Transaction::new(super::NAME, context.flow, client);
        let mut place = crate::protocol::Message::at(first, len);
        place.last = at;
        if is_request {
            transaction.request = Some(place);
        } else {
            transaction.response = Some(place);
        }
        transaction.status = Status::Error;
        transaction
            .errors
            .push(format!("Malformed {}: {what}", if is_request { "request" } else { "response" }));
        transaction.set_incomplete(Incomplete::Malformed);
        context.emit(transaction);
    }

    fn give_up(&mut self, unanswered: Vec<Unanswered<Box<Message>>>, context: &mut Context<'_>) {
        for unanswered in unanswered {
            self.given_up += 1;
            let reason = if matches!(unanswered, Unanswered::Dropped(_)) {
                Incomplete::Limit
            } else {
                Incomplete::NoResponse
            };
            self.emit(Some(*unanswered.into_request()), None, Some(reason), context);
        }
    }

    fn emit_exchange(&mut self, exchange: Exchange, context: &mut Context<'_>) {
        self.emit(exchange.request.map(|request| *request), Some(*exchange.response), None, context);
    }

    fn emit(
        &mut self,
        request: Option<Message>,
        response: Option<Message>,
        reason: Option<Incomplete>,
        context: &mut Context<'_>,
    ) {
        let client = self.client.unwrap_or(Sender::Originator);
        let mut transaction = Transaction::new(super::NAME, context.flow, client);
        fields::set(&mut transaction, request, response, reason, &self.options, context.wants_fields);
        context.emit(transaction);
    }

    /// One direction ends: a body that lasts until then is whole.
    fn close(&mut self, sender: Sender, context: &mut Context<'_>) {
        if self.directions[sender.index()].messages.close() {
            self.end_of_message(sender, context);
        }
    }
}

impl StreamParser for Connection {
    fn data(&mut self, chunk: Chunk<'_>, context: &mut Context<'_>) {
        let expired = self.waiting.expired(chunk.at.ts_ns);
        self.give_up(expired, context);
        if self.awaits_tunnel && self.client == Some(chunk.sender) && self.sending.is_none() {
            return;
        }
        self.directions[chunk.sender.index()].messages.begin_chunk(chunk.bytes);
        if let Some(rest) = self.read(chunk.sender, chunk.bytes, chunk.at, context) {
            context.hand_over(rest);
        }
    }

    fn gap(&mut self, sender: Sender, len: u64, at: Moment, context: &mut Context<'_>) {
        match self.directions[sender.index()].messages.gap(len) {
            // Requests or responses may be in the gap.
            Gap::Between => self.lost_order(sender, context),
            Gap::InHead(partial) => self.partial_head(sender, &partial, Some(len), at, context),
            Gap::InBody => {
                if let Some(message) = self.open_message(sender) {
                    message.gap(len, at);
                }
                // It may have been all that was missing.
                self.read(sender, &[], at, context);
            }
            Gap::PastEnd => {
                if let Some(message) = self.open_message(sender) {
                    message.gap(len, at);
                }
                self.end_of_message(sender, context);
                self.lost_order(sender, context);
            }
        }
    }

    fn end(&mut self, sender: Sender, _at: Moment, context: &mut Context<'_>) {
        self.close(sender, context);
    }

    fn finish(&mut self, context: &mut Context<'_>) {
        for sender in Sender::BOTH {
            let direction = &mut self.directions[sender.index()];
            if let (Some(partial), Some(first)) =
                (direction.messages.take_partial_head(), direction.head_first)
            {
                self.partial_head(sender, &partial, None, first, context);
            }
        }
        if let Some(exchange) = self.answering.take() {
            self.emit_exchange(exchange, context);
        }
        for request in self.waiting.drain() {
            self.emit(Some(*request), None, None, context);
        }
        if let Some(request) = self.sending.take() {
            self.emit(Some(*request), None, None, context);
        }
    }
}

impl Connection {
    /// A head whose end is missing: in a gap of this length, or because nothing came any more. Whether a body follows isn't known.
    fn partial_head(
        &mut self,
        sender: Sender,
        partial: &[u8],
        gap: Option<u64>,
        at: Moment,
        context: &mut Context<'_>,
    ) {
        let first = self.directions[sender.index()].head_first.take().unwrap_or(at);
        let Some(head) = Head::parse_partial(partial) else { return self.lost_order(sender, context) };
        let changes_protocol = self.head(sender, head, first, at, context);
        self.directions[sender.index()].messages = Messages::new(false);
        if changes_protocol {
            return;
        }
        if let (Some(message), Some(len)) = (self.open_message(sender), gap) {
            message.gap(len, at);
        }
        if gap.is_some() {
            self.end_of_message(sender, context);
        }
    }

    /// Whole messages may be missing in this direction. Of lost responses their requests wait in vain, and would be taken for
    /// those of later responses.
    fn lost_order(&mut self, sender: Sender, context: &mut Context<'_>) {
        if self.client == Some(sender) || self.client.is_none() {
            return;
        }
        self.given_up = 0;
        if std::mem::take(&mut self.awaits_tunnel) && self.sending.is_none() {
            // Whether there is a tunnel was in that answer: if there is none, requests follow.
            self.directions[sender.other().index()].messages = Messages::new(false);
        }
        for request in self.waiting.drain() {
            self.emit(Some(*request), None, Some(Incomplete::ResponseGap), context);
        }
    }
}

/// RFC 9112, section 6.3, for requests.
fn request_framing(head: &Head) -> Framing {
    if is_chunked(head) {
        return Framing::Chunked(Chunked::new());
    }
    head.content_length().map_or(Framing::Empty, Framing::Length)
}

/// RFC 9112, section 6.3, for responses.
fn response_framing(head: &Head, method: Option<&str>, status: u16, changes_protocol: bool) -> Framing {
    if method == Some("HEAD") || matches!(status, 204 | 304) || changes_protocol {
        return Framing::Empty;
    }
    if is_chunked(head) {
        return Framing::Chunked(Chunked::new());
    }
    match head.content_length() {
        Some(len) if head.value("transfer-encoding").is_none() => Framing::Length(len),
        _ => Framing::UntilClose,
    }
}

/// The last transfer coding is the chunked one.
fn is_chunked(head: &Head) -> bool {
    head.list_elements("transfer-encoding").last().is_some_and(|coding| coding == "chunked")
}
