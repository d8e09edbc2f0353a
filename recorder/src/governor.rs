//! The governor: compression follows the backlog, so that compressing never costs a record.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use kcap_format::Effort;
use tracing::info;

/// The backlog, as part of all buffers, above which the next cheaper step is taken at once.
const BACKLOG_HIGH: f64 = 0.5;
/// The backlog below which a dearer step may be taken.
const BACKLOG_LOW: f64 = 0.2;
/// How long the backlog must stay low before a dearer step.
const CALM_BEFORE_STEP: Duration = Duration::from_secs(2);
/// Least time between two cheaper steps, so that one has a chance to help.
const PAUSE_BETWEEN_STEPS: Duration = Duration::from_millis(50);
/// Levels of zstd below the one that was asked for, dearest first; "stored" comes after them.
const CHEAPER_LEVELS: [i32; 2] = [1, -5];

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

    /// Takes a step if the backlog (0 = none, 1 = everything is full) asks for it.
    pub(crate) fn observe(&self, observer: &mut Observer, backlog: f64, now: Instant) {
        let step = self.step.load(Ordering::Relaxed);
        if backlog > BACKLOG_HIGH {
            observer.calm_since = None;
            if usize::from(step) + 1 < self.steps.len()
                && now.duration_since(observer.changed) >= PAUSE_BETWEEN_STEPS
            {
                self.change(observer, step + 1, backlog, now);
            }
        } else if backlog >= BACKLOG_LOW || step == 0 {
            observer.calm_since = None;
        } else if now.duration_since(*observer.calm_since.get_or_insert(now)) >= CALM_BEFORE_STEP {
            observer.calm_since = None;
            self.change(observer, step - 1, backlog, now);
        }
    }

    fn change(&self, observer: &mut Observer, step: u8, backlog: f64, now: Instant) {
        observer.changed = now;
        self.step.store(step, Ordering::Relaxed);
        let backlog_percent = (backlog * 100.0).round();
        info!(effort = %name(self.effort()), backlog_percent, "compression changed");
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

    #[test]
    fn pressure_lowers_the_effort_step_by_step_and_calm_raises_it() {
        let governor = Governor::new(Effort::Zstd { level: 3 });
        let start = Instant::now();
        let mut observer = Observer::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        governor.observe(&mut observer, 0.9, at(10));
        assert_eq!(name(governor.effort()), "3", "one observation in the pause changes nothing");
        for (ms, expected) in [(60, "1"), (70, "1"), (120, "-5"), (180, "stored"), (240, "stored")] {
            governor.observe(&mut observer, 0.9, at(ms));
            assert_eq!(name(governor.effort()), expected, "after {ms} ms");
        }
        governor.observe(&mut observer, 0.1, at(1000));
        governor.observe(&mut observer, 0.3, at(2500));
        governor.observe(&mut observer, 0.1, at(3100));
        assert_eq!(name(governor.effort()), "stored", "calm was interrupted");
        governor.observe(&mut observer, 0.1, at(5200));
        assert_eq!(name(governor.effort()), "-5");
    }

    #[test]
    fn stored_is_the_end_of_the_steps() {
        let governor = Governor::new(Effort::Stored);
        let start = Instant::now();
        let mut observer = Observer::new(start);
        governor.observe(&mut observer, 1.0, start + Duration::from_secs(1));
        governor.observe(&mut observer, 0.0, start + Duration::from_secs(9));
        assert_eq!(name(governor.effort()), "stored");
    }
}
