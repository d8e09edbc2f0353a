//! How much is captured while the recorder can't keep up: everything, headers, or counts alone.
//!
//! Batches that wait are no reason yet: the ring is there to bridge a burst, and compression is adapted first. But where
//! the ring stays nearly full, packets are about to be lost at random. Then less of each is taken, and if it fills all the
//! same, nothing but their count, until what waits is written. Each step is told in the segment.

use std::time::{Duration, Instant};

use kcap_format::proto::governor_step::Reason;

use crate::capture_switch::CaptureMode;
use crate::governor::Backlog;

/// The part of the ring that must be full for headers alone to be captured.
const RING_HIGH: f64 = 0.75;
/// The part that must be full for nothing to be captured: a ring that headers fill no further is no reason.
const RING_FULL: f64 = 0.95;
/// For how long: a burst may fill it for a moment.
const RING_HIGH_TIME: Duration = Duration::from_millis(50);
/// The part of the ring below which there is calm.
const RING_LOW: f64 = 0.25;
/// The part of all batches below which there is calm.
const BACKLOG_LOW: f64 = 0.2;
/// Least time before capturing still less, so that the step before has a chance to help.
const PAUSE_BEFORE_LESS: Duration = Duration::from_millis(250);
/// How long there must be calm before more is captured again; after a relapse, twice as long as before.
const CALM_BEFORE_MORE: Duration = Duration::from_secs(2);
const CALM_BEFORE_MORE_MAX: Duration = Duration::from_secs(32);
/// Capturing less again so soon after capturing more is a relapse.
const RELAPSE_TIME: Duration = Duration::from_secs(10);

/// What waits, as parts of what there is room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) backlog: Backlog,
    /// Of the bytes in the ring of packets.
    pub(crate) ring: f64,
}

/// Decides how much is captured.
#[derive(Debug)]
pub(crate) struct CaptureGovernor {
    /// From the most to the least.
    modes: Vec<CaptureMode>,
    step: usize,
    changed: Option<Instant>,
    high_since: Option<Instant>,
    calm_since: Option<Instant>,
    calm_needed: Duration,
    recovered: Option<Instant>,
}

impl CaptureGovernor {
    /// A governor that goes as far as `least`. Where nothing but headers is asked for, there is no step to them.
    pub(crate) fn new(least: CaptureMode, headers_only: bool) -> Self {
        let modes = [CaptureMode::Full, CaptureMode::Headers, CaptureMode::Counts];
        let is_step = |mode: &CaptureMode| *mode <= least && !(headers_only && *mode == CaptureMode::Headers);
        Self {
            modes: modes.into_iter().filter(is_step).collect(),
            step: 0,
            changed: None,
            high_since: None,
            calm_since: None,
            calm_needed: CALM_BEFORE_MORE,
            recovered: None,
        }
    }

    /// What is to be captured now.
    pub(crate) fn mode(&self) -> CaptureMode {
        self.modes[self.step]
    }

    /// Looks at what waits; says why when the mode changed.
    pub(crate) fn observe(&mut self, waiting: Waiting, now: Instant) -> Option<Reason> {
        let Waiting { backlog, ring } = waiting;
        let high = match self.modes.get(self.step + 1) {
            Some(CaptureMode::Counts) => RING_FULL,
            _ => RING_HIGH,
        };
        self.high_since = (ring >= high).then(|| self.high_since.unwrap_or(now));
        let is_calm = ring < RING_LOW && backlog.compress < BACKLOG_LOW && backlog.write < BACKLOG_LOW;
        self.calm_since = is_calm.then(|| self.calm_since.unwrap_or(now));
        let lasts =
            |since: Option<Instant>, time| since.is_some_and(|since| now.duration_since(since) >= time);
        let is_pause_over = self.changed.is_none() || lasts(self.changed, PAUSE_BEFORE_LESS);
        if lasts(self.high_since, RING_HIGH_TIME) && is_pause_over && self.step + 1 < self.modes.len() {
            let is_relapse = self.recovered.is_some() && !lasts(self.recovered, RELAPSE_TIME);
            self.calm_needed = match self.step {
                _ if is_relapse => (self.calm_needed * 2).min(CALM_BEFORE_MORE_MAX),
                0 => CALM_BEFORE_MORE,
                _ => self.calm_needed,
            };
            self.recovered = None;
            self.change(self.step + 1, now);
            return Some(Reason::RingFilling);
        }
        if lasts(self.calm_since, self.calm_needed) && self.step > 0 {
            self.recovered = Some(now);
            self.change(self.step - 1, now);
            return Some(Reason::Calm);
        }
        None
    }

    fn change(&mut self, step: usize, now: Instant) {
        self.step = step;
        self.changed = Some(now);
        self.high_since = None;
        self.calm_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Observes every 10 ms for a while; gives the modes that came, with the milliseconds after which they did.
    fn watch(
        governor: &mut CaptureGovernor,
        from: Instant,
        for_ms: u64,
        waiting: Waiting,
    ) -> Vec<(u64, CaptureMode)> {
        let mut came = Vec::new();
        for ms in (0..for_ms).step_by(10) {
            if governor.observe(waiting, from + Duration::from_millis(ms)).is_some() {
                came.push((ms, governor.mode()));
            }
        }
        came
    }

    fn ring(ring: f64) -> Waiting {
        Waiting { backlog: Backlog { compress: 0.0, write: 0.0 }, ring }
    }

    #[test]
    fn a_full_ring_takes_it_down_step_by_step_and_calm_brings_it_back() {
        let mut governor = CaptureGovernor::new(CaptureMode::Counts, false);
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let full = Waiting { backlog: Backlog { compress: 0.0, write: 1.0 }, ring: 1.0 };
        assert_eq!(
            watch(&mut governor, at(0), 1000, full),
            [(50, CaptureMode::Headers), (300, CaptureMode::Counts)]
        );
        let empty_but_writing = Waiting { backlog: Backlog { compress: 0.0, write: 0.5 }, ring: 0.0 };
        assert!(watch(&mut governor, at(1000), 5000, empty_but_writing).is_empty());
        let back = watch(&mut governor, at(6000), 6000, ring(0.1));
        assert_eq!(back, [(2000, CaptureMode::Headers), (4010, CaptureMode::Full)]);
    }

    #[test]
    fn headers_are_enough_where_the_ring_fills_no_further() {
        let mut governor = CaptureGovernor::new(CaptureMode::Counts, false);
        let came = watch(&mut governor, Instant::now(), 10_000, ring(0.9));
        assert_eq!(came, [(50, CaptureMode::Headers)]);
    }

    #[test]
    fn a_burst_and_a_half_full_ring_change_nothing() {
        let mut governor = CaptureGovernor::new(CaptureMode::Counts, false);
        let start = Instant::now();
        for burst in 0..20 {
            let from = start + Duration::from_millis(burst * 100);
            assert!(watch(&mut governor, from, 50, ring(1.0)).is_empty());
            assert!(watch(&mut governor, from + Duration::from_millis(50), 50, ring(0.7)).is_empty());
        }
    }

    #[test]
    fn after_a_relapse_more_calm_is_needed() {
        let mut governor = CaptureGovernor::new(CaptureMode::Headers, false);
        let mut now = Instant::now();
        let mut waited = Vec::new();
        for _ in 0..7 {
            assert_eq!(watch(&mut governor, now, 400, ring(0.9)).len(), 1);
            now += Duration::from_millis(400);
            let back = watch(&mut governor, now, 40_000, ring(0.0));
            waited.push(back[0].0 / 1000);
            now += Duration::from_millis(back[0].0 + 10);
        }
        assert_eq!(waited, [2, 4, 8, 16, 32, 32, 32]);
        now += RELAPSE_TIME;
        assert_eq!(watch(&mut governor, now, 400, ring(0.9)).len(), 1);
        assert_eq!(
            watch(&mut governor, now + Duration::from_millis(400), 3000, ring(0.0)).len(),
            1,
            "all is forgotten"
        );
    }

    #[test]
    fn it_goes_no_further_than_allowed() {
        let lowest = |least, headers_only| {
            let mut governor = CaptureGovernor::new(least, headers_only);
            watch(&mut governor, Instant::now(), 2000, ring(1.0))
                .into_iter()
                .map(|(_, mode)| mode)
                .collect::<Vec<_>>()
        };
        assert_eq!(lowest(CaptureMode::Full, false), []);
        assert_eq!(lowest(CaptureMode::Headers, false), [CaptureMode::Headers]);
        assert_eq!(lowest(CaptureMode::Headers, true), []);
        assert_eq!(lowest(CaptureMode::Counts, true), [CaptureMode::Counts]);
    }
}
