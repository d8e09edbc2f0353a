//! Local traffic is recorded twice, leaving one socket and arriving at another: which arrival is which departure.
//!
//! A pair is made on evidence in the bytes alone: both records have the same network and transport headers (addresses,
//! ports, identification, sequence numbers, TTL, options; all but checksums, which devices fill in), the same length on the
//! wire, and payloads that do not differ where both were captured. Of departures that look alike, the first one that is
//! still without a partner is taken: the order of what cannot be told apart is kept on the way.
//!
//! A TCP packet that stands for several (GSO) and is cut on the way has an arrival for each piece: a piece is a copy when its
//! sequence number, length and identification are those that cutting gives.
//!
//! No partner is found for a packet that left the host, was routed on the way (its TTL is lower), was merged between two
//! namespaces (GRO), or whose other copy was lost. Of a multicast datagram that several sockets receive,
//! one arrival is the copy of one departure; the others stay.
//!
//! Frames that were recorded at interfaces are matched with those of other interfaces (`interfaces.rs`): there, a
//! forwarded packet is the copy of what arrived.

mod fingerprint;
mod interfaces;
mod pieces;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::Direction;
use crate::decode::Decoded;
use fingerprint::PayloadPrint;
use interfaces::InterfaceMatcher;
use pieces::PieceMatcher;

/// How long a departure waits for its arrival. Within a host that takes microseconds; more only behind a queue.
pub const WINDOW_NS: u64 = 1_000_000_000;

/// Most departures that wait at once, about 10 MiB: of a million packets a second that leave the host, those of 65 ms. Beyond
/// that the oldest goes first, as if its time were over.
pub const WAITING_MAX: usize = 1 << 16;

/// Most departures with the same headers that are compared with one arrival. If it is none of them, they are given up: so
/// many in front of it were overtaken, which happens when arrivals are lost.
pub const COMPARED_MAX: usize = 64;

/// A record, as the matcher wants it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Whatever names the record to the caller.
    pub id: u64,
    /// When it was recorded.
    pub time_ns: u64,
    /// Which way it went; records without direction are not matched.
    pub direction: Direction,
    /// Cookie of its socket.
    pub socket_cookie: u64,
    /// Cookie of its network namespace, 0 when unknown.
    pub netns_cookie: u64,
    /// Index of the interface at which it was seen; `None` when it was seen at its socket.
    pub interface: Option<u32>,
    /// Its length on the wire from the link header on.
    pub wire_len: u32,
    /// Payload bytes of each packet that this one stands for; 0 for a plain packet.
    pub gso_size: u16,
    /// What its headers mean.
    pub decoded: &'a Decoded,
    /// The bytes that were decoded.
    pub header: &'a [u8],
    /// The captured bytes behind them; `None` when they were not read. With and without payloads, datagrams that look alike
    /// may be paired differently if one was lost: a caller should do the same always.
    pub payload: Option<&'a [u8]>,
}

/// A record and the earlier one that it is the copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The duplicate: the arriving record; of frames, the later one.
    pub copy_id: u64,
    /// The first copy: the leaving record; of frames, the first one.
    pub first_id: u64,
    /// Socket that received the packet; 0 when that isn't known.
    pub receiver_cookie: u64,
    /// Socket that sent it; 0 when that isn't known.
    pub sender_cookie: u64,
}

/// A leaving record that has, or waits for, its partner.
#[derive(Debug)]
struct Departure {
    fingerprint: u128,
    payload: PayloadPrint,
    time_ns: u64,
    id: u64,
    socket_cookie: u64,
    /// Number of the next one with the same fingerprint.
    next: Option<u64>,
    matched: bool,
}

/// The departures of one fingerprint, linked by [`Departure::next`].
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: u64,
    last: u64,
}

/// Matches records in the order in which they were recorded.
///
/// To match a part of a recording as the whole would be matched, feed it the records of [`WINDOW_NS`] before that part
/// too.
#[derive(Debug, Default)]
pub struct DuplicateMatcher {
    /// Departures, oldest first; those that found their partner stay until they are the oldest.
    departures: VecDeque<Departure>,
    /// Number of the first of `departures`; the others count up from it.
    first_number: u64,
    chains: FxHashMap<u128, Chain>,
    /// Departures that may arrive in pieces.
    pieces: PieceMatcher,
    /// Frames.
    interfaces: InterfaceMatcher,
}

impl DuplicateMatcher {
    /// Takes the next record. Returns the pair that an arriving one makes with an earlier leaving one.
    pub fn feed(&mut self, candidate: &Candidate<'_>) -> Option<Pair> {
        self.expire(candidate.time_ns);
        if let Some(interface) = candidate.interface {
            return self.feed_frame(candidate, interface);
        }
        match candidate.direction {
            Direction::Egress => {
                self.depart(candidate);
                self.pieces.depart(candidate);
                None
            }
            Direction::Ingress => self.arrive(candidate).or_else(|| self.pieces.arrive(candidate)),
            Direction::Unknown => None,
        }
    }

    fn feed_frame(&mut self, candidate: &Candidate<'_>, interface: u32) -> Option<Pair> {
        let pair = match candidate.direction {
            Direction::Egress => {
                self.pieces.depart(candidate);
                self.interfaces.again(candidate, interface)
            }
            Direction::Ingress => {
                self.interfaces.again(candidate, interface).or_else(|| self.pieces.arrive(candidate))
            }
            Direction::Unknown => return None,
        };
        if pair.is_none() {
            self.interfaces.first(candidate, interface);
        }
        pair
    }

    /// Departures and frames in memory.
    #[must_use]
    pub fn waiting_len(&self) -> usize {
        self.departures.len() + self.interfaces.waiting_len()
    }

    /// Forgets everything, and keeps the memory.
    pub fn clear(&mut self) {
        self.departures.clear();
        self.chains.clear();
        self.pieces.clear();
        self.interfaces.clear();
        self.first_number = 0;
    }

    fn depart(&mut self, candidate: &Candidate<'_>) {
        let Some(fingerprint) = fingerprint::headers(candidate) else { return };
        if self.departures.len() >= WAITING_MAX {
            self.drop_oldest();
        }
        let number = self.first_number + self.departures.len() as u64;
        self.departures.push_back(Departure {
            fingerprint,
            payload: PayloadPrint::of(candidate.payload),
            time_ns: candidate.time_ns,
            id: candidate.id,
            socket_cookie: candidate.socket_cookie,
            next: None,
            matched: false,
        });
        let chain = self.chains.entry(fingerprint).or_insert(Chain { first: number, last: number });
        if chain.last != number {
            let last = std::mem::replace(&mut chain.last, number);
            if let Some(last) = Self::at(&mut self.departures, self.first_number, last) {
                last.next = Some(number);
            }
        }
    }

    fn arrive(&mut self, candidate: &Candidate<'_>) -> Option<Pair> {
        let fingerprint = fingerprint::headers(candidate)?;
        let chain = *self.chains.get(&fingerprint)?;
        let payload = PayloadPrint::of(candidate.payload);
        let mut next = Some(chain.first);
        for _ in 0..COMPARED_MAX {
            let number = next?;
            let departure = Self::at(&mut self.departures, self.first_number, number)?;
            next = departure.next;
            if departure.matched
                || departure.time_ns > candidate.time_ns
                || !departure.payload.agrees(&payload)
            {
                continue;
            }
            departure.matched = true;
            let pair = Pair {
                copy_id: candidate.id,
                first_id: departure.id,
                receiver_cookie: candidate.socket_cookie,
                sender_cookie: departure.socket_cookie,
            };
            if number == chain.first {
                self.advance(fingerprint, next);
            }
            self.pieces.arrived_whole(candidate, pair.first_id);
            return Some(pair);
        }
        // So many overtaken departures have lost their partners. They are given up, or they would hide the later ones.
        self.advance(fingerprint, next);
        None
    }

    /// Makes a chain begin with the first departure from `next` on that has no partner; a chain of none goes.
    fn advance(&mut self, fingerprint: u128, mut next: Option<u64>) {
        while let Some(number) = next {
            match Self::at(&mut self.departures, self.first_number, number) {
                Some(departure) if departure.matched => next = departure.next,
                _ => break,
            }
        }
        match (next, self.chains.get_mut(&fingerprint)) {
            (Some(first), Some(chain)) => chain.first = first,
            _ => {
                self.chains.remove(&fingerprint);
            }
        }
    }

    fn expire(&mut self, now_ns: u64) {
        while self.departures.front().is_some_and(|oldest| oldest.time_ns.saturating_add(WINDOW_NS) < now_ns)
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.departures.pop_front() else { return };
        let number = self.first_number;
        self.first_number += 1;
        if self.chains.get(&oldest.fingerprint).is_some_and(|chain| chain.first == number) {
            self.advance(oldest.fingerprint, oldest.next);
        }
    }

    fn at(departures: &mut VecDeque<Departure>, first_number: u64, number: u64) -> Option<&mut Departure> {
        departures.get_mut(usize::try_from(number.checked_sub(first_number)?).ok()?)
    }
}
