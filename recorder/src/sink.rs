//! The sink thread: blocks in their order into the recording, and what is done each second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use kcap_format::PacketBatch;
use kcap_format::proto::{Event, LossCause};

use crate::account::Totals;
use crate::clock;
use crate::folder::Store;
use crate::governor::Governor;
use crate::pipeline::{Done, Giver, ToSink, Work};
use crate::progress::Progress;
use crate::recording::{Recording, Written};

/// Clock samples, counters, losses and syncs are this far apart.
const TICK: Duration = Duration::from_secs(1);
/// How often is looked whether recording can go on while it pauses.
const PAUSED_TICK: Duration = Duration::from_millis(100);

/// Where emptied buffers go.
pub(crate) struct Recycling {
    pub(crate) packets: Giver<Box<PacketBatch>>,
    pub(crate) events: Giver<Vec<Event>>,
}

/// How the recording ended.
pub(crate) struct Outcome {
    pub(crate) written: Written,
    pub(crate) totals: Totals,
    /// The last segment has its seal.
    pub(crate) sealed: bool,
}

/// The sink.
pub(crate) struct Sink<S: Store> {
    recording: Recording<S>,
    recycling: Recycling,
    progress: Arc<Progress>,
    governor: Arc<Governor>,
    next_sequence: u64,
    /// Done before others that have their turn first.
    early: BTreeMap<u64, Done>,
    /// Packets that wait for the next segment.
    held: Vec<Done>,
}

impl<S: Store> Sink<S> {
    /// A sink for a recording that has begun.
    pub(crate) fn new(
        recording: Recording<S>,
        recycling: Recycling,
        progress: Arc<Progress>,
        governor: Arc<Governor>,
    ) -> Self {
        Self {
            recording,
            recycling,
            progress,
            governor,
            next_sequence: 0,
            early: BTreeMap::new(),
            held: Vec::new(),
        }
    }

    /// Writes what comes until all senders are gone, then ends the recording.
    pub(crate) fn run(mut self, messages: &Receiver<ToSink>) -> Outcome {
        let mut next_tick = Instant::now() + TICK;
        loop {
            let paused_tick = self.recording.is_paused().then(|| Instant::now() + PAUSED_TICK);
            match messages.recv_deadline(paused_tick.map_or(next_tick, |paused| paused.min(next_tick))) {
                Ok(ToSink::Done(done)) => self.in_order(done),
                Ok(ToSink::Enumerated(found)) => self.recording.add_enumerated(found, clock::boot_ns()),
                Ok(ToSink::Stepped { event, in_force }) => {
                    self.recording.note_step(*event, in_force, clock::boot_ns());
                }
                Ok(ToSink::Attached { hooks, missing }) => self.recording.note_attached(hooks, missing),
                Ok(ToSink::Told(event)) => self.recording.note_told(*event),
                Ok(ToSink::Unwanted(tally)) => self.recording.filter(&tally),
                Ok(ToSink::Bad(tally)) => self.recording.lose(&tally, LossCause::BadRecord),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now_ns = clock::boot_ns();
            self.recording.resume_if_due(now_ns);
            self.rotate(now_ns);
            self.recording.sync_if_due(now_ns);
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + TICK;
                self.recording.tick(now_ns);
                self.publish();
            }
        }
        self.release_held();
        let sealed = self.recording.finish(clock::boot_ns());
        self.publish();
        Outcome { written: self.recording.written(), totals: self.recording.totals().clone(), sealed }
    }

    fn in_order(&mut self, done: Done) {
        self.early.insert(done.job.sequence, done);
        while let Some(next) = self.early.remove(&self.next_sequence) {
            self.next_sequence += 1;
            let is_packets = matches!(next.job.work, Work::Packets(_));
            if is_packets && self.recording.rotation_pending(clock::boot_ns()) {
                self.held.push(next);
            } else {
                self.write(next);
            }
        }
    }

    fn rotate(&mut self, now_ns: u64) {
        if self.recording.rotation_pending(now_ns) && self.recording.rotate_if_ready(now_ns) {
            self.release_held();
        } else if !self.held.is_empty() && !self.recording.rotation_pending(now_ns) {
            // The segment broke before it could be rotated.
            self.release_held();
        }
    }

    fn release_held(&mut self) {
        for done in std::mem::take(&mut self.held) {
            self.write(done);
        }
    }

    fn write(&mut self, done: Done) {
        let now_ns = clock::boot_ns();
        let begun = Instant::now();
        for tallied in &done.blocks {
            self.recording.write(tallied, now_ns);
        }
        if let (Work::Packets(_), [tallied]) = (&done.job.work, done.blocks.as_slice()) {
            self.governor.written(tallied.block.payload.len(), begun.elapsed());
        }
        match done.job.work {
            Work::Packets(mut batch) => {
                batch.clear();
                self.recycling.packets.give(batch);
            }
            Work::Events { mut events, through_ns } => {
                self.recording.apply(&mut events, through_ns);
                self.recycling.events.give(events);
            }
        }
    }

    fn publish(&self) {
        self.progress.publish(&self.recording.written(), self.recording.totals().lost_total());
    }
}
