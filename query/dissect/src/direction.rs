//! Which way a packet went.

/// Which way a packet went, seen from the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Not known: packets of imported captures.
    #[default]
    Unknown,
    /// Arriving at a socket or interface.
    Ingress,
    /// Leaving one.
    Egress,
}
