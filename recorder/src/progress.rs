//! The line that says each second how the recording goes; on terminals only.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::recording::Written;
use crate::units::{format_count, format_size};

/// Numbers that the sink publishes.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    packets: AtomicU64,
    raw_bytes: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    packets: u64,
    raw_bytes: u64,
    bytes: u64,
    lost: u64,
}

impl Progress {
    /// Sets the numbers of the next line.
    pub(crate) fn publish(&self, written: &Written, lost: u64) {
        self.packets.store(written.packets, Ordering::Relaxed);
        self.raw_bytes.store(written.raw_bytes, Ordering::Relaxed);
        self.bytes.store(written.bytes, Ordering::Relaxed);
        self.lost.store(lost, Ordering::Relaxed);
    }

    fn numbers(&self) -> Numbers {
        Numbers {
            packets: self.packets.load(Ordering::Relaxed),
            raw_bytes: self.raw_bytes.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }
}

/// Writes the line to standard error, over the one before.
pub(crate) struct ProgressLine {
    shown: bool,
    begun: Instant,
    previous: Numbers,
    previous_at: Instant,
}

impl ProgressLine {
    /// A line, unless standard error is no terminal or quiet was asked for.
    pub(crate) fn new(quiet: bool, now: Instant) -> Self {
        let shown = !quiet && std::io::stderr().is_terminal();
        Self { shown, begun: now, previous: Numbers::default(), previous_at: now }
    }

    /// Shows the numbers of now.
    pub(crate) fn show(&mut self, progress: &Progress, now: Instant) {
        if !self.shown {
            return;
        }
        let numbers = progress.numbers();
        let line = line(self.previous, numbers, now - self.previous_at, now - self.begun);
        self.previous = numbers;
        self.previous_at = now;
        // A terminal that went away is no reason to stop recording.
        let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
    }

    /// Makes the line disappear.
    pub(crate) fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(before: Numbers, now: Numbers, interval: Duration, total: Duration) -> String {
    let seconds = interval.as_secs_f64().max(0.001);
    let rate = |now: u64, before: u64| (now.saturating_sub(before) as f64 / seconds) as u64;
    // At first the snapshot is most of what was written, which isn't among the raw bytes.
    let ratio = if now.raw_bytes > now.bytes {
        format!("  compressed {:.1}:1", now.raw_bytes as f64 / now.bytes.max(1) as f64)
    } else {
        String::new()
    };
    format!(
        "{} s  {} packets/s  {}/s on disk  {}{ratio}  {} lost",
        total.as_secs(),
        format_count(rate(now.packets, before.packets)),
        format_size(rate(now.bytes, before.bytes)),
        format_size(now.bytes),
        format_count(now.lost)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_rates_and_sums() {
        let before = Numbers { packets: 1000, raw_bytes: 0, bytes: 1 << 20, lost: 0 };
        let now = Numbers { packets: 5000, raw_bytes: 10 << 20, bytes: 5 << 20, lost: 12 };
        let text = line(before, now, Duration::from_secs(2), Duration::from_secs(7));
        assert_eq!(text, "7 s  2,000 packets/s  2.0 MiB/s on disk  5.0 MiB  compressed 2.0:1  12 lost");
        assert!(line(now, now, Duration::ZERO, Duration::ZERO).contains("0 packets/s"));
    }
}
