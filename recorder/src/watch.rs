//! The thread that watches what waits, takes the steps of both governors, and has each of them recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use kcap_format::Effort;
use kcap_format::proto::governor_step::Reason;
use kcap_format::proto::recording_mode::Capture;
use kcap_format::proto::{Event, GovernorStep, RecordingMode, event};
use tracing::warn;

use crate::capture_governor::{CaptureGovernor, Waiting};
use crate::capture_switch::{CaptureMode, CaptureSwitch};
use crate::clock;
use crate::governor::{Backlog, Governor, Observer};
use crate::pipeline::{JobSender, PACKET_BATCHES, ToSink};
use crate::ring::RingGauge;

/// How often is looked at what waits: a ring of the default size takes longer to fill.
const INTERVAL: Duration = Duration::from_millis(10);

/// What is watched, and what is changed.
pub(crate) struct Watch {
    pub(crate) ring: RingGauge,
    pub(crate) jobs: JobSender,
    pub(crate) sink: Sender<ToSink>,
    pub(crate) governor: Arc<Governor>,
    pub(crate) capture: CaptureGovernor,
    pub(crate) switch: CaptureSwitch,
    /// The programs are off.
    pub(crate) stop: Arc<AtomicBool>,
}

/// How long less was captured than was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reduced {
    pub(crate) headers: Duration,
    pub(crate) counts: Duration,
}

impl Watch {
    /// Watches until told to stop.
    pub(crate) fn run(mut self) -> Reduced {
        let mut observer = Observer::new(Instant::now());
        let asked = self.mode();
        let mut reduced = Reduced::default();
        let mut before = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            thread::sleep(INTERVAL);
            let now = Instant::now();
            match self.capture.mode() {
                CaptureMode::Full => {}
                CaptureMode::Headers => reduced.headers += now - before,
                CaptureMode::Counts => reduced.counts += now - before,
            }
            before = now;
            let waiting = self.waiting();
            let from = self.mode();
            if let Some(reason) = self.governor.observe(&mut observer, waiting.backlog, now) {
                self.tell(from, reason, waiting, asked);
            }
            let from = self.mode();
            if let Some(reason) = self.capture.observe(waiting, now) {
                self.switch(reason);
                self.tell(from, reason, waiting, asked);
            }
        }
        reduced
    }

    fn waiting(&self) -> Waiting {
        let part = |count: usize| count as f64 / PACKET_BATCHES as f64;
        let backlog = Backlog { compress: part(self.jobs.waiting()), write: part(self.sink.len()) };
        Waiting { backlog, ring: self.ring.filled() }
    }

    fn switch(&mut self, reason: Reason) {
        let mode = self.capture.mode();
        if let Err(error) = self.switch.set(mode) {
            // The programs go on as before; what they capture says so itself.
            warn!(%error, "what is captured could not be changed");
            return;
        }
        match (mode, reason) {
            (CaptureMode::Full, _) => warn!("everything is captured again"),
            (CaptureMode::Headers, Reason::Calm) => warn!("headers are captured again"),
            (CaptureMode::Headers, _) => warn!("headers alone are captured: the recorder can't keep up"),
            (CaptureMode::Counts, _) => warn!("packets are only counted: the recorder can't keep up"),
        }
    }

    fn mode(&self) -> RecordingMode {
        let capture = match self.capture.mode() {
            CaptureMode::Full => Capture::Full,
            CaptureMode::Headers => Capture::Headers,
            CaptureMode::Counts => Capture::Counts,
        };
        let compression_level = match self.governor.choose().effort {
            Effort::Stored => 0,
            Effort::Zstd { level } => level,
        };
        RecordingMode { capture: capture.into(), compression_level }
    }

    fn tell(&self, from: RecordingMode, reason: Reason, waiting: Waiting, asked: RecordingMode) {
        let to = self.mode();
        let step = GovernorStep {
            from: Some(from),
            to: Some(to),
            reason: reason.into(),
            waiting_for_processor_percent: percent(waiting.backlog.compress),
            waiting_for_disk_percent: percent(waiting.backlog.write),
            ring_filled_percent: percent(waiting.ring),
        };
        let event = Some(event::Event::Governor(step));
        let event = Event { time_ns: clock::boot_ns(), event, ..Event::default() };
        // The sink ends after all that send to it.
        let _ = self.sink.send(ToSink::Stepped { event: Box::new(event), in_force: to != asked });
    }
}

fn percent(part: f64) -> u32 {
    (part.clamp(0.0, 1.0) * 100.0).round() as u32
}
