//! kcap: SQL, export and inspection of recordings.
//!
//! The way of the data: [`source`] opens recordings, [`table`] gives their rows to the engine, [`sql`] makes sessions
//! over the tables, [`export`] writes other formats, [`cli`] is the command line over all of it.
#![forbid(unsafe_code)]

pub mod cli;
mod error;
pub mod export;
pub mod source;
pub mod sql;
pub mod table;

pub use error::{Error, Result};
