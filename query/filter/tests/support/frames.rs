//! Packets made here.

use kcap_filter::link_type;

use super::Packet;

/// Frames of many kinds: each header with each transport, whole and cut.
pub fn frames_made_here() -> Vec<Packet> {
    let mut packets = Vec::new();
    let mut push = |bytes: Vec<u8>| {
        for cut in [bytes.len(), 60, 42, 34, 20, 14] {
            let cut = cut.min(bytes.len());
            packets.push(Packet {
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
