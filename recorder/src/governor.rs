//! The governor: compression follows the backlog, so that compressing never costs a record.
//!
//! Blocks that wait for a compressor ask for less effort. Blocks that wait for the disk ask for more: the smaller they are,
//! the sooner they are written.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use kcap_format::Effort;
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

/// Decides on the effort of compression. The drainer observes, the compressors read.
pub(crate) struct Governor {
    /// Efforts to choose from, dearest first.
    steps: Vec<Effort>,
    step: AtomicU8,
}

/// The drainer's side: when the steps were taken.
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
        Self { steps, step: AtomicU8::new(0) }
    }

    /// The effort for the next block.
    pub(crate) fn effort(&self) -> Effort {
        self.steps[usize::from(self.step.load(Ordering::Relaxed))]
    }

    /// Takes a step if the backlog asks for it.
    pub(crate) fn observe(&self, observer: &mut Observer, backlog: Backlog, now: Instant) {
        let step = self.step.load(Ordering::Relaxed);
        let since_change = now.duration_since(observer.changed);
        let is_calm = backlog.compress < BACKLOG_LOW && backlog.write < BACKLOG_LOW;
        let calm_since = if is_calm { Some(*observer.calm_since.get_or_insert(now)) } else { None };
        observer.calm_since = calm_since;
        let is_last = usize::from(step) + 1 == self.steps.len();
        if backlog.compress > BACKLOG_HIGH {
            if !is_last && since_change >= PAUSE_BEFORE_CHEAPER {
                self.change(observer, step + 1, backlog, now);
            }
        } else if step > 0 {
            let disk_asks = backlog.write > BACKLOG_HIGH && backlog.compress < BACKLOG_LOW;
            let calm_lasts = calm_since.is_some_and(|since| now.duration_since(since) >= CALM_BEFORE_STEP);
            if calm_lasts || disk_asks && since_change >= PAUSE_BEFORE_DEARER {
                self.change(observer, step - 1, backlog, now);
            }
        }
    }

    fn change(&self, observer: &mut Observer, step: u8, backlog: Backlog, now: Instant) {
        *observer = Observer::new(now);
        self.step.store(step, Ordering::Relaxed);
        let Backlog { compress, write } = backlog;
        info!(effort = %name(self.effort()), compress, write, "compression follows the backlog");
    }
}

impl Observer {
    /// An observer that begins now.
    pub(crate) fn new(now: Instant) -> Self {
        Self { changed: now, calm_since: None }
    }
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
        assert_eq!(name(governor.effort()), "3", "one observation in the pause changes nothing");
        for (ms, expected) in [(60, "1"), (70, "1"), (120, "-5"), (180, "stored"), (240, "stored")] {
            governor.observe(&mut observer, backlog(0.9, 0.0), at(ms));
            assert_eq!(name(governor.effort()), expected, "after {ms} ms");
        }
        governor.observe(&mut observer, backlog(0.1, 0.1), at(1000));
        governor.observe(&mut observer, backlog(0.3, 0.1), at(2500));
        governor.observe(&mut observer, backlog(0.1, 0.1), at(3100));
        assert_eq!(name(governor.effort()), "stored", "calm was interrupted");
        governor.observe(&mut observer, backlog(0.1, 0.1), at(5200));
        assert_eq!(name(governor.effort()), "-5");
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
        assert_eq!(name(governor.effort()), "stored", "the compressors have enough to do");
        for (ms, expected) in [(1010, "-5"), (1020, "-5"), (1420, "1"), (1900, "3"), (2500, "3")] {
            governor.observe(&mut observer, backlog(0.0, 0.9), at(ms));
            assert_eq!(name(governor.effort()), expected, "after {ms} ms");
        }
    }

    #[test]
    fn stored_is_the_end_of_the_steps() {
        let governor = Governor::new(Effort::Stored);
        let start = Instant::now();
        let mut observer = Observer::new(start);
        governor.observe(&mut observer, backlog(1.0, 0.0), start + Duration::from_secs(1));
        governor.observe(&mut observer, backlog(0.0, 1.0), start + Duration::from_secs(5));
        governor.observe(&mut observer, backlog(0.0, 0.0), start + Duration::from_secs(9));
        assert_eq!(name(governor.effort()), "stored");
    }
}
