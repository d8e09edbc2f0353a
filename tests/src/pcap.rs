//! Reads classic pcap files for comparison: a second reader, independent of the one that kcap writes with.

use std::path::Path;

/// Bytes of the file header: magic, versions, zone, accuracy, snap length, link type.
const FILE_HEADER_LEN: usize = 24;
/// Bytes of a record header: seconds, fraction, captured length, length on the wire.
const RECORD_HEADER_LEN: usize = 16;
/// Magic numbers of files with microseconds and nanoseconds, little-endian.
const MAGICS: [u32; 2] = [0xa1b2_c3d4, 0xa1b2_3c4d];

/// <https://www.tcpdump.org/linktypes.html>
const LINKTYPE_ETHERNET: u32 = 1;
const LINKTYPE_RAW: u32 = 101;
const LINKTYPE_IPV4: u32 = 228;
const LINKTYPE_IPV6: u32 = 229;
const ETHERNET_HEADER_LEN: usize = 14;

/// The packets of a file from the network header on, in its order.
#[track_caller]
pub fn network_packets(path: &Path) -> Vec<Vec<u8>> {
    let (link_type, frames) = read(path);
    let link_header_len = match link_type {
        LINKTYPE_ETHERNET => ETHERNET_HEADER_LEN,
        LINKTYPE_RAW | LINKTYPE_IPV4 | LINKTYPE_IPV6 => 0,
        other => panic!("{}: link type {other} isn't expected here", path.display()),
    };
    frames.iter().map(|frame| frame[link_header_len..].to_vec()).collect()
}

/// The packets of a file with their link headers, in its order.
#[track_caller]
pub fn frames(path: &Path) -> Vec<Vec<u8>> {
    read(path).1
}

/// The link type of a file, and its packets.
#[track_caller]
fn read(path: &Path) -> (u32, Vec<Vec<u8>>) {
    let file = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(file.len() >= FILE_HEADER_LEN, "{} is too short for a pcap file", path.display());
    assert!(MAGICS.contains(&word(&file, 0)), "{} is no little-endian pcap file", path.display());
    let mut packets = Vec::new();
    let mut rest = &file[FILE_HEADER_LEN..];
    while rest.len() >= RECORD_HEADER_LEN {
        let (captured, on_wire) = (word(rest, 8), word(rest, 12));
        assert_eq!(captured, on_wire, "a packet was cut short");
        let (packet, next) = rest[RECORD_HEADER_LEN..].split_at(captured as usize);
        packets.push(packet.to_vec());
        rest = next;
    }
    assert!(rest.is_empty(), "{} ends within a record", path.display());
    (word(&file, 20), packets)
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}
