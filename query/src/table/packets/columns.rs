//! The columns of `packets`.

use arrow::datatypes::{UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use kcap_dissect::Direction;
use kcap_dissect::attribute::Attribution;
use kcap_dissect::decode::{
    ChecksumStatus, Ip, TunnelKind, decode_outer, ip_checksum_status, transport_checksum_status,
};
use kcap_format::{PacketColumns, proto};

use super::block::PacketBlock;
use super::needs::Needs;
use crate::source::{End, container_name, pod_name, pod_namespace};
use crate::table::column::Column;

/// A column and what it takes to fill it.
#[derive(Debug)]
pub(super) struct PacketColumn {
    /// The column.
    pub(super) column: Column<PacketBlock>,
    /// What it takes.
    pub(super) needs: Needs,
}

/// Places of [`Direction`]s in their names.
const DIRECTIONS: [&str; 3] = ["unknown", "ingress", "egress"];

/// Names of [`Attribution`]s, by their numbers.
const ATTRIBUTIONS: [&str; Attribution::ALL.len()] =
    ["cookie", "socket_storage", "proc_scan", "tuple", "kernel", "no_socket", "unknown_socket", "no_owner"];

/// Names of IP protocols, by their numbers; those without a name of their own are `other`.
const IP_PROTOCOLS: [(&str, u8); 10] = [
    ("tcp", 6),
    ("udp", 17),
    ("icmp", 1),
    ("icmpv6", 58),
    ("igmp", 2),
    ("sctp", 132),
    ("gre", 47),
    ("esp", 50),
    ("ipip", 4),
    ("ipv6", 41),
];
const IP_PROTOCOL_NAMES: [&str; IP_PROTOCOLS.len() + 1] =
    ["tcp", "udp", "icmp", "icmpv6", "igmp", "sctp", "gre", "esp", "ipip", "ipv6", "other"];

/// Names of [`TunnelKind`]s, by their numbers.
const TUNNELS: [&str; TunnelKind::ALL.len()] = ["ipip", "gre", "erspan", "vxlan", "geneve", "gtpu"];

/// Names of [`ChecksumStatus`]es, by their numbers.
const CHECKSUMS: [&str; ChecksumStatus::ALL.len()] = ["absent", "good", "bad", "offloaded", "unverified"];

fn ip_protocol_place(protocol: u8) -> usize {
    IP_PROTOCOLS.iter().position(|(_, number)| *number == protocol).unwrap_or(IP_PROTOCOLS.len())
}

/// All columns, in their order.
#[must_use]
#[rustfmt::skip]
pub(super) fn columns() -> Vec<PacketColumn> {
    let read = |columns, column| PacketColumn { column, needs: Needs::sections(columns) };
    let nothing = |column| read(PacketColumns::NONE, column);
    let decoded = |column| PacketColumn { column, needs: Needs::decoding() };
    let owner = |column| PacketColumn { column, needs: Needs::owning() };
    let ends = |column| PacketColumn { column, needs: Needs::both_ends() };
    vec![
        read(PacketColumns::TIME, Column::timestamp("ts", "When the packet passed the hook", |block: &PacketBlock, row| block.realtime_ns(row)).required()),
        nothing(Column::number::<UInt64Type>("packet_id", "Names the record in its recording: segment, block, row", |block: &PacketBlock, row| Some(block.packet_id(row))).required()),
        nothing(Column::number::<UInt64Type>("segment", "Sequence number of the segment", |block: &PacketBlock, _| Some(block.handle().file_info().segment_sequence)).required()),
        read(PacketColumns::DIRECTION, Column::enumeration("direction", &DIRECTIONS, "ingress (arriving), egress (leaving), unknown in imported captures", |block: &PacketBlock, row| Some(match block.direction(row) { Direction::Unknown => 0, Direction::Ingress => 1, Direction::Egress => 2 })).required()),
        read(PacketColumns::INTERFACE_INDEX, Column::number::<UInt32Type>("interface_index", "Index of the interface in its network namespace; see `interfaces`", |block: &PacketBlock, row| Some(block.batch.interface_index[row])).required()),
        read(PacketColumns::LINK_TYPE, Column::number::<UInt16Type>("link_type", "LINKTYPE of the captured bytes, as in pcap; 101: they begin with the IP header", |block: &PacketBlock, row| Some(block.batch.link_type[row])).required()),
        read(PacketColumns::WIRE_LEN, Column::number::<UInt32Type>("len", "Bytes of the packet on the wire, from the first header that the hook sees", |block: &PacketBlock, row| Some(block.batch.wire_len[row])).required()),
        read(PacketColumns::HEADER.union(PacketColumns::PAYLOAD_LEN), Column::number::<UInt32Type>("cap_len", "Bytes of it that were captured", |block: &PacketBlock, row| Some(header_len(block, row) + block.batch.payload_len[row])).required()),
        decoded(Column::number::<UInt32Type>("payload_len", "Bytes on the wire after the transport header, captured or not", |block: &PacketBlock, row| Some(block.decoded[row].payload_len)).required()),
        decoded(Column::number::<UInt32Type>("header_len", "Bytes of all headers that were understood", |block: &PacketBlock, row| Some(block.decoded[row].header_len)).required()),
        decoded(Column::mac("src_mac", "Sender's MAC address; null where the hook sees no link header", |block: &PacketBlock, row| block.decoded[row].link.source_mac)),
        decoded(Column::mac("dst_mac", "Receiver's MAC address", |block: &PacketBlock, row| block.decoded[row].link.destination_mac)),
        decoded(Column::number::<UInt16Type>("vlan", "Id of the outermost VLAN", |block: &PacketBlock, row| block.decoded[row].link.vlan_id())),
        decoded(Column::number::<UInt8Type>("ip_version", "4 or 6; null for anything but IP", |block: &PacketBlock, row| block.decoded[row].ip().map(|ip| ip.version))),
        decoded(Column::address("src_ip", "Sender's address", |block: &PacketBlock, row| block.decoded[row].ip().map(|ip| ip.source))),
        decoded(Column::address("dst_ip", "Receiver's address", |block: &PacketBlock, row| block.decoded[row].ip().map(|ip| ip.destination))),
        decoded(Column::number::<UInt8Type>("ip_proto", "Protocol number after extension headers (IANA): 6 TCP, 17 UDP", |block: &PacketBlock, row| block.decoded[row].ip().map(|ip| ip.protocol))),
        decoded(Column::enumeration("ip_proto_name", &IP_PROTOCOL_NAMES, "Name of the protocol: tcp, udp, icmp, icmpv6, …, or other", |block: &PacketBlock, row| block.decoded[row].ip().map(|ip| ip_protocol_place(ip.protocol)))),
        decoded(Column::number::<UInt8Type>("ttl", "Time to live or hop limit", |block: &PacketBlock, row| block.decoded[row].ip().map(|ip| ip.ttl))),
        decoded(Column::number::<UInt8Type>("traffic_class", "Type of service or traffic class: DSCP (6 bits) and ECN (2)", |block: &PacketBlock, row| block.decoded[row].ip().map(|ip| ip.traffic_class))),
        decoded(Column::number::<UInt32Type>("ip_id", "Identification; null for IPv6 packets that are no fragments", |block: &PacketBlock, row| block.decoded[row].ip()?.id)),
        decoded(Column::boolean("dont_fragment", "IPv4's DF bit", |block: &PacketBlock, row| block.decoded[row].ip().map(|ip| ip.dont_fragment))),
        decoded(Column::number::<UInt16Type>("fragment_offset", "Where the fragment's data lie in the whole, in bytes; 0 in whole packets", |block: &PacketBlock, row| block.decoded[row].ip().map(|ip| ip.fragment_offset))),
        decoded(Column::boolean("more_fragments", "Whether fragments with a greater offset follow", |block: &PacketBlock, row| block.decoded[row].ip().map(|ip| ip.more_fragments))),
        decoded(Column::number::<UInt16Type>("src_port", "Sender's port (TCP, UDP, SCTP)", |block: &PacketBlock, row| Some(block.decoded[row].ports?.source))),
        decoded(Column::number::<UInt16Type>("dst_port", "Receiver's port", |block: &PacketBlock, row| Some(block.decoded[row].ports?.destination))),
        decoded(Column::number::<UInt16Type>("tcp_flags", "TCP flags; `flags_str` names them, `has_flag` asks for some", |block: &PacketBlock, row| Some(block.decoded[row].tcp()?.flags))),
        decoded(Column::number::<UInt32Type>("tcp_seq", "Sequence number", |block: &PacketBlock, row| Some(block.decoded[row].tcp()?.sequence))),
        decoded(Column::number::<UInt32Type>("tcp_ack", "Acknowledgement number", |block: &PacketBlock, row| Some(block.decoded[row].tcp()?.acknowledgement))),
        decoded(Column::number::<UInt16Type>("tcp_window", "Window, not scaled", |block: &PacketBlock, row| Some(block.decoded[row].tcp()?.window))),
        decoded(Column::number::<UInt8Type>("icmp_type", "Type of ICMP and ICMPv6", |block: &PacketBlock, row| Some(block.decoded[row].icmp()?.kind))),
        decoded(Column::number::<UInt8Type>("icmp_code", "Code of ICMP and ICMPv6", |block: &PacketBlock, row| Some(block.decoded[row].icmp()?.code))),
        decoded(Column::enumeration("tunnel", &TUNNELS, "Tunnel that the packet came in, whose own headers are left out of the columns above: ipip, gre, erspan, vxlan, geneve, gtpu; null when in none", |block: &PacketBlock, row| Some(block.decoded[row].tunnel?.kind as usize))),
        decoded(Column::number::<UInt32Type>("tunnel_id", "What the tunnel calls itself: VNI, TEID, key or session", |block: &PacketBlock, row| block.decoded[row].tunnel?.id)),
        decoded(Column::address("outer_src_ip", "Sender of the packet around this one", |block: &PacketBlock, row| Some(outer_ip(block, row)?.source))),
        decoded(Column::address("outer_dst_ip", "Receiver of the packet around this one", |block: &PacketBlock, row| Some(outer_ip(block, row)?.destination))),
        decoded(Column::enumeration("ip_checksum_status", &CHECKSUMS, "Checksum of the IP header: good, bad, offloaded (not computed yet), unverified (not wholly captured), absent (IPv6)", |block: &PacketBlock, row| Some(ip_checksum_status(&block.decoded[row], block.batch.header.get(row)?)? as usize))),
        PacketColumn {
            column: Column::enumeration("checksum_status", &CHECKSUMS, "Checksum of TCP, UDP, SCTP, ICMP and IGMP: good, bad, offloaded (left to the device), unverified (a fragment, or not wholly captured), absent", |block: &PacketBlock, row| checksum_status(block, row)),
            needs: Needs::decoding() | Needs::payload(),
        },
        PacketColumn {
            column: Column::number::<UInt64Type>("flow_id", "The same for both directions of a conversation: XXH64 of addresses, ports, protocol and VLANs, and for loopback addresses the network namespace", |block: &PacketBlock, row| block.flow_id(row)),
            needs: Needs::decoding() | Needs::sections(PacketColumns::NETNS_COOKIE),
        },
        read(PacketColumns::NETNS_COOKIE, Column::number::<UInt64Type>("netns", "Cookie of the network namespace; null when the kernel did not tell", |block: &PacketBlock, row| Some(block.batch.netns_cookie[row]).filter(|cookie| *cookie != 0))),
        read(PacketColumns::SOCKET_COOKIE, Column::number::<UInt64Type>("socket_cookie", "Socket at the hook; null when the packet has none. See `sockets`", |block: &PacketBlock, row| Some(block.batch.socket_cookie[row]).filter(|cookie| *cookie != 0))),
        read(PacketColumns::GSO_SIZE, Column::number::<UInt16Type>("gso_size", "Payload bytes of each packet on the wire that this one stands for; null for a plain packet", |block: &PacketBlock, row| Some(block.batch.gso_size[row]).filter(|size| *size != 0))),
        read(PacketColumns::GSO_SEGMENTS, Column::number::<UInt16Type>("gso_segments", "How many packets on the wire this one stands for, at least 1", |block: &PacketBlock, row| Some(block.batch.gso_segments[row].max(1))).required()),
        read(PacketColumns::CPU, Column::number::<UInt16Type>("cpu", "Processor that saw it", |block: &PacketBlock, row| Some(block.batch.cpu[row])).required()),
        read(PacketColumns::MARK, Column::number::<UInt32Type>("mark", "skb->mark", |block: &PacketBlock, row| Some(block.batch.mark[row])).required()),
        read(PacketColumns::TASKS, Column::names("payload_tasks", "Payload tasks of the recorder that asked for the packet, at either end of it; null when none did", |block: &PacketBlock, row| block.payload_tasks(row))),
        owner(Column::repeated_text("proc_id", "Process at the hook: the sender of a leaving packet, the receiver of an arriving one", |block: &PacketBlock, row| proc_id(block, block.local_end(row)))),
        owner(Column::number::<UInt32Type>("pid", "Its process id in the initial pid namespace", |block: &PacketBlock, row| pid(block, block.local_end(row)))),
        owner(Column::repeated_text("process_name", "Its name then", |block: &PacketBlock, row| process_name(block, row, block.local_end(row)))),
        owner(Column::repeated_text("container_id", "Container that it was in", |block: &PacketBlock, row| Some(container(block, row, block.local_end(row))?.id.as_str()))),
        owner(Column::repeated_text("container_name", "Name of the container; null when no runtime told it", |block: &PacketBlock, row| container_name(container(block, row, block.local_end(row))?))),
        owner(Column::repeated_text("pod_name", "Name of its pod", |block: &PacketBlock, row| pod_name(container(block, row, block.local_end(row))?))),
        owner(Column::repeated_text("pod_namespace", "Namespace of its pod", |block: &PacketBlock, row| pod_namespace(container(block, row, block.local_end(row))?))),
        owner(Column::enumeration("attribution", &ATTRIBUTIONS, "How the process is known: cookie (it used or made the socket), socket_storage (it had the listener), proc_scan (it had the socket open before the recording), tuple (by addresses and ports), kernel (the kernel made the packet); or why it is not: no_socket, unknown_socket, no_owner", |block: &PacketBlock, row| Some(block.local_end(row)?.attribution as usize)).required()),
        ends(Column::repeated_text("src_proc_id", "Process that sent it; null when it is on another host", |block: &PacketBlock, row| proc_id(block, block.source_end(row)))),
        ends(Column::number::<UInt32Type>("src_pid", "Its process id", |block: &PacketBlock, row| pid(block, block.source_end(row)))),
        ends(Column::repeated_text("src_process_name", "Its name then", |block: &PacketBlock, row| process_name(block, row, block.source_end(row)))),
        ends(Column::repeated_text("src_container_id", "Container that it was in", |block: &PacketBlock, row| Some(container(block, row, block.source_end(row))?.id.as_str()))),
        ends(Column::repeated_text("src_container_name", "Name of the container; null when no runtime told it", |block: &PacketBlock, row| container_name(container(block, row, block.source_end(row))?))),
        ends(Column::repeated_text("src_pod_name", "Name of its pod", |block: &PacketBlock, row| pod_name(container(block, row, block.source_end(row))?))),
        ends(Column::repeated_text("src_pod_namespace", "Namespace of its pod", |block: &PacketBlock, row| pod_namespace(container(block, row, block.source_end(row))?))),
        ends(Column::repeated_text("dst_proc_id", "Process that received it; null when it is on another host", |block: &PacketBlock, row| proc_id(block, block.destination_end(row)))),
        ends(Column::number::<UInt32Type>("dst_pid", "Its process id", |block: &PacketBlock, row| pid(block, block.destination_end(row)))),
        ends(Column::repeated_text("dst_process_name", "Its name then", |block: &PacketBlock, row| process_name(block, row, block.destination_end(row)))),
        ends(Column::repeated_text("dst_container_id", "Container that it was in", |block: &PacketBlock, row| Some(container(block, row, block.destination_end(row))?.id.as_str()))),
        ends(Column::repeated_text("dst_container_name", "Name of the container; null when no runtime told it", |block: &PacketBlock, row| container_name(container(block, row, block.destination_end(row))?))),
        ends(Column::repeated_text("dst_pod_name", "Name of its pod", |block: &PacketBlock, row| pod_name(container(block, row, block.destination_end(row))?))),
        ends(Column::repeated_text("dst_pod_namespace", "Namespace of its pod", |block: &PacketBlock, row| pod_namespace(container(block, row, block.destination_end(row))?))),
        PacketColumn {
            column: Column::number::<UInt64Type>("duplicate_of", "packet_id of the first copy, when this is another one of the same packet: the arriving one of a local packet, or a frame that another interface had before; such rows are there only when kcap.duplicates is set", |block: &PacketBlock, row| block.duplicate_of.get(row).copied().filter(|id| *id != 0)),
            needs: Needs::matching(),
        },
        decoded(Column::rare_text("decode_error", "What stopped decoding of the headers; null when nothing did", |block: &PacketBlock, row| block.decoded[row].error.map(|error| error.to_string()))),
        read(PacketColumns::HEADER, Column::bytes("header", "Captured bytes of the headers", |block: &PacketBlock, row| block.batch.header.get(row))),
        PacketColumn {
            column: Column::bytes("payload", "Captured bytes after the headers", |block: &PacketBlock, row| block.batch.payload.get(row)),
            needs: Needs::payload(),
        },
        nothing(Column::repeated_text("capture_id", "The recording (UUID)", |block: &PacketBlock, _| Some(block.capture_id())).required()),
    ]
}

fn header_len(block: &PacketBlock, row: usize) -> u32 {
    block.batch.header.get(row).map_or(0, |header| u32::try_from(header.len()).unwrap_or(u32::MAX))
}

/// The IP header around that of a packet in a tunnel.
fn outer_ip(block: &PacketBlock, row: usize) -> Option<Ip> {
    let tunnels = block.decoded[row].tunnel_depth.checked_sub(1)?;
    let (link_type, header) = (block.batch.link_type[row], block.batch.header.get(row)?);
    decode_outer(link_type, header, block.batch.wire_len[row], tunnels).ip().copied()
}

/// The place of the status of a packet's transport checksum in [`CHECKSUMS`].
fn checksum_status(block: &PacketBlock, row: usize) -> Option<usize> {
    let (header, payload) = (block.batch.header.get(row)?, block.batch.payload.get(row).unwrap_or_default());
    Some(transport_checksum_status(&block.decoded[row], header, payload)? as usize)
}

fn proc_id<'a>(block: &'a PacketBlock, end: Option<&End>) -> Option<&'a str> {
    block.owners()?.proc_id(end?)
}

fn pid(block: &PacketBlock, end: Option<&End>) -> Option<u32> {
    block.owners()?.pid(end?)
}

fn process_name<'a>(block: &'a PacketBlock, row: usize, end: Option<&End>) -> Option<&'a str> {
    block.owners()?.process_name(end?, block.batch.time_ns[row])
}

fn container<'a>(block: &'a PacketBlock, row: usize, end: Option<&End>) -> Option<&'a proto::Container> {
    block.owners()?.container(end?, block.batch.time_ns[row])
}
