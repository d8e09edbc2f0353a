//! Datagrams that came in fragments, and packets in tunnels whose inner headers lie behind the header section of a recording.

mod support;

use std::path::Path;
use std::process::Command;

use kcap_format::{Direction, PacketBatch};
use support::{HOST, RESOLVER, Recorder, START_NS, row, tcp, udp};

fn kcap(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_kcap")).args(arguments).output().expect("kcap runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// The answer as CSV without its head line.
fn query(source: &Path, sql: &str) -> String {
    let output = kcap(&["sql", text(source), "--format", "csv", "-c", sql]);
    let answer = String::from_utf8(output).expect("CSV is UTF-8");
    answer.split_once('\n').map(|(_, rest)| rest.trim_end().to_owned()).unwrap_or_default()
}

/// Writes packets, one a second, each as its header section and its payload section.
fn record(folder: &Path, packets: &[(Vec<u8>, Vec<u8>)]) {
    let mut segment = Recorder::new(folder).segment();
    let mut batch = PacketBatch::default();
    for (number, (header, payload)) in packets.iter().enumerate() {
        let time = START_NS + number as u64 * 1_000_000_000;
        batch.push(&row(time, Direction::Egress, 31, header.len() + payload.len()), header, payload);
    }
    segment.packets(&batch);
    segment.seal();
}

/// A fragment of an IPv4 datagram: its header, and what it carries.
fn fragment(offset: usize, more: bool, data: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut header = udp((HOST, 0), (RESOLVER, 0), 9, data.len())[..20].to_vec();
    header[2..4].copy_from_slice(&(20 + data.len() as u16).to_be_bytes());
    let place = (offset as u16 / 8) | (u16::from(more) << 13);
    header[6..8].copy_from_slice(&place.to_be_bytes());
    (header, data.to_vec())
}

/// 32 bytes from port 5000 to port 6000, in three fragments.
fn fragments() -> [(Vec<u8>, Vec<u8>); 3] {
    let datagram =
        [&udp((HOST, 5000), (RESOLVER, 6000), 9, 32)[20..], b"0123456789abcdefghijklmnopqrstuv"].concat();
    [
        fragment(0, true, &datagram[..16]),
        fragment(16, true, &datagram[16..32]),
        fragment(32, false, &datagram[32..]),
    ]
}

#[test]
fn a_datagram_is_handed_on_once_and_whole_whatever_order_its_fragments_come_in() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]] {
        let folder = tempfile::tempdir().expect("a folder");
        let fragments = fragments();
        record(folder.path(), &order.map(|place: usize| fragments[place].clone()));
        let flow = query(folder.path(), "SELECT flow_id FROM flows WHERE client_port = 5000");
        let bytes = kcap(&["follow", &flow, text(folder.path()), "--format", "raw"]);
        assert_eq!(String::from_utf8_lossy(&bytes), "0123456789abcdefghijklmnopqrstuv", "{order:?}");
        // Every fragment counts once: the first in the flow of its ports, the others in one without.
        let packets =
            "SELECT sum(client_packets + server_packets), sum(client_bytes + server_bytes) FROM flows";
        assert_eq!(query(folder.path(), packets), "3,100");
    }
}

/// Its first fragment opened the flow of its ports, which is over when the last one comes.
#[test]
fn a_datagram_whose_flow_ended_before_its_last_fragment_has_no_flow_without_packets() {
    let folder = tempfile::tempdir().expect("a folder");
    record(folder.path(), &fragments());
    for table in ["flows", "flow_reports"] {
        let sql = format!(
            "SET kcap.flow_timeout_ms = 1000; SELECT client_packets + server_packets FROM {table} ORDER BY 1"
        );
        assert_eq!(query(folder.path(), &sql), "1\n1\n2", "{table}");
    }
}

#[test]
fn a_fragment_that_never_comes_hands_nothing_on_and_everything_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let [first, _, last] = fragments();
    record(folder.path(), &[first, last]);
    assert_eq!(query(folder.path(), "SELECT sum(client_packets) FROM flows"), "2");
    let output = kcap(&["convert", "--to", "payload", text(folder.path()), "-"]);
    assert_eq!(String::from_utf8_lossy(&output), "");
    let told = "SELECT e.kind, e.packet_len, p.packet_id IS NOT NULL, o.packet_id > p.packet_id, e.message FROM decode_errors e \
        LEFT JOIN packets p ON e.packet_id = p.packet_id LEFT JOIN packets o ON e.other_packet_id = o.packet_id";
    assert_eq!(
        query(folder.path(), told),
        "fragments,36,true,true,\"2 fragments of packet 9 from 10.0.0.2 to 10.0.0.53: bytes 0 to 16 and 32 to 40 came, 16 to \
         32 never did: the recording ends before\""
    );
}

/// One waits until its time is over, and one until the recording is; another is no fragment that can be.
#[test]
fn each_datagram_that_is_given_up_is_a_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let [first, middle, last] = fragments();
    let other = |(mut header, payload): (Vec<u8>, Vec<u8>), id: u8| {
        header[5] = id;
        (header, payload)
    };
    let mut packets = vec![first.clone(), other(fragment(0, true, b"nine byte"), 10)];
    // A second each: 31 s pass.
    packets.extend((0..31).map(|_| (udp((HOST, 1), (RESOLVER, 2), 1, 0), Vec::new())));
    packets.extend([last, other(middle.clone(), 11), other(middle, 11)]);
    let disagreeing = other(fragment(16, true, b"0123456701234567"), 11);
    packets.push(disagreeing);
    packets.extend([other(first, 11), other(fragment(32, false, b"01234567"), 11)]);
    record(folder.path(), &packets);
    let told = "SELECT kind, split_part(message, ': ', 2) FROM decode_errors ORDER BY ts";
    assert_eq!(
        query(folder.path(), told).replace('"', ""),
        "fragments,bytes 0 to 16 came, 16 on never did\n\
         fragment,\n\
         fragments,bytes 32 to 40 came, 0 to 32 never did\n\
         fragment_disagreement,"
    );
    let reasons =
        "SELECT split_part(message, ': ', 3) FROM decode_errors WHERE kind = 'fragments' ORDER BY ts";
    assert_eq!(query(folder.path(), reasons), "they did not come in time\nthe recording ends before");
    let odd = "SELECT message FROM decode_errors WHERE kind = 'fragment'";
    assert_eq!(
        query(folder.path(), odd).trim_matches('"'),
        "a fragment of 9 bytes that others follow, which is no multiple of 8"
    );
}

/// A TCP segment in VXLAN, recorded with the headers that the kernel side follows kept apart: those of the outer packet.
fn tunnelled(sequence: u32, flags: u8, text: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let inner = tcp(([192, 168, 0, 1], 40_000), ([192, 168, 0, 2], 80), 1, sequence, flags, text.len());
    let vxlan = [8, 0, 0, 0, 0, 0, 42, 0];
    let ethernet = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    let carried = [&vxlan[..], &ethernet, &inner, text].concat();
    (udp((HOST, 50_000), (RESOLVER, 4789), 1, carried.len()), carried)
}

#[test]
fn headers_in_tunnels_are_found_behind_the_header_section() {
    let folder = tempfile::tempdir().expect("a folder");
    record(folder.path(), &[tunnelled(99, 0x02, b""), tunnelled(100, 0x18, b"hello")]);
    let packets = "SELECT tunnel, tunnel_id, ip_text(src_ip), dst_port, payload_len, ip_text(outer_src_ip), decode_error \
        FROM packets ORDER BY ts";
    assert_eq!(
        query(folder.path(), packets),
        "vxlan,42,192.168.0.1,80,0,10.0.0.2,\nvxlan,42,192.168.0.1,80,5,10.0.0.2,"
    );
    let flows = "SELECT server_port, client_packets, parent_flow_id IS NULL FROM flows ORDER BY server_port";
    assert_eq!(query(folder.path(), flows), "80,2,false\n4789,2,true");
    let joined = "SELECT inner_flow.server_port, outer_flow.server_port FROM flows inner_flow \
        JOIN flows outer_flow ON inner_flow.parent_flow_id = outer_flow.flow_id";
    assert_eq!(query(folder.path(), joined), "80,4789");
    assert_eq!(query(folder.path(), "SELECT \"offset\", payload_text(data) FROM streams"), "0,hello");
    assert_eq!(query(folder.path(), "SELECT count(*) FROM decode_errors"), "0");
    // The same as a capture file, whose packets are decoded from their first byte to their last.
    let exported = tempfile::tempdir().expect("a folder");
    let pcap = exported.path().join("tunnel.pcap");
    kcap(&["convert", "--to", "pcap", text(folder.path()), text(&pcap)]);
    assert_eq!(query(&pcap, packets), query(folder.path(), packets));
    assert_eq!(query(&pcap, flows), "80,2,false\n4789,2,true");
}

#[test]
fn fragments_of_a_tunnel_carry_packets() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut outer, carried) = tunnelled(100, 0x18, b"hello");
    let datagram = [outer.split_off(20), carried].concat();
    record(folder.path(), &[fragment(0, true, &datagram[..24]), fragment(24, false, &datagram[24..])]);
    let flows = "SELECT server_port, client_packets, parent_flow_id IS NULL FROM flows WHERE server_port IS NOT NULL \
        ORDER BY server_port";
    assert_eq!(query(folder.path(), "SELECT payload_text(data) FROM streams"), "hello");
    assert_eq!(query(folder.path(), flows), "80,1,false\n4789,1,true");
    let all = "SELECT side, \"offset\", len FROM streams";
    assert_eq!(query(folder.path(), all), "client,0,5", "without their bytes");
}
