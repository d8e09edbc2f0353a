//! Lives of sockets.

use super::process::{ProcessIndex, ProcessRef};
use super::tuple::LocalTuple;
use super::{Attribution, Owner};

/// An address, IPv4 mapped, and a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// 16 bytes in network order.
    pub address: [u8; 16],
    /// 0 when unknown.
    pub port: u16,
}

impl Endpoint {
    /// True for `0.0.0.0` and `::`, also mapped.
    #[must_use]
    pub fn is_any_address(&self) -> bool {
        self.address == [0; 16] || self.address == crate::decode::map_ipv4([0; 4])
    }
}

/// What a [`SocketFact`] tells; as `SocketEvent.Kind` of `spec/events.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum SocketFactKind {
    #[default]
    Create,
    Bind,
    Connect,
    Established,
    Accepted,
    Send,
    Receive,
    Release,
    Enumerate,
}

/// A fact about a socket.
#[derive(Clone, Debug, Default)]
pub struct SocketFact {
    /// When it was so.
    pub time_ns: u64,
    /// Which socket.
    pub cookie: u64,
    /// Network namespace cookie, 0 when unknown.
    pub netns_cookie: u64,
    /// What happened.
    pub kind: SocketFactKind,
    /// `IPPROTO_*`.
    pub protocol: u8,
    /// Its own end.
    pub local: Option<Endpoint>,
    /// Its peer.
    pub remote: Option<Endpoint>,
    /// Who did it.
    pub owner: Option<ProcessRef>,
    /// `task_struct.comm` of the owner; empty when unknown.
    pub owner_name: Vec<u8>,
    /// Owner of the listener, through socket storage.
    pub inherited_owner: Option<ProcessRef>,
}

impl SocketFact {
    /// Addresses and ports of both ends, when they are known.
    pub(super) fn tuple(&self) -> Option<LocalTuple> {
        let local = self.local.filter(|end| end.port != 0 && !end.is_any_address())?;
        let remote = self.remote.filter(|end| end.port != 0)?;
        Some(LocalTuple { protocol: self.protocol, local, remote })
    }

    /// The own end of a socket that has no peer.
    pub(super) fn listening(&self) -> Option<LocalTuple> {
        let local = self.local.filter(|end| end.port != 0)?;
        let unconnected = self.remote.is_none_or(|end| end.port == 0);
        unconnected.then(|| LocalTuple::listener(self.protocol, local))
    }
}

/// All that is known of one socket.
#[derive(Clone, Debug, Default)]
pub struct SocketLife {
    /// Network namespace cookie, 0 when unknown.
    pub netns_cookie: u64,
    /// `IPPROTO_*`, 0 when unknown.
    pub protocol: u8,
    /// Its own end as last told.
    pub local: Option<Endpoint>,
    /// Its peer as last told.
    pub remote: Option<Endpoint>,
    /// When it was created, if that was seen.
    pub created_ns: Option<u64>,
    /// When its last file was closed, if that was seen.
    pub released_ns: Option<u64>,
    /// Who created or bound it.
    pub creator: Option<ProcessIndex>,
    /// Owner of the listener that it was accepted from.
    pub inherited: Option<ProcessIndex>,
    /// Who had it open according to `/proc`.
    pub enumerated: Option<ProcessIndex>,
    /// Who closed it.
    pub releaser: Option<ProcessIndex>,
    /// Who used it from when on; the times rise, and neighbours differ.
    uses: Vec<(u64, ProcessIndex)>,
}

impl SocketLife {
    /// Who used it, from when on.
    #[must_use]
    pub fn uses(&self) -> &[(u64, ProcessIndex)] {
        &self.uses
    }

    /// Who owned it at a time, if anybody is known; see
    /// [`OwnerIndex::owner_of_cookie`](super::OwnerIndex::owner_of_cookie).
    pub(super) fn owner_at(&self, time_ns: u64) -> Option<Owner> {
        let after = self.uses.partition_point(|(from_ns, _)| *from_ns <= time_ns);
        let user = self.uses.get(after.saturating_sub(1)).map(|(_, process)| *process);
        let known = [
            (user, Attribution::Cookie),
            (self.inherited, Attribution::SocketStorage),
            (self.creator, Attribution::Cookie),
            (self.enumerated, Attribution::ProcScan),
            (self.releaser, Attribution::Cookie),
        ];
        known
            .into_iter()
            .find(|(process, _)| process.is_some())
            .map(|(process, attribution)| Owner { process, attribution })
    }

    /// Adds a fact; they must come in the order of time.
    pub(super) fn add(
        &mut self,
        fact: &SocketFact,
        owner: Option<ProcessIndex>,
        inherited: Option<ProcessIndex>,
    ) {
        if fact.netns_cookie != 0 {
            self.netns_cookie = fact.netns_cookie;
        }
        if fact.protocol != 0 {
            self.protocol = fact.protocol;
        }
        self.local = fact.local.filter(|end| end.port != 0).or(self.local);
        self.remote = fact.remote.filter(|end| end.port != 0).or(self.remote);
        self.inherited = self.inherited.or(inherited);
        match fact.kind {
            SocketFactKind::Create => {
                self.created_ns = self.created_ns.or(Some(fact.time_ns));
                self.creator = owner.or(self.creator);
            }
            // Whoever sets a socket up may leave its use to a child: weaker evidence than sending or receiving.
            SocketFactKind::Bind => self.creator = self.creator.or(owner),
            // Happens in softirq: a task that is named here did not do it, except for the active open in connect(2), which
            // a Connect tells of.
            SocketFactKind::Established | SocketFactKind::Accepted => {
                if fact.kind == SocketFactKind::Accepted {
                    self.created_ns = self.created_ns.or(Some(fact.time_ns));
                }
            }
            SocketFactKind::Connect | SocketFactKind::Send | SocketFactKind::Receive => {
                self.add_use(fact.time_ns, owner);
            }
            SocketFactKind::Release => {
                self.released_ns = Some(fact.time_ns);
                self.releaser = owner.or(self.releaser);
            }
            SocketFactKind::Enumerate => self.enumerated = self.enumerated.or(owner),
        }
    }

    fn add_use(&mut self, time_ns: u64, owner: Option<ProcessIndex>) {
        if let Some(owner) = owner
            && self.uses.last().is_none_or(|(_, last)| *last != owner)
        {
            self.uses.push((time_ns, owner));
        }
    }
}
