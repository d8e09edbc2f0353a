//! IPv4 (RFC 791).

use super::error::{DecodeError, Layer};
use super::link::mark_end;
use super::model::{Decoded, Ip, Network, ip_protocol, map_ipv4};
use super::{Cursor, transport};
use crate::bytes::{array_at, u16_at};

/// Bytes of the header without options.
const FIXED_LEN: usize = 20;

/// The fixed part of a header.
struct Ipv4Header<'a>(&'a [u8; FIXED_LEN]);

impl Ipv4Header<'_> {
    fn version(&self) -> u8 {
        self.0[0] >> 4
    }

    /// Bytes of the header with its options, as it says.
    fn header_len(&self) -> u32 {
        u32::from(self.0[0] & 0x0f) * 4
    }

    fn total_len(&self) -> u32 {
        u32::from(u16_at(self.0, 2))
    }

    fn id(&self) -> u16 {
        u16_at(self.0, 4)
    }

    fn dont_fragment(&self) -> bool {
        self.0[6] & 0x40 != 0
    }

    fn more_fragments(&self) -> bool {
        self.0[6] & 0x20 != 0
    }

    /// In bytes.
    fn fragment_offset(&self) -> u16 {
        (u16_at(self.0, 6) & 0x1fff) << 3
    }
}

/// Decodes from the IPv4 header on.
pub(super) fn decode(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    mark_end(cursor, decoded);
    let offset = cursor.offset;
    let header = Ipv4Header(cursor.fixed(Layer::Ipv4)?);
    if header.version() != 4 {
        return Err(DecodeError::Version { layer: Layer::Ipv4, offset, version: header.version() });
    }
    // A total length of 0 is what Linux writes for packets above 64 KiB that stand for several (BIG TCP).
    let actual_len = cursor.wire_len();
    let stated_len = if header.total_len() == 0 { actual_len } else { header.total_len() };
    let total_len = stated_len.min(actual_len);
    let mut ip = Ip {
        version: 4,
        source: map_ipv4(array_at(header.0, 12)),
        destination: map_ipv4(array_at(header.0, 16)),
        protocol: header.0[9],
        ttl: header.0[8],
        traffic_class: header.0[1],
        flow_label: 0,
        id: Some(u32::from(header.id())),
        dont_fragment: header.dont_fragment(),
        fragment_offset: header.fragment_offset(),
        more_fragments: header.more_fragments(),
        total_len,
    };
    decoded.network = Network::Ip(ip);
    let header_len = header.header_len();
    if (header_len as usize) < FIXED_LEN {
        return Err(DecodeError::HeaderLen { layer: Layer::Ipv4, offset, header_len });
    }
    if stated_len < header_len {
        return Err(DecodeError::PacketLen { layer: Layer::Ipv4, offset, stated_len, actual_len });
    }
    if cursor.bytes.len() < header_len as usize {
        return Err(cursor.cut(Layer::Ipv4, header_len as usize));
    }
    let next = cursor.within(total_len).skip(header_len as usize);
    let next = authentication(&mut ip, next, decoded)?;
    transport::decode(ip.protocol, &ip, next, decoded)?;
    if stated_len > actual_len {
        return Err(DecodeError::PacketLen { layer: Layer::Ipv4, offset, stated_len, actual_len });
    }
    Ok(())
}

/// Passes an authentication header (RFC 4302), and leaves the protocol behind it in `ip.protocol`.
fn authentication<'a>(
    ip: &mut Ip,
    cursor: Cursor<'a>,
    decoded: &mut Decoded,
) -> Result<Cursor<'a>, DecodeError> {
    if ip.protocol != ip_protocol::AUTHENTICATION || ip.fragment_offset != 0 {
        return Ok(cursor);
    }
    transport::mark_end(cursor, decoded);
    decoded.transport_offset = cursor.offset;
    let &[next_header, units] = cursor.fixed::<2>(Layer::Authentication)?;
    // RFC 4302, section 2.2: counts units of four bytes, less two.
    let len = (usize::from(units) + 2) * 4;
    if cursor.bytes.len() < len {
        return Err(cursor.cut(Layer::Authentication, len));
    }
    ip.protocol = next_header;
    decoded.network = Network::Ip(*ip);
    Ok(cursor.skip(len))
}
