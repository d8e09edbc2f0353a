//! Any bytes as DHCP for IPv4. A datagram is all of the input: messages are longer than the lengths of short ones can say.
#![no_main]

use std::sync::Arc;

use kcap_dissect::decode::ip_protocol;
use kcap_dissect::protocol::{Context, Datagram, Flow, Moment, Protocols, Sender};

const OPTIONS: &str = "
[dhcpv4]
send_request = true
send_response = true
";

kcap_fuzz::fuzz_target!(|data: &[u8]| {
    let protocols = Protocols::read(OPTIONS.parse().expect("TOML")).expect("options");
    let dissector = &protocols.named("dhcpv4").expect("a protocol").dissector;
    let flow = Arc::new(Flow { ip_protocol: ip_protocol::UDP, ..Flow::default() });
    let mut transactions = Vec::new();
    let mut context = Context::new(&flow, &mut transactions);
    let mut parser = dissector.datagrams(&flow).expect("a protocol of datagrams");
    let (sender, wire_len, at) = (Sender::Originator, data.len(), Moment::default());
    parser.datagram(Datagram { sender, bytes: data, wire_len, icmp: None, at }, &mut context);
    parser.finish(&mut context);
    transactions.iter().for_each(kcap_fuzz::stream::check);
});
