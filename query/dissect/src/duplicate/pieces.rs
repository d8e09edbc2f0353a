//! Departures that arrive in pieces: TCP packets that stand for several (GSO) and are cut on the way.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::{Candidate, Pair, WINDOW_NS, fingerprint};

/// Most such departures that wait at once, about 2 MiB.
const WAITING_MAX: usize = 1 << 14;

/// Most pieces of one departure: 64 KiB in pieces of 536 bytes, the smallest that hosts must take (RFC 9293, 3.7.1).
const PIECES_MAX: u32 = u128::BITS;

/// A departure that may be cut.
#[derive(Debug)]
struct Whole {
    time_ns: u64,
    id: u64,
    socket_cookie: u64,
    sequence: u32,
    payload_len: u32,
    piece_len: u32,
    ip_id: Option<u32>,
    /// A bit for each piece that arrived.
    arrived: u128,
}

/// Matches arrivals with the departures that they are pieces of.
#[derive(Debug, Default)]
pub(super) struct PieceMatcher {
    wholes: FxHashMap<u128, VecDeque<Whole>>,
    /// Hash and time of each departure, oldest first.
    order: VecDeque<(u128, u64)>,
}

impl PieceMatcher {
    /// Takes a departure, if it may be cut.
    pub(super) fn depart(&mut self, candidate: &Candidate<'_>) {
        let piece_len = u32::from(candidate.gso_size);
        let payload_len = candidate.decoded.payload_len;
        if piece_len == 0 || payload_len <= piece_len || payload_len.div_ceil(piece_len) > PIECES_MAX {
            return;
        }
        let (Some(tcp), Some(ip)) = (candidate.decoded.tcp(), candidate.decoded.ip()) else { return };
        let Some(key) = fingerprint::pieces(candidate) else { return };
        self.expire(candidate.time_ns);
        self.order.push_back((key, candidate.time_ns));
        self.wholes.entry(key).or_default().push_back(Whole {
            time_ns: candidate.time_ns,
            id: candidate.id,
            socket_cookie: candidate.socket_cookie,
            sequence: tcp.sequence,
            payload_len,
            piece_len,
            ip_id: ip.id,
            arrived: 0,
        });
    }

    /// Takes an arrival that is the copy of no whole departure.
    pub(super) fn arrive(&mut self, candidate: &Candidate<'_>) -> Option<Pair> {
        if self.wholes.is_empty() {
            return None;
        }
        let key = fingerprint::pieces(candidate)?;
        let (sequence, ip) = (candidate.decoded.tcp()?.sequence, candidate.decoded.ip()?);
        let is_recent = |whole: &Whole| whole.time_ns.saturating_add(WINDOW_NS) >= candidate.time_ns;
        let wholes = self.wholes.get_mut(&key)?.iter_mut().filter(|whole| is_recent(whole));
        for whole in wholes {
            let piece = whole.piece(sequence, candidate.decoded.payload_len, ip.id);
            let Some(bit) = piece.map(|piece| 1 << piece).filter(|bit| whole.arrived & bit == 0) else {
                continue;
            };
            whole.arrived |= bit;
            return Some(Pair {
                copy_id: candidate.id,
                first_id: whole.id,
                receiver_cookie: candidate.socket_cookie,
                sender_cookie: whole.socket_cookie,
            });
        }
        None
    }

    /// A departure arrived whole: it has no pieces.
    pub(super) fn arrived_whole(&mut self, candidate: &Candidate<'_>, id: u64) {
        if candidate.gso_size == 0 || self.wholes.is_empty() {
            return;
        }
        let wholes = fingerprint::pieces(candidate).and_then(|key| self.wholes.get_mut(&key));
        if let Some(whole) = wholes.and_then(|wholes| wholes.iter_mut().find(|whole| whole.id == id)) {
            whole.arrived = u128::MAX;
        }
    }

    pub(super) fn clear(&mut self) {
        self.wholes.clear();
        self.order.clear();
    }

    fn expire(&mut self, now_ns: u64) {
        while let Some((key, time_ns)) = self.order.front().copied() {
            if self.order.len() < WAITING_MAX && time_ns.saturating_add(WINDOW_NS) >= now_ns {
                return;
            }
            self.order.pop_front();
            if let Some(wholes) = self.wholes.get_mut(&key) {
                wholes.pop_front();
                if wholes.is_empty() {
                    self.wholes.remove(&key);
                }
            }
        }
    }
}

impl Whole {
    /// Which piece of it begins at a sequence number, with such a length and identification.
    fn piece(&self, sequence: u32, payload_len: u32, ip_id: Option<u32>) -> Option<u32> {
        let offset = sequence.wrapping_sub(self.sequence);
        if offset >= self.payload_len || !offset.is_multiple_of(self.piece_len) {
            return None;
        }
        if payload_len != self.piece_len.min(self.payload_len - offset) {
            return None;
        }
        let piece = offset / self.piece_len;
        // Cutting counts the identification up (`inet_gso_segment`); IPv6 has none.
        let same_id = match (self.ip_id, ip_id) {
            (Some(first), Some(this)) => this.wrapping_sub(first) & 0xffff == piece,
            (first, this) => first == this,
        };
        same_id.then_some(piece)
    }
}
