//! What a client's packets do to a connection.

use super::super::parser::Context;
use super::super::sql::{Frame, Rows};
use super::super::{Incomplete, Moment};
use super::command::{Answer, Command};
use super::connection::{Connection, Phase};
use super::pending::{Pending, join, join_some};
use super::report::{self, LoginAttempt};
use super::request;
use super::view::Login;

impl Connection {
    pub(super) fn client_packet(&mut self, frame: &Frame<'_>, at: Moment, context: &mut Context<'_>) {
        if self.continues(frame, true) {
            return;
        }
        let sequence = frame.header[3];
        match self.phase {
            Phase::Begin if sequence == 0 => {
                self.phase = Phase::Commands;
                self.command(frame, at, context);
            }
            Phase::Begin | Phase::Login => self.login(frame, context),
            Phase::Authenticating => {
                if let Some(login) = &mut self.login {
                    join(&mut login.request, frame.place);
                }
            }
            Phase::Commands => {
                let sends_file = self.pending.front().is_some_and(|pending| pending.response.wants_file());
                if sends_file || sequence != 0 {
                    if let Some(pending) = self.pending.front_mut() {
                        join_some(&mut pending.request, frame.place);
                    }
                } else {
                    self.command(frame, at, context);
                }
            }
            Phase::Opaque => {}
        }
    }

    fn login(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        let Some(login) = Login::parse(frame.body) else {
            self.phase = Phase::Commands;
            return;
        };
        self.session.log_in(&login);
        self.phase = Phase::Authenticating;
        let attempt = LoginAttempt::new(frame.place, &login);
        if login.user.is_none() {
            context.emit(report::encrypted(&self.session, attempt, context.flow, self.client_end()));
            self.phase = Phase::Opaque;
            return;
        }
        self.login = Some(attempt);
    }

    fn command(&mut self, frame: &Frame<'_>, at: Moment, context: &mut Context<'_>) {
        let Some((&code, body)) = frame.body.split_first() else {
            if frame.body_length == 0 || !frame.has_gap {
                return;
            }
            self.push(Pending::new(Command::QUERY, Some(frame.place), None), context);
            return;
        };
        let command = Command(code);
        let is_text = matches!(command.answer(), Answer::Results | Answer::Prepared | Answer::Rows);
        let rows = (self.options.common.send_response && is_text)
            .then(|| Rows::new(self.options.max_rows, self.options.max_row_length));
        let mut pending = Pending::new(command, Some(frame.place), rows);
        pending.response.set_deprecates_eof(self.session.deprecates_eof());
        if frame.has_gap {
            pending.incomplete = Some(Incomplete::RequestGap);
        } else if !frame.is_whole() {
            pending.notes.push("The query is longer than what is kept of it");
        }
        self.end_of_preparation(context);
        request::describe(&mut pending, body, &mut self.statements, &mut self.session, &self.pending, at);
        pending.tell_within(&mut self.repeated);
        if command == Command::QUIT {
            // Nothing more is asked.
            self.side_of_client().is_synced = false;
        }
        if command.answer() == Answer::Nothing {
            self.report(pending, None, context);
        } else {
            self.push(pending, context);
        }
    }

    /// A new command shows that the answer to a preparation was whole, where that depends on a login that wasn't seen.
    fn end_of_preparation(&mut self, context: &mut Context<'_>) {
        if self.pending.front().is_some_and(|pending| pending.response.may_be_done()) {
            self.answered(context);
        }
    }
}
