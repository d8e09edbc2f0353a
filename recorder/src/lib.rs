//! `kcap-record`: records packets, sockets and processes of a Linux host into segments.
//!
//! The way of the data: [`probe`] loads and attaches the kernel programs, [`ring`] hands out what they
//! recorded, `drain` collects it into batches, `compress` makes blocks of these, and `sink` writes them into
//! the segments of a `recording`. Beside it, `enrich` knows what is alive, and `account` what became of every
//! event.

pub mod capture_switch;
pub mod cli;
#[doc(hidden)]
pub mod container;
pub mod interface;
pub mod losses;
pub mod probe;
pub mod ring;

mod account;
mod capture_governor;
mod clock;
mod compress;
mod condition;
mod config;
mod dormancy;
mod drain;
mod enrich;
mod filter;
mod folder;
mod governor;
mod host;
mod intake;
mod lockdown;
mod nearest;
mod packet_socket;
mod payload;
mod pipeline;
mod predecessor;
mod priority;
mod progress;
mod recording;
mod run;
mod scan;
mod segment_file;
mod signals;
mod sink;
mod summary;
mod syncer;
mod units;
mod watch;
