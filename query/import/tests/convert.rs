//! Segments that are made of capture files hold the same packets.

mod support;

use std::sync::Mutex;

use kcap_format::{
    BlockType, Effort, FileStorage, PacketBatch, PacketColumns, ReadMode, ReadOptions, Segment, SegmentState,
    proto,
};
use kcap_import::{CaptureFile, ConvertOptions, to_segments};
use support::{
    Order, START_S, enhanced_packet, frame, interface, open, option, packets, pcap, pcap_header, pcapng,
    section, statistics,
};

/// Converts, and opens what was made.
fn converted(files: &[&CaptureFile], segment_len: u64) -> (tempfile::TempDir, Vec<Segment>) {
    let recorder = proto::Recorder { name: "test".into(), ..proto::Recorder::default() };
    converted_by(recorder, files, segment_len)
}

fn converted_by(
    recorder: proto::Recorder,
    files: &[&CaptureFile],
    segment_len: u64,
) -> (tempfile::TempDir, Vec<Segment>) {
    let folder = tempfile::tempdir().unwrap();
    let options =
        ConvertOptions { capture_id: [7; 16], recorder, segment_len, effort: Effort::Zstd { level: 1 } };
    let paths = Mutex::new(Vec::new());
    let mut read = 0;
    let create = |sequence| {
        let path = folder.path().join(format!("{sequence:06}.kcap"));
        paths.lock().unwrap().push(path.clone());
        FileStorage::create(path)
    };
    to_segments(files, &options, create, |bytes| read += bytes).unwrap();
    let strict = ReadOptions::with_mode(ReadMode::Strict);
    let segments = paths.into_inner().unwrap();
    let segments: Vec<_> = segments.iter().map(|path| Segment::open_with(path, &strict).unwrap()).collect();
    (folder, segments)
}

fn all_packets(segments: &[Segment]) -> Vec<PacketBatch> {
    let blocks = |segment: &Segment| {
        let read = |block| segment.packets(block, PacketColumns::ALL).unwrap();
        segment.blocks_of(BlockType::PACKETS).map(read).collect::<Vec<_>>()
    };
    segments.iter().flat_map(blocks).collect()
}

#[test]
fn every_packet_in_its_order() {
    let bytes = pcap(Order::Big, 9000, 900);
    let file = open(&bytes).unwrap();
    let expected = packets(&file);
    let (_folder, segments) = converted(&[&file], 1 << 30);
    assert_eq!(segments.len(), 1);
    assert_eq!(segments[0].state(), SegmentState::Sealed);
    assert_eq!(segments[0].file_info().origin(), proto::file_info::Origin::Import);
    assert_eq!(segments[0].blocks_of(BlockType::LOSS).count(), 0, "nothing is known of losses");
    let read = all_packets(&segments);
    let times: Vec<u64> = read.iter().flat_map(|batch| batch.time_ns.clone()).collect();
    assert_eq!(times, expected.time_ns);
    let bytes_of = |batch: &PacketBatch| -> Vec<Vec<u8>> {
        let row = |row| [batch.header.get(row).unwrap(), batch.payload.get(row).unwrap()].concat();
        (0..batch.len).map(row).collect()
    };
    assert!(read.iter().flat_map(bytes_of).eq(bytes_of(&expected)));
}

#[test]
fn segments_are_a_chain_and_each_accounts_for_its_packets() {
    let mut bytes = section(Order::Little, &[]);
    bytes.extend(interface(Order::Little, 1, 0, &[option(Order::Little, 2, b"eth7")]));
    for number in 0..4000 {
        // Bytes that do not compress.
        let mut data = frame(number, 1000);
        let mut random = u64::from(number) * 0x9e37_79b9 + 1;
        data[60..].iter_mut().for_each(|byte| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (random >> 56) as u8;
        });
        let micros = u64::from(START_S) * 1_000_000 + u64::from(number);
        bytes.extend(enhanced_packet(Order::Little, 0, micros, &data, &[]));
    }
    bytes.extend([9; 5]);
    let file = open(&bytes).unwrap();
    let (_folder, segments) = converted(&[&file], 2 << 20);
    assert!(segments.len() >= 2, "{}", segments.len());
    for (segment, before) in segments[1..].iter().zip(&segments) {
        assert_eq!(segment.file_info().previous_digest, before.seal().unwrap().digest);
    }
    let mut lost = 0;
    for (number, segment) in (1..).zip(&segments) {
        assert_eq!(segment.file_info().segment_sequence, number);
        let snapshot = segment.blocks_of(BlockType::SNAPSHOT).next().unwrap();
        let events = segment.events(snapshot).unwrap();
        let Some(proto::event::Event::Interface(eth7)) = &events[0].event else { panic!("{events:?}") };
        assert_eq!(eth7.name, b"eth7");
        let stored: u64 =
            segment.blocks_of(BlockType::PACKETS).map(|block| u64::from(block.record_count)).sum();
        let [report] = &segment.all_losses().unwrap()[..] else { panic!("one account") };
        let lost_here: u64 = report.lost.iter().map(|lost| lost.count).sum();
        assert_eq!((report.stored, report.seen), (stored, stored + lost_here));
        lost += lost_here;
    }
    assert_eq!(lost, 1, "the record that is cut short");
}

#[test]
fn several_files_are_one_recording() {
    let files: Vec<_> = [3, 2000, 2].map(|count| open(&pcap(Order::Little, count, 1000)).unwrap()).into();
    let files: Vec<&CaptureFile> = files.iter().collect();
    let (_folder, segments) = converted(&files, 1 << 30);
    let read = all_packets(&segments);
    assert_eq!(read.iter().map(|batch| batch.len).sum::<usize>(), 2005);
    let firsts: Vec<u64> = read.iter().map(|batch| batch.time_ns[0]).collect();
    assert!(firsts.is_sorted());
    let mut interfaces: Vec<u32> = read.iter().flat_map(|batch| batch.interface_index.clone()).collect();
    interfaces.sort_unstable();
    interfaces.dedup();
    assert_eq!(interfaces, [0, 1, 2]);
}

#[test]
fn a_file_without_packets_is_a_segment_without_packets() {
    let file = open(&pcap(Order::Little, 0, 0)).unwrap();
    let (_folder, segments) = converted(&[&file], 1);
    assert_eq!((segments.len(), segments[0].state()), (1, SegmentState::Sealed));
    assert_eq!(segments[0].blocks_of(BlockType::PACKETS).count(), 0);
}

/// `isb_ifrecv`, `isb_ifdrop` and `isb_filteraccept`.
const RECEIVED: u16 = 4;
const DROPPED: u16 = 5;
const ACCEPTED: u16 = 6;

/// Sums of counters overflowed: the file says what they are.
#[test]
fn counters_that_lie_stop_no_conversion() {
    let order = Order::Little;
    let counting =
        |counts: &[(u16, u64)]| open(&[pcapng(order, 1, 10), statistics(order, 0, counts)].concat()).unwrap();
    let filtering = counting(&[(RECEIVED, u64::MAX), (ACCEPTED, 0)]);
    let losses = filtering.losses().unwrap().unwrap();
    assert_eq!((losses.seen, losses.filtered, losses.stored), (u64::MAX, u64::MAX, 1));
    let dropping = [(); 2].map(|()| counting(&[(RECEIVED, u64::MAX), (DROPPED, u64::MAX)]));
    for files in [&[&filtering][..], &[&filtering, &dropping[0]], &[&dropping[0], &dropping[1]]] {
        let (_folder, segments) = converted(files, 1 << 30);
        let [report] = &segments[0].all_losses().unwrap()[..] else { panic!("one account") };
        assert_eq!((report.seen, report.stored), (u64::MAX, files.len() as u64));
        assert!(report.lost.iter().all(|lost| lost.count == u64::MAX));
    }
}

/// A pcap file of the patched format, whose one packet is of the interface that its kernel gave this number.
fn kuznetzov(interface_index: u32) -> Vec<u8> {
    let order = Order::Little;
    let mut bytes = pcap_header(order, 0xa1b2_cd34, 1);
    let data = frame(1, 10);
    for number in [START_S, 0, data.len() as u32, data.len() as u32, interface_index] {
        bytes.extend(order.u32(number));
    }
    bytes.extend([0; 4]);
    bytes.extend(data);
    bytes
}

/// Numbers that a file tells nothing of became the next file's interfaces, or overflowed.
#[test]
fn an_interface_that_no_file_describes_stays_one_that_nobody_has() {
    let interfaces = |segments: &[Segment]| -> Vec<u32> {
        let mut found: Vec<u32> =
            all_packets(segments).iter().flat_map(|batch| batch.interface_index.clone()).collect();
        found.sort_unstable();
        found
    };
    for index in [0, 1, 2, 3, u32::MAX - 1, u32::MAX] {
        let file = open(&kuznetzov(index)).unwrap();
        assert_eq!(interfaces(&converted(&[&file], 1 << 30).1), [index], "alone it keeps its number");
        let others = [(); 2].map(|()| open(&pcap(Order::Little, 1, 10)).unwrap());
        let found = interfaces(&converted(&[&others[0], &file, &others[1]], 1 << 30).1);
        let expected = if index == 0 { 1 } else { index.saturating_add(2) };
        let mut expected = [0, 2, expected];
        expected.sort_unstable();
        assert_eq!(found, expected, "{index}");
    }
}

/// A FILE block has no room for all that a file may say of who wrote it, or for the names of a thousand files.
#[test]
fn texts_that_no_file_block_has_room_for_are_cut() {
    let order = Order::Little;
    let long = |code, text: &str| option(order, code, text.repeat(60_000 / text.len()).as_bytes());
    let bytes = section(order, &[long(2, "hardware"), long(3, "é"), long(4, "application")]);
    let file = open(&bytes).unwrap();
    let (_folder, segments) = converted(&[&file], 1 << 30);
    let host = segments[0].file_info().host.as_ref().unwrap();
    assert_eq!(host.architecture.len(), 60_000, "what fits stays whole");

    let sources: Vec<String> =
        (0..2000).map(|number| format!("/var/captures/2026/file-{number:04}.pcap")).collect();
    let recorder = proto::Recorder {
        options: [("imported_from".to_owned(), sources.join(", "))].into(),
        command_line: [vec!["kcap".to_owned(), "convert".to_owned()], sources].concat(),
        ..proto::Recorder::default()
    };
    let (_folder, segments) = converted_by(recorder, &[&file], 1 << 30);
    let info = segments[0].file_info();
    let (host, recorder) = (info.host.as_ref().unwrap(), info.recorder.as_ref().unwrap());
    assert!(host.architecture.starts_with("hardware") && host.architecture.ends_with("hardware…"));
    assert!(host.os.ends_with("é…"));
    assert!(recorder.options["imported_from"].starts_with("/var/captures/2026/file-0000.pcap, "));
    assert!(recorder.options["imported_from"].ends_with('…'));
    let [first, .., last] = &recorder.command_line[..] else { panic!("some arguments") };
    let kept = recorder.command_line.len() - 1;
    assert_eq!((&**first, &**last), ("kcap", &*format!("… and {} more", 2002 - kept)));
    assert!(kept > 100, "{kept}");
}
