//! The governor: compression follows the backlog, so that compressing never costs a record.
//!
//! Blocks that wait for a compressor ask for less effort. Blocks that wait for the disk ask for more: the
//! smaller they are, the sooner they are written. What a step really costs depends on the traffic (repeated
//! payloads are compressed faster than they are written), so it is measured, and no step is taken to where a
//! byte is known to cost more.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kcap_format::Effort;
use kcap_format::proto::governor_step::Reason;
use tracing::info;

/// The backlog, as part of all batches, that asks for a step at once.
const BACKLOG_HIGH: f64 = 0.4;
/// The backlog below which there is calm.
const BACKLOG_LOW: f64 = 0.2;
/// How long there must be calm before a dearer step.
const CALM_BEFORE_STEP: Duration = Duration::from_secs(2);
/// Least time before a cheaper step, so that the one before has a chance to help.
const PAUSE_BEFORE_CHEAPER: Duration = Duration::from_millis(50);
/// Least time before a dearer step because of the disk: more patient, so that the two don't chase each other.
const PAUSE_BEFORE_DEARER: Duration = Duration::from_millis(400);
/// How long a measurement counts: the traffic changes.
const MEASUREMENT_LIFE: Duration = Duration::from_secs(20);
/// Weight of a new block in the averages.
const NEW_BLOCK_WEIGHT: f64 = 0.25;
/// What storing a byte takes a compressor, roughly: a copy and a checksum. Only to decide whether storing is worth a
/// try; it is measured once it was tried.
const STORED_ENCODE_NS: f64 = 0.3;
/// Levels of zstd below the one that was asked for, dearest first; "stored" comes after them.
const CHEAPER_LEVELS: [i32; 2] = [1, -5];

/// What waits, as part of all batches: 0 is nothing, 1 is everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backlog {
    /// For a compressor.
    pub(crate) compress: f64,
    /// For the disk.
    pub(crate) write: f64,
}

/// Decides on the effort of compression. The watch observes, the compressors read.
pub(crate) struct Governor {
    /// Efforts to choose from, dearest first.
    steps: Vec<Effort>,
    step: AtomicU8,
    costs: Mutex<Costs>,
}

/// What a byte of records costs.
struct Costs {
    /// By step, if one was tried lately.
    encode: Vec<Option<EncodeCost>>,
    /// Nanoseconds that a byte takes to be written.
    write_ns: f64,
}

#[derive(Clone, Copy)]
struct EncodeCost {
    measured: Instant,
    /// Nanoseconds of processor time for a byte.
    encode_ns: f64,
    /// Bytes that are left of a byte.
    left: f64,
}

/// An effort to use for a block, and where to book what it cost.
#[derive(Clone, Copy)]
pub(crate) struct Choice {
    step: u8,
    pub(crate) effort: Effort,
}

/// The observer's side: when the steps were taken.
pub(crate) struct Observer {
    changed: Instant,
    calm_since: Option<Instant>,
}

impl Governor {
    /// A governor whose dearest step is the effort asked for.
    pub(crate) fn new(asked: Effort) -> Self {
        let mut steps = vec![asked];
        if let Effort::Zstd { level } = asked {
            steps.extend(
                CHEAPER_LEVELS
                    .into_iter()
                    .filter(|cheaper| *cheaper < level)
                    .map(|level| Effort::Zstd { level }),
            );
            steps.push(Effort::Stored);
        }
        let costs = Mutex::new(Costs { encode: vec![None; steps.len()], write_ns: 0.0 });
        Self { steps, step: AtomicU8::new(0), costs }
    }

    /// The effort for the next block.
    pub(crate) fn choose(&self) -> Choice {
        let step = self.step.load(Ordering::Relaxed);
        Choice { step, effort: self.steps[usize::from(step)] }
    }

    /// Books what a block of `raw_len` bytes cost, and that `left_len` are left of it.
    pub(crate) fn encoded(
        &self,
        choice: Choice,
        raw_len: usize,
        left_len: usize,
        processor_time: Duration,
        now: Instant,
    ) {
        let raw_len = raw_len.max(1) as f64;
        let (encode_ns, left) = (processor_time.as_nanos() as f64 / raw_len, left_len as f64 / raw_len);
        let mut costs = self.costs.lock().unwrap_or_else(PoisonError::into_inner);
        let cost = &mut costs.encode[usize::from(choice.step)];
        let before =
            cost.filter(|cost| cost.is_fresh(now)).unwrap_or(EncodeCost { measured: now, encode_ns, left });
        let encode_ns = average(before.encode_ns, encode_ns);
        *cost = Some(EncodeCost { measured: now, encode_ns, left: average(before.left, left) });
    }

    /// Books how long it took to write a block.
    pub(crate) fn written(&self, len: usize, duration: Duration) {
        let write_ns = duration.as_nanos() as f64 / len.max(1) as f64;
        let mut costs = self.costs.lock().unwrap_or_else(PoisonError::into_inner);
        costs.write_ns = average(costs.write_ns, write_ns);
    }

    /// Takes a step if the backlog asks for it, and says why.
    pub(crate) fn observe(&self, observer: &mut Observer, backlog: Backlog, now: Instant) -> Option<Reason> {
        let step = self.step.load(Ordering::Relaxed);
        let since_change = now.duration_since(observer.changed);
        let is_calm = backlog.compress < BACKLOG_LOW && backlog.write < BACKLOG_LOW;
        let calm_since = if is_calm { Some(*observer.calm_since.get_or_insert(now)) } else { None };
        observer.calm_since = calm_since;
        if backlog.compress > BACKLOG_HIGH {
            let cheaper = step + 1..self.steps.len() as u8;
            let changed =
                since_change >= PAUSE_BEFORE_CHEAPER && self.try_steps(observer, cheaper, backlog, now);
            return changed.then_some(Reason::ProcessorsBusy);
        }
        if step == 0 {
            return None;
        }
        if calm_since.is_some_and(|since| now.duration_since(since) >= CALM_BEFORE_STEP) {
            self.change(observer, step - 1, backlog, now);
            return Some(Reason::Calm);
        }
        let disk_asks = backlog.write > BACKLOG_HIGH && backlog.compress < BACKLOG_LOW;
        let changed = disk_asks
            && since_change >= PAUSE_BEFORE_DEARER
            && self.try_steps(observer, (0..step).rev(), backlog, now);
        changed.then_some(Reason::DiskSlow)
    }

    /// Goes to the first of these steps at which a byte is not known to cost more than now; true if there is one.
    fn try_steps(
        &self,
        observer: &mut Observer,
        steps: impl IntoIterator<Item = u8>,
        backlog: Backlog,
        now: Instant,
    ) -> bool {
        let better = {
            let costs = self.costs.lock().unwrap_or_else(PoisonError::into_inner);
            let now_ns = costs.of(self.step.load(Ordering::Relaxed), now).unwrap_or(f64::INFINITY);
            let expected_ns = |step: &u8| {
                let is_stored = self.steps[usize::from(*step)] == Effort::Stored;
                costs.of(*step, now).or_else(|| is_stored.then(|| costs.of_stored()))
            };
            steps.into_iter().find(|step| expected_ns(step).is_none_or(|then_ns| then_ns < now_ns))
        };
        if let Some(step) = better {
            self.change(observer, step, backlog, now);
        }
        better.is_some()
    }

    fn change(&self, observer: &mut Observer, step: u8, backlog: Backlog, now: Instant) {
        *observer = Observer::new(now);
        self.step.store(step, Ordering::Relaxed);
        let Backlog { compress, write } = backlog;
        info!(effort = %name(self.choose().effort), compress, write, "compression follows the backlog");
    }
}

impl Observer {
    /// An observer that begins now.
    pub(crate) fn new(now: Instant) -> Self {
        Self { changed: now, calm_since: None }
    }
}

impl Costs {
    /// Nanoseconds for a byte, from the batch to the disk; `None` when the step was not tried lately.
    fn of(&self, step: u8, now: Instant) -> Option<f64> {
        let cost = self.encode[usize::from(step)].filter(|cost| cost.is_fresh(now))?;
        Some(cost.encode_ns + cost.left * self.write_ns)
    }

    /// What a byte would cost if it were stored: unlike that of a level, it needs no try. Where payloads repeat, they
    /// are compressed in less time than it takes to write them.
    fn of_stored(&self) -> f64 {
        STORED_ENCODE_NS + self.write_ns
    }
}

impl EncodeCost {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.measured) < MEASUREMENT_LIFE
    }
}

fn average(before: f64, new: f64) -> f64 {
    before + (new - before) * NEW_BLOCK_WEIGHT
}

/// How an effort is written on the command line.
pub(crate) fn name(effort: Effort) -> String {
    match effort {
        Effort::Stored => "stored".to_owned(),
        Effort::Zstd { level } => level.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(governor: &Governor) -> Vec<String> {
        governor.steps.iter().copied().map(name).collect()
    }

    #[test]
    fn steps_go_down_from_the_level_asked_for() {
        assert_eq!(levels(&Governor::new(Effort::Zstd { level: 3 })), ["3", "1", "-5", "stored"]);
        assert_eq!(levels(&Governor::new(Effort::Zstd { level: 1 })), ["1", "-5", "stored"]);
        assert_eq!(levels(&Governor::new(Effort::Stored)), ["stored"]);
    }

    fn backlog(compress: f64, write: f64) -> Backlog {
        Backlog { compress, write }
    }

    #[test]
    fn a_backlog_before_the_compressors_lowers_the_effort_and_calm_raises_it() {
        let governor = Governor::new(Effort::Zstd { level: 3 });
        let start = Instant::now();
        let mut observer = Observer::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        governor.observe(&mut observer, backlog(0.9, 0.0), at(10));
        assert_eq!(name(governor.choose().effort), "3", "one observation in the pause changes nothing");
        for (ms, expected) in [(60, "1"), (70, "1"), (120, "-5"), (180, "stored"), (240, "stored")] {
            governor.observe(&mut observer, backlog(0.9, 0.0), at(ms));
            assert_eq!(name(governor.choose().effort), expected, "after {ms} ms");
        }
        governor.observe(&mut observer, backlog(0.1, 0.1), at(1000));
        governor.observe(&mut observer, backlog(0.3, 0.1), at(2500));
        governor.observe(&mut observer, backlog(0.1, 0.1), at(3100));
        assert_eq!(name(governor.choose().effort), "stored", "calm was interrupted");
        governor.observe(&mut observer, backlog(0.1, 0.1), at(5200));
        assert_eq!(name(governor.choose().effort), "-5");
    }

    #[test]
    fn a_backlog_before_the_disk_raises_the_effort() {
        let governor = Governor::new(Effort::Zstd { level: 3 });
        let start = Instant::now();
        let mut observer = Observer::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        for ms in [60, 120, 180] {
            governor.observe(&mut observer, backlog(0.9, 0.0), at(ms));
        }
        governor.observe(&mut observer, backlog(0.3, 0.6), at(1000));
        assert_eq!(name(governor.choose().effort), "stored", "the compressors have enough to do");
        for (ms, expected) in [(1010, "-5"), (1020, "-5"), (1420, "1"), (1900, "3"), (2500, "3")] {
            governor.observe(&mut observer, backlog(0.0, 0.9), at(ms));
            assert_eq!(name(governor.choose().effort), expected, "after {ms} ms");
        }
    }

    #[test]
    fn no_step_is_taken_to_where_a_byte_is_known_to_cost_more() {
        let governor = Governor::new(Effort::Zstd { level: 1 });
        let start = Instant::now();
        let mut observer = Observer::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        let second = Duration::from_secs(1);
        governor.written(1000, second);
        // Level 1 leaves a tenth; stored leaves all, which takes longer to write than to compress.
        let choice = |step: u8| Choice { step, effort: governor.steps[usize::from(step)] };
        governor.encoded(choice(0), 1000, 100, Duration::from_millis(10), at(0));
        governor.encoded(choice(1), 1000, 300, Duration::from_millis(5), at(0));
        governor.encoded(choice(2), 1000, 1000, Duration::from_millis(1), at(0));
        governor.observe(&mut observer, backlog(0.9, 0.0), at(1000));
        assert_eq!(name(governor.choose().effort), "1");
        // Once that is forgotten, it is tried again.
        governor.encoded(choice(0), 1000, 100, Duration::from_millis(10), at(30_000));
        governor.observe(&mut observer, backlog(0.9, 0.0), at(30_000));
        assert_eq!(name(governor.choose().effort), "-5");
    }

    #[test]
    fn stored_is_the_end_of_the_steps() {
        let governor = Governor::new(Effort::Stored);
        let start = Instant::now();
        let mut observer = Observer::new(start);
        governor.observe(&mut observer, backlog(1.0, 0.0), start + Duration::from_secs(1));
        governor.observe(&mut observer, backlog(0.0, 1.0), start + Duration::from_secs(5));
        governor.observe(&mut observer, backlog(0.0, 0.0), start + Duration::from_secs(9));
        assert_eq!(name(governor.choose().effort), "stored");
    }
}
