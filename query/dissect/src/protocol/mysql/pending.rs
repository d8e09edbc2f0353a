//! Commands that wait for their answers.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::sql::{Held, Parameters, REPEATED_NOTE, Repeated, Rows, beginning};
use super::super::{Incomplete, Message};
use super::command::Command;
use super::response::Response;

/// Commands that may wait for their answers. Clients wait for each, save those of MariaDB, which send a few at once.
pub(super) const PENDING_MAX: usize = 256;

/// Bytes of commands that may wait.
pub(super) const PENDING_BYTES_MAX: usize = 4 << 20;

/// A command that waits for the rest of its answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) command: Command,
    /// `None` when it wasn't seen.
    pub(super) request: Option<Message>,
    pub(super) response_place: Option<Message>,
    pub(super) query: Option<Arc<str>>,
    pub(super) parameters: Option<Parameters>,
    pub(super) statement_id: Option<u32>,
    pub(super) response: Response,
    pub(super) incomplete: Option<Incomplete>,
    pub(super) notes: Vec<&'static str>,
    /// It was given up, and reported: its answer is only passed over.
    pub(super) is_reported: bool,
    /// Bytes that it held when it was measured.
    held: usize,
}

/// The commands that aren't answered yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Box<Pending>>,
    held: usize,
}

impl Queue {
    /// Adds a command. The answer is false when there is too much now.
    pub(super) fn push(&mut self, mut pending: Box<Pending>) -> bool {
        pending.held = pending.told();
        self.held += pending.held;
        self.waiting.push_back(pending);
        self.waiting.len() <= PENDING_MAX && (self.waiting.len() <= 1 || self.held <= PENDING_BYTES_MAX)
    }

    pub(super) fn pop(&mut self) -> Option<Box<Pending>> {
        let pending = self.waiting.pop_front()?;
        self.held -= pending.held;
        Some(pending)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn front(&self) -> Option<&Pending> {
        self.waiting.front().map(|pending| &**pending)
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut Pending> {
        self.waiting.front_mut().map(|pending| &mut **pending)
    }

    pub(super) fn back_mut(&mut self) -> Option<&mut Pending> {
        self.waiting.back_mut().map(|pending| &mut **pending)
    }

    /// The command at this place of the queue.
    pub(super) fn get(&self, index: usize) -> Option<&Pending> {
        self.waiting.get(index).map(|pending| &**pending)
    }

    /// Puts a command into the place of another one, which is given.
    pub(super) fn replace(&mut self, index: usize, mut pending: Box<Pending>) -> Option<Box<Pending>> {
        let place = self.waiting.get_mut(index)?;
        pending.held = pending.told();
        let replaced = std::mem::replace(place, pending);
        self.held = self.held - replaced.held + place.held;
        Some(replaced)
    }

    /// The last command that asks for this.
    pub(super) fn last_of(&self, command: Command) -> Option<&Pending> {
        self.waiting.iter().rev().map(|pending| &**pending).find(|pending| pending.command == command)
    }
}

impl Pending {
    pub(super) fn new(command: Command, request: Option<Message>, rows: Option<Rows>) -> Box<Self> {
        Box::new(Self {
            command,
            request,
            response_place: None,
            query: None,
            parameters: None,
            statement_id: None,
            response: Response::new(command, rows),
            incomplete: None,
            notes: Vec::new(),
            is_reported: false,
            held: 0,
        })
    }

    /// Cuts its texts when those of this packet's commands are too much together. Some bytes may be many NULLs, or name a
    /// long statement, and a compressed packet may be a thousand times as long.
    pub(super) fn tell_within(&mut self, repeated: &mut Repeated) {
        if !repeated.allows(self.told()) {
            self.query = self.query.as_ref().map(|query| beginning(query).into());
            self.parameters = None;
            self.notes.push(REPEATED_NOTE);
        }
    }

    /// Bytes of its texts. Those that it shares with others count, too: transactions don't share.
    fn told(&self) -> usize {
        self.query.as_ref().map_or(0, |query| query.len()) + self.parameters.as_ref().map_or(0, Held::held)
    }
}

/// Makes a message end where another one does.
pub(super) fn join(message: &mut Message, more: Message) {
    message.last = more.last;
    message.bytes += more.bytes;
}

pub(super) fn join_some(message: &mut Option<Message>, more: Message) {
    match message {
        Some(message) => join(message, more),
        None => *message = Some(more),
    }
}
