//! Packets that come in pieces, in any order, more than once, or never.

use super::fragments::*;
use super::samples::{CLIENT_V4, SERVER_V4, SplitMix, ipv4, ipv6, udp};
use super::*;

/// A datagram of so many bytes that are all different from their neighbours.
fn datagram(len: u16) -> Vec<u8> {
    let mut datagram = udp(5353, 53, len);
    datagram.extend((0..len).map(|at| (at / 7) as u8 ^ at as u8));
    datagram
}

/// A fragment of IPv4.
fn fragment_v4(id: u16, offset: usize, more: bool, data: &[u8]) -> Vec<u8> {
    let mut packet = ipv4(CLIENT_V4, SERVER_V4, 17, id, data);
    let place = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
    packet[6..8].copy_from_slice(&place.to_be_bytes());
    packet
}

/// A fragment of IPv6, behind a hop-by-hop header.
fn fragment_v6(id: u32, offset: usize, more: bool, data: &[u8]) -> Vec<u8> {
    let place = offset as u16 | u16::from(more);
    let headers = [&[44, 0, 1, 4, 0, 0, 0, 0, 17, 0][..], &place.to_be_bytes(), &id.to_be_bytes()].concat();
    ipv6(0, &[headers, data.to_vec()].concat())
}

/// Cuts into fragments of this many bytes.
fn cut(data: &[u8], len: usize, fragment: impl Fn(usize, bool, &[u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
    let count = data.len().div_ceil(len);
    let piece = |number: usize| {
        let offset = number * len;
        fragment(offset, number + 1 < count, &data[offset..data.len().min(offset + len)])
    };
    (0..count).map(piece).collect()
}

fn feed(defragmenter: &mut Defragmenter, time_ns: u64, packet: &[u8]) -> Fragment {
    let decoded = decode(link_type::RAW, packet, u32::try_from(packet.len()).unwrap());
    defragmenter.feed(time_ns, time_ns, &decoded, packet)
}

/// Feeds all, and gives what the last gave.
fn feed_all(defragmenter: &mut Defragmenter, packets: &[Vec<u8>]) -> Fragment {
    packets.iter().map(|packet| feed(defragmenter, 1, packet)).last().unwrap()
}

fn whole(fragment: Fragment) -> Reassembled {
    let Fragment::Whole(whole) = fragment else { panic!("{fragment:?}") };
    whole
}

#[test]
fn fragments_in_any_order_give_the_packet() {
    let data = datagram(3000);
    let mut random = SplitMix(7);
    for round in 0..40 {
        let mut pieces = if round % 2 == 0 {
            cut(&data, 8 * (1 + random.below(180)), |offset, more, data| fragment_v4(9, offset, more, data))
        } else {
            cut(&data, 8 * (1 + random.below(180)), |offset, more, data| fragment_v6(9, offset, more, data))
        };
        if pieces.len() > 60 {
            continue;
        }
        for place in (1..pieces.len()).rev() {
            pieces.swap(place, random.below(place + 1));
        }
        let mut defragmenter = Defragmenter::default();
        let whole = whole(feed_all(&mut defragmenter, &pieces));
        let decoded = decode(link_type::RAW, &whole.bytes, u32::try_from(whole.bytes.len()).unwrap());
        assert_eq!((decoded.error, decoded.payload_len), (None, 3000));
        assert_eq!(decoded.ports, Some(Ports { source: 5353, destination: 53 }));
        assert_eq!(whole.bytes[decoded.transport_offset as usize..], data);
        assert_eq!((whole.fragments as usize, whole.overlap), (pieces.len(), Overlap::None));
        if round % 2 == 0 {
            assert_eq!(ip_checksum_status(&decoded, &whole.bytes), Some(ChecksumStatus::Good));
        }
        assert_eq!(defragmenter.counts(), FragmentCounts { reassembled: 1, ..FragmentCounts::default() });
    }
}

#[test]
fn packets_do_not_mix() {
    let (one, other) = (datagram(1000), vec![9; 1000]);
    let mut defragmenter = Defragmenter::default();
    let pieces =
        |id, data: &[u8]| cut(data, 504, move |offset, more, data| fragment_v4(id, offset, more, data));
    let (ones, others) = (pieces(1, &one), pieces(2, &other));
    assert_eq!(feed(&mut defragmenter, 1, &ones[0]), Fragment::Waiting);
    assert_eq!(feed(&mut defragmenter, 1, &others[0]), Fragment::Waiting);
    assert_eq!(whole(feed(&mut defragmenter, 1, &ones[1])).bytes[20..], one);
    assert_eq!(whole(feed(&mut defragmenter, 1, &others[1])).bytes[20..], other);
    assert_eq!(defragmenter.memory_bytes(), 0);
    let plain = ipv4(CLIENT_V4, SERVER_V4, 17, 1, &one);
    assert_eq!(feed(&mut defragmenter, 1, &plain), Fragment::None);
}

/// IPv6 can have the addresses that IPv4 is mapped to, and the protocol of IPv4 can be 0.
#[test]
fn packets_of_both_versions_do_not_mix() {
    let mut v4 = fragment_v4(9, 0, true, &[4; 8]);
    v4[9] = 0;
    let mut v6 = fragment_v6(9, 8, false, &[6; 8]);
    v6[8..24].copy_from_slice(&map_ipv4(CLIENT_V4));
    v6[24..40].copy_from_slice(&map_ipv4(SERVER_V4));
    for pair in [[&v4, &v6], [&v6, &v4]] {
        let mut defragmenter = Defragmenter::default();
        for packet in pair {
            assert_eq!(feed(&mut defragmenter, 1, packet), Fragment::Waiting);
        }
    }
}

/// The header that is kept is the first fragment's, however short those of the others are.
#[test]
fn no_packet_is_longer_than_its_length_can_say() {
    let mut first = fragment_v4(9, 0, true, &[0; 48]);
    first[0] = 0x4f; // Forty of these bytes are options.
    let last = fragment_v4(9, 65_504, false, &[0; 11]);
    for pair in [[&first, &last], [&last, &first]] {
        let mut defragmenter = Defragmenter::default();
        assert_eq!(feed(&mut defragmenter, 1, pair[0]), Fragment::Waiting);
        let second = feed(&mut defragmenter, 1, pair[1]);
        assert_eq!(second, Fragment::Rejected(FragmentError::TooLong { len: 65_575 }));
    }
}

#[test]
fn authenticated_packets_are_put_together() {
    let data = [&[6, 4][..], &[7; 62]].concat();
    let mut defragmenter = Defragmenter::default();
    let fragment = |offset: usize, more| {
        let mut packet = fragment_v4(9, offset, more, &data[offset..offset + 32]);
        packet[9] = 51;
        packet
    };
    assert_eq!(feed(&mut defragmenter, 1, &fragment(0, true)), Fragment::Waiting);
    assert_eq!(whole(feed(&mut defragmenter, 1, &fragment(32, false))).bytes[20..], data);
}

/// A packet that never becomes whole stays first in the order, and all that come after it were kept there.
#[test]
fn packets_that_are_whole_leave_no_places() {
    let mut defragmenter = Defragmenter::default();
    feed(&mut defragmenter, 1, &fragment_v4(0, 0, true, &[0; 8]));
    for id in 1..5000 {
        feed(&mut defragmenter, 1, &fragment_v4(id, 0, true, &[0; 8]));
        whole(feed(&mut defragmenter, 1, &fragment_v4(id, 8, false, &[0; 8])));
    }
    assert!(defragmenter.place_count() < 100);
}

#[test]
fn overlaps_are_told_and_the_first_wins() {
    let data = datagram(56);
    let first = fragment_v4(1, 0, true, &data[..40]);
    let last = fragment_v4(1, 40, false, &data[40..]);
    let overlapping = |byte: Option<u8>| {
        let mut bytes = data[24..48].to_vec();
        if let Some(byte) = byte {
            bytes[3] = byte;
        }
        fragment_v4(1, 24, true, &bytes)
    };
    for (middle, overlap) in [
        (first.clone(), Overlap::None),
        (overlapping(None), Overlap::Same),
        (overlapping(Some(0xee)), Overlap::Different),
    ] {
        let mut defragmenter = Defragmenter::default();
        let packet = whole(feed_all(&mut defragmenter, &[first.clone(), middle, last.clone()]));
        assert_eq!((packet.overlap, &packet.bytes[20..]), (overlap, &data[..]));
        assert_eq!(defragmenter.counts().disagreeing, u64::from(overlap == Overlap::Different));
    }
}

#[test]
fn what_cannot_be_is_rejected() {
    let data = datagram(56);
    let rejected = |packets: &[Vec<u8>]| {
        let Fragment::Rejected(error) = feed_all(&mut Defragmenter::default(), packets) else {
            panic!("taken")
        };
        error
    };
    assert_eq!(rejected(&[fragment_v4(1, 0, true, &data[..41])]), FragmentError::Length { len: 41 });
    assert_eq!(rejected(&[fragment_v4(1, 65_528, false, &data)]), FragmentError::TooLong { len: 65_612 });
    let ends = [fragment_v4(1, 40, false, &data[40..]), fragment_v4(1, 48, false, &data[40..])];
    assert_eq!(rejected(&ends), FragmentError::End);
    let gaps: Vec<_> = (0..70).map(|number| fragment_v4(1, number * 16, true, &data[..8])).collect();
    assert_eq!(rejected(&gaps[..65]), FragmentError::Gaps);
    let cut = fragment_v4(1, 0, true, &data[..40]);
    let decoded = decode(link_type::RAW, &cut[..50], 60);
    let outcome = Defragmenter::default().feed(1, 1, &decoded, &cut[..50]);
    assert_eq!(outcome, Fragment::Rejected(FragmentError::NotCaptured));
}

#[test]
fn memory_and_time_are_bounded() {
    let options = FragmentOptions { memory_bytes_max: 1 << 20, timeout_ns: 1000 };
    let mut defragmenter = Defragmenter::new(options);
    let mut given_up = Vec::new();
    for id in 0..2000_u32 {
        let far = fragment_v4(id as u16, 60_000, true, &[7; 8]);
        assert_eq!(feed(&mut defragmenter, u64::from(id) / 100, &far), Fragment::Waiting);
        given_up.extend(defragmenter.take_given_up());
    }
    let counts = defragmenter.counts();
    assert!(counts.evicted > 1900, "{counts:?}");
    assert!(defragmenter.memory_bytes() <= options.memory_bytes_max);
    let late = fragment_v4(1, 0, true, &[7; 8]);
    assert_eq!(feed(&mut defragmenter, 10_000, &late), Fragment::Waiting);
    let counts = defragmenter.counts();
    assert_eq!(counts.evicted + counts.timed_out, 2000);
    given_up.extend(defragmenter.take_given_up());
    assert_eq!(given_up.len(), 2000, "each was told once");
    let of = |reason| given_up.iter().filter(|packet| packet.reason == reason).count() as u64;
    assert_eq!((of(GivenUp::Evicted), of(GivenUp::TimedOut)), (counts.evicted, counts.timed_out));
    defragmenter.finish();
    let last = defragmenter.take_given_up();
    assert_eq!((last.len(), last[0].id, last[0].reason), (1, 1, GivenUp::Ended));
    assert_eq!(defragmenter.memory_bytes(), 0);
}

/// A packet that was given up says which of its bytes came, and which did not.
#[test]
fn what_is_missing_is_told() {
    let data = datagram(56);
    let mut defragmenter = Defragmenter::default();
    let middle = fragment_v4(7, 16, true, &data[16..32]);
    let last = fragment_v4(7, 48, false, &data[48..]);
    for (time, fragment) in [(5, &middle), (6, &last)] {
        assert_eq!(feed(&mut defragmenter, time, fragment), Fragment::Waiting);
    }
    defragmenter.finish();
    let [given_up] = &defragmenter.take_given_up()[..] else { panic!("one packet") };
    assert_eq!((given_up.first, given_up.last, given_up.fragments), (5, 6, 2));
    assert_eq!(given_up.missing().collect::<Vec<_>>(), [(0, Some(16)), (32, Some(48))]);
    assert_eq!(
        given_up.to_string(),
        "2 fragments of packet 7 from 10.0.0.1 to 10.0.0.2: bytes 16 to 32 and 48 to 64 came, 0 to 16 and 32 to 48 \
         never did: the recording ends before"
    );
    // What does not fit costs the packet what came of it before.
    feed(&mut defragmenter, 1, &fragment_v4(8, 0, true, &data[..16]));
    let odd = feed(&mut defragmenter, 2, &fragment_v4(8, 16, true, &data[16..29]));
    assert_eq!(odd, Fragment::Rejected(FragmentError::Length { len: 13 }));
    let [given_up] = &defragmenter.take_given_up()[..] else { panic!("one packet") };
    assert_eq!(given_up.missing().collect::<Vec<_>>(), [(16, None)]);
    assert!(
        given_up.to_string().ends_with("0 to 16 came, 16 on never did: a fragment came that does not fit")
    );
}

/// Whatever comes, nothing panics, and what is put together is as long as it says.
#[test]
fn any_fragments_at_all() {
    let mut random = SplitMix(3);
    let mut defragmenter = Defragmenter::default();
    for time in 0..20_000 {
        let len = random.below(5) * 8 + if random.below(4) == 0 { random.below(8) } else { 0 };
        let data: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        let (offset, more) = (random.below(8) * 8, random.below(3) > 0);
        let mut packet = if random.below(2) == 0 {
            fragment_v4(random.below(4) as u16, offset, more, &data)
        } else {
            fragment_v6(random.below(4) as u32, offset, more, &data)
        };
        if random.below(4) == 0 {
            let at = random.below(packet.len());
            packet[at] = random.next() as u8;
        }
        if let Fragment::Whole(whole) = feed(&mut defragmenter, time, &packet) {
            let decoded = decode(link_type::RAW, &whole.bytes, u32::try_from(whole.bytes.len()).unwrap());
            assert!(decoded.ip().is_some_and(|ip| !ip.is_fragment()));
        }
    }
    assert!(defragmenter.counts().reassembled > 100);
}
