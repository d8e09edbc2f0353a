//! Packets of real sockets, from the kernel through the ring.

mod kernel;

use std::{
    io::{Read, Write},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
};

use kcap_recorder_ebpf::{DIRECTION_EGRESS, DIRECTION_INGRESS, PACKET_FLAG_PAYLOAD_ELIDED, Program};

use kcap_recorder::probe::{Btf, LoadOptions};
use kernel::{Recorded, Session, cookie, netns_cookie, options};

#[test]
fn udp_datagrams_of_all_sizes_come_back_byte_for_byte() {
    let Some(session) = Session::start(&options()) else { return };
    // One below, at and above each size class, headers (28 bytes) included; and all short ones, which are copied piece by piece.
    let large = [2019, 2020, 2021, 8163, 8164, 8165, 16_355, 16_356, 16_357, 65_507];
    let sizes: Vec<usize> = (0..=256).chain(large).collect();
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ports = (sender.local_addr().unwrap().port(), receiver.local_addr().unwrap().port());
    for (index, size) in sizes.iter().copied().enumerate() {
        sender.send_to(&payload(index, size), receiver.local_addr().unwrap()).unwrap();
        let mut buffer = vec![0; 65_536];
        assert_eq!(receiver.recv(&mut buffer).unwrap(), size);
    }
    let recorded = session.finish();
    for direction in [DIRECTION_EGRESS, DIRECTION_INGRESS] {
        let packets = of_udp_ports(&recorded, ports, direction);
        assert_eq!(packets.len(), sizes.len(), "direction {direction}");
        for ((index, size), packet) in sizes.iter().copied().enumerate().zip(packets) {
            assert_eq!(packet.head.wire_len as usize, size + 28);
            assert_eq!(packet.head.captured_len, packet.head.wire_len);
            assert_eq!(packet.head.header_len, 28);
            assert_ne!(packet.head.socket_cookie, 0);
            assert_eq!(&packet.bytes[28..], payload(index, size));
        }
    }
}

#[test]
fn sockets_are_named_alike_with_types_and_with_helpers() {
    for typed_packets in [true, false] {
        // Nobody has asked yet for the cookies of the first two.
        let older = [UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("[::1]:0").unwrap()];
        let Some(session) = Session::start(&LoadOptions { typed_packets, ..options() }) else { return };
        let is_typed = session.hook(Program::PacketEgress).ends_with("typed");
        assert_eq!(is_typed, typed_packets && kernel_calls_its_functions());
        let newer = [UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("[::1]:0").unwrap()];
        let mut pairs = Vec::new();
        for (sender, receiver) in older.iter().zip(&newer).chain(newer.iter().zip(&older)) {
            for _ in 0..2 {
                sender.send_to(b"named", receiver.local_addr().unwrap()).unwrap();
                assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 5);
            }
            let ports = (sender.local_addr().unwrap().port(), receiver.local_addr().unwrap().port());
            pairs.push((ports, sender, receiver));
        }
        let recorded = session.finish();
        for (ports, sender, receiver) in pairs {
            for (direction, socket) in [(DIRECTION_EGRESS, sender), (DIRECTION_INGRESS, receiver)] {
                let packets = of_udp_ports(&recorded, ports, direction);
                assert_eq!(packets.len(), 2);
                for packet in packets {
                    assert_eq!(packet.head.socket_cookie, cookie(socket), "typed: {is_typed}");
                    let netns = packet.head.netns_cookie;
                    assert!(netns == netns_cookie(socket) || !is_typed && netns == 0, "{netns}");
                }
            }
        }
    }
}

/// Whether this kernel has the function that packets are read with, and compiles programs: its functions are only called then.
fn kernel_calls_its_functions() -> bool {
    let compiles = std::fs::read_to_string("/proc/sys/net/core/bpf_jit_enable");
    let types = Btf::of_kernel().unwrap();
    types.function("bpf_cast_to_kern_ctx").is_some() && compiles.is_ok_and(|value| value.trim() != "0")
}

#[test]
fn tcp_stream_is_whole_in_both_directions() {
    let Some(session) = Session::start(&options()) else { return };
    let data = payload(7, 3 << 20);
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let target = listener.local_addr().unwrap();
        let sent = data.clone();
        let writer =
            std::thread::spawn(move || TcpStream::connect(target).unwrap().write_all(&sent).unwrap());
        let mut received = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
        writer.join().unwrap();
        assert!(received == data);
    }
    let recorded = session.finish();
    for (version, header_min) in [(4, 40), (6, 60)] {
        for direction in [DIRECTION_EGRESS, DIRECTION_INGRESS] {
            let mut payload_len = 0;
            for packet in &recorded.packets {
                let head = packet.head;
                if packet.bytes[0] >> 4 != version || head.direction() != direction || !packet.is_tcp() {
                    continue;
                }
                assert!(u32::from(head.header_len) >= header_min && head.flags & 1 == 0, "{head:?}");
                payload_len += packet.bytes.len() - usize::from(head.header_len);
            }
            // What others on this host send meanwhile is recorded too.
            assert!(payload_len >= data.len(), "IPv{version} {direction}: {payload_len}");
        }
    }
}

#[test]
fn headers_only_keeps_headers_and_nothing_else() {
    let mut options = options();
    options.headers_only = true;
    let Some(session) = Session::start(&options) else { return };
    let receiver = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let sender = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let ports = (sender.local_addr().unwrap().port(), receiver.local_addr().unwrap().port());
    sender.send_to(&payload(3, 9000), receiver.local_addr().unwrap()).unwrap();
    let mut buffer = vec![0; 65_536];
    receiver.recv(&mut buffer).unwrap();
    let recorded = session.finish();
    for direction in [DIRECTION_EGRESS, DIRECTION_INGRESS] {
        let packets = of_udp_ports(&recorded, ports, direction);
        assert_eq!(packets.len(), 1);
        let head = packets[0].head;
        assert_eq!((head.wire_len, head.captured_len, head.header_len), (9048, 48, 48));
    }
}

#[test]
fn snaplen_cuts_and_says_so() {
    // Around the pieces that short packets are copied in, of packets that are longer and of those that end nearly there.
    for snaplen in [28, 32, 33, 60, 64, 65, 100, 127, 128, 129] {
        let Some(session) = Session::start(&LoadOptions { snaplen, ..options() }) else { return };
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let ports = (sender.local_addr().unwrap().port(), receiver.local_addr().unwrap().port());
        let sizes = [4000, snaplen as usize, 103];
        for (index, size) in sizes.into_iter().enumerate() {
            sender.send_to(&payload(index, size), receiver.local_addr().unwrap()).unwrap();
        }
        let recorded = session.finish();
        let packets = of_udp_ports(&recorded, ports, DIRECTION_EGRESS);
        assert_eq!(packets.len(), sizes.len());
        for ((index, size), packet) in sizes.into_iter().enumerate().zip(packets) {
            let wire_len = size as u32 + 28;
            let captured_len = wire_len.min(snaplen);
            assert_eq!((packet.head.wire_len, packet.head.captured_len), (wire_len, captured_len));
            assert_eq!(packet.bytes.len(), captured_len as usize);
            let kept = packet.bytes.get(28..).unwrap_or_default();
            assert_eq!(kept, &payload(index, size)[..kept.len()], "{size} bytes at {snaplen}");
        }
    }
}

#[test]
fn a_full_ring_loses_and_counts() {
    let mut options = options();
    options.packet_ring_bytes = 1 << 18;
    let Some(mut session) = Session::start(&options) else { return };
    session.stop_draining();
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for index in 0..3000 {
        sender.send_to(&payload(index, 1000), receiver.local_addr().unwrap()).unwrap();
    }
    let recorded = session.finish();
    let lost: u64 = recorded.counters.iter().map(|row| row.counters.lost_ring_full).sum();
    assert!(lost > 2500, "lost {lost}");
}

#[test]
fn local_copies_keep_only_headers_when_asked() {
    let mut options = options();
    options.elide_local_copies = true;
    let Some(session) = Session::start(&options) else { return };
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ports = (sender.local_addr().unwrap().port(), receiver.local_addr().unwrap().port());
    for index in 0..50 {
        sender.send_to(&payload(index, 1200), receiver.local_addr().unwrap()).unwrap();
    }
    let recorded = session.finish();
    let leaving = of_udp_ports(&recorded, ports, DIRECTION_EGRESS);
    let arriving = of_udp_ports(&recorded, ports, DIRECTION_INGRESS);
    assert_eq!((leaving.len(), arriving.len()), (50, 50));
    for (index, (leaving, arriving)) in leaving.iter().zip(arriving).enumerate() {
        assert_eq!(leaving.bytes[28..], payload(index, 1200));
        assert_eq!(arriving.head.flags & PACKET_FLAG_PAYLOAD_ELIDED, PACKET_FLAG_PAYLOAD_ELIDED);
        assert_eq!((arriving.head.wire_len, arriving.head.captured_len), (1228, 28));
        assert_eq!(arriving.bytes, leaving.bytes[..28]);
    }
}

/// Bytes that differ by position and datagram.
fn payload(index: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 256 * 7 + index * 13) as u8).collect()
}

fn of_udp_ports(recorded: &Recorded, ports: (u16, u16), direction: u8) -> Vec<&kernel::Packet> {
    recorded
        .packets
        .iter()
        .filter(|packet| packet.head.direction() == direction && packet.udp_ports() == Some(ports))
        .collect()
}

#[test]
fn addresses_are_those_of_the_sockets() {
    let Some(session) = Session::start(&options()) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let SocketAddr::V4(target) = listener.local_addr().unwrap() else { panic!("not IPv4") };
    let client = TcpStream::connect(target).unwrap();
    drop((client, listener));
    let recorded = session.finish();
    let syn = recorded.packets.iter().find(|packet| {
        packet.is_tcp() && packet.bytes[22..24] == target.port().to_be_bytes() && packet.bytes[33] & 0x12 == 2
    });
    assert_eq!(&syn.expect("no SYN").bytes[16..20], target.ip().octets());
}
