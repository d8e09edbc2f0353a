//! One pass over the packets of recordings in the order of time, following their flows.
//!
//! A packet that was recorded leaving and arriving counts once. Each recording has flows of its own; the capture files of
//! other programs that are named in one command are one recording, so that rotated files go together. The pass is one thread
//! over blocks that come decoded: answers don't depend on how many threads a session has.

mod ends;
mod payload;

use std::sync::Arc;

use kcap_dissect::decode::{Decoded, decode_outer};
use kcap_dissect::flow::{FlowConsumer, FlowOptions, FlowTable, PacketView};
use kcap_format::PacketColumns;

use crate::error::Result;
use crate::source::Library;
use crate::table::packets::{Needs, OrderedPackets, PacketBlock};

pub use ends::{EndFacts, FlowEnds};
pub use payload::transport_payload;

/// Rows that are taken at once.
const RUN_ROWS_MAX: usize = 4096;

/// Is told of each packet before the flow table is, and of its flow after.
pub trait PacketConsumer: FlowConsumer {
    /// The next packet is this one.
    fn begin(&mut self, block: &Arc<PacketBlock>, row: usize);
}

/// What a pass reads.
#[derive(Clone, Copy, Debug)]
pub struct PassSettings {
    /// How flows are followed; with `streams`, payloads are read.
    pub flows: FlowOptions,
    /// Whether the processes at both ends are looked up.
    pub owners: bool,
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
    let mut needs = if settings.owners { Needs::both_ends() } else { Needs::matching() };
    needs = needs | Needs::timed() | Needs::sections(PacketColumns::PAYLOAD_LEN);
    if settings.flows.streams {
        needs = needs | Needs::payload();
    }
    let mut packets = OrderedPackets::new(library, needs)?;
    let mut tables: Vec<(Option<String>, FlowTable<C>)> = Vec::new();
    let mut scratch = Vec::new();
    while let Some(run) = packets.next_run(RUN_ROWS_MAX)? {
        let is_import = run.block.handle().import().is_some();
        let recording = (!is_import).then(|| run.block.capture_id());
        let known = tables.iter().position(|(name, _)| name.as_deref() == recording);
        let place = known.unwrap_or_else(|| {
            tables.push((recording.map(str::to_owned), FlowTable::new(settings.flows, consumer())));
            tables.len() - 1
        });
        let table = &mut tables[place].1;
        for row in run.rows.iter().map(|row| *row as usize) {
            if !run.block.is_copy(row) {
                take(table, &run.block, row, &mut scratch);
            }
        }
        drain(table.consumer())?;
    }
    tables.into_iter().try_for_each(|(_, table)| drain(&mut table.finish()))
}

fn take<C: PacketConsumer>(
    table: &mut FlowTable<C>,
    block: &Arc<PacketBlock>,
    row: usize,
    scratch: &mut Vec<u8>,
) {
    let Some(time_ns) = block.realtime_ns(row) else { return };
    table.consumer().begin(block, row);
    let batch = &block.batch;
    let decoded = &block.decoded[row];
    let outer: Vec<Decoded> = (0..decoded.tunnel_depth)
        .map(|depth| {
            let header = batch.header.get(row).unwrap_or_default();
            decode_outer(batch.link_type[row], header, batch.wire_len[row], depth)
        })
        .collect();
    let header_len = batch.header.get(row).map_or(0, <[u8]>::len);
    let captured_len = header_len + batch.payload_len[row] as usize;
    let captured_payload_len = captured_len.saturating_sub(decoded.header_len as usize);
    table.packet(&PacketView {
        packet_id: block.packet_id(row),
        time_ns,
        decoded,
        outer: &outer,
        payload: transport_payload(block, row, scratch),
        captured_payload_len: u32::try_from(captured_payload_len).unwrap_or(u32::MAX),
        wire_len: batch.wire_len[row],
        netns_cookie: batch.netns_cookie[row],
    });
}
