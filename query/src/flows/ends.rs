//! Who had the ends of a flow.

use std::sync::Arc;

use kcap_dissect::flow::Side;

use crate::source::EndFacts;
use crate::table::packets::PacketBlock;

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
            if self.end(side).is_none_or(|facts| facts.is_worse_than(end)) {
                let ends = self.0.get_or_insert_default();
                Arc::make_mut(ends)[side.index()] = block.end_facts(row, end);
                is_new = true;
            }
        }
        is_new
    }
}
