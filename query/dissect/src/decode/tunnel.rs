//! Packets in packets.

use super::Cursor;
use super::error::{DecodeError, Layer};
use super::model::{Decoded, Network, Transport, Tunnel, TunnelKind};

/// Most tunnels around each other that are followed. An overlay of containers over a provider's network has two.
pub const TUNNELS_MAX: u8 = 4;

/// Decodes the next header of something, as the functions of this module's neighbours do.
type Decode = fn(Cursor<'_>, &mut Decoded) -> Result<(), DecodeError>;

/// Decodes what a tunnel carries, from its first byte at `cursor`. When nothing of it can be understood, the headers
/// around it stay, with the error.
pub(super) fn enter(
    tunnel: Tunnel,
    cursor: Cursor<'_>,
    decoded: &mut Decoded,
    inner: Decode,
) -> Result<(), DecodeError> {
    // Where only the outer headers were kept, they are the packet's headers.
    if cursor.bytes.is_empty() {
        return Ok(());
    }
    if decoded.tunnel_depth >= cursor.tunnels_max {
        let too_many = DecodeError::TooMany { layer: layer(tunnel.kind), offset: cursor.offset };
        return if cursor.tunnels_max == TUNNELS_MAX { Err(too_many) } else { Ok(()) };
    }
    let outer = *decoded;
    decoded.tunnel = Some(tunnel);
    decoded.tunnel_depth += 1;
    decoded.network = Network::None;
    decoded.ports = None;
    decoded.transport = Transport::None;
    let result = inner(cursor, decoded);
    if result.is_err() && decoded.network == Network::None {
        *decoded = outer;
    }
    result
}

/// As [`enter`], for tunnels that are only known by a port: what cannot be understood is no tunnel.
pub(super) fn try_enter(
    tunnel: Tunnel,
    cursor: Cursor<'_>,
    decoded: &mut Decoded,
    inner: Decode,
) -> Result<(), DecodeError> {
    let depth = decoded.tunnel_depth;
    let result = enter(tunnel, cursor, decoded, inner);
    if decoded.tunnel_depth > depth || matches!(result, Err(DecodeError::TooMany { .. })) {
        result
    } else {
        Ok(())
    }
}

fn layer(kind: TunnelKind) -> Layer {
    match kind {
        TunnelKind::IpInIp => Layer::IpInIp,
        TunnelKind::Gre => Layer::Gre,
        TunnelKind::Erspan => Layer::Erspan,
        TunnelKind::Vxlan => Layer::Vxlan,
        TunnelKind::Geneve => Layer::Geneve,
        TunnelKind::GtpU => Layer::GtpU,
    }
}
