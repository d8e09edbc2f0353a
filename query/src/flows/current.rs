//! The packet that a pass is at.

use std::sync::Arc;

use crate::table::packets::PacketBlock;

/// The packet that flows are told of now; the last one when there are no more.
#[derive(Clone, Debug, Default)]
pub struct CurrentPacket(Option<(Arc<PacketBlock>, usize)>);

impl CurrentPacket {
    /// The next packet is this one.
    pub fn set(&mut self, block: &Arc<PacketBlock>, row: usize) {
        match &mut self.0 {
            // Most packets are of the same block as the one before.
            Some((current, current_row)) if Arc::ptr_eq(current, block) => *current_row = row,
            current => *current = Some((Arc::clone(block), row)),
        }
    }

    /// Its block, and its row there; `None` before the first.
    #[must_use]
    pub fn get(&self) -> Option<(&Arc<PacketBlock>, usize)> {
        self.0.as_ref().map(|(block, row)| (block, *row))
    }
}
