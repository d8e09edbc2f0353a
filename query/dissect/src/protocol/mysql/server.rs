//! What a server's packets do to a connection.

use std::sync::Arc;

use super::super::Incomplete;
use super::super::parser::Context;
use super::super::sql::{Frame, REPEATED_NOTE};
use super::command::Command;
use super::connection::{Connection, Phase};
use super::constants::marker;
use super::pending::{Pending, join_some};
use super::report;
use super::response::{Next, ServerError};
use super::view::Greeting;

impl Connection {
    pub(super) fn server_packet(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        if self.continues(frame, false) {
            return;
        }
        match self.phase {
            Phase::Begin | Phase::Login => self.greeted(frame, context),
            Phase::Authenticating => self.authenticated(frame, context),
            Phase::Commands => self.answer(frame, context),
            Phase::Opaque => {}
        }
    }

    fn greeted(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        if let Some(greeting) = Greeting::parse(frame.body) {
            self.session.greet(&greeting);
            self.phase = Phase::Login;
        } else if frame.body.first() == Some(&marker::ERR)
            && let Some(error) = ServerError::parse(frame.body)
        {
            context.emit(report::refused(
                &self.session,
                &error,
                frame.place,
                context.flow,
                self.client_end(),
            ));
        } else {
            self.side_of_server().is_synced = false;
        }
    }

    fn authenticated(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        let Some(login) = &mut self.login else { return };
        join_some(&mut login.response, frame.place);
        let error = match frame.body.first() {
            Some(&marker::OK) => None,
            Some(&marker::ERR) => ServerError::parse(frame.body),
            // Another method, or more of the exchange.
            _ => return,
        };
        let succeeded = error.is_none();
        if let Some(login) = self.login.take() {
            context.emit(report::login(&self.session, login, error, None, context.flow, self.client_end()));
        }
        self.phase = Phase::Commands;
        if succeeded {
            self.codec = self.session.codec();
        }
    }

    fn answer(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        if self.pending.is_empty() {
            // An answer to what wasn't seen, or an error that the server sends before it closes.
            let mut orphan = Pending::new(Command::QUERY, None, None);
            orphan.response.set_deprecates_eof(self.session.deprecates_eof());
            self.pending.push(orphan);
        }
        let Some(pending) = self.pending.front_mut() else { return };
        let is_first = pending.response_place.is_none();
        let before = pending.response_place;
        join_some(&mut pending.response_place, frame.place);
        if frame.has_gap {
            pending.incomplete.get_or_insert(Incomplete::ResponseGap);
        }
        match pending.response.packet(frame) {
            Next::More => {}
            Next::Done => {
                if is_first && pending.request.is_none() && pending.response.is_malformed {
                    // From the middle of something: no answer begins like this.
                    self.pending.pop();
                    self.side_of_server().is_synced = false;
                    return;
                }
                let is_malformed = pending.response.is_malformed;
                self.answered(context);
                if is_malformed {
                    self.side_of_server().is_synced = false;
                }
            }
            Next::DoneBefore => {
                pending.response_place = before;
                self.answered(context);
                self.answer(frame, context);
            }
        }
    }

    pub(super) fn answered(&mut self, context: &mut Context<'_>) {
        let Some(mut pending) = self.pending.pop() else { return };
        if let (Some(prepared), Some(query), Some(place)) =
            (pending.response.prepared, &pending.query, pending.response_place)
        {
            let shape = (prepared.columns > 0).then(|| pending.response.shape());
            self.statements.prepare(
                prepared.statement_id,
                Arc::clone(query),
                prepared.parameters,
                shape,
                place.last,
            );
        }
        let is_reset = matches!(pending.command, Command::RESET_CONNECTION | Command::CHANGE_USER);
        if is_reset && pending.response.failure.is_none() {
            self.statements.clear();
        }
        self.session.answered(&pending);
        if !pending.response.tell_within(&mut self.repeated) {
            pending.notes.push(REPEATED_NOTE);
        }
        self.report(pending, None, context);
    }
}
