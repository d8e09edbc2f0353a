//! Sockets by addresses and ports: for packets whose own socket isn't known.

use rustc_hash::FxHashMap;

use super::socket::Endpoint;
use crate::Direction;
use crate::decode::Decoded;

/// Most tuples that [`OwnerIndex::learn`](super::OwnerIndex::learn) keeps; beyond that it begins anew, which costs answers and
/// never makes a wrong one.
pub const LEARNED_TUPLES_MAX: usize = 1 << 17;

/// A connection seen from one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalTuple {
    /// `IPPROTO_*`.
    pub protocol: u8,
    /// The end on this side.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
}

impl LocalTuple {
    /// The connection of a packet with ports, seen from the side where it was recorded.
    #[must_use]
    pub fn of(decoded: &Decoded, direction: Direction) -> Option<Self> {
        let ip = decoded.ip()?;
        let ports = decoded.ports?;
        let source = Endpoint { address: ip.source, port: ports.source };
        let destination = Endpoint { address: ip.destination, port: ports.destination };
        let (local, remote) = match direction {
            Direction::Egress => (source, destination),
            Direction::Ingress => (destination, source),
            Direction::Unknown => return None,
        };
        Some(Self { protocol: ip.protocol, local, remote })
    }

    /// The same connection seen from its other end.
    pub(super) fn reversed(self) -> Self {
        Self { local: self.remote, remote: self.local, ..self }
    }

    /// A socket that takes packets from anybody.
    pub(super) fn listener(protocol: u8, local: Endpoint) -> Self {
        let address = if local.is_any_address() { [0; 16] } else { local.address };
        Self { protocol, local: Endpoint { address, port: local.port }, remote: Endpoint::default() }
    }

    /// The listeners that would take this connection: bound to its address, or to any.
    pub(super) fn listeners(self) -> [Self; 2] {
        let any = Endpoint { address: [0; 16], port: self.local.port };
        [Self::listener(self.protocol, self.local), Self::listener(self.protocol, any)]
    }
}

/// A socket that had a tuple from some time on.
#[derive(Clone, Copy, Debug)]
struct Entry {
    netns_cookie: u64,
    from_ns: u64,
    cookie: u64,
}

/// Which socket had which addresses and ports, and when.
#[derive(Clone, Debug, Default)]
pub struct TupleTable {
    entries: FxHashMap<LocalTuple, Vec<Entry>>,
}

impl TupleTable {
    /// Adds what an event told. Times must not fall.
    pub(super) fn insert(&mut self, tuple: LocalTuple, netns_cookie: u64, from_ns: u64, cookie: u64) {
        let entries = self.entries.entry(tuple).or_default();
        let same = |entry: &Entry| entry.netns_cookie == netns_cookie && entry.cookie == cookie;
        if cookie != 0 && !entries.iter().rev().any(same) {
            entries.push(Entry { netns_cookie, from_ns, cookie });
        }
    }

    /// Adds what a packet showed, in place of what earlier ones of the same tuple and namespace did.
    pub(super) fn learn(&mut self, tuple: LocalTuple, netns_cookie: u64, from_ns: u64, cookie: u64) {
        if self.entries.len() >= LEARNED_TUPLES_MAX && !self.entries.contains_key(&tuple) {
            self.entries.clear();
        }
        let entries = self.entries.entry(tuple).or_default();
        match entries.iter_mut().find(|entry| entry.netns_cookie == netns_cookie) {
            Some(entry) if entry.cookie == cookie => {}
            Some(entry) => *entry = Entry { netns_cookie, from_ns, cookie },
            None => entries.push(Entry { netns_cookie, from_ns, cookie }),
        }
    }

    /// The socket that had a tuple at a time: the last one before it, else the first one after it. Where a namespace is
    /// unknown on either side, there must be no doubt which one is meant.
    pub(super) fn find(&self, tuple: LocalTuple, netns_cookie: u64, time_ns: u64) -> Option<u64> {
        let entries = self.entries.get(&tuple)?;
        let best = |accept: &dyn Fn(&Entry) -> bool| {
            let mut accepted = entries.iter().filter(|entry| accept(entry));
            let first = accepted.next()?;
            let last = accepted.take_while(|entry| entry.from_ns <= time_ns).last();
            Some(*last.unwrap_or(first))
        };
        if netns_cookie != 0 {
            let exact = best(&|entry| entry.netns_cookie == netns_cookie);
            return exact.or_else(|| best(&|entry| entry.netns_cookie == 0)).map(|entry| entry.cookie);
        }
        let found = best(&|_| true)?;
        let doubtful = entries.iter().any(|entry| entry.netns_cookie != found.netns_cookie);
        (!doubtful).then_some(found.cookie)
    }
}
