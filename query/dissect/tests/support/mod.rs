//! Captures for the tests: where they are, and their packets.
#![allow(dead_code, unreachable_pub)]

pub mod golden;
pub mod transactions;

use std::fs;
use std::path::{Path, PathBuf};

use kcap_dissect::decode::{Decoded, decode, decode_outer};
use kcap_dissect::flow::{FlowConsumer, FlowOptions, FlowTable, PacketView};
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};

/// A packet of a capture.
pub struct Packet {
    pub time_ns: i64,
    pub wire_len: u32,
    pub link_type: u16,
    pub bytes: Vec<u8>,
}

/// A capture of the collection that lies beside the checkout (or where `KCAP_CAPTURES` says). `None`, and a line that
/// says so, when it isn't there.
pub fn collection(path: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/captures");
    let root = std::env::var_os("KCAP_CAPTURES").map_or(beside, PathBuf::from);
    let path = root.join(path);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// All captures of the collection.
pub fn all_captures() -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Some(root) = collection("") {
        gather(&root, &mut found);
    }
    found.sort();
    found
}

/// Adds the captures in a folder, to its depth.
pub fn gather(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            gather(&entry, found);
        } else if entry.extension().is_some_and(|name| name == "pcap" || name == "pcapng") {
            found.push(entry);
        }
    }
}

/// The packets of a capture.
pub fn packets(path: &Path) -> Vec<Packet> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) { pcapng(&bytes) } else { pcap(&bytes) }
}

fn pcap(bytes: &[u8]) -> Vec<Packet> {
    let mut reader = PcapReader::new(bytes).unwrap();
    let link_type = u32::from(reader.header().datalink) as u16;
    let mut packets = Vec::new();
    while let Some(Ok(packet)) = reader.next_packet() {
        packets.push(Packet {
            time_ns: packet.timestamp().as_nanos() as i64,
            wire_len: packet.orig_len(),
            link_type,
            bytes: packet.data().to_vec(),
        });
    }
    packets
}

fn pcapng(bytes: &[u8]) -> Vec<Packet> {
    let mut reader = PcapNgReader::new(bytes).unwrap();
    let mut packets = Vec::new();
    while let Some(Ok((block, state))) = reader.next_block() {
        let Block::EnhancedPacket(packet) = block else { continue };
        let (time_ns, wire_len) = (packet.timestamp.as_nanos() as i64, packet.original_len);
        let (interface, bytes) = (packet.interface_id as usize, packet.data.into_owned());
        let link_type = u32::from(state.interfaces()[interface].linktype) as u16;
        packets.push(Packet { time_ns, wire_len, link_type, bytes });
    }
    packets
}

/// Gives packets to a flow table; their ids count from 1, as Wireshark's frame numbers.
pub fn follow<C: FlowConsumer>(packets: &[Packet], options: FlowOptions, consumer: C) -> C {
    follow_each(packets, options, consumer, |_, _| {})
}

/// The same; the consumer is shown the headers of each packet before the table takes it.
pub fn follow_each<C: FlowConsumer>(
    packets: &[Packet],
    options: FlowOptions,
    consumer: C,
    begin: impl Fn(&mut C, &Decoded),
) -> C {
    let mut table = FlowTable::new(options, consumer);
    for (index, packet) in packets.iter().enumerate() {
        let decoded = decode(packet.link_type, &packet.bytes, packet.wire_len);
        let outer: Vec<_> = (0..decoded.tunnel_depth)
            .map(|depth| decode_outer(packet.link_type, &packet.bytes, packet.wire_len, depth))
            .collect();
        begin(table.consumer(), &decoded);
        let payload = packet.bytes.get(decoded.header_len as usize..).unwrap_or_default();
        table.packet(&PacketView {
            packet_id: index as u64 + 1,
            time_ns: packet.time_ns,
            decoded: &decoded,
            outer: &outer,
            payload,
            captured_payload_len: payload.len() as u32,
            wire_len: packet.wire_len,
            netns_cookie: 0,
            flow_id: None,
            tag: 0,
        });
    }
    table.finish()
}
