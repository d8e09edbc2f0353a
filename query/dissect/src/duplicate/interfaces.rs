//! Frames: one packet that passes several interfaces, or one of them in both directions, is recorded at each.
//!
//! It is forwarded, bridged, comes through a VLAN's or a bridge's interface, or goes over loopback. Its network and
//! transport headers stay what they are, but for checksums and, where it is routed, a TTL that is one lower. No packet
//! passes an interface twice in the same direction: what is seen there again is another packet.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::{COMPARED_MAX, Candidate, Pair, WAITING_MAX, WINDOW_NS, fingerprint};
use crate::Direction;

/// Most places where one packet is seen.
const PLACES_MAX: usize = 8;

/// A packet that was seen, and may be seen again.
#[derive(Debug)]
struct Packet {
    first_id: u64,
    first_time_ns: u64,
    socket_cookie: u64,
    ttl: u8,
    /// Interfaces and directions, `place_count` of them.
    places: [(u32, Direction); PLACES_MAX],
    place_count: usize,
}

/// Matches frames with the packets that were seen before.
#[derive(Debug, Default)]
pub(super) struct InterfaceMatcher {
    /// Packets that look alike, oldest first.
    packets: FxHashMap<u128, VecDeque<Packet>>,
    /// Hash and time of each packet, oldest first. The packet may be gone.
    order: VecDeque<(u128, u64)>,
}

impl InterfaceMatcher {
    /// Takes a frame seen at an interface, if it is one of a packet that was seen before.
    pub(super) fn again(&mut self, candidate: &Candidate<'_>, interface: u32) -> Option<Pair> {
        self.expire(candidate.time_ns);
        let (key, ttl) = fingerprint::routed(candidate)?;
        let packets = self.packets.get_mut(&key)?;
        let packet = packets.iter_mut().find(|packet| packet.may_be(candidate, interface, ttl))?;
        packet.pass(interface, candidate.direction, ttl);
        // Frames know their sender's socket at most: where it arrives, that is the other end.
        let is_arrival = candidate.direction == Direction::Ingress;
        let sender_cookie = if is_arrival { packet.socket_cookie } else { 0 };
        Some(Pair { copy_id: candidate.id, first_id: packet.first_id, receiver_cookie: 0, sender_cookie })
    }

    /// Takes a frame of a packet that wasn't seen before.
    pub(super) fn first(&mut self, candidate: &Candidate<'_>, interface: u32) {
        let Some((key, ttl)) = fingerprint::routed(candidate) else { return };
        if self.order.len() >= WAITING_MAX {
            self.drop_oldest();
        }
        let socket_cookie =
            if candidate.direction == Direction::Egress { candidate.socket_cookie } else { 0 };
        let mut packet = Packet {
            first_id: candidate.id,
            first_time_ns: candidate.time_ns,
            socket_cookie,
            ttl,
            places: [(0, Direction::Unknown); PLACES_MAX],
            place_count: 0,
        };
        packet.pass(interface, candidate.direction, ttl);
        self.order.push_back((key, candidate.time_ns));
        let packets = self.packets.entry(key).or_default();
        // Among so many that look alike, the oldest has been everywhere, or is lost.
        if packets.len() >= COMPARED_MAX {
            packets.pop_front();
        }
        packets.push_back(packet);
    }

    pub(super) fn waiting_len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn clear(&mut self) {
        self.packets.clear();
        self.order.clear();
    }

    fn expire(&mut self, now_ns: u64) {
        while self.order.front().is_some_and(|(_, time_ns)| time_ns.saturating_add(WINDOW_NS) < now_ns) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((key, time_ns)) = self.order.pop_front() else { return };
        let Some(packets) = self.packets.get_mut(&key) else { return };
        // Unless it had to make room before.
        packets.pop_front_if(|oldest| oldest.first_time_ns <= time_ns);
        if packets.is_empty() {
            self.packets.remove(&key);
        }
    }
}

impl Packet {
    fn places(&self) -> &[(u32, Direction)] {
        &self.places[..self.place_count]
    }

    /// Whether this packet may come by there now.
    fn may_be(&self, candidate: &Candidate<'_>, interface: u32, ttl: u8) -> bool {
        let Some((_, last_direction)) = self.places().last().copied() else { return false };
        let was_routed = ttl.checked_add(1) == Some(self.ttl)
            && (last_direction, candidate.direction) == (Direction::Ingress, Direction::Egress);
        candidate.time_ns >= self.first_time_ns
            && self.place_count < PLACES_MAX
            && (ttl == self.ttl || was_routed)
            && !self.places().contains(&(interface, candidate.direction))
    }

    fn pass(&mut self, interface: u32, direction: Direction, ttl: u8) {
        self.places[self.place_count] = (interface, direction);
        self.place_count += 1;
        self.ttl = ttl;
    }
}
