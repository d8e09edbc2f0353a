//! What a server's messages do to a connection.

use super::super::parser::Context;
use super::super::sql::{Frame, Reader};
use super::super::{Incomplete, Message, text};
use super::connection::{Connection, Phase};
use super::queue::Awaited;
use super::run::{COLUMNS_KEPT_MAX, Copy, Kind, Run, extend};
use super::view::{ServerError, row_description, type_list};

const NOT_EXECUTED_NOTE: &str = "Not executed: another statement of the batch failed";

impl Connection {
    pub(super) fn server_message(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        if let Some(login) = &mut self.login {
            extend(&mut login.response, frame.place);
        }
        match frame.header[0] {
            b'1' => self.parsed(frame.place, context),
            b'2' if matches!(self.queue.front(), Some(Awaited::Bind)) => drop(self.queue.pop()),
            b'3' if matches!(self.queue.front(), Some(Awaited::Close)) => drop(self.queue.pop()),
            b't' => self.parameters_described(frame),
            b'T' => self.row_description(frame),
            b'n' => {
                self.skip_to_description();
            }
            b'D' => {
                let run = self.current();
                run.extend(frame.place);
                run.row(frame.body);
                if frame.has_gap {
                    run.incomplete.get_or_insert(Incomplete::ResponseGap);
                }
            }
            b'C' => {
                let tag = text(frame.body.strip_suffix(&[0]).unwrap_or(frame.body));
                self.completed(frame, context, |run| run.tag = Some(tag));
            }
            b's' => self.completed(frame, context, |run| run.is_suspended = true),
            b'I' | b'V' => self.completed(frame, context, |_| {}),
            b'G' => self.copies(frame.place, Copy::In),
            b'H' => self.copies(frame.place, Copy::Out),
            b'W' => self.copies(frame.place, Copy::Both),
            b'd' | b'c' => {
                if let Some(run) = self.queue.copying() {
                    run.extend(frame.place);
                }
            }
            b'E' => self.failed(frame, context),
            b'Z' => self.ready(context),
            b'S' => self.session.set_parameter(frame.body),
            b'K' => self.session.backend_pid = Reader::new(frame.body).u32_be(),
            b'R' => self.session.authentication(frame.body),
            _ => {}
        }
    }

    /// The statement that is being answered; one that nobody asked for, if need be.
    fn current(&mut self) -> &mut Run {
        if self.queue.current_run().is_none() {
            self.queue.push_orphan(Run::new(Kind::Unknown, None, None));
        }
        let described = self.described.take();
        let run = self.queue.current_run().expect("there is one, or it was just put there");
        if let Some((count, columns, place)) = described {
            run.describe(count, &columns);
            run.extend(place);
        }
        run
    }

    fn parsed(&mut self, place: Message, context: &mut Context<'_>) {
        if !matches!(self.queue.front(), Some(Awaited::Parse { .. })) {
            return;
        }
        if let Some(Awaited::Parse { mut run, is_alone: true }) = self.queue.pop() {
            run.extend(place);
            self.report(*run, None, context);
        }
    }

    /// Drops what is awaited before a description or a statement: it was answered in bytes that weren't seen. Takes the
    /// description out, and gives the statement that it is of, if it is of one.
    fn skip_to_description(&mut self) -> Option<Option<Vec<u8>>> {
        while let Some(Awaited::Parse { is_alone: false, .. } | Awaited::Bind | Awaited::Close) =
            self.queue.front()
        {
            self.queue.pop();
        }
        if !matches!(self.queue.front(), Some(Awaited::Describe { .. })) {
            return None;
        }
        match self.queue.pop() {
            Some(Awaited::Describe { statement }) => Some(statement),
            _ => None,
        }
    }

    fn parameters_described(&mut self, frame: &Frame<'_>) {
        if let Some(Awaited::Describe { statement: Some(name) }) = self.queue.front()
            && let Some(types) = type_list(&mut Reader::new(frame.body))
        {
            self.statements.change(&name[..], |statement| statement.types = types);
        }
    }

    fn row_description(&mut self, frame: &Frame<'_>) {
        let kept_max = if self.options.common.send_response { COLUMNS_KEPT_MAX } else { 0 };
        let (count, columns) = row_description(frame.body, kept_max).unwrap_or_default();
        if let Some(Some(name)) = self.skip_to_description() {
            let columns = columns.clone();
            self.statements.change(&name[..], |statement| statement.columns = Some((count, columns)));
        }
        self.described = Some((count, columns, frame.place));
        if matches!(self.queue.front(), Some(Awaited::Run(_))) {
            self.current();
        }
    }

    fn completed(&mut self, frame: &Frame<'_>, context: &mut Context<'_>, complete: impl FnOnce(&mut Run)) {
        let run = self.current();
        run.extend(frame.place);
        complete(run);
        if frame.has_gap {
            run.incomplete.get_or_insert(Incomplete::ResponseGap);
        }
        if let Some(Awaited::Run(run)) = self.queue.pop() {
            self.report(*run, None, context);
        }
    }

    fn copies(&mut self, place: Message, copy: Copy) {
        let run = self.current();
        run.extend(place);
        run.copy = Some(copy);
    }

    fn failed(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        let error = ServerError::parse(frame.body);
        if let Some(login) = &mut self.login {
            login.error = Some(error);
            self.end_login(None, context);
            self.phase = Phase::Messages;
            return;
        }
        self.described = None;
        self.has_failed = true;
        let mut error = Some(error);
        while let Some(awaited) = self.queue.front()
            && !matches!(awaited, Awaited::Ready)
        {
            let Some(Awaited::Run(mut run) | Awaited::Parse { mut run, is_alone: true }) = self.queue.pop()
            else {
                continue;
            };
            match error.take() {
                Some(error) => {
                    run.extend(frame.place);
                    run.error = Some(error);
                    self.report(*run, None, context);
                }
                None => self.not_executed(*run, context),
            }
        }
        if let Some(error) = error {
            // To something that wasn't seen, or to nothing: the server closes the connection.
            let mut orphan = Run::new(Kind::Unknown, None, None);
            orphan.extend(frame.place);
            orphan.error = Some(error);
            self.report(orphan, None, context);
        }
    }

    fn not_executed(&self, mut run: Run, context: &mut Context<'_>) {
        run.notes.push(NOT_EXECUTED_NOTE);
        run.is_passed_over = true;
        self.report(run, Some(Incomplete::NoResponse), context);
    }

    fn ready(&mut self, context: &mut Context<'_>) {
        if self.login.is_some() {
            self.end_login(None, context);
            self.phase = Phase::Messages;
            return;
        }
        self.described = None;
        while let Some(awaited) = self.queue.pop() {
            match awaited {
                Awaited::Ready => break,
                Awaited::Run(run) | Awaited::Parse { run, is_alone: true } if self.has_failed => {
                    self.not_executed(*run, context);
                }
                Awaited::Run(run) | Awaited::Parse { run, is_alone: true } => {
                    self.report(*run, Some(Incomplete::NoResponse), context);
                }
                _ => {}
            }
        }
        self.has_failed = false;
    }
}
