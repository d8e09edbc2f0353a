//! Flows against Zeek's `conn.log`.

mod support;

use std::fs;

use kcap_dissect::flow::{CloseReason, Flow, FlowConsumer, FlowOptions, Side};

/// Flows as lines of a `conn.log`.
#[derive(Default)]
struct Lines(Vec<String>);

impl FlowConsumer for Lines {
    type State = ();

    fn closed(&mut self, flow: &Flow, _state: (), _reason: CloseReason) {
        self.0.push(line(flow));
    }
}

fn address(bytes: [u8; 16]) -> String {
    std::net::Ipv6Addr::from(bytes).to_canonical().to_string()
}

/// Ends, protocol, bytes, state, history, packets and IP bytes each way.
fn line(flow: &Flow) -> String {
    let bytes = |side| {
        let counters = flow.side(side);
        flow.tcp.as_ref().map_or(counters.payload_bytes, |tcp| tcp.stream_bytes(side))
    };
    let [client, server] = &flow.sides;
    // Zeek gives neither a duration nor bytes for a conversation of one packet.
    let sums = if client.packets + server.packets == 1 {
        "- -".to_owned()
    } else {
        format!("{} {}", bytes(Side::Client), bytes(Side::Server))
    };
    format!(
        "{} {} {} {} {} {sums} {} {} {} {} {} {}",
        address(flow.key.source),
        flow.key.source_port,
        address(flow.key.destination),
        flow.key.destination_port,
        flow.protocol(),
        flow.conn_state().as_str(),
        flow.history(),
        client.packets,
        client.ip_bytes,
        server.packets,
        server.ip_bytes,
    )
}

/// The same of a `conn.log`.
fn lines_of_log(text: &str) -> Vec<String> {
    let names: Vec<&str> = text
        .lines()
        .find_map(|line| line.strip_prefix("#fields\t"))
        .map(|names| names.split('\t').collect())
        .expect("a log names its fields");
    let row = |line: &str| {
        let values: Vec<&str> = line.split('\t').collect();
        let value = |name| values[names.iter().position(|other| *other == name).unwrap()];
        let fields = [
            "id.orig_h",
            "id.orig_p",
            "id.resp_h",
            "id.resp_p",
            "ip_proto",
            "orig_bytes",
            "resp_bytes",
            "conn_state",
            "history",
            "orig_pkts",
            "orig_ip_bytes",
            "resp_pkts",
            "resp_ip_bytes",
        ];
        fields.map(value).join(" ")
    };
    text.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

#[test]
fn conversations_of_dhcp() {
    let baseline = "zeek/testing/btest/Baseline/scripts.base.protocols.dhcp.dhcp-all-msg-types/conn.log";
    let (Some(log), Some(capture)) =
        (support::collection(baseline), support::collection("zeek/testing/btest/Traces/dhcp/dhcp.pcap"))
    else {
        return;
    };
    let options = FlowOptions { timeout_ns: 60_000_000_000, ..FlowOptions::default() };
    let mut found = support::follow(&support::packets(&capture), options, Lines::default()).0;
    let mut expected = lines_of_log(&fs::read_to_string(log).unwrap());
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}
