//! Runs of payload that may go on, in bounded memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::export::payload::{PayloadFields, PayloadRun};

/// Bytes that all runs may hold.
const BYTES_MAX: usize = 64 << 20;

/// A run, and what its document is to have.
pub(super) struct Run {
    pub(super) run: PayloadRun,
    pub(super) fields: Arc<PayloadFields>,
}

/// Bytes that a side sent, or how many it sent.
pub(super) enum Sent<'a> {
    Bytes(&'a [u8]),
    Count(u64),
}

impl Sent<'_> {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Count(count) => *count,
        }
    }
}

/// Runs that wait for more.
pub(super) struct WaitingRuns {
    /// By numbers that grow.
    runs: BTreeMap<u64, Run>,
    /// Those that hold bytes, and how many all of them do.
    filled: BTreeSet<u64>,
    bytes: usize,
    bytes_max: usize,
    next_number: u64,
}

impl Default for WaitingRuns {
    fn default() -> Self {
        Self::new(BYTES_MAX)
    }
}

impl WaitingRuns {
    fn new(bytes_max: usize) -> Self {
        Self { runs: BTreeMap::new(), filled: BTreeSet::new(), bytes: 0, bytes_max, next_number: 0 }
    }

    /// Adds a run, and gives its number.
    pub(super) fn begin(&mut self, run: Run) -> u64 {
        self.next_number += 1;
        self.runs.insert(self.next_number, run);
        self.next_number
    }

    /// A run that still waits.
    pub(super) fn run(&self, number: u64) -> Option<&Run> {
        self.runs.get(&number)
    }

    /// Adds to a run what was sent; its bytes where they are wanted. When all runs hold too many, `finished` gets the oldest of
    /// those that hold any.
    pub(super) fn add(&mut self, number: u64, sent: &Sent<'_>, finished: &mut Vec<Run>) {
        let Some(Run { run, fields }) = self.runs.get_mut(&number) else { return };
        run.len += sent.len();
        if let (Sent::Bytes(bytes), true) = (sent, fields.payload) {
            run.bytes.extend_from_slice(bytes);
            self.bytes += bytes.len();
            self.filled.insert(number);
        }
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.filled.first().copied()
        {
            finished.extend(self.take(oldest));
        }
    }

    /// Takes a run away, which does not go on.
    pub(super) fn take(&mut self, number: u64) -> Option<Run> {
        let run = self.runs.remove(&number)?;
        self.filled.remove(&number);
        self.bytes -= run.run.bytes.len();
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(waiting: &mut WaitingRuns, flow_id: u64, payload: bool) -> u64 {
        let run = PayloadRun { flow_id, ..PayloadRun::default() };
        waiting.begin(Run { run, fields: Arc::new(PayloadFields { payload, meta: None }) })
    }

    /// Once those without bytes ended first, for whose end nothing was gained.
    #[test]
    fn the_oldest_run_with_bytes_gives_way() {
        let mut waiting = WaitingRuns::new(10);
        let mut finished = Vec::new();
        let runs =
            [(1, false), (2, true), (3, true)].map(|(flow, payload)| begin(&mut waiting, flow, payload));
        for (run, bytes) in [(0, &b"many bytes that nobody wants"[..]), (1, b"abcdef"), (2, b"ghij")] {
            waiting.add(runs[run], &Sent::Bytes(bytes), &mut finished);
        }
        waiting.add(runs[0], &Sent::Count(5), &mut finished);
        assert!(finished.is_empty(), "as many bytes as may be");
        waiting.add(runs[2], &Sent::Bytes(b"k"), &mut finished);
        let seen: Vec<_> = finished.iter().map(|run| (run.run.flow_id, &run.run.bytes[..])).collect();
        assert_eq!(seen, [(2, &b"abcdef"[..])]);
        assert!(waiting.run(runs[1]).is_none() && waiting.run(runs[0]).is_some_and(|run| run.run.len == 33));
        let last = waiting.take(runs[2]).expect("it waits");
        assert_eq!((last.run.len, &last.run.bytes[..], waiting.bytes), (5, &b"ghijk"[..], 0));
    }
}
