//! Every packet of the collection of real captures, against `capinfos` and `tshark`: counts, lengths, addresses, ports,
//! sequence numbers and flags. Where one differs, the test prints it and fails.

use std::path::{Path, PathBuf};
use std::process::Command;

use kcap_dissect::Decoded;
use kcap_format::{BlockType, PacketColumns};
use kcap_import::CaptureFile;

/// What is asked of tshark, in this order.
const FIELDS: [&str; 15] = [
    "frame.len",
    "frame.cap_len",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ipv6.src",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "udp.srcport",
    "udp.dstport",
    "tcp.seq_raw",
    "tcp.flags",
    "tcp.window_size_value",
    "frame.protocols",
];

/// The captures, or none and a line that says so.
fn collection() -> Vec<PathBuf> {
    fn gather(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path()) {
            if entry.is_dir() {
                gather(&entry, found);
            } else if entry.extension().is_some_and(|name| name == "pcap" || name == "pcapng") {
                found.push(entry);
            }
        }
    }
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/captures");
    let root = std::env::var_os("KCAP_CAPTURES").map_or(beside, PathBuf::from);
    let mut found = Vec::new();
    gather(&root, &mut found);
    found.sort();
    if found.is_empty() {
        println!("skipped: no captures in {}", root.display());
    }
    found
}

/// Lines of a program's output; `None` and a line that says so when it is not installed.
fn lines_of(program: &str, arguments: &[&str], file: &Path) -> Option<Vec<String>> {
    let Ok(output) = Command::new(program).args(arguments).arg(file).output() else {
        println!("skipped: {program} is not installed");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// One packet, as both see it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    len: String,
    cap_len: String,
    source: String,
    destination: String,
    source_port: String,
    destination_port: String,
    sequence: String,
    flags: String,
    window: String,
}

#[test]
fn counts_are_those_of_capinfos() {
    for path in collection() {
        let Some(lines) = lines_of("capinfos", &["-TrMc"], &path) else { return };
        let expected = lines.first().and_then(|line| line.split('\t').nth(1)).map(str::to_owned);
        let file = CaptureFile::open(&path, 1).unwrap();
        let packets = file.blocks().unwrap().iter().filter(|block| block.block_type == BlockType::PACKETS);
        let count: u64 = packets.map(|block| u64::from(block.record_count)).sum();
        assert_eq!(Some(count.to_string()), expected, "{}", path.display());
    }
}

#[test]
fn headers_are_those_of_tshark() {
    let mut differences = 0;
    let mut compared = 0;
    for path in collection() {
        let mut arguments = vec!["-n", "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,"];
        for option in ["ip.defragment:FALSE", "ipv6.defragment:FALSE", "tcp.desegment_tcp_streams:FALSE"] {
            arguments.extend(["-o", option]);
        }
        // Its samples quote packets of others.
        arguments.extend(["--disable-protocol", "sflow"]);
        FIELDS.iter().for_each(|field| arguments.extend(["-e", field]));
        arguments.push("-r");
        let Some(theirs) = lines_of("tshark", &arguments, &path) else { return };
        let ours = packets(&path);
        assert_eq!(ours.len(), theirs.len(), "{}", path.display());
        for (number, ((decoded, len, cap_len), line)) in ours.iter().zip(&theirs).enumerate() {
            let fields: Vec<&str> = line.split('\t').collect();
            let (ours, theirs) = (ours_of(decoded, *len, *cap_len), theirs_of(&fields, decoded));
            compared += 1;
            if ours != theirs {
                differences += 1;
                println!("{} packet {}: {}", path.display(), number + 1, fields[14]);
                println!("  kcap   {ours:?}\n  tshark {theirs:?}\n  {:?}", decoded.error);
            }
        }
    }
    println!("{compared} packets compared");
    assert_eq!(differences, 0);
}

/// Decoded headers, length and captured length of every packet.
fn packets(path: &Path) -> Vec<(Decoded, u32, u32)> {
    let file = CaptureFile::open(path, 1).unwrap();
    let mut packets = Vec::new();
    for block in file.blocks().unwrap().iter().filter(|block| block.block_type == BlockType::PACKETS) {
        let read = file.packets(block, PacketColumns::ALL).unwrap();
        for (row, decoded) in read.decoded.iter().enumerate() {
            let header_len = read.batch.header.get(row).unwrap().len() as u32;
            packets.push((*decoded, read.batch.wire_len[row], header_len + read.batch.payload_len[row]));
        }
    }
    packets
}

fn ours_of(decoded: &Decoded, len: u32, cap_len: u32) -> Seen {
    let mut seen = Seen { len: len.to_string(), cap_len: cap_len.to_string(), ..Seen::default() };
    if let Some(ip) = decoded.ip() {
        let text = |address: [u8; 16]| {
            let address = std::net::Ipv6Addr::from(address);
            if ip.version == 4 {
                address.to_ipv4_mapped().map_or_else(String::new, |address| address.to_string())
            } else {
                address.to_string()
            }
        };
        (seen.source, seen.destination) = (text(ip.source), text(ip.destination));
    }
    let is_sctp = matches!(decoded.transport, kcap_dissect::decode::Transport::Sctp { .. });
    if let Some(ports) = decoded.ports.filter(|_| !is_sctp) {
        (seen.source_port, seen.destination_port) = (ports.source.to_string(), ports.destination.to_string());
    }
    if let Some(tcp) = decoded.tcp() {
        seen.sequence = tcp.sequence.to_string();
        seen.flags = format!("0x{:04x}", tcp.flags);
        seen.window = tcp.window.to_string();
    }
    seen
}

/// What tshark says of the same packet. It lists the fields of all layers: the first is the outermost one, and behind those of
/// tunnels come the ones of packets that an ICMP error quotes.
fn theirs_of(fields: &[&str], decoded: &Decoded) -> Seen {
    let is_v6 = decoded.ip().is_some_and(|ip| ip.version == 6);
    let pick = |place: usize| {
        let all: Vec<&str> = fields[place].split(',').collect();
        let same_version = if decoded.tunnel_depth == 0 { 0 } else { all.len() - 1 };
        all.get(same_version).copied().unwrap_or_default().to_owned()
    };
    let quotes = decoded.icmp().is_some();
    let either = |first: usize, second: usize| {
        if quotes {
            return String::new();
        }
        let first = pick(first);
        if first.is_empty() { pick(second) } else { first }
    };
    let unless_quoted = |place: usize| if quotes { String::new() } else { pick(place) };
    Seen {
        len: fields[0].to_owned(),
        cap_len: fields[1].to_owned(),
        source: pick(if is_v6 { 5 } else { 2 }),
        destination: pick(if is_v6 { 6 } else { 3 }),
        source_port: either(7, 9),
        destination_port: either(8, 10),
        sequence: unless_quoted(11),
        flags: unless_quoted(12),
        window: unless_quoted(13),
    }
}
