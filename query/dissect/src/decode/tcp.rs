//! TCP (RFC 9293).

use super::Cursor;
use super::error::{DecodeError, Layer};
use super::model::{Decoded, Ports, Tcp, Transport};
use super::transport::mark_end;
use crate::bytes::{u16_at, u32_at};

/// Bytes of the header without options.
pub(super) const FIXED_LEN: usize = 20;

/// The fixed part of a header.
struct TcpHeader<'a>(&'a [u8; FIXED_LEN]);

impl TcpHeader<'_> {
    fn sequence(&self) -> u32 {
        u32_at(self.0, 4)
    }

    fn acknowledgement(&self) -> u32 {
        u32_at(self.0, 8)
    }

    /// Bytes of the header with its options, as it says.
    fn header_len(&self) -> u8 {
        (self.0[12] >> 4) * 4
    }

    fn flags(&self) -> u16 {
        u16_at(self.0, 12) & 0x0fff
    }

    fn window(&self) -> u16 {
        u16_at(self.0, 14)
    }
}

/// Decodes a TCP header.
pub(super) fn decode(cursor: Cursor<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    decoded.ports = ports(cursor);
    let header = TcpHeader(cursor.fixed(Layer::Tcp)?);
    let header_len = header.header_len();
    decoded.transport = Transport::Tcp(Tcp {
        sequence: header.sequence(),
        acknowledgement: header.acknowledgement(),
        flags: header.flags(),
        window: header.window(),
        header_len,
    });
    if usize::from(header_len) < FIXED_LEN {
        let header_len = u32::from(header_len);
        return Err(DecodeError::HeaderLen { layer: Layer::Tcp, offset: cursor.offset, header_len });
    }
    mark_end(cursor.skip(usize::from(header_len)), decoded);
    if cursor.bytes.len() < usize::from(header_len) {
        return Err(cursor.cut(Layer::Tcp, usize::from(header_len)));
    }
    Ok(())
}

/// The ports that TCP, UDP and SCTP have in front.
pub(super) fn ports(cursor: Cursor<'_>) -> Option<Ports> {
    let bytes = cursor.bytes.first_chunk::<4>()?;
    Some(Ports { source: u16_at(bytes, 0), destination: u16_at(bytes, 2) })
}
