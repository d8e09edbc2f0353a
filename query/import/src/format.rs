//! What both formats have in common: records behind each other.

use kcap_format::Direction;

use crate::bytes::Bytes;
use crate::error::{Error, Result, Stop};
use crate::interface::{Interface, Interfaces, Statistics};
use crate::pcap::PcapFormat;
use crate::pcapng;
use crate::window::Window;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html>, and its relatives.
    Pcap(PcapFormat),
    /// <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-04.html>.
    Pcapng,
}

/// A place between two records, and what has to be known there of those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// In bytes from the beginning of the file.
    pub(crate) offset: u64,
    /// Byte order of the section.
    pub(crate) is_big_endian: bool,
    /// Number of the section's first interface, counted over the whole file.
    pub(crate) section_interface: u32,
    /// How many interfaces were described before.
    pub(crate) interface_count: u32,
}

/// What a record is.
#[derive(Debug, PartialEq)]
pub(crate) enum Item {
    /// A packet.
    Packet(PacketHead),
    /// A packet that cannot be read, in a record that could be passed over.
    BadPacket,
    /// A section begins.
    Section(Section),
    /// An interface is described.
    Interface(Interface),
    /// What the interface of this number counted.
    Statistics(u32, Statistics),
    /// Anything else.
    Other,
}

/// A packet but for its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PacketHead {
    /// Nanoseconds since 1970.
    pub(crate) time_ns: u64,
    /// Where its bytes begin in the file.
    pub(crate) offset: u64,
    /// Bytes that were captured.
    pub(crate) captured_len: u32,
    /// Bytes on the wire.
    pub(crate) wire_len: u32,
    /// Number of its interface, counted over the whole file.
    pub(crate) interface: u32,
    /// What its interface is told to see in the interface's own numbers, where the file has it instead.
    pub(crate) interface_index: Option<u32>,
    /// `LINKTYPE_*`.
    pub(crate) link_type: u16,
    /// Which way it went.
    pub(crate) direction: Direction,
    /// Where its options begin in the file, and how many bytes they have.
    pub(crate) options: (u64, u32),
}

/// Who wrote a section, where the file tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) hardware: String,
    pub(crate) system: String,
    pub(crate) application: String,
}

impl Format {
    /// The format of a file, and where its first record begins.
    pub(crate) fn detect(path: &std::path::Path, bytes: &Bytes) -> Result<(Self, Position)> {
        let mut head = [0; crate::pcap::FILE_HEADER_LEN];
        let len = bytes.read_at(&mut head, 0).map_err(|error| Error::io(path, error))?;
        if pcapng::is_pcapng(&head[..len]) {
            return Ok((Self::Pcapng, Position::at(0)));
        }
        if let Some(format) = PcapFormat::of(&head[..len]) {
            format.check_version(path, &head)?;
            let position =
                Position { interface_count: 1, ..Position::at(crate::pcap::FILE_HEADER_LEN as u64) };
            return Ok((Self::Pcap(format), position));
        }
        Err(Error::NotACapture { path: path.to_owned() })
    }

    /// Reads the record at a position, and moves the position behind it. `interfaces` are those of the whole file as far as
    /// they are known: all before the position.
    pub(crate) fn next(
        &self,
        window: &mut Window<'_>,
        position: &mut Position,
        interfaces: Interfaces<'_>,
    ) -> Result<Item, Stop> {
        match self {
            Self::Pcap(format) => format.next(window, position),
            Self::Pcapng => pcapng::next(window, position, interfaces),
        }
    }
}

impl Position {
    /// A place before any section and interface.
    pub(crate) fn at(offset: u64) -> Self {
        Self { offset, is_big_endian: false, section_interface: 0, interface_count: 0 }
    }
}
