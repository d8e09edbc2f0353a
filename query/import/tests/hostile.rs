//! Files that are cut, damaged, or made to hurt.

mod support;

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use kcap_format::{BlockType, PacketColumns, SegmentState};
use kcap_import::{CaptureFile, limits};
use support::{
    Order, START_S, enhanced_packet, frame, interface, open, packets, pcap, pcap_header, pcap_record, pcapng,
    statistics, stream,
};

/// Whatever is cut off, all whole packets before are there, and the state says where it was cut.
#[test]
fn every_place_to_cut_a_file() {
    let order = Order::Little;
    for (whole, ends) in [
        (pcap(order, 5, 10), record_ends(&pcap(order, 0, 0), |count| pcap(order, count, 10))),
        (pcapng(order, 5, 10), record_ends(&pcapng(order, 0, 0), |count| pcapng(order, count, 10))),
    ] {
        let expected = packets(&open(&whole).unwrap());
        for len in ends[0]..=whole.len() {
            for capture in [open(&whole[..len]).unwrap(), stream(&whole[..len]).unwrap()] {
                let cut = packets(&capture);
                let count = ends.iter().filter(|end| **end <= len).count() - 1;
                assert_eq!(cut.len, count, "cut to {len}");
                assert_eq!(cut.time_ns[..], expected.time_ns[..count]);
                let state = if ends.contains(&len) {
                    SegmentState::Sealed
                } else {
                    SegmentState::Torn { offset: ends[count] as u64 }
                };
                assert_eq!(capture.state(), state, "cut to {len}");
                let lost = capture.losses().unwrap().map_or(0, |losses| losses.lost[0].count);
                assert_eq!(lost, u64::from(state != SegmentState::Sealed));
            }
        }
    }
}

/// Where the header of a file ends, and then each packet.
fn record_ends(header: &[u8], of: impl Fn(usize) -> Vec<u8>) -> Vec<usize> {
    std::iter::once(header.len()).chain((1..=5).map(|count| of(count).len())).collect()
}

#[test]
fn a_length_that_lies_ends_the_file_there() {
    let mut bytes = pcap(Order::Little, 3, 10);
    let second = bytes.len();
    bytes.extend(pcap_record(Order::Little, START_S, 0, 60, &frame(1, 1)));
    bytes[second + 8..second + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let capture = open(&bytes).unwrap();
    assert_eq!(packets(&capture).len, 3);
    assert!(matches!(capture.state(), SegmentState::Corrupt { offset, .. } if offset == second as u64));

    let mut bytes = pcapng(Order::Little, 3, 10);
    let last = bytes.len() - 4;
    bytes[last] ^= 1;
    let capture = open(&bytes).unwrap();
    assert_eq!(packets(&capture).len, 2);
    assert!(matches!(capture.state(), SegmentState::Corrupt { .. }));
}

/// Blocks that are passed over may be as long as their length says, and a file may have holes. Once they were read with the packets
/// around them.
#[test]
fn blocks_that_are_passed_over_take_no_memory() {
    const CUSTOM: u32 = 0xbad;
    const HOLE_LEN: u32 = 1 << 30;
    let order = Order::Little;
    let (one, two) = (pcapng(order, 1, 10), pcapng(order, 2, 10));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hole.pcapng");
    let mut file = File::create_new(&path).unwrap();
    file.write_all(&[&one[..], &order.u32(CUSTOM), &order.u32(HOLE_LEN)].concat()).unwrap();
    file.seek(SeekFrom::Start(one.len() as u64 + u64::from(HOLE_LEN) - 4)).unwrap();
    file.write_all(&[&order.u32(HOLE_LEN), &two[one.len()..]].concat()).unwrap();
    let capture = CaptureFile::open(&path, 1).unwrap();
    assert_eq!(packets(&capture), packets(&open(&two).unwrap()));
    assert_eq!(capture.state(), SegmentState::Sealed);
    for block in capture.blocks().unwrap().iter().filter(|block| block.block_type == BlockType::PACKETS) {
        assert_eq!(capture.comments(block).unwrap(), [""]);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the most memory so far");
    let peak_kib: u32 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < HOLE_LEN / 1024 / 2, "{peak_kib} KiB");
}

/// The header of a zstd frame asks for memory before there is a byte of data.
#[test]
fn a_zstd_frame_that_asks_for_much_memory_is_refused_with_a_way_out() {
    let compressed = |window_log| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        std::io::Write::write_all(&mut encoder, &pcap(Order::Little, 3, 10)).unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(packets(&open(&compressed(limits::ZSTD_WINDOW_LOG_MAX)).unwrap()).len, 3);
    for large in [open(&compressed(26)), stream(&compressed(26))] {
        let error = large.unwrap_err().to_string();
        assert!(error.contains("32 MiB") && error.contains("zstd -dc"), "{error}");
    }
    // As the fuzzer found it: a window of 256 MiB, in 29 bytes.
    let found = b"\x28\xb5\x2f\xfd\x90\x81\x81\xc4\x02\x28\x22\x2f\x0b\x4c\x19\x4c\x19\x00\x17\x64\x60\x78\x18\x30\x2b\x3c\xbb\x3d\x00";
    assert!(open(found).is_err());
}

/// Packets that hold a capture file of their own, so that guesses in the middle of the file go wrong.
#[test]
fn captures_within_packets_are_never_taken_for_the_file() {
    const COUNT: usize = 3000;
    let inner = pcap(Order::Little, 200, 40);
    let columns = PacketColumns::TIME;
    let mut bytes = pcap_header(Order::Little, 0xa1b2_c3d4, 1);
    for number in 0..COUNT {
        // From a different byte on in each, so that they begin everywhere.
        let data = [&frame(number as u16, number % 13)[..], &inner[24..]].concat();
        bytes.extend(pcap_record(Order::Little, START_S + number as u32, 0, data.len() as u32, &data));
    }
    assert!(bytes.len() > 48 << 20, "long enough for several spans: {}", bytes.len());
    let capture = open(&bytes).unwrap();
    // The end is asked for first, and the whole afterwards.
    let far = capture.chunk(45).unwrap().unwrap();
    let blocks = capture.blocks().unwrap();
    assert!(blocks.contains(&far));
    let all: u64 = blocks.iter().skip(1).map(|block| u64::from(block.record_count)).sum();
    assert_eq!(all, COUNT as u64);
    let times: Vec<u64> =
        blocks[1..].iter().flat_map(|block| capture.packets(block, columns).unwrap().batch.time_ns).collect();
    let expected = (0..COUNT as u64).map(|number| (u64::from(START_S) + number) * 1_000_000_000);
    assert!(times.into_iter().eq(expected));
}

#[test]
fn a_chunk_is_the_same_whoever_asks_first() {
    for bytes in [pcap(Order::Big, 50_000, 1400), pcapng(Order::Little, 50_000, 1400)] {
        let in_order = open(&bytes).unwrap();
        let mut expected = Vec::new();
        while let Some(block) = in_order.chunk(expected.len()).unwrap() {
            expected.push(block);
        }
        assert!(expected.len() > 60);
        let far = open(&bytes).unwrap();
        for number in (0..expected.len()).rev() {
            assert_eq!(far.chunk(number).unwrap(), Some(expected[number]));
        }
        assert_eq!(far.chunk(expected.len()).unwrap(), None);
        let all: Vec<_> = open(&bytes).unwrap().blocks().unwrap()[1..].to_vec();
        assert_eq!(all, expected);
    }
}

/// What interfaces count, and interfaces that come late, are found the same whether or not the file is walked from several places.
#[test]
fn descriptions_between_packets_are_found_wherever_the_walk_begins() {
    let order = Order::Little;
    let mut bytes = pcapng(order, 1, 0);
    for number in 0..800_u32 {
        if number == 500 {
            bytes.extend(interface(order, 101, 0, &[]));
        }
        let micros = u64::from(START_S) * 1_000_000 + u64::from(number);
        bytes.extend(enhanced_packet(order, number / 500, micros, &frame(7, 60_000), &[]));
        if number % 100 == 0 {
            bytes.extend(statistics(order, number / 500, &[(4, u64::from(number))]));
        }
    }
    assert!(bytes.len() > 40 << 20, "long enough for several spans: {}", bytes.len());
    let (file, in_order) = (open(&bytes).unwrap(), stream(&bytes).unwrap());
    assert_eq!(file.blocks().unwrap(), in_order.blocks().unwrap());
    assert_eq!(packets(&file).interface_index, packets(&in_order).interface_index);
    let losses = file.losses().unwrap().unwrap();
    assert_eq!((losses.stored, losses.kernel_seen), (801, 400 + 700));
    assert_eq!(in_order.losses().unwrap(), Some(losses));
}

/// Damage of every kind never panics, and never gives more than there is.
#[test]
fn any_bytes_at_all() {
    const ROUNDS: u64 = 3000;
    let originals = [pcap(Order::Little, 20, 30), pcapng(Order::Little, 20, 30), pcapng(Order::Big, 20, 30)];
    for round in 0..ROUNDS {
        let mut random = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = |limit: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % limit as u64) as usize
        };
        let mut bytes = originals[next(originals.len())].clone();
        for _ in 0..1 + next(8) {
            let at = 12 + next(bytes.len() - 12);
            bytes[at] = next(256) as u8;
        }
        bytes.truncate(1 + next(bytes.len()));
        let Ok(capture) = stream(&bytes) else { continue };
        let packets = packets(&capture);
        assert!(packets.header.data_len() + packets.payload.data_len() <= bytes.len());
        assert!(packets.len <= 20 + bytes.len() / 16);
    }
}
