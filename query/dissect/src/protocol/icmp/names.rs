//! Types and codes of ICMP, with the names that Packetbeat has for them.

use crate::decode::{Icmp, ip_protocol};

/// What a message is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It asks.
    Request,
    /// It answers a message of this type.
    ResponseTo(u8),
    /// It says what became of another packet, and carries its beginning.
    Error,
    /// It only tells.
    Notice,
}

/// Role of a type. What hosts also send without being asked (advertisements) tells.
pub(super) fn role(protocol: u8, kind: u8) -> Role {
    if protocol == ip_protocol::ICMP {
        match kind {
            8 | 13 | 15 | 17 => Role::Request,
            0 => Role::ResponseTo(8),
            14 => Role::ResponseTo(13),
            16 => Role::ResponseTo(15),
            18 => Role::ResponseTo(17),
            3 | 4 | 5 | 11 | 12 => Role::Error,
            _ => Role::Notice,
        }
    } else {
        match kind {
            128 | 139 => Role::Request,
            129 => Role::ResponseTo(128),
            140 => Role::ResponseTo(139),
            1..=4 => Role::Error,
            _ => Role::Notice,
        }
    }
}

/// `EchoRequest(0)`, `DestinationUnreachable(Port)`: the type, and the code by its name or number.
pub(super) fn message_name(protocol: u8, icmp: Icmp) -> String {
    let (kind, codes) = if protocol == ip_protocol::ICMP { v4(icmp.kind) } else { v6(icmp.kind) };
    let kind = kind.map_or_else(|| icmp.kind.to_string(), str::to_owned);
    match codes.get(usize::from(icmp.code)) {
        Some(code) => format!("{kind}({code})"),
        None => format!("{kind}({})", icmp.code),
    }
}

type Names = (Option<&'static str>, &'static [&'static str]);

/// RFC 792, RFC 950, RFC 1256, RFC 1812, RFC 8335.
fn v4(kind: u8) -> Names {
    const UNREACHABLE: &[&str] = &[
        "Net",
        "Host",
        "Protocol",
        "Port",
        "FragmentationNeeded",
        "SourceRoutingFailed",
        "NetUnknown",
        "HostUnknown",
        "SourceIsolated",
        "NetAdminProhibited",
        "HostAdminProhibited",
        "NetTOS",
        "HostTOS",
        "CommAdminProhibited",
        "HostPrecedence",
        "PrecedenceCutoff",
    ];
    let (name, codes): (_, &[_]) = match kind {
        0 => ("EchoReply", &[]),
        3 => ("DestinationUnreachable", UNREACHABLE),
        4 => ("SourceQuench", &[]),
        5 => ("Redirect", &["Net", "Host", "TOS+Net", "TOS+Host"]),
        8 => ("EchoRequest", &[]),
        9 => ("RouterAdvertisement", &[]),
        10 => ("RouterSolicitation", &[]),
        11 => ("TimeExceeded", &["TTLExceeded", "FragmentReassemblyTimeExceeded"]),
        12 => ("ParameterProblem", &["PointerIndicatesError", "MissingOption", "BadLength"]),
        13 => ("TimestampRequest", &[]),
        14 => ("TimestampReply", &[]),
        15 => ("InfoRequest", &[]),
        16 => ("InfoReply", &[]),
        17 => ("AddressMaskRequest", &[]),
        18 => ("AddressMaskReply", &[]),
        42 => ("ExtendedEchoRequest", &[]),
        43 => ("ExtendedEchoReply", &[]),
        _ => return (None, &[]),
    };
    (Some(name), codes)
}

/// RFC 4443, RFC 4861, RFC 2710, RFC 3810, RFC 4620.
fn v6(kind: u8) -> Names {
    const UNREACHABLE: &[&str] = &[
        "NoRouteToDst",
        "AdminProhibited",
        "BeyondScopeOfSrc",
        "AddressUnreachable",
        "PortUnreachable",
        "SrcAddressFailedPolicy",
        "RejectRouteToDst",
    ];
    let (name, codes): (_, &[_]) = match kind {
        1 => ("DestinationUnreachable", UNREACHABLE),
        2 => ("PacketTooBig", &[]),
        3 => ("TimeExceeded", &["HopLimitExceeded", "FragmentReassemblyTimeExceeded"]),
        4 => (
            "ParameterProblem",
            &["ErroneousHeaderField", "UnrecognizedNextHeader", "UnrecognizedIPv6Option"],
        ),
        128 => ("EchoRequest", &[]),
        129 => ("EchoReply", &[]),
        130 => ("MLDv1MulticastListenerQueryMessage", &[]),
        131 => ("MLDv1MulticastListenerReportMessage", &[]),
        132 => ("MLDv1MulticastListenerDoneMessage", &[]),
        133 => ("RouterSolicitation", &[]),
        134 => ("RouterAdvertisement", &[]),
        135 => ("NeighborSolicitation", &[]),
        136 => ("NeighborAdvertisement", &[]),
        137 => ("Redirect", &[]),
        139 => ("NodeInformationQuery", &[]),
        140 => ("NodeInformationResponse", &[]),
        143 => ("MLDv2MulticastListenerReportMessageV2", &[]),
        _ => return (None, &[]),
    };
    (Some(name), codes)
}
