//! What a recording amounted to, in a few lines.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use kcap_format::proto::LossCause;

use crate::sink::Outcome;
use crate::units::{format_count, format_size};
use crate::watch::Reduced;

/// Prints itself as the summary.
pub(crate) struct Summary<'a> {
    pub(crate) outcome: &'a Outcome,
    pub(crate) folder: &'a Path,
    pub(crate) duration: Duration,
    pub(crate) reduced: Reduced,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = &self.outcome.written;
        let totals = &self.outcome.totals;
        writeln!(
            formatter,
            "recorded {} packets and {} events in {:.1} s",
            format_count(written.packets),
            format_count(written.events),
            self.duration.as_secs_f64()
        )?;
        write!(
            formatter,
            "wrote    {} in {} to {}",
            format_size(written.bytes),
            plural(written.segments, "segment"),
            self.folder.display(),
        )?;
        // Of a short recording the snapshot is most, which isn't among the raw bytes.
        if written.raw_bytes > written.bytes {
            let ratio = written.raw_bytes as f64 / written.bytes.max(1) as f64;
            write!(formatter, " ({} before compression, {ratio:.1}x)", format_size(written.raw_bytes))?;
        }
        writeln!(formatter)?;
        if written.segments_broken > 0 {
            writeln!(
                formatter,
                "broken   {} ended by failed writes",
                plural(written.segments_broken, "segment")
            )?;
        }
        let lost = totals.lost_total();
        let seen = totals.filtered + totals.stored + lost;
        writeln!(
            formatter,
            "events   {} seen = {} filtered + {} stored + {} lost",
            format_count(seen),
            format_count(totals.filtered),
            format_count(totals.stored),
            format_count(lost)
        )?;
        for (cause, count) in &totals.lost {
            let part = 100.0 * *count as f64 / seen.max(1) as f64;
            writeln!(formatter, "lost     {} {} ({part:.2}%)", format_count(*count), explain(*cause))?;
        }
        for (time, what) in [(self.reduced.headers, "headers"), (self.reduced.counts, "counts")] {
            if !time.is_zero() {
                let seconds = time.as_secs_f64();
                writeln!(
                    formatter,
                    "reduced  to {what} for {seconds:.1} s, because the recorder could not keep up"
                )?;
            }
        }
        Ok(())
    }
}

/// A cause of loss, and what can be done about it.
fn explain(cause: LossCause) -> &'static str {
    match cause {
        LossCause::RingFull => {
            "because a ring was full: try a larger --packet-buffer or --event-buffer, or a smaller --snaplen"
        }
        LossCause::CopyFailed => "because the kernel refused to copy their bytes",
        LossCause::BadRecord => "because a ring record made no sense: please report this",
        LossCause::WriteFailed => "because writing failed: see the messages above",
        LossCause::DiskFull => {
            "because the disk was full, or --max-disk reached: make room, or lower --max-disk"
        }
        LossCause::StateFull => "because a table in the kernel was full",
        LossCause::Overload => {
            "because packets were only counted while the recorder could not keep up: try a faster disk, a smaller \
             --snaplen, or a larger --packet-buffer"
        }
        LossCause::Unspecified => "for an unknown cause",
    }
}

fn plural(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", format_count(count), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Totals;
    use crate::recording::Written;

    #[test]
    fn sums_and_causes_are_named() {
        let written = Written {
            segments: 2,
            bytes: 1 << 20,
            packets: 1500,
            events: 20,
            raw_bytes: 5 << 20,
            ..Written::default()
        };
        let lost = [(LossCause::RingFull, 30), (LossCause::DiskFull, 10)].into();
        let totals = Totals { filtered: 440, stored: 1520, lost };
        let outcome = Outcome { written, totals, sealed: true };
        let text = Summary {
            outcome: &outcome,
            folder: Path::new("cap"),
            duration: Duration::from_millis(2500),
            reduced: Reduced { headers: Duration::from_millis(1250), counts: Duration::ZERO },
        }
        .to_string();
        assert!(text.contains("reduced  to headers for 1.2 s") && !text.contains("to counts"), "{text}");
        assert!(text.contains("recorded 1,500 packets and 20 events in 2.5 s"), "{text}");
        assert!(text.contains("1.0 MiB in 2 segments to cap (5.0 MiB before compression, 5.0x)"), "{text}");
        assert!(text.contains("2,000 seen = 440 filtered + 1,520 stored + 40 lost"), "{text}");
        assert!(text.contains("lost     30 because a ring was full") && text.contains("(1.50%)"), "{text}");
        assert!(text.contains("lost     10 because the disk was full"), "{text}");
    }

    #[test]
    fn what_did_not_shrink_has_no_ratio() {
        let written = Written { segments: 1, bytes: 9000, raw_bytes: 244, ..Written::default() };
        let outcome = Outcome { written, totals: Totals::default(), sealed: true };
        let text = Summary {
            outcome: &outcome,
            folder: Path::new("cap"),
            duration: Duration::from_secs(1),
            reduced: Reduced::default(),
        }
        .to_string();
        assert!(!text.contains("reduced"), "{text}");
        assert!(text.contains("in 1 segment to cap\n"), "{text}");
    }
}
