//! Pairs are made when the evidence is there, and only then.

use super::*;
use crate::decode::samples::{CLIENT_V4, SERVER_V4, SplitMix, corpus, ethernet, ipv4, ipv6, tcp, udp};
use crate::decode::{decode, decode_parts, link_type};

/// A record of raw IP whose headers and payload are not split.
struct Record {
    id: u64,
    time_ns: u64,
    direction: Direction,
    netns_cookie: u64,
    bytes: Vec<u8>,
    payload: Option<Vec<u8>>,
    gso_size: u16,
}

fn record(id: u64, direction: Direction, bytes: Vec<u8>) -> Record {
    Record { id, time_ns: id * 1000, direction, netns_cookie: 1, bytes, payload: None, gso_size: 0 }
}

fn push(matcher: &mut DuplicateMatcher, record: &Record) -> Option<u64> {
    let payload_len = record.payload.as_ref().map_or(0, Vec::len);
    let wire_len = u32::try_from(record.bytes.len() + payload_len).unwrap();
    let decoded = decode(link_type::RAW, &record.bytes, wire_len);
    let candidate = Candidate {
        id: record.id,
        time_ns: record.time_ns,
        direction: record.direction,
        socket_cookie: record.id + 100,
        netns_cookie: record.netns_cookie,
        interface: None,
        wire_len,
        gso_size: record.gso_size,
        decoded: &decoded,
        header: &record.bytes,
        payload: record.payload.as_deref(),
    };
    let pair = matcher.feed(&candidate)?;
    assert_eq!((pair.copy_id, pair.receiver_cookie), (record.id, record.id + 100));
    assert_eq!(pair.sender_cookie, pair.first_id + 100);
    Some(pair.first_id)
}

fn segment(sequence: u32, id: u16) -> Vec<u8> {
    ipv4(CLIENT_V4, SERVER_V4, 6, id, &tcp(40_000, 443, sequence, 1, 0x10))
}

fn datagram() -> Vec<u8> {
    ipv6(17, &udp(40_000, 53, 0))
}

use Direction::{Egress, Ingress};

#[test]
fn an_arrival_is_the_copy_of_its_departure() {
    let mut matcher = DuplicateMatcher::default();
    assert_eq!(push(&mut matcher, &record(1, Egress, segment(1000, 7))), None);
    assert_eq!(push(&mut matcher, &record(2, Egress, segment(2000, 8))), None);
    assert_eq!(push(&mut matcher, &record(3, Ingress, segment(2000, 8))), Some(2));
    assert_eq!(push(&mut matcher, &record(4, Ingress, segment(1000, 7))), Some(1));
    assert_eq!(push(&mut matcher, &record(5, Ingress, segment(1000, 7))), None, "each has one partner");
}

#[test]
fn whatever_differs_is_another_packet() {
    let original = segment(1000, 7);
    let mut other_ttl = original.clone();
    other_ttl[8] = 63;
    let mut other_window = original.clone();
    other_window[34] ^= 1;
    let mut other_way = original.clone();
    other_way[12..16].copy_from_slice(&SERVER_V4);
    let longer = [original.clone(), vec![0]].concat();
    for different in [segment(1001, 7), segment(1000, 8), other_ttl, other_window, other_way, longer] {
        let mut matcher = DuplicateMatcher::default();
        push(&mut matcher, &record(1, Egress, original.clone()));
        assert_eq!(push(&mut matcher, &record(2, Ingress, different)), None);
    }
}

/// Of headers that lie about their lengths, what tells packets apart is not read.
#[test]
fn headers_that_lie_make_no_copies() {
    // The header would be shorter than its fixed part, or the packet than its header.
    let packets: [fn(u32) -> Vec<u8>; 3] = [
        |sequence| {
            let mut segment = tcp(40_000, 443, sequence, 1, 0x10);
            segment[12] = 0x40;
            ipv6(6, &segment)
        },
        |sequence| {
            let mut packet = ipv6(6, &tcp(40_000, 443, sequence, 1, 0x10));
            packet[4..6].copy_from_slice(&[0, 12]);
            packet
        },
        |sequence| {
            let mut packet = segment(sequence, 7);
            packet[2..4].copy_from_slice(&[0, 19]);
            packet
        },
    ];
    for packet in packets {
        let mut matcher = DuplicateMatcher::default();
        push(&mut matcher, &record(1, Egress, packet(1000)));
        assert_eq!(push(&mut matcher, &record(2, Ingress, packet(2000))), None);
    }
}

/// A device between two namespaces fills checksums in that loopback leaves half done.
#[test]
fn checksums_do_not_count() {
    let mut matcher = DuplicateMatcher::default();
    for (transport_checksum, bytes) in [(36, segment(1, 1)), (46, datagram())] {
        let mut filled = bytes.clone();
        filled[transport_checksum] = 0xab;
        if filled[0] == 0x45 {
            filled[10..12].copy_from_slice(&[1, 2]);
        }
        push(&mut matcher, &record(1, Egress, bytes));
        assert_eq!(push(&mut matcher, &record(2, Ingress, filled)), Some(1));
    }
}

/// IPv6 datagrams have no identification: the k-th of equal ones that arrives is the k-th that left.
#[test]
fn what_looks_alike_keeps_its_order() {
    let mut matcher = DuplicateMatcher::default();
    for id in 1..=3 {
        push(&mut matcher, &record(id, Egress, datagram()));
    }
    let partners: Vec<_> = (4..=7).map(|id| push(&mut matcher, &record(id, Ingress, datagram()))).collect();
    assert_eq!(partners, [Some(1), Some(2), Some(3), None]);
}

#[test]
fn payloads_tell_datagrams_apart() {
    let long = |first: u8, len: usize| [vec![first], vec![0; len - 1]].concat();
    let with_payload = |id, direction, payload| Record {
        payload: Some(payload),
        ..record(id, direction, ipv6(17, &[0, 1, 0, 2, 0, 0, 0, 0]))
    };
    let mut matcher = DuplicateMatcher::default();
    push(&mut matcher, &with_payload(1, Egress, long(1, 200)));
    push(&mut matcher, &with_payload(2, Egress, long(2, 200)));
    push(&mut matcher, &with_payload(3, Egress, long(3, 200)));
    assert_eq!(push(&mut matcher, &with_payload(4, Ingress, long(2, 200))), Some(2));
    assert_eq!(push(&mut matcher, &with_payload(5, Ingress, long(9, 200))), None);
    assert_eq!(push(&mut matcher, &with_payload(6, Ingress, long(1, 200))), Some(1));
    assert_eq!(push(&mut matcher, &with_payload(7, Ingress, long(3, 200))), Some(3));
}

/// When many arrivals were lost, the departures without partner must not stand in the way of those that follow.
#[test]
fn lost_arrivals_do_not_block_the_others() {
    let lost = COMPARED_MAX as u64 * 5;
    let numbered = |id: u64, direction, number: u64| Record {
        payload: Some(number.to_be_bytes().to_vec()),
        ..record(id, direction, ipv6(17, &[0, 1, 0, 2, 0, 0, 0, 0]))
    };
    let mut matcher = DuplicateMatcher::default();
    for number in 0..lost {
        push(&mut matcher, &numbered(number, Egress, number));
    }
    let mut matched = 0;
    for number in lost..lost + 100 {
        push(&mut matcher, &numbered(2 * number, Egress, number));
        let partner = push(&mut matcher, &numbered(2 * number + 1, Ingress, number));
        assert!(partner.is_none_or(|partner| partner == 2 * number));
        matched += u64::from(partner.is_some());
    }
    assert!(matched >= 90, "{matched} of 100");
}

#[test]
fn payloads_that_were_captured_in_part_are_compared_in_part() {
    let print = |bytes: &[u8]| PayloadPrint::of(Some(bytes));
    let whole: Vec<u8> = (0..200).collect();
    assert!(print(&whole).agrees(&print(&whole[..100])));
    assert!(print(&whole).agrees(&print(&[])));
    assert!(print(&whole).agrees(&PayloadPrint::of(None)));
    assert!(!print(&whole).agrees(&print(&whole[1..101])));
    assert!(!print(&whole[..50]).agrees(&print(&whole[1..51])));
}

#[test]
fn a_departure_waits_for_a_second() {
    let mut matcher = DuplicateMatcher::default();
    let at = |id, time_ns, direction| Record { time_ns, ..record(id, direction, datagram()) };
    push(&mut matcher, &at(1, 0, Egress));
    push(&mut matcher, &at(2, 10, Egress));
    assert_eq!(push(&mut matcher, &at(3, WINDOW_NS + 1, Ingress)), Some(2));
    assert_eq!(matcher.waiting_len(), 1);
    assert_eq!(push(&mut matcher, &at(4, 3 * WINDOW_NS, Ingress)), None);
    assert_eq!((matcher.waiting_len(), matcher.chains.len()), (0, 0), "nothing is kept of what is over");
}

#[test]
fn an_arrival_is_never_the_copy_of_a_later_departure() {
    let mut matcher = DuplicateMatcher::default();
    assert_eq!(push(&mut matcher, &record(1, Ingress, datagram())), None);
    push(&mut matcher, &Record { time_ns: 50, ..record(2, Egress, datagram()) });
    assert_eq!(push(&mut matcher, &Record { time_ns: 49, ..record(3, Ingress, datagram()) }), None);
}

/// Containers talk to themselves with the same addresses; between namespaces, a link has other ones.
#[test]
fn loopback_addresses_belong_to_their_namespace() {
    let local = ipv4([127, 0, 0, 1], [127, 0, 0, 1], 17, 0, &udp(1, 2, 0));
    let between = ipv4(CLIENT_V4, SERVER_V4, 17, 0, &udp(1, 2, 0));
    for (bytes, expected) in [(local, None), (between, Some(1))] {
        let mut matcher = DuplicateMatcher::default();
        push(&mut matcher, &record(1, Egress, bytes.clone()));
        let elsewhere = Record { netns_cookie: 2, ..record(2, Ingress, bytes) };
        assert_eq!(push(&mut matcher, &elsewhere), expected);
    }
}

#[test]
fn memory_is_bounded() {
    let mut matcher = DuplicateMatcher::default();
    for id in 0..WAITING_MAX as u64 + 1000 {
        let bytes = segment(id as u32, 0);
        push(&mut matcher, &Record { time_ns: 0, ..record(id, Egress, bytes) });
    }
    assert_eq!((matcher.waiting_len(), matcher.chains.len()), (WAITING_MAX, WAITING_MAX));
    let oldest = Record { time_ns: 0, ..record(1 << 40, Ingress, segment(999, 0)) };
    assert_eq!(push(&mut matcher, &oldest), None);
    let next = Record { time_ns: 0, ..record(1 << 40, Ingress, segment(1000, 0)) };
    assert_eq!(push(&mut matcher, &next), Some(1000));
}

/// The matcher agrees with a plain search through all departures, whatever comes in which order.
#[test]
fn agrees_with_a_plain_search() {
    let mut random = SplitMix(7);
    let mut matcher = DuplicateMatcher::default();
    let mut departures: Vec<(u64, u64, u32)> = Vec::new();
    let (mut pairs, mut time_ns) = (0, 0);
    for id in 0..30_000 {
        time_ns += random.next() % (WINDOW_NS / 20);
        let kind = random.next() as u32 % 12;
        let direction = if random.below(2) == 0 { Egress } else { Ingress };
        let found = push(&mut matcher, &Record { time_ns, ..record(id, direction, segment(kind, 0)) });
        departures.retain(|(_, left_ns, _)| left_ns + WINDOW_NS >= time_ns);
        match direction {
            Egress => departures.push((id, time_ns, kind)),
            _ => {
                let place = departures.iter().position(|(_, _, known)| *known == kind);
                assert_eq!(found, place.map(|place| departures.remove(place).0), "record {id}");
                pairs += usize::from(found.is_some());
            }
        }
    }
    assert!(pairs > 5000, "{pairs} pairs are too few to show anything");
}

#[test]
fn any_bytes_at_all() {
    let corpus = corpus();
    let mut random = SplitMix(3);
    let mut matcher = DuplicateMatcher::default();
    for id in 0..40_000 {
        let (link_type, mut bytes) = corpus[random.below(corpus.len())].clone();
        if random.below(2) == 0 {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        let (header, payload) = bytes.split_at(random.below(bytes.len() + 1));
        let decoded = decode_parts(link_type, header, payload, 0);
        let direction = if random.below(2) == 0 { Egress } else { Ingress };
        let candidate = Candidate {
            id,
            time_ns: random.next() >> random.below(64),
            direction,
            socket_cookie: 1,
            netns_cookie: 1,
            interface: [None, Some(1), Some(2)][random.below(3)],
            wire_len: random.next() as u32,
            gso_size: 0,
            decoded: &decoded,
            header,
            payload: Some(payload),
        };
        let pair = matcher.feed(&candidate);
        let may_have = direction == Ingress || candidate.interface.is_some();
        assert!(pair.is_none_or(|pair| may_have && pair.copy_id == id && pair.first_id < id));
    }
}

/// A TCP packet over IPv4 with so many payload bytes that were not captured, and the GSO size.
fn bulk(
    id: u64,
    direction: Direction,
    sequence: u32,
    ip_id: u16,
    flags: u8,
    payload_len: usize,
    gso_size: u16,
) -> Record {
    let mut bytes = ipv4(CLIENT_V4, SERVER_V4, 6, ip_id, &tcp(40_000, 443, sequence, 1, flags));
    let total = u16::try_from(bytes.len() + payload_len).unwrap_or(0);
    bytes[2..4].copy_from_slice(&total.to_be_bytes());
    Record { payload: Some(vec![0; payload_len]), gso_size, ..record(id, direction, bytes) }
}

/// Loopback cuts what is longer than the longest packet: one departure, two arrivals.
#[test]
fn pieces_of_a_departure_are_its_copies() {
    const ACK: u8 = 0x10;
    const PSH_ACK: u8 = 0x18;
    let mut matcher = DuplicateMatcher::default();
    push(&mut matcher, &bulk(1, Egress, 1000, 7, PSH_ACK, 2500, 1000));
    assert_eq!(push(&mut matcher, &bulk(2, Ingress, 1000, 7, ACK, 1000, 0)), Some(1));
    assert_eq!(push(&mut matcher, &bulk(3, Ingress, 2000, 8, ACK, 1000, 0)), Some(1));
    assert_eq!(push(&mut matcher, &bulk(4, Ingress, 2000, 8, ACK, 1000, 0)), None, "each piece arrives once");
    assert_eq!(push(&mut matcher, &bulk(5, Ingress, 3000, 9, PSH_ACK, 400, 0)), None, "the rest is longer");
    assert_eq!(
        push(&mut matcher, &bulk(6, Ingress, 3000, 8, PSH_ACK, 500, 0)),
        None,
        "another identification"
    );
    assert_eq!(
        push(&mut matcher, &bulk(7, Ingress, 2500, 8, PSH_ACK, 1000, 0)),
        None,
        "not where pieces begin"
    );
    assert_eq!(push(&mut matcher, &bulk(8, Ingress, 3000, 9, PSH_ACK, 500, 0)), Some(1));
}

/// Over IPv6 such a departure has a hop-by-hop header with its length, which its pieces don't have.
#[test]
fn pieces_of_a_jumbo_packet_are_its_copies() {
    let headers = |sequence| ipv6(6, &tcp(40_000, 443, sequence, 1, 0x10));
    let with_payload = |id, direction, bytes, payload_len, gso_size| Record {
        payload: Some(vec![0; payload_len]),
        gso_size,
        ..record(id, direction, bytes)
    };
    let piece = |id, sequence, payload_len: u16| {
        let mut bytes = headers(sequence);
        let len = u16::try_from(bytes.len()).unwrap() - 40 + payload_len;
        bytes[4..6].copy_from_slice(&len.to_be_bytes());
        with_payload(id, Ingress, bytes, usize::from(payload_len), 0)
    };
    let mut jumbo = headers(1000);
    jumbo[4..7].fill(0);
    // Next header TCP; a jumbo payload option of 20 bytes of TCP header, 70,000 of payload and these 8.
    jumbo.splice(40..40, [6, 0, 0xc2, 4, 0, 1, 0x11, 0x8c]);
    let mut matcher = DuplicateMatcher::default();
    push(&mut matcher, &with_payload(1, Egress, jumbo, 70_000, 40_000));
    assert_eq!(push(&mut matcher, &piece(2, 1000, 40_000)), Some(1));
    assert_eq!(push(&mut matcher, &piece(3, 41_000, 29_999)), None, "the rest is longer");
    assert_eq!(push(&mut matcher, &piece(4, 41_000, 30_000)), Some(1));
}

#[test]
fn a_departure_that_arrived_whole_has_no_pieces() {
    let mut matcher = DuplicateMatcher::default();
    push(&mut matcher, &bulk(1, Egress, 1000, 7, 0x10, 2000, 1000));
    assert_eq!(push(&mut matcher, &bulk(2, Ingress, 1000, 7, 0x10, 2000, 1000)), Some(1));
    assert_eq!(push(&mut matcher, &bulk(3, Ingress, 1000, 7, 0x10, 1000, 0)), None);
}

/// An Ethernet frame seen at an interface.
fn see(
    matcher: &mut DuplicateMatcher,
    id: u64,
    (interface, direction): (u32, Direction),
    packet: &[u8],
) -> Option<u64> {
    let ether_type = match packet[0] >> 4 {
        4 => 0x0800,
        6 => 0x86dd,
        _ => 0x0806,
    };
    // Each interface has its addresses; short frames that arrive have padding.
    let mut frame = ethernet(ether_type, packet);
    frame[5] = interface as u8;
    let wire_len = frame.len() as u32 + if direction == Ingress { 6 } else { 0 };
    let decoded = decode(link_type::ETHERNET, &frame, wire_len);
    let candidate = Candidate {
        id,
        time_ns: id * 1000,
        direction,
        socket_cookie: if direction == Egress { 9 } else { 0 },
        netns_cookie: 1,
        interface: Some(interface),
        wire_len,
        gso_size: 0,
        decoded: &decoded,
        header: &frame,
        payload: None,
    };
    let pair = matcher.feed(&candidate)?;
    assert_eq!(pair.copy_id, id);
    Some(pair.first_id)
}

fn with_ttl(mut packet: Vec<u8>, ttl: u8) -> Vec<u8> {
    let at = if packet[0] >> 4 == 4 { 8 } else { 7 };
    packet[at] = ttl;
    packet
}

#[test]
fn a_packet_is_one_wherever_it_is_seen() {
    for packet in [segment(1, 7), datagram()] {
        let mut matcher = DuplicateMatcher::default();
        let (before, after) = (with_ttl(packet.clone(), 64), with_ttl(packet, 63));
        assert_eq!(see(&mut matcher, 1, (1, Ingress), &before), None);
        assert_eq!(see(&mut matcher, 2, (2, Ingress), &before), Some(1), "the bridge of the first one");
        assert_eq!(see(&mut matcher, 3, (3, Egress), &after), Some(1), "routed");
        assert_eq!(see(&mut matcher, 4, (4, Egress), &after), Some(1), "the device below");
    }
    let mut matcher = DuplicateMatcher::default();
    see(&mut matcher, 1, (1, Ingress), &with_ttl(segment(1, 7), 64));
    let back = see(&mut matcher, 2, (1, Egress), &with_ttl(segment(1, 7), 63));
    assert_eq!(back, Some(1), "routed back to where it came from");
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &[7; 20]].concat();
    let mut matcher = DuplicateMatcher::default();
    assert_eq!(see(&mut matcher, 1, (1, Ingress), &arp), None);
    assert_eq!(see(&mut matcher, 2, (2, Egress), &arp), Some(1), "bridged");
    assert_eq!(see(&mut matcher, 3, (2, Egress), &arp), None, "asked again");
}

#[test]
fn what_is_seen_again_at_one_place_is_another_packet() {
    let mut matcher = DuplicateMatcher::default();
    let (before, after) = (with_ttl(datagram(), 64), with_ttl(datagram(), 63));
    for first in [1, 3] {
        assert_eq!(see(&mut matcher, first, (1, Ingress), &before), None);
        assert_eq!(see(&mut matcher, first + 1, (2, Egress), &after), Some(first));
    }
    // A run of the same that is forwarded in the order in which it came.
    for id in 10..20 {
        assert_eq!(see(&mut matcher, id, (1, Ingress), &before), None);
    }
    for id in 20..30 {
        assert_eq!(see(&mut matcher, id, (2, Egress), &after), Some(id - 10));
    }
}

#[test]
fn other_packets_are_not_copies_of_frames() {
    let packet = with_ttl(segment(1, 7), 64);
    let mut other_address = packet.clone();
    other_address[16] ^= 1;
    let routed = |ttl| with_ttl(packet.clone(), ttl);
    for (place, other) in [
        ((2, Egress), with_ttl(segment(2, 7), 64)),
        ((2, Egress), with_ttl(segment(1, 8), 63)),
        ((2, Egress), other_address),
        ((2, Egress), routed(62)),
        ((2, Egress), routed(65)),
        ((2, Ingress), routed(63)),
        ((1, Ingress), routed(64)),
    ] {
        let mut matcher = DuplicateMatcher::default();
        see(&mut matcher, 1, (1, Ingress), &packet);
        assert_eq!(see(&mut matcher, 2, place, &other), None, "{place:?}");
    }
    let mut matcher = DuplicateMatcher::default();
    push(&mut matcher, &record(1, Egress, packet.clone()));
    assert_eq!(see(&mut matcher, 2, (1, Ingress), &packet), None, "seen at a socket");
}

#[test]
fn frames_take_bounded_memory() {
    let mut matcher = DuplicateMatcher::default();
    for id in 1..WAITING_MAX as u64 + 1000 {
        see(&mut matcher, id, (1, Ingress), &segment(id as u32, 0));
        see(&mut matcher, id, (1, Ingress), &datagram());
    }
    assert!(matcher.waiting_len() <= WAITING_MAX);
    see(&mut matcher, 10_000_000, (1, Ingress), &datagram());
    assert_eq!(matcher.waiting_len(), 1, "nothing is kept of what is over");
    matcher.clear();
    assert_eq!(see(&mut matcher, 10_000_001, (2, Egress), &datagram()), None);
}
