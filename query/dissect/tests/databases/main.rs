//! MySQL, PostgreSQL and Redis in captures, from packets to transactions.

#[path = "../support/mod.rs"]
mod support;

mod packetbeat;
mod recorded;
mod tshark;
mod zeek;

use support::transactions;
