//! HTTP and TLS in captures, from packets to transactions.

#[path = "../support/mod.rs"]
mod support;

mod json;
mod packetbeat;
mod recorded;
mod tshark;
mod zeek;

use support::transactions;
