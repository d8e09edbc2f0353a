//! What a column takes to be filled, so that a scan reads nothing else.

use std::ops::BitOr;

use kcap_dissect::decode::Ip;
use kcap_format::PacketColumns;

use super::block::PacketBlock;
use crate::source::Library;
use crate::table::FlowIds;

/// Sections to read and steps to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Sections of the PACKETS blocks; the payload is asked for apart.
    pub columns: PacketColumns,
    /// Read the payload.
    pub payload: bool,
    /// Decode the headers.
    pub decode: bool,
    /// Find the copies of packets that were recorded more than once.
    pub duplicates: bool,
    /// Find the process at the hook.
    pub owner: bool,
    /// Find the process at the other end.
    pub peer: bool,
    /// Take what the arriving copies of local packets have more than the leaving ones, see [`Needs::with_copies`].
    pub copies: bool,
}

impl Needs {
    /// Only sections.
    #[must_use]
    pub const fn sections(columns: PacketColumns) -> Self {
        Self {
            columns,
            payload: false,
            decode: false,
            duplicates: false,
            owner: false,
            peer: false,
            copies: false,
        }
    }

    /// The payload.
    #[must_use]
    pub const fn payload() -> Self {
        Self { payload: true, ..Self::sections(PacketColumns::NONE) }
    }

    /// The time.
    #[must_use]
    pub const fn timed() -> Self {
        Self::sections(PacketColumns::TIME)
    }

    /// Decoded headers.
    #[must_use]
    pub const fn decoding() -> Self {
        let columns = PacketColumns::HEADER.union(PacketColumns::LINK_TYPE).union(PacketColumns::WIRE_LEN);
        Self { decode: true, ..Self::sections(columns) }
    }

    /// Copies of packets.
    #[must_use]
    pub const fn matching() -> Self {
        let columns = Self::decoding().columns.union(Self::identity()).union(PacketColumns::GSO_SIZE);
        Self { columns, duplicates: true, ..Self::decoding() }
    }

    /// The process at the hook.
    #[must_use]
    pub const fn owning() -> Self {
        let columns = Self::decoding().columns.union(Self::identity());
        Self { columns, owner: true, ..Self::decoding() }
    }

    /// The processes at both ends.
    #[must_use]
    pub const fn both_ends() -> Self {
        Self { owner: true, peer: true, ..Self::matching() }
    }

    /// For whoever counts a local packet once: adds what the arriving copy knows beside the leaving one. That is something where
    /// payload tasks asked for the packets of one end alone.
    #[must_use]
    pub fn with_copies(self, library: &Library) -> Self {
        let taken = PacketColumns::TASKS.union(PacketColumns::PAYLOAD_LEN);
        if !library.has_payload_tasks() || !(self.payload || self.columns.intersects(taken)) {
            return self;
        }
        Self { copies: true, ..self | Self::matching() | Self::sections(taken) }
    }

    /// Whether blocks wait for what later ones know of their packets.
    pub(super) const fn looks_ahead(self) -> bool {
        self.peer || self.copies
    }

    const fn identity() -> PacketColumns {
        PacketColumns::TIME
            .union(PacketColumns::DIRECTION)
            .union(PacketColumns::SOCKET_COOKIE)
            .union(PacketColumns::NETNS_COOKIE)
            .union(PacketColumns::INTERFACE_INDEX)
            .union(PacketColumns::PROGRAM)
    }
}

/// The blocks whose payloads are read, where payloads are needed.
#[derive(Clone, Debug, Default)]
pub enum Payloads {
    /// All.
    #[default]
    All,
    /// Those with packets of these flows, and with fragments, of which not all tell their flow.
    OfFlows(FlowIds),
    /// Those with fragments, which tell only together what they carry.
    OfFragments,
    /// Those and what is damaged, for whoever wants to know what is missing: the others are compared with their checksums.
    OfFragmentsAndDamaged,
}

impl Payloads {
    /// Whether no payloads are read but of the few packets that make it necessary.
    pub(super) const fn are_few(&self) -> bool {
        matches!(self, Self::OfFragments | Self::OfFragmentsAndDamaged)
    }

    /// Whether a block's payloads are read, now that its headers are decoded.
    pub(super) fn are_read_of(&self, block: &PacketBlock) -> bool {
        let any = |wanted: &dyn Fn(usize) -> bool| {
            (0..block.len()).any(|row| block.decoded[row].ip().is_some_and(Ip::is_fragment) || wanted(row))
        };
        match self {
            Self::All => true,
            Self::OfFlows(flow_ids) => any(&|row| {
                block.decoded[row].tunnel_depth > 0
                    || block.flow_id(row).is_some_and(|id| flow_ids.contains(id))
            }),
            Self::OfFragments => any(&|_| false),
            Self::OfFragmentsAndDamaged => !block.payloads_are_whole() || any(&|_| false),
        }
    }
}

impl BitOr for Needs {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            columns: self.columns | other.columns,
            payload: self.payload | other.payload,
            decode: self.decode | other.decode,
            duplicates: self.duplicates | other.duplicates,
            owner: self.owner | other.owner,
            peer: self.peer | other.peer,
            copies: self.copies | other.copies,
        }
    }
}
