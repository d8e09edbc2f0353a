//! The thread that waits for the disk, so that the sink doesn't: it syncs the open segment and seals ended
//! ones.

use std::io;
use std::path::PathBuf;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use kcap_format::{Seal, SegmentWriter, Storage};

/// Orders that may wait. A segment that ends while this many wait makes the sink wait: the disk is too slow.
const ORDERS_MAX: usize = 4;

/// Syncs a file when called.
pub(crate) type Sync = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// What the thread is to do.
pub(crate) enum Order<T: Storage> {
    /// Sync what a segment has, which is `len` bytes.
    Sync { segment_id: [u8; 16], len: u64, sync: Sync },
    /// Seal a segment that has ended, which will take at most `reserved_len` bytes with its SEAL.
    Seal { path: PathBuf, reserved_len: u64, writer: Box<SegmentWriter<T>> },
}

/// What it did.
pub(crate) enum Reply {
    Synced { segment_id: [u8; 16], len: u64, result: io::Result<()> },
    Sealed { path: PathBuf, len: u64, reserved_len: u64, result: kcap_format::Result<Seal> },
}

/// The way to the thread and back.
pub(crate) struct Syncer<T: Storage> {
    orders: Sender<Order<T>>,
    replies: Receiver<Reply>,
    outstanding: usize,
    thread: JoinHandle<()>,
}

impl<T: Storage + Send + 'static> Syncer<T> {
    /// Starts the thread.
    pub(crate) fn start() -> Result<Self> {
        let (orders, order_receiver) = bounded(ORDERS_MAX);
        let (reply_sender, replies) = unbounded();
        let body = move || {
            for order in order_receiver {
                if reply_sender.send(carry_out(order)).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("kcap-sync".to_owned())
            .spawn(body)
            .context("cannot start a thread")?;
        Ok(Self { orders, replies, outstanding: 0, thread })
    }

    /// Gives an order.
    pub(crate) fn order(&mut self, order: Order<T>) {
        // The thread only ends before if it panicked, which ends the process.
        if self.orders.send(order).is_ok() {
            self.outstanding += 1;
        }
    }

    /// A reply, if one has come.
    pub(crate) fn reply(&mut self) -> Option<Reply> {
        self.replies.try_recv().inspect(|_| self.outstanding -= 1).ok()
    }

    /// The next reply, however long it takes; `None` when no order is outstanding.
    pub(crate) fn wait_for_reply(&mut self) -> Option<Reply> {
        if self.outstanding == 0 || self.thread.is_finished() && self.replies.is_empty() {
            return None;
        }
        self.replies.recv().inspect(|_| self.outstanding -= 1).ok()
    }
}

fn carry_out<T: Storage>(order: Order<T>) -> Reply {
    match order {
        Order::Sync { segment_id, len, sync } => Reply::Synced { segment_id, len, result: sync() },
        Order::Seal { path, reserved_len, writer } => {
            let len = writer.len();
            Reply::Sealed { path, len, reserved_len, result: writer.seal() }
        }
    }
}
