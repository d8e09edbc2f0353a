//! Packets whose container isn't known yet: held until it is, then kept or dropped.

use std::collections::VecDeque;

use kcap_recorder_ebpf::{PACKET_FLAG_UNDECIDED, PacketHead, RULE_RECORD, Verdict};
use rustc_hash::FxHashMap;

use super::Tables;
use crate::account::{Source, Tally};

/// Most bytes that are held. When there is no more room, the oldest are kept: rather too much than too little.
const HELD_LEN_MAX: usize = 16 << 20;
/// Longest time that a packet is held: a little longer than a decision takes.
const HELD_TIME_MAX_NS: u64 = 6_000_000_000;
/// Packets that wait are looked at this often.
const SETTLE_INTERVAL_NS: u64 = 20_000_000;
/// Bytes that a packet takes beside its own.
const PACKET_LEN: usize = size_of::<Packet>();

/// The packets that wait.
pub(crate) struct Held {
    tables: Option<Tables>,
    waiting: VecDeque<Packet>,
    len: usize,
    settled_ns: u64,
}

struct Packet {
    head: PacketHead,
    bytes: Box<[u8]>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Keep,
    Drop,
    Wait,
}

impl Held {
    /// `None`: no packet will have to wait.
    pub(crate) fn new(tables: Option<Tables>) -> Self {
        Self { tables, waiting: VecDeque::new(), len: 0, settled_ns: 0 }
    }

    /// Takes a packet if it has to wait; gives false when it is to be recorded.
    pub(crate) fn takes(&mut self, head: &PacketHead, bytes: &[u8]) -> bool {
        if head.flags & PACKET_FLAG_UNDECIDED == 0 {
            return false;
        }
        self.len += PACKET_LEN + bytes.len();
        let head = PacketHead { flags: head.flags & !PACKET_FLAG_UNDECIDED, ..*head };
        self.waiting.push_back(Packet { head, bytes: bytes.into() });
        true
    }

    /// Whether any packet waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Hands out what is to be recorded, oldest first, as long as `keep` has room for more and says so; counts what is
    /// dropped. With `is_last`, nothing waits any longer.
    pub(crate) fn settle(
        &mut self,
        now_ns: u64,
        is_last: bool,
        dropped: &mut Tally,
        mut keep: impl FnMut(&PacketHead, &[u8]) -> bool,
    ) {
        let is_due = self.settled_ns.saturating_add(SETTLE_INTERVAL_NS) <= now_ns;
        if !is_due && !is_last && self.len <= HELD_LEN_MAX {
            return;
        }
        self.settled_ns = now_ns;
        // Many packets are of few sockets.
        let mut verdicts = FxHashMap::default();
        let mut has_room = true;
        for _ in 0..self.waiting.len() {
            let Some(packet) = self.waiting.pop_front() else { break };
            let is_over = is_last
                || self.len > HELD_LEN_MAX
                || packet.head.time_ns.saturating_add(HELD_TIME_MAX_NS) < now_ns;
            let cookie = packet.head.socket_cookie;
            let verdict = *verdicts.entry(cookie).or_insert_with(|| self.verdict_of(cookie));
            match fate_of(verdict, is_over) {
                Fate::Keep if has_room => {
                    self.len -= PACKET_LEN + packet.bytes.len();
                    has_room = keep(&packet.head, &packet.bytes);
                }
                Fate::Drop => {
                    self.len -= PACKET_LEN + packet.bytes.len();
                    dropped.add(Source { program: packet.head.program, cpu: packet.head.cpu }, 1);
                }
                Fate::Keep | Fate::Wait => self.waiting.push_back(packet),
            }
        }
    }

    fn verdict_of(&self, cookie: u64) -> Option<Verdict> {
        self.tables.as_ref()?.verdict_of(cookie)
    }
}

fn fate_of(verdict: Option<Verdict>, is_over: bool) -> Fate {
    match verdict {
        Some(verdict) if verdict.yes & RULE_RECORD != 0 => Fate::Keep,
        Some(verdict) if verdict.maybe & RULE_RECORD == 0 => Fate::Drop,
        _ if is_over => Fate::Keep,
        _ => Fate::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_counts_whenever_it_comes() {
        let (yes, no, open) = (
            Verdict { yes: RULE_RECORD, maybe: RULE_RECORD },
            Verdict::default(),
            Verdict { yes: 0, maybe: RULE_RECORD },
        );
        for (verdict, is_over, expected) in [
            (Some(yes), false, Fate::Keep),
            (Some(no), false, Fate::Drop),
            (Some(no), true, Fate::Drop),
            (Some(open), false, Fate::Wait),
            (Some(open), true, Fate::Keep),
            (None, false, Fate::Wait),
            (None, true, Fate::Keep),
        ] {
            assert_eq!(fate_of(verdict, is_over), expected, "{verdict:?} {is_over}");
        }
    }

    fn packet(time_ns: u64, flags: u16) -> PacketHead {
        PacketHead { time_ns, flags, program: 2, ..PacketHead::default() }
    }

    #[test]
    fn only_marked_packets_wait_and_lose_the_mark() {
        let mut held = Held::new(None);
        assert!(!held.takes(&packet(1, 1), b"abc"));
        assert!(held.takes(&packet(1, PACKET_FLAG_UNDECIDED | 1), b"abc"));
        let mut kept = Vec::new();
        let mut dropped = Tally::default();
        held.settle(2 + SETTLE_INTERVAL_NS, false, &mut dropped, |_, _| panic!("nothing is known"));
        held.settle(3 + SETTLE_INTERVAL_NS, true, &mut dropped, |head, bytes| {
            kept.push((head.flags, bytes.to_vec()));
            true
        });
        assert_eq!(kept, [(1, b"abc".to_vec())]);
        assert!(held.is_empty() && held.len == 0 && dropped.total() == 0);
    }

    #[test]
    fn they_wait_no_longer_than_allowed_and_in_bounded_memory() {
        let mut held = Held::new(None);
        let bytes = vec![0; 1 << 16];
        for time_ns in 0..400 {
            assert!(held.takes(&packet(time_ns, PACKET_FLAG_UNDECIDED), &bytes));
        }
        let mut kept = Vec::new();
        let mut dropped = Tally::default();
        held.settle(500, false, &mut dropped, |head, _| {
            kept.push(head.time_ns);
            true
        });
        assert!(held.len <= HELD_LEN_MAX && !kept.is_empty() && !held.is_empty());
        assert!(kept.iter().copied().eq(0..kept.len() as u64), "the oldest first");
        held.settle(HELD_TIME_MAX_NS + 500, false, &mut dropped, |_, _| false);
        let before = held.waiting.len();
        assert!(before > 0, "no room for more than one");
        held.settle(HELD_TIME_MAX_NS + 500, false, &mut dropped, |_, _| panic!("too soon"));
        held.settle(2 * HELD_TIME_MAX_NS, false, &mut dropped, |_, _| true);
        assert!(held.is_empty() && dropped.total() == 0);
    }
}
