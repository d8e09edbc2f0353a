//! Reassembly of one direction.

use std::collections::VecDeque;

use super::event::{
    DisagreementFact, DropReason, Dropped, EndReason, Gap, GapReason, PacketRef, StreamData, StreamEvent,
};
use super::options::{SEGMENT_OVERHEAD, StreamBudget, StreamOptions};
use super::pending::{Pending, Piece, differing};
use super::sequence::{BEHIND_MAX, offset_of};

/// Gaps that are remembered, to tell bytes that come late from retransmissions.
const TOLD_GAPS_MAX: usize = 16;

/// The payload of a TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Sequence number of the first byte of the payload: one more than that of the segment when it has a SYN.
    pub sequence: u32,
    /// Captured bytes.
    pub payload: &'a [u8],
    /// Bytes on the wire: as many or more.
    pub payload_len: u32,
    /// The packet.
    pub packet: PacketRef,
}

/// One direction of a TCP connection.
#[derive(Debug, Default)]
pub struct Reassembler {
    /// Sequence number of offset 0, once it is known.
    start: Option<u32>,
    /// `start` is only what the other side said that it expects next.
    start_is_expected: bool,
    /// Offset of the next byte to hand on.
    next: u64,
    /// The length of the stream, once a FIN gave it.
    end: Option<u64>,
    /// What the other side acknowledged.
    acknowledged: u64,
    ended: bool,
    /// Nothing is handed on, because the other direction has to go first.
    held: bool,
    /// The last packet of this side, and until there is one, of the other.
    last_packet: PacketRef,
    /// Whether there was a packet of this side.
    has_spoken: bool,
    pending: Pending,
    /// What was handed on and is not acknowledged, for comparing.
    recent: VecDeque<(u64, Piece)>,
    recent_cost: usize,
    told_gaps: VecDeque<(u64, u64)>,
}

impl Reassembler {
    /// Says which sequence number the first byte has: `sequence` is that of the SYN (`is_syn`), or of the first byte itself.
    /// Only the first call counts.
    pub fn start(&mut self, sequence: u32, is_syn: bool) {
        self.start.get_or_insert(sequence.wrapping_add(u32::from(is_syn)));
        self.start_is_expected = false;
    }

    /// True once the sequence number of the first byte is known.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.start.is_some()
    }

    /// Bytes that were handed on, gaps included.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// True when [`StreamEvent::End`] was told.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// True when the other side acknowledged bytes that have not been seen.
    #[must_use]
    pub fn owes_acknowledged(&self) -> bool {
        !self.ended && self.missing_acknowledged() > 0
    }

    /// Takes note of a packet of the other side: while there is none of this one, what is told of this side comes with it.
    pub fn told_by(&mut self, packet: PacketRef) {
        if !self.has_spoken {
            self.last_packet = packet;
        }
    }

    /// Takes note of a packet of this side.
    fn spoken_by(&mut self, packet: PacketRef) {
        self.has_spoken = true;
        self.last_packet = packet;
    }

    /// Takes the payload of a segment.
    pub fn segment(
        &mut self,
        segment: &Segment<'_>,
        options: &StreamOptions,
        budget: &mut StreamBudget,
        sink: &mut impl FnMut(StreamEvent<'_>),
    ) {
        let len = u64::from(segment.payload_len).max(segment.payload.len() as u64);
        self.spoken_by(segment.packet);
        if len == 0 {
            return;
        }
        let start = self.start_at(segment.sequence);
        let offset = offset_of(segment.sequence, start, self.next);
        let mut drop = |offset: i64, len: u64, reason| {
            // Offsets and sequence numbers agree in their low bits.
            let sequence = start.wrapping_add(offset as u32);
            sink(StreamEvent::Dropped(Dropped { sequence, len, reason, packet: segment.packet }));
        };
        let is_keep_alive = len == 1 && offset + 1 == self.next as i64;
        if is_keep_alive {
            return;
        }
        let before_start = len.min(u64::try_from(-offset).unwrap_or(0));
        if before_start > 0 {
            drop(offset, before_start, DropReason::BeforeStart);
        }
        if before_start == len {
            return;
        }
        let mut payload = segment.payload.get(before_start as usize..).unwrap_or_default();
        let offset = offset.max(0) as u64;
        let mut end = offset + len - before_start;
        let limit = if self.ended { Some(self.next) } else { self.end };
        if let Some(limit) = limit.filter(|limit| end > *limit) {
            let first = offset.max(limit);
            drop(first as i64, end - first, DropReason::AfterEnd);
            if offset >= limit {
                return;
            }
            end = limit;
            payload = &payload[..payload.len().min((limit - offset) as usize)];
        }
        if offset < self.next {
            self.compare_with_told(offset, payload, segment.packet, sink);
            if end <= self.next {
                return;
            }
            payload = payload.get((self.next - offset) as usize..).unwrap_or_default();
        }
        let offset = offset.max(self.next);
        let waits = self.held || offset > self.next || self.pending.first_offset().is_some_and(|at| at < end);
        if !waits {
            self.hand_on(payload, segment.packet, options, budget, sink);
            if end > self.next {
                self.tell_gap(end, GapReason::Truncated, segment.packet, sink);
            }
            self.drain(options, budget, sink);
            return;
        }
        self.wait(offset, end, payload, segment.packet, options, budget, sink);
    }

    /// The sequence number of offset 0, now that something of this one is there. Of a connection that is joined late, the
    /// other side may have acknowledged less than was on its way already, or what comes a little late.
    fn start_at(&mut self, sequence: u32) -> u32 {
        let untouched = self.next == 0 && self.acknowledged == 0 && self.pending.is_empty();
        if let Some(expected) = self.start.filter(|_| self.start_is_expected && untouched) {
            let behind = u64::try_from(-offset_of(sequence, expected, 0)).unwrap_or(0);
            self.acknowledged = behind;
            self.start = Some(sequence);
        }
        self.start_is_expected = false;
        *self.start.get_or_insert(sequence)
    }

    /// Keeps a segment until what is before it came or was given up.
    #[allow(clippy::too_many_arguments)]
    fn wait(
        &mut self,
        offset: u64,
        end: u64,
        payload: &[u8],
        packet: PacketRef,
        options: &StreamOptions,
        budget: &mut StreamBudget,
        sink: &mut impl FnMut(StreamEvent<'_>),
    ) {
        let tail_offset = offset + payload.len() as u64;
        let mut fits = true;
        if !payload.is_empty() {
            let piece = Piece::captured(payload, packet);
            fits = self.pending.insert(offset, piece, options.overlaps, budget, sink);
        }
        if fits && end > tail_offset {
            let piece = Piece::unknown(end - tail_offset, packet);
            fits = self.pending.insert(tail_offset, piece, options.overlaps, budget, sink);
        }
        if !fits {
            // No memory in all: everything that waits here goes on, and then this.
            self.held = false;
            while let Some(first) = self.pending.first_offset().filter(|first| *first < end) {
                self.tell_gap(first, GapReason::Budget, packet, sink);
                self.drain(options, budget, sink);
            }
            self.tell_gap(offset, GapReason::Budget, packet, sink);
            if let Some(rest) = payload.get(self.next.saturating_sub(offset) as usize..) {
                self.hand_on(rest, packet, options, budget, sink);
            }
            self.tell_gap(end, GapReason::Truncated, packet, sink);
        }
        self.drain(options, budget, sink);
        while self.pending.is_over(options.stream_bytes_max) {
            self.held = false;
            let Some(first) = self.pending.first_offset() else { break };
            self.tell_gap(first, GapReason::Budget, packet, sink);
            self.drain(options, budget, sink);
        }
    }

    /// Takes an acknowledgement number of the other side. True when it acknowledges bytes that have not been seen: either
    /// their packet comes a little late, or never; see [`Self::give_up`].
    pub fn acknowledge(&mut self, acknowledgement: u32, budget: &mut StreamBudget) -> bool {
        let start = *self.start.get_or_insert_with(|| {
            self.start_is_expected = true;
            acknowledgement
        });
        let reference = self.next.max(self.acknowledged);
        let Ok(offset) = u64::try_from(offset_of(acknowledgement, start, reference)) else { return false };
        let seen = self.pending.end_offset().unwrap_or(0).max(reference);
        if offset <= self.acknowledged || offset > seen + u64::from(BEHIND_MAX) {
            return self.owes_acknowledged();
        }
        self.acknowledged = offset;
        while self.recent.front().is_some_and(|(at, piece)| at + piece.len <= offset) {
            self.forget_first_recent(budget);
        }
        self.owes_acknowledged()
    }

    /// Gives up bytes that were acknowledged and have not come.
    pub fn give_up(
        &mut self,
        packet: PacketRef,
        options: &StreamOptions,
        budget: &mut StreamBudget,
        sink: &mut impl FnMut(StreamEvent<'_>),
    ) {
        while self.owes_acknowledged() {
            let limit = self.next + self.missing_acknowledged();
            let until = self.pending.first_offset().unwrap_or(u64::MAX).min(limit);
            if until > self.next {
                self.tell_gap(until, GapReason::NotCaptured, packet, sink);
            }
            if !self.drain(options, budget, sink) && until == self.next && self.held {
                return;
            }
        }
    }

    /// Bytes that were acknowledged and have not been seen. The acknowledgement of a FIN counts one more than there are
    /// bytes: one alone at the end is no gap.
    fn missing_acknowledged(&self) -> u64 {
        let limit = self.end.unwrap_or(u64::MAX).min(self.acknowledged);
        let missing = limit.saturating_sub(self.next);
        if missing == 1 && self.end.is_none() && self.pending.is_empty() { 0 } else { missing }
    }

    /// Keeps everything back from now on: what is sent answers bytes of the other direction that are still missing.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Hands on what was kept back.
    pub fn release(
        &mut self,
        options: &StreamOptions,
        budget: &mut StreamBudget,
        sink: &mut impl FnMut(StreamEvent<'_>),
    ) {
        self.held = false;
        self.drain(options, budget, sink);
    }

    /// Takes a FIN. `sequence` is that of the byte after the last one, which is the FIN's own.
    pub fn fin(
        &mut self,
        sequence: u32,
        packet: PacketRef,
        options: &StreamOptions,
        budget: &mut StreamBudget,
        sink: &mut impl FnMut(StreamEvent<'_>),
    ) {
        self.spoken_by(packet);
        let start = self.start_at(sequence);
        let reference = self.next.max(self.acknowledged);
        let Ok(end) = u64::try_from(offset_of(sequence, start, reference)) else { return };
        if self.end.is_none() && end >= self.next && !self.ended {
            self.end = Some(end);
        }
        self.drain(options, budget, sink);
    }

    /// True when the receiver would believe a RST with this sequence number (RFC 5961, section 3.2, with some room for what
    /// the recording missed), so that it ends the connection.
    #[must_use]
    pub fn accepts_reset(&self, sequence: u32) -> bool {
        const ROOM: u64 = 1 << 16;
        let Some(start) = self.start else { return true };
        let offset = offset_of(sequence, start, self.next);
        let seen = self.pending.end_offset().unwrap_or(0).max(self.next).max(self.acknowledged);
        offset + 1 >= self.next as i64 && offset <= (seen + ROOM) as i64
    }

    /// Ends the stream: hands on what waits, with its gaps. Does nothing when it has ended.
    pub fn finish(
        &mut self,
        reason: EndReason,
        options: &StreamOptions,
        budget: &mut StreamBudget,
        sink: &mut impl FnMut(StreamEvent<'_>),
    ) {
        if self.ended {
            return;
        }
        self.held = false;
        let packet = self.last_packet;
        self.give_up(packet, options, budget, sink);
        self.drain(options, budget, sink);
        while let Some(first) = self.pending.first_offset() {
            self.tell_gap(first, GapReason::NeverSeen, packet, sink);
            self.drain(options, budget, sink);
        }
        if let Some(end) = self.end {
            self.tell_gap(end, GapReason::NeverSeen, packet, sink);
            self.drain(options, budget, sink);
        }
        if !self.ended {
            self.tell_end(reason, budget, sink);
        }
    }

    /// Hands on all that waits for nothing any more. True when something was.
    fn drain(
        &mut self,
        options: &StreamOptions,
        budget: &mut StreamBudget,
        sink: &mut impl FnMut(StreamEvent<'_>),
    ) -> bool {
        let mut moved = false;
        while !self.held && self.pending.first_offset() == Some(self.next) {
            let Some((_, piece)) = self.pending.pop_first(budget) else { break };
            moved = true;
            if piece.bytes.is_empty() {
                self.tell_gap(self.next + piece.len, GapReason::Truncated, piece.packet, sink);
            } else {
                self.hand_on(&piece.bytes, piece.packet, options, budget, sink);
            }
        }
        if !self.held && !self.ended && self.end == Some(self.next) {
            self.tell_end(EndReason::Fin, budget, sink);
        }
        moved
    }

    fn hand_on(
        &mut self,
        bytes: &[u8],
        packet: PacketRef,
        options: &StreamOptions,
        budget: &mut StreamBudget,
        sink: &mut impl FnMut(StreamEvent<'_>),
    ) {
        if bytes.is_empty() {
            return;
        }
        let offset = self.next;
        sink(StreamEvent::Data(StreamData { offset, bytes, packet }));
        self.next += bytes.len() as u64;
        if self.next > self.acknowledged {
            self.remember(offset, bytes, packet, options, budget);
        }
    }

    /// Keeps bytes for comparing, as far as half of the memory for all streams allows it.
    fn remember(
        &mut self,
        offset: u64,
        bytes: &[u8],
        packet: PacketRef,
        options: &StreamOptions,
        budget: &mut StreamBudget,
    ) {
        let cost = bytes.len() + SEGMENT_OVERHEAD;
        while self.recent_cost + cost > options.recent_bytes_max && !self.recent.is_empty() {
            self.forget_first_recent(budget);
        }
        let enough = budget.left() > options.total_bytes_max / 2 + cost;
        if cost <= options.recent_bytes_max && enough && budget.take(cost) {
            self.recent_cost += cost;
            self.recent.push_back((offset, Piece::captured(bytes, packet)));
        }
    }

    fn forget_first_recent(&mut self, budget: &mut StreamBudget) {
        if let Some((_, piece)) = self.recent.pop_front() {
            let cost = piece.bytes.len() + SEGMENT_OVERHEAD;
            self.recent_cost -= cost;
            budget.give_back(cost);
        }
    }

    /// Looks at bytes whose place has passed: retransmissions should say the same again; what was told as a gap comes late.
    fn compare_with_told(
        &self,
        offset: u64,
        payload: &[u8],
        packet: PacketRef,
        sink: &mut impl FnMut(StreamEvent<'_>),
    ) {
        let end = self.next.min(offset + payload.len() as u64);
        for &(gap, gap_end) in &self.told_gaps {
            let (first, last) = (gap.max(offset), gap_end.min(end));
            if first < last {
                let sequence = self.start.unwrap_or(0).wrapping_add(first as u32);
                let dropped = Dropped { sequence, len: last - first, reason: DropReason::Late, packet };
                sink(StreamEvent::Dropped(dropped));
            }
        }
        for (at, piece) in &self.recent {
            let (first, last) = ((*at).max(offset), (at + piece.len).min(end));
            if first >= last {
                continue;
            }
            let kept = &piece.bytes[(first - at) as usize..(last - at) as usize];
            let again = &payload[(first - offset) as usize..(last - offset) as usize];
            if let Some((place, len)) = differing(kept, again) {
                sink(StreamEvent::Disagreement(DisagreementFact {
                    offset: first + place as u64,
                    len: len as u64,
                    kept: piece.packet,
                    rejected: packet,
                }));
            }
        }
    }

    /// Tells that bytes up to an offset are missing, if it is ahead.
    fn tell_gap(
        &mut self,
        until: u64,
        reason: GapReason,
        packet: PacketRef,
        sink: &mut impl FnMut(StreamEvent<'_>),
    ) {
        if until <= self.next {
            return;
        }
        let gap = Gap { offset: self.next, len: until - self.next, reason, packet };
        if self.told_gaps.len() == TOLD_GAPS_MAX {
            self.told_gaps.pop_front();
        }
        self.told_gaps.push_back((self.next, until));
        self.next = until;
        sink(StreamEvent::Gap(gap));
    }

    fn tell_end(
        &mut self,
        reason: EndReason,
        budget: &mut StreamBudget,
        sink: &mut impl FnMut(StreamEvent<'_>),
    ) {
        self.ended = true;
        self.pending.clear(budget);
        while !self.recent.is_empty() {
            self.forget_first_recent(budget);
        }
        sink(StreamEvent::End { reason, offset: self.next, packet: self.last_packet });
    }
}
