//! Which process a packet belongs to, and how that is known.
//!
//! The recorder stores facts: this cookie was created by that task, this packet passed a socket of this cookie.
//! [`OwnerIndexBuilder`] gathers them, [`OwnerIndex`] answers. Where no fact names an owner, the answer says why.
//!
//! ```
//! use kcap_dissect::Direction;
//! use kcap_dissect::attribute::*;
//!
//! let server = ProcessRef { pid: 42, start_time_ns: 1_000, coarse: false };
//! let mut builder = OwnerIndexBuilder::default();
//! builder.process(ProcessFact {
//!     time_ns: 2_000,
//!     kind: ProcessFactKind::Exec,
//!     process: server,
//!     description: Description { name: (*b"nginx").into(), ..Description::default() },
//!     ..ProcessFact::default()
//! });
//! builder.socket(SocketFact {
//!     time_ns: 3_000,
//!     cookie: 7,
//!     kind: SocketFactKind::Send,
//!     owner: Some(server),
//!     ..SocketFact::default()
//! });
//! let index = builder.build();
//! let owner = index.owner_of_cookie(7, 5_000).unwrap();
//! assert_eq!(owner.attribution, Attribution::Cookie);
//! let process = index.process(owner.process.unwrap());
//! assert_eq!(*process.description(5_000).unwrap().name, *b"nginx");
//! ```

mod kernel;
mod process;
mod socket;
mod tuple;

#[cfg(test)]
mod tests;

pub use process::{
    COARSE_START_TOLERANCE_NS, Description, ProcessFact, ProcessFactKind, ProcessIndex, ProcessLife,
    ProcessRef, ProcessTable,
};
pub use socket::{Endpoint, SocketFact, SocketFactKind, SocketLife};
pub use tuple::{LEARNED_TUPLES_MAX, LocalTuple, TupleTable};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::Direction;
use crate::decode::Decoded;

/// `::`, which a host sends from before it has an address.
const UNSPECIFIED: [u8; 16] = [0; 16];

/// How an owner is known, best evidence first; or why none is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Attribution {
    /// A task used or created the socket whose cookie the packet carries.
    Cookie,
    /// The packet's socket was accepted, nobody used it, and its listener's owner was handed down in socket storage.
    SocketStorage,
    /// `/proc` showed who had the packet's socket open when the recorder began.
    ProcScan,
    /// The packet has no known socket, but one with its addresses and ports is known.
    Tuple,
    /// The kernel made the packet itself, or it is ARP, which only kernels speak. A process is named beside it when the packet
    /// is about that one's connection.
    Kernel,
    /// Nothing: the packet had no socket.
    NoSocket,
    /// Nothing: no event told of the packet's socket.
    UnknownSocket,
    /// Nothing: the packet's socket is known, but no event named a process for it.
    NoOwner,
}

impl Attribution {
    /// All of them, in the order of their numbers (`attribution as usize`).
    pub const ALL: [Self; 8] = [
        Self::Cookie,
        Self::SocketStorage,
        Self::ProcScan,
        Self::Tuple,
        Self::Kernel,
        Self::NoSocket,
        Self::UnknownSocket,
        Self::NoOwner,
    ];

    /// Name in tables and exports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::SocketStorage => "socket_storage",
            Self::ProcScan => "proc_scan",
            Self::Tuple => "tuple",
            Self::Kernel => "kernel",
            Self::NoSocket => "no_socket",
            Self::UnknownSocket => "unknown_socket",
            Self::NoOwner => "no_owner",
        }
    }
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The process, if one could be named; see [`OwnerIndex::process`].
    pub process: Option<ProcessIndex>,
    /// How it is known, or why it isn't.
    pub attribution: Attribution,
}

impl Owner {
    const fn nobody(attribution: Attribution) -> Self {
        Self { process: None, attribution }
    }
}

/// What is asked about: a packet and what its record says of it.
#[derive(Clone, Copy, Debug)]
pub struct PacketFacts<'a> {
    /// When, in the same clock as the facts.
    pub time_ns: u64,
    /// Which way it went.
    pub direction: Direction,
    /// Cookie of its socket at the hook, 0 for none.
    pub socket_cookie: u64,
    /// Cookie of its network namespace, 0 when unknown.
    pub netns_cookie: u64,
    /// It was seen at an interface, where packets pass that no socket of this host sent or takes.
    pub at_interface: bool,
    /// Its headers.
    pub decoded: &'a Decoded,
}

/// Gathers facts, in any order.
#[derive(Debug, Default)]
pub struct OwnerIndexBuilder {
    processes: Vec<ProcessFact>,
    sockets: Vec<SocketFact>,
    local_addresses: FxHashSet<(u64, [u8; 16])>,
}

impl OwnerIndexBuilder {
    /// Adds what is known of a process.
    pub fn process(&mut self, fact: ProcessFact) {
        self.processes.push(fact);
    }

    /// Adds what is known of a socket.
    pub fn socket(&mut self, fact: SocketFact) {
        self.sockets.push(fact);
    }

    /// Adds an address of an interface, IPv4 as IPv4-mapped IPv6, and the namespace that has it.
    pub fn local_address(&mut self, netns_cookie: u64, address: [u8; 16]) {
        self.local_addresses.insert((netns_cookie, address));
    }

    /// Puts the facts in the order of time and joins them.
    #[must_use]
    pub fn build(mut self) -> OwnerIndex {
        // Stable: facts of one time stay in the order in which they were told.
        self.processes.sort_by_key(|fact| fact.time_ns);
        self.sockets.sort_by_key(|fact| fact.time_ns);
        let mut index = OwnerIndex { local_addresses: self.local_addresses, ..OwnerIndex::default() };
        for fact in self.processes {
            index.processes.add(fact);
        }
        for fact in self.sockets {
            let owner = fact
                .owner
                .and_then(|process| index.processes.mention(process, fact.time_ns, &fact.owner_name));
            let inherited =
                fact.inherited_owner.and_then(|process| index.processes.mention(process, fact.time_ns, &[]));
            if let Some(tuple) = fact.tuple() {
                index.tuples.insert(tuple, fact.netns_cookie, fact.time_ns, fact.cookie);
            }
            if let Some(listening) = fact.listening() {
                index.listeners.insert(listening, fact.netns_cookie, fact.time_ns, fact.cookie);
            }
            index.sockets.entry(fact.cookie).or_default().add(&fact, owner, inherited);
        }
        index.sockets.remove(&0);
        index
    }
}

/// Facts joined; answers whose packet it was. Immutable, so that threads can share it.
#[derive(Debug, Default)]
pub struct OwnerIndex {
    processes: ProcessTable,
    sockets: FxHashMap<u64, SocketLife>,
    /// Connected sockets by their addresses and ports.
    tuples: TupleTable,
    /// Bound sockets without a peer.
    listeners: TupleTable,
    /// Addresses of interfaces, with their namespaces.
    local_addresses: FxHashSet<(u64, [u8; 16])>,
}

impl OwnerIndex {
    /// All processes.
    #[must_use]
    pub fn processes(&self) -> &ProcessTable {
        &self.processes
    }

    /// A process of an [`Owner`] that this index gave.
    ///
    /// # Panics
    /// Never for numbers from this index; for those of another one it may.
    #[must_use]
    pub fn process(&self, index: ProcessIndex) -> &ProcessLife {
        self.processes.get(index)
    }

    /// All sockets with their cookies, in no order.
    pub fn sockets(&self) -> impl Iterator<Item = (u64, &SocketLife)> {
        self.sockets.iter().map(|(cookie, life)| (*cookie, life))
    }

    /// The socket of this cookie.
    #[must_use]
    pub fn socket(&self, cookie: u64) -> Option<&SocketLife> {
        self.sockets.get(&cookie)
    }

    /// Who owned the socket of this cookie at a time; `None` when no event told of it, [`Attribution::NoOwner`] when events
    /// did but named nobody.
    ///
    /// That is its last user at or before the time; else its first user after it (data arrive before they are read); else
    /// who had the listener, if it was accepted; else who created it; else who had it open according to `/proc`.
    #[must_use]
    pub fn owner_of_cookie(&self, cookie: u64, time_ns: u64) -> Option<Owner> {
        let life = self.sockets.get(&cookie)?;
        Some(life.owner_at(time_ns).unwrap_or(Owner::nobody(Attribution::NoOwner)))
    }

    /// Whose packet it is. `learned` are the tuples of the packets before it, if the caller kept any
    /// ([`OwnerIndex::learn`]).
    #[must_use]
    pub fn attribute(&self, packet: &PacketFacts<'_>, learned: Option<&TupleTable>) -> Owner {
        let by_cookie = self.owner_of_cookie(packet.socket_cookie, packet.time_ns);
        if let Some(owner) = by_cookie.filter(|owner| owner.process.is_some()) {
            return owner;
        }
        let by_tuple = self.by_tuple(packet, learned);
        let process = by_tuple.and_then(|(process, _)| process);
        let may_be_kernel = by_cookie.is_none() && self.has_local_end(packet);
        if may_be_kernel && kernel::made_by_kernel(packet, by_tuple.is_some_and(|(_, closed)| closed)) {
            return Owner { process, attribution: Attribution::Kernel };
        }
        if process.is_some() {
            return Owner { process, attribution: Attribution::Tuple };
        }
        Owner::nobody(match (by_cookie, packet.socket_cookie) {
            (Some(_), _) => Attribution::NoOwner,
            (None, 0) => Attribution::NoSocket,
            (None, _) => Attribution::UnknownSocket,
        })
    }

    /// The process at the other end of a packet, when a socket of this host has exactly its addresses and ports from that
    /// side. For packets whose other copy is missing: those to and from connections in TIME_WAIT have one record only.
    #[must_use]
    pub fn other_end(&self, packet: &PacketFacts<'_>) -> Option<Owner> {
        let tuple = LocalTuple::of(packet.decoded, packet.direction)?.reversed();
        // The other end may be in another namespace, unless it is this one by its address.
        let same_namespace = packet.decoded.ip()?.is_loopback();
        let netns_cookie = if same_namespace { packet.netns_cookie } else { 0 };
        let cookie = self.tuples.find(tuple, netns_cookie, packet.time_ns)?;
        let process = self.sockets.get(&cookie)?.owner_at(packet.time_ns)?.process?;
        Some(Owner { process: Some(process), attribution: Attribution::Tuple })
    }

    /// Notes in `table` that packets with these addresses and ports belong to the packet's socket, if that one is known.
    pub fn learn(&self, table: &mut TupleTable, packet: &PacketFacts<'_>) {
        if !self.sockets.contains_key(&packet.socket_cookie) {
            return;
        }
        if let Some(tuple) = LocalTuple::of(packet.decoded, packet.direction) {
            table.learn(tuple, packet.netns_cookie, packet.time_ns, packet.socket_cookie);
        }
    }

    /// The owner of another socket that has the packet's addresses and ports, and whether it was closed by then.
    fn by_tuple(
        &self,
        packet: &PacketFacts<'_>,
        learned: Option<&TupleTable>,
    ) -> Option<(Option<ProcessIndex>, bool)> {
        let tuple = LocalTuple::of(packet.decoded, packet.direction)?;
        let find = |table: &TupleTable, tuple| table.find(tuple, packet.netns_cookie, packet.time_ns);
        let listener = || {
            // What is forwarded may have a port on which somebody here listens.
            let listeners = self.has_local_end(packet).then(|| tuple.listeners());
            listeners.into_iter().flatten().find_map(|tuple| find(&self.listeners, tuple))
        };
        let cookie = find(&self.tuples, tuple)
            .or_else(|| learned.and_then(|table| find(table, tuple)))
            .or_else(listener)?;
        let life = self.sockets.get(&cookie)?;
        let closed = life.released_ns.is_some_and(|released_ns| released_ns <= packet.time_ns);
        Some((life.owner_at(packet.time_ns).and_then(|owner| owner.process), closed))
    }

    /// False for a packet that passed an interface from and to other hosts, as far as addresses tell.
    fn has_local_end(&self, packet: &PacketFacts<'_>) -> bool {
        let Some(ip) = packet.decoded.ip() else { return true };
        let address = match packet.direction {
            Direction::Egress => ip.source,
            _ => ip.destination,
        };
        !packet.at_interface
            || ip.is_loopback()
            || address == UNSPECIFIED
            || self.local_addresses.contains(&(packet.netns_cookie, address))
    }
}
