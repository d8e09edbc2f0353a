//! Any bytes as DNS, over TCP and over UDP, with all sections in the documents.
#![no_main]

use kcap_dissect::decode::ip_protocol;

const OPTIONS: &str = "
[dns]
send_request = true
send_response = true
include_authorities = true
include_additionals = true
";

kcap_fuzz::fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((first, data)) if first & 1 == 0 => {
            kcap_fuzz::datagram::run("dns", ip_protocol::UDP, OPTIONS, data);
        }
        Some((_, data)) => kcap_fuzz::stream::run("dns", OPTIONS, data),
        None => {}
    }
});
