//! Bytes of a fuzzer as datagrams of a conversation.

use std::sync::Arc;

use kcap_dissect::decode::Icmp;
use kcap_dissect::protocol::{Context, Datagram, Detection, Endpoint, Flow, Moment, Sample, Sender};

use crate::protocols;

/// Gives a parser of a protocol the datagrams that the bytes describe, under these options. Each is a byte that says whose (bit 0)
/// and whether its end wasn't captured (bit 1), a byte with its length, for ICMP type and code, and data.
///
/// # Panics
/// When the parser does, or when a transaction can't be.
pub fn run(protocol: &str, ip_protocol: u8, options: &'static str, data: &[u8]) {
    let dissector = &protocols(options).named(protocol).expect("a protocol").dissector;
    let end = |port| Endpoint { port, ..Endpoint::default() };
    let flow = Arc::new(Flow {
        originator: end(40_000),
        responder: end(53),
        ip_version: 4,
        ip_protocol,
        originator_known: true,
        ..Flow::default()
    });
    let mut transactions = Vec::new();
    let mut parser = dissector.datagrams(&flow).expect("a protocol of datagrams");
    let mut context = Context::new(&flow, &mut transactions);
    let mut rest = data;
    let mut now = 0_u32;
    while let [kind, len, type_, code, after @ ..] = rest {
        let (bytes, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        now += 1;
        let sender = if kind & 1 == 0 { Sender::Originator } else { Sender::Responder };
        let mut samples: [&[u8]; 2] = [&[], &[]];
        samples[sender.index()] = bytes;
        let sample = Sample { flow: &flow, bytes: samples, first: sender, from_start: [true; 2] };
        let _: Detection = dissector.detect(&sample);
        let datagram = Datagram {
            sender,
            bytes,
            wire_len: bytes.len() + if kind & 2 == 0 { 0 } else { 100 },
            icmp: Some(Icmp { kind: *type_, code: *code, echo: Some((1, u16::from(kind >> 2))) }),
            at: Moment { ts_ns: i64::from(now) * 1_000_000_000, packet_id: u64::from(now) },
        };
        parser.datagram(datagram, &mut context);
    }
    parser.finish(&mut context);
    transactions.iter().for_each(crate::stream::check);
}
