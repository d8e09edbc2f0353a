//! One pass over the packets of recordings in the order of time, following their flows.
//!
//! A packet that was recorded leaving and arriving counts once. Each recording has flows of its own; the capture files of
//! other programs that are named in one command are one recording, so that rotated files go together. [`follow`] is one thread
//! over blocks that come decoded, [`find_in_flows`] several; answers don't depend on how many threads a session has.

mod current;
mod ends;
mod feed;
mod fragments;
mod parallel;
mod payload;

use std::sync::Arc;

use kcap_dissect::flow::{FlowConsumer, FlowOptions, FlowTable};
use kcap_format::PacketColumns;

use crate::error::Result;
use crate::source::Library;
use crate::table::FlowIds;
use crate::table::packets::{Needs, OrderedPackets, PacketBlock, Payloads};

pub use current::CurrentPacket;
pub use ends::FlowEnds;
pub use feed::Feeder;
pub use fragments::{FragmentFinding, FragmentName};
pub use parallel::{Finder, FlowBegin, find_in_flows};

/// Rows that are taken at once.
const RUN_ROWS_MAX: usize = 4096;

/// Is told of each packet before the flow table is, and of its flow after.
pub trait PacketConsumer: FlowConsumer {
    /// The next packet is this one.
    fn begin(&mut self, block: &Arc<PacketBlock>, row: usize);

    /// Something is wrong with fragments: their payloads are read, whatever [`PassSettings`] say, to put them together.
    fn fragments(&mut self, _finding: FragmentFinding<'_>) {}
}

/// What a pass reads.
#[derive(Clone, Debug)]
pub struct PassSettings {
    /// How flows are followed.
    pub flows: FlowOptions,
    /// Whether anybody looks at the bytes that are handed on, and not only at their places and lengths: without, they may be
    /// others. What is missing is the same either way.
    pub bytes: bool,
    /// Whether the processes at both ends are looked up.
    pub owners: bool,
    /// The flows that are wanted, when not all are: packets of others are passed over.
    pub flow_ids: Option<FlowIds>,
}

impl PassSettings {
    fn needs(&self, library: &Library) -> Needs {
        let ends = if self.owners { Needs::both_ends() } else { Needs::matching() };
        let needs = ends | Needs::timed() | Needs::sections(PacketColumns::PAYLOAD_LEN) | Needs::payload();
        needs.with_copies(library)
    }

    fn payloads(&self) -> Payloads {
        match &self.flow_ids {
            _ if !self.flows.streams => Payloads::OfFragments,
            Some(flow_ids) => Payloads::OfFlows(flow_ids.clone()),
            None if self.bytes => Payloads::All,
            None => Payloads::OfFragmentsAndDamaged,
        }
    }
}

/// The recording that a block is of; `None` for the capture files of other programs, which are one.
fn recording_of(block: &PacketBlock) -> Option<&str> {
    block.handle().import().is_none().then(|| block.capture_id())
}

/// Follows the flows of a library. `consumer` makes a consumer for each recording; `drain` is given each one now and then, and
/// when its recording ends.
///
/// # Errors
/// When packets cannot be read, and what `drain` returns.
pub fn follow<C: PacketConsumer>(
    library: &Arc<Library>,
    settings: &PassSettings,
    mut consumer: impl FnMut() -> C,
    mut drain: impl FnMut(&mut C) -> Result<()>,
) -> Result<()> {
    let mut packets = OrderedPackets::with_payloads(library, settings.needs(library), &settings.payloads())?;
    let mut tables: Vec<(Option<String>, FlowTable<C>, Feeder)> = Vec::new();
    while let Some(run) = packets.next_run(RUN_ROWS_MAX)? {
        let recording = recording_of(&run.block);
        let known = tables.iter().position(|(name, ..)| name.as_deref() == recording);
        let place = known.unwrap_or_else(|| {
            let table = FlowTable::new(settings.flows, consumer());
            tables.push((recording.map(str::to_owned), table, Feeder::new(settings.flow_ids.clone())));
            tables.len() - 1
        });
        let (_, table, feeder) = &mut tables[place];
        for row in run.rows.iter().map(|row| *row as usize) {
            if !run.block.is_copy(row) {
                feeder.feed(table, &run.block, row);
            }
        }
        drain(table.consumer())?;
    }
    tables.into_iter().try_for_each(|(_, mut table, mut feeder)| {
        feeder.finish(&mut table);
        drain(&mut table.finish())
    })
}
