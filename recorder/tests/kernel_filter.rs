//! `--filter` in the programs that record: what matches is stored whole, and everything else is counted.

mod kernel;

use std::net::UdpSocket;

use kcap_filter::{Filter, link_type};
use kcap_recorder::probe::LoadOptions;
use kcap_recorder_ebpf::Program;

use kernel::{Recorded, Session, options};

fn with_filter(expression: &str) -> LoadOptions {
    LoadOptions { filter: Some(Filter::parse(expression, link_type::RAW).unwrap()), ..options() }
}

/// Sends a datagram of each length from one new socket to another.
fn exchange(receiver: &UdpSocket, lengths: &[usize]) {
    let address = receiver.local_addr().unwrap();
    let sender = UdpSocket::bind((address.ip(), 0)).unwrap();
    let mut buffer = vec![0; 65_536];
    for length in lengths {
        sender.send_to(&vec![*length as u8; *length], address).unwrap();
        assert_eq!(receiver.recv(&mut buffer).unwrap(), *length);
    }
}

fn filtered(recorded: &Recorded) -> u64 {
    let is_packets = |program| matches!(program, Program::PacketEgress | Program::PacketIngress);
    recorded.counters.iter().filter(|row| is_packets(row.program)).map(|row| row.counters.filtered).sum()
}

#[test]
fn only_what_matches_is_stored_and_the_rest_is_counted() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let wanted = UdpSocket::bind(address).unwrap();
        let other = UdpSocket::bind(address).unwrap();
        let port = wanted.local_addr().unwrap().port();
        let Some(session) = Session::start(&with_filter(&format!("udp and dst port {port}"))) else { return };
        // The long ones are not in one piece in the kernel.
        exchange(&wanted, &[1, 1000, 60_000]);
        exchange(&other, &[1, 1000, 60_000, 9]);
        let recorded = session.finish();
        assert_eq!(recorded.packets.len(), 6, "three that leave and arrive");
        for packet in &recorded.packets {
            assert_eq!(packet.udp_ports().map(|(_, to)| to), Some(port));
            assert_eq!(packet.head.captured_len, packet.head.wire_len);
        }
        assert!(filtered(&recorded) >= 8, "four that leave and arrive");
    }
}

#[test]
fn bytes_behind_the_headers_are_looked_at_where_they_lie() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = receiver.local_addr().unwrap().port();
    // exchange() fills a datagram with its length: 200 here, and 200 + 256 * 200 = 51400.
    let expression = format!("udp port {port} and udp[8] = 200 and udp[len - 21] = 200");
    let Some(session) = Session::start(&with_filter(&expression)) else { return };
    exchange(&receiver, &[199, 200, 201, 51_400]);
    let recorded = session.finish();
    let mut lengths: Vec<_> = recorded.packets.iter().map(|packet| packet.head.wire_len).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [228, 228, 51_428, 51_428]);
}

/// The stack of the kernel is small: what takes most of it still loads, all options together.
#[test]
fn the_deepest_arithmetic_fits_beside_everything_else() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = receiver.local_addr().unwrap().port();
    let deep = (0..6).fold("ip[8]".to_owned(), |sum, _| format!("({sum} + {sum})"));
    let options = LoadOptions {
        payload_per_flow_len: Some(100),
        elide_local_copies: true,
        ..with_filter(&format!("udp dst port {port} and {deep} > 1"))
    };
    let Some(session) = Session::start(&options) else { return };
    exchange(&receiver, &[60, 60]);
    let recorded = session.finish();
    let lengths: Vec<_> = recorded.packets.iter().map(|packet| packet.bytes.len()).collect();
    assert_eq!(lengths, [88, 88, 68, 68], "100 bytes of each direction's payload");
}
