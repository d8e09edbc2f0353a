//! Decoding of whole packets, of cut ones, and of nonsense.

use super::model::map_ipv4;
use super::samples::{CLIENT_V4, SERVER_V4, SplitMix, corpus, ethernet, ipv4, ipv6, tcp, tunnels, udp};
use super::*;

fn raw(bytes: &[u8]) -> Decoded {
    decode(link_type::RAW, bytes, 0)
}

fn wire_len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

#[test]
fn tcp_over_ipv4() {
    let packet = ipv4(CLIENT_V4, SERVER_V4, 6, 7, &[tcp(40_000, 443, 1000, 2000, 0x18), vec![1; 5]].concat());
    let decoded = raw(&packet);
    let ip = decoded.ip().unwrap();
    assert_eq!((ip.version, ip.protocol, ip.ttl, ip.id), (4, 6, 64, Some(7)));
    assert_eq!((ip.source, ip.destination), (map_ipv4(CLIENT_V4), map_ipv4(SERVER_V4)));
    assert_eq!(decoded.ports, Some(Ports { source: 40_000, destination: 443 }));
    let tcp = decoded.tcp().unwrap();
    assert_eq!((tcp.sequence, tcp.acknowledgement, tcp.window), (1000, 2000, 256));
    assert_eq!(tcp.flags, tcp_flag::PSH | tcp_flag::ACK);
    assert_eq!((decoded.network_offset, decoded.transport_offset), (0, 20));
    assert_eq!((decoded.header_len, decoded.payload_len, decoded.error), (40, 5, None));
}

#[test]
fn every_sample_is_understood() {
    for (link_type, bytes) in corpus() {
        let decoded = decode(link_type, &bytes, wire_len(&bytes));
        assert_eq!(decoded.error, None, "link type {link_type}, {bytes:02x?}");
        assert_ne!(decoded.network, Network::None);
        assert!(decoded.header_len as usize <= bytes.len());
    }
}

#[test]
fn accurate_ecn_is_the_ninth_flag() {
    let mut segment = tcp(1, 2, 0, 0, 0xc2);
    segment[12] |= 1;
    let flags = raw(&ipv4(CLIENT_V4, SERVER_V4, 6, 1, &segment)).tcp().unwrap().flags;
    assert_eq!(flags, tcp_flag::AE | tcp_flag::CWR | tcp_flag::ECE | tcp_flag::SYN);
}

#[test]
fn options_are_found_in_the_packet() {
    let (link_type, syn) = corpus().swap_remove(2);
    let decoded = decode(link_type, &syn, wire_len(&syn));
    let options: Vec<_> = decoded.tcp_options(&syn).collect();
    assert_eq!(options.first(), Some(&TcpOption::MaximumSegmentSize(1460)));
    assert_eq!(options.last(), Some(&TcpOption::WindowScale(10)));
    assert_eq!((decoded.header_len, decoded.payload_len), (60, 0));
}

#[test]
fn two_vlan_tags() {
    let inner = ipv4(CLIENT_V4, SERVER_V4, 17, 1, &udp(1, 2, 0));
    let tags = [0x60, 0x0a, 0x81, 0x00, 0x00, 0x14, 0x08, 0x00];
    let frame = ethernet(ether_type::SERVICE_VLAN, &[&tags[..], &inner].concat());
    let decoded = decode(link_type::ETHERNET, &frame, wire_len(&frame));
    assert_eq!(decoded.link.vlan_count, 2);
    assert_eq!((decoded.link.vlan_tags, decoded.link.vlan_id()), ([0x600a, 0x0014], Some(10)));
    assert_eq!((decoded.link.ether_type, decoded.network_offset), (ether_type::IPV4, 22));
    let three = ethernet(ether_type::VLAN, &[0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 0x08, 0]);
    let decoded = decode(link_type::ETHERNET, &three, wire_len(&three));
    assert_eq!(decoded.error, Some(DecodeError::TooMany { layer: Layer::Ethernet, offset: 22 }));
}

#[test]
fn padding_of_short_frames_is_no_payload() {
    let mut frame = ethernet(ether_type::IPV4, &ipv4(CLIENT_V4, SERVER_V4, 6, 1, &tcp(1, 2, 0, 0, 0x10)));
    frame.resize(60, 0);
    let decoded = decode(link_type::ETHERNET, &frame, 60);
    assert_eq!((decoded.header_len, decoded.payload_len, decoded.error), (54, 0, None));
}

#[test]
fn packets_above_64_kib_take_their_length_from_the_wire() {
    let mut packet = ipv4(CLIENT_V4, SERVER_V4, 6, 7, &tcp(1, 2, 0, 0, 0x10));
    packet[2..4].fill(0);
    let decoded = decode(link_type::RAW, &packet, 180_040);
    assert_eq!((decoded.payload_len, decoded.error), (180_000, None));

    let mut packet = ipv6(6, &tcp(1, 2, 0, 0, 0x10));
    packet[4..6].fill(0);
    let decoded = decode(link_type::RAW, &packet, 180_060);
    assert_eq!((decoded.payload_len, decoded.error), (180_000, None));

    let jumbo = [&[6, 0, 0xc2, 4, 0, 2, 0xbf, 0x34][..], &tcp(1, 2, 0, 0, 0x10)].concat();
    let mut packet = ipv6(0, &jumbo);
    packet[4..6].fill(0);
    let decoded = decode(link_type::RAW, &packet, 180_068);
    assert_eq!((decoded.header_len, decoded.payload_len, decoded.error), (68, 180_000, None));
}

#[test]
fn captured_less_than_on_the_wire() {
    let mut packet = ipv4(CLIENT_V4, SERVER_V4, 6, 7, &[tcp(1, 2, 0, 0, 0x10), vec![0; 1000]].concat());
    packet.truncate(40);
    let decoded = decode(link_type::RAW, &packet, 1040);
    assert_eq!((decoded.payload_len, decoded.error), (1000, None));
}

#[test]
fn fragments() {
    let (link_type, first) = corpus().swap_remove(3);
    let decoded = decode(link_type, &first, wire_len(&first));
    let ip = decoded.ip().unwrap();
    assert_eq!((ip.protocol, ip.id, ip.fragment_offset, ip.more_fragments), (17, Some(99), 0, true));
    assert_eq!(decoded.ports, Some(Ports { source: 5353, destination: 53 }));

    let (link_type, later) = corpus().swap_remove(5);
    let decoded = decode(link_type, &later, wire_len(&later));
    let ip = decoded.ip().unwrap();
    assert_eq!((ip.fragment_offset, ip.more_fragments, ip.is_fragment()), (1480, false, true));
    assert_eq!((decoded.ports, decoded.transport, decoded.payload_len), (None, Transport::None, 32));
}

#[test]
fn arp_and_other_ether_types() {
    let (link_type, frame) = corpus().swap_remove(11);
    let decoded = decode(link_type, &frame, wire_len(&frame));
    let Network::Arp(arp) = decoded.network else { panic!("{:?}", decoded.network) };
    assert_eq!((arp.operation, arp.sender_ip, arp.target_ip), (1, CLIENT_V4, SERVER_V4));
    assert_eq!(arp.sender_mac, [2, 0, 0, 0, 0, 1]);

    let frame = ethernet(0x88cc, &[1, 2, 3]);
    let decoded = decode(link_type::ETHERNET, &frame, 17);
    assert_eq!((decoded.link.ether_type, decoded.network), (0x88cc, Network::None));
    assert_eq!((decoded.header_len, decoded.payload_len, decoded.error), (14, 3, None));
}

#[test]
fn icmp_echo_and_errors() {
    let (link_type, echo) = corpus().swap_remove(6);
    let icmp = *decode(link_type, &echo, wire_len(&echo)).icmp().unwrap();
    assert_eq!((icmp.kind, icmp.code, icmp.echo), (8, 0, Some((0x1234, 1))));
    let unreachable = ipv4(CLIENT_V4, SERVER_V4, 1, 1, &[3, 1, 0, 0, 0, 0, 0, 0]);
    let icmp = *raw(&unreachable).icmp().unwrap();
    assert_eq!((icmp.kind, icmp.code, icmp.echo), (3, 1, None));
}

#[test]
fn lies_about_lengths() {
    let mut packet = ipv4(CLIENT_V4, SERVER_V4, 17, 1, &udp(1, 2, 0));
    packet[2..4].copy_from_slice(&1000_u16.to_be_bytes());
    let decoded = raw(&packet);
    let error = DecodeError::PacketLen { layer: Layer::Ipv4, offset: 0, stated_len: 1000, actual_len: 28 };
    assert_eq!((decoded.error, decoded.payload_len), (Some(error), 0));
    assert!(decoded.ports.is_some(), "the rest is understood all the same");

    let mut packet = ipv4(CLIENT_V4, SERVER_V4, 17, 1, &udp(1, 2, 0));
    packet[0] = 0x44;
    assert_eq!(
        raw(&packet).error,
        Some(DecodeError::HeaderLen { layer: Layer::Ipv4, offset: 0, header_len: 16 })
    );

    let packet = ipv4(CLIENT_V4, SERVER_V4, 17, 1, &udp(1, 2, 9));
    let error = DecodeError::PacketLen { layer: Layer::Udp, offset: 20, stated_len: 17, actual_len: 8 };
    assert_eq!(raw(&packet).error, Some(error));
    assert_eq!(error.to_string(), "UDP header at byte 20: length is 17, the packet has 8");
}

/// Padding of a frame is no header, whatever somebody put there.
#[test]
fn headers_end_with_their_packet() {
    for (protocol, layer, header_len, header) in [
        (6, Layer::Tcp, 20, tcp(40_000, 443, 1, 2, 0x18)),
        (17, Layer::Udp, 8, udp(40_000, 443, 0)),
        (1, Layer::Icmp, 8, vec![8, 0, 0, 0, 0x12, 0x34, 0, 1]),
        (132, Layer::Sctp, 12, vec![7; 12]),
        (51, Layer::Authentication, 24, [&[6, 4][..], &[0; 22]].concat()),
        (47, Layer::Gre, 4, vec![0, 0, 8, 0]),
        (4, Layer::Ipv4, 20, ipv4(CLIENT_V4, SERVER_V4, 6, 1, &[])),
    ] {
        // All but one byte of it are the packet's.
        let len = header_len - 1;
        let mut packet = ipv4(CLIENT_V4, SERVER_V4, protocol, 1, &header);
        packet[2..4].copy_from_slice(&(20 + len as u16).to_be_bytes());
        let frame = ethernet(0x0800, &packet);
        let decoded = decode(link_type::ETHERNET, &frame, wire_len(&frame));
        let error = DecodeError::PacketLen { layer, offset: 34, stated_len: header_len, actual_len: len };
        assert_eq!(decoded.error, Some(error), "protocol {protocol}");
        assert_eq!((decoded.tcp(), decoded.header_len, decoded.payload_len), (None, 34, len));
    }
    // Ports of nobody.
    let mut packet = ipv4(CLIENT_V4, SERVER_V4, 6, 1, &tcp(40_000, 443, 1, 2, 0x18));
    packet[2..4].copy_from_slice(&[0, 23]);
    assert_eq!(raw(&packet).ports, None);
    // Options that go on behind the end.
    let mut packet = ipv4(CLIENT_V4, SERVER_V4, 6, 1, &[tcp(1, 2, 0, 0, 0x10), vec![1; 8]].concat());
    packet[2..4].copy_from_slice(&[0, 44]);
    packet[32] = 0x70;
    let error = DecodeError::PacketLen { layer: Layer::Tcp, offset: 20, stated_len: 28, actual_len: 24 };
    assert_eq!(raw(&packet).error, Some(error));
}

/// Each level was a call within the one before, and a packet of some kilobytes ended the process.
#[test]
fn links_within_links_are_bounded() {
    let pseudowire = ethernet(0x8847, &[0, 0, 0x11, 1, 0, 0, 0, 0]);
    let session = [0x11, 0, 0, 7, 0xff, 0xff, 0x0f, 0, 0x88, 0x64];
    for (link_type, level, layer) in [
        (link_type::ETHERNET, &pseudowire[..], Layer::Mpls),
        (link_type::PPP_ETHER, &session[..], Layer::Ppp),
    ] {
        let packet = level.repeat(65_535 / level.len());
        let decoded = decode(link_type, &packet, wire_len(&packet));
        assert!(
            matches!(decoded.error, Some(DecodeError::TooMany { layer: found, .. }) if found == layer || found == Layer::Pppoe),
            "{:?}",
            decoded.error
        );
    }
}

#[test]
fn extension_headers_are_bounded() {
    let endless = [60, 0, 1, 4, 0, 0, 0, 0].repeat(IPV6_EXTENSIONS_MAX + 4);
    let decoded = raw(&ipv6(60, &endless));
    let offset = 40 + 8 * u32::try_from(IPV6_EXTENSIONS_MAX).unwrap();
    assert_eq!(decoded.error, Some(DecodeError::TooMany { layer: Layer::Ipv6Extension, offset }));
    assert!(decoded.ip().is_some());
}

#[test]
fn unknown_link_type_says_so() {
    let decoded = decode(147, &[0; 20], 20);
    assert_eq!(decoded.error, Some(DecodeError::LinkType { link_type: 147 }));
    assert_eq!(decoded.payload_len, 20);
}

#[test]
fn headers_that_go_on_in_the_payload() {
    for (link_type, bytes) in corpus() {
        let whole = decode(link_type, &bytes, wire_len(&bytes));
        for split in 0..bytes.len() {
            let (header, payload) = bytes.split_at(split);
            let parts = decode_parts(link_type, header, payload, wire_len(&bytes));
            assert_eq!(parts, whole, "split at {split} of {bytes:02x?}");
        }
    }
}

/// Whatever is cut off, what was understood stays, and grows with what is there.
#[test]
fn every_truncation_gives_what_it_can() {
    for (link_type, bytes) in corpus() {
        let whole = decode(link_type, &bytes, wire_len(&bytes));
        for len in 0..bytes.len() {
            let cut = decode(link_type, &bytes[..len], wire_len(&bytes));
            if len < whole.header_len as usize {
                assert!(matches!(cut.error, Some(DecodeError::Truncated { .. })), "{len} of {bytes:02x?}");
            } else {
                assert_eq!(cut, whole, "{len} of {bytes:02x?}");
            }
            if whole.ip().is_some() && len >= whole.transport_offset as usize {
                assert_eq!(cut.ip(), whole.ip());
            }
            if whole.ports.is_some() && len >= whole.transport_offset as usize + 4 {
                assert_eq!(cut.ports, whole.ports);
            }
        }
    }
}

/// Damaged packets of every kind, under every link type, never panic and never claim more than there is.
#[test]
fn any_bytes_at_all() {
    const ROUNDS: usize = 40_000;
    let mut corpus = corpus();
    corpus.extend(tunnels().into_iter().map(|(link_type, bytes, ..)| (link_type, bytes)));
    let link_types = [0, 1, 9, 12, 50, 51, 101, 104, 105, 108, 113, 127, 219, 228, 229, 276, 65_535];
    let mut random = SplitMix(1);
    for _ in 0..ROUNDS {
        let (link_type, mut bytes) = corpus[random.below(corpus.len())].clone();
        for _ in 0..random.below(6) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        bytes.truncate(random.below(bytes.len() + 1));
        let (own, other) = (link_type, link_types[random.below(link_types.len())]);
        let link_type = if random.below(2) == 0 { own } else { other };
        let wire_len = random.next() as u32 >> random.below(32);
        let decoded = decode(link_type, &bytes, wire_len);
        assert!(decoded.payload_len <= wire_len.max(self::wire_len(&bytes)));
        assert!(decoded.transport_offset >= decoded.network_offset);
        assert!(decoded.tcp_options(&bytes).count() <= 40);
        if decoded.error.is_none() {
            assert!(decoded.header_len as usize <= bytes.len(), "{decoded:?}");
        }
    }
}
