//! What tells flows apart in the table, and the pairs of ICMP types that answer each other.

use crate::decode::ip_protocol;
use crate::flow_id::FlowKey;

/// A key that is equal for both directions, and whether the packet's source is its second end.
pub(crate) fn canonical(key: &FlowKey) -> (FlowKey, bool) {
    let swapped = (key.destination, key.destination_port) < (key.source, key.source_port);
    (if swapped { reversed(key) } else { *key }, swapped)
}

/// The key of a packet in the other direction.
pub(super) fn reversed(key: &FlowKey) -> FlowKey {
    FlowKey {
        source: key.destination,
        destination: key.source,
        source_port: key.destination_port,
        destination_port: key.source_port,
        ..*key
    }
}

/// The type of the ICMP message that answers this one, or that this one answers (RFC 792, RFC 950, RFC 1256, RFC 4443,
/// RFC 4861, RFC 3810, RFC 2894, RFC 4620): Zeek and Community ID agree on these.
pub(crate) fn icmp_counterpart(protocol: u8, kind: u8) -> Option<u8> {
    let pairs: &[(u8, u8)] = match protocol {
        ip_protocol::ICMP => &[(8, 0), (13, 14), (15, 16), (10, 9), (17, 18)],
        ip_protocol::ICMPV6 => &[(128, 129), (133, 134), (135, 136), (130, 131), (139, 140), (144, 145)],
        _ => &[],
    };
    pairs.iter().find_map(|&(request, answer)| match kind {
        kind if kind == request => Some(answer),
        kind if kind == answer => Some(request),
        _ => None,
    })
}

/// True for the ICMP types that ask for an answer.
pub(crate) fn is_icmp_request(protocol: u8, kind: u8) -> bool {
    match protocol {
        ip_protocol::ICMP => matches!(kind, 8 | 10 | 13 | 15 | 17),
        _ => matches!(kind, 128 | 130 | 133 | 135 | 139 | 144),
    }
}
