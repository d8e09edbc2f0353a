//! What the threads hand to each other, and how much of it there may be.
//!
//! Drainers fill batches from a fixed pool, compressors turn them into blocks, the sink writes these in the
//! order of their sequence numbers and gives the batches back. The pools bound the memory: when everything is
//! full, the drainers wait, the rings fill, and the kernel programs count what they can't hand over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use kcap_format::proto::Event;
use kcap_format::{EncodedBlock, PacketBatch};

use crate::account::Tally;
use crate::enrich::Enumerated;

/// Packet batches in the whole pipeline.
pub(crate) const PACKET_BATCHES: usize = 10;
/// Event batches in the whole pipeline.
pub(crate) const EVENT_BATCHES: usize = 4;
/// Uncompressed bytes at which a packet batch is handed over while little arrives.
pub(crate) const BATCH_RAW_LEN_MIN: usize = kcap_format::limits::BLOCK_RAW_LEN_TARGET as usize;
/// The same when much arrives; with [`PACKET_BATCHES`] this bounds the memory.
pub(crate) const BATCH_RAW_LEN_MAX: usize = 4 * BATCH_RAW_LEN_MIN;
/// Events at which an event batch is handed over.
pub(crate) const EVENTS_PER_BATCH: usize = 4096;

/// Records on their way.
pub(crate) enum Work {
    Packets(Box<PacketBatch>),
    /// All events that happened before `through_ns` are in this batch or one before.
    Events {
        events: Vec<Event>,
        through_ns: u64,
    },
}

/// Work with its place in the order.
pub(crate) struct Job {
    pub(crate) sequence: u64,
    pub(crate) work: Work,
}

/// A block, and whose records it holds.
pub(crate) struct TalliedBlock {
    pub(crate) block: EncodedBlock,
    pub(crate) tally: Tally,
}

/// A job that went through a compressor.
pub(crate) struct Done {
    pub(crate) job: Job,
    pub(crate) blocks: Vec<TalliedBlock>,
}

/// What the sink is told.
pub(crate) enum ToSink {
    Done(Done),
    /// What is older than the recorder.
    Enumerated(Enumerated),
    /// What was found out in user space, and is recorded beside what the kernel tells.
    Told(Box<Event>),
    /// Packets that waited for a verdict, and aren't wanted.
    Unwanted(Tally),
    /// Records of a ring that made no sense.
    Bad(Tally),
    /// What is attached from now on, and what isn't.
    Attached {
        hooks: BTreeMap<String, String>,
        missing: Vec<String>,
    },
    /// A governor took a step; `in_force` is false when it led back to what was asked for.
    Stepped {
        event: Box<Event>,
        in_force: bool,
    },
}

/// Hands out sequence numbers along with the jobs that bear them.
#[derive(Clone)]
pub(crate) struct JobSender {
    jobs: Sender<Job>,
    next_sequence: Arc<AtomicU64>,
}

impl JobSender {
    /// Sends work to the compressors. It never waits: there are as many places as there are batches.
    pub(crate) fn send(&self, work: Work) {
        let sequence = self.next_sequence.fetch_add(1, Ordering::Relaxed);
        // Receivers only go away when the process ends.
        let _ = self.jobs.send(Job { sequence, work });
    }

    /// Jobs that no compressor has taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.jobs.len()
    }
}

/// The way to the compressors.
pub(crate) fn jobs() -> (JobSender, Receiver<Job>) {
    let (jobs, receiver) = bounded(PACKET_BATCHES + EVENT_BATCHES);
    (JobSender { jobs, next_sequence: Arc::default() }, receiver)
}

/// Both ends of a pool of reusable buffers.
///
/// The buffer that came back last goes out first: while the pipeline keeps up, few buffers are in use, and these stay
/// in the processors' caches.
pub(crate) struct Pool<T> {
    pub(crate) give: Giver<T>,
    pub(crate) take: Taker<T>,
}

/// Gives buffers back to a pool.
pub(crate) struct Giver<T> {
    buffers: Arc<Mutex<Vec<T>>>,
    /// One for each buffer that there is.
    count: Sender<()>,
}

/// Takes buffers out of a pool.
pub(crate) struct Taker<T> {
    buffers: Arc<Mutex<Vec<T>>>,
    count: Receiver<()>,
}

impl<T: Default> Pool<T> {
    /// A pool of this many empty buffers.
    pub(crate) fn new(count: usize) -> Self {
        let buffers = Arc::new(Mutex::new(Vec::with_capacity(count)));
        let (give, take) = bounded(count);
        let pool = Self {
            give: Giver { buffers: Arc::clone(&buffers), count: give },
            take: Taker { buffers, count: take },
        };
        (0..count).for_each(|_| pool.give.give(T::default()));
        pool
    }
}

impl<T> Giver<T> {
    /// Puts a buffer back.
    pub(crate) fn give(&self, buffer: T) {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        // There is a place for each; a taker that is gone needs none.
        let _ = self.count.send(());
    }
}

impl<T> Taker<T> {
    /// Waits for a buffer; `None` when there won't be any more.
    pub(crate) fn take(&self) -> Option<T> {
        self.count.recv().ok()?;
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_that_came_back_last_goes_out_first() {
        let Pool { give, take } = Pool::<Vec<u8>>::new(2);
        let (first, second) = (take.take().unwrap(), take.take().unwrap());
        assert!(take.count.is_empty());
        give.give(first);
        give.give([second, vec![1]].concat());
        assert_eq!((take.take(), take.take()), (Some(vec![1]), Some(vec![])));
        drop(give);
        assert_eq!(take.take(), None);
    }
}
