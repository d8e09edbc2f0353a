//! The SQL engine: a session with kcap's tables, functions and options.

mod address_literals;
mod bpf_columns;
mod error;
mod field_names;
mod functions;
mod lake;
mod options;
mod session;

pub use error::error_line;
pub use field_names::statements;
pub use functions::all_functions;
pub use lake::new_lake_session;
pub use options::KcapOptions;
pub use session::{MEMORY_LIMIT_DEFAULT_BYTES, SessionSettings, new_session};
