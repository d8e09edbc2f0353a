//! Following one connection: which messages its bytes are.

use std::sync::Arc;

use super::super::parser::{Chunk, Context, StreamParser};
use super::super::sql::{Frame, Frames, Repeated};
use super::super::{Flow, Incomplete, Message, Moment, Sender};
use super::objects::{Named, Portal, Statement, named};
use super::queue::{Awaited, Queue};
use super::report::{self, Login, Session};
use super::run::{Copy, Kind, Run};
use super::view::{Column, MESSAGE, STARTUP};
use super::{Options, detect};

/// One connection.
pub(super) struct Connection {
    pub(super) options: Arc<Options>,
    client: Option<Sender>,
    pub(super) phase: Phase,
    pub(super) session: Session,
    pub(super) login: Option<Login>,
    /// At the index of the sender.
    sides: [Side; 2],
    pub(super) queue: Queue,
    /// Messages of the extended protocol since the last statement was executed: they are a part of the next one.
    pub(super) unit: Unit,
    pub(super) statements: Named<Statement>,
    pub(super) portals: Named<Arc<Portal>>,
    /// What the statements of a packet may still tell of earlier ones.
    pub(super) repeated: Repeated,
    /// What the next statement's results look like, and where that was said.
    pub(super) described: Option<(u16, Vec<Column>, Message)>,
    /// A statement failed: the server passes over what follows until it is ready for more.
    pub(super) has_failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client's first message is to come.
    Startup,
    /// The client asked for encryption; the server answers with a single byte.
    Encryption,
    /// The client has told its user.
    Authenticating,
    Messages,
    /// What follows can't be read.
    Opaque,
}

/// Messages that belong together.
#[derive(Debug, Default)]
pub(super) struct Unit {
    pub(super) place: Option<Message>,
    pub(super) has_describe: bool,
    pub(super) has_gap: bool,
}

/// One direction.
#[derive(Debug, Default)]
struct Side {
    frames: Frames,
    /// Whether it is known where messages begin.
    is_synced: bool,
}

impl Connection {
    pub(super) fn new(flow: &Arc<Flow>, options: &Arc<Options>) -> Self {
        let is_begin = flow.originator_known;
        let side = || Side { is_synced: is_begin, ..Side::default() };
        Self {
            options: Arc::clone(options),
            client: is_begin.then_some(Sender::Originator),
            phase: if is_begin { Phase::Startup } else { Phase::Messages },
            session: Session::default(),
            login: None,
            sides: [side(), side()],
            queue: Queue::default(),
            unit: Unit::default(),
            statements: named(),
            portals: named(),
            repeated: Repeated::default(),
            described: None,
            has_failed: false,
        }
    }

    /// The client's end. Where nobody saw who connected, the port decides, then what the messages can be.
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
            _ => match (detect::is_client(chunk.bytes), detect::is_server(chunk.bytes)) {
                (true, false) => chunk.sender,
                (false, true) => chunk.sender.other(),
                _ if detect::is_startup(chunk.bytes) => chunk.sender,
                // Not yet.
                _ => return chunk.sender,
            },
        };
        self.client = Some(client);
        client
    }

    pub(super) fn client_end(&self) -> Sender {
        self.client.unwrap_or(Sender::Originator)
    }

    fn resync(&mut self, is_client: bool, bytes: &[u8]) -> bool {
        if is_client && self.phase == Phase::Messages && detect::is_startup(bytes) {
            // The beginning after all: only the handshake of TCP is missing.
            self.phase = Phase::Startup;
            return true;
        }
        if is_client { detect::is_client(bytes) } else { detect::is_server(bytes) }
    }

    fn message(&mut self, is_client: bool, frame: &Frame<'_>, context: &mut Context<'_>) {
        if is_client {
            self.client_message(frame, context);
        } else {
            self.server_message(frame, context);
        }
    }

    /// It is no longer known where messages of this direction begin.
    fn lost(&mut self, is_client: bool, sender: Sender, context: &mut Context<'_>) {
        let side = &mut self.sides[sender.index()];
        side.is_synced = false;
        let begun = side.frames.abandon();
        if is_client {
            self.unit = Unit::default();
            if let (Some(place), Phase::Messages) = (begun, self.phase) {
                let mut run = Run::new(Kind::Unknown, Some(place), None);
                run.incomplete = Some(Incomplete::RequestGap);
                self.report(run, None, context);
            }
            if self.phase == Phase::Startup {
                self.phase = Phase::Messages;
            }
            return;
        }
        self.described = None;
        // What failed before the loss, and that the server was ready for more, are over.
        self.has_failed = false;
        self.end_login(Some(Incomplete::ResponseGap), context);
        if self.phase != Phase::Opaque {
            self.phase = Phase::Messages;
        }
        self.drain(Some(Incomplete::ResponseGap), context);
    }

    /// Reports all that waits.
    fn drain(&mut self, reason: Option<Incomplete>, context: &mut Context<'_>) {
        while let Some(awaited) = self.queue.pop() {
            if let Awaited::Run(run) | Awaited::Parse { run, is_alone: true } = awaited {
                let reason = reason.unwrap_or(match run.response {
                    Some(_) => Incomplete::Ended,
                    None => Incomplete::NoResponse,
                });
                // Replication has no end of its own.
                let is_endless = run.copy == Some(Copy::Both) && reason == Incomplete::Ended;
                self.report(*run, (!is_endless).then_some(reason), context);
            }
        }
    }

    pub(super) fn end_login(&mut self, incomplete: Option<Incomplete>, context: &mut Context<'_>) {
        if let Some(login) = self.login.take() {
            context.emit(report::login(&self.session, login, incomplete, context.flow, self.client_end()));
        }
    }

    pub(super) fn report(&self, mut run: Run, incomplete: Option<Incomplete>, context: &mut Context<'_>) {
        if run.is_reported {
            return;
        }
        if run.request.is_none() {
            run.incomplete.get_or_insert(Incomplete::NoRequest);
        }
        let incomplete = run.incomplete.or(incomplete);
        let options = &self.options.common;
        context.emit(report::run(&self.session, run, incomplete, options, context, self.client_end()));
    }

    /// Adds something that the server is to answer. When too much waits, all of it is reported.
    pub(super) fn expect(&mut self, awaited: Awaited, context: &mut Context<'_>) {
        if let Err(awaited) = self.queue.push(awaited) {
            self.drain(Some(Incomplete::Limit), context);
            // An empty queue has room for anything.
            let _ = self.queue.push(awaited);
        }
    }

    /// Reports the statements that wait for too long. Their answers may still come, and are passed over then.
    fn expire(&mut self, now: Moment, context: &mut Context<'_>) {
        let timeout_ns = self.options.common.transaction_timeout_ns;
        while let Some(run) = self.queue.expired(now, timeout_ns) {
            if run.response.is_none() {
                let expired = run.give_up();
                self.report(expired, Some(Incomplete::NoResponse), context);
            }
        }
    }

    /// The server's answer to a wish for encryption.
    fn encryption_answer<'a>(&mut self, bytes: &'a [u8], context: &mut Context<'_>) -> Option<&'a [u8]> {
        match bytes.split_first()? {
            (b'N', rest) => {
                self.phase = Phase::Startup;
                self.login = None;
                Some(rest)
            }
            (b'S' | b'G', rest) => {
                if let Some(login) = &mut self.login {
                    login.is_encrypted = true;
                }
                self.end_login(None, context);
                self.phase = Phase::Opaque;
                context.hand_over(rest);
                None
            }
            // A server that knows no encryption says so in an error.
            _ => {
                self.phase = Phase::Authenticating;
                Some(bytes)
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
        let index = chunk.sender.index();
        let mut input = chunk.bytes;
        if !is_client && self.phase == Phase::Encryption {
            match self.encryption_answer(input, context) {
                Some(rest) => input = rest,
                None => return,
            }
        }
        if !self.sides[index].is_synced && !self.resync(is_client, input) {
            return;
        }
        self.sides[index].is_synced = true;
        let mut frames = std::mem::take(&mut self.sides[index].frames);
        loop {
            let format = if is_client && self.phase == Phase::Startup { STARTUP } else { MESSAGE };
            match frames.next(&mut input, chunk.at, format) {
                Ok(Some(frame)) => self.message(is_client, &frame, context),
                Ok(None) => break,
                Err(_) => {
                    self.lost(is_client, chunk.sender, context);
                    frames.abandon();
                    break;
                }
            }
            if self.phase == Phase::Opaque {
                return;
            }
        }
        self.sides[index].frames = frames;
    }

    fn gap(&mut self, sender: Sender, len: u64, at: Moment, context: &mut Context<'_>) {
        let is_client = sender == self.client_end();
        let side = &mut self.sides[sender.index()];
        if !side.is_synced || !side.frames.gap(at, len) {
            self.lost(is_client, sender, context);
        }
    }

    fn finish(&mut self, context: &mut Context<'_>) {
        let reason = match self.login.as_ref().map(|login| login.response) {
            Some(None) => Incomplete::NoResponse,
            _ => Incomplete::Ended,
        };
        self.end_login(Some(reason), context);
        self.drain(None, context);
    }
}
