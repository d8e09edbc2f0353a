//! How much payload is kept, of each packet and of each flow.

mod kernel;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};

use kcap_recorder::probe::LoadOptions;
use kcap_recorder_ebpf::{DIRECTION_EGRESS, DIRECTION_INGRESS};

use kernel::{Packet, Session, options};

const UDP_HEADERS_LEN: u32 = 28;

/// Payload bytes that were kept of each packet from one port to another, in their order.
fn kept(packets: &[Packet], ports: (u16, u16), direction: u8) -> Vec<u32> {
    let wanted = packets
        .iter()
        .filter(|packet| packet.udp_ports() == Some(ports) && packet.head.direction() == direction);
    wanted.map(|packet| packet.head.captured_len - u32::from(packet.head.header_len)).collect()
}

fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().unwrap().port()
}

#[test]
fn of_each_packet_no_more_than_asked() {
    for (payload_len, expected) in [(0, [0, 0, 0]), (10, [3, 10, 10]), (2000, [3, 900, 2000])] {
        let options = LoadOptions { payload_len: Some(payload_len), ..options() };
        let Some(session) = Session::start(&options) else { return };
        let [sender, receiver] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        for len in [3, 900, 9000] {
            sender.send_to(&vec![7; len], receiver.local_addr().unwrap()).unwrap();
        }
        let recorded = session.finish();
        for direction in [DIRECTION_EGRESS, DIRECTION_INGRESS] {
            let packets = &recorded.packets;
            assert_eq!(kept(packets, (port(&sender), port(&receiver)), direction), expected);
        }
        for packet in recorded.packets.iter().filter(|packet| packet.udp_ports().is_some()) {
            assert!(
                packet.head.wire_len >= UDP_HEADERS_LEN && packet.head.captured_len <= packet.head.wire_len
            );
        }
    }
}

/// One socket talks with two others: these are two flows, and each direction has a beginning of its own.
#[test]
fn of_each_flow_its_beginning() {
    let options = LoadOptions { payload_per_flow_len: Some(250), ..options() };
    let Some(session) = Session::start(&options) else { return };
    let [server, one, other] = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let mut buffer = [0; 200];
    for client in [&one, &other] {
        for _ in 0..4 {
            client.send_to(&[1; 100], server.local_addr().unwrap()).unwrap();
            server.recv(&mut buffer).unwrap();
        }
        server.send_to(&[2; 200], client.local_addr().unwrap()).unwrap();
        client.recv(&mut buffer).unwrap();
    }
    let recorded = session.finish();
    for client in [&one, &other] {
        for direction in [DIRECTION_EGRESS, DIRECTION_INGRESS] {
            let there = kept(&recorded.packets, (port(client), port(&server)), direction);
            assert_eq!(there, [100, 100, 50, 0]);
            let back = kept(&recorded.packets, (port(&server), port(client)), direction);
            assert_eq!(back, [200]);
        }
    }
}

#[test]
fn of_a_tcp_connection_its_first_bytes_and_every_header() {
    let options = LoadOptions { payload_per_flow_len: Some(1000), elide_local_copies: true, ..options() };
    let Some(session) = Session::start(&options) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap().port();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    let bytes: Vec<u8> = (0..5000_u32).map(|number| number as u8).collect();
    for part in bytes.chunks(400) {
        client.write_all(part).unwrap();
        accepted.read_exact(&mut vec![0; part.len()]).unwrap();
    }
    drop((client, accepted));
    let recorded = session.finish();
    let sent = recorded.packets.iter().filter(|packet| {
        packet.is_tcp()
            && packet.head.direction() == DIRECTION_EGRESS
            && packet.bytes[22..24] == server.to_be_bytes()
    });
    let mut stored: Vec<u8> = Vec::new();
    let mut wire_len = 0;
    for packet in sent {
        stored.extend(&packet.bytes[usize::from(packet.head.header_len)..]);
        wire_len += packet.head.wire_len - u32::from(packet.head.header_len);
    }
    assert_eq!(stored, bytes[..1000]);
    assert_eq!(wire_len, 5000);
}
