//! Community ID, version 1: one text for a flow that other tools compute too
//! (<https://github.com/corelight/community-id-spec>).

use sha1::{Digest, Sha1};

use super::key::icmp_counterpart;
use crate::decode::ip_protocol;

/// The seed that tools use unless told otherwise.
pub const COMMUNITY_ID_SEED: u16 = 0;

/// The Community ID of a packet or flow. Addresses are IPv4-mapped or IPv6; of ICMP, the ports are type and code.
///
/// ```
/// use kcap_dissect::flow::{COMMUNITY_ID_SEED, community_id};
///
/// let address = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().to_ipv6_mapped().octets();
/// let (client, server) = (address("128.232.110.120"), address("66.35.250.204"));
/// let id = community_id(COMMUNITY_ID_SEED, (&client, 34855), (&server, 80), 6);
/// assert_eq!(id, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
/// ```
#[must_use]
pub fn community_id(
    seed: u16,
    (source, source_port): (&[u8; 16], u16),
    (destination, destination_port): (&[u8; 16], u16),
    protocol: u8,
) -> String {
    let is_ipv6 = !(is_mapped(source) && is_mapped(destination));
    let mut ends = [(source, source_port), (destination, destination_port)];
    let has_ports = matches!(
        protocol,
        ip_protocol::TCP | ip_protocol::UDP | ip_protocol::SCTP | ip_protocol::ICMP | ip_protocol::ICMPV6
    );
    let mut one_way = false;
    if matches!(protocol, ip_protocol::ICMP | ip_protocol::ICMPV6) {
        let kind = u8::try_from(source_port).unwrap_or(u8::MAX);
        match icmp_counterpart(protocol, kind) {
            Some(counterpart) => ends[1].1 = u16::from(counterpart),
            None => one_way = true,
        }
    }
    if !one_way && ends[1] < ends[0] {
        ends.swap(0, 1);
    }
    let mut hash = Sha1::new();
    hash.update(seed.to_be_bytes());
    for (address, _) in ends {
        hash.update(if is_ipv6 { &address[..] } else { &address[12..] });
    }
    hash.update([protocol, 0]);
    if has_ports {
        for (_, port) in ends {
            hash.update(port.to_be_bytes());
        }
    }
    let mut text = String::from("1:");
    push_base64(&hash.finalize(), &mut text);
    text
}

fn is_mapped(address: &[u8; 16]) -> bool {
    address.starts_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])
}

/// Base64 with padding (RFC 4648, section 4).
fn push_base64(bytes: &[u8], text: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
}
