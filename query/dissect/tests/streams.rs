//! Reassembled streams, byte for byte: against PcapPlusPlus's, and over every capture with each packet cut.

mod support;

use std::collections::BTreeMap;
use std::fs;

use kcap_dissect::flow::{CloseReason, Flow, FlowConsumer, FlowOptions, Side};
use kcap_dissect::stream::{Gap, StreamData};

/// Bytes of a connection: of the client, of the server, and of both as they were told.
#[derive(Clone, Debug, Default)]
struct Texts {
    sides: [Vec<u8>; 2],
    both: Vec<u8>,
    missing: u64,
}

/// By the client's port.
#[derive(Default)]
struct Streams(BTreeMap<u16, Vec<Texts>>);

impl FlowConsumer for Streams {
    type State = Texts;

    fn data(&mut self, _: &Flow, texts: &mut Texts, side: Side, data: StreamData<'_>) {
        texts.sides[side.index()].extend_from_slice(data.bytes);
        texts.both.extend_from_slice(data.bytes);
    }

    fn gap(&mut self, _: &Flow, texts: &mut Texts, _: Side, gap: Gap) {
        texts.missing += gap.len;
    }

    fn closed(&mut self, flow: &Flow, texts: Texts, _: CloseReason) {
        if flow.tcp.is_some() {
            self.0.entry(flow.key.source_port).or_default().push(texts);
        }
    }
}

const PCAPPLUSPLUS: &str = "pcapplusplus/Tests";

fn golden(name: &str) -> Vec<u8> {
    fs::read(support::collection(&format!("{PCAPPLUSPLUS}/{name}")).unwrap()).unwrap()
}

#[track_caller]
fn assert_same(found: &[u8], expected: &[u8]) {
    assert_eq!(found.len(), expected.len());
    let differs = found.iter().zip(expected).position(|(one, other)| one != other);
    assert_eq!(differs, None, "first byte that differs");
}

#[test]
fn one_long_connection() {
    let capture = "ExamplesTest/pcap_examples/tcp-reassembly.pcap";
    let Some(capture) = support::collection(&format!("{PCAPPLUSPLUS}/{capture}")) else { return };
    let streams = support::follow(&support::packets(&capture), FlowOptions::default(), Streams::default()).0;
    let texts = &streams[&64370][0];
    let folder = "ExamplesTest/expected_output";
    let ends = "172.16.133.54.64370-23.21.118.18.80";
    assert_same(&texts.both, &golden(&format!("{folder}/tcpreassembly_sanity/{ends}.txt")));
    assert_same(&texts.sides[0], &golden(&format!("{folder}/tcpreassembly_sides/{ends}.txt")));
    let back = "23.21.118.18.80-172.16.133.54.64370";
    assert_same(&texts.sides[1], &golden(&format!("{folder}/tcpreassembly_sides/{back}.txt")));
}

#[test]
fn three_connections() {
    let folder = "Pcap++Test/PcapExamples";
    let capture = format!("{PCAPPLUSPLUS}/{folder}/three_http_streams.pcap");
    let Some(capture) = support::collection(&capture) else { return };
    let streams = support::follow(&support::packets(&capture), FlowOptions::default(), Streams::default()).0;
    let mut found: Vec<&Texts> = streams.values().flatten().collect();
    found.sort_by_key(|texts| texts.both.len());
    let mut expected: Vec<_> = (1..=3)
        .map(|number| golden(&format!("{folder}/three_http_streams_conn_{number}_output.txt")))
        .collect();
    expected.sort_by_key(Vec::len);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_same(&found.both, expected);
    }
}

/// Packets that were cut leave gaps of just what was cut off, whatever is recorded of them.
#[test]
fn cut_packets_lose_what_was_cut() {
    for capture in support::all_captures() {
        let whole = support::packets(&capture);
        let run = |cut_len: usize| {
            let mut packets = support::packets(&capture);
            for (packet, whole) in packets.iter_mut().zip(&whole) {
                packet.bytes.truncate(cut_len.min(whole.bytes.len()));
            }
            let streams = support::follow(&packets, FlowOptions::default(), Streams::default()).0;
            let texts = streams.into_values().flatten();
            texts.fold((0, 0), |sums, texts| (sums.0 + texts.both.len() as u64, sums.1 + texts.missing))
        };
        let (bytes, missing) = run(usize::MAX);
        for cut_len in [96, 128, 200, 600] {
            let (cut_bytes, cut_missing) = run(cut_len);
            assert!(cut_bytes <= bytes, "{}", capture.display());
            assert_eq!(cut_bytes + cut_missing, bytes + missing, "{} at {cut_len}", capture.display());
        }
    }
}
