//! From packets to conversations.
//!
//! A [`FlowTable`] takes packets in the order of time and assigns each to its flow and side. It counts, follows the states
//! of TCP, reassembles streams where they are wanted, and tells a [`FlowConsumer`] what happens: bytes of streams in order,
//! gaps, datagrams, the end of each flow with all that was counted ([`Flow`]), and reports in between.
//!
//! The same packets in the same order give the same answers: nothing depends on addresses in memory, threads or the time
//! of day.

mod community_id;
mod consumer;
mod endpoint;
mod history;
pub(crate) mod key;
mod model;
mod options;
mod packet;
mod recency;
mod report;
mod role;
mod streams;
mod table;
mod tcp;
mod tcp_side;

#[cfg(test)]
mod tests;

pub use community_id::{COMMUNITY_ID_SEED, community_id};
pub use consumer::{CloseReason, Datagram, FlowConsumer};
pub use endpoint::{ConnState, EndpointState};
pub use history::{HISTORY_LEN_MAX, History};
pub use model::{Counters, Flow, Side, TcpFlow, TcpSideCounters};
pub use options::{
    FLOW_PERIOD_DEFAULT_NS, FLOW_TIMEOUT_DEFAULT_NS, FLOWS_MAX, FlowOptions, FlowPart, HOLD_PACKETS_MAX,
    OPEN_TIMEOUT_NS,
};
pub use packet::PacketView;
pub use report::FlowReport;
pub use role::is_likely_server_port;
pub use table::FlowTable;
