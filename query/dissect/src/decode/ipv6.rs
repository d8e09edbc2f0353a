//! IPv6 (RFC 8200) with its extension headers.

use super::error::{DecodeError, Layer};
use super::link::mark_end;
use super::model::{Decoded, Ip, Network, ip_protocol};
use super::{Cursor, transport};
use crate::bytes::{array_at, u16_at, u32_at};

/// Most extension headers that are followed: twice what RFC 8200, section 4.1 has a use for.
pub const IPV6_EXTENSIONS_MAX: usize = 16;

/// Bytes of the fixed header.
const FIXED_LEN: usize = 40;

/// Bytes of a fragment header, and the unit that the lengths of the others count.
const EXTENSION_UNIT_LEN: usize = 8;

/// The fixed header.
struct Ipv6Header<'a>(&'a [u8; FIXED_LEN]);

impl Ipv6Header<'_> {
    fn version(&self) -> u8 {
        self.0[0] >> 4
    }

    fn traffic_class(&self) -> u8 {
        self.0[0] << 4 | self.0[1] >> 4
    }

    fn flow_label(&self) -> u32 {
        u32_at(self.0, 0) & 0x000f_ffff
    }

    fn payload_len(&self) -> u32 {
        u32::from(u16_at(self.0, 4))
    }
}

/// Decodes from the IPv6 header on.
pub(super) fn decode(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    mark_end(cursor, decoded);
    let offset = cursor.offset;
    let header = Ipv6Header(cursor.fixed(Layer::Ipv6)?);
    if header.version() != 6 {
        return Err(DecodeError::Version { layer: Layer::Ipv6, offset, version: header.version() });
    }
    let actual_len = cursor.wire_len();
    let next_header = header.0[6];
    // A payload length of 0 with something after it: a jumbogram (RFC 2675), or a packet above 64 KiB that stands for
    // several (BIG TCP). Both are as long as they were on the wire.
    let stated_len = match header.payload_len() {
        0 if next_header != ip_protocol::NO_NEXT_HEADER => actual_len,
        payload_len => payload_len + FIXED_LEN as u32,
    };
    let mut ip = Ip {
        version: 6,
        source: array_at(header.0, 8),
        destination: array_at(header.0, 24),
        protocol: next_header,
        ttl: header.0[7],
        traffic_class: header.traffic_class(),
        flow_label: header.flow_label(),
        total_len: stated_len.min(actual_len),
        ..Ip::default()
    };
    decoded.network = Network::Ip(ip);
    let next = cursor.within(ip.total_len).skip(FIXED_LEN);
    let followed = extensions(&mut ip, next, decoded);
    decoded.network = Network::Ip(ip);
    transport::decode(ip.protocol, &ip, followed?, decoded)?;
    if stated_len > actual_len {
        return Err(DecodeError::PacketLen { layer: Layer::Ipv6, offset, stated_len, actual_len });
    }
    Ok(())
}

/// Follows extension headers to the one that is none, and leaves its number in `ip.protocol`.
fn extensions<'a>(
    ip: &mut Ip,
    mut cursor: Cursor<'a>,
    decoded: &mut Decoded,
) -> Result<Cursor<'a>, DecodeError> {
    for _ in 0..IPV6_EXTENSIONS_MAX {
        decoded.transport_offset = cursor.offset;
        decoded.header_len = cursor.offset;
        decoded.payload_len = cursor.wire_len();
        let len = match ip.protocol {
            ip_protocol::FRAGMENT => EXTENSION_UNIT_LEN,
            ip_protocol::HOP_BY_HOP
            | ip_protocol::ROUTING
            | ip_protocol::DESTINATION_OPTIONS
            | ip_protocol::MOBILITY
            | ip_protocol::HOST_IDENTITY
            | ip_protocol::SHIM6 => {
                let fixed = cursor.fixed::<2>(Layer::Ipv6Extension)?;
                (usize::from(fixed[1]) + 1) * EXTENSION_UNIT_LEN
            }
            // RFC 4302, section 2.2: counts units of four bytes, less two.
            ip_protocol::AUTHENTICATION => {
                let fixed = cursor.fixed::<2>(Layer::Ipv6Extension)?;
                (usize::from(fixed[1]) + 2) * 4
            }
            _ => return Ok(cursor),
        };
        if cursor.bytes.len() < len {
            return Err(cursor.cut(Layer::Ipv6Extension, len));
        }
        let fixed = cursor.fixed::<EXTENSION_UNIT_LEN>(Layer::Ipv6Extension)?;
        if ip.protocol == ip_protocol::FRAGMENT {
            let place = u16_at(fixed, 2);
            ip.fragment_offset = place & 0xfff8;
            ip.more_fragments = place & 1 != 0;
            ip.id = Some(u32_at(fixed, 4));
        }
        ip.protocol = fixed[0];
        cursor = cursor.skip(len);
        if ip.fragment_offset != 0 {
            // What follows is the middle of something: its first bytes are no header.
            return Ok(cursor);
        }
    }
    Err(DecodeError::TooMany { layer: Layer::Ipv6Extension, offset: cursor.offset })
}
