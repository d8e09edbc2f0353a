//! Processes that ended: their entries are kept a while, since their sockets may live on.

use std::collections::VecDeque;

use kcap_format::proto::{Event, event};

use super::Tables;

/// How long the entries of processes that ended are kept.
const LINGER_NS: u64 = 10_000_000_000;
/// Most that wait to be forgotten. The kernel's table makes room by itself when it is full.
const WAITING_MAX: usize = 1 << 17;

/// Forgets processes.
pub(crate) struct Ended {
    tables: Option<Tables>,
    waiting: VecDeque<(u64, u32, u64)>,
}

impl Ended {
    /// `None`: there is nothing to forget.
    pub(crate) fn new(tables: Option<Tables>) -> Self {
        Self { tables, waiting: VecDeque::new() }
    }

    /// Takes note of ends, and forgets those of long enough before.
    pub(crate) fn note(&mut self, event: &Event) {
        let Some(tables) = &self.tables else { return };
        if let Some(event::Event::Exit(exit)) = &event.event
            && let Some(id) = exit.id
            && self.waiting.len() < WAITING_MAX
        {
            self.waiting.push_back((event.time_ns, id.pid, id.start_time_ns));
        }
        while let Some((ended_ns, pid, start_time_ns)) = self.waiting.front().copied() {
            if ended_ns.saturating_add(LINGER_NS) > event.time_ns {
                break;
            }
            self.waiting.pop_front();
            tables.remove_task(pid, start_time_ns);
        }
    }
}
