//! Reads the blocks of a partition and brings in what neighbouring blocks know of their packets.
//!
//! The two copies of a local packet can lie in different blocks, and so in different partitions. A pipeline therefore
//! begins to match a little before its first block, and where the other end of a packet is wanted it reads a little
//! further than its last one. How long, and how far, is bounded by what the matcher keeps: its window of time, and as many
//! packets. So a packet counts once or twice however the scan is cut.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use kcap_dissect::Direction;
use kcap_dissect::duplicate::{Candidate, DuplicateMatcher, WAITING_MAX, WINDOW_NS};
use kcap_format::{BlockEntry, BlockType};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::block::PacketBlock;
use super::needs::{Needs, Payloads};
use super::ranges::BlockRange;
use crate::error::Result;
use crate::source::{Library, SegmentHandle};

/// How long after matching began arrivals are passed over: they may have left before it began. Where packets look wholly
/// alike, such an arrival would take the departure of the next one, and at the end an arrival would have none and count
/// twice. The price: the last of such packets, of as long a time, may not learn of their receiver.
const WARM_UP_NS: u64 = 1_000_000;
/// Rows before a partition's first packet with which matching begins at most: in local traffic every other row leaves, and
/// the matcher keeps so many of those.
const ROWS_BEFORE_MAX: u64 = 2 * WAITING_MAX as u64;
/// Blocks of an imported file before those of packets.
const IMPORTED_BEFORE: usize = 1;
/// Most blocks that are read ahead, and kept, for the other end of a packet.
const BLOCKS_AHEAD_MAX: usize = 16;

/// Something to read.
#[derive(Clone, Debug)]
struct Step {
    place: (usize, usize),
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// A block.
    Block {
        entry: BlockEntry,
        /// Whether its rows are wanted, or only what they tell of others.
        wanted: bool,
    },
    /// Blocks of a capture file of another program, by their places. They are looked for one after the other, so that the
    /// first rows come before the last block is found.
    Imported { blocks: Range<usize>, step: usize },
}

/// A block that was read.
#[derive(Debug)]
struct ReadStep {
    place: (usize, usize),
    entry: BlockEntry,
    wanted: bool,
    /// `None` when it is damaged.
    block: Option<PacketBlock>,
}

/// The blocks of a partition, one after the other.
#[derive(Debug)]
pub struct Pipeline {
    library: Arc<Library>,
    needs: Needs,
    steps: VecDeque<Step>,
    /// Blocks that are read side by side.
    group_blocks: usize,
    /// Which payloads are wanted.
    payloads: Payloads,
    /// Whether payloads of segments are left to be read by whoever takes a block.
    leaves_payloads: bool,
    /// Blocks that were read, in the order of their steps.
    read: VecDeque<ReadStep>,
    matcher: DuplicateMatcher,
    /// Blocks whose packets may still learn of their other end, with whether their rows are wanted.
    waiting: VecDeque<(PacketBlock, bool)>,
    /// Until when arrivals are passed over, since boot.
    warm_ns: u64,
    /// The time that has been read up to, since boot.
    reached_ns: u64,
    recording: Option<usize>,
    /// Blocks that were read, neighbours included.
    pub blocks_read: usize,
    /// Rows whose headers were decoded.
    pub rows_decoded: usize,
}

impl Pipeline {
    /// A pipeline over ranges of blocks, in their order.
    ///
    /// # Errors
    /// When a capture file of another program cannot be read.
    pub fn new(library: &Arc<Library>, ranges: &[BlockRange], needs: Needs) -> Result<Self> {
        Ok(Self {
            library: Arc::clone(library),
            needs,
            steps: steps(library, ranges, needs)?,
            group_blocks: 1,
            payloads: Payloads::All,
            leaves_payloads: false,
            read: VecDeque::new(),
            matcher: DuplicateMatcher::default(),
            waiting: VecDeque::new(),
            warm_ns: 0,
            reached_ns: 0,
            recording: None,
            blocks_read: 0,
            rows_decoded: 0,
        })
    }

    /// Reads so many blocks side by side, for whoever is the only one that reads.
    #[must_use]
    pub fn reading_side_by_side(mut self, blocks: usize) -> Self {
        self.group_blocks = blocks.max(1);
        self
    }

    /// Leaves out other payloads than these.
    #[must_use]
    pub(super) fn with_payloads(mut self, payloads: Payloads) -> Self {
        self.payloads = payloads;
        self
    }

    /// Leaves the payloads of segments: [`PacketBlock::read_payload`] reads those of a block. Not side by side.
    #[must_use]
    pub(super) fn leaving_payloads(mut self) -> Self {
        self.leaves_payloads = true;
        self
    }

    /// The next block, complete. Damaged blocks are passed over, and noted in their segment.
    pub fn next_block(&mut self) -> Result<Option<PacketBlock>> {
        loop {
            if self.first_is_complete() {
                let Some((mut block, wanted)) = self.waiting.pop_front() else { return Ok(None) };
                if !wanted {
                    continue;
                }
                let is_read = self.needs.payload && !self.leaves_payloads;
                if is_read && !self.is_side_by_side() && self.payloads.are_read_of(&block) {
                    block.read_payload()?;
                } else if is_read {
                    block.take_payloads()?;
                }
                if self.needs.owner {
                    block.find_ends(self.needs)?;
                }
                return Ok(Some(block));
            }
            if self.read.is_empty() {
                self.read_group()?;
            }
            let Some(step) = self.read.pop_front() else { return Ok(None) };
            self.take(step)?;
        }
    }

    fn is_side_by_side(&self) -> bool {
        self.group_blocks > 1
    }

    /// Reads the next blocks; none when there are no more.
    fn read_group(&mut self) -> Result<()> {
        let mut group = Vec::with_capacity(self.group_blocks);
        while group.len() < self.group_blocks
            && let Some(Step { place, what }) = self.steps.pop_front()
        {
            match what {
                What::Block { entry, wanted } => group.push((place, entry, wanted)),
                What::Imported { blocks, step } => {
                    let Some(entry) = self.imported(place, blocks.start)? else { continue };
                    let next = blocks.start.saturating_add(step);
                    if next < blocks.end {
                        let what = What::Imported { blocks: next..blocks.end, step };
                        self.steps.push_front(Step { place, what });
                    }
                    group.push((place, entry, true));
                }
            }
        }
        let (library, needs) = (&self.library, self.needs);
        let reads_payloads = needs.payload && self.is_side_by_side();
        let payloads = &self.payloads;
        let read = |(place, entry, wanted): ((usize, usize), BlockEntry, bool)| {
            let mut block = PacketBlock::read(library, place, &entry, needs, payloads)?;
            if reads_payloads
                && wanted
                && let Some(block) = &mut block
                && payloads.are_read_of(block)
            {
                block.read_payload()?;
            }
            Ok(ReadStep { place, entry, wanted, block })
        };
        self.read = match <[_; 1]>::try_from(group) {
            Ok([only]) => VecDeque::from([read(only)?]),
            Err(group) => group.into_par_iter().map(read).collect::<Result<_>>()?,
        };
        Ok(())
    }

    /// The block of packets at a place in a capture file of another program; `None` behind the last.
    fn imported(&self, (recording, position): (usize, usize), place: usize) -> Result<Option<BlockEntry>> {
        let handle = &self.library.recordings[recording].segments[position];
        // Before the blocks of packets is the one that describes the interfaces.
        let number = place.saturating_sub(IMPORTED_BEFORE);
        Ok(handle.import().map(|file| file.chunk(number)).transpose()?.flatten())
    }

    /// Whether nothing more can be learned of the oldest block that waits.
    fn first_is_complete(&self) -> bool {
        let Some((first, wanted)) = self.waiting.front() else { return false };
        !wanted
            || !self.needs.looks_ahead()
            || first.is_imported()
            || self.next_recording().is_none()
            || self.waiting.len() > BLOCKS_AHEAD_MAX
            || self.reached_ns > first.entry().last_time_ns.saturating_add(WINDOW_NS)
            || self.recording != self.next_recording()
    }

    /// The recording of the next block to take.
    fn next_recording(&self) -> Option<usize> {
        let read = self.read.front().map(|step| step.place.0);
        read.or_else(|| self.steps.front().map(|step| step.place.0))
    }

    fn take(&mut self, step: ReadStep) -> Result<()> {
        let ReadStep { place, entry, wanted, block } = step;
        if self.recording != Some(place.0) {
            // Cookies and clocks of another recording say nothing about this one.
            self.matcher = DuplicateMatcher::default();
            self.recording = Some(place.0);
            // A wanted block that comes first is the first of the recording.
            self.warm_ns = if wanted { 0 } else { entry.first_time_ns.saturating_add(WARM_UP_NS) };
        }
        self.blocks_read += 1;
        self.reached_ns = entry.last_time_ns;
        let Some(mut block) = block else { return Ok(()) };
        self.rows_decoded += block.decoded.len();
        if self.needs.duplicates && !block.is_imported() {
            self.find_copies(&mut block);
        }
        self.waiting.push_back((block, wanted));
        Ok(())
    }

    /// Feeds a block to the matcher and notes what it finds, here and in the blocks before.
    fn find_copies(&mut self, block: &mut PacketBlock) {
        for row in 0..block.len() {
            let id = block.packet_id(row);
            if block.batch.time_ns[row] < self.warm_ns && block.direction(row) == Direction::Ingress {
                continue;
            }
            let outermost = block.outermost(row);
            let candidate = Candidate {
                id,
                time_ns: block.batch.time_ns[row],
                direction: block.direction(row),
                socket_cookie: block.batch.socket_cookie[row],
                netns_cookie: block.batch.netns_cookie[row],
                interface: block.at_interface(row),
                wire_len: block.batch.wire_len[row],
                gso_size: block.batch.gso_size[row],
                decoded: outermost.as_ref().unwrap_or(&block.decoded[row]),
                header: block.batch.header.get(row).unwrap_or_default(),
                // Never the payload: which rows are copies must not depend on the columns that a query wants.
                payload: None,
            };
            let Some(pair) = self.matcher.feed(&candidate) else { continue };
            block.duplicate_of[row] = pair.first_id;
            block.peer_cookie[row] = pair.sender_cookie;
            let copy = self.needs.copies.then(|| block.arrived_copy(row));
            let departed = if let Some(departed) = block.row_of(pair.first_id) {
                Some((&mut *block, departed))
            } else {
                let mut earlier = self.waiting.iter_mut().rev();
                earlier.find_map(|(block, _)| block.row_of(pair.first_id).map(|departed| (block, departed)))
            };
            if let Some((block, departed)) = departed {
                block.peer_cookie[departed] = pair.receiver_cookie;
                copy.iter().for_each(|copy| block.complete(departed, copy));
            }
        }
    }
}

/// The blocks to read, in the order of recording: those of the ranges, and their neighbours as far as they are needed.
fn steps(library: &Library, ranges: &[BlockRange], needs: Needs) -> Result<VecDeque<Step>> {
    // A neighbour of one range may lie in another one, or be one of many ranges'. It must be read once, and a block that is
    // wanted stays so.
    let mut steps = BTreeMap::new();
    let mut neighbours = BTreeMap::new();
    for PlacedRange { range, place, since_ns } in placed(library, ranges)? {
        let handle = &library.recordings[place.0].segments[place.1];
        if handle.import().is_some() {
            let blocks = range.blocks.start.max(IMPORTED_BEFORE)..range.blocks.end;
            let sequence = u32::try_from(blocks.start).unwrap_or(u32::MAX);
            steps
                .insert((place, sequence), Step { place, what: What::Imported { blocks, step: range.step } });
            continue;
        }
        let blocks = handle.all_blocks()?;
        for entry in packets(&blocks[range.blocks.clone()]).step_by(range.step) {
            let what = What::Block { entry: *entry, wanted: true };
            steps.insert((place, entry.sequence), Step { place, what });
        }
        if handle.is_imported() {
            continue;
        }
        if needs.duplicates {
            let is_known = |key: &Key| steps.contains_key(key);
            neighbours.extend(before(library, place, range.blocks.start, since_ns, is_known)?);
        }
        if needs.looks_ahead() {
            neighbours.extend(after(library, place, range.blocks.clone())?);
        }
    }
    for (key, entry) in neighbours {
        let what = What::Block { entry, wanted: false };
        steps.entry(key).or_insert(Step { place: key.0, what });
    }
    Ok(steps.into_values().collect())
}

/// A range with the place of its segment.
struct PlacedRange<'a> {
    range: &'a BlockRange,
    place: (usize, usize),
    /// When the earliest block of packets in it begins, or in a range of the same recording after it, since boot.
    since_ns: u64,
}

fn placed<'a>(library: &Library, ranges: &'a [BlockRange]) -> Result<Vec<PlacedRange<'a>>> {
    let mut placed = Vec::with_capacity(ranges.len());
    let mut earliest: Option<(usize, u64)> = None;
    for range in ranges.iter().rev() {
        let Some(place) = library.find(&range.segment) else { continue };
        let handle = &library.recordings[place.0].segments[place.1];
        let later =
            earliest.filter(|(recording, _)| *recording == place.0).map_or(u64::MAX, |(_, time)| time);
        let first = if handle.import().is_some() {
            None
        } else {
            packets(&handle.all_blocks()?[range.blocks.clone()]).map(|entry| entry.first_time_ns).min()
        };
        let since_ns = first.unwrap_or(u64::MAX).min(later);
        earliest = Some((place.0, since_ns));
        placed.push(PlacedRange { range, place, since_ns });
    }
    placed.reverse();
    Ok(placed)
}

/// Where a block of packets lies: recording and segment, and its sequence number.
type Key = ((usize, usize), u32);
/// A block of packets with its place.
type Placed = (Key, BlockEntry);

fn packets(blocks: &[BlockEntry]) -> impl DoubleEndedIterator<Item = &BlockEntry> {
    blocks.iter().filter(|entry| entry.block_type == BlockType::PACKETS)
}

/// The blocks just before one, as far as packets of them may arrive since a time. They end at one that is known: what lies
/// before it was found with the range that it is in, which looked as far back.
fn before(
    library: &Library,
    (recording, position): (usize, usize),
    start: usize,
    since_ns: u64,
    is_known: impl Fn(&Key) -> bool,
) -> Result<Vec<Placed>> {
    let segments = &library.recordings[recording].segments;
    let blocks = segments[position].all_blocks()?;
    let here = packets(&blocks[..start]).rev().map(|entry| ((recording, position), entry));
    let all: Vec<_> = segments.iter().map(SegmentHandle::all_blocks).collect::<Result<_>>()?;
    let earlier = (0..position)
        .rev()
        .flat_map(|position| packets(all[position]).rev().map(move |entry| ((recording, position), entry)));
    let near = |entry: &BlockEntry| entry.last_time_ns.saturating_add(WINDOW_NS) >= since_ns;
    let mut rows = 0;
    let mut are_few = |entry: &BlockEntry| {
        let are_few = rows < ROWS_BEFORE_MAX;
        rows += u64::from(entry.record_count);
        are_few
    };
    Ok(here
        .chain(earlier)
        .map(|(place, entry)| ((place, entry.sequence), *entry))
        .take_while(|(key, entry)| !is_known(key) && near(entry) && are_few(entry))
        .collect())
}

/// The blocks just after one.
fn after(
    library: &Library,
    (recording, position): (usize, usize),
    range: Range<usize>,
) -> Result<Vec<Placed>> {
    let segments = &library.recordings[recording].segments;
    let blocks = segments[position].all_blocks()?;
    let end = range.end;
    let Some(last_ns) = packets(&blocks[range]).map(|entry| entry.last_time_ns).max() else {
        return Ok(Vec::new());
    };
    let here = packets(&blocks[end..]).map(|entry| ((recording, position), entry));
    let all: Vec<_> = segments.iter().map(SegmentHandle::all_blocks).collect::<Result<_>>()?;
    let later = (position + 1..segments.len())
        .flat_map(|position| packets(all[position]).map(move |entry| ((recording, position), entry)));
    let near = |entry: &BlockEntry| entry.first_time_ns <= last_ns.saturating_add(WINDOW_NS);
    Ok(here
        .chain(later)
        .take_while(|(_, entry)| near(entry))
        .take(BLOCKS_AHEAD_MAX)
        .map(|(place, entry)| ((place, entry.sequence), *entry))
        .collect())
}
