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
use crate::dormancy::Bell;
use crate::governor::{Backlog, Governor, Observer};
use crate::pipeline::{JobSender, PACKET_BATCHES, ToSink};
use crate::ring::RingGauge;

/// How often is looked at what waits: a ring of the default size takes longer to fill.
const INTERVAL: Duration = Duration::from_millis(10);
/// The same while nobody is wanted: so much later may it be seen that packets come again.
const ASLEEP_INTERVAL: Duration = Duration::from_millis(100);

/// What is watched, and what is changed.
pub(crate) struct Watch {
    pub(crate) ring: RingGauge,
    pub(crate) jobs: JobSender,
    pub(crate) sink: Sender<ToSink>,
    pub(crate) governor: Arc<Governor>,
    pub(crate) capture: CaptureGovernor,
    pub(crate) switch: CaptureSwitch,
    /// When nobody is wanted at first.
    pub(crate) bell: Option<Bell>,
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
        let capture = self.capture_mode().into();
        let asked = RecordingMode { capture, ..self.mode() };
        let mut reduced = Reduced::default();
        let mut before = Instant::now();
        if self.bell.is_some() {
            self.tell(asked, Reason::NobodyWanted, self.waiting(), asked);
        }
        while !self.stop.load(Ordering::Acquire) {
            thread::sleep(if self.bell.is_some() { ASLEEP_INTERVAL } else { INTERVAL });
            self.look_for_call(asked);
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
        self.look_for_call(asked);
        reduced
    }

    /// Tells when the programs that see packets were attached.
    fn look_for_call(&mut self, asked: RecordingMode) {
        let Some(woken) = self.bell.as_ref().and_then(Bell::woken) else { return };
        let from = self.mode();
        self.bell = None;
        let step = GovernorStep {
            from: Some(from),
            to: Some(self.mode()),
            reason: Reason::Wanted.into(),
            asked_ns: woken.asked_ns,
            early_sockets: woken.early_sockets,
            ..GovernorStep::default()
        };
        self.send(step, woken.attached_ns, asked);
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

    fn capture_mode(&self) -> Capture {
        match self.capture.mode() {
            CaptureMode::Full => Capture::Full,
            CaptureMode::Headers => Capture::Headers,
            CaptureMode::Counts => Capture::Counts,
        }
    }

    fn mode(&self) -> RecordingMode {
        let capture = if self.bell.is_some() { Capture::Asleep } else { self.capture_mode() };
        let compression_level = match self.governor.choose().effort {
            Effort::Stored => 0,
            Effort::Zstd { level } => level,
        };
        RecordingMode { capture: capture.into(), compression_level }
    }

    fn tell(&self, from: RecordingMode, reason: Reason, waiting: Waiting, asked: RecordingMode) {
        let step = GovernorStep {
            from: Some(from),
            to: Some(self.mode()),
            reason: reason.into(),
            waiting_for_processor_percent: percent(waiting.backlog.compress),
            waiting_for_disk_percent: percent(waiting.backlog.write),
            ring_filled_percent: percent(waiting.ring),
            ..GovernorStep::default()
        };
        self.send(step, clock::boot_ns(), asked);
    }

    fn send(&self, step: GovernorStep, time_ns: u64, asked: RecordingMode) {
        let in_force = step.to != Some(asked);
        let event = Some(event::Event::Governor(step));
        let event = Event { time_ns, event, ..Event::default() };
        // The sink ends after all that send to it.
        let _ = self.sink.send(ToSink::Stepped { event: Box::new(event), in_force });
    }
}

fn percent(part: f64) -> u32 {
    (part.clamp(0.0, 1.0) * 100.0).round() as u32
}
