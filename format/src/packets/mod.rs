//! PACKETS blocks: columns in separately compressed sections.
//!
//! ```text
//! directory | TIME | CLASS | columns by class … | columns by row … | HEADER | PAYLOAD
//! ```
//!
//! Values that hardly differ between the packets of one socket and direction are stored once for each class of rows;
//! a row only names its class. Equal packets, as local traffic gives that is seen leaving and arriving, are stored
//! once in a block; COPY_OF says how far back.

mod bytes_section;
mod classes;
mod columns;
mod copies;
mod decode;
mod directory;
mod encode;
#[cfg(test)]
mod hostile_tests;
mod integers;

pub use columns::PacketColumns;
pub(crate) use decode::{decode, dictionary_needed, prefix_len};
pub(crate) use directory::{DIRECTORY_LEN_MAX, directory_crc};
pub(crate) use encode::{EncodedPackets, PacketEncoder};

/// Numbers of the sections; never reused.
pub(crate) mod section {
    pub(crate) const TIME: u16 = 1;
    pub(crate) const CLASS: u16 = 2;
    pub(crate) const SOCKET_COOKIE: u16 = 3;
    pub(crate) const NETNS_COOKIE: u16 = 4;
    pub(crate) const INTERFACE_INDEX: u16 = 5;
    pub(crate) const LINK_TYPE: u16 = 6;
    pub(crate) const DIRECTION: u16 = 7;
    pub(crate) const FLAGS: u16 = 8;
    pub(crate) const PROGRAM: u16 = 9;
    pub(crate) const MARK: u16 = 10;
    pub(crate) const CPU: u16 = 11;
    pub(crate) const GSO_SIZE: u16 = 12;
    pub(crate) const GSO_SEGMENTS: u16 = 13;
    pub(crate) const HEADER_LEN: u16 = 14;
    pub(crate) const PAYLOAD_LEN: u16 = 15;
    pub(crate) const UNCAPTURED_LEN: u16 = 16;
    pub(crate) const COPY_OF: u16 = 17;
    pub(crate) const HEADER: u16 = 18;
    pub(crate) const PAYLOAD: u16 = 19;
    pub(crate) const DICTIONARY: u16 = 20;
    pub(crate) const TASKS: u16 = 21;
}

/// How the values of a section are laid out before compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Encoding {
    /// Bytes of all rows, one after the other.
    Plain = 0,
    /// Differences to the value before, zigzag LEB128.
    Delta = 1,
    /// One value that all rows have.
    Constant = 2,
    /// Number of planes, then all lowest bytes, all second bytes, ….
    Planes = 3,
    /// Rows of one length together, all first bytes, all second bytes, …; long rows plain behind them.
    Transposed = 4,
    /// As `Transposed`, each row the difference to the last row of its class.
    TransposedDelta = 5,
}

impl Encoding {
    pub(crate) fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Plain,
            1 => Self::Delta,
            2 => Self::Constant,
            3 => Self::Planes,
            4 => Self::Transposed,
            5 => Self::TransposedDelta,
            _ => return None,
        })
    }
}
