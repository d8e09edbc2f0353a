//! Who had the ends of a flow.

use std::sync::Arc;

use kcap_dissect::attribute::Attribution;
use kcap_dissect::flow::Side;

use crate::source::End;
use crate::table::packets::PacketBlock;

/// The process at one end of a flow. All empty when it is on another host, or not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndFacts {
    /// `proc_id`.
    pub proc_id: Option<String>,
    /// Process id in the initial pid namespace.
    pub pid: Option<u32>,
    /// Name then.
    pub process_name: Option<String>,
    /// How it is known, or why not.
    pub attribution: Option<Attribution>,
}

/// Both ends, as far as packets told of them so far: the best evidence counts.
#[derive(Clone, Debug, Default)]
pub struct FlowEnds(Option<Arc<[EndFacts; 2]>>);

impl FlowEnds {
    /// One end.
    #[must_use]
    pub fn end(&self, side: Side) -> Option<&EndFacts> {
        Some(&self.0.as_ref()?[side.index()])
    }

    /// Learns from a packet that `side` sent. True when it told something new.
    pub fn learn(&mut self, block: &PacketBlock, row: usize, side: Side) -> bool {
        let mut is_new = false;
        let ends = [(side, block.source_end(row)), (side.other(), block.destination_end(row))];
        for (side, end) in ends {
            let Some(end) = end else { continue };
            let known = self.end(side).and_then(|facts| facts.attribution);
            if known.is_none_or(|known| (end.attribution as usize) < known as usize) {
                let ends = self.0.get_or_insert_default();
                Arc::make_mut(ends)[side.index()] = EndFacts::of(block, row, end);
                is_new = true;
            }
        }
        is_new
    }
}

impl EndFacts {
    fn of(block: &PacketBlock, row: usize, end: &End) -> Self {
        let owners = block.owners();
        let time_ns = block.batch.time_ns[row];
        Self {
            proc_id: owners.and_then(|owners| owners.proc_id(end)).map(str::to_owned),
            pid: owners.and_then(|owners| owners.pid(end)),
            process_name: owners.and_then(|owners| owners.process_name(end, time_ns)).map(str::to_owned),
            attribution: Some(end.attribution),
        }
    }
}
