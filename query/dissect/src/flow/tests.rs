//! Flows of packets made here.

use super::*;
use crate::decode::samples::{CLIENT_V4, SERVER_V4, SplitMix, ipv4, tcp, udp};
use crate::decode::{decode, link_type};
use crate::stream::{EndReason, Gap, PacketRef, StreamData};

const MS: i64 = 1_000_000;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const FIN: u8 = 0x01;

/// What was told, in short.
#[derive(Default)]
struct Told {
    flows: Vec<String>,
    events: Vec<String>,
    /// The packets that told of gaps.
    gap_packets: Vec<u64>,
    reports: Vec<FlowReport>,
}

impl FlowConsumer for Told {
    type State = ();

    fn data(&mut self, _: &Flow, (): &mut (), side: Side, data: StreamData<'_>) {
        self.events.push(format!("{} {}", side.as_str(), String::from_utf8_lossy(data.bytes)));
    }

    fn gap(&mut self, _: &Flow, (): &mut (), side: Side, gap: Gap) {
        assert_ne!(gap.packet, PacketRef::default(), "some packet tells of a gap");
        self.gap_packets.push(gap.packet.packet_id);
        self.events.push(format!("{} gap {}", side.as_str(), gap.len));
    }

    fn end(&mut self, _: &Flow, (): &mut (), side: Side, reason: EndReason, _: u64, _: PacketRef) {
        self.events.push(format!("{} end {}", side.as_str(), reason.as_str()));
    }

    fn report(&mut self, _: &Flow, (): &mut (), report: &FlowReport) {
        self.reports.push(*report);
    }

    fn closed(&mut self, flow: &Flow, (): (), reason: CloseReason) {
        if let Some(tcp) = &flow.tcp {
            let round_trips = [tcp.handshake_rtt_ns(), tcp.server_rtt_ns(), tcp.client_rtt_ns()];
            assert!(round_trips[0].is_none() || !round_trips.contains(&None));
        }
        let packets = flow.sides.map(|side| side.packets);
        self.flows.push(format!(
            "{} {} {}+{} {}",
            flow.conn_state().as_str(),
            flow.history(),
            packets[0],
            packets[1],
            reason.as_str()
        ));
    }
}

struct Table {
    inner: FlowTable<Told>,
    packet_id: u64,
}

impl Table {
    fn new(options: FlowOptions) -> Self {
        Self { inner: FlowTable::new(options, Told::default()), packet_id: 0 }
    }

    fn packet(&mut self, time_ns: i64, bytes: &[u8]) {
        let decoded = decode(link_type::RAW, bytes, bytes.len() as u32);
        let payload = &bytes[decoded.header_len as usize..];
        self.packet_id += 1;
        let is_taken = self.inner.packet(&PacketView {
            packet_id: self.packet_id,
            time_ns,
            decoded: &decoded,
            outer: &[],
            payload,
            captured_payload_len: payload.len() as u32,
            wire_len: bytes.len() as u32,
            netns_cookie: 0,
            flow_id: None,
            tag: 0,
        });
        assert!(is_taken);
    }

    /// A segment of the client (port 40000) or the server (port 443).
    fn segment(
        &mut self,
        from_client: bool,
        time_ns: i64,
        sequence: u32,
        ack: u32,
        flags: u8,
        text: &str,
    ) -> &mut Self {
        let header = if from_client {
            tcp(40_000, 443, sequence, ack, flags)
        } else {
            tcp(443, 40_000, sequence, ack, flags)
        };
        let rest = [header, text.as_bytes().to_vec()].concat();
        let (source, destination) = if from_client { (CLIENT_V4, SERVER_V4) } else { (SERVER_V4, CLIENT_V4) };
        self.packet(time_ns, &ipv4(source, destination, 6, 1, &rest));
        self
    }

    fn finish(self) -> Told {
        self.inner.finish()
    }
}

fn table() -> Table {
    Table::new(FlowOptions::default())
}

/// A whole connection from `start_ns` on with these first sequence numbers.
fn connection(table: &mut Table, start_ns: i64, client: u32, server: u32) {
    let at = |number: i64| start_ns + number * MS;
    table
        .segment(true, at(0), client, 0, SYN, "")
        .segment(false, at(1), server, client + 1, SYN | ACK, "")
        .segment(true, at(2), client + 1, server + 1, ACK, "")
        .segment(true, at(3), client + 1, server + 1, ACK, "hello")
        .segment(false, at(4), server + 1, client + 6, ACK, "world!")
        .segment(true, at(5), client + 6, server + 7, FIN | ACK, "")
        .segment(false, at(6), server + 7, client + 7, FIN | ACK, "")
        .segment(true, at(7), client + 7, server + 8, ACK, "");
}

#[test]
fn a_connection_from_its_syn_to_its_end() {
    let mut table = table();
    connection(&mut table, 0, 1000, 5000);
    let told = table.finish();
    assert_eq!(told.flows, ["SF ShADdFf 5+3 end_of_capture"]);
    assert_eq!(told.events, ["client hello", "server world!", "client end fin", "server end fin"]);
}

#[test]
fn times_may_lie_as_far_apart_as_numbers_can() {
    let times = [i64::MIN, -1, 0, i64::MAX];
    for (one_ns, other_ns) in times.into_iter().flat_map(|one| times.map(|other| (one, other))) {
        let mut table = table();
        table
            .segment(true, one_ns, 99, 0, SYN, "")
            .segment(false, other_ns, 499, 100, SYN | ACK, "")
            .segment(true, one_ns, 100, 500, ACK, "")
            .segment(true, other_ns, 107, 500, ACK, "later")
            .segment(true, one_ns, 100, 500, ACK, "earlier");
        let told = table.finish();
        assert!(!told.flows.is_empty(), "{one_ns} {other_ns}");
    }
}

#[test]
fn the_same_ports_again_are_another_connection() {
    let mut table = table();
    connection(&mut table, 0, 1000, 5000);
    connection(&mut table, 1000 * MS, 70_000, 90_000);
    let told = table.finish();
    assert_eq!(told.flows, ["SF ShADdFf 5+3 reused", "SF ShADdFf 5+3 end_of_capture"]);
}

#[test]
fn states_as_in_zeek() {
    let run = |segments: &[(bool, u32, u32, u8, &str)]| {
        let mut table = table();
        for (number, (from_client, sequence, ack, flags, text)) in segments.iter().enumerate() {
            table.segment(*from_client, number as i64 * MS, *sequence, *ack, *flags, text);
        }
        table.finish().flows.concat()
    };
    let syn = (true, 9, 0, SYN, "");
    let syn_ack = (false, 99, 10, SYN | ACK, "");
    assert_eq!(run(&[syn]), "S0 S 1+0 end_of_capture");
    assert_eq!(run(&[syn, (true, 9, 0, SYN, "")]), "S0 S 2+0 end_of_capture", "a repeated SYN");
    assert_eq!(run(&[syn, syn_ack]), "S1 Sh 1+1 end_of_capture");
    assert_eq!(run(&[syn, (false, 0, 10, RST | ACK, "")]), "REJ Sr 1+1 end_of_capture");
    assert_eq!(run(&[syn, syn_ack, (true, 10, 0, RST, "")]), "RSTO ShR 2+1 end_of_capture");
    assert_eq!(run(&[syn, syn_ack, (false, 100, 10, RST, "")]), "RSTR Shr 1+2 end_of_capture");
    assert_eq!(run(&[syn, (true, 10, 0, RST, "")]), "RSTOS0 SR 2+0 end_of_capture");
    assert_eq!(run(&[syn, (true, 10, 0, FIN, "")]), "SH SF 2+0 end_of_capture");
    assert_eq!(run(&[syn_ack, (false, 100, 10, FIN | ACK, "")]), "SHR ^hf 0+2 end_of_capture");
    assert_eq!(run(&[syn_ack, (false, 100, 10, RST | ACK, "")]), "RSTRH ^hr 0+2 end_of_capture");
    assert_eq!(run(&[syn, syn_ack, (true, 10, 100, FIN | ACK, "")]), "S2 ShF 2+1 end_of_capture");
    assert_eq!(run(&[syn, syn_ack, (false, 100, 10, FIN | ACK, "")]), "S3 Shf 1+2 end_of_capture");
    assert_eq!(run(&[(true, 10, 100, ACK, "late"), (false, 100, 14, ACK, "")]), "OTH Da 1+1 end_of_capture");
    assert_eq!(
        run(&[(false, 100, 14, ACK, "answer")]),
        "OTH ^d 0+1 end_of_capture",
        "the port tells the server"
    );
}

#[test]
fn an_answer_comes_after_what_it_answers() {
    // The answer acknowledges a request that is recorded a little later: it is held back until then.
    let mut table = table();
    table.segment(true, 0, 9, 0, SYN, "").segment(false, 1, 99, 10, SYN | ACK, "");
    table.segment(false, 2, 100, 17, ACK, "answer").segment(true, 3, 10, 100, ACK, "request");
    let told = table.finish();
    assert_eq!(told.events[..2], ["client request", "server answer"]);
    // One that never comes is told as missing, and before the answer.
    let mut table = self::table();
    table.segment(true, 0, 9, 0, SYN, "").segment(false, 1, 99, 10, SYN | ACK, "");
    table.segment(false, 2, 100, 17, ACK, "answer").segment(true, 200 * MS, 17, 106, ACK, "next");
    let told = table.finish();
    assert_eq!(told.events[..3], ["client gap 7", "server answer", "client next"]);
}

#[test]
fn bytes_of_a_side_that_was_never_seen_are_missing() {
    let mut table = table();
    table.segment(false, 5, 100, 10, ACK, "").segment(false, 7, 100, 17, ACK, "answer");
    let told = table.finish();
    let events = ["client gap 7", "client end end_of_capture", "server answer", "server end end_of_capture"];
    assert_eq!(told.events, events);
    assert_eq!(told.gap_packets, [2], "the packet that acknowledged them");
}

#[test]
fn what_was_told_of_a_side_before_it_spoke_counts_no_more() {
    let mut table = table();
    table.segment(false, 5, 100, 10, ACK, "").segment(true, 6, 10, 100, ACK, "");
    table.segment(false, 7, 100, 17, ACK, "").segment(false, 8, 100, 17, ACK, "");
    assert_eq!(table.finish().gap_packets, [2], "the last one of the side itself");
}

#[test]
fn datagrams_end_with_silence() {
    let mut table = Table::new(FlowOptions { timeout_ns: 1000 * MS, ..FlowOptions::default() });
    let question = ipv4(CLIENT_V4, SERVER_V4, 17, 1, &udp(40_000, 53, 0));
    for time in [0, 900, 1900, 3000] {
        table.packet(time * MS, &question);
    }
    assert_eq!(table.finish().flows, ["S0 D 3+0 timeout", "S0 D 1+0 end_of_capture"]);
}

#[test]
fn reports_add_up() {
    let period_ns = Some(1000 * MS);
    let options = FlowOptions { reports: true, period_ns, timeout_ns: 5000 * MS, ..FlowOptions::default() };
    let mut table = Table::new(options);
    let mut random = SplitMix(5);
    let mut time = 0;
    for _ in 0..500 {
        time += random.below(700) as i64 * MS + if random.below(50) == 0 { 6000 * MS } else { 0 };
        table.segment(random.below(2) == 0, time, 1, 1, ACK, "x");
    }
    let reports = table.finish().reports;
    let sum: u64 = reports.iter().flat_map(|report| report.deltas).map(|side| side.packets).sum();
    let finals: u64 = reports
        .iter()
        .filter(|report| report.is_final)
        .flat_map(|report| report.totals)
        .map(|side| side.packets)
        .sum();
    assert_eq!((sum, finals), (500, 500));
    assert!(reports.iter().filter(|report| report.is_final).count() > 1);
    assert!(reports.iter().all(|report| report.start_ns <= report.end_ns));
}

/// A scan of many hosts: what is kept is bounded, and every connection that was given up is told.
#[test]
fn half_open_connections_without_end() {
    const SYNS: u32 = 200_000;
    let options = FlowOptions { flows_max: 1000, ..FlowOptions::default() };
    let mut table = Table::new(options);
    table.segment(true, 0, 1, 0, SYN, "").segment(false, 1, 1, 2, SYN | ACK, "");
    for number in 0..SYNS {
        let rest = tcp(number as u16, 443, number, 0, SYN);
        table.packet(i64::from(number), &ipv4((0x0b00_0000 + number).to_be_bytes(), SERVER_V4, 6, 1, &rest));
        assert!(table.inner.len() <= 1000);
    }
    let told = table.finish();
    assert_eq!(told.flows.len(), SYNS as usize + 1);
    assert_eq!(told.flows.iter().filter(|flow| flow.ends_with("evicted")).count(), SYNS as usize - 999);
    assert!(told.flows.contains(&"S1 Sh 1+1 end_of_capture".to_owned()), "open ones are given up last");
}

/// A recording of many days that misses the ends of connections, and bytes of them: what is kept are the flows of some hours, and
/// the bytes of these, not of all.
#[test]
fn connections_without_end_are_not_kept_for_ever() {
    const CONNECTIONS: i64 = 5_000;
    const BETWEEN_NS: i64 = OPEN_TIMEOUT_NS / 10;
    let mut table = table();
    let mut budget_left = usize::MAX;
    for number in 0..CONNECTIONS {
        let client = (0x0b00_0000 + number as u32).to_be_bytes();
        let segments = [
            (true, tcp(40_000, 443, 9, 0, SYN), ""),
            (false, tcp(443, 40_000, 99, 10, SYN | ACK), ""),
            (true, tcp(40_000, 443, 10, 100, ACK), "never acknowledged"),
            (true, tcp(40_000, 443, 60, 100, ACK), "behind a hole"),
        ];
        for (from_client, header, text) in segments {
            let (source, destination) = if from_client { (client, SERVER_V4) } else { (SERVER_V4, client) };
            let rest = [header, text.into()].concat();
            table.packet(number * BETWEEN_NS, &ipv4(source, destination, 6, 1, &rest));
        }
        assert!(table.inner.len() <= 11);
        if number == 20 {
            budget_left = table.inner.budget.left();
        }
    }
    assert_eq!(table.inner.budget.left(), budget_left, "bytes of flows that are over are given back");
    let told = table.finish();
    assert_eq!(told.flows.len(), CONNECTIONS as usize);
    assert_eq!(told.flows.iter().filter(|flow| flow.ends_with("timeout")).count(), told.flows.len() - 11);
    assert!(told.flows[0].starts_with("S1 ShD"), "{}", told.flows[0]);
}

/// Whatever comes, each packet counts once, and nothing panics.
#[test]
fn any_packets_at_all() {
    let mut random = SplitMix(23);
    for _ in 0..50 {
        let mut table = Table::new(FlowOptions { flows_max: 8, reports: true, ..FlowOptions::default() });
        for _ in 0..400 {
            let (flags, text) = (random.next() as u8 & 0x3f, "x".repeat(random.below(20)));
            let number = |random: &mut SplitMix| {
                if random.below(9) == 0 { random.next() as u32 } else { random.below(60) as u32 }
            };
            let rest = [
                tcp(random.below(6) as u16, 443, number(&mut random), number(&mut random), flags),
                text.into(),
            ];
            let time = random.below(1000) as i64 * MS * if random.below(30) == 0 { 1000 } else { 1 };
            let ends = if random.below(2) == 0 { (CLIENT_V4, SERVER_V4) } else { (SERVER_V4, CLIENT_V4) };
            table.packet(time, &ipv4(ends.0, ends.1, 6, 1, &rest.concat()));
        }
        let told = table.finish();
        let packets = |flow: &String| -> u64 {
            let counts = flow.split(' ').find(|part| part.contains('+')).unwrap();
            counts.split('+').map(|count| count.parse::<u64>().unwrap()).sum()
        };
        assert_eq!(told.flows.iter().map(packets).sum::<u64>(), 400);
    }
}
