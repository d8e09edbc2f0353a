//! Which side of a flow is the client.

use crate::decode::{Ip, ip_protocol};

/// Ports on which servers listen, where the first packet alone must tell: what Zeek's analyzers register as
/// `likely_server_ports`, and the ports of the protocols that are dissected here.
const LIKELY_SERVER_PORTS: [u16; 69] = [
    20, 21, 22, 23, 25, 53, 67, 80, 81, 88, 102, 110, 111, 123, 135, 137, 139, 143, 161, 162, 179, 389, 443,
    445, 465, 502, 514, 547, 585, 587, 614, 636, 853, 989, 990, 992, 993, 995, 1080, 1433, 1812, 1883, 2049,
    3128, 3268, 3306, 3389, 3478, 4222, 4789, 5060, 5061, 5222, 5223, 5269, 5432, 5671, 5672, 6081, 6379,
    8000, 8080, 8443, 8888, 9042, 9090, 9200, 11_211, 27_017,
];

/// True for ports on which servers of known protocols listen.
#[must_use]
pub fn is_likely_server_port(port: u16) -> bool {
    LIKELY_SERVER_PORTS.binary_search(&port).is_ok()
}

/// True when the sender of a conversation's first packet is the server: its port tells, and the receiver's doesn't, as in
/// Zeek. What is sent to many is never an answer.
pub(super) fn sender_is_server(ip: &Ip, source_port: u16, destination_port: u16) -> bool {
    matches!(ip.protocol, ip_protocol::TCP | ip_protocol::UDP | ip_protocol::SCTP)
        && is_likely_server_port(source_port)
        && !is_likely_server_port(destination_port)
        && !is_group(ip)
}

/// True for packets to a multicast address (RFC 1112, RFC 4291 section 2.7) or to the limited broadcast address.
fn is_group(ip: &Ip) -> bool {
    match ip.version {
        4 => ip.destination[12] >= 224,
        _ => ip.destination[0] == 0xff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_in_order() {
        assert!(LIKELY_SERVER_PORTS.is_sorted());
    }
}
