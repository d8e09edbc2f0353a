//! MySQL and MariaDB: commands and their answers, of the text and the binary protocol.
//!
//! - `view`: packets, field by field; `binary`: values of the binary protocol;
//! - `statements`: prepared statements and their parameters;
//! - `request`: what a command asks; `pending`: commands that wait; `response`: follows one answer;
//! - `connection`: follows the connection; `client`, `server`: what each end's packets do to it; `compressed`: packets inside
//!   packets;
//! - `report`: makes transactions.

mod binary;
mod client;
mod command;
mod compressed;
mod connection;
mod constants;
mod detect;
mod pending;
mod report;
mod request;
mod response;
mod server;
mod statements;
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
use crate::decode::ip_protocol;

/// MySQL in the registry.
pub static PROTOCOL: Protocol = Protocol {
    name: "mysql",
    title: "MySQL",
    ports: &[3306],
    ip_protocols: &[ip_protocol::TCP],
    columns: COLUMNS,
    configure,
};

const COLUMNS: &[Column] = &[
    Column::texts(
        "params",
        "parameters of an executed prepared statement, as the server's client would print them",
    ),
    Column::text("path", "tables that the answer's columns are of: `schema.table`, separated by commas"),
    Column::text(
        "mysql.command",
        "command without `COM_`: `QUERY`, `STMT_PREPARE`, `STMT_EXECUTE`, `INIT_DB`; `LOGIN` for the connection phase",
    ),
    Column::uint("mysql.affected_rows", "rows that were changed, of all results together"),
    Column::uint("mysql.insert_id", "the last value made for an AUTO_INCREMENT column"),
    Column::uint("mysql.num_rows", "rows of all results together"),
    Column::uint(
        "mysql.num_fields",
        "columns of the first result that has any; of a prepared statement its columns",
    ),
    Column::uint("mysql.num_results", "results, when there are several"),
    Column::uint("mysql.warnings", "warnings that the server counted"),
    Column::uint("mysql.error_code", "number of the error"),
    Column::text("mysql.error_message", "SQLSTATE and text of the error"),
    Column::uint("mysql.statement_id", "number of the prepared statement on its connection"),
    Column::text("mysql.local_infile", "name of the file that the server asked the client for"),
    Column::text("mysql.user", "user that logged in"),
    Column::text("mysql.database", "database in use, from the login and COM_INIT_DB"),
    Column::text("mysql.server_version", "version that the server greeted with"),
    Column::uint("mysql.connection_id", "number of the connection on the server"),
    Column::text("mysql.auth_plugin", "method of authentication that the client named"),
    Column::map("mysql.connection_attributes", "what the client's library told about itself"),
    Column::bool("mysql.encrypted", "TLS begins here: what follows can't be read"),
    Column::text("mysql.compression", "method of compression of the connection: `zlib` or `zstd`"),
];

/// MySQL's own options.
#[derive(Clone, Debug)]
struct Options {
    common: CommonOptions,
    /// `max_rows`: rows in the response as text.
    max_rows: usize,
    /// `max_row_length`: bytes of each of them.
    max_row_length: usize,
    /// `statement_timeout`: prepared statements are forgotten so long after their last use.
    statement_timeout_ns: i64,
}

struct Mysql {
    options: Arc<Options>,
}

fn configure(common: &CommonOptions, table: &mut OptionTable) -> Result<Arc<dyn Dissector>, OptionError> {
    const HOUR_NS: i64 = 3_600_000_000_000;
    let options = Options {
        common: common.clone(),
        max_rows: usize::try_from(table.number("max_rows", 10)?).unwrap_or(usize::MAX),
        max_row_length: usize::try_from(table.number("max_row_length", 1024)?).unwrap_or(usize::MAX),
        statement_timeout_ns: table.duration_ns("statement_timeout", HOUR_NS)?,
    };
    Ok(Arc::new(Mysql { options: Arc::new(options) }))
}

impl Dissector for Mysql {
    fn detect(&self, sample: &Sample<'_>) -> Detection {
        detect::detect(sample)
    }

    fn stream(&self, flow: &Arc<Flow>) -> Option<Box<dyn StreamParser>> {
        Some(Box::new(connection::Connection::new(flow, &self.options)))
    }
}
