//! Filters against packets made here.

use crate::decode::link_type;
use crate::decode::samples::{CLIENT_V4, SERVER_V4, corpus, ethernet, ipv4, ipv6, tcp, udp};
use crate::filter::{Filter, Packet};

fn matches(expression: &str, frame: &[u8]) -> bool {
    let filter = Filter::parse(expression, link_type::ETHERNET)
        .unwrap_or_else(|error| panic!("{expression}: {error}"));
    filter.matches(&Packet { header: frame, payload: &[], wire_len: frame.len() as u32 })
}

#[track_caller]
fn check(frame: &[u8], matching: &[&str], others: &[&str]) {
    for expression in matching {
        assert!(matches(expression, frame), "{expression} should match");
        let negated = format!("not ({expression})");
        assert!(expression.is_empty() || !matches(&negated, frame), "{negated} should not");
    }
    for expression in others {
        assert!(!matches(expression, frame), "{expression} should not match");
    }
}

#[test]
fn a_segment() {
    let frame = ethernet(0x0800, &ipv4(CLIENT_V4, SERVER_V4, 6, 7, &tcp(40_000, 443, 1, 2, 0x12)));
    check(
        &frame,
        &[
            "",
            "tcp",
            "ip",
            "tcp port 443",
            "port https",
            "dst port 443",
            "src port 40000",
            "portrange 400-500",
            "host 10.0.0.1",
            "src host 10.0.0.1",
            "src 10.0.0.1",
            "10.0.0.2",
            "net 10.0.0.0/8",
            "net 10",
            "dst net 10.0.0.0 mask 255.255.255.0",
            "host 9.9.9.9 or 10.0.0.2",
            "port 80 or 443",
            "src or dst port 443",
            "tcp[13] & 2 != 0",
            "tcp[tcpflags] & (tcp-syn|tcp-ack) == 18",
            "ip[0] & 0xf = 5",
            "ip[2:2] = 40",
            "len = 54",
            "less 54",
            "greater 54",
            "ether proto 0x800",
            "ether proto \\ip",
            "ip proto \\tcp",
            "ip proto 6",
            "proto 6",
            "ether host 02:00:00:00:00:01",
            "ether src 02-00-00-00-00-01",
            "not udp and not arp",
            "! udp && tcp",
            "(tcp or udp) and port 443",
            "tcp[2:2] = 443",
            "tcp[(0+2):2] - 1 = 442",
            "1 + 2 * 3 = 7",
        ],
        &[
            "udp",
            "ip6",
            "arp",
            "port 80",
            "src port 443",
            "host 10.0.0.3",
            "net 11.0.0.0/8",
            "src and dst port 443",
            "tcp[13] & 4 != 0",
            "less 53",
            "greater 55",
            "vlan",
            "icmp",
            "multicast",
            "broadcast",
            "udp port 443",
            "tcp[100] = 0",
            "not tcp[100] = 0",
        ],
    );
}

#[test]
fn and_and_or_go_from_left_to_right() {
    let frame = ethernet(0x0800, &ipv4(CLIENT_V4, SERVER_V4, 17, 7, &udp(1, 2, 0)));
    // ((udp or tcp) and port 9): not udp or (tcp and port 9).
    check(&frame, &["udp or (tcp and port 9)"], &["udp or tcp and port 9"]);
}

#[test]
fn behind_a_tag() {
    let tagged = [&[0x60, 0x0a, 0x08, 0x00][..], &ipv4(CLIENT_V4, SERVER_V4, 17, 7, &udp(1, 53, 0))].concat();
    let frame = ethernet(0x8100, &tagged);
    check(
        &frame,
        &["vlan", "vlan 10", "vlan and udp port 53", "vlan 10 and host 10.0.0.1"],
        &["vlan 11", "udp port 53"],
    );
}

#[test]
fn version_6() {
    let frame = ethernet(0x86dd, &ipv6(6, &tcp(1, 80, 1, 2, 2)));
    check(
        &frame,
        &[
            "ip6",
            "tcp",
            "ip6 proto 6",
            "tcp port 80",
            "host fd00::1",
            "dst host fd00::2",
            "net fd00::/64",
            "ip6[6] = 6",
        ],
        &["ip", "ip proto 6", "host fd00::3", "tcp[13] = 2", "ip6 multicast", "net fe80::/10"],
    );
}

#[test]
fn errors_tell_where() {
    let cases = [
        ("tcp prt 80", 4),
        ("port", 4),
        ("port 70000", 5),
        ("host nosuchhost", 5),
        ("(tcp", 4),
        ("tcp)", 3),
        ("tcp and", 7),
        ("net 10.0.0.1/8", 4),
        ("tcp[0:3] = 1", 7),
        ("ip host", 7),
        ("udp host 1.2.3.4", 9),
        ("1 / 0 = 1", 4),
        ("portrange 5", 10),
        ("vlan 4096", 0),
        ("tcp & 5", 4),
        ("tcp # udp", 4),
        ("ip6 host 1.2.3.4", 9),
        ("tcp[13 = 2", 7),
        ("len", 0),
    ];
    for (expression, position) in cases {
        let error = Filter::parse(expression, link_type::ETHERNET).expect_err(expression);
        assert_eq!(error.position, position, "{expression}: {error}");
    }
    assert!(Filter::parse(&"(".repeat(100_000), link_type::RAW).is_err());
    assert!(Filter::parse(&"not ".repeat(10_000), link_type::RAW).is_err());
    assert!(Filter::parse(&"tcp or ".repeat(5_000), link_type::RAW).is_err());
    assert!(Filter::parse("vlan", link_type::RAW).is_err());
}

#[test]
fn any_bytes_and_any_words() {
    let words = [
        "tcp",
        "udp",
        "ip",
        "host",
        "net",
        "port",
        "10.0.0.1",
        "fd00::1",
        "80",
        "(",
        ")",
        "and",
        "or",
        "not",
        "[",
        "]",
        ":",
        "&",
        "=",
        "!=",
        "13",
        "src",
        "dst",
        "proto",
        "vlan",
        "len",
        "less",
        "/",
        "-",
        "tcp-syn",
        "ether",
        "0x10",
        "02:00:00:00:00:01",
        "portrange",
        "1-2",
        "multicast",
        "mask",
        "\\",
        "arp",
        "icmp6",
        "é",
    ];
    let mut random = crate::decode::samples::SplitMix(3);
    for _ in 0..20_000 {
        let expression: Vec<_> = (0..random.below(9)).map(|_| words[random.below(words.len())]).collect();
        for (link_type, bytes) in corpus().into_iter().take(3) {
            if let Ok(filter) = Filter::parse(&expression.join(" "), link_type) {
                let cut = random.below(bytes.len() + 1);
                let _ = filter.matches(&Packet {
                    header: &bytes[..cut],
                    payload: &bytes[cut..],
                    wire_len: bytes.len() as u32,
                });
            }
        }
    }
}
