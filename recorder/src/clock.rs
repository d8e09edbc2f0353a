//! The clocks: bracketed samples that let readers turn time since boot into wall time.

use std::time::Duration;

use kcap_format::proto::ClockSample;
use nix::time::{ClockId, clock_gettime};

/// Tries for a sample whose two boot readings are close to each other.
const SAMPLE_TRIES: usize = 4;
/// A sample with this little between its boot readings is taken at once.
const SAMPLE_WIDTH_GOOD_NS: u64 = 2_000;

/// Nanoseconds since boot, suspended time included (`CLOCK_BOOTTIME`): the clock of all records.
pub(crate) fn boot_ns() -> u64 {
    read_ns(ClockId::CLOCK_BOOTTIME)
}

/// Processor time that the calling thread has used.
pub(crate) fn thread_time() -> Duration {
    Duration::from_nanos(read_ns(ClockId::CLOCK_THREAD_CPUTIME_ID))
}

/// Reads all clocks between two readings of the boot clock, and again if something came between.
pub(crate) fn sample() -> ClockSample {
    let mut best = sample_once();
    for _ in 1..SAMPLE_TRIES {
        if width_ns(&best) <= SAMPLE_WIDTH_GOOD_NS {
            break;
        }
        let again = sample_once();
        if width_ns(&again) < width_ns(&best) {
            best = again;
        }
    }
    best
}

fn sample_once() -> ClockSample {
    let boot_before_ns = boot_ns();
    let realtime_ns = read_ns(ClockId::CLOCK_REALTIME);
    let monotonic_ns = read_ns(ClockId::CLOCK_MONOTONIC);
    let tai_ns = read_ns(ClockId::CLOCK_TAI);
    let boot_after_ns = boot_ns();
    // Without an offset from NTP the kernel's TAI equals UTC, which it never does in truth.
    let has_tai = tai_ns.abs_diff(realtime_ns) > 500_000_000;
    let tai_ns = if has_tai { tai_ns } else { 0 };
    ClockSample { boot_before_ns, boot_after_ns, monotonic_ns, realtime_ns, tai_ns }
}

fn width_ns(sample: &ClockSample) -> u64 {
    sample.boot_after_ns.saturating_sub(sample.boot_before_ns)
}

/// These clocks exist on every kernel that can be recorded, so that a failure is not worth an error path: it
/// reads 0.
fn read_ns(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| {
        u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_brackets_its_clocks_and_time_goes_on() {
        let first = sample();
        let second = sample();
        assert!(first.boot_before_ns > 0 && first.boot_before_ns <= first.boot_after_ns);
        assert!(first.boot_after_ns <= second.boot_before_ns);
        assert!(first.monotonic_ns < second.monotonic_ns);
        // 2020-01-01: a clock that was never set would be before it.
        assert!(first.realtime_ns > 1_577_836_800_000_000_000);
    }
}
