//! What became of every event: the books from which LOSS blocks are written.
//!
//! The kernel counts each run of a program under exactly one fate, and `stored` there means "put into a
//! ring". Here each record from a ring gets its final fate: written to a segment, or lost on the way. An
//! event enters the books when its fate is known, so that each report satisfies `seen = filtered + stored +
//! lost`; what lies in a ring or queue is in flight.

use std::collections::BTreeMap;

use kcap_format::proto::{LossCause, LossProgram, LossReport, Lost};
use kcap_recorder_ebpf::Counters;

/// A kernel program (`LossProgram`) on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Source {
    pub(crate) program: u8,
    pub(crate) cpu: u16,
}

/// How many records of each source something holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    counts: Vec<(Source, u64)>,
}

impl Tally {
    /// Counts a record. There are few sources, and neighbours mostly have the same one: a list is enough.
    pub(crate) fn add(&mut self, source: Source, count: u64) {
        if let Some(index) = self.counts.iter().position(|(known, _)| *known == source) {
            self.counts[index].1 += count;
            self.counts.swap(0, index);
        } else {
            self.counts.push((source, count));
        }
    }

    /// Records of all sources.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    fn iter(&self) -> impl Iterator<Item = (Source, u64)> {
        self.counts.iter().copied()
    }

    /// True when both hold the same counts.
    #[cfg(test)]
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let sorted = |tally: &Self| tally.iter().collect::<BTreeMap<_, _>>();
        sorted(self) == sorted(other)
    }
}

/// Books of one source.
#[derive(Debug, Default)]
struct Entry {
    /// The kernel's counters when they were last read.
    kernel: Counters,
    /// Fates that no report has told yet.
    filtered: u64,
    stored: u64,
    lost: BTreeMap<LossCause, u64>,
    /// Events in all reports so far.
    reported_seen: u64,
    /// End of the last report.
    reported_until_ns: u64,
}

impl Entry {
    fn unreported(&self) -> u64 {
        self.filtered + self.stored + self.lost.values().sum::<u64>()
    }

    fn lose(&mut self, cause: LossCause, count: u64) {
        if count > 0 {
            *self.lost.entry(cause).or_default() += count;
        }
    }

    /// Takes what is unreported into a report that ends at `now_ns`.
    fn report(&mut self, source: Source, now_ns: u64) -> LossReport {
        let seen = self.unreported();
        let lost = std::mem::take(&mut self.lost);
        self.reported_seen += seen;
        LossReport {
            begin_ns: std::mem::replace(&mut self.reported_until_ns, now_ns),
            end_ns: now_ns,
            program: i32::from(source.program),
            cpu: u32::from(source.cpu),
            seen,
            filtered: std::mem::take(&mut self.filtered),
            stored: std::mem::take(&mut self.stored),
            lost: lost.into_iter().map(|(cause, count)| Lost { cause: cause.into(), count }).collect(),
            kernel_seen: self.kernel.seen,
            in_flight: self.kernel.seen.saturating_sub(self.reported_seen),
        }
    }
}

/// The books of a recording.
#[derive(Debug, Default)]
pub(crate) struct Account {
    entries: BTreeMap<Source, Entry>,
    begin_ns: u64,
    totals: Totals,
}

/// Sums over the whole recording, for progress and summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) filtered: u64,
    pub(crate) stored: u64,
    pub(crate) lost: BTreeMap<LossCause, u64>,
}

impl Totals {
    /// Lost events of all causes.
    pub(crate) fn lost_total(&self) -> u64 {
        self.lost.values().sum()
    }
}

impl Account {
    /// Books that begin at a time since boot.
    pub(crate) fn new(begin_ns: u64) -> Self {
        Self { begin_ns, ..Self::default() }
    }

    /// Books the kernel's counters: what was filtered or lost there since they were read before.
    pub(crate) fn read_kernel(&mut self, counters: impl IntoIterator<Item = (Source, Counters)>) {
        for (source, now) in counters {
            if now == Counters::default() {
                continue;
            }
            let entry = entry_of(&mut self.entries, self.begin_ns, source);
            let before = std::mem::replace(&mut entry.kernel, now);
            let filtered = now.filtered.saturating_sub(before.filtered);
            entry.filtered += filtered;
            self.totals.filtered += filtered;
            for (cause, now, before) in [
                (LossCause::RingFull, now.lost_ring_full, before.lost_ring_full),
                (LossCause::CopyFailed, now.lost_copy_failed, before.lost_copy_failed),
                (LossCause::StateFull, now.lost_state_full, before.lost_state_full),
                (LossCause::Overload, now.lost_overload, before.lost_overload),
            ] {
                let count = now.saturating_sub(before);
                entry.lose(cause, count);
                lose_total(&mut self.totals, cause, count);
            }
        }
    }

    /// Books records that were written to the open segment.
    pub(crate) fn stored(&mut self, tally: &Tally) {
        for (source, count) in tally.iter() {
            entry_of(&mut self.entries, self.begin_ns, source).stored += count;
            self.totals.stored += count;
        }
    }

    /// Books records that came out of a ring and turned out not to be wanted.
    pub(crate) fn filtered(&mut self, tally: &Tally) {
        for (source, count) in tally.iter() {
            entry_of(&mut self.entries, self.begin_ns, source).filtered += count;
            self.totals.filtered += count;
        }
    }

    /// Books records that came out of a ring but will not be in any segment.
    pub(crate) fn lost(&mut self, tally: &Tally, cause: LossCause) {
        for (source, count) in tally.iter() {
            entry_of(&mut self.entries, self.begin_ns, source).lose(cause, count);
            lose_total(&mut self.totals, cause, count);
        }
    }

    /// Forgets unreported records of a segment that broke: they lie in it, and no report in another segment
    /// may claim them.
    pub(crate) fn segment_broke(&mut self) {
        for entry in self.entries.values_mut() {
            entry.reported_seen += std::mem::take(&mut entry.stored);
        }
    }

    /// Takes back reports that could not be written. What they said is stored lies in the segment that broke.
    pub(crate) fn unreport(&mut self, reports: &[LossReport]) {
        for report in reports.iter().rev() {
            // Both were numbers of a source when the report was made.
            let source = Source { program: report.program as u8, cpu: report.cpu as u16 };
            let Some(entry) = self.entries.get_mut(&source) else { continue };
            entry.reported_seen -= report.seen - report.stored;
            // Whichever report is taken back first, the next one begins where the oldest did.
            entry.reported_until_ns = entry.reported_until_ns.min(report.begin_ns);
            entry.filtered += report.filtered;
            for lost in &report.lost {
                entry.lose(lost.cause(), lost.count);
            }
        }
    }

    /// Reports on every source, also on those of which nothing new is known: the last word of a segment.
    pub(crate) fn report_all(&mut self, now_ns: u64) -> Vec<LossReport> {
        self.report_where(now_ns, |entry| entry.kernel.seen > 0 || entry.unreported() > 0)
    }

    /// Reports on every source of which something became known since its last report.
    pub(crate) fn report_changes(&mut self, now_ns: u64) -> Vec<LossReport> {
        self.report_where(now_ns, |entry| entry.unreported() > 0)
    }

    fn report_where(&mut self, now_ns: u64, wanted: impl Fn(&Entry) -> bool) -> Vec<LossReport> {
        let wanted = self.entries.iter_mut().filter(|(_, entry)| wanted(entry));
        wanted.map(|(source, entry)| entry.report(*source, now_ns)).collect()
    }

    /// Sums since the beginning.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }
}

/// Reports processes that are alive and in no snapshot of the segment that it is written to. It is no program's, and in
/// nobody's books: each segment has its own snapshot.
pub(crate) fn snapshot_report(left_out: u64, now_ns: u64) -> LossReport {
    LossReport {
        begin_ns: now_ns,
        end_ns: now_ns,
        program: LossProgram::SnapshotProcesses.into(),
        seen: left_out,
        lost: vec![Lost { cause: LossCause::StateFull.into(), count: left_out }],
        kernel_seen: left_out,
        ..LossReport::default()
    }
}

fn entry_of(entries: &mut BTreeMap<Source, Entry>, begin_ns: u64, source: Source) -> &mut Entry {
    entries.entry(source).or_insert_with(|| Entry { reported_until_ns: begin_ns, ..Entry::default() })
}

fn lose_total(totals: &mut Totals, cause: LossCause, count: u64) {
    if count > 0 {
        *totals.lost.entry(cause).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EGRESS: Source = Source { program: 2, cpu: 1 };

    fn counters(seen: u64, filtered: u64, stored: u64, lost_ring_full: u64) -> Counters {
        Counters { seen, filtered, stored, lost_ring_full, ..Counters::default() }
    }

    fn tally(count: u64) -> Tally {
        let mut tally = Tally::default();
        tally.add(EGRESS, count);
        tally
    }

    fn lost(report: &LossReport) -> u64 {
        report.lost.iter().map(|lost| lost.count).sum()
    }

    #[test]
    fn every_report_adds_up_and_nothing_is_in_flight_at_the_end() {
        let mut account = Account::new(5);
        account.read_kernel([(EGRESS, counters(100, 10, 80, 10))]);
        account.stored(&tally(30));
        let first = account.report_all(50);
        assert_eq!((first[0].begin_ns, first[0].end_ns), (5, 50));
        assert_eq!((first[0].seen, first[0].filtered, first[0].stored, lost(&first[0])), (50, 10, 30, 10));
        assert_eq!((first[0].kernel_seen, first[0].in_flight), (100, 50));

        account.stored(&tally(50));
        account.lost(&tally(20), LossCause::DiskFull);
        account.read_kernel([(EGRESS, counters(120, 10, 100, 10))]);
        let second = account.report_all(60);
        assert_eq!(
            (second[0].begin_ns, second[0].seen, second[0].stored, lost(&second[0])),
            (50, 70, 50, 20)
        );
        assert_eq!(second[0].in_flight, 0);
        assert_eq!(first[0].seen + second[0].seen, second[0].kernel_seen);
        assert_eq!(account.totals().lost_total(), 30);
    }

    #[test]
    fn only_the_last_report_tells_of_sources_without_news() {
        let other = Source { program: 1, cpu: 0 };
        let mut account = Account::new(0);
        account.read_kernel([(EGRESS, counters(7, 0, 5, 2)), (other, counters(5, 0, 5, 0))]);
        let reports = account.report_changes(10);
        assert_eq!(reports.len(), 1);
        assert_eq!((reports[0].program, reports[0].cpu, reports[0].in_flight), (2, 1, 5));
        assert!(account.report_changes(20).is_empty());
        let last = account.report_all(30);
        assert_eq!(
            last.iter().map(|report| (report.seen, report.in_flight)).collect::<Vec<_>>(),
            [(0, 5), (0, 5)]
        );
    }

    #[test]
    fn records_of_a_broken_segment_are_claimed_by_no_other() {
        let mut account = Account::new(0);
        account.read_kernel([(EGRESS, counters(9, 0, 9, 0))]);
        account.stored(&tally(4));
        account.segment_broke();
        account.lost(&tally(5), LossCause::WriteFailed);
        let reports = account.report_all(10);
        assert_eq!((reports[0].stored, reports[0].seen, reports[0].in_flight), (0, 5, 0));
    }

    #[test]
    fn a_report_that_was_not_written_is_made_again() {
        let mut account = Account::new(1);
        account.read_kernel([(EGRESS, counters(10, 1, 7, 2))]);
        account.stored(&tally(4));
        let lost_report = account.report_all(10);
        account.unreport(&lost_report);
        account.segment_broke();
        account.stored(&tally(3));
        let reports = account.report_all(20);
        assert_eq!(
            (reports[0].begin_ns, reports[0].seen, reports[0].stored, reports[0].in_flight),
            (1, 6, 3, 0)
        );
        assert_eq!((reports[0].filtered, lost(&reports[0])), (1, 2));
    }

    /// A segment without records is discarded with the reports in it, and only then is the one taken back that broke it.
    #[test]
    fn the_next_report_begins_with_the_oldest_that_was_taken_back() {
        let mut account = Account::new(1);
        account.read_kernel([(EGRESS, counters(3, 3, 0, 0))]);
        let older = account.report_changes(10);
        account.read_kernel([(EGRESS, counters(5, 5, 0, 0))]);
        let newer = account.report_changes(20);
        account.unreport(&older);
        account.unreport(&newer);
        let reports = account.report_all(30);
        assert_eq!((reports[0].begin_ns, reports[0].end_ns, reports[0].filtered), (1, 30, 5));
    }

    #[test]
    fn a_tally_keeps_sources_apart() {
        let mut tally = Tally::default();
        for cpu in [0, 1, 0, 0, 1] {
            tally.add(Source { program: 1, cpu }, 1);
        }
        assert_eq!(tally.total(), 5);
        let mut counts: Vec<_> = tally.iter().map(|(source, count)| (source.cpu, count)).collect();
        counts.sort_unstable();
        assert_eq!(counts, [(0, 3), (1, 2)]);
    }
}
