//! The pass over flows on several threads.
//!
//! One thread takes blocks in the order of time, puts fragments together, and deals the packets out to the parts of the flows;
//! others follow the flows of some parts each. Packets are dealt out in rounds; what was found in a round is put into the order
//! of the packets that it was found at. There are always as many parts, with their share of the limits each: neither what is
//! found nor its order depends on the number of threads.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use kcap_dissect::flow::{FlowOptions, FlowPart, FlowTable};

use super::feed::{Fragments, Piece, flow_keys, give};
use super::payload::Scratch;
use super::{PacketConsumer, PassSettings, RUN_ROWS_MAX};
use crate::error::{Error, Result};
use crate::source::Library;
use crate::table::packets::{OrderedPackets, PacketBlock, Run};

/// Parts that the flows are divided into: as many as a [`PartSet`] has bits.
const PARTS: u32 = PartSet::BITS;
/// Packets of a round: so few that they stay in the caches from the thread that reads them to those that follow their flows.
const ROUND_PACKETS_MAX: usize = 4096;
/// Bytes of payload of a round, more or less: what is found in one waits until all threads are done with it, and a few bytes may
/// be a transaction.
const ROUND_PAYLOAD_BYTES_MAX: u64 = 1 << 20;
/// Rounds that may wait for a thread.
const ROUNDS_WAITING_MAX: usize = 1;

/// A bit for each part.
type PartSet = u16;

/// Is told of flows, though not of what is wrong with fragments, and finds something.
pub trait Finder: PacketConsumer<State: Send> + Send {
    /// What it finds.
    type Found: Send;

    /// Hands over what was found since it was asked last, with the flow that it was found in.
    fn take(&mut self, place: impl FnMut(FlowBegin, Self::Found));
}

/// Time and id of the first packet of a flow: what is found when the recording ends comes in the order of these.
pub type FlowBegin = (i64, u64);

/// Follows the flows of a library on so many threads beside those that read and take. `finder` makes one for each recording and
/// part of its flows; `sink` is given what they find, in an order that is always the same. `progress` is told of stored bytes
/// that were read.
///
/// # Errors
/// When packets cannot be read, and what `sink` returns.
pub fn find_in_flows<F: Finder>(
    library: &Arc<Library>,
    settings: &PassSettings,
    threads: NonZeroUsize,
    finder: impl Fn() -> F + Sync,
    mut progress: impl FnMut(u64),
    mut sink: impl FnMut(F::Found) -> Result<()>,
) -> Result<()> {
    let packets = OrderedPackets::with_payloads(library, settings.needs(library), &settings.payloads())?;
    let dealer = Dealer { settings, recordings: Vec::new() };
    let options = share_of(settings.flows);
    let finder = &finder;
    let parts = PARTS as usize;
    let threads = threads.get().min(parts);
    thread::scope(|scope| {
        let mut rounds = Vec::new();
        let mut found = Vec::new();
        for thread in 0..threads {
            let (round_sender, round_receiver) = sync_channel(ROUNDS_WAITING_MAX);
            let (found_sender, found_receiver) = sync_channel(ROUNDS_WAITING_MAX);
            rounds.push(round_sender);
            found.push(found_receiver);
            let worker =
                Worker::new(parts * thread / threads..parts * (thread + 1) / threads, options, finder);
            scope.spawn(move || worker.run(&round_receiver, &found_sender));
        }
        // In this closure, so that an error below ends the other threads.
        let found = found;
        let reader = scope.spawn(move || dealer.run(packets, &rounds));
        collect(&found, &mut progress, &mut sink)?;
        reader.join().map_err(|_| Error::Stopped)?
    })
}

/// The limits of a part.
fn share_of(mut options: FlowOptions) -> FlowOptions {
    let parts = PARTS as usize;
    options.flows_max = options.flows_max.div_ceil(parts);
    options.stream.total_bytes_max = options.stream.total_bytes_max.div_ceil(parts);
    options.stream.stream_bytes_max = options.stream.stream_bytes_max.min(options.stream.total_bytes_max);
    options
}

/// Packets for all threads.
#[derive(Default)]
struct Round {
    runs: Vec<DealtRun>,
    packets: usize,
    payload_bytes: u64,
    stored_bytes: u64,
    is_last: bool,
}

impl Round {
    fn is_full(&self) -> bool {
        self.packets >= ROUND_PACKETS_MAX || self.payload_bytes >= ROUND_PAYLOAD_BYTES_MAX
    }
}

/// Rows of one block.
struct DealtRun {
    /// Place of the recording.
    recording: usize,
    block: Arc<PacketBlock>,
    rows: Vec<DealtRow>,
    /// Fragments, by their places in `rows`, in order.
    pieces: Vec<(usize, Piece)>,
}

#[derive(Clone, Copy)]
struct DealtRow {
    row: u32,
    /// The parts of the flows that the packet is of.
    parts: PartSet,
    /// The flow of its innermost headers.
    flow_id: u64,
}

/// Divides packets between the parts.
struct Dealer<'a> {
    settings: &'a PassSettings,
    /// The recordings that were seen, and the fragments of each that wait.
    recordings: Vec<(Option<String>, Fragments)>,
}

impl Dealer<'_> {
    fn run(mut self, mut packets: OrderedPackets, threads: &[SyncSender<Arc<Round>>]) -> Result<()> {
        let send = |round: &mut Round| -> Result<()> {
            let round = Arc::new(std::mem::take(round));
            let is_sent = |thread: &SyncSender<_>| thread.send(Arc::clone(&round)).is_ok();
            if threads.iter().all(is_sent) { Ok(()) } else { Err(Error::Stopped) }
        };
        let mut round = Round::default();
        while let Some(run) = packets.next_run(RUN_ROWS_MAX)? {
            self.deal(run, &mut round, &send)?;
        }
        round.is_last = true;
        send(&mut round)
    }

    fn deal(&mut self, run: Run, round: &mut Round, send: &impl Fn(&mut Round) -> Result<()>) -> Result<()> {
        let Run { block, rows } = run;
        let recording = self.recording_of(&block);
        let fragments = &mut self.recordings[recording].1;
        let entry = block.entry();
        round.stored_bytes +=
            u64::from(entry.stored_len) * rows.len() as u64 / u64::from(entry.record_count.max(1));
        let new_run =
            || DealtRun { recording, block: Arc::clone(&block), rows: Vec::new(), pieces: Vec::new() };
        let mut dealt = new_run();
        dealt.rows.reserve(rows.len());
        for row in rows {
            let at = row as usize;
            if round.is_full() {
                round.runs.push(std::mem::replace(&mut dealt, new_run()));
                send(round)?;
            }
            round.packets += 1;
            if block.is_copy(at) {
                continue;
            }
            round.payload_bytes += u64::from(block.batch.payload_len[at]);
            let mut parts: PartSet = 0;
            let mut is_wanted = self.settings.flow_ids.is_none();
            // Packets without a flow have no part either.
            let mut flow_id = 0;
            for key in flow_keys(&block, at) {
                flow_id = key.id();
                parts |= 1 << FlowPart::number_of(flow_id, PARTS);
                is_wanted |= self.settings.flow_ids.as_ref().is_some_and(|wanted| wanted.contains(flow_id));
            }
            let piece = fragments.piece(&block, at, |_| {});
            is_wanted |= !matches!(piece, Piece::Packet);
            if !is_wanted || parts == 0 {
                continue;
            }
            if matches!(piece, Piece::Last(_)) {
                // What it carries is of another flow than the fragment: each part looks for itself.
                parts = PartSet::MAX;
            }
            if !matches!(piece, Piece::Packet) {
                dealt.pieces.push((dealt.rows.len(), piece));
            }
            dealt.rows.push(DealtRow { row, parts, flow_id });
        }
        round.runs.push(dealt);
        Ok(())
    }

    /// The place of a block's recording.
    fn recording_of(&mut self, block: &PacketBlock) -> usize {
        let name = super::recording_of(block);
        self.recordings.iter().position(|(known, _)| known.as_deref() == name).unwrap_or_else(|| {
            self.recordings.push((name.map(str::to_owned), Fragments::default()));
            self.recordings.len() - 1
        })
    }
}

/// What a thread found in a round: each with the place of the packet that it was found at.
struct Findings<T> {
    found: Vec<(Order, T)>,
    stored_bytes: u64,
    is_last: bool,
}

/// Where something belongs in a round; at the end also whose it is.
type Order = (usize, FlowBegin);

/// Follows the flows of some parts.
struct Worker<'a, F: Finder, M: Fn() -> F> {
    /// For each part its number, and a table for each recording.
    parts: Vec<(u32, Vec<FlowTable<F>>)>,
    all: PartSet,
    options: FlowOptions,
    finder: &'a M,
    scratch: Scratch,
}

impl<'a, F: Finder, M: Fn() -> F> Worker<'a, F, M> {
    fn new(parts: Range<usize>, options: FlowOptions, finder: &'a M) -> Self {
        let numbers = (0..PARTS).filter(|number| parts.contains(&(*number as usize)));
        let parts: Vec<_> = numbers.map(|number| (number, Vec::new())).collect();
        let all = parts.iter().fold(0, |all, (number, _)| all | 1 << number);
        Self { parts, all, options, finder, scratch: Scratch::default() }
    }

    fn run(mut self, rounds: &Receiver<Arc<Round>>, output: &SyncSender<Findings<F::Found>>) {
        for round in rounds {
            let mut found = Vec::new();
            let mut order = 0;
            for run in &round.runs {
                let mut pieces = run.pieces.iter().peekable();
                for (place, row) in run.rows.iter().enumerate() {
                    let piece = match pieces.next_if(|(of, _)| *of == place) {
                        Some((_, piece)) => piece,
                        None => &Piece::Packet,
                    };
                    self.row(run, *row, piece, order + place, &mut found);
                }
                order += run.rows.len();
            }
            if round.is_last {
                for (_, tables) in &mut self.parts {
                    for table in tables.drain(..) {
                        table.finish().take(|begin, item| found.push(((usize::MAX, begin), item)));
                    }
                }
            }
            let findings = Findings { found, stored_bytes: round.stored_bytes, is_last: round.is_last };
            if output.send(findings).is_err() {
                return;
            }
        }
    }

    fn row(
        &mut self,
        run: &DealtRun,
        row: DealtRow,
        piece: &Piece,
        order: usize,
        found: &mut Vec<(Order, F::Found)>,
    ) {
        if row.parts & self.all == 0 {
            return;
        }
        for (number, tables) in self.parts.iter_mut().filter(|(number, _)| row.parts & 1 << *number != 0) {
            while tables.len() <= run.recording {
                let part = FlowPart { number: *number, of: PARTS };
                tables.push(FlowTable::new(FlowOptions { part, ..self.options }, (self.finder)()));
            }
            let table = &mut tables[run.recording];
            table.consumer().begin(&run.block, row.row as usize);
            give(table, &run.block, row.row as usize, Some(row.flow_id), piece, &mut self.scratch);
            table.consumer().take(|_, item| found.push(((order, FlowBegin::default()), item)));
        }
    }
}

/// Puts what the threads found into one order.
fn collect<T>(
    threads: &[Receiver<Findings<T>>],
    progress: &mut impl FnMut(u64),
    sink: &mut impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let mut is_last = false;
    while !is_last {
        let mut found = Vec::new();
        for (number, thread) in threads.iter().enumerate() {
            // The reader's error ends all threads, and is told by it.
            let Ok(findings) = thread.recv() else { return Ok(()) };
            is_last |= findings.is_last;
            found.extend(findings.found);
            if number == 0 {
                progress(findings.stored_bytes);
            }
        }
        // Threads have their parts in order, and sorting keeps it.
        found.sort_by_key(|(order, _)| *order);
        found.into_iter().try_for_each(|(_, item)| sink(item))?;
    }
    Ok(())
}
