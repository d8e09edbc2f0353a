//! Where the blocks of a file begin: found by walking from record to record, as far as somebody asks.
//!
//! Only a walk from the beginning knows where a record begins: bytes of a packet can look like one. To walk a long way on all
//! processors, places further on are guessed ([`candidate`]) and walked from side by side; what was walked from a guess counts
//! when the walk before it ends exactly there, and else it is thrown away and walked again. So a wrong guess costs time and
//! never a wrong packet.

mod candidate;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::bytes::Bytes;
use crate::error::Stop;
use crate::format::{Format, Item, Position};
use crate::interface::{Interface, Interfaces, Statistics};
use crate::limits::{CHUNK_COUNT_MAX, CHUNK_LEN};
use crate::window::Window;

/// How far ahead somebody must ask for the file to be walked on several processors.
const FAR_CHUNKS: usize = 128;
/// Bytes that each of them walks before the walks are joined.
const SPAN_LEN: u64 = 64 * CHUNK_LEN;
/// Bytes that are walked for whoever asks for the next block: reading begins anew each time.
const STEP_LEN: u64 = 4 * CHUNK_LEN;
/// Most of them: more do not read faster.
const WALKERS_MAX: usize = 16;

/// Why a file is not read further than [`CHUNK_COUNT_MAX`].
const NO_IDS_LEFT: &str = "no packet ids are left: of a file 4 TiB are read, editcap -c splits it";

/// Packets whose records begin in one range of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Where the first record begins.
    pub(crate) start: Position,
    /// Where the last one ends.
    pub(crate) end: u64,
    /// How many are packets; never 0.
    pub(crate) packets: u32,
    /// The earliest time of a packet.
    pub(crate) first_ns: u64,
    /// The latest one.
    pub(crate) last_ns: u64,
}

/// How a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Behind a whole record.
    Whole,
    /// Within the record that begins here.
    Torn(u64),
    /// At something that is no record.
    Corrupt(u64, &'static str),
}

/// The blocks of a file, as far as they were found.
#[derive(Debug)]
pub(crate) struct Index {
    chunks: RwLock<Vec<Chunk>>,
    /// All interfaces before the frontier. Who reads packets has the list for as long as that takes.
    interfaces: RwLock<Arc<Vec<Arc<Interface>>>>,
    frontier: Mutex<Frontier>,
}

/// Up to where the file was walked.
#[derive(Debug)]
struct Frontier {
    position: Position,
    /// What interfaces counted, by their numbers.
    statistics: BTreeMap<u32, Statistics>,
    bad_packets: u64,
    end: Option<End>,
    /// Whether the last guesses were wrong, so that the next stretch is walked without.
    guesses_failed: bool,
}

/// What a walk found.
#[derive(Debug, Default)]
struct Walk {
    chunks: Vec<Chunk>,
    /// Interfaces that were described.
    described: Vec<Arc<Interface>>,
    /// What interfaces counted; a walk behind this one needs none of it.
    statistics: BTreeMap<u32, Statistics>,
    /// Whether a section began or an interface was described: a walk behind this one has not known of it.
    has_descriptions: bool,
    bad_packets: u64,
    end: Option<End>,
}

impl Index {
    /// An index of a file whose first record is at a position, with the interfaces that its header describes.
    pub(crate) fn new(position: Position, interfaces: Vec<Interface>) -> Self {
        Self {
            chunks: RwLock::default(),
            interfaces: RwLock::new(Arc::new(interfaces.into_iter().map(Arc::new).collect())),
            frontier: Mutex::new(Frontier {
                position,
                statistics: BTreeMap::new(),
                bad_packets: 0,
                end: None,
                guesses_failed: false,
            }),
        }
    }

    /// A chunk by its number; `None` behind the last.
    pub(crate) fn chunk(
        &self,
        format: &Format,
        bytes: &Bytes,
        number: usize,
    ) -> std::io::Result<Option<Chunk>> {
        loop {
            let found_count = {
                let chunks = self.chunks.read().unwrap_or_else(PoisonError::into_inner);
                if let Some(chunk) = chunks.get(number) {
                    return Ok(Some(*chunk));
                }
                chunks.len()
            };
            let mut frontier = self.frontier();
            if self.found_count() != found_count {
                // Somebody else walked meanwhile.
                continue;
            }
            if frontier.end.is_some() {
                return Ok(None);
            }
            let is_far = number - found_count >= FAR_CHUNKS;
            self.advance(format, bytes, &mut frontier, is_far)?;
        }
    }

    /// Walks to the end; gives all chunks and how the file ends.
    pub(crate) fn all(&self, format: &Format, bytes: &Bytes) -> std::io::Result<(Vec<Chunk>, End)> {
        loop {
            let mut frontier = self.frontier();
            if let Some(end) = frontier.end {
                let chunks = self.chunks.read().unwrap_or_else(PoisonError::into_inner);
                return Ok((chunks.clone(), end));
            }
            self.advance(format, bytes, &mut frontier, true)?;
        }
    }

    /// The interfaces before the frontier: all that the chunks found so far refer to.
    pub(crate) fn interfaces(&self) -> Arc<Vec<Arc<Interface>>> {
        Arc::clone(&self.interfaces.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What interfaces counted, as far as the file was walked.
    pub(crate) fn statistics(&self) -> Vec<Statistics> {
        self.frontier().statistics.values().copied().collect()
    }

    /// Packets before the frontier that could not be read, and how the file ends, if its end was reached.
    pub(crate) fn bad_packets_and_end(&self) -> (u64, Option<End>) {
        let frontier = self.frontier();
        (frontier.bad_packets, frontier.end)
    }

    fn frontier(&self) -> MutexGuard<'_, Frontier> {
        self.frontier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found_count(&self) -> usize {
        self.chunks.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Walks a little further: some chunks, or when `is_far` as much as all processors do at once.
    fn advance(
        &self,
        format: &Format,
        bytes: &Bytes,
        frontier: &mut Frontier,
        is_far: bool,
    ) -> std::io::Result<()> {
        let offset = frontier.position.offset;
        let rest = bytes.known_len().map_or(0, |len| len.saturating_sub(offset));
        let walkers = std::thread::available_parallelism().map_or(1, usize::from).min(WALKERS_MAX);
        let spans = usize::try_from(rest / SPAN_LEN).unwrap_or(usize::MAX).min(walkers);
        let known = self.interfaces();
        if !is_far || spans < 2 || std::mem::take(&mut frontier.guesses_failed) {
            let until = offset + if is_far { SPAN_LEN } else { STEP_LEN };
            let mut position = frontier.position;
            let walk = walk(format, bytes, &mut position, &known, until)?;
            // Whoever has the list makes the next one a copy.
            drop(known);
            self.take(frontier, walk, position);
            return Ok(());
        }
        let first = frontier.position;
        let walk_span = |span: usize| {
            let start = offset + span as u64 * SPAN_LEN;
            let guess = if span == 0 { Some(first) } else { candidate::find(format, bytes, start, first)? };
            let Some(start_position) = guess else { return Ok(None) };
            let mut position = start_position;
            let until = start + SPAN_LEN;
            let walk = walk(format, bytes, &mut position, &known, until)?;
            Ok(Some((start_position, walk, position)))
        };
        let walks: Vec<std::io::Result<_>> = std::thread::scope(|scope| {
            let walk_span = &walk_span;
            let threads: Vec<_> = (0..spans).map(|span| scope.spawn(move || walk_span(span))).collect();
            let panicked = || std::io::Error::other("a thread that walks the file ended");
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked()))).collect()
        });
        drop(known);
        for walk in walks {
            let Some((start, walk, position)) = walk? else {
                frontier.guesses_failed = true;
                break;
            };
            if start != frontier.position {
                frontier.guesses_failed = true;
                break;
            }
            let goes_on = walk.end.is_none() && !walk.has_descriptions;
            self.take(frontier, walk, position);
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Takes what was walked from the frontier to a position.
    fn take(&self, frontier: &mut Frontier, walk: Walk, position: Position) {
        frontier.position = position;
        frontier.bad_packets += walk.bad_packets;
        frontier.end = walk.end;
        frontier.statistics.extend(walk.statistics);
        if !walk.described.is_empty() {
            let mut interfaces = self.interfaces.write().unwrap_or_else(PoisonError::into_inner);
            Arc::make_mut(&mut interfaces).extend(walk.described);
        }
        let mut chunks = self.chunks.write().unwrap_or_else(PoisonError::into_inner);
        let room = CHUNK_COUNT_MAX.saturating_sub(chunks.len());
        if walk.chunks.len() > room {
            frontier.end = Some(End::Corrupt(walk.chunks[room].start.offset, NO_IDS_LEFT));
        }
        chunks.extend(walk.chunks.iter().take(room));
    }
}

/// Walks from a position to the first record that begins at `until` or behind it, or to the end.
fn walk(
    format: &Format,
    bytes: &Bytes,
    position: &mut Position,
    known: &[Arc<Interface>],
    until: u64,
) -> std::io::Result<Walk> {
    let mut window = Window::new(bytes);
    let mut found = Walk::default();
    while found.end.is_none() && position.offset < until {
        let mut chunk =
            Chunk { start: *position, end: position.offset, packets: 0, first_ns: u64::MAX, last_ns: 0 };
        let chunk_end = (position.offset / CHUNK_LEN + 1) * CHUNK_LEN;
        while position.offset < chunk_end {
            let interfaces = Interfaces { before: known, since: &found.described };
            match format.next(&mut window, position, interfaces) {
                Ok(Item::Packet(packet)) => {
                    chunk.packets += 1;
                    chunk.first_ns = chunk.first_ns.min(packet.time_ns);
                    chunk.last_ns = chunk.last_ns.max(packet.time_ns);
                }
                Ok(Item::BadPacket) => found.bad_packets += 1,
                Ok(Item::Interface(interface)) => {
                    found.described.push(Arc::new(interface));
                    found.has_descriptions = true;
                }
                Ok(Item::Statistics(number, statistics)) => {
                    found.statistics.insert(number, statistics);
                }
                Ok(Item::Section(_)) => found.has_descriptions = true,
                Ok(Item::Other) => {}
                Err(Stop::End) => found.end = Some(ended(bytes, End::Whole, position.offset)),
                Err(Stop::Torn(offset)) => found.end = Some(ended(bytes, End::Torn(offset), offset)),
                Err(Stop::Corrupt(offset, what)) => found.end = Some(End::Corrupt(offset, what)),
                Err(Stop::Io(error)) => return Err(error),
            }
            if found.end.is_some() {
                break;
            }
        }
        chunk.end = position.offset;
        if chunk.packets > 0 {
            found.chunks.push(chunk);
        }
    }
    Ok(found)
}

/// How a file ends where no more bytes come: where a decompressor failed, that is why.
fn ended(bytes: &Bytes, end: End, offset: u64) -> End {
    let Bytes::Spool(spool) = bytes else { return end };
    match spool.take_failure() {
        None => end,
        Some(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => End::Torn(offset),
        Some(_) => End::Corrupt(offset, "the compressed data are damaged"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list once became another, twice, in each step that describes something.
    #[test]
    fn interfaces_are_not_copied_when_there_are_more() {
        let index = Index::new(Position::at(0), vec![Interface::default()]);
        let described = || Walk {
            described: vec![Arc::new(Interface { snaplen: 7, ..Interface::default() })],
            has_descriptions: true,
            ..Walk::default()
        };
        let first = Arc::clone(&index.interfaces()[0]);
        index.take(&mut index.frontier(), described(), Position::at(1));
        let held = index.interfaces();
        index.take(&mut index.frontier(), described(), Position::at(2));
        let now = index.interfaces();
        assert_eq!((held.len(), now.len()), (2, 3), "who has the list keeps it");
        assert!(Arc::ptr_eq(&first, &now[0]) && Arc::ptr_eq(&held[1], &now[1]));
    }
}
