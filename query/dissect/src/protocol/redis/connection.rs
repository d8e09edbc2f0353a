//! Following one connection: commands, and the replies in their order.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::parser::{Chunk, Context, StreamParser};
use super::super::{Flow, Incomplete, Message, Moment, Sender};
use super::Options;
use super::detect;
use super::parser::{Parsed, Parser};
use super::report::{self, Shown};
use super::subscription::{self, Subscriptions};
use super::value::Value;

/// One connection.
pub(super) struct Connection {
    options: Arc<Options>,
    client: Option<Sender>,
    requests: Side,
    replies: Side,
    /// Commands that wait for replies, oldest first.
    waiting: VecDeque<Pending>,
    /// What they hold, in bytes.
    held: usize,
    /// Replies to come, before all others, to commands that were given up.
    replies_given_up: u64,
    subscriptions: Subscriptions,
    answers: Answers,
    is_monitoring: bool,
    /// The server sends its changes to a replica.
    is_replicating: bool,
    /// Commands were lost: until none waits, a reply may be another one's.
    is_uncertain: bool,
}

/// One direction.
#[derive(Debug)]
struct Side {
    parser: Parser,
    /// Whether it is known where messages begin.
    is_synced: bool,
}

/// Whether the server answers (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    All,
    None,
    /// Not to the next command.
    SkipNext,
}

/// A command that waits for replies.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) request: Message,
    pub(super) method: String,
    pub(super) resource: Option<String>,
    pub(super) query: String,
    pub(super) is_inline: bool,
    pub(super) incomplete: Option<Incomplete>,
    pub(super) notes: Vec<&'static str>,
    pub(super) response: Option<Message>,
    pub(super) replies: Vec<Value>,
    replies_left: u64,
}

/// Of several replies to one command, so many are kept, and no more when they have so many bytes.
const REPLIES_KEPT_MAX: usize = 1000;
const REPLIES_BYTES_KEPT_MAX: u64 = 100 * 1024;

const CUT_NOTE: &str = "It is longer than what is kept of it";
const UNCERTAIN_NOTE: &str = "Commands before this one were lost: the reply may be another one's";

impl Connection {
    pub(super) fn new(flow: &Arc<Flow>, options: &Arc<Options>) -> Self {
        let is_synced = flow.originator_known;
        Self {
            options: Arc::clone(options),
            client: is_synced.then_some(Sender::Originator),
            requests: Side { parser: Parser::of_client(), is_synced },
            replies: Side { parser: Parser::of_server(), is_synced },
            waiting: VecDeque::new(),
            held: 0,
            replies_given_up: 0,
            subscriptions: Subscriptions::default(),
            answers: Answers::All,
            is_monitoring: false,
            is_replicating: false,
            is_uncertain: false,
        }
    }

    /// The client's end. Where nobody saw who connected, the port decides, then who sends commands.
    fn client(&mut self, chunk: &Chunk<'_>, flow: &Flow) -> Sender {
        if let Some(client) = self.client {
            return client;
        }
        let ports = &self.options.common.ports;
        let (originator, responder) =
            (ports.contains(&flow.originator.port), ports.contains(&flow.responder.port));
        let client = match (originator, responder) {
            (true, false) => Sender::Responder,
            (false, true) => Sender::Originator,
            _ if detect::is_push(chunk.bytes) => chunk.sender.other(),
            _ if detect::is_command(chunk.bytes) => chunk.sender,
            // Not yet: what might be a reply might be the middle of a value.
            _ => return chunk.sender.other(),
        };
        self.client = Some(client);
        client
    }

    fn client_end(&self) -> Sender {
        self.client.unwrap_or(Sender::Originator)
    }

    fn side(&mut self, is_client: bool) -> &mut Side {
        if is_client { &mut self.requests } else { &mut self.replies }
    }

    fn resync(&self, is_client: bool, bytes: &[u8]) -> bool {
        if is_client {
            detect::is_command(bytes)
        } else {
            detect::is_push(bytes) || (!self.waiting.is_empty() && detect::is_reply(bytes))
        }
    }

    fn command(&mut self, parsed: &Parsed, context: &mut Context<'_>) {
        let Value::Items(_, items) = &parsed.value else { return };
        let words: Option<Vec<&str>> = items.iter().map(Value::as_text).collect();
        let Some(words) = words.filter(|words| !words.is_empty()) else { return };
        let method = words[0].to_ascii_uppercase();
        let pending = Pending {
            request: parsed.place,
            resource: words.get(1).map(|&word| word.to_owned()),
            query: words.join(" "),
            is_inline: parsed.is_inline,
            incomplete: parsed.has_gap.then_some(Incomplete::RequestGap),
            notes: parsed.is_cut.then_some(CUT_NOTE).into_iter().collect(),
            response: None,
            replies: Vec::new(),
            replies_left: self.replies_to(&method, &words),
            method,
        };
        if pending.replies_left == 0 {
            self.report(pending, None, context);
            return;
        }
        if matches!(pending.method.as_str(), "SYNC" | "PSYNC") {
            self.replies.parser.expect_database();
        }
        self.push(pending, context);
    }

    /// How many replies a command gets.
    fn replies_to(&mut self, method: &str, words: &[&str]) -> u64 {
        let is_word = |at: usize, word: &str| words.get(at).is_some_and(|it| it.eq_ignore_ascii_case(word));
        if method == "CLIENT" && is_word(1, "REPLY") {
            self.answers = if is_word(2, "OFF") {
                Answers::None
            } else if is_word(2, "SKIP") {
                Answers::SkipNext
            } else {
                Answers::All
            };
            return u64::from(self.answers == Answers::All);
        }
        match self.answers {
            Answers::None => return 0,
            Answers::SkipNext => {
                self.answers = Answers::All;
                return 0;
            }
            Answers::All => {}
        }
        // A replica tells how far it is, and isn't answered.
        if method == "REPLCONF" && is_word(1, "ACK") {
            return 0;
        }
        self.subscriptions.replies(method, words.len() - 1)
    }

    fn push(&mut self, mut pending: Pending, context: &mut Context<'_>) {
        if self.waiting.is_empty() {
            self.is_uncertain = false;
        } else if self.is_uncertain {
            pending.notes.push(UNCERTAIN_NOTE);
        }
        self.held += pending.held();
        self.waiting.push_back(pending);
        while self.waiting.len() > self.options.queue_messages_max
            || (self.held > self.options.queue_bytes_max && self.waiting.len() > 1)
        {
            self.give_up_oldest(Incomplete::Limit, context);
        }
    }

    /// Reports the oldest command without its reply, which will come nevertheless.
    fn give_up_oldest(&mut self, reason: Incomplete, context: &mut Context<'_>) {
        if let Some(pending) = self.pop() {
            self.replies_given_up += pending.replies_left;
            self.report(pending, Some(reason), context);
        }
    }

    fn pop(&mut self) -> Option<Pending> {
        let pending = self.waiting.pop_front()?;
        self.held -= pending.held().min(self.held);
        Some(pending)
    }

    fn reply(&mut self, parsed: Parsed, context: &mut Context<'_>) {
        if self.is_replicating {
            self.replicated(parsed, context);
            return;
        }
        let is_confirmation = match subscription::confirmed_method(&parsed.value) {
            Some(method) => self.waiting.front().is_some_and(|pending| pending.method == method),
            None => false,
        };
        if is_confirmation {
            self.subscriptions.confirm(&parsed.value);
        } else if self.is_pushed(&parsed.value) {
            context.emit(report::pushed(&parsed, context, self.client_end()));
            return;
        }
        if self.replies_given_up > 0 {
            self.replies_given_up -= 1;
            return;
        }
        let Some(pending) = self.waiting.front_mut() else {
            context.emit(report::orphan(&parsed, context, self.client_end()));
            return;
        };
        let bytes_before = pending.response.map_or(0, |response| response.bytes);
        let is_kept = bytes_before < REPLIES_BYTES_KEPT_MAX && pending.replies.len() < REPLIES_KEPT_MAX;
        match &mut pending.response {
            Some(response) => {
                response.last = parsed.place.last;
                response.bytes += parsed.place.bytes;
            }
            None => pending.response = Some(parsed.place),
        }
        if parsed.has_gap {
            pending.incomplete.get_or_insert(Incomplete::ResponseGap);
        }
        if (parsed.is_cut || !is_kept) && !pending.notes.contains(&CUT_NOTE) {
            pending.notes.push(CUT_NOTE);
        }
        if is_kept {
            pending.replies.push(parsed.value);
        }
        pending.replies_left -= 1;
        if pending.replies_left == 0
            && let Some(pending) = self.pop()
        {
            self.answered(pending, context);
        }
    }

    fn answered(&mut self, pending: Pending, context: &mut Context<'_>) {
        let is_error = matches!(pending.replies.first(), Some(Value::Error(_)));
        match pending.method.as_str() {
            "MONITOR" if !is_error => self.is_monitoring = true,
            "RESET" if !is_error => {
                self.is_monitoring = false;
                self.subscriptions.clear();
            }
            "SYNC" | "PSYNC" if !is_error => self.is_replicating = true,
            "SYNC" | "PSYNC" => self.replies.parser = Parser::of_server(),
            _ => {}
        }
        self.report(pending, None, context);
    }

    fn is_pushed(&self, value: &Value) -> bool {
        subscription::is_push(value)
            || (subscription::is_message(value) && (self.subscriptions.any() || self.waiting.is_empty()))
            || (self.is_monitoring && subscription::is_monitor_line(value))
    }

    /// What a master sends to its replica: first its database, then each change.
    fn replicated(&mut self, parsed: Parsed, context: &mut Context<'_>) {
        let is_reply = !matches!(parsed.value, Value::Items(..) | Value::Database);
        if is_reply && let Some(mut pending) = self.pop() {
            pending.response = Some(parsed.place);
            pending.replies.push(parsed.value);
            self.report(pending, None, context);
            return;
        }
        context.emit(report::replicated(&parsed, context, self.client_end()));
    }

    fn report(&self, pending: Pending, incomplete: Option<Incomplete>, context: &mut Context<'_>) {
        let incomplete = pending.incomplete.or(incomplete);
        let shown = Shown::of(&self.options.common);
        context.emit(report::command(pending, incomplete, shown, context, self.client_end()));
    }

    /// It is no longer known where messages of this direction begin.
    fn lost(&mut self, is_client: bool, context: &mut Context<'_>) {
        let side = self.side(is_client);
        side.is_synced = false;
        let begun = side.parser.abandon();
        if is_client {
            self.is_uncertain = true;
            if let Some(place) = begun {
                context.emit(report::lost_command(place, context.flow, self.client_end()));
            }
            return;
        }
        self.replies_given_up = 0;
        while let Some(pending) = self.pop() {
            self.report(pending, Some(Incomplete::ResponseGap), context);
        }
    }

    /// Reports the commands that wait for too long.
    fn expire(&mut self, now: Moment, context: &mut Context<'_>) {
        let timeout_ns = self.options.common.transaction_timeout_ns;
        while let Some(oldest) = self.waiting.front()
            && oldest.response.is_none()
            && now.ts_ns.saturating_sub(oldest.request.last.ts_ns) > timeout_ns
        {
            self.give_up_oldest(Incomplete::NoResponse, context);
        }
    }
}

impl StreamParser for Connection {
    fn data(&mut self, chunk: Chunk<'_>, context: &mut Context<'_>) {
        let is_client = self.client(&chunk, context.flow) == chunk.sender;
        self.expire(chunk.at, context);
        if !self.side(is_client).is_synced && !self.resync(is_client, chunk.bytes) {
            return;
        }
        self.side(is_client).is_synced = true;
        let mut input = chunk.bytes;
        loop {
            match self.side(is_client).parser.next(&mut input, chunk.at) {
                Ok(Some(parsed)) if is_client => self.command(&parsed, context),
                Ok(Some(parsed)) => self.reply(parsed, context),
                Ok(None) => return,
                Err(_) => {
                    self.lost(is_client, context);
                    return;
                }
            }
        }
    }

    fn gap(&mut self, sender: Sender, len: u64, at: Moment, context: &mut Context<'_>) {
        let is_client = sender == self.client_end();
        let side = self.side(is_client);
        if !side.is_synced || !side.parser.gap(at, len) {
            self.lost(is_client, context);
        }
    }

    fn finish(&mut self, context: &mut Context<'_>) {
        while let Some(pending) = self.pop() {
            let reason = pending.response.map_or(Incomplete::NoResponse, |_| Incomplete::Ended);
            self.report(pending, Some(reason), context);
        }
    }
}

impl Pending {
    fn held(&self) -> usize {
        self.query.len()
            + self.method.len()
            + self.resource.as_ref().map_or(0, String::len)
            + size_of::<Self>()
    }
}
