//! What the server owes answers to, in the order in which it was asked.

use std::collections::VecDeque;

use super::super::Message;
use super::run::Run;

/// Messages that may wait for answers. Drivers send a few thousand at once when they insert many rows.
pub(super) const AWAITED_MAX: usize = 65_536;

/// Bytes of statements that may wait for answers.
pub(super) const AWAITED_BYTES_MAX: usize = 8 << 20;

/// Something that the server will answer.
#[derive(Debug)]
pub(super) enum Awaited {
    /// `Parse`. A transaction of its own when nothing is executed with it.
    Parse { run: Box<Run>, is_alone: bool },
    /// `Bind`.
    Bind,
    /// `Close`.
    Close,
    /// `Describe`, of this statement, or of a portal.
    Describe { statement: Option<Vec<u8>> },
    /// A statement.
    Run(Box<Run>),
    /// That the server is ready for more: after a simple query, and after `Sync`.
    Ready,
}

/// All that is awaited, oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    awaited: VecDeque<Awaited>,
    held: usize,
}

impl Queue {
    /// Adds something; gives it back when there is too much.
    pub(super) fn push(&mut self, mut awaited: Awaited) -> Result<(), Awaited> {
        if let Awaited::Run(run) | Awaited::Parse { run, .. } = &mut awaited {
            run.measure();
        }
        let held = awaited.held();
        let is_over = self.held + held > AWAITED_BYTES_MAX && !self.awaited.is_empty();
        if self.awaited.len() >= AWAITED_MAX || is_over {
            return Err(awaited);
        }
        self.held += held;
        self.awaited.push_back(awaited);
        Ok(())
    }

    /// Puts a statement before all that is awaited: it is being answered, though nobody was seen to ask for it.
    pub(super) fn push_orphan(&mut self, mut run: Run) {
        run.measure();
        self.held += run.held();
        self.awaited.push_front(Awaited::Run(Box::new(run)));
    }

    pub(super) fn front(&self) -> Option<&Awaited> {
        self.awaited.front()
    }

    pub(super) fn pop(&mut self) -> Option<Awaited> {
        let awaited = self.awaited.pop_front()?;
        self.held -= awaited.held().min(self.held);
        Some(awaited)
    }

    /// The statement that is being answered: the next one, before the server is ready for more. What is before it was
    /// answered in bytes that weren't seen, and is dropped.
    pub(super) fn current_run(&mut self) -> Option<&mut Run> {
        let at =
            self.awaited.iter().position(|awaited| matches!(awaited, Awaited::Run(_) | Awaited::Ready))?;
        if !matches!(self.awaited[at], Awaited::Run(_)) {
            return None;
        }
        for _ in 0..at {
            self.pop();
        }
        match self.awaited.front_mut() {
            Some(Awaited::Run(run)) => Some(run),
            _ => None,
        }
    }

    /// The last statement, if the server isn't to say before that it is ready for more: what is sent now belongs to it.
    pub(super) fn last_run(&mut self) -> Option<&mut Run> {
        match self.awaited.back_mut() {
            Some(Awaited::Run(run)) => Some(run),
            _ => None,
        }
    }

    /// The statement that sends or receives the rows of `COPY`.
    pub(super) fn copying(&mut self) -> Option<&mut Run> {
        let awaited = self.awaited.iter_mut().find(|awaited| matches!(awaited, Awaited::Run(_)))?;
        match awaited {
            Awaited::Run(run) if run.copy.is_some() => Some(run),
            _ => None,
        }
    }

    /// The preparations since the server is to be ready for more that nothing is executed with become transactions of their own.
    /// What was sent with the last one is a part of it.
    pub(super) fn prepared_alone(&mut self, with_last: Option<Message>) {
        let mut with_last = with_last;
        for awaited in self.awaited.iter_mut().rev() {
            match awaited {
                // What is before was looked at when it was sent.
                Awaited::Run(_) | Awaited::Ready | Awaited::Parse { is_alone: true, .. } => break,
                Awaited::Parse { run, is_alone } => {
                    *is_alone = true;
                    run.request = with_last.take().or(run.request);
                }
                _ => {}
            }
        }
    }

    /// The statements, to look for those that wait for too long.
    pub(super) fn runs(&mut self) -> impl Iterator<Item = &mut Run> {
        self.awaited.iter_mut().filter_map(|awaited| match awaited {
            Awaited::Run(run) | Awaited::Parse { run, is_alone: true } => Some(&mut **run),
            _ => None,
        })
    }
}

impl Awaited {
    fn held(&self) -> usize {
        match self {
            Self::Run(run) | Self::Parse { run, .. } => run.held(),
            Self::Describe { statement } => statement.as_ref().map_or(0, Vec::len),
            Self::Bind | Self::Close | Self::Ready => 0,
        }
    }
}
