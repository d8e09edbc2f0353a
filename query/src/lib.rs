//! kcap: SQL, export and inspection of recordings.
//!
//! The way of the data: [`source`] opens recordings, [`transactions`] dissects them, [`table`] gives rows to the engine, [`sql`] makes sessions
//! over the tables, [`export`] writes other formats, [`cli`] is the command line over all of it.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
mod error;
pub mod export;
pub mod flows;
pub mod report;
pub mod source;
pub mod sql;
pub mod table;
pub mod transactions;

pub use error::{Error, Result};
