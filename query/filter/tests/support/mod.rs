//! What the tests ask, and packets to ask.
#![allow(dead_code, unreachable_pub, unused_imports)] // each test program uses its part

mod expressions;
mod frames;

use std::fs;
use std::path::{Path, PathBuf};

use kcap_filter::link_type;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};

pub use expressions::expressions;
pub use frames::frames_made_here;

/// A packet of a capture.
pub struct Packet {
    pub wire_len: u32,
    pub link_type: u16,
    pub bytes: Vec<u8>,
}

/// The packets of this project's own captures, and of the collection that lies beside the checkout (or where
/// `KCAP_CAPTURES` says) if it does.
pub fn all_packets() -> Vec<Packet> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let beside = workspace.join("../shared/captures");
    let collection = std::env::var_os("KCAP_CAPTURES").map_or(beside, PathBuf::from);
    let mut files = Vec::new();
    gather(&workspace.join("testdata"), &mut files);
    if collection.exists() {
        gather(&collection, &mut files);
    } else {
        println!("skipped: {} is not there", collection.display());
    }
    files.sort();
    files.iter().flat_map(|path| packets(path)).collect()
}

/// Packets that begin with their network header, made of frames.
pub fn without_link_header(packets: &[Packet]) -> Vec<Packet> {
    let of_frame = |packet: &Packet| {
        let ether_type = packet.bytes.get(12..14)?;
        let is_ip = matches!(ether_type, [0x08, 0] | [0x86, 0xdd]) && packet.bytes.len() > 14;
        let is_frame = packet.link_type == link_type::ETHERNET;
        (is_frame && is_ip).then(|| Packet {
            wire_len: packet.wire_len.max(14) - 14,
            link_type: link_type::RAW,
            bytes: packet.bytes[14..].to_vec(),
        })
    };
    packets.iter().filter_map(of_frame).collect()
}

fn gather(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            gather(&entry, found);
        } else if entry.extension().is_some_and(|name| name == "pcap" || name == "pcapng") {
            found.push(entry);
        }
    }
}

fn packets(path: &Path) -> Vec<Packet> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) { pcapng(&bytes) } else { pcap(&bytes) }
}

fn pcap(bytes: &[u8]) -> Vec<Packet> {
    let Ok(mut reader) = PcapReader::new(bytes) else { return Vec::new() };
    let link_type = u32::from(reader.header().datalink) as u16;
    let mut packets = Vec::new();
    while let Some(Ok(packet)) = reader.next_packet() {
        packets.push(Packet { wire_len: packet.orig_len(), link_type, bytes: packet.data().to_vec() });
    }
    packets
}

fn pcapng(bytes: &[u8]) -> Vec<Packet> {
    let Ok(mut reader) = PcapNgReader::new(bytes) else { return Vec::new() };
    let mut packets = Vec::new();
    while let Some(Ok((block, state))) = reader.next_block() {
        let Block::EnhancedPacket(packet) = block else { continue };
        let link_type = u32::from(state.interfaces()[packet.interface_id as usize].linktype) as u16;
        packets.push(Packet { wire_len: packet.original_len, link_type, bytes: packet.data.into_owned() });
    }
    packets
}
