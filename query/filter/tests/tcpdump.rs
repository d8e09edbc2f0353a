//! Verdicts of filters against tcpdump's: over packets made here, and over all Ethernet captures of the collection.

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use kcap_filter::{Filter, Packet, link_type};
use support::{all_packets, expressions, frames_made_here, without_link_header};

/// Where verdicts rightly differ, and why.
const EXPLAINED: [(&str, &str); 3] = [
    (
        "port http",
        "/etc/services of some systems has http for TCP alone; here a name is its port, of any protocol",
    ),
    (
        "tcp[100] = 0 or ip",
        "libpcap's optimizer leaves the byte out: what follows is true of every packet that has it",
    ),
    ("!tcp[100] = 0 || ip", "the same"),
];

/// Writes packets of one link type as pcap.
fn write_pcap(path: &Path, packets: &[&support::Packet], link_type: u16) {
    let mut bytes = Vec::new();
    bytes.extend(0xa1b2_c3d4_u32.to_le_bytes());
    bytes.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(262_144_u32.to_le_bytes());
    bytes.extend(u32::from(link_type).to_le_bytes());
    for (number, packet) in packets.iter().enumerate() {
        // The number of a packet is its time: that tells it again.
        for field in
            [number as u32, 0, packet.bytes.len() as u32, packet.wire_len.max(packet.bytes.len() as u32)]
        {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(&packet.bytes);
    }
    fs::write(path, bytes).unwrap();
}

/// Numbers of the packets that tcpdump lets through; `None` when it refuses the expression.
fn by_tcpdump(path: &Path, expression: &str) -> Option<Vec<u32>> {
    let output = Command::new("tcpdump")
        .args(["-n", "-r"])
        .arg(path)
        .args(["-w", "-", "--", expression])
        .stdin(Stdio::null())
        .output()
        .expect("tcpdump runs");
    if String::from_utf8_lossy(&output.stderr).contains("expression rejects all packets") {
        return Some(Vec::new());
    }
    if !output.status.success() {
        return None;
    }
    let mut numbers = Vec::new();
    let mut rest = output.stdout.get(24..).unwrap_or_default();
    while let Some((header, after)) = rest.split_first_chunk::<16>() {
        let field = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        numbers.push(field(0));
        rest = &after[field(8) as usize..];
    }
    Some(numbers)
}

fn compare(packets: &[&support::Packet], link_type: u16) {
    let path =
        std::env::temp_dir().join(format!("kcap-filters-{}-{}.pcap", std::process::id(), packets.len()));
    write_pcap(&path, packets, link_type);
    let mut differences = String::new();
    let mut matched = 0;
    for expression in expressions() {
        let expected = by_tcpdump(&path, &expression);
        let found = Filter::parse(&expression, link_type).ok().map(|filter| {
            let matches = |packet: &&&support::Packet| {
                let wire_len = packet.wire_len.max(packet.bytes.len() as u32);
                // Whatever the border between header and payload is.
                let (header, payload) = packet.bytes.split_at(packet.bytes.len().min(40));
                filter.matches(&Packet { header, payload, wire_len })
            };
            let numbers = packets.iter().enumerate().filter(|(_, packet)| matches(packet));
            numbers.map(|(number, _)| number as u32).collect::<Vec<_>>()
        });
        matched += found.as_ref().map_or(0, Vec::len);
        let is_explained = EXPLAINED.iter().any(|(known, _)| *known == expression);
        if found != expected && !is_explained {
            let short = |numbers: &Option<Vec<u32>>| {
                numbers
                    .as_ref()
                    .map(|numbers| (numbers.len(), numbers.iter().take(5).copied().collect::<Vec<_>>()))
            };
            differences +=
                &format!("{expression}: tcpdump {:?}, here {:?}\n", short(&expected), short(&found));
        }
    }
    fs::remove_file(&path).unwrap();
    let _ = std::io::stdout()
        .write_all(format!("{} packets, {matched} verdicts of yes\n", packets.len()).as_bytes());
    assert!(differences.is_empty(), "{differences}");
}

fn has_tcpdump() -> bool {
    let has = Command::new("tcpdump").arg("--version").output().is_ok();
    if !has {
        println!("skipped: tcpdump is not installed");
    }
    has
}

#[test]
fn packets_made_here() {
    if has_tcpdump() {
        let frames = frames_made_here();
        compare(&frames.iter().collect::<Vec<_>>(), link_type::ETHERNET);
        compare(&without_link_header(&frames).iter().collect::<Vec<_>>(), link_type::RAW);
    }
}

#[test]
fn packets_of_captures() {
    assert!(expressions().len() >= 200, "{}", expressions().len());
    if !has_tcpdump() {
        return;
    }
    let mut packets = all_packets();
    packets.extend(without_link_header(&packets));
    for link_type in [link_type::ETHERNET, link_type::RAW, link_type::LINUX_SLL, link_type::NULL] {
        let some: Vec<_> = packets.iter().filter(|packet| packet.link_type == link_type).collect();
        if !some.is_empty() {
            compare(&some, link_type);
        }
    }
}
