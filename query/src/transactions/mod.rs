//! From the packets of recordings to the transactions of protocols, with the owners of both ends.
//!
//! Packets come in the order of time; [`kcap_dissect::flow`] puts them into conversations and their streams in order,
//! [`kcap_dissect::protocol`] finds transactions in these.

mod consumer;

use std::num::NonZeroUsize;
use std::sync::Arc;

use kcap_dissect::flow::{FlowOptions, FlowReport};
use kcap_dissect::protocol::{Protocols, Transaction};

use crate::error::Result;
use crate::flows::{PassSettings, find_in_flows};
use crate::source::Library;
use consumer::Collector;

pub use consumer::FlowFacts;

/// A transaction, and what is known of its flow beside.
#[derive(Clone, Debug)]
pub struct TransactionRecord {
    /// The transaction.
    pub transaction: Transaction,
    /// Its flow.
    pub facts: Arc<FlowFacts>,
}

/// A report of a flow, and what is known of it beside.
#[derive(Clone, Debug)]
pub struct FlowReportRecord {
    /// What was counted.
    pub report: FlowReport,
    /// Its flow.
    pub facts: Arc<FlowFacts>,
}

/// What comes out, in the order in which it became known.
#[derive(Clone, Debug)]
pub enum Found {
    /// A transaction.
    Transaction(Box<TransactionRecord>),
    /// A report of a flow, when they are wanted.
    Flow(Box<FlowReportRecord>),
}

/// What to look for.
#[derive(Clone, Debug)]
pub struct TransactionOptions {
    /// The protocols, with their options.
    pub protocols: Protocols,
    /// How flows are followed; with [`FlowOptions::reports`], reports come too.
    pub flows: FlowOptions,
    /// Whether the processes at both ends are looked up.
    pub owners: bool,
    /// Threads that follow conversations; what they find doesn't depend on it.
    pub threads: NonZeroUsize,
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self {
            protocols: Protocols::default(),
            flows: FlowOptions::default(),
            owners: true,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// Hands every transaction of a library to a sink. A packet that was recorded leaving and arriving counts once. `progress` is told of
/// stored bytes that were read.
///
/// # Errors
/// When packets cannot be read, and what the sink returns.
pub fn each(
    library: &Arc<Library>,
    options: &TransactionOptions,
    progress: impl FnMut(u64),
    sink: impl FnMut(Found) -> Result<()>,
) -> Result<()> {
    let settings = PassSettings { flows: options.flows, bytes: true, owners: options.owners, flow_ids: None };
    let collector = || Collector::new(options.protocols.clone());
    find_in_flows(library, &settings, options.threads, collector, progress, sink)
}
