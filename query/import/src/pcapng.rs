//! pcapng: blocks of a type, a length, a body, and the length again (draft-ietf-opsawg-pcapng).

use std::io;
use std::net::IpAddr;

use kcap_format::Direction;

use crate::error::Stop;
use crate::format::{Item, PacketHead, Position, Section};
use crate::interface::{Interface, Interfaces, Statistics, TimestampUnit};
use crate::limits::{
    DESCRIPTION_LEN_MAX, INTERFACE_ADDRESS_COUNT_MAX, INTERFACE_COUNT_MAX, INTERFACE_NAME_LEN_MAX,
    PACKET_LEN_MAX,
};
use crate::window::Window;

/// Types of blocks that are understood (section 11.1 of the draft).
mod block_type {
    pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE_DESCRIPTION: u32 = 1;
    /// Obsolete: before there were options for what it has fields for.
    pub(super) const PACKET: u32 = 2;
    pub(super) const SIMPLE_PACKET: u32 = 3;
    pub(super) const INTERFACE_STATISTICS: u32 = 5;
    pub(super) const ENHANCED_PACKET: u32 = 6;
}

/// Codes of options that are understood.
mod option {
    pub(super) const END: u16 = 0;
    pub(super) const COMMENT: u16 = 1;
    pub(super) const SECTION_HARDWARE: u16 = 2;
    pub(super) const SECTION_SYSTEM: u16 = 3;
    pub(super) const SECTION_APPLICATION: u16 = 4;
    pub(super) const INTERFACE_NAME: u16 = 2;
    pub(super) const INTERFACE_IPV4: u16 = 4;
    pub(super) const INTERFACE_IPV6: u16 = 5;
    pub(super) const INTERFACE_MAC: u16 = 6;
    pub(super) const INTERFACE_RESOLUTION: u16 = 9;
    pub(super) const INTERFACE_OFFSET: u16 = 14;
    pub(super) const PACKET_FLAGS: u16 = 2;
    pub(super) const STATISTICS_RECEIVED: u16 = 4;
    pub(super) const STATISTICS_DROPPED: u16 = 5;
    pub(super) const STATISTICS_ACCEPTED: u16 = 6;
    pub(super) const STATISTICS_SYSTEM_DROPPED: u16 = 7;
}

/// Number at the beginning of a section, in its byte order.
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Bytes of type and length.
const HEAD_LEN: u32 = 8;
/// Bytes of the length behind the body.
const TRAILER_LEN: u32 = 4;
/// Bytes of the fixed part of the body of an enhanced packet, and of an obsolete one.
const PACKET_FIXED_LEN: usize = 20;
/// Bytes of a section header with its shortest body.
const SECTION_LEN_MIN: u32 = 28;
/// Most options of a block that are looked at.
const OPTIONS_MAX: usize = 1024;
/// Bytes of options behind a packet that are looked at for its direction.
const PACKET_OPTIONS_LEN: usize = 64;

/// Whether a file begins with a section.
pub(crate) fn is_pcapng(head: &[u8]) -> bool {
    let is_section = head.first_chunk() == Some(&block_type::SECTION_HEADER.to_be_bytes());
    is_section && head.get(8..12).and_then(byte_order).is_some()
}

/// Whether the magic number of a section is in big-endian order; `None` when it is none.
fn byte_order(magic: &[u8]) -> Option<bool> {
    let magic = magic.first_chunk()?;
    if u32::from_be_bytes(*magic) == BYTE_ORDER_MAGIC {
        Some(true)
    } else {
        (u32::from_le_bytes(*magic) == BYTE_ORDER_MAGIC).then_some(false)
    }
}

/// See [`crate::format::Format::next`].
pub(crate) fn next(
    window: &mut Window<'_>,
    position: &mut Position,
    interfaces: Interfaces<'_>,
) -> Result<Item, Stop> {
    let offset = position.offset;
    let head = window.read(offset, HEAD_LEN as usize + PACKET_FIXED_LEN)?;
    if head.len() < (HEAD_LEN + TRAILER_LEN) as usize {
        return Err(if head.is_empty() { Stop::End } else { Stop::Torn(offset) });
    }
    let mut is_big_endian = position.is_big_endian;
    // The type of a section header reads the same in both orders, so that it can say which one it is.
    let is_section = head[..4] == block_type::SECTION_HEADER.to_be_bytes();
    if is_section {
        let magic = byte_order(&head[8..12]);
        is_big_endian = magic.ok_or(Stop::Corrupt(offset, "a section without its byte order"))?;
    }
    let order = Order(is_big_endian);
    let (kind, len) = (order.u32(head, 0), order.u32(head, 4));
    let len_min = if is_section { SECTION_LEN_MIN } else { HEAD_LEN + TRAILER_LEN };
    // Some writers forget the padding in the length; the next block is aligned all the same.
    let padded_len = u64::from(len).next_multiple_of(4);
    if len < len_min {
        return Err(Stop::Corrupt(offset, "a block shorter than its header"));
    }
    let mut fixed = [0; PACKET_FIXED_LEN];
    let body_len = (len - HEAD_LEN - TRAILER_LEN) as usize;
    let fixed_len = body_len.min(PACKET_FIXED_LEN).min(head.len() - HEAD_LEN as usize);
    fixed[..fixed_len].copy_from_slice(&head[HEAD_LEN as usize..][..fixed_len]);
    let trailer = window.read(offset + padded_len - u64::from(TRAILER_LEN), TRAILER_LEN as usize)?;
    if trailer.len() < TRAILER_LEN as usize {
        return Err(Stop::Torn(offset));
    }
    if order.u32(trailer, 0) != len {
        return Err(Stop::Corrupt(offset, "a block whose two lengths differ"));
    }
    let block = Block { offset: offset + u64::from(HEAD_LEN), body_len, order };
    let item = match kind {
        block_type::SECTION_HEADER => {
            let section = section(&block.body(window)?, order, offset)?;
            position.is_big_endian = is_big_endian;
            position.section_interface = position.interface_count;
            Item::Section(section)
        }
        block_type::INTERFACE_DESCRIPTION => {
            let body = block.body(window)?;
            if position.interface_count as usize >= INTERFACE_COUNT_MAX {
                return Err(Stop::Corrupt(offset, "more interfaces than a file may have"));
            }
            position.interface_count += 1;
            Item::Interface(interface(&body, order))
        }
        block_type::INTERFACE_STATISTICS => {
            let body = block.body(window)?;
            let number = if body.len() < 12 { u32::MAX } else { order.u32(&body, 0) };
            match interface_of(position, interfaces, number) {
                Some((number, _)) => Item::Statistics(number, statistics(&body[12..], order)),
                None => Item::Other,
            }
        }
        block_type::ENHANCED_PACKET | block_type::PACKET => {
            let is_enhanced = kind == block_type::ENHANCED_PACKET;
            // The obsolete block has a number of 16 bits, and then how many packets were dropped.
            let number = if is_enhanced { order.u32(&fixed, 0) } else { order.u16(&fixed, 0).into() };
            let timestamp = u64::from(order.u32(&fixed, 4)) << 32 | u64::from(order.u32(&fixed, 8));
            let (captured_len, wire_len) = (order.u32(&fixed, 12), order.u32(&fixed, 16));
            let place = body_len.checked_sub(PACKET_FIXED_LEN).filter(|room| captured_len as usize <= *room);
            match (place, interface_of(position, interfaces, number)) {
                (Some(room), Some((number, interface))) if captured_len <= PACKET_LEN_MAX => {
                    let options_len = room - (captured_len as usize).next_multiple_of(4).min(room);
                    let data = block.offset + PACKET_FIXED_LEN as u64;
                    let options_at = data + u64::from(captured_len).next_multiple_of(4);
                    Item::Packet(PacketHead {
                        time_ns: interface.clock.nanoseconds(timestamp),
                        offset: data,
                        captured_len,
                        wire_len: wire_len.max(captured_len),
                        interface: number,
                        interface_index: None,
                        link_type: interface.link_type,
                        direction: direction(window, options_at, options_len, order)?,
                        options: (options_at, u32::try_from(options_len).unwrap_or(0)),
                    })
                }
                _ => Item::BadPacket,
            }
        }
        block_type::SIMPLE_PACKET => simple_packet(&block, &fixed, position, interfaces),
        _ => Item::Other,
    };
    position.offset = offset + padded_len;
    Ok(item)
}

/// The length of the block that these bytes may begin with; `None` when they do not look like one.
pub(crate) fn plausible_len(bytes: &[u8], is_big_endian: bool) -> Option<usize> {
    let order = Order(is_big_endian);
    let head = bytes.get(..HEAD_LEN as usize)?;
    let len = order.u32(head, 4) as usize;
    if len < (HEAD_LEN + TRAILER_LEN) as usize || !len.is_multiple_of(4) {
        return None;
    }
    let trailer = bytes.get(len - TRAILER_LEN as usize..len)?;
    (order.u32(trailer, 0) as usize == len).then_some(len)
}

/// A packet of the section's first interface, which has no time and no length of what was captured.
fn simple_packet(block: &Block, fixed: &[u8], position: &Position, interfaces: Interfaces<'_>) -> Item {
    let Some((number, interface)) = interface_of(position, interfaces, 0) else { return Item::BadPacket };
    let Some(room) = block.body_len.checked_sub(4) else { return Item::BadPacket };
    let wire_len = block.order.u32(fixed, 0);
    let snaplen = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
    let captured_len = wire_len.min(snaplen).min(u32::try_from(room).unwrap_or(u32::MAX));
    if captured_len > PACKET_LEN_MAX {
        return Item::BadPacket;
    }
    Item::Packet(PacketHead {
        time_ns: 0,
        offset: block.offset + 4,
        captured_len,
        wire_len,
        interface: number,
        interface_index: None,
        link_type: interface.link_type,
        direction: Direction::Unknown,
        options: (0, 0),
    })
}

/// The interface of the section's own number, with its number in the file.
fn interface_of<'a>(
    position: &Position,
    interfaces: Interfaces<'a>,
    number: u32,
) -> Option<(u32, &'a Interface)> {
    let number = position.section_interface.checked_add(number)?;
    let interface = interfaces.get(number).filter(|_| number < position.interface_count)?;
    Some((number, interface))
}

/// What a section header says beyond its byte order.
fn section(body: &[u8], order: Order, offset: u64) -> Result<Section, Stop> {
    const FIXED_LEN: usize = 16;
    const VERSION_MAJOR: u16 = 1;
    if order.u16(body, 4) != VERSION_MAJOR {
        return Err(Stop::Corrupt(offset, "a section of a version that is not known"));
    }
    let mut section = Section::default();
    for (code, value) in order.options(body.get(FIXED_LEN..).unwrap_or_default()) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match code {
            option::SECTION_HARDWARE => section.hardware = text(),
            option::SECTION_SYSTEM => section.system = text(),
            option::SECTION_APPLICATION => section.application = text(),
            _ => {}
        }
    }
    Ok(section)
}

fn interface(body: &[u8], order: Order) -> Interface {
    const FIXED_LEN: usize = 8;
    let mut interface = Interface::default();
    if body.len() < FIXED_LEN {
        return interface;
    }
    interface.link_type = order.u16(body, 0);
    interface.snaplen = order.u32(body, 4);
    let (mut resolution, mut offset_s) = (MICROSECONDS, 0);
    for (code, value) in order.options(&body[FIXED_LEN..]) {
        match code {
            option::INTERFACE_NAME => interface.name = name(value),
            option::INTERFACE_IPV4 | option::INTERFACE_IPV6
                if interface.addresses.len() < INTERFACE_ADDRESS_COUNT_MAX =>
            {
                interface.addresses.extend(address(code, value));
            }
            option::INTERFACE_MAC if value.len() == 6 => interface.mac_address = value.to_vec(),
            option::INTERFACE_RESOLUTION if value.len() == 1 => resolution = value[0],
            option::INTERFACE_OFFSET if value.len() == 8 => offset_s = order.u64(value, 0) as i64,
            _ => {}
        }
    }
    interface.clock = TimestampUnit::new(resolution, offset_s).unwrap_or_default();
    interface
}

/// A name, cut where it is longer than any.
fn name(value: &[u8]) -> Vec<u8> {
    match value.get(..INTERFACE_NAME_LEN_MAX) {
        Some(begin) if value.len() > INTERFACE_NAME_LEN_MAX => [begin, "…".as_bytes()].concat(),
        _ => value.to_vec(),
    }
}

/// An address, behind which the option has its netmask or how many bits name the network.
fn address(code: u16, value: &[u8]) -> Option<IpAddr> {
    match code {
        option::INTERFACE_IPV4 if value.len() == 8 => value.first_chunk::<4>().map(|octets| (*octets).into()),
        option::INTERFACE_IPV6 if value.len() == 17 => {
            value.first_chunk::<16>().map(|octets| (*octets).into())
        }
        _ => None,
    }
}

/// `if_tsresol` where a file has none.
const MICROSECONDS: u8 = 6;

fn statistics(options: &[u8], order: Order) -> Statistics {
    let mut statistics = Statistics::default();
    for (code, value) in order.options(options).filter(|(_, value)| value.len() == 8) {
        let count = order.u64(value, 0);
        match code {
            option::STATISTICS_RECEIVED => statistics.received = count,
            option::STATISTICS_DROPPED => statistics.dropped_by_interface = count,
            option::STATISTICS_ACCEPTED => statistics.accepted_by_filter = Some(count),
            option::STATISTICS_SYSTEM_DROPPED => statistics.dropped_by_system = count,
            _ => {}
        }
    }
    statistics
}

/// Which way a packet went, from its flags (section 4.3.1 of the draft).
fn direction(window: &mut Window<'_>, offset: u64, len: usize, order: Order) -> io::Result<Direction> {
    if len < 4 {
        return Ok(Direction::Unknown);
    }
    let options = window.read(offset, len.min(PACKET_OPTIONS_LEN))?;
    let flags =
        order.options(options).find(|(code, value)| *code == option::PACKET_FLAGS && value.len() == 4);
    Ok(match flags.map(|(_, value)| order.u32(value, 0) & 3) {
        Some(1) => Direction::Ingress,
        Some(2) => Direction::Egress,
        _ => Direction::Unknown,
    })
}

/// The comments among the options of a packet, a line each.
pub(crate) fn comment(options: &[u8], is_big_endian: bool) -> String {
    let comments = Order(is_big_endian).options(options).filter(|(code, _)| *code == option::COMMENT);
    let lines: Vec<_> = comments.map(|(_, value)| String::from_utf8_lossy(value)).collect();
    lines.join("\n")
}

/// A block that is there.
struct Block {
    /// Where its body begins.
    offset: u64,
    body_len: usize,
    order: Order,
}

impl Block {
    /// The body of a block that describes something, whole: its length was seen behind it, but a file can be cut off meanwhile.
    fn body(&self, window: &mut Window<'_>) -> Result<Vec<u8>, Stop> {
        let block_offset = self.offset - u64::from(HEAD_LEN);
        if self.body_len > DESCRIPTION_LEN_MAX as usize {
            return Err(Stop::Corrupt(block_offset, "a description longer than any"));
        }
        let body = window.read(self.offset, self.body_len)?;
        if body.len() < self.body_len { Err(Stop::Torn(block_offset)) } else { Ok(body.to_vec()) }
    }
}

/// The byte order of a section: big-endian when true.
#[derive(Clone, Copy)]
struct Order(bool);

impl Order {
    /// The number at a place that is there.
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let bytes = [bytes[at], bytes[at + 1]];
        if self.0 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    /// Likewise.
    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        if self.0 { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// Likewise. Options that count have their bytes in the order of the section, whole.
    fn u64(self, bytes: &[u8], at: usize) -> u64 {
        let (first, second) = (u64::from(self.u32(bytes, at)), u64::from(self.u32(bytes, at + 4)));
        if self.0 { first << 32 | second } else { second << 32 | first }
    }

    /// Codes and values of options, up to the first that is not whole.
    fn options(self, mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
        std::iter::from_fn(move || {
            if bytes.len() < 4 {
                return None;
            }
            let (code, len) = (self.u16(bytes, 0), usize::from(self.u16(bytes, 2)));
            let value = bytes.get(4..4 + len).filter(|_| code != option::END)?;
            bytes = bytes.get(4 + len.next_multiple_of(4)..).unwrap_or_default();
            Some((code, value))
        })
        .take(OPTIONS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Bytes;

    /// A file that loses its end between two looks at it.
    #[test]
    fn a_body_that_is_not_there_any_more_is_torn() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(100).unwrap();
        let bytes = Bytes::File { file, len: 100 };
        let block = |body_len| Block { offset: 20, body_len, order: Order(false) };
        assert_eq!(block(80).body(&mut Window::new(&bytes)).unwrap().len(), 80);
        assert!(matches!(block(81).body(&mut Window::new(&bytes)), Err(Stop::Torn(12))));
        assert!(matches!(block(1 << 20).body(&mut Window::new(&bytes)), Err(Stop::Torn(12))));
    }
}
