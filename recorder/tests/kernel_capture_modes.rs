//! Under pressure less is captured, and what is left out is told: by lengths, and by counters.

mod kernel;

use std::net::UdpSocket;

use kcap_recorder::{capture_switch::CaptureMode, probe::LoadOptions};
use kcap_recorder_ebpf::{DIRECTION_EGRESS, DIRECTION_INGRESS, PACKET_FLAG_PAYLOAD_ELIDED, Program};

use kernel::{Packet, Session, options};

/// Bytes of a datagram: long enough for its arriving copy to be elided.
const DATAGRAM_LEN: usize = 700;
/// IPv4 and UDP.
const HEADERS_LEN: u32 = 28;

/// Two sockets that exchange datagrams with equal headers: the kernel gives them identification 0.
struct Pair {
    sender: UdpSocket,
    receiver: UdpSocket,
}

impl Pair {
    fn new() -> Self {
        let [sender, receiver] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        Self { sender, receiver }
    }

    fn send(&self, fill: u8) {
        self.sender.send_to(&[fill; DATAGRAM_LEN], self.receiver.local_addr().unwrap()).unwrap();
        let mut buffer = [0; DATAGRAM_LEN];
        assert_eq!(self.receiver.recv(&mut buffer).unwrap(), DATAGRAM_LEN);
    }

    fn has(&self, packet: &Packet) -> bool {
        let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
        packet.udp_ports() == Some((port(&self.sender), port(&self.receiver)))
    }
}

fn lost_overload(recorded: &kernel::Recorded) -> u64 {
    let is_packets = |program| matches!(program, Program::PacketEgress | Program::PacketIngress);
    let rows = recorded.counters.iter().filter(|row| is_packets(row.program));
    rows.map(|row| row.counters.lost_overload).sum()
}

#[test]
fn headers_and_counts_are_captured_when_so_switched_and_everything_afterwards() {
    let Some(mut session) = Session::start(&options()) else { return };
    let mut switch = session.capture_switch();
    let pair = Pair::new();
    for (fill, mode) in [
        (1, CaptureMode::Full),
        (2, CaptureMode::Headers),
        (3, CaptureMode::Counts),
        (4, CaptureMode::Headers),
        (5, CaptureMode::Full),
    ] {
        switch.set(mode).unwrap();
        pair.send(fill);
    }
    let recorded = session.finish();
    for direction in [DIRECTION_EGRESS, DIRECTION_INGRESS] {
        let packets = recorded.packets.iter().filter(|packet| packet.head.direction() == direction);
        let packets: Vec<_> = packets.filter(|packet| pair.has(packet)).collect();
        let wire_len = DATAGRAM_LEN as u32 + HEADERS_LEN;
        let lens: Vec<_> =
            packets.iter().map(|packet| (packet.head.wire_len, packet.head.captured_len)).collect();
        let (full, headers) = ((wire_len, wire_len), (wire_len, HEADERS_LEN));
        assert_eq!(lens, [full, headers, headers, full], "direction {direction}");
        assert_eq!((packets[0].bytes.last(), packets[3].bytes.last()), (Some(&1), Some(&5)));
    }
    // Whatever else the host sent meanwhile is counted likewise.
    assert!(lost_overload(&recorded) >= 2, "{:?}", recorded.counters);
}

/// An arriving copy is stored without its payload when the leaving one was stored with it. What was remembered of one
/// before less was captured must not be taken for another with equal headers afterwards.
#[test]
fn no_payload_is_left_out_that_was_not_stored_with_the_leaving_copy() {
    let Some(mut session) = Session::start(&LoadOptions { elide_local_copies: true, ..options() }) else {
        return;
    };
    let mut switch = session.capture_switch();
    let pair = Pair::new();
    for round in 0..200_u32 {
        let mode = [CaptureMode::Full, CaptureMode::Headers, CaptureMode::Counts][round as usize % 3];
        switch.set(mode).unwrap();
        // Changed again while datagrams are on their way.
        let other = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                switch.set(CaptureMode::Full).unwrap();
            });
            for _ in 0..5 {
                pair.send(round as u8);
            }
            other.join()
        });
        other.unwrap();
    }
    let recorded = session.finish();
    let mut stored_on_leaving = 0_u32;
    for packet in recorded.packets.iter().filter(|packet| pair.has(packet)) {
        let is_whole = packet.head.captured_len == packet.head.wire_len;
        if packet.head.direction() == DIRECTION_EGRESS {
            stored_on_leaving = u32::from(is_whole);
        } else if packet.head.flags & PACKET_FLAG_PAYLOAD_ELIDED != 0 {
            assert_eq!(stored_on_leaving, 1, "the copy before it was stored whole: {:?}", packet.head);
            stored_on_leaving = 0;
        }
    }
}
