//! Bytes of a fuzzer as what happens to a TCP connection.

use std::sync::Arc;

use kcap_dissect::protocol::{
    Chunk, Context, Detection, Endpoint, Flow, Moment, Sample, Sender, Transaction,
};

use crate::protocols;

/// Gives a parser of a protocol what the bytes describe, under these options. Each step is a byte that says what and whose, two
/// with a length, and data:
///
/// - bit 0: 0 for the end that began the connection, 1 for the other;
/// - bits 1 and 2: 3 for the end of this direction, 2 for a gap of that length, else data of that length;
/// - of the first step, bit 7: the beginning of the connection wasn't recorded.
///
/// # Panics
/// When the parser does, or when a transaction can't be: an end before its beginning.
pub fn run(protocol: &str, options: &'static str, data: &[u8]) {
    let dissector = &protocols(options).named(protocol).expect("a protocol").dissector;
    let end = |port| Endpoint { port, ..Endpoint::default() };
    let flow = Arc::new(Flow {
        originator: end(40_000),
        responder: end(80),
        originator_known: data.first().is_some_and(|first| first & 0x80 == 0),
        ..Flow::default()
    });
    let mut transactions = Vec::new();
    let mut parser = dissector.stream(&flow).expect("a protocol of streams");
    let mut context = Context::new(&flow, &mut transactions);
    let mut rest = data;
    let mut now = 0;
    while let [kind, high, low, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let sender = if kind & 1 == 0 { Sender::Originator } else { Sender::Responder };
        now += 1;
        let at = Moment { ts_ns: i64::from(now) * 1_000_000_000, packet_id: u64::from(now as u32) };
        rest = after;
        match kind >> 1 & 3 {
            3 => parser.end(sender, at, &mut context),
            2 => parser.gap(sender, len as u64 + 1, at, &mut context),
            _ => {
                let (bytes, after) = rest.split_at(len.min(rest.len()));
                rest = after;
                if now == 1 {
                    let mut samples: [&[u8]; 2] = [&[], &[]];
                    samples[sender.index()] = bytes;
                    let sample = Sample {
                        flow: &flow,
                        bytes: samples,
                        first: sender,
                        from_start: [flow.originator_known; 2],
                    };
                    let _: Detection = dissector.detect(&sample);
                }
                if !bytes.is_empty() {
                    parser.data(Chunk { sender, bytes, at }, &mut context);
                }
            }
        }
    }
    parser.finish(&mut context);
    transactions.iter().for_each(check);
}

/// What holds for every transaction.
///
/// # Panics
/// When it does not.
pub fn check(transaction: &Transaction) {
    for message in [&transaction.request, &transaction.response].into_iter().flatten() {
        assert!(message.first <= message.last, "{message:?}");
    }
    assert!(transaction.request.is_some() || transaction.response.is_some(), "{transaction:?}");
}
