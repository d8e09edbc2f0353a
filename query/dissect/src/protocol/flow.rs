//! The conversation that a dissector looks at.

/// Which end of a flow sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The end that began the flow, or sent the first packet seen.
    Originator,
    /// The end that it was sent to.
    Responder,
}

impl Sender {
    /// Both, in the order of [`Sender::index`].
    pub const BOTH: [Self; 2] = [Self::Originator, Self::Responder];

    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Originator => Self::Responder,
            Self::Responder => Self::Originator,
        }
    }

    /// 0 for the originator, 1 for the responder: for arrays with something for each.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Where in the capture something was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment {
    /// Nanoseconds since 1970 in UTC.
    pub ts_ns: i64,
    /// The packet, in whatever way the caller numbers them: column `packet_id`.
    pub packet_id: u64,
}

/// One end of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Address, IPv4 mapped.
    pub ip: [u8; 16],
    /// Port; 0 for protocols that have none.
    pub port: u16,
    /// Hardware address, if the link layer told.
    pub mac: Option<[u8; 6]>,
}

/// A flow: what all its transactions have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// [`crate::flow_id()`].
    pub flow_id: u64,
    /// A number that tells this conversation from an earlier one with the same [`Self::flow_id`].
    pub conversation: u64,
    /// The end that began it.
    pub originator: Endpoint,
    /// The other one.
    pub responder: Endpoint,
    /// 4 or 6.
    pub ip_version: u8,
    /// [`crate::decode::ip_protocol`].
    pub ip_protocol: u8,
    /// VLAN ids, outermost first; 0 for none.
    pub vlan_ids: [u16; 2],
    /// [`crate::FlowKey::netns_cookie`].
    pub netns_cookie: u64,
    /// True when the beginning was seen: a handshake of TCP. False for streams that were joined late; the originator is then
    /// only the sender of the first packet seen.
    pub originator_known: bool,
}

impl Flow {
    /// One of the ends.
    #[must_use]
    pub fn end(&self, end: Sender) -> &Endpoint {
        match end {
            Sender::Originator => &self.originator,
            Sender::Responder => &self.responder,
        }
    }

    /// The end whose port is among these: the server by convention. The responder, if both or none are.
    #[must_use]
    pub fn server_by_port(&self, ports: &[u16]) -> Sender {
        if ports.contains(&self.originator.port) && !ports.contains(&self.responder.port) {
            Sender::Originator
        } else {
            Sender::Responder
        }
    }
}
