//! One number for both directions of a conversation.

use std::hash::{Hash, Hasher};

use twox_hash::XxHash64;

use crate::decode::{Decoded, Icmp, Transport};
use crate::flow::key::{canonical, icmp_counterpart, is_icmp_request};

/// Seed of the hash. The result is stored and compared between runs, so that it never changes.
const SEED: u64 = 0;

/// Bytes of a key.
const KEY_LEN: usize = 49;

/// What makes two packets one flow, whichever way they go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowKey {
    /// Address of one end, IPv4 mapped.
    pub source: [u8; 16],
    /// Address of the other end.
    pub destination: [u8; 16],
    /// Port of one end; for ICMP a number made of the types of its messages; 0 where there is none.
    pub source_port: u16,
    /// Port of the other end.
    pub destination_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// VLAN ids, outermost first; 0 for none.
    pub vlan_ids: [u16; 2],
    /// Cookie of the network namespace for loopback addresses, which every namespace has; 0 for all others, since the two
    /// ends of a flow may be in two namespaces of the host.
    pub netns_cookie: u64,
}

impl FlowKey {
    /// The key of a packet that was recorded in this namespace; `None` for anything but IP. Fragments but the first have no
    /// ports, and so a flow of their own.
    #[must_use]
    pub fn of(decoded: &Decoded, netns_cookie: u64) -> Option<Self> {
        let ip = decoded.ip()?;
        let (source_port, destination_port) = match (decoded.ports, &decoded.transport) {
            (Some(ports), _) => (ports.source, ports.destination),
            (None, Transport::Icmp(icmp)) => icmp_ports(ip.protocol, icmp),
            _ => (0, 0),
        };
        Some(Self {
            source: ip.source,
            destination: ip.destination,
            source_port,
            destination_port,
            protocol: ip.protocol,
            vlan_ids: decoded.link.vlan_tags.map(|tag| tag & 0x0fff),
            netns_cookie: if ip.is_loopback() { netns_cookie } else { 0 },
        })
    }

    /// The hash of the key: XXH64 with seed 0 over 49 bytes, which are the smaller end (address, then port), the greater
    /// end, the protocol, both VLAN ids and the namespace cookie; integers in network order, ends compared as bytes.
    #[must_use]
    pub fn id(&self) -> u64 {
        XxHash64::oneshot(SEED, &canonical(self).0.bytes())
    }

    /// All of it: source, destination, protocol, VLAN ids, namespace.
    fn bytes(&self) -> [u8; KEY_LEN] {
        let mut bytes = [0; KEY_LEN];
        bytes[..16].copy_from_slice(&self.source);
        bytes[16..18].copy_from_slice(&self.source_port.to_be_bytes());
        bytes[18..34].copy_from_slice(&self.destination);
        bytes[34..36].copy_from_slice(&self.destination_port.to_be_bytes());
        bytes[36] = self.protocol;
        bytes[37..39].copy_from_slice(&self.vlan_ids[0].to_be_bytes());
        bytes[39..41].copy_from_slice(&self.vlan_ids[1].to_be_bytes());
        bytes[41..].copy_from_slice(&self.netns_cookie.to_be_bytes());
        bytes
    }
}

/// In one piece: keyed hashes take longer for a piece than for its bytes.
impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.bytes());
    }
}

/// What takes the place of ports for ICMP, as Zeek and Community ID tell its conversations apart: the type of a message and of
/// what answers it, or its type and code where nothing does, at one end, and the complement at the other. So the two
/// directions of what is not answered are two flows.
fn icmp_ports(protocol: u8, icmp: &Icmp) -> (u16, u16) {
    let tag = |high, low| u16::from_be_bytes([high, low]);
    match icmp_counterpart(protocol, icmp.kind) {
        Some(answer) if is_icmp_request(protocol, icmp.kind) => {
            let tag = tag(icmp.kind, answer);
            (tag, !tag)
        }
        Some(request) => {
            let tag = tag(request, icmp.kind);
            (!tag, tag)
        }
        None => {
            let tag = tag(icmp.kind, icmp.code);
            (tag, !tag)
        }
    }
}

/// The flow of a packet that was recorded in this namespace: equal for both directions and at both ends, and the same in
/// every run. `None` for anything but IP.
#[must_use]
pub fn flow_id(decoded: &Decoded, netns_cookie: u64) -> Option<u64> {
    FlowKey::of(decoded, netns_cookie).map(|key| key.id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::samples::{CLIENT_V4, SERVER_V4, ipv4, udp};
    use crate::decode::{decode, link_type};

    fn key() -> FlowKey {
        FlowKey {
            source: std::array::from_fn(|index| index as u8),
            destination: [9; 16],
            source_port: 40_000,
            destination_port: 443,
            protocol: 6,
            vlan_ids: [0; 2],
            netns_cookie: 7,
        }
    }

    #[test]
    fn both_directions_are_one_flow() {
        let there = key();
        let back = FlowKey {
            source: there.destination,
            destination: there.source,
            source_port: there.destination_port,
            destination_port: there.source_port,
            ..there
        };
        assert_eq!(there.id(), back.id());
    }

    #[test]
    fn both_ends_of_a_link_between_namespaces_are_one_flow() {
        let flow = |source, destination, netns_cookie| {
            let packet = ipv4(source, destination, 17, 1, &udp(1, 1, 0));
            flow_id(&decode(link_type::RAW, &packet, 28), netns_cookie).unwrap()
        };
        assert_eq!(flow(CLIENT_V4, SERVER_V4, 1), flow(SERVER_V4, CLIENT_V4, 2));
        let local = [127, 0, 0, 1];
        assert_eq!(flow(local, local, 1), flow(local, local, 1));
        assert_ne!(flow(local, local, 1), flow(local, local, 2));
    }

    #[test]
    fn messages_of_icmp_are_one_flow_with_what_answers_them() {
        let id = |source, destination, kind: u8, code: u8| {
            let message = [kind, code, 0, 0, 3, 3, 0, 1];
            flow_id(&decode(link_type::RAW, &ipv4(source, destination, 1, 1, &message), 28), 0).unwrap()
        };
        assert_eq!(id(CLIENT_V4, SERVER_V4, 8, 0), id(SERVER_V4, CLIENT_V4, 0, 0), "echo");
        assert_eq!(id(CLIENT_V4, SERVER_V4, 13, 0), id(SERVER_V4, CLIENT_V4, 14, 0), "timestamp");
        assert_ne!(id(CLIENT_V4, SERVER_V4, 13, 0), id(CLIENT_V4, SERVER_V4, 17, 0));
        assert_ne!(id(CLIENT_V4, SERVER_V4, 3, 3), id(CLIENT_V4, SERVER_V4, 8, 0));
        assert_ne!(id(CLIENT_V4, SERVER_V4, 3, 3), id(CLIENT_V4, SERVER_V4, 3, 1), "code");
        assert_ne!(id(CLIENT_V4, SERVER_V4, 3, 3), id(SERVER_V4, CLIENT_V4, 3, 3), "errors are not answered");
    }

    #[test]
    fn ports_go_with_their_addresses() {
        let swapped = FlowKey { source_port: 443, destination_port: 40_000, ..key() };
        assert_ne!(key().id(), swapped.id());
    }

    #[test]
    fn every_field_counts() {
        let base = key();
        let others = [
            FlowKey { source: [1; 16], ..base },
            FlowKey { destination: [1; 16], ..base },
            FlowKey { source_port: 1, ..base },
            FlowKey { destination_port: 1, ..base },
            FlowKey { protocol: 17, ..base },
            FlowKey { vlan_ids: [5, 0], ..base },
            FlowKey { vlan_ids: [0, 5], ..base },
            FlowKey { netns_cookie: 8, ..base },
        ];
        let mut ids: Vec<u64> = others.iter().chain([&base]).map(FlowKey::id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), others.len() + 1);
    }

    /// Exports hold these numbers: this one, which xxHash's own tools agree with, must never change.
    #[test]
    fn stable_for_ever() {
        assert_eq!(key().id(), 3_609_233_430_970_269_288);
    }
}
