//! Packets as byte arrays, for the tests of decoding and matching.

use super::{TunnelKind, link_type};

/// One end of a conversation, IPv4.
pub(crate) const CLIENT_V4: [u8; 4] = [10, 0, 0, 1];
/// The other end.
pub(crate) const SERVER_V4: [u8; 4] = [10, 0, 0, 2];

/// A TCP header without options and checksum.
pub(crate) fn tcp(source: u16, destination: u16, sequence: u32, acknowledgement: u32, flags: u8) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(source.to_be_bytes());
    header.extend(destination.to_be_bytes());
    header.extend(sequence.to_be_bytes());
    header.extend(acknowledgement.to_be_bytes());
    header.extend([0x50, flags, 0x01, 0x00, 0, 0, 0, 0]);
    header
}

/// A UDP header without checksum, for a payload of this length.
pub(crate) fn udp(source: u16, destination: u16, payload_len: u16) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(source.to_be_bytes());
    header.extend(destination.to_be_bytes());
    header.extend((payload_len + 8).to_be_bytes());
    header.extend([0, 0]);
    header
}

/// An IPv4 packet with "don't fragment", a TTL of 64 and no checksum.
pub(crate) fn ipv4(source: [u8; 4], destination: [u8; 4], protocol: u8, id: u16, rest: &[u8]) -> Vec<u8> {
    let total_len = u16::try_from(20 + rest.len()).expect("a test packet is short");
    let mut packet = vec![0x45, 0];
    packet.extend(total_len.to_be_bytes());
    packet.extend(id.to_be_bytes());
    packet.extend([0x40, 0, 64, protocol, 0, 0]);
    packet.extend(source);
    packet.extend(destination);
    packet.extend(rest);
    packet
}

/// An IPv6 packet from `fd00::1` to `fd00::2` with a hop limit of 64.
pub(crate) fn ipv6(next_header: u8, rest: &[u8]) -> Vec<u8> {
    let payload_len = u16::try_from(rest.len()).expect("a test packet is short");
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(payload_len.to_be_bytes());
    packet.extend([next_header, 64]);
    packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend(rest);
    packet
}

/// An Ethernet frame.
pub(crate) fn ethernet(ether_type: u16, rest: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(ether_type.to_be_bytes());
    frame.extend(rest);
    frame
}

/// One packet of each kind that decoding knows, with its link type.
pub(crate) fn corpus() -> Vec<(u16, Vec<u8>)> {
    let segment = [tcp(40_000, 443, 1000, 2000, 0x18), b"hello".to_vec()].concat();
    let mut syn = tcp(40_000, 443, 999, 0, 0x02);
    syn[12] = 0xa0;
    syn.extend([2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 10]);
    let datagram = [udp(5353, 53, 4), b"ping".to_vec()].concat();
    let v4_segment = ipv4(CLIENT_V4, SERVER_V4, 6, 7, &segment);
    let v6_segment = ipv6(6, &segment);
    let mut with_options = ipv4(CLIENT_V4, SERVER_V4, 17, 9, &[&[0x94, 4, 0, 0][..], &datagram].concat());
    with_options[0] = 0x46;
    let mut later_fragment = ipv4(CLIENT_V4, SERVER_V4, 17, 10, &[0xaa; 32]);
    later_fragment[6..8].copy_from_slice(&[0x00, 0xb9]);
    let hop_by_hop = [&[60, 0, 5, 2, 0, 0, 1, 0][..], &[44, 0, 1, 4, 0, 0, 0, 0]].concat();
    let first_fragment = [&hop_by_hop[..], &[17, 0, 0, 1, 0, 0, 0, 99], &udp(5353, 53, 3000)].concat();
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &[2, 0, 0, 0, 0, 1], &CLIENT_V4, &[0; 6], &SERVER_V4].concat();
    let echo = [8, 0, 0, 0, 0x12, 0x34, 0, 1, b'x', b'y'];
    let tagged = [&[0x60, 0x0a, 0x81, 0x00, 0x00, 0x14, 0x08, 0x00][..], &v4_segment].concat();
    let sctp = [0x1f, 0x90, 0x1f, 0x91, 1, 2, 3, 4, 0, 0, 0, 0, 0, 3, 0, 16];
    vec![
        (link_type::RAW, v4_segment.clone()),
        (link_type::RAW, v6_segment.clone()),
        (link_type::IPV4, ipv4(CLIENT_V4, SERVER_V4, 6, 8, &syn)),
        (link_type::IPV6, ipv6(0, &first_fragment)),
        (link_type::RAW, with_options),
        (link_type::RAW, later_fragment),
        (link_type::RAW, ipv4(CLIENT_V4, SERVER_V4, 1, 11, &echo)),
        (link_type::RAW, ipv6(58, &[129, 0, 0, 0, 0x12, 0x34, 0, 2])),
        (link_type::RAW, ipv4(CLIENT_V4, SERVER_V4, 132, 12, &sctp)),
        (link_type::ETHERNET, ethernet(0x0800, &v4_segment)),
        (link_type::ETHERNET, ethernet(0x88a8, &tagged)),
        (link_type::ETHERNET, ethernet(0x0806, &arp)),
        (link_type::NULL, [&[2, 0, 0, 0][..], &v4_segment].concat()),
        (link_type::LOOP, [&[0, 0, 0, 24][..], &v6_segment].concat()),
        (link_type::LINUX_SLL, [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0][..], &v4_segment].concat()),
        (
            link_type::LINUX_SLL2,
            [&[0x86, 0xdd, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &v6_segment].concat(),
        ),
        (link_type::RAW_14, ipv4(CLIENT_V4, [224, 0, 0, 22], 2, 13, &[0x16, 0, 0, 0, 224, 0, 0, 251])),
        (link_type::RAW_12, ipv4(CLIENT_V4, SERVER_V4, 51, 14, &[&[6, 4][..], &[0; 22], &segment].concat())),
        (link_type::PPP, [&[0xff, 0x03, 0x00, 0x21][..], &v4_segment].concat()),
        (link_type::PPP_HDLC, [&[0x57][..], &v6_segment].concat()),
        (link_type::C_HDLC, [&[0x0f, 0x00, 0x08, 0x00][..], &v4_segment].concat()),
        (link_type::ETHERNET, ethernet(0x8864, &pppoe(&v4_segment))),
        (
            link_type::ETHERNET,
            ethernet(0x8847, &[&[0, 0x01, 0x90, 0xff, 0, 0x02, 0x01, 0xff][..], &v4_segment].concat()),
        ),
        (link_type::MPLS, [&[0, 0x02, 0x01, 0xff, 0, 0, 0, 0][..], &ethernet(0x0800, &v4_segment)].concat()),
    ]
}

/// One packet of each kind of tunnel, with its link type, kind and id. All carry a TCP segment of [`CLIENT_V4`], port
/// 40000, to [`SERVER_V4`], port 443, from `192.0.2.1` to `192.0.2.2`, or between the same addresses of IPv6.
pub(crate) fn tunnels() -> Vec<(u16, Vec<u8>, TunnelKind, Option<u32>)> {
    let segment = [tcp(40_000, 443, 1000, 2000, 0x18), b"hello".to_vec()].concat();
    let packet = ipv4(CLIENT_V4, SERVER_V4, 6, 7, &segment);
    let frame = ethernet(0x0800, &packet);
    let outer = |protocol: u8, header: &[u8], inner: &[u8]| {
        ipv4([192, 0, 2, 1], [192, 0, 2, 2], protocol, 1, &[header, inner].concat())
    };
    let datagram = |port: u16, header: &[u8], inner: &[u8]| {
        let len = u16::try_from(header.len() + inner.len()).expect("a test packet is short");
        outer(17, &[&udp(50_000, port, len)[..], header].concat(), inner)
    };
    let gtp_len = u16::try_from(packet.len() + 8).expect("a test packet is short").to_be_bytes();
    let gtp = [&[0x34, 255][..], &gtp_len, &[0, 0, 0, 9, 0, 0, 0, 0x85, 1, 0x10, 0, 0]].concat();
    let raw = link_type::RAW;
    vec![
        (raw, outer(4, &[], &packet), TunnelKind::IpInIp, None),
        (raw, outer(41, &[], &ipv6(6, &segment)), TunnelKind::IpInIp, None),
        (raw, ipv6(4, &packet), TunnelKind::IpInIp, None),
        (raw, outer(47, &[0, 0, 8, 0], &packet), TunnelKind::Gre, None),
        (
            raw,
            outer(47, &[0xb0, 0, 0x65, 0x58, 1, 2, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1], &frame),
            TunnelKind::Gre,
            Some(5),
        ),
        (
            raw,
            outer(47, &[0x30, 0x81, 0x88, 0x0b, 0, 49, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0x21], &packet),
            TunnelKind::Gre,
            Some(7),
        ),
        (raw, outer(47, &[0, 0, 0x88, 0xbe], &frame), TunnelKind::Erspan, None),
        (
            raw,
            outer(47, &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 1, 0, 100, 0, 0, 0, 0], &frame),
            TunnelKind::Erspan,
            Some(100),
        ),
        (
            raw,
            outer(
                47,
                &[&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 1, 0, 101, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 8]]
                    .concat(),
                &frame,
            ),
            TunnelKind::Erspan,
            Some(101),
        ),
        (raw, datagram(4789, &[8, 0, 0, 0, 0, 0, 42, 0], &frame), TunnelKind::Vxlan, Some(42)),
        (raw, datagram(8472, &[8, 0, 0, 0, 0, 1, 0, 0], &frame), TunnelKind::Vxlan, Some(256)),
        (
            raw,
            datagram(6081, &[1, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 0], &frame),
            TunnelKind::Geneve,
            Some(7),
        ),
        (raw, datagram(2152, &gtp, &packet), TunnelKind::GtpU, Some(9)),
    ]
}

fn pppoe(packet: &[u8]) -> Vec<u8> {
    let len = u16::try_from(packet.len() + 2).expect("a test packet is short").to_be_bytes();
    [&[0x11, 0, 0x12, 0x34][..], &len, &[0x00, 0x21], packet].concat()
}

/// Numbers that look random and are the same in every run (Steele and others, "SplitMix").
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
