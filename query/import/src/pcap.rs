//! pcap: a header of 24 bytes, then records of 16 bytes and a packet (draft-ietf-opsawg-pcap).

use std::path::Path;

use kcap_format::Direction;

use crate::error::{Error, Result, Stop};
use crate::format::{Item, PacketHead, Position};
use crate::interface::Interface;
use crate::limits::PACKET_LEN_MAX;
use crate::window::Window;

/// Bytes of the file's header.
pub(crate) const FILE_HEADER_LEN: usize = 24;

/// Bytes of a record's header.
const RECORD_LEN: usize = 16;
/// The same in the format of Alexey Kuznetzov's patched libpcap: interface index, protocol and packet type follow.
const KUZNETZOV_RECORD_LEN: usize = 24;

/// First four bytes as a number in the byte order of whoever wrote the file.
mod magic {
    pub(super) const MICROSECONDS: u32 = 0xa1b2_c3d4;
    pub(super) const NANOSECONDS: u32 = 0xa1b2_3c4d;
    pub(super) const KUZNETZOV: u32 = 0xa1b2_cd34;
}

/// The version that all files have; others are older than libpcap 0.4.
const VERSION_MAJOR: u16 = 2;

/// Packet type of `linux/if_packet.h` for one that leaves.
const PACKET_OUTGOING: u8 = 4;

/// What a file's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PcapFormat {
    is_big_endian: bool,
    /// Nanoseconds of a unit of the second half of a timestamp.
    fraction_ns: u64,
    record_len: usize,
    pub(crate) link_type: u16,
    pub(crate) snaplen: u32,
}

impl PcapFormat {
    /// The format of a file that begins like this; `None` when it is no pcap file.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        let head: &[u8; FILE_HEADER_LEN] = head.first_chunk()?;
        let is_big_endian = head[0] == 0xa1;
        let (fraction_ns, record_len) = match u32_at(head, 0, is_big_endian) {
            magic::MICROSECONDS => (1000, RECORD_LEN),
            magic::NANOSECONDS => (1, RECORD_LEN),
            magic::KUZNETZOV => (1000, KUZNETZOV_RECORD_LEN),
            _ => return None,
        };
        Some(Self {
            is_big_endian,
            fraction_ns,
            record_len,
            // The upper half tells of frame check sequences.
            link_type: u32_at(head, 20, is_big_endian) as u16,
            snaplen: u32_at(head, 16, is_big_endian),
        })
    }

    /// Refuses versions that nobody has written for decades.
    pub(crate) fn check_version(&self, path: &Path, head: &[u8; FILE_HEADER_LEN]) -> Result<()> {
        let number = |at: usize| {
            let bytes = [head[at], head[at + 1]];
            if self.is_big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
        };
        let (major, minor) = (number(4), number(6));
        if major == VERSION_MAJOR {
            return Ok(());
        }
        Err(Error::Unsupported { path: path.to_owned(), format: "pcap", major, minor })
    }

    /// The one interface of the file.
    pub(crate) fn interface(&self) -> Interface {
        Interface { link_type: self.link_type, snaplen: self.snaplen, ..Interface::default() }
    }

    /// See [`crate::format::Format::next`].
    pub(crate) fn next(&self, window: &mut Window<'_>, position: &mut Position) -> Result<Item, Stop> {
        let offset = position.offset;
        let head = window.read(offset, self.record_len)?;
        if head.len() < self.record_len {
            return Err(if head.is_empty() { Stop::End } else { Stop::Torn(offset) });
        }
        let number = |at: usize| u32_at(head, at, self.is_big_endian);
        let (seconds, fraction, captured_len, wire_len) = (number(0), number(4), number(8), number(12));
        let is_kuznetzov = self.record_len == KUZNETZOV_RECORD_LEN;
        let packet = PacketHead {
            time_ns: u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.fraction_ns,
            offset: offset + self.record_len as u64,
            captured_len,
            wire_len: wire_len.max(captured_len),
            interface: 0,
            interface_index: is_kuznetzov.then(|| number(16)),
            link_type: self.link_type,
            direction: match head.get(22) {
                Some(&PACKET_OUTGOING) if is_kuznetzov => Direction::Egress,
                Some(0..=2) if is_kuznetzov => Direction::Ingress,
                _ => Direction::Unknown,
            },
            options: (0, 0),
        };
        if captured_len > PACKET_LEN_MAX {
            return Err(Stop::Corrupt(offset, "a packet longer than any"));
        }
        let end = packet.offset + u64::from(captured_len);
        if captured_len > 0 && window.read(end - 1, 1)?.is_empty() {
            return Err(Stop::Torn(offset));
        }
        position.offset = end;
        Ok(Item::Packet(packet))
    }

    /// The length of the record that these bytes may begin with; `None` when they do not look like one.
    pub(crate) fn plausible_len(&self, bytes: &[u8]) -> Option<usize> {
        let head = bytes.get(..self.record_len)?;
        let number = |at: usize| u32_at(head, at, self.is_big_endian);
        let (fraction, captured_len, wire_len) = (u64::from(number(4)), number(8), number(12));
        let is_plausible = fraction * self.fraction_ns < 1_000_000_000
            && captured_len > 0
            && captured_len <= wire_len
            && wire_len <= PACKET_LEN_MAX
            && captured_len <= self.snaplen.max(PLAUSIBLE_LEN_MAX);
        is_plausible.then_some(self.record_len + captured_len as usize)
    }
}

/// Most captured bytes of a packet that a guess is made of: `MAXIMUM_SNAPLEN` of libpcap.
const PLAUSIBLE_LEN_MAX: u32 = 262_144;

fn u32_at(bytes: &[u8], at: usize, is_big_endian: bool) -> u32 {
    let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    if is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}
