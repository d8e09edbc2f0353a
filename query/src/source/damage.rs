//! Blocks that turned out to be damaged when they were read. An answer goes on without them, and says so.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kcap_format::BlockEntry;

/// The damaged blocks of one segment, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// Whether a person knows how the file ends.
    is_state_told: AtomicBool,
    /// By the offset of the block.
    blocks: Mutex<BTreeMap<u64, DamagedBlock>>,
}

/// What is missing of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// All its records.
    Records,
    /// The payloads of its packets.
    Payloads,
}

#[derive(Debug)]
struct DamagedBlock {
    missing: Missing,
    what: &'static str,
    records: u32,
    /// Whether a person knows of it since it was last met.
    is_told: bool,
}

impl Damage {
    /// Notes that something was left out of an answer.
    pub(super) fn note(&self, block: &BlockEntry, missing: Missing, what: &'static str) {
        let records = block.record_count;
        self.blocks().insert(block.offset, DamagedBlock { missing, what, records, is_told: false });
    }

    /// Whether how the file ends is still to be told; once.
    pub(super) fn tell_state(&self) -> bool {
        !self.is_state_told.swap(true, Ordering::Relaxed)
    }

    /// How many blocks were found damaged.
    pub(super) fn block_count(&self) -> u64 {
        self.blocks().len() as u64
    }

    /// What was left out since this was last asked, as a line for a person.
    pub(super) fn take_line(&self, path: &Path) -> Option<String> {
        let mut blocks = self.blocks();
        let untold: Vec<_> = blocks.iter_mut().filter(|(_, block)| !block.is_told).collect();
        let (first, what) = untold.first().map(|(offset, block)| (**offset, block.what))?;
        let count = untold.len();
        let mut records = [0_u64; 2];
        for (_, block) in untold {
            block.is_told = true;
            records[usize::from(block.missing == Missing::Payloads)] += u64::from(block.records);
        }
        let missing = match records {
            [records, 0] => format!("{records} records"),
            [0, packets] => format!("the payloads of {packets} packets"),
            [records, packets] => format!("{records} records and the payloads of {packets} packets"),
        };
        let blocks = if count == 1 { "block is" } else { "blocks are" };
        Some(format!(
            "{}: {missing} left out: {count} {blocks} damaged, the first at offset {first} ({what})",
            path.display()
        ))
    }

    fn blocks(&self) -> MutexGuard<'_, BTreeMap<u64, DamagedBlock>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
