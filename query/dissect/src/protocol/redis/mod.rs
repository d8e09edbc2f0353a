//! Redis, and what speaks its protocol (Valkey, KeyDB, Dragonfly): RESP 2 and 3.
//!
//! - `parser`: from bytes to values;
//! - `subscription`: replies that are several, and messages that are no replies;
//! - `connection`: brings commands and replies together;
//! - `report`: makes transactions.

mod connection;
mod detect;
mod parser;
mod report;
mod subscription;
mod value;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::Flow;
use super::column::Column;
use super::options::{CommonOptions, OptionError, OptionTable};
use super::parser::{Detection, Dissector, Sample, StreamParser};
use super::registry::Protocol;
use crate::decode::ip_protocol;

/// Redis in the registry.
pub static PROTOCOL: Protocol = Protocol {
    name: "redis",
    title: "Redis",
    ports: &[6379],
    ip_protocols: &[ip_protocol::TCP],
    columns: COLUMNS,
    configure,
};

const COLUMNS: &[Column] = &[
    Column::text("redis.return_value", "what the server returned; several values as `[a, b]`"),
    Column::text("redis.error", "what the server said is wrong"),
    Column::bool(
        "redis.push",
        "sent by the server without being asked: messages of channels, invalidations, MONITOR",
    ),
    Column::bool("redis.inline", "the command was on a line of its own, as people type it"),
    Column::bool("redis.replication", "sent from a master to its replica"),
];

/// Redis's own options.
#[derive(Clone, Debug)]
struct Options {
    common: CommonOptions,
    /// `queue_max_bytes`: bytes of commands that may wait for replies on a connection.
    queue_bytes_max: usize,
    /// `queue_max_messages`: commands that may wait for replies on a connection.
    queue_messages_max: usize,
}

struct Redis {
    options: Arc<Options>,
}

fn configure(common: &CommonOptions, table: &mut OptionTable) -> Result<Arc<dyn Dissector>, OptionError> {
    // As in Packetbeat, 0 is no limit.
    let mut limit = |name, default| -> Result<usize, OptionError> {
        let limit = table.number(name, default)?;
        Ok(if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) })
    };
    let options = Options {
        common: common.clone(),
        queue_bytes_max: limit("queue_max_bytes", 1 << 20)?,
        queue_messages_max: limit("queue_max_messages", 20_000)?,
    };
    Ok(Arc::new(Redis { options: Arc::new(options) }))
}

impl Dissector for Redis {
    fn detect(&self, sample: &Sample<'_>) -> Detection {
        detect::detect(sample)
    }

    fn stream(&self, flow: &Arc<Flow>) -> Option<Box<dyn StreamParser>> {
        Some(Box::new(connection::Connection::new(flow, &self.options)))
    }
}
