//! The SQL engine: a session with kcap's tables, functions and options.

mod address_literals;
mod error;
mod functions;
mod options;
mod session;

pub use error::error_line;
pub use functions::all_functions;
pub use options::KcapOptions;
pub use session::{MEMORY_LIMIT_DEFAULT_BYTES, SessionSettings, new_session};
