//! What the steps from packets to transactions take: `cargo run --release -p kcap-dissect --example transactions FILE…`.
//!
//! Each step does all that those before it do; the file is read before. Transactions without their fields are what tables ask for when
//! nobody selects a protocol's own columns.

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::time::Instant;

use kcap_dissect::decode::decode;
use kcap_dissect::flow::{FlowConsumer, FlowOptions};
use kcap_dissect::protocol::Protocols;

struct Nothing;

impl FlowConsumer for Nothing {
    type State = ();
}

/// Nanoseconds for each packet, and what came of it.
fn timed<T>(packets: usize, step: impl FnOnce() -> T) -> (f64, T) {
    let begun = Instant::now();
    let result = step();
    (begun.elapsed().as_secs_f64() * 1e9 / packets.max(1) as f64, result)
}

fn main() {
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        let packets = support::packets(&path);
        let count = packets.len();
        let (decoding, _) = timed(count, || {
            let header_len = |packet: &support::Packet| {
                decode(packet.link_type, &packet.bytes, packet.wire_len).header_len
            };
            packets.iter().map(header_len).fold(0, u32::wrapping_add)
        });
        let without = FlowOptions { streams: false, ..FlowOptions::default() };
        let (flows, _) = timed(count, || support::follow(&packets, without, Nothing));
        let (streams, _) = timed(count, || support::follow(&packets, FlowOptions::default(), Nothing));
        let protocols = Protocols::default();
        let (all, transactions) =
            timed(count, || support::transactions::with_packets(&packets, protocols.clone()));
        let summaries = protocols.with_fields_of(|_| false);
        let (without_fields, _) = timed(count, || support::transactions::with_packets(&packets, summaries));
        println!(
            "{}: {count} packets, {} transactions; nanoseconds a packet: {decoding:.0} for headers, {flows:.0} with flows, \
             {streams:.0} with streams, {without_fields:.0} with transactions, {all:.0} with their fields",
            path.display(),
            transactions.len(),
        );
    }
}
