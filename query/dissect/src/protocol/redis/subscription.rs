//! Subscriptions: replies that are several, and messages that come without a command (Redis documentation, "Pub/Sub").

use super::value::{Aggregate, Value};

/// What a connection has subscribed to.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// Of channels, patterns and shard channels.
    counts: [u64; 3],
}

/// A kind of subscription, by the place of its count.
fn kind(method: &str) -> Option<usize> {
    match method {
        "SUBSCRIBE" | "UNSUBSCRIBE" => Some(0),
        "PSUBSCRIBE" | "PUNSUBSCRIBE" => Some(1),
        "SSUBSCRIBE" | "SUNSUBSCRIBE" => Some(2),
        _ => None,
    }
}

impl Subscriptions {
    /// How many replies a command gets: one for each channel that it names; without names, one for each that it leaves, and
    /// at least one.
    pub(super) fn replies(&self, method: &str, names: usize) -> u64 {
        match kind(method) {
            None => 1,
            Some(_) if names > 0 => names as u64,
            Some(kind) => self.counts[kind].max(1),
        }
    }

    /// Whether messages may come without a command.
    pub(super) fn any(&self) -> bool {
        self.counts.iter().any(|&count| count > 0)
    }

    /// Forgets all (`RESET`).
    pub(super) fn clear(&mut self) {
        self.counts = [0; 3];
    }

    /// A subscription was confirmed, or ended.
    pub(super) fn confirm(&mut self, value: &Value) {
        let Some(name) = value.items().first().and_then(Value::as_text) else { return };
        let method = name.to_ascii_uppercase();
        let Some(kind) = kind(&method) else { return };
        let count = &mut self.counts[kind];
        *count = if method.contains("UNSUB") { count.saturating_sub(1) } else { *count + 1 };
    }
}

/// The name of the command that this confirms: `SUBSCRIBE`.
pub(super) fn confirmed_method(value: &Value) -> Option<String> {
    let method = value.items().first()?.as_text()?.to_ascii_uppercase();
    kind(&method).map(|_| method)
}

/// Whether this is a message of a channel, in either version of the protocol.
pub(super) fn is_message(value: &Value) -> bool {
    let items = value.items();
    let name = items.first().and_then(Value::as_text);
    match name {
        Some("message" | "smessage") => items.len() == 3,
        Some("pmessage") => items.len() == 4,
        _ => false,
    }
}

/// Whether this is pushed, by its type.
pub(super) fn is_push(value: &Value) -> bool {
    matches!(value, Value::Items(Aggregate::Push, _))
}

/// Whether this is a line of `MONITOR`: a time, then the database and the client in brackets.
pub(super) fn is_monitor_line(value: &Value) -> bool {
    value.as_text().is_some_and(|line| {
        line.split_once(' ').is_some_and(|(time, rest)| {
            rest.starts_with('[') && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        })
    })
}
