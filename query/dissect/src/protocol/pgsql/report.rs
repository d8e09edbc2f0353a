//! Making transactions of what was seen on a connection.

use std::sync::Arc;

use super::super::options::CommonOptions;
use super::super::parser::Context;
use super::super::sql::{Parameters, Reader, method, name_text};
use super::super::transaction::{Incomplete, Message, Status, Transaction};
use super::super::{Flow, Sender, Value};
use super::run::{Copy, Kind, Run};
use super::view::{ServerError, affected_rows};

/// Packetbeat's text for executions of statements that weren't seen prepared is MySQL's: there is none for PostgreSQL.
const UNKNOWN_METHOD: &str = "EXECUTE";

/// What is known of the connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    user: Option<String>,
    database: Option<String>,
    application_name: Option<String>,
    server_version: Option<String>,
    pub(super) backend_pid: Option<u32>,
    auth_method: Option<String>,
}

impl Session {
    /// A client told who it is. Without a database, that of the user's name is meant.
    pub(super) fn start(&mut self, parameters: &[(&[u8], &[u8])]) {
        let value = |wanted: &[u8]| {
            parameters.iter().find(|(name, _)| *name == wanted).map(|(_, value)| name_text(value))
        };
        self.user = value(b"user");
        self.database = value(b"database").or_else(|| self.user.clone());
        self.application_name = value(b"application_name").filter(|name| !name.is_empty());
    }

    /// `ParameterStatus`.
    pub(super) fn set_parameter(&mut self, body: &[u8]) {
        let mut reader = Reader::new(body);
        let (Some(name), value) = (reader.until_nul(), reader.until_nul_or_end()) else { return };
        match name {
            b"server_version" => self.server_version = Some(name_text(value)),
            b"application_name" => {
                self.application_name = (!value.is_empty()).then(|| name_text(value));
            }
            _ => {}
        }
    }

    /// `Authentication…`: the first that asks for something names the method.
    pub(super) fn authentication(&mut self, body: &[u8]) {
        let mut reader = Reader::new(body);
        let method = match reader.u32_be() {
            Some(2) => "kerberos",
            Some(3) => "password",
            Some(5) => "md5",
            Some(6) => "scm",
            Some(7) => "gss",
            Some(9) => "sspi",
            Some(10) => {
                let mechanism = reader.until_nul_or_end();
                self.auth_method.get_or_insert_with(|| name_text(mechanism));
                return;
            }
            Some(0) if self.auth_method.is_none() => "trust",
            _ => return,
        };
        self.auth_method.get_or_insert_with(|| method.to_owned());
    }

    fn fill(&self, transaction: &mut Transaction) {
        let fields = transaction.fields.object("pgsql");
        fields.set_some("user", self.user.clone());
        fields.set_some("database", self.database.clone());
        fields.set_some("application_name", self.application_name.clone());
    }
}

/// A login, or the wish for encryption before it, that isn't decided yet.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) request: Option<Message>,
    pub(super) response: Option<Message>,
    /// Which encryption the client wants.
    pub(super) encryption: Option<&'static str>,
    /// It gets it.
    pub(super) is_encrypted: bool,
    pub(super) error: Option<ServerError>,
}

impl Login {
    pub(super) fn new(request: Message) -> Self {
        Self { request: Some(request), response: None, encryption: None, is_encrypted: false, error: None }
    }
}

/// A login that was decided, or wasn't.
pub(super) fn login(
    session: &Session,
    login: Login,
    incomplete: Option<Incomplete>,
    flow: &Arc<Flow>,
    client: Sender,
) -> Transaction {
    let mut transaction = Transaction::new("pgsql", flow, client);
    transaction.table_only = true;
    transaction.method = Some("LOGIN".into());
    transaction.query.clone_from(&session.user);
    transaction.request = login.request;
    transaction.response = login.response;
    session.fill(&mut transaction);
    let fields = transaction.fields.object("pgsql");
    fields.set("protocol", "startup");
    fields.set_some("server_version", session.server_version.clone());
    fields.set_some("backend_pid", session.backend_pid);
    fields.set_some("auth_method", session.auth_method.clone());
    if login.is_encrypted {
        fields.set_some("encryption", login.encryption);
    }
    if let Some(error) = login.error {
        set_error(&mut transaction, error);
    }
    if let Some(reason) = incomplete {
        transaction.set_incomplete(reason);
    }
    transaction
}

/// A connection that only asks to cancel what another one does. It isn't answered.
pub(super) fn cancel(process: u32, place: Message, flow: &Arc<Flow>, client: Sender) -> Transaction {
    let mut transaction = Transaction::new("pgsql", flow, client);
    transaction.table_only = true;
    transaction.method = Some("CANCEL".into());
    transaction.request = Some(place);
    let fields = transaction.fields.object("pgsql");
    fields.set("protocol", "startup");
    fields.set("backend_pid", process);
    transaction
}

/// A statement with its answer.
pub(super) fn run(
    session: &Session,
    mut run: Run,
    incomplete: Option<Incomplete>,
    options: &CommonOptions,
    context: &Context<'_>,
    client: Sender,
) -> Transaction {
    let mut transaction = Transaction::new("pgsql", context.flow, client);
    transaction.request = run.request;
    transaction.response = run.response;
    let query = run.query.as_ref().map(|query| query.trim().trim_end_matches(';').trim_end().to_owned());
    transaction.method = match (&query, run.kind) {
        (_, Kind::Function) => Some("FUNCTION".into()),
        (Some(query), _) => Some(method(query)),
        (None, Kind::Unknown) => None,
        (None, _) => Some(UNKNOWN_METHOD.into()),
    };
    // Settings that drivers make for themselves, without looking at the result: Packetbeat has no documents of them.
    let is_setting =
        run.kind == (Kind::Extended { is_described: false }) && transaction.method.as_deref() == Some("SET");
    transaction.table_only =
        is_setting || run.request.is_none() || matches!(run.kind, Kind::Preparation | Kind::Unknown);
    if options.send_request {
        transaction.request_text.clone_from(&query);
    }
    transaction.query = query;
    transaction.errors.extend(run.notes.iter().map(|&note| note.to_owned()));
    if context.wants_fields {
        set_fields(session, &mut run, &mut transaction);
    }
    if options.send_response && run.response.is_some() {
        transaction.response_text = Some(run.take_text().unwrap_or_default());
    }
    if let Some(error) = run.error.take() {
        set_error(&mut transaction, error);
    }
    if let Some(reason) = incomplete {
        if reason == Incomplete::NoResponse {
            transaction.status = if run.is_passed_over { Status::Error } else { Status::ServerError };
        }
        transaction.set_incomplete(reason);
    }
    transaction
}

fn set_fields(session: &Session, run: &mut Run, transaction: &mut Transaction) {
    let parameters = run.parameters().map_or(&[][..], Parameters::values);
    if !parameters.is_empty() {
        transaction.fields.set("params", Value::list(parameters.iter().cloned()));
    }
    let fields = transaction.fields.object("pgsql");
    if run.response.is_some() {
        fields.set("num_rows", run.num_rows);
        fields.set("num_fields", run.num_fields);
    }
    fields.set_some("protocol", protocol(run.kind));
    fields.set_some("affected_rows", run.tag.as_deref().and_then(affected_rows));
    fields.set_some("command_tag", run.tag.take());
    fields.set_some("statement_name", run.statement_name.as_deref());
    fields.set_some("copy", run.copy.map(Copy::name));
    if run.is_suspended {
        fields.set("suspended", true);
    }
    session.fill(transaction);
}

fn protocol(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Simple => Some("simple"),
        Kind::Extended { .. } => Some("extended"),
        Kind::Preparation => Some("prepare"),
        Kind::Function => Some("function"),
        Kind::Unknown => None,
    }
}

fn set_error(transaction: &mut Transaction, error: ServerError) {
    transaction.status = Status::Error;
    let fields = transaction.fields.object("pgsql");
    fields.set_some("error_code", error.code);
    fields.set_some("error_message", error.message);
    fields.set_some("error_severity", error.severity);
}
