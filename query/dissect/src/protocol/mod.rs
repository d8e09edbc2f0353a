//! From the bytes of conversations to the transactions of protocols.
//!
//! - [`registry`]: the protocols that there are, and their options;
//! - [`Conversation`]: finds out which of them a flow speaks and hands its bytes to the parser;
//! - [`parser`]: what a protocol implements;
//! - [`Matcher`]: brings requests and responses together;
//! - [`Transaction`]: what comes out, with its [`Fields`];
//! - a folder for each protocol, with the view (checked bytes) apart from the meaning.

pub mod column;
pub mod conversation;
#[cfg(test)]
mod conversation_tests;
pub mod dhcpv4;
pub mod dns;
pub mod flow;
pub mod http;
pub mod icmp;
pub mod matcher;
pub mod mysql;
mod name;
pub mod options;
pub mod parser;
pub mod pgsql;
pub mod redis;
pub mod registry;
mod sql;
#[cfg(test)]
mod testing;
pub mod time;
pub mod tls;
pub mod transaction;
pub mod value;

pub use column::{Column, Kind};
pub use conversation::Conversation;
pub use flow::{Endpoint, Flow, Moment, Sender};
pub use matcher::{Limits, Matcher, Unanswered};
pub use options::{CommonOptions, OptionError, OptionTable};
pub use parser::{Chunk, Context, Datagram, DatagramParser, Detection, Dissector, Sample, StreamParser};
pub use registry::{PROTOCOLS, Protocol, Protocols};
pub use transaction::{Incomplete, Message, Status, Transaction};
pub use value::{Fields, Value, text};
