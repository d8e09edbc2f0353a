//! Whether a block's records are what its header says.

use crate::batch::PacketBatch;
use crate::error::{Error, Result};
use crate::header::BlockType;
use crate::index::BlockEntry;
use crate::packets::PacketColumns;
use crate::proto;
use crate::segment::Segment;

/// Why a block can't be read, or says something that its records don't.
pub(super) enum BlockFault {
    /// A byte is not as it was written.
    Damaged(&'static str),
    /// The bytes are as they were written, by a later version or with a cipher.
    Unsupported(&'static str),
}

impl BlockFault {
    pub(super) fn what(&self) -> &'static str {
        let (Self::Damaged(what) | Self::Unsupported(what)) = self;
        what
    }
}

const WRONG_TIMES: &str = "the records have other times than the header says";

/// Reads a block whole: its checksums, every record, and the times by which queries pass it over.
pub(super) fn check(
    segment: &Segment,
    block: &BlockEntry,
    batch: &mut PacketBatch,
) -> Result<(), BlockFault> {
    match read(segment, block, batch) {
        // Its bytes are as they were written; whether its records are is for one of its recipients to say.
        Err(Error::Encrypted { .. }) => Ok(()),
        checked => checked.map_err(|error| fault_of(&error)),
    }
}

fn fault_of(error: &Error) -> BlockFault {
    match error {
        Error::Corrupt { what, .. } => BlockFault::Damaged(what),
        Error::Unsupported { what, .. } => BlockFault::Unsupported(what),
        _ => BlockFault::Damaged("the block cannot be read"),
    }
}

fn read(segment: &Segment, block: &BlockEntry, batch: &mut PacketBatch) -> Result<()> {
    segment.check_block(block)?;
    let times = match block.block_type {
        BlockType::PACKETS => {
            segment.packets_into(block, PacketColumns::ALL, batch)?;
            range(batch.time_ns.iter().map(|&time_ns| (time_ns, time_ns)))
        }
        BlockType::SNAPSHOT | BlockType::EVENTS => {
            range(segment.events(block)?.iter().map(|event| (event.time_ns, event.time_ns)))
        }
        BlockType::CLOCK => range(segment.clocks(block)?.iter().map(bracket)),
        BlockType::LOSS => {
            range(segment.losses(block)?.iter().map(|report| (report.begin_ns, report.end_ns)))
        }
        BlockType::FILE => segment.file_info().clock.as_ref().map_or((0, 0), bracket),
        BlockType::INDEX => return check_index(segment, block),
        BlockType::DICTIONARY => return segment.check_dictionary(block),
        _ => return Ok(()),
    };
    if times == (block.first_time_ns, block.last_time_ns) {
        return Ok(());
    }
    Err(Error::Corrupt { path: segment.path().to_owned(), offset: block.offset, what: WRONG_TIMES })
}

fn bracket(sample: &proto::ClockSample) -> (u64, u64) {
    (sample.boot_before_ns, sample.boot_after_ns)
}

fn range(times: impl Iterator<Item = (u64, u64)>) -> (u64, u64) {
    times.reduce(|range, time| (range.0.min(time.0), range.1.max(time.1))).unwrap_or((0, 0))
}

/// An INDEX must tell of the blocks before it that are there.
fn check_index(segment: &Segment, block: &BlockEntry) -> Result<()> {
    let blocks = segment.blocks();
    let entries = segment.index_entries(block);
    let is_there = |entry: &BlockEntry| {
        blocks.binary_search_by_key(&entry.offset, |block| block.offset).is_ok_and(|at| blocks[at] == *entry)
    };
    let is_damage = |entry: &BlockEntry| {
        let behind = segment.damage().partition_point(|range| range.begin <= entry.offset);
        behind.checked_sub(1).is_some_and(|at| entry.offset < segment.damage()[at].end)
    };
    let fits = entries.len() == block.record_count as usize
        && entries.iter().all(|entry| is_there(entry) || is_damage(entry));
    if fits {
        return Ok(());
    }
    let what = "the INDEX tells of other blocks than those before it";
    Err(Error::Corrupt { path: segment.path().to_owned(), offset: block.offset, what })
}
