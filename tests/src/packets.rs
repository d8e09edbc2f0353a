//! Comparing what kcap recorded with what an interface showed.
//!
//! They are the same packets with the same bytes, with one exception: TCP may hand down a packet larger than its
//! interface takes. It is recorded as it left the socket, and seen in pieces after the kernel cut it.

use std::collections::BTreeMap;

/// IP protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
const HOP_BY_HOP: u8 = 0;
const HOP_BY_HOP_HEADER_LEN: usize = 8;
const IPV4_HEADER_LEN_MIN: usize = 20;
const IPV6_HEADER_LEN: usize = 40;
const TCP_HEADER_LEN_MIN: usize = 20;

/// The packets from or to a port.
pub fn of_port(packets: &[Vec<u8>], port: u16) -> Vec<&[u8]> {
    let has_port = |packet: &&[u8]| {
        transport(packet).is_some_and(|(_, header)| {
            header.chunks_exact(2).take(2).any(|bytes| bytes == port.to_be_bytes())
        })
    };
    packets.iter().map(Vec::as_slice).filter(has_port).collect()
}

/// Fails unless both hold the same packets, each equally often, where pieces of a packet count as that packet.
#[track_caller]
pub fn assert_same(recorded: &[&[u8]], seen: &[&[u8]]) {
    assert!(!seen.is_empty(), "there is nothing to compare with");
    let mut counts: BTreeMap<&[u8], i64> = BTreeMap::new();
    for packet in seen {
        *counts.entry(packet).or_default() += 1;
    }
    for packet in recorded {
        *counts.entry(packet).or_default() -= 1;
    }
    let mut pieces: Vec<&[u8]> = Vec::new();
    for (packet, count) in &counts {
        pieces.extend((0..*count).map(|_| *packet));
    }
    for (packet, _) in counts.iter().filter(|(_, count)| **count < 0) {
        take_pieces(packet, &mut pieces);
    }
    assert!(pieces.is_empty(), "seen, but not recorded: {}", hex(pieces[0]));
}

/// Takes the pieces of a packet away; fails when they don't make up the packet.
#[track_caller]
fn take_pieces(whole: &[u8], pieces: &mut Vec<&[u8]>) {
    let Some(expected) = Segment::of(whole) else { panic!("recorded, but not seen: {}", hex(whole)) };
    let is_piece = |piece: &Segment<'_>| {
        let offset = piece.sequence.wrapping_sub(expected.sequence) as usize;
        piece.flow == expected.flow && offset < expected.payload.len()
    };
    let (mut own, rest): (Vec<&[u8]>, Vec<&[u8]>) =
        pieces.iter().partition(|packet| Segment::of(packet).is_some_and(|piece| is_piece(&piece)));
    own.sort_by_key(|packet| Segment::of(packet).map(|piece| piece.sequence.wrapping_sub(expected.sequence)));
    let payload: Vec<u8> = own
        .iter()
        .filter_map(|packet| Segment::of(packet))
        .flat_map(|piece| piece.payload.to_vec())
        .collect();
    assert!(own.len() > 1 && payload == expected.payload, "recorded, but not seen: {}", hex(whole));
    *pieces = rest;
}

/// What tells a TCP segment apart.
struct Segment<'a> {
    /// Addresses and ports.
    flow: [&'a [u8]; 2],
    sequence: u32,
    payload: &'a [u8],
}

impl<'a> Segment<'a> {
    fn of(packet: &'a [u8]) -> Option<Self> {
        let (TCP, header) = transport(packet)? else { return None };
        let header_len = usize::from(*header.get(12)? >> 4) * 4;
        let addresses = if packet[0] >> 4 == 4 { &packet[12..20] } else { &packet[8..40] };
        Some(Self {
            flow: [addresses, header.get(..4)?],
            sequence: u32::from_be_bytes(header.get(4..8)?.try_into().ok()?),
            payload: header.get(header_len.max(TCP_HEADER_LEN_MIN)..)?,
        })
    }
}

/// Protocol and transport header of TCP or UDP over IPv4, or over IPv6 without extension headers other than the hop-by-hop one
/// that the kernel puts before packets of more than 64 KiB (RFC 2675).
fn transport(packet: &[u8]) -> Option<(u8, &[u8])> {
    let (protocol, header_len) = match packet.first()? >> 4 {
        4 if packet.len() >= IPV4_HEADER_LEN_MIN => (packet[9], usize::from(packet[0] & 0xf) * 4),
        6 if packet.len() >= IPV6_HEADER_LEN && packet[6] != HOP_BY_HOP => (packet[6], IPV6_HEADER_LEN),
        6 => (*packet.get(IPV6_HEADER_LEN)?, IPV6_HEADER_LEN + HOP_BY_HOP_HEADER_LEN),
        _ => return None,
    };
    matches!(protocol, TCP | UDP).then(|| packet.get(header_len..)).flatten().map(|header| (protocol, header))
}

/// The start of a packet in hexadecimal.
fn hex(packet: &[u8]) -> String {
    let start: String = packet.iter().take(80).map(|byte| format!("{byte:02x}")).collect();
    format!("{start} ({} bytes)", packet.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TCP segment over IPv4 from port 1 to port 2.
    fn segment(sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; IPV4_HEADER_LEN_MIN + TCP_HEADER_LEN_MIN];
        packet[0] = 0x45;
        packet[9] = TCP;
        packet[20..24].copy_from_slice(&[0, 1, 0, 2]);
        packet[24..28].copy_from_slice(&sequence.to_be_bytes());
        packet[32] = 0x50;
        packet.extend_from_slice(payload);
        packet
    }

    #[test]
    fn pieces_make_up_a_packet() {
        let (whole, first, second) =
            (segment(u32::MAX, b"abcd"), segment(u32::MAX, b"abc"), segment(2, b"d"));
        assert_same(&[&whole], &[&second, &first]);
        assert_same(&[&whole, &first, &second], &[&second, &whole, &first]);
    }

    #[test]
    #[should_panic(expected = "recorded, but not seen")]
    fn a_missing_piece_shows() {
        assert_same(&[&segment(7, b"abcd")], &[&segment(7, b"abc")]);
    }

    #[test]
    #[should_panic(expected = "seen, but not recorded")]
    fn a_packet_that_was_not_recorded_shows() {
        assert_same(&[&segment(7, b"ab")], &[&segment(7, b"ab"), &segment(9, b"c")]);
    }

    #[test]
    #[should_panic(expected = "recorded, but not seen")]
    fn a_changed_byte_shows() {
        assert_same(&[&segment(7, b"ab")], &[&segment(7, b"ax")]);
    }
}
