//! Making transactions of what was seen on a connection.

use std::sync::Arc;

use super::super::options::CommonOptions;
use super::super::parser::Context;
use super::super::sql::{Parameters, method, name_text};
use super::super::transaction::{Incomplete, Message, Status, Transaction};
use super::super::{Flow, Sender, Value};
use super::command::Command;
use super::compressed::Codec;
use super::constants::capability;
use super::pending::Pending;
use super::request::UNKNOWN_STATEMENT;
use super::response::ServerError;
use super::view::{Greeting, Login};

/// Attributes of a client that are kept.
const ATTRIBUTES_MAX: usize = 64;

/// What is known of the connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    server_version: Option<String>,
    connection_id: Option<u32>,
    server_capabilities: Option<u64>,
    client_capabilities: Option<u64>,
    user: Option<String>,
    database: Option<String>,
    /// The database that a command asks for, until it is answered.
    next_database: Option<String>,
}

impl Session {
    pub(super) fn greet(&mut self, greeting: &Greeting<'_>) {
        self.server_version = Some(name_text(greeting.server_version));
        self.connection_id = Some(greeting.connection_id);
        self.server_capabilities = Some(greeting.capabilities);
    }

    pub(super) fn log_in(&mut self, login: &Login<'_>) {
        self.client_capabilities = Some(login.capabilities);
        self.user = login.user.map(name_text);
        self.database = login.database.filter(|name| !name.is_empty()).map(name_text);
    }

    /// Whether both ends can do something; `None` when the client's login wasn't seen. A client asks for nothing that the
    /// server hasn't offered, if the greeting is missing.
    pub(super) fn agreed(&self, flag: u64) -> Option<bool> {
        let client = self.client_capabilities?;
        Some(client & self.server_capabilities.unwrap_or(client) & flag != 0)
    }

    pub(super) fn deprecates_eof(&self) -> Option<bool> {
        self.agreed(capability::DEPRECATE_EOF)
    }

    /// How the connection is compressed after the login.
    pub(super) fn codec(&self) -> Option<Codec> {
        if self.agreed(capability::COMPRESS) == Some(true) {
            Some(Codec::Zlib)
        } else if self.agreed(capability::ZSTD_COMPRESSION) == Some(true) {
            Some(Codec::Zstd)
        } else {
            None
        }
    }

    /// A command asks for a database, or for none.
    pub(super) fn ask_for_database(&mut self, name: Option<&[u8]>) {
        self.next_database = name.map(name_text);
    }

    /// A command was answered: it may have changed the database.
    pub(super) fn answered(&mut self, pending: &Pending) {
        if pending.command == Command::INIT_DB && pending.response.failure.is_none() {
            self.database = pending.query.as_ref().map(|name| name_text(name.as_bytes()));
        }
        if pending.command == Command::CHANGE_USER && pending.response.failure.is_none() {
            self.user = pending.query.as_ref().map(|name| name_text(name.as_bytes()));
            self.database = self.next_database.take();
        }
    }

    fn fill(&self, transaction: &mut Transaction) {
        let fields = transaction.fields.object("mysql");
        fields.set_some("user", self.user.clone());
        fields.set_some("database", self.database.clone());
    }

    fn fill_connection(&self, transaction: &mut Transaction) {
        let fields = transaction.fields.object("mysql");
        fields.set_some("server_version", self.server_version.clone());
        fields.set_some("connection_id", self.connection_id);
        fields.set_some("compression", self.codec().map(Codec::name));
    }
}

/// A login that isn't decided yet.
#[derive(Debug)]
pub(super) struct LoginAttempt {
    pub(super) request: Message,
    pub(super) response: Option<Message>,
    auth_plugin: Option<String>,
    attributes: Vec<(String, String)>,
}

impl LoginAttempt {
    pub(super) fn new(request: Message, login: &Login<'_>) -> Self {
        Self {
            request,
            response: None,
            auth_plugin: login.auth_plugin.map(name_text),
            attributes: (login.attributes.iter().take(ATTRIBUTES_MAX))
                .map(|(name, value)| (name_text(name), name_text(value)))
                .collect(),
        }
    }
}

/// A command with its answer.
pub(super) fn command(
    session: &Session,
    mut pending: Box<Pending>,
    incomplete: Option<Incomplete>,
    options: &CommonOptions,
    context: &Context<'_>,
    client: Sender,
) -> Transaction {
    let mut transaction = Transaction::new("mysql", context.flow, client);
    transaction.request = pending.request;
    transaction.response = pending.response_place;
    transaction.table_only = !pending.command.is_documented() || pending.request.is_none();
    let query = pending.query.as_deref().map(|query| query.trim_matches([' ', '\r', '\n', '\t']).to_owned());
    transaction.method = Some(match &query {
        Some(query) if pending.command.is_documented() && query != UNKNOWN_STATEMENT => method(query),
        _ if pending.command.is_execution() => "EXECUTE".into(),
        _ => pending.command.name().into(),
    });
    if pending.request.is_none() {
        transaction.method = None;
    }
    if options.send_request {
        transaction.request_text = pending.query.as_deref().map(str::to_owned);
    }
    transaction.query = query;
    transaction.errors.extend(pending.notes.iter().map(|&note| note.to_owned()));
    if context.wants_fields {
        set_fields(session, &mut pending, &mut transaction);
    }
    let response = &mut pending.response;
    if options.send_response && pending.response_place.is_some() {
        let message = response.message.take();
        transaction.response_text = response.take_text().or(message).or_else(|| Some(String::new()));
    }
    if let Some(error) = response.failure.take() {
        set_error(&mut transaction, &error);
    }
    if response.is_malformed {
        transaction.set_incomplete(Incomplete::Malformed);
    }
    if let Some(reason) = incomplete {
        if reason == Incomplete::NoResponse {
            transaction.status = Status::ServerError;
        }
        transaction.set_incomplete(reason);
    }
    transaction
}

fn set_fields(session: &Session, pending: &mut Pending, transaction: &mut Transaction) {
    let response = &mut pending.response;
    transaction.fields.set_some("path", response.path());
    let parameters = pending.parameters.take().map(Parameters::into_values);
    if let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) {
        transaction.fields.set("params", Value::list(parameters));
    }
    let fields = transaction.fields.object("mysql");
    if pending.request.is_some() {
        fields.set("command", pending.command.name());
    }
    if pending.response_place.is_some() {
        fields.set("affected_rows", response.affected_rows);
        fields.set("insert_id", response.insert_id);
        fields.set("num_rows", response.num_rows);
        fields.set("num_fields", response.num_fields);
        if response.warnings > 0 {
            fields.set("warnings", response.warnings);
        }
        if response.results > 1 {
            fields.set("num_results", response.results);
        }
    }
    fields.set_some(
        "statement_id",
        response.prepared.map(|prepared| prepared.statement_id).or(pending.statement_id),
    );
    fields.set_some("local_infile", response.local_infile.take());
    session.fill(transaction);
}

/// A login that was decided, or wasn't.
pub(super) fn login(
    session: &Session,
    attempt: LoginAttempt,
    error: Option<ServerError>,
    incomplete: Option<Incomplete>,
    flow: &Arc<Flow>,
    client: Sender,
) -> Transaction {
    let mut transaction = Transaction::new("mysql", flow, client);
    transaction.table_only = true;
    transaction.method = Some("LOGIN".into());
    transaction.request = Some(attempt.request);
    transaction.response = attempt.response;
    transaction.query.clone_from(&session.user);
    session.fill(&mut transaction);
    session.fill_connection(&mut transaction);
    let fields = transaction.fields.object("mysql");
    fields.set("command", "LOGIN");
    fields.set_some("auth_plugin", attempt.auth_plugin);
    if !attempt.attributes.is_empty() {
        let attributes = fields.object("connection_attributes");
        for (name, value) in attempt.attributes {
            attributes.set_key(&name, value);
        }
    }
    if let Some(error) = error {
        set_error(&mut transaction, &error);
    }
    if let Some(reason) = incomplete {
        transaction.set_incomplete(reason);
    }
    transaction
}

/// A client that goes on in TLS before it tells who it is.
pub(super) fn encrypted(
    session: &Session,
    attempt: LoginAttempt,
    flow: &Arc<Flow>,
    client: Sender,
) -> Transaction {
    let mut transaction = login(session, attempt, None, None, flow, client);
    transaction.fields.set("mysql.encrypted", true);
    transaction
}

/// A server that refuses the connection.
pub(super) fn refused(
    session: &Session,
    error: &ServerError,
    place: Message,
    flow: &Arc<Flow>,
    client: Sender,
) -> Transaction {
    let mut transaction = Transaction::new("mysql", flow, client);
    transaction.table_only = true;
    transaction.method = Some("LOGIN".into());
    transaction.response = Some(place);
    session.fill_connection(&mut transaction);
    transaction.fields.set("mysql.command", "LOGIN");
    set_error(&mut transaction, error);
    transaction
}

fn set_error(transaction: &mut Transaction, error: &ServerError) {
    transaction.status = Status::Error;
    let fields = transaction.fields.object("mysql");
    fields.set("error_code", error.code);
    fields.set("error_message", error.full_message());
}
