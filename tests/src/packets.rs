//! Comparing sets of packets.

use std::collections::BTreeMap;

/// IP protocol numbers with ports at the start of their header.
const WITH_PORTS: [u8; 2] = [6, 17];
const IPV4_HEADER_LEN_MIN: usize = 20;
const IPV6_HEADER_LEN: usize = 40;

/// Each packet with the number of times that it occurs, of those of a port.
pub fn counted(packets: &[Vec<u8>], port: u16) -> BTreeMap<&[u8], usize> {
    let mut counts = BTreeMap::new();
    for packet in packets.iter().filter(|packet| has_port(packet, port)) {
        *counts.entry(packet.as_slice()).or_default() += 1;
    }
    counts
}

/// Fails unless both hold the same packets, each equally often, and some at all.
#[track_caller]
pub fn assert_same(recorded: &BTreeMap<&[u8], usize>, expected: &BTreeMap<&[u8], usize>) {
    assert!(!expected.is_empty(), "there is nothing to compare with");
    for (packet, count) in expected {
        let found = recorded.get(packet).copied().unwrap_or(0);
        assert_eq!(found, *count, "recorded {found} times, seen {count} times: {}", hex(packet));
    }
    for packet in recorded.keys() {
        assert!(expected.contains_key(packet), "recorded, but not seen: {}", hex(packet));
    }
}

/// Whether a packet of TCP or UDP over IPv4 without options or IPv6 without extension headers, which is what the tests
/// send, has a port as its source or destination.
fn has_port(packet: &[u8], port: u16) -> bool {
    let (protocol, header_len) = match packet.first().map(|byte| byte >> 4) {
        Some(4) if packet.len() >= IPV4_HEADER_LEN_MIN => (packet[9], usize::from(packet[0] & 0xf) * 4),
        Some(6) if packet.len() >= IPV6_HEADER_LEN => (packet[6], IPV6_HEADER_LEN),
        _ => return false,
    };
    let ports = packet.get(header_len..header_len + 4).filter(|_| WITH_PORTS.contains(&protocol));
    ports.is_some_and(|ports| ports.chunks(2).any(|bytes| bytes == port.to_be_bytes()))
}

/// The start of a packet in hexadecimal.
fn hex(packet: &[u8]) -> String {
    let start: String = packet.iter().take(80).map(|byte| format!("{byte:02x}")).collect();
    format!("{start} ({} bytes)", packet.len())
}
