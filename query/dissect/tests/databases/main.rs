//! MySQL, PostgreSQL and Redis in captures, from packets to transactions.

#[path = "../support/mod.rs"]
mod support;
#[path = "../web/transactions.rs"]
mod transactions;

mod packetbeat;
mod recorded;
mod zeek;
