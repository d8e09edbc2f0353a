//! From the IP protocol to the transport header.

use super::error::DecodeError;
use super::model::{Decoded, Ip, Tunnel, TunnelKind, ip_protocol};
use super::{Cursor, gre, icmp, igmp, ipv4, ipv6, mpls, sctp, tcp, tunnel, udp};

/// Decodes the transport header; other protocols and later fragments end there, which is no error.
pub(super) fn decode(
    protocol: u8,
    ip: &Ip,
    cursor: Cursor<'_>,
    decoded: &mut Decoded,
) -> Result<(), DecodeError> {
    mark_end(cursor, decoded);
    decoded.transport_offset = cursor.offset;
    if ip.fragment_offset != 0 {
        return Ok(());
    }
    match protocol {
        ip_protocol::TCP => tcp::decode(cursor, decoded),
        ip_protocol::UDP => udp::decode(ip.more_fragments, cursor, decoded),
        ip_protocol::ICMP if ip.version == 4 => icmp::decode_v4(cursor, decoded),
        ip_protocol::ICMPV6 if ip.version == 6 => icmp::decode_v6(cursor, decoded),
        ip_protocol::SCTP => sctp::decode(cursor, decoded),
        ip_protocol::IGMP => igmp::decode(cursor, decoded),
        // The rest of what a first fragment carries is in other packets: wait for the whole.
        _ if ip.more_fragments => Ok(()),
        ip_protocol::GRE => gre::decode(cursor, decoded),
        ip_protocol::IPV4 | ip_protocol::IPV6 => {
            let tunnel = Tunnel { kind: TunnelKind::IpInIp, id: None };
            let inner = if protocol == ip_protocol::IPV4 { ipv4::decode } else { ipv6::decode };
            tunnel::enter(tunnel, cursor, decoded, inner)
        }
        ip_protocol::MPLS => {
            tunnel::enter(Tunnel { kind: TunnelKind::IpInIp, id: None }, cursor, decoded, mpls::decode)
        }
        _ => Ok(()),
    }
}

/// Notes that headers were understood up to here, of which the network header is an earlier one.
pub(super) fn mark_end(cursor: Cursor<'_>, decoded: &mut Decoded) {
    decoded.header_len = cursor.offset;
    decoded.payload_len = cursor.wire_len();
}
