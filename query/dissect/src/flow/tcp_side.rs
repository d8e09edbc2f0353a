//! What one side's sequence numbers tell, from headers alone: what was sent again, came late, or is missing.
//!
//! Retransmissions and out-of-order segments are told apart by Wireshark's rules
//! (`tcp_analyze_sequence_number` in `packet-tcp.c`), so that the numbers agree with what people see there.

use super::model::TcpSideCounters;
use crate::stream::{BEHIND_MAX, offset_of};

/// Runs of bytes behind a hole that are kept; with more, the first hole is called missing.
const RUNS_MAX: usize = 64;
/// Wireshark's limit for "out of order" while the round trip time is not known.
const OUT_OF_ORDER_DEFAULT_NS: i64 = 3_000_000;
/// Time after the last duplicate acknowledgement within which a retransmission is a fast one.
const FAST_RETRANSMISSION_NS: i64 = 20_000_000;

/// What a segment is, compared with those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ordinary,
    KeepAlive,
    ZeroWindowProbe,
    OutOfOrder,
    Retransmission,
}

/// A segment's header, as far as it matters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) sequence: u32,
    pub(super) acknowledgement: Option<u32>,
    pub(super) window: u16,
    pub(super) payload_len: u32,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) time_ns: i64,
}

impl Header {
    fn sequence_len(&self) -> u32 {
        self.payload_len + u32::from(self.syn) + u32::from(self.fin)
    }
}

/// One side.
#[derive(Debug, Default)]
pub(super) struct TcpSide {
    counters: TcpSideCounters,
    initial_sequence: Option<u32>,
    /// Sequence number of offset 0: the first byte after the SYN.
    start: Option<u32>,
    start_is_expected: bool,
    /// Everything before this offset was seen, or is counted as missing.
    contiguous: u64,
    /// What was seen behind it: disjoint and in order.
    runs: Vec<(u64, u64)>,
    /// The length that a FIN gave.
    end: Option<u64>,
    /// What the other side acknowledged.
    acknowledged: u64,
    /// Holes were told to the history up to here, and how many.
    gaps_told_to: u64,
    gaps_told: u32,
    zeek_retransmissions: u32,
    next_sequence: Option<u32>,
    next_sequence_ns: i64,
    last_acknowledgement: Option<u32>,
    last_acknowledgement_ns: i64,
    duplicate_acks_in_a_row: u32,
    window: u16,
    last_syn: Option<u32>,
    last_fin: Option<u32>,
    last_rst: Option<u32>,
}

fn is_before(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}

impl TcpSide {
    /// The counters as if the flow ended now.
    pub(super) fn counters(&self) -> TcpSideCounters {
        let mut counters = self.counters;
        let mut at = self.contiguous;
        let mut hole = |from: u64, to: u64| {
            if to > from {
                counters.gaps += 1;
                counters.missing_bytes += to - from;
            }
        };
        for &(first, end) in &self.runs {
            hole(at, first);
            at = end;
        }
        hole(at, self.expected_end(at));
        counters
    }

    /// Where the stream must end at least, given that it was seen up to `seen`.
    fn expected_end(&self, seen: u64) -> u64 {
        match self.end {
            Some(end) => end,
            // The acknowledgement of a FIN that was not recorded counts one.
            None if self.acknowledged == seen + 1 => seen,
            None => self.acknowledged,
        }
    }

    pub(super) fn stream_bytes(&self) -> u64 {
        let seen = self.seen_end();
        match self.end {
            Some(end) => end.max(seen),
            None => seen.max(self.acknowledged),
        }
    }

    pub(super) fn initial_sequence(&self) -> Option<u32> {
        self.initial_sequence
    }

    /// True when all bytes from the SYN to what is known of the end were seen.
    pub(super) fn is_whole(&self) -> bool {
        self.initial_sequence.is_some() && self.counters().missing_bytes == 0
    }

    /// True when a SYN with this number begins another connection: it is not the one that this side sent, or that the other
    /// side acknowledged.
    pub(super) fn is_other_syn(&self, sequence: u32) -> bool {
        self.start.is_some_and(|start| start != sequence.wrapping_add(1))
    }

    /// True when the side has sent this flag with this number before, or never with another: Zeek tells a flag once for each
    /// number.
    pub(super) fn repeats_syn(&mut self, sequence: u32) -> bool {
        self.last_syn.replace(sequence) == Some(sequence)
    }

    pub(super) fn repeats_fin(&mut self, sequence: u32) -> bool {
        self.last_fin.replace(sequence) == Some(sequence)
    }

    pub(super) fn repeats_rst(&mut self, sequence: u32) -> bool {
        self.last_rst.replace(sequence) == Some(sequence)
    }

    fn seen_end(&self) -> u64 {
        self.runs.last().map_or(self.contiguous, |(_, end)| *end)
    }

    /// Counts a segment that this side sent to `peer`, and says what it is. `round_trip_ns` is the handshake's, if known.
    pub(super) fn segment(&mut self, header: &Header, peer: &Self, round_trip_ns: Option<i64>) -> Kind {
        let kind = self.classify(header, peer, round_trip_ns);
        match kind {
            Kind::Retransmission => {
                self.counters.retransmissions += 1;
                self.counters.retransmitted_bytes += u64::from(header.payload_len);
            }
            Kind::OutOfOrder => self.counters.out_of_order += 1,
            Kind::KeepAlive => self.counters.keep_alives += 1,
            Kind::Ordinary | Kind::ZeroWindowProbe => {}
        }
        if header.window == 0 && !header.rst {
            self.counters.zero_windows += 1;
        }
        self.count_acknowledgement(header);
        let next = header.sequence.wrapping_add(header.sequence_len());
        let advances = self.next_sequence.is_none_or(|before| is_before(before, next));
        if advances && kind != Kind::ZeroWindowProbe && !header.rst {
            self.next_sequence = Some(next);
            self.next_sequence_ns = header.time_ns;
        }
        if kind != Kind::KeepAlive {
            self.cover(header);
        }
        kind
    }

    fn classify(&self, header: &Header, peer: &Self, round_trip_ns: Option<i64>) -> Kind {
        let (sequence, len) = (header.sequence, header.payload_len);
        let flagged = header.syn || header.fin;
        let one_before = self.next_sequence == Some(sequence.wrapping_add(1));
        if len <= 1 && one_before && !flagged && !header.rst {
            return Kind::KeepAlive;
        }
        let acknowledged = peer.last_acknowledgement;
        if len == 1 && self.next_sequence == Some(sequence) && peer.window == 0 && acknowledged.is_some() {
            return Kind::ZeroWindowProbe;
        }
        let end = sequence.wrapping_add(len);
        if len > 0 && acknowledged.is_some_and(|acknowledged| !is_before(acknowledged, end)) {
            return Kind::Retransmission;
        }
        let Some(next_sequence) = self.next_sequence else { return Kind::Ordinary };
        if (len == 0 && !flagged) || !is_before(sequence, next_sequence) {
            return Kind::Ordinary;
        }
        // More than a zero window probe, and it adds data.
        if len > 1 && one_before {
            return Kind::Ordinary;
        }
        let since_acknowledgement_ns = header.time_ns.saturating_sub(peer.last_acknowledgement_ns);
        let is_fast = peer.duplicate_acks_in_a_row >= 2
            && acknowledged == Some(sequence)
            && since_acknowledgement_ns < FAST_RETRANSMISSION_NS;
        if is_fast {
            return Kind::Retransmission;
        }
        let limit_ns = round_trip_ns.filter(|round_trip| *round_trip != 0).unwrap_or(OUT_OF_ORDER_DEFAULT_NS);
        // Packets that are older than those before them are never "late" in Wireshark.
        let is_late = (0..limit_ns).contains(&header.time_ns.saturating_sub(self.next_sequence_ns))
            && next_sequence != sequence.wrapping_add(header.sequence_len());
        if is_late { Kind::OutOfOrder } else { Kind::Retransmission }
    }

    /// Duplicate acknowledgements, and what was acknowledged last.
    fn count_acknowledgement(&mut self, header: &Header) {
        let Some(acknowledgement) = header.acknowledgement else {
            self.window = header.window;
            return;
        };
        let same = self.last_acknowledgement == Some(acknowledgement);
        let is_duplicate = same
            && header.payload_len == 0
            && header.window != 0
            && header.window == self.window
            && self.next_sequence == Some(header.sequence)
            && !(header.syn || header.fin || header.rst);
        if is_duplicate {
            self.counters.duplicate_acks += 1;
            self.duplicate_acks_in_a_row += 1;
        } else if !same {
            self.duplicate_acks_in_a_row = 0;
        }
        self.window = header.window;
        self.last_acknowledgement = Some(acknowledgement);
        self.last_acknowledgement_ns = header.time_ns;
    }

    fn start_at(&mut self, header: &Header) -> u32 {
        let sequence = header.sequence;
        if header.syn {
            let start = sequence.wrapping_add(1);
            if self.start.is_some_and(|before| before != start) {
                // What came before belonged to an earlier connection: the answer to a SYN tells so.
                self.forget_sequences();
            }
            self.initial_sequence = Some(sequence);
            self.start_is_expected = false;
            self.start = Some(start);
            return start;
        }
        let untouched = self.contiguous == 0 && self.acknowledged == 0 && self.runs.is_empty();
        if let Some(expected) = self.start.filter(|_| self.start_is_expected && untouched && !header.rst) {
            self.acknowledged = u64::try_from(-offset_of(sequence, expected, 0)).unwrap_or(0);
            self.start = Some(sequence);
        }
        self.start_is_expected = false;
        *self.start.get_or_insert(sequence)
    }

    fn forget_sequences(&mut self) {
        let counters = self.counters();
        *self = Self {
            counters,
            zeek_retransmissions: self.zeek_retransmissions,
            window: self.window,
            last_syn: self.last_syn,
            last_fin: self.last_fin,
            last_rst: self.last_rst,
            ..Self::default()
        };
    }

    fn range(&self, header: &Header, start: u32) -> (i64, i64) {
        let first = offset_of(header.sequence.wrapping_add(u32::from(header.syn)), start, self.contiguous);
        (first, first + i64::from(header.payload_len))
    }

    /// Notes which bytes were seen.
    fn cover(&mut self, header: &Header) {
        let start = self.start_at(header);
        if header.rst {
            return;
        }
        let (first, end) = self.range(header, start);
        let (Ok(end), first) = (u64::try_from(end), first.max(0) as u64) else { return };
        if header.fin {
            self.end.get_or_insert(end);
        }
        if end <= self.contiguous || first >= end {
            return;
        }
        if first <= self.contiguous {
            self.contiguous = end;
            self.join_runs();
            return;
        }
        let from = self.runs.partition_point(|run| run.1 < first);
        let to = self.runs.partition_point(|run| run.0 <= end);
        let (mut first, mut end) = (first, end);
        if from < to {
            first = first.min(self.runs[from].0);
            end = end.max(self.runs[to - 1].1);
        }
        self.runs.splice(from..to, [(first, end)]);
        if self.runs.len() > RUNS_MAX {
            let (first, end) = self.runs.remove(0);
            self.counters.gaps += 1;
            self.counters.missing_bytes += first - self.contiguous;
            self.contiguous = end;
        }
    }

    fn join_runs(&mut self) {
        while let Some(&(first, end)) = self.runs.first().filter(|run| run.0 <= self.contiguous) {
            debug_assert!(first <= end);
            self.contiguous = self.contiguous.max(end);
            self.runs.remove(0);
        }
    }

    /// Takes an acknowledgement of what this side sent. Gives the number of holes that were acknowledged so far when this
    /// one acknowledges another.
    pub(super) fn acknowledged_by_peer(&mut self, acknowledgement: u32) -> Option<u32> {
        let start = *self.start.get_or_insert_with(|| {
            self.start_is_expected = true;
            acknowledgement
        });
        let reference = self.contiguous.max(self.acknowledged);
        let offset = u64::try_from(offset_of(acknowledgement, start, reference)).ok()?;
        let plausible = self.seen_end().max(reference) + u64::from(BEHIND_MAX);
        if offset <= self.acknowledged || offset > plausible {
            return None;
        }
        self.acknowledged = offset;
        let mut at = self.contiguous.max(self.gaps_told_to);
        let limit = self.expected_end(self.seen_end()).min(offset);
        let mut has_hole = false;
        for &(first, end) in &self.runs {
            has_hole |= at < first && at < limit;
            at = at.max(end);
        }
        has_hole |= at < limit;
        if !has_hole {
            return None;
        }
        self.gaps_told_to = limit;
        self.gaps_told += 1;
        Some(self.gaps_told)
    }

    /// Counts what Zeek calls a retransmission: data that don't go beyond what was sent before. Gives their number when this
    /// is one.
    pub(super) fn zeek_retransmission(&mut self, header: &Header) -> Option<u32> {
        let end = header.sequence.wrapping_add(header.sequence_len());
        let is_one = header.payload_len > 0 && self.next_sequence.is_some_and(|next| !is_before(next, end));
        is_one.then(|| {
            self.zeek_retransmissions += 1;
            self.zeek_retransmissions
        })
    }
}
