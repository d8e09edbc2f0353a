//! From the records of a chunk to columns.

use kcap_dissect::decode::link_type;
use kcap_dissect::{Decoded, decode};
use kcap_format::{Direction, PacketBatch, PacketColumns, packet_flags};

use crate::bytes::Bytes;
use crate::error::Stop;
use crate::format::{Format, Item, PacketHead, Position};
use crate::index::Chunk;
use crate::interface::Interface;
use crate::window::Window;

/// Packets of a block.
#[derive(Clone, Debug, Default)]
pub struct Packets {
    /// Their columns, as far as they were wanted.
    pub batch: PacketBatch,
    /// Their headers, when a column was wanted that needs them decoded: how a packet is split into headers and payload.
    pub decoded: Vec<Decoded>,
}

/// Reads the packets of a chunk.
pub(crate) fn read(
    format: &Format,
    bytes: &Bytes,
    chunk: &Chunk,
    interfaces: &[Interface],
    columns: PacketColumns,
) -> Result<Packets, Stop> {
    if columns.is_empty() {
        let batch = PacketBatch { len: chunk.packets as usize, ..PacketBatch::default() };
        return Ok(Packets { batch, decoded: Vec::new() });
    }
    let mut heads = Vec::with_capacity(chunk.packets as usize);
    let window = each(format, bytes, chunk, interfaces, |_, _, head| heads.push(head))?;
    fill(&window, &heads, columns).ok_or(Stop::Torn(chunk.start.offset))
}

/// The comments of the packets of a chunk, empty for those without; none at all where the format has none.
pub(crate) fn comments(
    format: &Format,
    bytes: &Bytes,
    chunk: &Chunk,
    interfaces: &[Interface],
) -> Result<Vec<String>, Stop> {
    if *format != Format::Pcapng {
        return Ok(Vec::new());
    }
    let mut comments = Vec::with_capacity(chunk.packets as usize);
    each(format, bytes, chunk, interfaces, |window, position, head| {
        let (offset, len) = head.options;
        let options = window.slice(offset, len as usize).unwrap_or_default();
        comments.push(crate::pcapng::comment(options, position.is_big_endian));
    })?;
    Ok(comments)
}

/// Walks over the packets of a chunk; gives the window that has them.
fn each<'a>(
    format: &Format,
    bytes: &'a Bytes,
    chunk: &Chunk,
    interfaces: &[Interface],
    mut take: impl FnMut(&Window<'_>, &Position, PacketHead),
) -> Result<Window<'a>, Stop> {
    let mut window = Window::of_range(bytes, chunk.start.offset, chunk.end)?;
    let mut position = chunk.start;
    let mut packets = 0;
    while position.offset < chunk.end {
        if let Item::Packet(head) = format.next(&mut window, &mut position, interfaces)? {
            packets += 1;
            take(&window, &position, head);
        }
    }
    if packets != chunk.packets {
        return Err(Stop::Corrupt(chunk.start.offset, "the packets are others than before"));
    }
    Ok(window)
}

/// Makes columns of packets that lie in a window; `None` when one does not.
fn fill(window: &Window<'_>, heads: &[PacketHead], columns: PacketColumns) -> Option<Packets> {
    let data = |head: &PacketHead| window.slice(head.offset, head.captured_len as usize);
    let mut batch = PacketBatch { len: heads.len(), ..PacketBatch::default() };
    let wants = |column| columns.contains(column);
    let zeros = |column, len: usize| if columns.contains(column) { len } else { 0 };
    if wants(PacketColumns::TIME) {
        batch.time_ns = heads.iter().map(|head| head.time_ns).collect();
    }
    if wants(PacketColumns::INTERFACE_INDEX) {
        batch.interface_index =
            heads.iter().map(|head| head.interface_index.unwrap_or(head.interface)).collect();
    }
    if wants(PacketColumns::WIRE_LEN) {
        batch.wire_len = heads.iter().map(|head| head.wire_len).collect();
    }
    if wants(PacketColumns::LINK_TYPE) {
        batch.link_type = heads.iter().map(|head| head.link_type).collect();
    }
    if wants(PacketColumns::DIRECTION) {
        batch.direction =
            heads.iter().map(|head| Some(direction(head, data(head)?) as u8)).collect::<Option<_>>()?;
    }
    batch.socket_cookie = vec![0; zeros(PacketColumns::SOCKET_COOKIE, heads.len())];
    batch.netns_cookie = vec![0; zeros(PacketColumns::NETNS_COOKIE, heads.len())];
    batch.program = vec![0; zeros(PacketColumns::PROGRAM, heads.len())];
    batch.cpu = vec![0; zeros(PacketColumns::CPU, heads.len())];
    batch.gso_size = vec![0; zeros(PacketColumns::GSO_SIZE, heads.len())];
    batch.gso_segments = vec![0; zeros(PacketColumns::GSO_SEGMENTS, heads.len())];
    batch.mark = vec![0; zeros(PacketColumns::MARK, heads.len())];
    batch.tasks = vec![0; zeros(PacketColumns::TASKS, heads.len())];
    let split =
        PacketColumns::HEADER | PacketColumns::PAYLOAD | PacketColumns::PAYLOAD_LEN | PacketColumns::FLAGS;
    let mut decoded = Vec::new();
    if columns.intersects(split) {
        decoded.reserve_exact(heads.len());
        for head in heads {
            let bytes = data(head)?;
            let headers = decode(head.link_type, bytes, head.wire_len);
            let (header, payload) = bytes.split_at(bytes.len().min(headers.header_len as usize));
            if wants(PacketColumns::HEADER) {
                batch.header.push(header);
            }
            if wants(PacketColumns::PAYLOAD) {
                batch.payload.push(payload);
            }
            if columns.intersects(PacketColumns::PAYLOAD | PacketColumns::PAYLOAD_LEN) {
                batch.payload_len.push(head.captured_len - header.len() as u32);
            }
            if wants(PacketColumns::FLAGS) {
                let is_incomplete = headers.error.is_some();
                batch.flags.push(if is_incomplete { packet_flags::HEADERS_INCOMPLETE } else { 0 });
            }
            decoded.push(headers);
        }
    }
    Some(Packets { batch, decoded })
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
