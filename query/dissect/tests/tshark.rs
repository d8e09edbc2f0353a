//! Flows of every capture of the collection against Wireshark's conversations: packets and bytes each way, and
//! retransmissions by its rules.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use kcap_dissect::decode::ip_protocol;
use kcap_dissect::flow::{CloseReason, Flow, FlowConsumer, FlowOptions, Side};

/// Where kcap and tshark rightly differ: the capture, what differs, and why. Each row must be used.
const EXPLAINED: [(&str, &str, &str); 4] = [
    (
        "tcp-reassembly.pcap",
        "frame 66",
        "sFlow: tshark gives the fields of the TCP headers that the datagram quotes",
    ),
    ("ip4_fragments.pcap", "frame 1", "a first fragment has ports; tshark waits for the last one"),
    ("ip4_fragments.pcap", "frame 2", "later fragments have no ports: a flow of their own"),
    ("ip4_fragments.pcap", "frame 6", "tshark's conversation begins where the first datagram is whole"),
];

/// Packets, bytes and retransmissions of either direction. The first direction is that of the first packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Conversation {
    protocol: u8,
    packets: [u64; 2],
    bytes: [u64; 2],
    retransmissions: [u32; 2],
    out_of_order: [u32; 2],
}

/// Flows by their first packet.
#[derive(Default)]
struct Conversations(BTreeMap<u64, Conversation>);

impl FlowConsumer for Conversations {
    /// The side that sent the first packet.
    type State = Option<Side>;

    fn packet(&mut self, _: &Flow, state: &mut Self::State, side: Side, _: kcap_dissect::stream::PacketRef) {
        state.get_or_insert(side);
    }

    fn closed(&mut self, flow: &Flow, state: Self::State, _reason: CloseReason) {
        let first = state.unwrap();
        let of = |side| flow.tcp.as_ref().map(|tcp| tcp.side(side)).unwrap_or_default();
        let sides = [first, first.other()];
        let conversation = Conversation {
            protocol: flow.protocol(),
            packets: sides.map(|side| flow.side(side).packets),
            bytes: sides.map(|side| flow.side(side).bytes),
            retransmissions: sides.map(|side| of(side).retransmissions),
            out_of_order: sides.map(|side| of(side).out_of_order),
        };
        self.0.insert(flow.first_packet_id, conversation);
    }
}

/// The same by tshark: `None` when it isn't installed.
fn by_tshark(capture: &Path) -> Option<Conversations> {
    let fields = [
        "frame.number",
        "frame.len",
        "tcp.stream",
        "udp.stream",
        "ip.src",
        "ipv6.src",
        "tcp.srcport",
        "udp.srcport",
        "tcp.analysis.retransmission",
        "tcp.analysis.out_of_order",
    ];
    let output = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(capture)
        .args(["-T", "fields", "-E", "occurrence=l", "-E", "separator=|"])
        .args(fields.iter().flat_map(|field| ["-e", field]))
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    let mut first_frames: BTreeMap<(u8, String), (u64, String)> = BTreeMap::new();
    let mut found = Conversations::default();
    for line in text.lines() {
        let values: Vec<&str> = line.split('|').collect();
        let [frame, len, tcp, udp, v4, v6, tcp_port, udp_port, retransmission, out_of_order] = values[..]
        else {
            panic!("{line}")
        };
        let (protocol, stream, port) = match (tcp, udp) {
            ("", "") => continue,
            ("", udp) => (ip_protocol::UDP, udp, udp_port),
            (tcp, _) => (ip_protocol::TCP, tcp, tcp_port),
        };
        let frame: u64 = frame.parse().unwrap();
        let sender = format!("{v4}{v6} {port}");
        let key = (protocol, stream.to_owned());
        let (first, first_sender) = first_frames.entry(key).or_insert((frame, sender.clone()));
        let side = usize::from(*first_sender != sender);
        let conversation = found.0.entry(*first).or_default();
        conversation.protocol = protocol;
        conversation.packets[side] += 1;
        conversation.bytes[side] += len.parse::<u64>().unwrap();
        conversation.retransmissions[side] += u32::from(!retransmission.is_empty());
        conversation.out_of_order[side] += u32::from(!out_of_order.is_empty());
    }
    Some(found)
}

#[test]
fn every_capture_of_the_collection() {
    let mut differences = Vec::new();
    let mut conversations = 0;
    for capture in support::all_captures() {
        let Some(expected) = by_tshark(&capture) else {
            println!("skipped: tshark is not installed");
            return;
        };
        // Wireshark's conversations of UDP never end.
        let options = FlowOptions { timeout_ns: i64::MAX, ..FlowOptions::default() };
        let found = support::follow(&support::packets(&capture), options, Conversations::default());
        let name = capture.file_name().unwrap().to_string_lossy();
        let mut firsts: Vec<_> = expected.0.keys().chain(found.0.keys()).collect();
        firsts.sort();
        firsts.dedup();
        for first in firsts {
            let (tshark, kcap) = (expected.0.get(first), found.0.get(first));
            let is_other =
                kcap.is_some_and(|kcap| !matches!(kcap.protocol, ip_protocol::TCP | ip_protocol::UDP));
            if is_other && tshark.is_none() {
                continue;
            }
            conversations += 1;
            if tshark != kcap {
                differences.push(format!("{name}, frame {first}:\n  tshark {tshark:?}\n  kcap   {kcap:?}"));
            }
        }
    }
    println!("{conversations} conversations compared");
    let mut used = [false; EXPLAINED.len()];
    differences.retain(|difference| {
        let row =
            EXPLAINED.iter().position(|(name, what, _)| difference.starts_with(&format!("{name}, {what}:")));
        row.map(|row| used[row] = true).is_none()
    });
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(
        conversations == 0 || used.iter().all(|used| *used),
        "explanations without a difference: {used:?}"
    );
}
