//! Following one connection: which packets its bytes are, and what waits.

use std::sync::Arc;

use super::super::parser::{Chunk, Context, StreamParser};
use super::super::sql::{Format, Frame, Frames, Repeated};
use super::super::{Flow, Incomplete, Message, Moment, Sender};
use super::Options;
use super::command::Command;
use super::compressed::{self, Codec, Wanted, Wrapped};
use super::constants::PAYLOAD_LENGTH_MAX;
use super::detect;
use super::pending::{Pending, Queue, join_some};
use super::report::{self, LoginAttempt, Session};
use super::statements::Statements;

/// Bytes of a packet that are looked at: more than any login or error, and of queries and rows as much as is shown.
pub(super) const PACKET_KEPT_MAX: usize = 100 * 1024;

/// Transactions that the compressed packets of one chunk may become: some bytes may be a million commands. Clients compress
/// each command alone, or a few that they send at once.
const COMPRESSED_TRANSACTIONS_MAX: usize = 4096;

const FLOODED_NOTE: &str = "More transactions in one compressed packet than are told";

const FORMAT: Format = Format {
    header_length: 4,
    body_length: |header| Some(u64::from(u32::from_le_bytes([header[0], header[1], header[2], 0]))),
    kept_max: PACKET_KEPT_MAX,
};

/// One connection.
pub(super) struct Connection {
    pub(super) options: Arc<Options>,
    client: Option<Sender>,
    pub(super) phase: Phase,
    pub(super) session: Session,
    pub(super) login: Option<LoginAttempt>,
    /// At the index of the sender.
    sides: [Side; 2],
    pub(super) pending: Queue,
    pub(super) statements: Statements,
    pub(super) codec: Option<Codec>,
    /// Transactions up to which compressed packets are read.
    transactions_max: usize,
    /// The compressed packets of this chunk were more than that.
    is_flooded: bool,
    /// How much text the transactions of a packet may still tell.
    pub(super) repeated: Repeated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing seen yet.
    Begin,
    /// The server has greeted.
    Login,
    /// The client has told its user.
    Authenticating,
    Commands,
    /// What follows can't be read.
    Opaque,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Side {
    frames: Frames,
    wrapped: Wrapped,
    /// Whether it is known where packets begin.
    pub(super) is_synced: bool,
    /// The last packet was as long as can be: the next one goes on with it.
    pub(super) continues: bool,
}

impl Connection {
    pub(super) fn new(flow: &Arc<Flow>, options: &Arc<Options>) -> Self {
        let side = || Side { is_synced: flow.originator_known, ..Side::default() };
        Self {
            options: Arc::clone(options),
            client: flow.originator_known.then_some(Sender::Originator),
            phase: Phase::Begin,
            session: Session::default(),
            login: None,
            sides: [side(), side()],
            pending: Queue::default(),
            statements: Statements::new(options.statement_timeout_ns),
            codec: None,
            transactions_max: usize::MAX,
            is_flooded: false,
            repeated: Repeated::default(),
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
            _ if detect::is_command(chunk.bytes) => chunk.sender,
            _ if detect::is_greeting(chunk.bytes) => chunk.sender.other(),
            // Not yet: packets from the middle of an answer tell nothing.
            _ => return chunk.sender.other(),
        };
        self.client = Some(client);
        client
    }

    fn plain(
        &mut self,
        sender: Sender,
        is_client: bool,
        bytes: &[u8],
        at: Moment,
        context: &mut Context<'_>,
    ) {
        let index = sender.index();
        if !self.sides[index].is_synced && !self.resync(is_client, bytes) {
            return;
        }
        self.sides[index].is_synced = true;
        let mut frames = std::mem::take(&mut self.sides[index].frames);
        let mut input = bytes;
        while let Ok(Some(frame)) = frames.next(&mut input, at, FORMAT) {
            let had_codec = self.codec.is_some();
            if is_client {
                self.client_packet(&frame, at, context);
            } else {
                self.server_packet(&frame, context);
            }
            if self.phase == Phase::Opaque {
                context.hand_over(input);
                return;
            }
            if context.transactions.len() > self.transactions_max {
                self.flooded(is_client, frame.place, context);
            }
            if !self.sides[index].is_synced {
                frames.abandon();
                break;
            }
            if self.codec.is_some() && !had_codec && !input.is_empty() {
                self.sides[index].frames = frames;
                self.compressed(sender, is_client, input, at, context);
                return;
            }
        }
        self.sides[index].frames = frames;
    }

    fn compressed(
        &mut self,
        sender: Sender,
        is_client: bool,
        bytes: &[u8],
        at: Moment,
        context: &mut Context<'_>,
    ) {
        let Some(codec) = self.codec else { return };
        self.transactions_max = context.transactions.len() + COMPRESSED_TRANSACTIONS_MAX;
        self.is_flooded = false;
        let index = sender.index();
        let mut wrapped = std::mem::take(&mut self.sides[index].wrapped);
        let mut input = bytes;
        if !wrapped.finds(codec, bytes, |packets| self.resync(is_client, packets)) {
            input = &[];
        }
        while let Ok(Some(frame)) = wrapped.frames.next(&mut input, at, compressed::FORMAT) {
            if self.is_flooded {
                continue;
            }
            if !frame.is_whole() {
                self.lost(is_client, sender, context);
                continue;
            }
            let is_readable = codec.unwrap(frame.header, frame.body, |plain| {
                self.plain(sender, is_client, plain, at, context);
                // Where it isn't known where packets begin, one may at the begin of another wrapping packet.
                if self.sides[index].is_synced { Wanted::More } else { Wanted::NoMore }
            });
            if !is_readable {
                self.lost(is_client, sender, context);
                wrapped.lost();
                break;
            }
        }
        self.sides[index].wrapped = wrapped;
    }

    /// A packet became more commands, or answers, than are told. What follows of it is passed over.
    fn flooded(&mut self, is_client: bool, place: Message, context: &mut Context<'_>) {
        self.is_flooded = true;
        self.give_up_answers(context);
        if is_client {
            let client = self.side_of_client();
            client.is_synced = false;
            client.continues = false;
        }
        let mut rest = Pending::new(Command::QUERY, is_client.then_some(place), None);
        rest.response_place = (!is_client).then_some(place);
        rest.incomplete = Some(Incomplete::Limit);
        rest.notes.push(FLOODED_NOTE);
        self.report(rest, None, context);
    }

    /// Whether a packet begins at the first of these bytes, in a direction of which it isn't known.
    fn resync(&self, is_client: bool, bytes: &[u8]) -> bool {
        if is_client {
            return match self.phase {
                Phase::Begin | Phase::Commands => detect::is_command(bytes),
                _ => bytes.get(3).is_some_and(|&sequence| sequence > 0),
            };
        }
        // Answers follow commands: the first one after the loss was waited for.
        let awaited = self.pending.front().is_some_and(|pending| pending.response_place.is_none());
        let is_first = bytes.get(3).is_some_and(|&sequence| sequence == 1);
        (awaited && is_first) || detect::is_greeting(bytes) || detect::is_refusal(bytes)
    }

    pub(super) fn client_end(&self) -> Sender {
        self.client.unwrap_or(Sender::Originator)
    }

    pub(super) fn push(&mut self, pending: Box<Pending>, context: &mut Context<'_>) {
        if !self.pending.push(pending) {
            self.give_up_answers(context);
        }
    }

    /// Reports all that waits. Without its command, an answer can't be followed: those that come are passed over.
    fn give_up_answers(&mut self, context: &mut Context<'_>) {
        let server = self.side_of_server();
        server.is_synced = false;
        server.continues = false;
        server.frames.abandon();
        while let Some(pending) = self.pending.pop() {
            self.report(pending, Some(Incomplete::Limit), context);
        }
    }

    pub(super) fn report(
        &self,
        mut pending: Box<Pending>,
        incomplete: Option<Incomplete>,
        context: &mut Context<'_>,
    ) {
        if pending.is_reported {
            return;
        }
        if pending.request.is_none() {
            pending.incomplete.get_or_insert(Incomplete::NoRequest);
        }
        let incomplete = pending.incomplete.or(incomplete);
        let options = &self.options.common;
        context.emit(report::command(
            &self.session,
            pending,
            incomplete,
            options,
            context,
            self.client_end(),
        ));
    }

    /// Whether this packet goes on with the one before it.
    pub(super) fn continues(&mut self, frame: &Frame<'_>, is_client: bool) -> bool {
        let side = if is_client { self.side_of_client() } else { self.side_of_server() };
        let continues = std::mem::replace(&mut side.continues, frame.body_length == PAYLOAD_LENGTH_MAX);
        if continues {
            if is_client {
                if let Some(pending) = self.pending.back_mut() {
                    join_some(&mut pending.request, frame.place);
                }
            } else if let Some(pending) = self.pending.front_mut() {
                join_some(&mut pending.response_place, frame.place);
            }
        }
        continues
    }

    pub(super) fn side_of_client(&mut self) -> &mut Side {
        &mut self.sides[self.client.unwrap_or(Sender::Originator).index()]
    }

    pub(super) fn side_of_server(&mut self) -> &mut Side {
        &mut self.sides[self.client.unwrap_or(Sender::Originator).other().index()]
    }

    /// It is no longer known where packets of this direction begin.
    fn lost(&mut self, is_client: bool, sender: Sender, context: &mut Context<'_>) {
        let side = &mut self.sides[sender.index()];
        side.is_synced = false;
        side.continues = false;
        let begun = side.frames.abandon();
        if is_client {
            if let (Some(place), Phase::Commands) = (begun, self.phase) {
                let mut pending = Pending::new(Command::QUERY, Some(place), None);
                pending.incomplete = Some(Incomplete::RequestGap);
                self.push(pending, context);
            }
            return;
        }
        if let Some(login) = self.login.take() {
            let lost = Some(Incomplete::ResponseGap);
            context.emit(report::login(&self.session, login, None, lost, context.flow, self.client_end()));
            self.phase = Phase::Commands;
            self.codec = self.session.codec();
            self.sides[sender.index()].wrapped.lost();
        }
        while let Some(pending) = self.pending.pop() {
            self.report(pending, Some(Incomplete::ResponseGap), context);
        }
    }

    /// Reports the commands that wait for too long. Their answers may still come, and are passed over then.
    fn expire(&mut self, now: Moment, context: &mut Context<'_>) {
        let timeout_ns = self.options.common.transaction_timeout_ns;
        for index in 0..self.pending.len() {
            let Some(pending) = self.pending.get(index) else { break };
            let Some(request) = pending.request else { continue };
            if now.ts_ns.saturating_sub(request.last.ts_ns) <= timeout_ns {
                break;
            }
            if pending.is_reported || pending.response_place.is_some() {
                continue;
            }
            let mut placeholder = Pending::new(pending.command, pending.request, None);
            placeholder.response.set_deprecates_eof(self.session.deprecates_eof());
            placeholder.is_reported = true;
            // A statement that is prepared late is still one that can be executed.
            if pending.command == Command::STMT_PREPARE {
                placeholder.query = pending.query.clone();
            }
            if let Some(expired) = self.pending.replace(index, placeholder) {
                self.report(expired, Some(Incomplete::NoResponse), context);
            }
        }
    }
}

impl StreamParser for Connection {
    fn data(&mut self, chunk: Chunk<'_>, context: &mut Context<'_>) {
        if self.phase == Phase::Opaque {
            return;
        }
        let is_client = self.client(&chunk, context.flow) == chunk.sender;
        self.expire(chunk.at, context);
        self.repeated.renew();
        if self.codec.is_some() {
            self.compressed(chunk.sender, is_client, chunk.bytes, chunk.at, context);
        } else {
            self.plain(chunk.sender, is_client, chunk.bytes, chunk.at, context);
        }
    }

    fn gap(&mut self, sender: Sender, len: u64, at: Moment, context: &mut Context<'_>) {
        let is_client = sender == self.client_end();
        let side = &mut self.sides[sender.index()];
        if self.codec.is_some() {
            if !side.wrapped.gap(at, len) {
                self.lost(is_client, sender, context);
            }
        } else if !side.is_synced || !side.frames.gap(at, len) {
            self.lost(is_client, sender, context);
        }
    }

    fn finish(&mut self, context: &mut Context<'_>) {
        if let Some(login) = self.login.take() {
            let reason = login.response.map_or(Incomplete::NoResponse, |_| Incomplete::Ended);
            context.emit(report::login(
                &self.session,
                login,
                None,
                Some(reason),
                context.flow,
                self.client_end(),
            ));
        }
        while let Some(pending) = self.pending.pop() {
            let reason = match pending.response_place {
                _ if pending.response.may_be_done() => None,
                Some(_) => Some(Incomplete::Ended),
                None => Some(Incomplete::NoResponse),
            };
            self.report(pending, reason, context);
        }
    }
}
