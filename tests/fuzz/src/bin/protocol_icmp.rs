//! Any bytes as ICMP, of both versions, among them the packets that errors carry.
#![no_main]

use kcap_dissect::decode::ip_protocol;

kcap_fuzz::fuzz_target!(|data: &[u8]| {
    kcap_fuzz::datagram::run("icmp", ip_protocol::ICMP, "", data);
    kcap_fuzz::datagram::run("icmp", ip_protocol::ICMPV6, "", data);
});
