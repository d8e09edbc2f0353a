//! The packet that an error speaks of.

use crate::decode::{decode, ip_protocol, link_type};
use crate::flow_id::FlowKey;
use crate::protocol::flow::Flow;
use crate::protocol::value::{Fields, Value};

/// Sets the fields `original.*` from the packet that an error carries, as far as it is there: addresses, ports, protocol, and the
/// id of its flow.
pub(super) fn set_fields(fields: &mut Fields, flow: &Flow, packet: &[u8]) {
    let decoded = decode(link_type::RAW, packet, u32::try_from(packet.len()).unwrap_or(u32::MAX));
    let Some(ip) = decoded.ip() else { return };
    let expected = if flow.ip_protocol == ip_protocol::ICMP { 4 } else { 6 };
    if ip.version != expected {
        return;
    }
    fields.set("original.source.ip", Value::Ip(ip.source));
    fields.set("original.destination.ip", Value::Ip(ip.destination));
    fields.set("original.iana_number", ip.protocol.to_string());
    if let Some(ports) = decoded.ports {
        fields.set("original.source.port", ports.source);
        fields.set("original.destination.port", ports.destination);
    }
    if let Some(key) = FlowKey::of(&decoded, flow.netns_cookie) {
        // The error came over the same link, so the packet went over it.
        let key = FlowKey { vlan_ids: flow.vlan_ids, ..key };
        fields.set("original.flow_id", key.id());
    }
}
