//! From the packets of recordings to the transactions of protocols, with the owners of both ends.
//!
//! Packets come in the order of time; [`kcap_dissect::flow`] puts them into conversations and their streams in order,
//! [`kcap_dissect::protocol`] finds transactions in these.

mod consumer;

use std::sync::Arc;

use kcap_dissect::flow::{FlowOptions, FlowReport, FlowTable};
use kcap_dissect::protocol::{Protocols, Transaction};
use kcap_format::PacketColumns;

use crate::error::Result;
use crate::flows::Feeder;
use crate::source::Library;
use crate::table::packets::{Needs, OrderedPackets};
use consumer::Collector;

pub use consumer::FlowFacts;

/// Rows that are taken at once.
const RUN_ROWS_MAX: usize = 4096;

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
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self { protocols: Protocols::default(), flows: FlowOptions::default(), owners: true }
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
    mut progress: impl FnMut(u64),
    mut sink: impl FnMut(Found) -> Result<()>,
) -> Result<()> {
    let ends = if options.owners { Needs::both_ends() } else { Needs::matching() };
    let needs = ends | Needs::payload() | Needs::timed() | Needs::sections(PacketColumns::PAYLOAD_LEN);
    let mut packets = OrderedPackets::new(library, needs)?;
    let mut table = FlowTable::new(options.flows, Collector::new(options.protocols.clone()));
    let mut feeder = Feeder::new(true, None);
    while let Some(run) = packets.next_run(RUN_ROWS_MAX)? {
        let entry = run.block.entry();
        progress(u64::from(entry.stored_len) * run.rows.len() as u64 / u64::from(entry.record_count.max(1)));
        for row in &run.rows {
            let row = *row as usize;
            if !run.block.is_copy(row) {
                feeder.feed(&mut table, &run.block, row);
            }
        }
        drain(table.consumer(), &mut sink)?;
    }
    let mut collector = table.finish();
    drain(&mut collector, &mut sink)
}

fn drain(collector: &mut Collector, sink: &mut impl FnMut(Found) -> Result<()>) -> Result<()> {
    collector.found.drain(..).try_for_each(sink)
}
