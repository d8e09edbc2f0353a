//! Verdicts of filters against tcpdump's: over packets made here, and over all Ethernet captures of the collection.

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use kcap_dissect::decode::link_type;
use kcap_dissect::filter::{Filter, Packet};

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

/// Tests of each kind, alone and combined.
fn expressions() -> Vec<String> {
    let plain = [
        "ip",
        "ip6",
        "arp",
        "rarp",
        "tcp",
        "udp",
        "sctp",
        "icmp",
        "icmp6",
        "igmp",
        "pim",
        "vrrp",
        "ah",
        "esp",
        "port 80",
        "port 53",
        "port 443",
        "src port 80",
        "dst port 80",
        "src or dst port 53",
        "src and dst port 53",
        "tcp port 80",
        "udp port 53",
        "sctp port 80",
        "tcp src port 3306",
        "tcp dst port 5432",
        "udp dst port 67",
        "port http",
        "port https",
        "port domain",
        "port bootps",
        "portrange 1-1023",
        "tcp portrange 6000-7000",
        "src portrange 1024-65535",
        "dst portrange 53-80",
        "udp src portrange 1-100",
        "host 127.0.0.1",
        "host 10.0.0.1",
        "host 192.168.1.1",
        "src host 127.0.0.1",
        "dst host 127.0.0.1",
        "host 172.16.133.54",
        "src 172.16.133.54",
        "dst 172.16.133.54",
        "ip host 127.0.0.1",
        "arp host 192.168.1.1",
        "src and dst host 127.0.0.1",
        "src or dst host 127.0.0.1",
        "host ::1",
        "host fe80::1",
        "ip6 host ::1",
        "net 10.0.0.0/8",
        "net 192.168.0.0/16",
        "net 127",
        "net 172.16",
        "src net 10",
        "dst net 192.168.0.0/16",
        "net 192.168.0.0 mask 255.255.0.0",
        "ip net 10.0.0.0/8",
        "net fe80::/10",
        "ip6 net ff00::/8",
        "net 0.0.0.0/0",
        "ether proto 0x0800",
        "ether proto 0x86dd",
        "ether proto \\arp",
        "ip proto 6",
        "ip proto \\udp",
        "ip6 proto 58",
        "ip6 proto \\tcp",
        "proto 17",
        "ether broadcast",
        "ether multicast",
        "broadcast",
        "multicast",
        "ip multicast",
        "ip6 multicast",
        "ether host ff:ff:ff:ff:ff:ff",
        "ether dst ff:ff:ff:ff:ff:ff",
        "ether src 00:00:00:00:00:00",
        "vlan",
        "vlan 10",
        "vlan and ip",
        "vlan and tcp",
        "vlan and tcp port 80",
        "vlan and vlan",
        "less 64",
        "greater 1000",
        "len > 100",
        "len <= 100",
        "len = 60",
        "len - 14 > 500",
        "tcp[13] = 2",
        "tcp[13] & 2 != 0",
        "tcp[tcpflags] & tcp-syn != 0",
        "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
        "tcp[tcpflags] == tcp-ack",
        "tcp[tcpflags] & (tcp-rst) != 0",
        "tcp[0:2] = 80",
        "tcp[2:2] > 1024",
        "tcp[12] >> 4 > 5",
        "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
        "tcp[14:2] = 0",
        "tcp[4:4] & 1 = 1",
        "udp[4:2] > 100",
        "udp[0:2] = 53",
        "udp[8:2] != 0",
        "ip[0] & 0xf > 5",
        "ip[8] < 64",
        "ip[2:2] > 576",
        "ip[6:2] & 0x1fff != 0",
        "ip[6] & 0x20 != 0",
        "ip[9] = 17",
        "ip[12:4] = 0x7f000001",
        "ip[16] >= 224",
        "ip6[6] = 6",
        "ip6[7] = 64",
        "ip6[40] = 128",
        "ether[0] & 1 = 1",
        "ether[12:2] = 0x0806",
        "ether[6:4] = 0",
        "arp[6:2] = 1",
        "arp[7] = 2",
        "icmp[icmptype] = icmp-echo",
        "icmp[icmptype] = icmp-echoreply",
        "icmp[0] = 3",
        "icmp[icmpcode] = 0",
        "icmp6[icmp6type] = icmp6-echo",
        "icmp6[0] = 135",
        "igmp[0] = 0x16",
        "1 = 1",
        "1 + 1 = 3",
        "2 * 3 + 1 = 7",
        "len % 2 = 0",
        "len / 2 > 40",
        "len ^ 1 > 60",
        "tcp[13] & 16 = 16",
        "ip[1] << 1 = 0",
        "-1 = 4294967295",
    ];
    let pairs = [
        ("tcp", "port 80"),
        ("udp", "host 127.0.0.1"),
        ("ip", "len > 100"),
        ("port 80", "tcp[13] & 2 != 0"),
        ("net 10.0.0.0/8", "port 53"),
        ("arp", "ip6"),
        ("icmp", "less 100"),
        ("ip6", "tcp"),
        ("multicast", "udp"),
        ("tcp[100] = 0", "ip"),
        ("udp[200:4] != 0", "port 53"),
        ("src port 80", "dst port 80"),
    ];
    let mut all: Vec<String> = plain.iter().map(ToString::to_string).collect();
    for (one, other) in pairs {
        for form in ["{} and {}", "{} or {}", "not {} and {}", "{} and not {}", "not ({} or {})", "!{} || {}"]
        {
            all.push(form.replacen("{}", one, 1).replacen("{}", other, 1));
        }
    }
    all.extend(
        [
            "tcp port 80 or 443",
            "host 127.0.0.1 or 10.0.0.1",
            "src port 80 or 53 or 443",
            "udp or tcp and port 80",
            "tcp and (port 80 or port 443) and not host 127.0.0.1",
            "(tcp or udp) and (src port 53 or dst port 53)",
            "not (not (tcp))",
            "((ip))",
            "tcp && port 80 || udp && port 53",
            "ip host 127.0.0.1 and tcp port 80 or 443",
            "dst host 127.0.0.1 and src portrange 30000-60000",
            "net 192.168 and not port 53",
            "tcp or vlan and tcp",
        ]
        .map(str::to_owned),
    );
    all
}

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

/// Frames of many kinds: each header with each transport, whole and cut.
fn made_here() -> Vec<support::Packet> {
    let mut packets = Vec::new();
    let mut push = |bytes: Vec<u8>| {
        for cut in [bytes.len(), 60, 42, 34, 20, 14] {
            let cut = cut.min(bytes.len());
            packets.push(support::Packet {
                time_ns: 0,
                wire_len: bytes.len() as u32,
                link_type: link_type::ETHERNET,
                bytes: bytes[..cut].to_vec(),
            });
        }
    };
    let v4 = |protocol: u8, fragment: u16, options: usize, rest: &[u8]| {
        let mut header =
            vec![0x45 + options as u8, 0, 0, 0, 0, 1, 0, 0, 63, protocol, 0, 0, 127, 0, 0, 1, 10, 0, 0, 1];
        header[6..8].copy_from_slice(&fragment.to_be_bytes());
        header.extend(vec![1; options * 4]);
        let len = (header.len() + rest.len()) as u16;
        header[2..4].copy_from_slice(&len.to_be_bytes());
        [header, rest.to_vec()].concat()
    };
    let v6 = |next: u8, rest: &[u8]| {
        let mut header = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        header[4..6].copy_from_slice(&(rest.len() as u16).to_be_bytes());
        header.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        header.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        [header, rest.to_vec()].concat()
    };
    let tcp = |flags: u8| {
        let mut segment = vec![0x1f, 0x90, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0, 0, 0, 0, 0, 0];
        segment.extend(b"GET / HTTP/1.1\r\n");
        segment
    };
    let udp = [&[0, 53, 0x13, 0x88, 0, 20, 0, 0][..], &[7; 12]].concat();
    let transports = [
        (6, tcp(2)),
        (6, tcp(18)),
        (6, tcp(4)),
        (17, udp),
        (1, vec![8, 0, 0, 0, 0, 1, 0, 1]),
        (58, vec![128; 8]),
        (132, vec![0, 80, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (protocol, rest) in &transports {
        let mut networks = vec![(0x0800_u16, v4(*protocol, 0, 0, rest)), (0x0800, v4(*protocol, 0, 2, rest))];
        networks.push((0x0800, v4(*protocol, 0x2000, 0, rest)));
        networks.push((0x0800, v4(*protocol, 100, 0, rest)));
        networks.push((0x86dd, v6(*protocol, rest)));
        networks.push((0x86dd, v6(44, &[&[*protocol, 0, 0, 1, 0, 0, 0, 9][..], rest].concat())));
        for (ether_type, network) in networks {
            for tags in [&[][..], &[0x8100_u16], &[0x88a8, 0x8100]] {
                let mut frame = vec![1, 0, 0x5e, 0, 0, 1, 2, 0, 0, 0, 0, 1];
                for tag in tags {
                    frame.extend(tag.to_be_bytes());
                    frame.extend([0x20, 10]);
                }
                frame.extend(ether_type.to_be_bytes());
                frame.extend(&network);
                push(frame);
            }
        }
    }
    let arp = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 168, 1, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1];
    push([&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[8, 6], &arp].concat());
    packets
}

#[test]
fn packets_made_here() {
    if has_tcpdump() {
        let packets = made_here();
        compare(&packets.iter().collect::<Vec<_>>(), link_type::ETHERNET);
    }
}

#[test]
fn packets_of_the_collection() {
    assert!(expressions().len() >= 200, "{}", expressions().len());
    if !has_tcpdump() {
        return;
    }
    let packets: Vec<_> = support::all_captures().iter().flat_map(|path| support::packets(path)).collect();
    for link_type in [link_type::ETHERNET, link_type::RAW, link_type::LINUX_SLL, link_type::NULL] {
        let some: Vec<_> = packets.iter().filter(|packet| packet.link_type == link_type).collect();
        if !some.is_empty() {
            compare(&some, link_type);
        }
    }
}
