//! What a client's messages do to a connection.

use std::sync::Arc;

use super::super::parser::Context;
use super::super::sql::{Frame, PARAMETERS_CUT_NOTE, Parameters, REPEATED_NOTE, Reader, beginning, split};
use super::super::{Incomplete, text};
use super::binary::value_text;
use super::connection::{Connection, Phase, Unit};
use super::objects::{Portal, Statement};
use super::queue::Awaited;
use super::report::{self, Login};
use super::run::{Kind, Run, extend};
use super::view::{Bind, Preparation, Startup};

/// Statements of one `Query` that become transactions of their own; the last of them has the rest.
const STATEMENTS_MAX: usize = 1000;

const UNKNOWN_STATEMENT_NOTE: &str = "The actual query being used is unknown";
const CUT_NOTE: &str = "The query is longer than what is kept of it";

impl Connection {
    pub(super) fn client_message(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        match self.phase {
            Phase::Startup => self.startup(frame, context),
            Phase::Authenticating | Phase::Encryption => {
                if let Some(login) = &mut self.login {
                    extend(&mut login.request, frame.place);
                }
                // Clients may send a query before they are told that they are in.
                if self.phase == Phase::Authenticating && frame.header[0] != b'p' {
                    self.request(frame, context);
                }
            }
            Phase::Messages => self.request(frame, context),
            Phase::Opaque => {}
        }
    }

    fn startup(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        let mut login = Login::new(frame.place);
        match Startup::parse(frame.body) {
            Some(Startup::Session(parameters)) => {
                self.session.start(&parameters);
                self.phase = Phase::Authenticating;
            }
            Some(Startup::Cancel { process }) => {
                context.emit(report::cancel(process, frame.place, context.flow, self.client_end()));
                return;
            }
            Some(Startup::Tls) => {
                login.encryption = Some("tls");
                self.phase = Phase::Encryption;
            }
            Some(Startup::Gss) => {
                login.encryption = Some("gss");
                self.phase = Phase::Encryption;
            }
            None => {
                self.phase = Phase::Messages;
                return;
            }
        }
        self.login = Some(login);
    }

    fn request(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        match frame.header[0] {
            b'Q' => self.query(frame, context),
            b'P' => self.parse(frame, context),
            b'B' => self.bind(frame, context),
            b'D' => self.describe(frame, context),
            b'E' => self.execute(frame, context),
            b'C' => self.close(frame, context),
            b'F' => self.function(frame, context),
            b'H' => self.flush(frame),
            b'S' => self.sync(frame, context),
            b'd' | b'c' | b'f' => {
                if let Some(run) = self.queue.copying() {
                    extend(&mut run.request, frame.place);
                }
            }
            _ => {}
        }
    }

    fn query(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        self.unit = Unit::default();
        let query = text(frame.body.strip_suffix(&[0]).unwrap_or(frame.body));
        let mut statements = split(&query);
        if statements.is_empty() {
            // Answered, too: with `EmptyQueryResponse`.
            statements.push("");
        }
        if statements.len() > STATEMENTS_MAX {
            let rest = statements[STATEMENTS_MAX - 1].as_ptr() as usize - query.as_ptr() as usize;
            statements.truncate(STATEMENTS_MAX - 1);
            statements.push(&query[rest..]);
        }
        for statement in statements {
            let mut run = Run::new(Kind::Simple, Some(frame.place), self.options.rows());
            run.query = Some(statement.into());
            self.note(&mut run, frame);
            self.expect(Awaited::Run(Box::new(run)), context);
        }
        self.expect(Awaited::Ready, context);
    }

    fn note(&self, run: &mut Run, frame: &Frame<'_>) {
        if frame.has_gap {
            run.incomplete = Some(Incomplete::RequestGap);
        } else if !frame.is_whole() {
            run.notes.push(CUT_NOTE);
        }
    }

    fn parse(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        self.add_to_unit(frame);
        let mut run = Run::new(Kind::Preparation, Some(frame.place), None);
        if let Some(preparation) = Preparation::parse(frame.body) {
            let query = shared_text(preparation.query);
            run.query = Some(Arc::clone(&query));
            run.statement_name = shared_name(preparation.name);
            let statement = Statement { query, types: preparation.types, columns: None };
            self.statements.insert(preparation.name.into(), statement);
        }
        self.note(&mut run, frame);
        self.expect(Awaited::Parse { run: Box::new(run), is_alone: false }, context);
    }

    fn bind(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        self.add_to_unit(frame);
        if let Some(bind) = Bind::parse(frame.body) {
            let statement = self.statements.used(bind.statement);
            let types = statement.as_ref().map_or(&[][..], |statement| &statement.types);
            let mut parameters = Parameters::default();
            for (index, (value, is_binary)) in bind.parameters.iter().enumerate() {
                let is_kept = parameters.push(match value {
                    Some(bytes) => value_text(bytes, *is_binary, types.get(index).copied().unwrap_or(0)),
                    None => "NULL".to_owned(),
                });
                if !is_kept {
                    break;
                }
            }
            let portal = Portal {
                statement_name: shared_name(bind.statement),
                query: statement.as_ref().map(|statement| Arc::clone(&statement.query)),
                parameters,
                binary_results: bind.binary_results,
                columns: statement.and_then(|statement| statement.columns.clone()),
            };
            self.portals.insert(bind.portal.into(), Arc::new(portal));
        }
        self.expect(Awaited::Bind, context);
    }

    fn describe(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        self.add_to_unit(frame);
        self.unit.has_describe = true;
        let mut reader = Reader::new(frame.body);
        let statement = (reader.u8() == Some(b'S')).then(|| reader.until_nul_or_end().to_vec());
        self.expect(Awaited::Describe { statement }, context);
    }

    fn execute(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        self.add_to_unit(frame);
        let unit = std::mem::take(&mut self.unit);
        let mut run =
            Run::new(Kind::Extended { is_described: unit.has_describe }, unit.place, self.options.rows());
        if unit.has_gap {
            run.incomplete = Some(Incomplete::RequestGap);
        }
        let name = Reader::new(frame.body).until_nul_or_end();
        if let Some(portal) = self.portals.used(name) {
            if self.repeated.allows(portal.told()) {
                run.query.clone_from(&portal.query);
                run.statement_name.clone_from(&portal.statement_name);
            } else {
                run.is_repeated = true;
                run.query = portal.query.as_ref().map(|query| beginning(query).into());
            }
            run.num_fields = portal.columns.as_ref().map_or(0, |(count, _)| (*count).into());
            run.portal = Some(Arc::clone(portal));
        }
        if run.query.is_none() {
            run.notes.push(UNKNOWN_STATEMENT_NOTE);
        }
        if run.is_repeated {
            run.notes.push(REPEATED_NOTE);
        } else if run.parameters().is_some_and(Parameters::is_cut) {
            run.notes.push(PARAMETERS_CUT_NOTE);
        }
        self.expect(Awaited::Run(Box::new(run)), context);
    }

    fn close(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        self.add_to_unit(frame);
        let mut reader = Reader::new(frame.body);
        match reader.u8() {
            Some(b'S') => drop(self.statements.remove(reader.until_nul_or_end())),
            Some(b'P') => drop(self.portals.remove(reader.until_nul_or_end())),
            _ => {}
        }
        self.expect(Awaited::Close, context);
    }

    fn function(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        let mut run = Run::new(Kind::Function, Some(frame.place), None);
        if let Some(id) = Reader::new(frame.body).u32_be() {
            run.query = Some(format!("function {id}").into());
        }
        self.expect(Awaited::Run(Box::new(run)), context);
        self.expect(Awaited::Ready, context);
    }

    fn flush(&mut self, frame: &Frame<'_>) {
        self.add_to_unit(frame);
        self.queue.prepared_alone(self.unit.place);
        self.unit = Unit::default();
    }

    fn sync(&mut self, frame: &Frame<'_>, context: &mut Context<'_>) {
        self.add_to_unit(frame);
        let unit = std::mem::take(&mut self.unit);
        match self.queue.last_run() {
            Some(run) if run.response.is_none() => {
                if let Some(place) = unit.place {
                    extend(&mut run.request, place);
                }
            }
            _ => self.queue.prepared_alone(unit.place),
        }
        self.expect(Awaited::Ready, context);
    }

    fn add_to_unit(&mut self, frame: &Frame<'_>) {
        extend(&mut self.unit.place, frame.place);
        self.unit.has_gap |= frame.has_gap;
    }
}

fn shared_text(bytes: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(bytes).into()
}

/// The name of a statement; the one without a name has none.
fn shared_name(name: &[u8]) -> Option<Arc<str>> {
    (!name.is_empty()).then(|| shared_text(name))
}
