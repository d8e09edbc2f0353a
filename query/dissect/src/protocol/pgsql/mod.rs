//! PostgreSQL: statements and their answers, of the simple and the extended protocol.
//!
//! - `view`: messages, field by field; `binary`: values in binary format;
//! - `objects`: prepared statements and portals;
//! - `queue`: what the server owes answers to, in order; `run`: one statement on its way;
//! - `connection`: follows the connection; `client`, `server`: what each end's messages do to it;
//! - `report`: makes transactions.

mod binary;
mod client;
mod connection;
mod detect;
mod objects;
mod queue;
mod report;
mod run;
mod server;
mod view;

#[cfg(test)]
mod limits_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::Flow;
use super::column::Column;
use super::options::{CommonOptions, OptionError, OptionTable};
use super::parser::{Detection, Dissector, Sample, StreamParser};
use super::registry::Protocol;
use super::sql::Rows;
use crate::decode::ip_protocol;

/// PostgreSQL in the registry.
pub static PROTOCOL: Protocol = Protocol {
    name: "pgsql",
    title: "PostgreSQL",
    ports: &[5432],
    ip_protocols: &[ip_protocol::TCP],
    columns: COLUMNS,
    configure,
};

const COLUMNS: &[Column] = &[
    Column::texts("params", "parameters of an executed statement, as the server's client would print them"),
    Column::uint("pgsql.num_rows", "rows of the answer"),
    Column::uint("pgsql.num_fields", "columns of the answer"),
    Column::uint("pgsql.affected_rows", "rows that the server says it has changed, selected or copied"),
    Column::text("pgsql.command_tag", "what the server says it has done: `INSERT 0 1`"),
    Column::text("pgsql.error_code", "SQLSTATE of the error"),
    Column::text("pgsql.error_message", "text of the error"),
    Column::text("pgsql.error_severity", "severity of the error: `ERROR`, `FATAL`, `PANIC`"),
    Column::text("pgsql.protocol", "`simple`, `extended`, `prepare`, `function` or `startup`"),
    Column::text("pgsql.statement_name", "name of the prepared statement"),
    Column::bool("pgsql.suspended", "the client asked for some of the rows only"),
    Column::text("pgsql.copy", "direction of COPY: `in`, `out`, or `both` for replication"),
    Column::text("pgsql.user", "user that logged in"),
    Column::text("pgsql.database", "database of the connection"),
    Column::text("pgsql.application_name", "name that the client gave itself"),
    Column::text("pgsql.server_version", "version that the server told"),
    Column::uint("pgsql.backend_pid", "process of the server, of the connection or to be cancelled"),
    Column::text("pgsql.auth_method", "method of authentication that the server asked for"),
    Column::text("pgsql.encryption", "`tls` or `gss`: what follows can't be read"),
];

/// PostgreSQL's own options.
#[derive(Clone, Debug)]
struct Options {
    common: CommonOptions,
    /// `max_rows`: rows in the response as text.
    max_rows: usize,
    /// `max_row_length`: bytes of each of them.
    max_row_length: usize,
}

impl Options {
    /// Where rows are gathered, if they are to be.
    fn rows(&self) -> Option<Rows> {
        self.common.send_response.then(|| Rows::new(self.max_rows, self.max_row_length))
    }
}

struct Pgsql {
    options: Arc<Options>,
}

fn configure(common: &CommonOptions, table: &mut OptionTable) -> Result<Arc<dyn Dissector>, OptionError> {
    let options = Options {
        common: common.clone(),
        max_rows: usize::try_from(table.number("max_rows", 10)?).unwrap_or(usize::MAX),
        max_row_length: usize::try_from(table.number("max_row_length", 1024)?).unwrap_or(usize::MAX),
    };
    Ok(Arc::new(Pgsql { options: Arc::new(options) }))
}

impl Dissector for Pgsql {
    fn detect(&self, sample: &Sample<'_>) -> Detection {
        detect::detect(sample)
    }

    fn stream(&self, flow: &Arc<Flow>) -> Option<Box<dyn StreamParser>> {
        Some(Box::new(connection::Connection::new(flow, &self.options)))
    }
}
