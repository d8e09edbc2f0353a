//! Packets in the order of time, for formats that want it.
//!
//! Blocks come nearly in order: they overlap by what processors write side by side. So no sort is needed, only to keep the
//! blocks open that overlap, and to take the earliest row of them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use kcap_format::{BlockEntry, BlockType};

use super::ahead::Ahead;
use super::block::PacketBlock;
use super::needs::{Needs, Payloads};
use super::pipeline::Pipeline;
use super::ranges::BlockRange;
use crate::error::Result;
use crate::source::{Library, Recording, SegmentHandle};

/// Most bytes of the blocks that are open at once, as [`cost`] counts them. A recording in which more than this lies side by
/// side in time is not wholly in order.
const OPEN_COST_MAX: u64 = 64 << 20;
/// What a block counts at least: bounds how many small ones are open.
const BLOCK_COST_MIN: u64 = 64 << 10;
/// What a block counts at most: 64 are open however large they are, since as many processors may write side by side.
const BLOCK_COST_MAX: u64 = 1 << 20;

/// Rows of a block that cost nothing beside its bytes: 2 MiB of the smallest packets. Blocks that recorders write have fewer.
const FREE_ROWS: u32 = 1 << 15;
/// What each further row counts: where all are alike, a block of few bytes has very many.
const ROW_COST: u64 = 256;

/// Most recordings of which blocks are read ahead at once: bounds threads and memory.
const LANES_AHEAD_MAX: usize = 4;

/// Rows of one block, to be taken before any others.
#[derive(Debug)]
pub struct Run {
    /// The block.
    pub block: Arc<PacketBlock>,
    /// Rows in the order of time.
    pub rows: Vec<u32>,
}

/// The packets of all recordings, in the order of wall time.
#[derive(Debug)]
pub struct OrderedPackets {
    lanes: Vec<Lane>,
    open: Vec<Option<OpenBlock>>,
    /// What the open blocks cost.
    open_cost: u64,
    /// Next row of each open block: time and place in `open`.
    heap: BinaryHeap<Reverse<(i64, usize)>>,
}

/// One recording.
#[derive(Debug)]
struct Lane {
    blocks: Blocks,
    /// For each block to come, the earliest time in it or any after it.
    earliest_ns: VecDeque<i64>,
}

/// Where the blocks of a recording come from.
#[derive(Debug)]
enum Blocks {
    /// Nobody asked for one yet.
    Unread(Box<Pipeline>),
    /// They are read when they are asked for.
    OnDemand(Box<Pipeline>),
    /// They are read before.
    Ahead(Ahead),
    /// There are no more.
    Ended,
}

impl Blocks {
    /// The next block. Reading begins with the first; ahead where `may_read_ahead`.
    fn next_block(&mut self, may_read_ahead: bool) -> Result<Option<PacketBlock>> {
        if matches!(self, Self::Unread(_))
            && let Self::Unread(pipeline) = std::mem::replace(self, Self::Ended)
        {
            *self =
                if may_read_ahead { Self::Ahead(Ahead::new(*pipeline)?) } else { Self::OnDemand(pipeline) };
        }
        let block = match self {
            Self::Ahead(ahead) => ahead.next_block()?,
            Self::Unread(pipeline) | Self::OnDemand(pipeline) => pipeline.next_block()?,
            Self::Ended => None,
        };
        if block.is_none() {
            *self = Self::Ended;
        }
        Ok(block)
    }
}

#[derive(Debug)]
struct OpenBlock {
    block: Arc<PacketBlock>,
    /// Times and rows, in the order of time.
    order: Vec<(i64, u32)>,
    taken: usize,
}

impl OrderedPackets {
    /// All packets of a library. `needs` must ask for the time.
    ///
    /// # Errors
    /// When a segment's clock cannot be read.
    pub fn new(library: &Arc<Library>, needs: Needs) -> Result<Self> {
        Self::with_payloads(library, needs, &Payloads::All)
    }

    /// As [`Self::new`], but other payloads than these may be left out.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_payloads(library: &Arc<Library>, needs: Needs, payloads: &Payloads) -> Result<Self> {
        let lanes = library.recordings.iter().map(|recording| {
            let range = |handle: &SegmentHandle| {
                let blocks = 0..handle.all_blocks()?.len();
                Ok(BlockRange { segment: handle.path().to_owned(), blocks, step: 1 })
            };
            let ranges: Vec<_> = recording.segments.iter().map(range).collect::<Result<_>>()?;
            let pipeline = Pipeline::new(library, &ranges, needs)?.with_payloads(payloads.clone());
            Ok(Lane { blocks: Blocks::Unread(Box::new(pipeline)), earliest_ns: earliest_times(recording)? })
        });
        let lanes = lanes.collect::<Result<_>>()?;
        Ok(Self { lanes, open: Vec::new(), open_cost: 0, heap: BinaryHeap::new() })
    }

    /// The next rows, at most so many.
    ///
    /// # Errors
    /// When a block cannot be read.
    pub fn next_run(&mut self, rows_max: usize) -> Result<Option<Run>> {
        let horizon_ns = self.open_blocks()?;
        let Some(Reverse((_, place))) = self.heap.pop() else { return Ok(None) };
        let until_ns = self.heap.peek().map_or(i64::MAX, |Reverse((time, _))| *time).min(horizon_ns);
        let Some(open) = &mut self.open[place] else { return Ok(None) };
        let block = Arc::clone(&open.block);
        let mut rows = Vec::new();
        // The first row is the earliest of all; those after it as long as they are.
        while let Some((time, row)) = open.order.get(open.taken) {
            if rows.len() >= rows_max || (!rows.is_empty() && *time > until_ns) {
                self.heap.push(Reverse((*time, place)));
                return Ok(Some(Run { block, rows }));
            }
            rows.push(*row);
            open.taken += 1;
        }
        self.open[place] = None;
        self.open_cost -= cost(block.entry());
        Ok(Some(Run { block, rows }))
    }

    /// Opens the blocks that may hold the earliest row; gives the time from which on unread blocks may have rows.
    fn open_blocks(&mut self) -> Result<i64> {
        loop {
            let ahead = self.lanes.iter().filter(|lane| matches!(lane.blocks, Blocks::Ahead(_))).count();
            let lane = self.lanes.iter_mut().filter(|lane| !lane.earliest_ns.is_empty());
            let Some(lane) = lane.min_by_key(|lane| lane.earliest_ns[0]) else { return Ok(i64::MAX) };
            let horizon_ns = lane.earliest_ns[0];
            let ready = self.heap.peek().is_some_and(|Reverse((time, _))| *time <= horizon_ns);
            if ready || self.open_cost >= OPEN_COST_MAX {
                return Ok(horizon_ns);
            }
            lane.earliest_ns.pop_front();
            let may_read_ahead = ahead < LANES_AHEAD_MAX;
            let Some(block) = lane.blocks.next_block(may_read_ahead)? else { continue };
            let row_time = |row: u32| Some((block.realtime_ns(row as usize)?, row));
            let mut order: Vec<_> =
                (0..u32::try_from(block.len()).unwrap_or(u32::MAX)).filter_map(row_time).collect();
            order.sort_unstable();
            let Some((first_ns, _)) = order.first().copied() else { continue };
            self.open_cost += cost(block.entry());
            let open = Some(OpenBlock { block: Arc::new(block), order, taken: 0 });
            let place = match self.open.iter().position(Option::is_none) {
                Some(free) => {
                    self.open[free] = open;
                    free
                }
                None => {
                    self.open.push(open);
                    self.open.len() - 1
                }
            };
            self.heap.push(Reverse((first_ns, place)));
        }
    }
}

/// What a block counts while it is open: its bytes, whether or not they are all read, so that the order is always the same.
fn cost(block: &BlockEntry) -> u64 {
    let rows = u64::from(block.record_count.saturating_sub(FREE_ROWS));
    u64::from(block.raw_len).clamp(BLOCK_COST_MIN, BLOCK_COST_MAX) + rows * ROW_COST
}

fn earliest_times(recording: &Recording) -> Result<VecDeque<i64>> {
    let mut times = Vec::new();
    for handle in &recording.segments {
        let clock = handle.clock()?;
        let earliest = |block: &BlockEntry| clock.range(block.first_time_ns, block.last_time_ns).0;
        times.extend(handle.blocks(BlockType::PACKETS)?.map(earliest));
    }
    let mut earliest = i64::MAX;
    for time in times.iter_mut().rev() {
        earliest = earliest.min(*time);
        *time = earliest;
    }
    Ok(times.into())
}
