//! Making transactions of commands, replies and pushed messages.

use std::sync::Arc;

use super::super::options::CommonOptions;
use super::super::parser::Context;
use super::super::transaction::{Incomplete, Message, Status, Transaction};
use super::super::{Flow, Sender};
use super::connection::Pending;
use super::parser::Parsed;
use super::value::{Aggregate, Value};

/// Which texts transactions have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    request: bool,
    response: bool,
}

impl Shown {
    pub(super) fn of(options: &CommonOptions) -> Self {
        Self { request: options.send_request, response: options.send_response }
    }
}

/// A command with its reply.
pub(super) fn command(
    mut pending: Pending,
    incomplete: Option<Incomplete>,
    shown: Shown,
    context: &Context<'_>,
    client: Sender,
) -> Transaction {
    let mut transaction = Transaction::new("redis", context.flow, client);
    transaction.request = Some(pending.request);
    transaction.response = pending.response;
    transaction.method = Some(pending.method.into());
    transaction.resource = pending.resource;
    transaction.errors.extend(pending.notes.iter().map(|&note| note.to_owned()));
    if pending.is_inline {
        transaction.fields.set("redis.inline", true);
    }
    // Several replies are one value: an array of them.
    let value = match pending.replies.len() {
        0 => None,
        1 => pending.replies.pop(),
        _ => Some(Value::Items(Aggregate::Array, pending.replies)),
    };
    if let Some(value) = value {
        set_value(&mut transaction, &value, shown.response, context);
    }
    if shown.request {
        transaction.request_text = Some(pending.query.clone());
    }
    transaction.query = Some(pending.query);
    if let Some(reason) = incomplete {
        if reason == Incomplete::NoResponse {
            transaction.status = Status::ServerError;
        }
        transaction.set_incomplete(reason);
    }
    transaction
}

fn set_value(transaction: &mut Transaction, value: &Value, is_shown: bool, context: &Context<'_>) {
    if is_shown {
        transaction.response_text = Some(value.to_string());
    }
    let is_error = matches!(value, Value::Error(_));
    if is_error {
        transaction.status = Status::Error;
    }
    if context.wants_fields {
        let name = if is_error { "redis.error" } else { "redis.return_value" };
        transaction.fields.set(name, value.to_string());
    }
}

/// A message that the server sent without being asked.
pub(super) fn pushed(parsed: &Parsed, context: &Context<'_>, client: Sender) -> Transaction {
    let mut transaction = of_server(parsed, context.flow, client);
    transaction.fields.set("redis.push", true);
    let items = parsed.value.items();
    transaction.method = Some(match items.first().and_then(Value::as_text) {
        Some(kind) => kind.to_ascii_uppercase().into(),
        None => "MONITOR".into(),
    });
    transaction.resource = items.get(1).map(ToString::to_string);
    match items {
        [] => set_value(&mut transaction, &parsed.value, false, context),
        [.., last] if items.len() > 2 => set_value(&mut transaction, last, false, context),
        _ => {}
    }
    transaction
}

/// A reply to a command that wasn't seen.
pub(super) fn orphan(parsed: &Parsed, context: &Context<'_>, client: Sender) -> Transaction {
    let mut transaction = of_server(parsed, context.flow, client);
    transaction.table_only = true;
    set_value(&mut transaction, &parsed.value, false, context);
    transaction.set_incomplete(Incomplete::NoRequest);
    transaction
}

/// What a master sends to its replica.
pub(super) fn replicated(parsed: &Parsed, context: &Context<'_>, client: Sender) -> Transaction {
    let mut transaction = of_server(parsed, context.flow, client);
    transaction.table_only = true;
    transaction.fields.set("redis.replication", true);
    let words: Vec<_> = parsed.value.items().iter().map(ToString::to_string).collect();
    match words.first() {
        Some(name) => {
            transaction.method = Some(name.to_ascii_uppercase().into());
            transaction.resource = words.get(1).cloned();
            transaction.query = Some(words.join(" "));
        }
        None => set_value(&mut transaction, &parsed.value, false, context),
    }
    transaction
}

/// A command of which the end is missing.
pub(super) fn lost_command(place: Message, flow: &Arc<Flow>, client: Sender) -> Transaction {
    let mut transaction = Transaction::new("redis", flow, client);
    transaction.table_only = true;
    transaction.request = Some(place);
    transaction.set_incomplete(Incomplete::RequestGap);
    transaction
}

fn of_server(parsed: &Parsed, flow: &Arc<Flow>, client: Sender) -> Transaction {
    let mut transaction = Transaction::new("redis", flow, client);
    transaction.source = client.other();
    transaction.response = Some(parsed.place);
    if parsed.has_gap {
        transaction.set_incomplete(Incomplete::ResponseGap);
    }
    transaction
}
