//! Which columns a reader wants.

use std::ops::BitOr;

/// A set of columns of [`PacketBatch`](crate::PacketBatch). Sections of other columns are not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PacketColumns(u32);

#[allow(missing_docs)] // each is the column of PacketBatch of the same name
impl PacketColumns {
    /// No column: only the number of packets.
    pub const NONE: Self = Self(0);
    pub const TIME: Self = Self(1 << 0);
    pub const SOCKET_COOKIE: Self = Self(1 << 1);
    pub const NETNS_COOKIE: Self = Self(1 << 2);
    pub const INTERFACE_INDEX: Self = Self(1 << 3);
    pub const WIRE_LEN: Self = Self(1 << 4);
    pub const LINK_TYPE: Self = Self(1 << 5);
    pub const DIRECTION: Self = Self(1 << 6);
    pub const FLAGS: Self = Self(1 << 7);
    pub const PROGRAM: Self = Self(1 << 8);
    pub const CPU: Self = Self(1 << 9);
    pub const GSO_SIZE: Self = Self(1 << 10);
    pub const GSO_SEGMENTS: Self = Self(1 << 11);
    pub const MARK: Self = Self(1 << 12);
    pub const PAYLOAD_LEN: Self = Self(1 << 13);
    pub const HEADER: Self = Self(1 << 14);
    /// Fills `payload_len` too.
    pub const PAYLOAD: Self = Self(1 << 15);
    pub const TASKS: Self = Self(1 << 16);
    /// All columns of fixed size.
    pub const META: Self = Self(((1 << 14) - 1) | Self::TASKS.0);
    /// Everything.
    pub const ALL: Self = Self((1 << 17) - 1);

    /// True when all columns of `other` are in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when some column of `other` is in this set.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The columns of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True when no column is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for PacketColumns {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl std::ops::BitOrAssign for PacketColumns {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}
