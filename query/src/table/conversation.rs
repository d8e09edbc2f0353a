//! What all rows about conversations have in common.

use arrow::datatypes::{UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use kcap_dissect::FlowKey;
use kcap_dissect::flow::{COMMUNITY_ID_SEED, Flow, Side, community_id};

use super::column::Column;
use crate::flows::FlowEnds;
use crate::source::EndFacts;

/// What the columns begin with that need the owners of both ends.
pub(super) const OWNER_COLUMNS: [&str; 10] = [
    "client_proc_id",
    "client_pid",
    "client_process_name",
    "client_container",
    "client_pod",
    "server_proc_id",
    "server_pid",
    "server_process_name",
    "server_container",
    "server_pod",
];

/// Whether a column needs the owners of both ends.
pub(super) fn needs_owners(name: &str) -> bool {
    OWNER_COLUMNS.iter().any(|beginning| name.starts_with(beginning))
}

/// Names of IP protocols, by their numbers; those without a name of their own are `other`.
const IP_PROTOCOLS: [(&str, u8); 10] = [
    ("tcp", 6),
    ("udp", 17),
    ("icmp", 1),
    ("icmpv6", 58),
    ("igmp", 2),
    ("sctp", 132),
    ("gre", 47),
    ("esp", 50),
    ("ipip", 4),
    ("ipv6", 41),
];
pub(super) const IP_PROTOCOL_NAMES: [&str; IP_PROTOCOLS.len() + 1] =
    ["tcp", "udp", "icmp", "icmpv6", "igmp", "sctp", "gre", "esp", "ipip", "ipv6", "other"];

pub(super) fn ip_protocol_place(protocol: u8) -> usize {
    IP_PROTOCOLS.iter().position(|(_, number)| *number == protocol).unwrap_or(IP_PROTOCOLS.len())
}

/// Names of [`Side`]s, by their numbers.
pub(super) const SIDES: [&str; 2] = ["client", "server"];

/// Which conversation a row is about.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    pub(super) first_ns: i64,
    flow_id: u64,
    first_packet_id: u64,
    key: FlowKey,
    ip_version: u8,
    icmp: Option<(u8, u8)>,
    ends: FlowEnds,
    capture_id: String,
}

impl Conversation {
    pub(super) fn of(flow: &Flow, ends: FlowEnds, capture_id: &str) -> Self {
        Self {
            first_ns: flow.first_ns,
            flow_id: flow.flow_id,
            first_packet_id: flow.first_packet_id,
            key: flow.key,
            ip_version: flow.ip_version,
            icmp: flow.icmp,
            ends,
            capture_id: capture_id.to_owned(),
        }
    }

    /// A port; ICMP has none.
    fn port(&self, side: Side) -> Option<u16> {
        let port = if side == Side::Client { self.key.source_port } else { self.key.destination_port };
        Some(port).filter(|port| *port != 0 && self.icmp.is_none())
    }

    fn community_id(&self) -> String {
        let (client, server) =
            self.icmp.map_or((self.key.source_port, self.key.destination_port), |(kind, answer)| {
                (kind.into(), answer.into())
            });
        let key = &self.key;
        community_id(COMMUNITY_ID_SEED, (&key.source, client), (&key.destination, server), key.protocol)
    }

    fn end(&self, side: Side) -> Option<&EndFacts> {
        self.ends.end(side)
    }
}

/// The columns of a conversation, from whatever row it is in.
#[rustfmt::skip]
pub(super) fn columns<R: 'static>(of: fn(&R) -> &Conversation) -> Vec<Column<[R]>> {
    use Side::{Client, Server};
    vec![
        Column::timestamp("ts", "First packet of the conversation", move |rows: &[R], row| Some(of(&rows[row]).first_ns)).required(),
        Column::number::<UInt64Type>("flow_id", "`flow_id` of its packets", move |rows: &[R], row| Some(of(&rows[row]).flow_id)).required(),
        Column::number::<UInt64Type>("first_packet_id", "`packet_id` of its first packet: tells conversations apart that have the same addresses and ports, one after the other", move |rows: &[R], row| Some(of(&rows[row]).first_packet_id)).required(),
        Column::number::<UInt8Type>("ip_version", "4 or 6", move |rows: &[R], row| Some(of(&rows[row]).ip_version)).required(),
        Column::number::<UInt8Type>("ip_proto", "Protocol number (IANA): 6 TCP, 17 UDP", move |rows: &[R], row| Some(of(&rows[row]).key.protocol)).required(),
        Column::enumeration("ip_proto_name", &IP_PROTOCOL_NAMES, "Name of the protocol: tcp, udp, icmp, icmpv6, …, or other", move |rows: &[R], row| Some(ip_protocol_place(of(&rows[row]).key.protocol))).required(),
        Column::address("client_ip", "Address of the side that began", move |rows: &[R], row| Some(of(&rows[row]).key.source)).required(),
        Column::number::<UInt16Type>("client_port", "Its port; null where there are none", move |rows: &[R], row| of(&rows[row]).port(Client)),
        Column::address("server_ip", "Address of the other side", move |rows: &[R], row| Some(of(&rows[row]).key.destination)).required(),
        Column::number::<UInt16Type>("server_port", "Its port; null where there are none", move |rows: &[R], row| of(&rows[row]).port(Server)),
        Column::number::<UInt16Type>("vlan", "Id of the outermost VLAN", move |rows: &[R], row| Some(of(&rows[row]).key.vlan_ids[0]).filter(|id| *id != 0)),
        Column::rare_text("community_id", "Community ID, version 1, seed 0", move |rows: &[R], row| Some(of(&rows[row]).community_id())).required(),
        Column::repeated_text("client_proc_id", "Process of the side that began; null when it is on another host, or not known", move |rows: &[R], row| of(&rows[row]).end(Client)?.proc_id.as_deref()),
        Column::number::<UInt32Type>("client_pid", "Its process id", move |rows: &[R], row| of(&rows[row]).end(Client)?.pid),
        Column::repeated_text("client_process_name", "Its name then", move |rows: &[R], row| of(&rows[row]).end(Client)?.process_name.as_deref()),
        Column::repeated_text("client_container_id", "Container that it was in", move |rows: &[R], row| of(&rows[row]).end(Client)?.container_id()),
        Column::repeated_text("client_container_name", "Name of the container; null when no runtime told it", move |rows: &[R], row| of(&rows[row]).end(Client)?.container_name()),
        Column::repeated_text("client_pod_name", "Name of its pod", move |rows: &[R], row| of(&rows[row]).end(Client)?.pod_name()),
        Column::repeated_text("client_pod_namespace", "Namespace of its pod", move |rows: &[R], row| of(&rows[row]).end(Client)?.pod_namespace()),
        Column::repeated_text("server_proc_id", "Process of the other side; null when it is on another host, or not known", move |rows: &[R], row| of(&rows[row]).end(Server)?.proc_id.as_deref()),
        Column::number::<UInt32Type>("server_pid", "Its process id", move |rows: &[R], row| of(&rows[row]).end(Server)?.pid),
        Column::repeated_text("server_process_name", "Its name then", move |rows: &[R], row| of(&rows[row]).end(Server)?.process_name.as_deref()),
        Column::repeated_text("server_container_id", "Container that it was in", move |rows: &[R], row| of(&rows[row]).end(Server)?.container_id()),
        Column::repeated_text("server_container_name", "Name of the container; null when no runtime told it", move |rows: &[R], row| of(&rows[row]).end(Server)?.container_name()),
        Column::repeated_text("server_pod_name", "Name of its pod", move |rows: &[R], row| of(&rows[row]).end(Server)?.pod_name()),
        Column::repeated_text("server_pod_namespace", "Namespace of its pod", move |rows: &[R], row| of(&rows[row]).end(Server)?.pod_namespace()),
        Column::repeated_text("capture_id", "The recording (UUID)", move |rows: &[R], row| Some(of(&rows[row]).capture_id.as_str())).required(),
    ]
}
