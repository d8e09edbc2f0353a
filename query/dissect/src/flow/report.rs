//! Reports of flows that go on: Packetbeat's flows.

use super::model::Counters;

/// What was counted of a flow up to some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowReport {
    /// Which report of its series, from 0.
    pub number: u32,
    /// Which series of the flow: a flow that is silent for longer than the timeout begins another when it goes on.
    pub series: u32,
    /// First packet of the series, in nanoseconds since 1970.
    pub start_ns: i64,
    /// Last packet that is counted.
    pub end_ns: i64,
    /// When the report was due: a multiple of the period after the start, or the last packet for a final one.
    pub due_ns: i64,
    /// The last report of the series.
    pub is_final: bool,
    /// What the client and the server sent since the start of the series.
    pub totals: [Counters; 2],
    /// What they sent since the report before.
    pub deltas: [Counters; 2],
}

/// Where a flow's reports are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReportState {
    number: u32,
    series: u32,
    start_ns: i64,
    next_due_ns: Option<i64>,
    base: [Counters; 2],
    before: [Counters; 2],
}

impl ReportState {
    /// Begins a series with the packet at this time, before it is counted.
    pub(super) fn begin(&mut self, counters: &[Counters; 2], now_ns: i64, period_ns: Option<i64>) {
        self.number = 0;
        self.start_ns = now_ns;
        self.next_due_ns = period_ns.map(|period| now_ns.saturating_add(period));
        self.base = *counters;
        self.before = *counters;
    }

    /// The report that is due before a packet at `now_ns` is counted, if any: several periods without packets between have
    /// one report. The last packet was at `last_ns`.
    pub(super) fn due(
        &mut self,
        counters: &[Counters; 2],
        last_ns: i64,
        now_ns: i64,
        options: (i64, Option<i64>),
    ) -> Option<FlowReport> {
        let (timeout_ns, period_ns) = options;
        if now_ns.saturating_sub(last_ns) > timeout_ns {
            let report = self.finish(counters, last_ns);
            self.series += 1;
            self.begin(counters, now_ns, period_ns);
            return Some(report);
        }
        let due_ns = self.next_due_ns.filter(|due_ns| *due_ns <= now_ns)?;
        let report = self.make(counters, last_ns, due_ns, false);
        let period = period_ns.unwrap_or(i64::MAX).max(1);
        let periods = (now_ns - due_ns) / period + 1;
        self.next_due_ns = Some(due_ns.saturating_add(periods.saturating_mul(period)));
        Some(report)
    }

    /// The last report of the series.
    pub(super) fn finish(&mut self, counters: &[Counters; 2], last_ns: i64) -> FlowReport {
        self.make(counters, last_ns, last_ns, true)
    }

    fn make(&mut self, counters: &[Counters; 2], end_ns: i64, due_ns: i64, is_final: bool) -> FlowReport {
        let since = |base: &[Counters; 2]| [counters[0].since(&base[0]), counters[1].since(&base[1])];
        let report = FlowReport {
            number: self.number,
            series: self.series,
            start_ns: self.start_ns,
            end_ns,
            due_ns,
            is_final,
            totals: since(&self.base),
            deltas: since(&self.before),
        };
        self.number += 1;
        self.before = *counters;
        report
    }
}

impl Counters {
    fn since(&self, base: &Self) -> Self {
        Self {
            packets: self.packets - base.packets,
            bytes: self.bytes - base.bytes,
            ip_bytes: self.ip_bytes - base.ip_bytes,
            payload_bytes: self.payload_bytes - base.payload_bytes,
            truncated_bytes: self.truncated_bytes - base.truncated_bytes,
        }
    }
}
