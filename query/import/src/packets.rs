//! From the records of a chunk to columns.

use kcap_dissect::decode::link_type;
use kcap_dissect::{Decoded, decode};
use kcap_format::{Direction, PacketBatch, PacketColumns, packet_flags};

use crate::bytes::Bytes;
use crate::error::Stop;
use crate::format::{Format, Item, PacketHead, Position};
use crate::index::Chunk;
use crate::interface::Interfaces;
use crate::limits::{CHUNK_LEN, DESCRIPTION_LEN_MAX, PACKET_LEN_MAX};
use crate::spare;
use crate::window::Window;

/// Columns that need headers and payload told apart.
const SPLIT_COLUMNS: PacketColumns = PacketColumns::HEADER
    .union(PacketColumns::PAYLOAD)
    .union(PacketColumns::PAYLOAD_LEN)
    .union(PacketColumns::FLAGS);

/// Most bytes of a chunk with nothing but packets. Blocks that are passed over can make it longer by 4 GiB each.
const RANGE_LEN_MAX: u64 = CHUNK_LEN + PACKET_LEN_MAX as u64;

/// Packets of a block.
#[derive(Clone, Debug, Default)]
pub struct Packets {
    /// Their columns, as far as they were wanted.
    pub batch: PacketBatch,
    /// Their headers, when a column was wanted that needs them decoded: how a packet is split into headers and payload.
    pub decoded: Vec<Decoded>,
}

impl Packets {
    /// Gives the memory to the next packets that are read.
    pub fn recycle(self) {
        spare::keep_packets(self);
    }
}

/// Reads the packets of a chunk.
pub(crate) fn read(
    format: &Format,
    bytes: &Bytes,
    chunk: &Chunk,
    interfaces: Interfaces<'_>,
    columns: PacketColumns,
) -> Result<Packets, Stop> {
    if columns.is_empty() {
        let batch = PacketBatch { len: chunk.packets as usize, ..PacketBatch::default() };
        return Ok(Packets { batch, decoded: Vec::new() });
    }
    let mut window = window_of(bytes, chunk, spare::buffer())?;
    let mut filler = Filler::new(spare::packets(), columns, chunk);
    let mut is_whole = true;
    each(format, &mut window, chunk, interfaces, |window, _, head| {
        let bytes = window.read(head.offset, head.captured_len as usize)?;
        is_whole &= bytes.len() == head.captured_len as usize;
        filler.push(&head, bytes);
        Ok(())
    })?;
    spare::keep_buffer(window.into_buffer());
    if is_whole { Ok(filler.finish()) } else { Err(Stop::Torn(chunk.start.offset)) }
}

/// The comments of the packets of a chunk, empty for those without; none at all where the format has none.
pub(crate) fn comments(
    format: &Format,
    bytes: &Bytes,
    chunk: &Chunk,
    interfaces: Interfaces<'_>,
) -> Result<Vec<String>, Stop> {
    if *format != Format::Pcapng {
        return Ok(Vec::new());
    }
    let mut comments = Vec::with_capacity(chunk.packets as usize);
    let mut window = window_of(bytes, chunk, Vec::new())?;
    each(format, &mut window, chunk, interfaces, |window, position, head| {
        let (offset, len) = head.options;
        let options = match len.min(DESCRIPTION_LEN_MAX) {
            0 => &[],
            len => window.read(offset, len as usize)?,
        };
        comments.push(crate::pcapng::comment(options, position.is_big_endian));
        Ok(())
    })?;
    Ok(comments)
}

/// A window for the records of a chunk: on all of it, unless it has something between them that is longer than any packet.
fn window_of<'a>(bytes: &'a Bytes, chunk: &Chunk, buffer: Vec<u8>) -> std::io::Result<Window<'a>> {
    if chunk.end - chunk.start.offset <= RANGE_LEN_MAX {
        Window::of_range(bytes, chunk.start.offset, chunk.end, buffer)
    } else {
        Ok(Window::new(bytes))
    }
}

/// Walks over the packets of a chunk, which a window has.
fn each(
    format: &Format,
    window: &mut Window<'_>,
    chunk: &Chunk,
    interfaces: Interfaces<'_>,
    mut take: impl FnMut(&mut Window<'_>, &Position, PacketHead) -> std::io::Result<()>,
) -> Result<(), Stop> {
    let mut position = chunk.start;
    let mut packets = 0;
    while position.offset < chunk.end {
        if let Item::Packet(head) = format.next(window, &mut position, interfaces)? {
            packets += 1;
            take(window, &position, head)?;
        }
    }
    if packets != chunk.packets {
        return Err(Stop::Corrupt(chunk.start.offset, "the packets are others than before"));
    }
    Ok(())
}

/// Makes columns of packets.
struct Filler {
    columns: PacketColumns,
    packets: Packets,
}

impl Filler {
    /// Makes room for the packets of a chunk.
    fn new(mut packets: Packets, columns: PacketColumns, chunk: &Chunk) -> Self {
        let (rows, len) = (chunk.packets as usize, chunk.end - chunk.start.offset);
        let bytes_max = len.min(RANGE_LEN_MAX) as usize;
        let Packets { batch, decoded } = &mut packets;
        let room = |column, len| if columns.contains(column) { len } else { 0 };
        batch.header.reserve(room(PacketColumns::HEADER, rows), room(PacketColumns::HEADER, bytes_max));
        batch.payload.reserve(room(PacketColumns::PAYLOAD, rows), room(PacketColumns::PAYLOAD, bytes_max));
        decoded.reserve(if columns.intersects(SPLIT_COLUMNS) { rows } else { 0 });
        Self { columns, packets }
    }

    /// Takes a packet with its captured bytes.
    fn push(&mut self, head: &PacketHead, bytes: &[u8]) {
        let Self { columns, packets: Packets { batch, decoded } } = self;
        let wants = |column| columns.contains(column);
        batch.len += 1;
        if wants(PacketColumns::TIME) {
            batch.time_ns.push(head.time_ns);
        }
        if wants(PacketColumns::INTERFACE_INDEX) {
            batch.interface_index.push(head.interface_index.unwrap_or(head.interface));
        }
        if wants(PacketColumns::WIRE_LEN) {
            batch.wire_len.push(head.wire_len);
        }
        if wants(PacketColumns::LINK_TYPE) {
            batch.link_type.push(head.link_type);
        }
        if wants(PacketColumns::DIRECTION) {
            batch.direction.push(direction(head, bytes) as u8);
        }
        if columns.intersects(SPLIT_COLUMNS) {
            let headers = decode(head.link_type, bytes, head.wire_len);
            let (header, payload) = bytes.split_at(bytes.len().min(headers.header_len as usize));
            if wants(PacketColumns::HEADER) {
                batch.header.push(header);
            }
            if wants(PacketColumns::PAYLOAD) {
                batch.payload.push(payload);
            }
            if columns.intersects(PacketColumns::PAYLOAD | PacketColumns::PAYLOAD_LEN) {
                batch.payload_len.push(payload.len() as u32);
            }
            if wants(PacketColumns::FLAGS) {
                let is_incomplete = headers.error.is_some();
                batch.flags.push(if is_incomplete { packet_flags::HEADERS_INCOMPLETE } else { 0 });
            }
            decoded.push(headers);
        }
    }

    /// The columns; those of which capture files know nothing are zeros.
    fn finish(self) -> Packets {
        let Self { columns, mut packets } = self;
        let batch = &mut packets.batch;
        let zeros = |column| if columns.contains(column) { batch.len } else { 0 };
        batch.socket_cookie.resize(zeros(PacketColumns::SOCKET_COOKIE), 0);
        batch.netns_cookie.resize(zeros(PacketColumns::NETNS_COOKIE), 0);
        batch.program.resize(zeros(PacketColumns::PROGRAM), 0);
        batch.cpu.resize(zeros(PacketColumns::CPU), 0);
        batch.gso_size.resize(zeros(PacketColumns::GSO_SIZE), 0);
        batch.gso_segments.resize(zeros(PacketColumns::GSO_SEGMENTS), 0);
        batch.mark.resize(zeros(PacketColumns::MARK), 0);
        batch.tasks.resize(zeros(PacketColumns::TASKS), 0);
        packets
    }
}

/// Which way a packet went: what the record says, or a Linux cooked header in it.
fn direction(head: &PacketHead, bytes: &[u8]) -> Direction {
    /// Packet types of `linux/if_packet.h`; 3 is one between others.
    const MULTICAST: u8 = 2;
    const OUTGOING: u8 = 4;
    let packet_type = match head.link_type {
        link_type::LINUX_SLL => bytes.get(1),
        link_type::LINUX_SLL2 => bytes.get(10),
        _ => None,
    };
    match (head.direction, packet_type) {
        (Direction::Unknown, Some(&OUTGOING)) => Direction::Egress,
        (Direction::Unknown, Some(..=MULTICAST)) => Direction::Ingress,
        (known, _) => known,
    }
}
