//! Packets in packets.

use super::model::map_ipv4;
use super::samples::{CLIENT_V4, SERVER_V4, ipv4, tcp, tunnels, udp};
use super::*;

fn wire_len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

#[test]
fn every_tunnel_gives_the_innermost_packet_and_the_one_around_it() {
    for (link_type, bytes, kind, id) in tunnels() {
        let inner = decode(link_type, &bytes, wire_len(&bytes));
        assert_eq!((inner.tunnel, inner.tunnel_depth), (Some(Tunnel { kind, id }), 1), "{bytes:02x?}");
        assert_eq!(inner.ports, Some(Ports { source: 40_000, destination: 443 }), "{kind:?}");
        assert_eq!((inner.payload_len, inner.error), (5, None), "{kind:?}");
        assert_eq!(&bytes[inner.header_len as usize..], b"hello", "{kind:?}");
        let is_frame = matches!(kind, TunnelKind::Vxlan | TunnelKind::Geneve | TunnelKind::Erspan);
        assert!(!is_frame || inner.link.source_mac.is_some(), "{kind:?}");

        let outer = decode_outer(link_type, &bytes, wire_len(&bytes), 0);
        assert_eq!((outer.tunnel, outer.tunnel_depth, outer.error), (None, 0, None), "{kind:?}");
        assert_eq!(outer.network_offset, 0);
        assert_eq!(outer.ip().map(|ip| ip.total_len), Some(wire_len(&bytes)));
        assert!(outer.header_len < inner.header_len);
    }
}

#[test]
fn a_tunnel_in_a_tunnel() {
    let (_, carried, ..) = tunnels().swap_remove(3);
    let packet = ipv4([203, 0, 113, 1], [203, 0, 113, 2], 4, 1, &carried);
    let inner = decode(link_type::RAW, &packet, wire_len(&packet));
    assert_eq!((inner.tunnel_depth, inner.tunnel.map(|tunnel| tunnel.kind)), (2, Some(TunnelKind::Gre)));
    let addresses = |tunnels_max| {
        let decoded = decode_outer(link_type::RAW, &packet, wire_len(&packet), tunnels_max);
        decoded.ip().map(|ip| ip.source).unwrap()
    };
    assert_eq!(addresses(0), map_ipv4([203, 0, 113, 1]));
    assert_eq!(addresses(1), map_ipv4([192, 0, 2, 1]));
    assert_eq!(addresses(2), map_ipv4(CLIENT_V4));
}

#[test]
fn tunnels_are_bounded() {
    let mut packet = ipv4(CLIENT_V4, SERVER_V4, 6, 7, &tcp(1, 2, 0, 0, 0));
    for _ in 0..=TUNNELS_MAX {
        packet = ipv4(CLIENT_V4, SERVER_V4, 4, 1, &packet);
    }
    let decoded = decode(link_type::RAW, &packet, wire_len(&packet));
    let offset = 20 * (u32::from(TUNNELS_MAX) + 1);
    assert_eq!(decoded.error, Some(DecodeError::TooMany { layer: Layer::IpInIp, offset }));
    assert_eq!(decoded.tunnel_depth, TUNNELS_MAX);
    assert!(decoded.ip().is_some());
}

/// A port proves nothing: what is no tunnel stays a datagram, and no error is made of it.
#[test]
fn datagrams_to_the_ports_of_tunnels() {
    for port in [4789, 8472, 6081, 2152] {
        for payload in [&b"no tunnel at all, only text"[..], &[0; 40], &[0xff; 40], b""] {
            let len = u16::try_from(payload.len()).unwrap();
            let packet = ipv4(CLIENT_V4, SERVER_V4, 17, 1, &[&udp(1, port, len)[..], payload].concat());
            let decoded = decode(link_type::RAW, &packet, wire_len(&packet));
            assert_eq!((decoded.tunnel, decoded.error), (None, None), "{port}: {payload:02x?}");
            assert_eq!(decoded.ports.map(|ports| ports.destination), Some(port));
            assert_eq!(decoded.payload_len, u32::from(len));
        }
    }
}

/// Lengths that end a datagram within the tunnel's header: what lies behind them is not the datagram's.
#[test]
fn datagrams_that_end_within_the_header_of_a_tunnel() {
    for (link_type, whole, kind, _) in tunnels() {
        let outer = decode_outer(link_type, &whole, wire_len(&whole), 0);
        let (Transport::Udp { .. }, Some(ports)) = (outer.transport, outer.ports) else { continue };
        for len in 0..8_u16 {
            let mut packet = whole.clone();
            let at = outer.transport_offset as usize + 4;
            packet[at..at + 2].copy_from_slice(&(8 + len).to_be_bytes());
            let decoded = decode(link_type, &packet, wire_len(&packet));
            assert_eq!((decoded.tunnel, decoded.error), (None, None), "{kind:?}, {len} bytes");
            assert_eq!((decoded.ports, decoded.payload_len), (Some(ports), u32::from(len)), "{kind:?}");
        }
    }
}

/// However little was captured, there is a packet with its addresses: the inner one as soon as they are there.
#[test]
fn every_cut_tunnel_gives_an_address() {
    for (link_type, bytes, kind, _) in tunnels() {
        let whole = decode(link_type, &bytes, wire_len(&bytes));
        let outer = decode_outer(link_type, &bytes, wire_len(&bytes), 0);
        for len in outer.transport_offset as usize..bytes.len() {
            let cut = decode(link_type, &bytes[..len], wire_len(&bytes));
            let ip = cut.ip().unwrap_or_else(|| panic!("{kind:?} cut to {len}"));
            if len >= whole.transport_offset as usize {
                assert_eq!(cut.ip(), whole.ip(), "{kind:?} cut to {len}");
            } else {
                assert!([outer.ip(), whole.ip()].contains(&Some(ip)), "{kind:?} cut to {len}");
            }
        }
    }
}

/// What a first fragment carries is cut: lengths in it would seem to lie.
#[test]
fn fragments_of_tunnels_wait_for_the_whole() {
    for (link_type, mut bytes, kind, _) in tunnels() {
        if bytes[0] >> 4 != 4 {
            continue;
        }
        bytes[6] = 0x20;
        let decoded = decode(link_type, &bytes, wire_len(&bytes));
        assert_eq!((decoded.tunnel, decoded.error), (None, None), "{kind:?}");
    }
}
