//! What the server owes answers to, in the order in which it was asked.

use std::collections::VecDeque;

use super::super::{Message, Moment};
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
///
/// What is looked for is found by its number: messages of 5 bytes ask for it, and looking at all that waits would be long.
#[derive(Debug, Default)]
pub(super) struct Queue {
    awaited: VecDeque<Awaited>,
    held: usize,
    /// The number of the oldest. What is put before it has the number before.
    first: i64,
    /// Numbers of the statements, and of those times at which the server is ready for more.
    runs: VecDeque<i64>,
    readies: VecDeque<i64>,
    /// Numbers of the preparations since both that may be alone.
    open_parses: VecDeque<i64>,
    /// Numbers of what may wait for too long: statements, and preparations that are alone.
    timed: VecDeque<i64>,
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
        let number = self.first + i64::try_from(self.awaited.len()).unwrap_or(i64::MAX);
        match &awaited {
            Awaited::Run(_) => {
                self.runs.push_back(number);
                self.timed.push_back(number);
                self.open_parses.clear();
            }
            Awaited::Ready => {
                self.readies.push_back(number);
                self.open_parses.clear();
            }
            Awaited::Parse { .. } => self.open_parses.push_back(number),
            _ => {}
        }
        self.held += held;
        self.awaited.push_back(awaited);
        Ok(())
    }

    /// Puts a statement before all that is awaited: it is being answered, though nobody was seen to ask for it.
    pub(super) fn push_orphan(&mut self, mut run: Run) {
        run.measure();
        self.held += run.held();
        self.first -= 1;
        self.runs.push_front(self.first);
        self.awaited.push_front(Awaited::Run(Box::new(run)));
    }

    pub(super) fn front(&self) -> Option<&Awaited> {
        self.awaited.front()
    }

    pub(super) fn pop(&mut self) -> Option<Awaited> {
        let awaited = self.awaited.pop_front()?;
        self.held -= awaited.held().min(self.held);
        for numbers in [&mut self.runs, &mut self.readies, &mut self.open_parses, &mut self.timed] {
            if numbers.front() == Some(&self.first) {
                numbers.pop_front();
            }
        }
        self.first += 1;
        Some(awaited)
    }

    /// The statement that is being answered: the next one, before the server is ready for more. What is before it was
    /// answered in bytes that weren't seen, and is dropped.
    pub(super) fn current_run(&mut self) -> Option<&mut Run> {
        let run = *self.runs.front()?;
        if self.readies.front().is_some_and(|&ready| ready < run) {
            return None;
        }
        while self.first < run {
            self.pop();
        }
        self.run(run)
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
        let run = *self.runs.front()?;
        self.run(run).filter(|run| run.copy.is_some())
    }

    /// The preparations since the server is to be ready for more that nothing is executed with become transactions of their own.
    /// What was sent with the last one is a part of it.
    pub(super) fn prepared_alone(&mut self, with_last: Option<Message>) {
        let mut with_last = with_last;
        let parses = std::mem::take(&mut self.open_parses);
        for &number in parses.iter().rev() {
            if let Some(Awaited::Parse { run, is_alone }) = self.get(number) {
                *is_alone = true;
                run.request = with_last.take().or(run.request);
            }
        }
        self.timed.extend(parses);
    }

    /// The next statement that has waited for longer than this. Each is given once.
    pub(super) fn expired(&mut self, now: Moment, timeout_ns: i64) -> Option<&mut Run> {
        let number = *self.timed.front()?;
        let request = self.run(number).and_then(|run| run.request);
        if request.is_some_and(|request| now.ts_ns.saturating_sub(request.last.ts_ns) <= timeout_ns) {
            return None;
        }
        self.timed.pop_front();
        self.run(number)
    }

    fn get(&mut self, number: i64) -> Option<&mut Awaited> {
        self.awaited.get_mut(usize::try_from(number - self.first).ok()?)
    }

    fn run(&mut self, number: i64) -> Option<&mut Run> {
        match self.get(number)? {
            Awaited::Run(run) | Awaited::Parse { run, .. } => Some(run),
            _ => None,
        }
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

#[cfg(test)]
mod tests {
    use super::super::run::{Copy, Kind};
    use super::*;

    fn at(ts_ns: i64) -> Message {
        Message::at(Moment { ts_ns, packet_id: 0 }, 1)
    }

    fn run(ts_ns: i64) -> Awaited {
        Awaited::Run(Box::new(Run::new(Kind::Simple, Some(at(ts_ns)), None)))
    }

    fn parse(ts_ns: i64) -> Awaited {
        let run = Box::new(Run::new(Kind::Preparation, Some(at(ts_ns)), None));
        Awaited::Parse { run, is_alone: false }
    }

    fn queue(all: Vec<Awaited>) -> Queue {
        let mut queue = Queue::default();
        for awaited in all {
            queue.push(awaited).unwrap();
        }
        queue
    }

    fn begin(run: Option<&mut Run>) -> Option<i64> {
        run.map(|run| run.request.unwrap().first.ts_ns)
    }

    /// When those that are alone were asked for, and what they end with.
    fn alone(queue: &mut Queue) -> Vec<(i64, i64)> {
        let mut found = Vec::new();
        while let Some(awaited) = queue.pop() {
            if let Awaited::Parse { run, is_alone: true } = awaited {
                found.push((run.request.unwrap().first.ts_ns, run.request.unwrap().last.ts_ns));
            }
        }
        found
    }

    #[test]
    fn the_statement_that_is_answered() {
        let mut queue = queue(vec![parse(1), Awaited::Bind, run(2), Awaited::Ready, Awaited::Bind, run(3)]);
        assert_eq!(begin(queue.current_run()), Some(2));
        assert!(queue.copying().is_none());
        queue.current_run().unwrap().copy = Some(Copy::In);
        assert_eq!(begin(queue.copying()), Some(2));
        queue.pop();
        assert!(queue.current_run().is_none(), "the server is to say first that it is ready");
        queue.push_orphan(Run::new(Kind::Unknown, Some(at(9)), None));
        assert_eq!(begin(queue.current_run()), Some(9));
        queue.pop();
        queue.pop();
        assert_eq!(begin(queue.current_run()), Some(3));
        queue.pop();
        assert!(queue.current_run().is_none() && queue.front().is_none() && queue.held == 0);
    }

    #[test]
    fn preparations_that_are_alone() {
        let mut all = queue(vec![parse(1), run(2), parse(3), Awaited::Bind, parse(4)]);
        all.prepared_alone(Some(at(5)));
        all.push(parse(6)).unwrap();
        all.prepared_alone(Some(at(7)));
        all.prepared_alone(Some(at(8)));
        assert_eq!(alone(&mut all), [(3, 3), (5, 5), (7, 7)]);
        let mut executed = queue(vec![parse(1), run(2)]);
        executed.prepared_alone(Some(at(3)));
        assert_eq!(alone(&mut executed), []);
        // Some are answered before the others are known to be alone.
        let mut answered = queue(vec![parse(1), parse(2), Awaited::Bind]);
        answered.pop();
        answered.prepared_alone(None);
        assert_eq!(alone(&mut answered), [(2, 2)]);
    }

    #[test]
    fn each_waits_too_long_once() {
        let now = |ts_ns| Moment { ts_ns, packet_id: 0 };
        let mut queue = queue(vec![run(1), Awaited::Ready, parse(2), Awaited::Ready, parse(3), run(4)]);
        queue.push(parse(5)).unwrap();
        queue.prepared_alone(None);
        let mut expired = |ts_ns| {
            let mut found = Vec::new();
            while let Some(run) = queue.expired(now(ts_ns), 10) {
                found.extend(begin(Some(run)));
            }
            (found, queue.timed.len())
        };
        assert_eq!(expired(11), (vec![], 3));
        assert_eq!(expired(12), (vec![1], 2));
        assert_eq!(expired(100), (vec![4, 5], 0));
        assert_eq!(expired(100), (vec![], 0));
    }

    #[test]
    fn what_is_remembered_of_the_past() {
        let mut queue = Queue::default();
        for _ in 0..1000 {
            for awaited in [parse(1), Awaited::Bind, run(1), Awaited::Ready, parse(2)] {
                queue.push(awaited).unwrap();
            }
            queue.prepared_alone(None);
            while queue.awaited.len() > 1 {
                queue.pop();
            }
        }
        let numbers = [&queue.runs, &queue.readies, &queue.open_parses, &queue.timed];
        assert_eq!(numbers.map(VecDeque::len), [0, 0, 0, 1]);
    }
}
