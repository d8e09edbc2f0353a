//! Every variant of pcap and pcapng gives the packets that were written.

mod support;

use std::io::Write;

use kcap_format::{BlockType, Direction, PacketColumns, SegmentState, proto};
use kcap_import::limits::{INTERFACE_ADDRESS_COUNT_MAX, INTERFACE_NAME_LEN_MAX};
use kcap_import::{CaptureFile, Error};
use support::{
    FRAME_HEADER_LEN, Order, START_S, block, enhanced_packet, frame, interface, open, option, packets, pcap,
    pcap_header, pcap_record, pcapng, section, stream,
};

const ORDERS: [Order; 2] = [Order::Little, Order::Big];
const START_NS: u64 = START_S as u64 * 1_000_000_000;

#[test]
fn pcap_of_both_byte_orders_and_all_resolutions() {
    for order in ORDERS {
        for (magic, fraction_ns) in [(0xa1b2_c3d4, 1000), (0xa1b2_3c4d, 1)] {
            let mut bytes = pcap_header(order, magic, 1);
            bytes.extend(pcap_record(order, START_S, 5, 1500, &frame(7, 3)));
            bytes.extend(pcap_record(order, START_S + 1, 0, 0, b""));
            let capture = open(&bytes).unwrap();
            let packets = packets(&capture);
            assert_eq!(packets.time_ns, [START_NS + 5 * fraction_ns, START_NS + 1_000_000_000]);
            assert_eq!((packets.wire_len, packets.link_type), (vec![1500, 0], vec![1, 1]));
            assert_eq!(packets.header.get(0), Some(&frame(7, 3)[..FRAME_HEADER_LEN]));
            assert_eq!(packets.payload.get(0), Some(&[7, 7, 7][..]));
            assert_eq!((packets.payload_len, packets.payload.get(1)), (vec![3, 0], Some(&[][..])));
            assert_eq!(capture.state(), SegmentState::Sealed);
            assert_eq!(capture.losses().unwrap(), None);
        }
    }
}

#[test]
fn memory_that_is_used_again_has_nothing_of_before() {
    let order = Order::Little;
    let capture = |frames: std::ops::Range<u16>| {
        let mut bytes = pcap_header(order, 0xa1b2_c3d4, 1);
        for number in frames {
            let data = frame(number, usize::from(number % 50));
            bytes.extend(pcap_record(order, START_S, u32::from(number), data.len() as u32, &data));
        }
        open(&bytes).unwrap()
    };
    let (long, short) = (capture(0..900), capture(7..300));
    let read = |capture: &CaptureFile, columns| {
        let block = *capture.blocks().unwrap().iter().find(|b| b.block_type == BlockType::PACKETS).unwrap();
        capture.packets(&block, columns).unwrap()
    };
    let fresh = read(&short, PacketColumns::ALL);
    let times = read(&short, PacketColumns::TIME);
    for _ in 0..3 {
        read(&long, PacketColumns::ALL).recycle();
        let again = read(&short, PacketColumns::TIME);
        assert_eq!((&again.batch, &again.decoded), (&times.batch, &times.decoded));
        again.recycle();
        let again = read(&short, PacketColumns::ALL);
        assert_eq!((&again.batch, &again.decoded), (&fresh.batch, &fresh.decoded));
        again.recycle();
    }
    assert_eq!((fresh.batch.len, fresh.decoded.len(), times.batch.len), (293, 293, 293));
}

#[test]
fn pcap_of_a_patched_libpcap_has_longer_records() {
    let order = Order::Big;
    let mut bytes = pcap_header(order, 0xa1b2_cd34, 1);
    for packet_type in [4, 0] {
        let data = frame(1, 0);
        let mut record = pcap_record(order, START_S, 0, data.len() as u32, &data);
        let extra = [&order.u32(3)[..], &order.u16(0x0800), &[packet_type, 0]].concat();
        record.splice(16..16, extra);
        bytes.extend(record);
    }
    let packets = packets(&open(&bytes).unwrap());
    assert_eq!(packets.direction, [Direction::Egress as u8, Direction::Ingress as u8]);
    assert_eq!((packets.interface_index, packets.header.get(1)), (vec![3, 3], Some(&frame(1, 0)[..])));
}

#[test]
fn frame_check_sequences_in_the_header_do_not_hide_the_link_type() {
    let mut bytes = pcap_header(Order::Little, 0xa1b2_c3d4, 0x2400_0001);
    bytes.extend(pcap_record(Order::Little, START_S, 0, 42, &frame(1, 0)));
    assert_eq!(packets(&open(&bytes).unwrap()).link_type, [1]);
}

#[test]
fn pcapng_with_sections_of_both_orders_and_interfaces_of_all_clocks() {
    let mut bytes = Vec::new();
    for order in ORDERS {
        bytes.extend(section(order, &[option(order, 3, b"Linux 6"), option(order, 4, b"dumpcap")]));
        let nano = [option(order, 2, b"eth0"), option(order, 6, &[2, 0, 0, 0, 0, 9]), option(order, 9, &[9])];
        bytes.extend(interface(order, 1, 0, &nano));
        let shifted = [option(order, 9, &[0x8a]), option(order, 14, &order.u64(u64::from(START_S)))];
        bytes.extend(interface(order, 101, 96, &shifted));
        let flags = option(order, 2, &order.u32(2));
        bytes.extend(enhanced_packet(
            order,
            0,
            START_NS + 1,
            &frame(1, 1),
            &[option(order, 1, b"hi"), flags],
        ));
        bytes.extend(enhanced_packet(order, 1, 1536, &frame(2, 2)[14..], &[]));
    }
    let capture = open(&bytes).unwrap();
    let packets = packets(&capture);
    assert_eq!(packets.time_ns, [START_NS + 1, START_NS + 1_500_000_000].repeat(2));
    assert_eq!(packets.interface_index, [0, 1, 2, 3]);
    assert_eq!(packets.link_type, [1, 101].repeat(2));
    assert_eq!(packets.direction, [Direction::Egress as u8, 0].repeat(2));
    assert_eq!(packets.payload.get(3), Some(&[2, 2][..]));
    let file = capture.file_info();
    assert_eq!(file.host.as_ref().unwrap().os, "Linux 6");
    assert_eq!(file.recorder.as_ref().unwrap().name, "dumpcap");
    assert_eq!(file.origin(), proto::file_info::Origin::Import);
    let events = capture.interface_events().unwrap();
    let Some(proto::event::Event::Interface(first)) = &events[0].event else { panic!("{:?}", events[0]) };
    assert_eq!(
        (events.len(), &first.name[..], &first.mac_address[..]),
        (4, &b"eth0"[..], &[2, 0, 0, 0, 0, 9][..])
    );
}

#[test]
fn pcapng_blocks_of_all_kinds() {
    let order = Order::Little;
    let mut bytes = section(order, &[]);
    bytes.extend(interface(order, 1, 50, &[]));
    // Name resolution, decryption secrets, a systemd journal entry, a custom block, one of nobody.
    for kind in [4, 10, 9, 0xbad, 0x4000_0bad, 0x1234_5678] {
        bytes.extend(block(order, kind, &[9; 30]));
    }
    let data = frame(3, 30);
    // Simple: only the length on the wire, cut at the interface's snaplen.
    let mut simple = order.u32(data.len() as u32).to_vec();
    simple.extend(&data[..50]);
    bytes.extend(block(order, 3, &simple));
    // Obsolete: a number of 16 bits and drops in place of a number of 32.
    let micros = u64::from(START_S) * 1_000_000;
    let mut obsolete = [&order.u16(0)[..], &order.u16(77)].concat();
    for number in [(micros >> 32) as u32, micros as u32, 50, 72] {
        obsolete.extend(order.u32(number));
    }
    obsolete.extend(&data[..50]);
    bytes.extend(block(order, 2, &obsolete));
    // Packets that cannot be: of an interface that nobody described, and longer than their block.
    bytes.extend(enhanced_packet(order, 5, micros, &data, &[]));
    let mut lie = enhanced_packet(order, 0, micros, &data, &[]);
    lie[20..24].copy_from_slice(&order.u32(1000));
    bytes.extend(lie);
    let counts = [(4, 100), (5, 3), (6, 80), (7, 4)];
    let counts: Vec<_> =
        counts.into_iter().map(|(code, count)| option(order, code, &order.u64(count))).collect();
    bytes.extend(block(order, 5, &[&order.u32(0)[..], &[0; 8], &counts.concat()].concat()));

    let capture = open(&bytes).unwrap();
    let packets = packets(&capture);
    assert_eq!((packets.len, packets.wire_len.clone()), (2, vec![72, 72]));
    assert_eq!(packets.time_ns, [0, START_NS]);
    for row in 0..2 {
        let bytes = [packets.header.get(row).unwrap(), packets.payload.get(row).unwrap()].concat();
        assert_eq!(bytes, data[..50], "packet {row}");
    }
    assert_eq!((capture.bad_packets(), capture.state()), (2, SegmentState::Sealed));
    let losses = capture.losses().unwrap().unwrap();
    assert_eq!((losses.stored, losses.filtered, losses.kernel_seen), (2, 20, 100));
    let lost: Vec<_> = losses.lost.iter().map(|lost| (lost.cause(), lost.count)).collect();
    use proto::LossCause;
    assert_eq!(lost, [(LossCause::RingFull, 4), (LossCause::Unspecified, 3), (LossCause::BadRecord, 2)]);
    assert_eq!(losses.seen, losses.filtered + losses.stored + 9);
    let kinds: Vec<_> = capture.blocks().unwrap().iter().map(|block| block.block_type).collect();
    assert_eq!(kinds, [BlockType::SNAPSHOT, BlockType::PACKETS, BlockType::LOSS]);
}

#[test]
fn linux_cooked_packets_say_which_way_they_went() {
    let mut bytes = pcap_header(Order::Little, 0xa1b2_c3d4, 113);
    for packet_type in [0, 4, 3] {
        let cooked =
            [&[0, packet_type, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0][..], &frame(1, 0)[14..]].concat();
        bytes.extend(pcap_record(Order::Little, START_S, 0, cooked.len() as u32, &cooked));
    }
    let directions =
        [Direction::Ingress, Direction::Egress, Direction::Unknown].map(|direction| direction as u8);
    assert_eq!(packets(&open(&bytes).unwrap()).direction, directions);
}

#[test]
fn compressed_files_and_streams_are_the_same_as_plain_ones() {
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    for plain in [pcap(Order::Little, 4000, 700), pcapng(Order::Big, 4000, 700)] {
        let expected = packets(&open(&plain).unwrap());
        assert_eq!(expected.len, 4000);
        // Two members in one file, as `cat a.gz b.gz` makes.
        let (front, back) = plain.split_at(plain.len() / 2);
        let members = [gzip(front), gzip(back)].concat();
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        for bytes in [&plain, &members, &zstd] {
            for capture in [open(bytes).unwrap(), stream(bytes).unwrap()] {
                assert_eq!(packets(&capture), expected);
                assert_eq!(capture.state(), SegmentState::Sealed);
            }
        }
        // Cut short in the middle of the compressed data: what came out of it is there.
        for bytes in [&members, &zstd] {
            let capture = open(&bytes[..bytes.len() / 2]).unwrap();
            let cut = packets(&capture);
            assert!(cut.len < 4000 && cut.time_ns[..] == expected.time_ns[..cut.len]);
            assert!(matches!(capture.state(), SegmentState::Torn { .. }), "{:?}", capture.state());
        }
    }
}

#[test]
fn what_is_no_capture_is_refused_in_one_line() {
    for bytes in [&b""[..], b"\xd4\xc3\xb2", b"#!/bin/sh\necho this is no capture file", &[0; 100]] {
        let error = open(bytes).unwrap_err();
        assert!(matches!(error, Error::NotACapture { .. }), "{error}");
        assert!(!error.to_string().contains('\n'));
    }
    let mut old = pcap_header(Order::Little, 0xa1b2_c3d4, 1);
    old[4] = 1;
    assert!(matches!(open(&old).unwrap_err(), Error::Unsupported { major: 1, minor: 4, .. }));
    let gzip_of_nothing = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(matches!(open(&gzip_of_nothing).unwrap_err(), Error::NotACapture { .. }));
    assert!(matches!(open(&[0x1f, 0x8b, 9, 9, 9, 9, 9, 9, 9, 9, 9]).unwrap_err(), Error::Io { .. }));
}

#[test]
fn names_and_addresses_of_interfaces_have_limits() {
    let order = Order::Little;
    let name = |name: &[u8]| option(order, 2, name);
    let mut bytes = section(order, &[]);
    bytes.extend(interface(order, 1, 0, &[name(&[b'x'; INTERFACE_NAME_LEN_MAX])]));
    bytes.extend(interface(order, 1, 0, &[name(&[b'x'; INTERFACE_NAME_LEN_MAX + 1])]));
    let address = |at: usize| option(order, 4, &[10, 0, (at >> 8) as u8, at as u8, 255, 0, 0, 0]);
    bytes.extend(interface(order, 1, 0, &(0..1000).map(address).collect::<Vec<_>>()));
    let events = open(&bytes).unwrap().interface_events().unwrap();
    let [whole, cut, many] = [0, 1, 2].map(|at| match &events[at].event {
        Some(proto::event::Event::Interface(interface)) => interface,
        other => panic!("{other:?}"),
    });
    assert_eq!(whole.name, [b'x'; INTERFACE_NAME_LEN_MAX]);
    assert_eq!(cut.name, ["x".repeat(INTERFACE_NAME_LEN_MAX).as_bytes(), "…".as_bytes()].concat());
    assert_eq!(many.addresses.len(), INTERFACE_ADDRESS_COUNT_MAX);
    assert_eq!(many.addresses[63], [10, 0, 0, 63]);
}
