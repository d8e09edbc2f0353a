//! DNS over UDP.

use super::Options;
use super::meaning::{Alone, Part, emit};
use super::message::read;
use crate::protocol::flow::Sender;
use crate::protocol::matcher::{Limits, Matcher, Unanswered};
use crate::protocol::parser::{Context, Datagram, DatagramParser};
use crate::protocol::transaction::Message as Place;

/// Queries and responses of one pair of sockets. A query is known by its sender and id.
#[derive(Debug)]
pub(super) struct Datagrams {
    options: Options,
    waiting: Matcher<(Sender, u16), (Sender, Part)>,
}

impl Datagrams {
    pub(super) fn new(options: Options) -> Self {
        let limits = Limits::with_timeout(options.transaction_timeout_ns);
        Self { options, waiting: Matcher::new(limits) }
    }
}

impl DatagramParser for Datagrams {
    fn datagram(&mut self, datagram: Datagram<'_>, context: &mut Context<'_>) {
        let Some(message) = read(datagram.bytes) else { return };
        let place = Place::at(datagram.at, datagram.wire_len);
        let (sender, now_ns) = (datagram.sender, datagram.at.ts_ns);
        let (options, wants_fields) = (&self.options, context.wants_fields);
        if message.header.is_response() {
            let client = sender.other();
            report(self.waiting.expired(now_ns), context);
            let request = self.waiting.response(&(client, message.header.id)).map(|(_, request)| request);
            let part = match &request {
                Some(_) => Part::without_question(&message, place, options, wants_fields),
                None => Part::new(&message, place, options, wants_fields),
            };
            emit(context, client, request, Some(part), Alone::NoResponse);
        } else {
            let part = Part::new(&message, place, options, wants_fields);
            let key = (sender, message.header.id);
            let unanswered = self.waiting.request_once(key, now_ns, part.memory_bytes(), (sender, part));
            report(unanswered, context);
        }
    }

    fn finish(&mut self, context: &mut Context<'_>) {
        for (client, request) in self.waiting.drain() {
            emit(context, client, Some(request), None, Alone::NoResponse);
        }
    }
}

/// Reports queries that will not be answered.
pub(super) fn report(unanswered: Vec<Unanswered<(Sender, Part)>>, context: &mut Context<'_>) {
    for query in unanswered {
        let alone = match query {
            Unanswered::Replaced(_) => Alone::Replaced,
            _ => Alone::NoResponse,
        };
        let (client, request) = query.into_request();
        emit(context, client, Some(request), None, alone);
    }
}
