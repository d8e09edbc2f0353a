//! Packets whose container isn't known yet: held until it is, then kept or dropped.

use std::collections::VecDeque;

use kcap_recorder_ebpf::{PACKET_FLAG_UNDECIDED, PacketHead, Verdict};
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

/// What verdicts decide about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Rules that ask for containers or pods.
    pub(crate) container_rules: u32,
    /// Rules for which packets are kept with their payload.
    pub(crate) payload_rules: u32,
    /// Most payload bytes of other packets.
    pub(crate) payload_len: u32,
}

/// The packets that wait.
pub(crate) struct Held {
    tables: Option<Tables>,
    policy: Policy,
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
    /// For these rules.
    Keep(u32),
    Drop,
    Wait,
}

impl Held {
    /// `None`: no packet will have to wait.
    pub(crate) fn new(tables: Option<Tables>, policy: Policy) -> Self {
        Self { tables, policy, waiting: VecDeque::new(), len: 0, settled_ns: 0 }
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
            match self.policy.fate_of(packet.head.rules, verdict, is_over) {
                Fate::Keep(rules) if has_room => {
                    self.len -= PACKET_LEN + packet.bytes.len();
                    let (head, bytes) = self.policy.cut(&packet.head, &packet.bytes, rules);
                    has_room = keep(&head, bytes);
                }
                Fate::Drop => {
                    self.len -= PACKET_LEN + packet.bytes.len();
                    dropped.add(Source { program: packet.head.program, cpu: packet.head.cpu }, 1);
                }
                Fate::Keep(_) | Fate::Wait => self.waiting.push_back(packet),
            }
        }
    }

    fn verdict_of(&self, cookie: u64) -> Option<Verdict> {
        self.tables.as_ref()?.verdict_of(cookie)
    }
}

impl Policy {
    /// `rules`: those that hold as far as the programs knew; `verdict`: what is known of the cgroup since then.
    fn fate_of(&self, rules: u32, verdict: Option<Verdict>, is_over: bool) -> Fate {
        let verdict = verdict.unwrap_or(Verdict { yes: 0, maybe: u32::MAX });
        let asked = rules & self.container_rules;
        let holding = rules & !self.container_rules | asked & verdict.yes;
        let open = asked & verdict.maybe & !verdict.yes;
        match (holding, open) {
            (0, 0) => Fate::Drop,
            (holding, 0) => Fate::Keep(holding),
            (holding, open) if is_over => Fate::Keep(holding | open),
            _ => Fate::Wait,
        }
    }

    /// The packet as it is kept for these rules: without the payload that only others wanted.
    fn cut<'a>(&self, head: &PacketHead, bytes: &'a [u8], rules: u32) -> (PacketHead, &'a [u8]) {
        let mut head = PacketHead { rules, ..*head };
        let mut kept = bytes;
        // Where the headers aren't understood, nothing can be told apart.
        if rules & self.payload_rules == 0 && head.header_len != 0 {
            let len = u32::from(head.header_len).saturating_add(self.payload_len);
            kept = &bytes[..bytes.len().min(len as usize)];
            head.captured_len = head.captured_len.min(len);
        }
        (head, kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first rule and a task ask for containers, another task doesn't.
    const POLICY: Policy = Policy { container_rules: 0b011, payload_rules: 0b010, payload_len: 3 };

    #[test]
    fn a_decision_counts_whenever_it_comes() {
        let (yes, no, open) =
            (Verdict { yes: 1, maybe: 1 }, Verdict::default(), Verdict { yes: 0, maybe: 1 });
        for (verdict, is_over, expected) in [
            (Some(yes), false, Fate::Keep(1)),
            (Some(no), false, Fate::Drop),
            (Some(no), true, Fate::Drop),
            (Some(open), false, Fate::Wait),
            (Some(open), true, Fate::Keep(1)),
            (None, false, Fate::Wait),
            (None, true, Fate::Keep(1)),
        ] {
            assert_eq!(POLICY.fate_of(1, verdict, is_over), expected, "{verdict:?} {is_over}");
        }
    }

    #[test]
    fn each_rule_is_decided_by_itself() {
        for (rules, yes, maybe, expected) in [
            (0b111, 0b001, 0b001, Fate::Keep(0b101)),
            (0b111, 0b001, 0b011, Fate::Wait),
            (0b110, 0b000, 0b000, Fate::Keep(0b100)),
            (0b011, 0b000, 0b000, Fate::Drop),
            // What the programs ruled out stays so.
            (0b001, 0b010, 0b010, Fate::Drop),
        ] {
            assert_eq!(POLICY.fate_of(rules, Some(Verdict { yes, maybe }), false), expected, "{rules:b}");
        }
        assert_eq!(POLICY.fate_of(0b111, None, true), Fate::Keep(0b111));
    }

    #[test]
    fn payload_that_nobody_wanted_after_all_is_left_out() {
        let head = PacketHead { header_len: 2, captured_len: 8, rules: 3, ..PacketHead::default() };
        for (rules, header_len, expected) in [(1, 2, 5), (3, 2, 8), (2, 2, 8), (1, 0, 8)] {
            let head = PacketHead { header_len, ..head };
            let (cut, bytes) = POLICY.cut(&head, b"hhpppppp", rules);
            assert_eq!((cut.captured_len, bytes.len(), cut.rules), (expected, expected as usize, rules));
        }
    }

    fn packet(time_ns: u64, flags: u8) -> PacketHead {
        PacketHead { time_ns, flags, program: 2, rules: 1, ..PacketHead::default() }
    }

    #[test]
    fn only_marked_packets_wait_and_lose_the_mark() {
        let mut held = Held::new(None, POLICY);
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
        let mut held = Held::new(None, POLICY);
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
