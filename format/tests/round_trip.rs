//! What is written is read back, by every way of reading.

mod common;

use common::{
    EVENT_COUNT, Random, clock, create, exit_event, file_info, random_batch, small_segment, write_small,
};
use kcap_format::{
    BlockEncoder, BlockType, BytesColumn, Capture, Effort, FileStorage, PacketBatch, PacketColumns, Segment,
    SegmentState, limits,
};
use rayon::iter::ParallelIterator;

#[test]
fn random_batches_come_back_at_every_effort() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..30 {
        let mut random = Random(seed);
        let mut encoder = BlockEncoder::new();
        let path = folder.path().join(format!("{seed}.kcap"));
        let mut writer = create(&path);
        let mut batches = vec![PacketBatch::default()];
        for effort in
            [Effort::Stored, Effort::Zstd { level: 1 }, Effort::default(), Effort::Zstd { level: -3 }]
        {
            let len = random.below(400) as usize;
            let batch = random_batch(&mut random, len);
            writer.append(&encoder.packets(&batch, effort)).unwrap();
            batches.push(batch);
        }
        writer.append(&encoder.packets(&batches[0], Effort::default())).unwrap();
        batches.rotate_left(1);
        let seal = writer.seal().unwrap();

        let segment = Segment::open(&path).unwrap();
        assert_eq!(segment.seal(), Some(&seal));
        let blocks: Vec<_> = segment.blocks_of(BlockType::PACKETS).copied().collect();
        let read: Vec<_> = segment.par_packets(&blocks, PacketColumns::ALL).map(Result::unwrap).collect();
        assert_eq!(read, batches, "seed {seed}");
    }
}

#[test]
fn each_column_can_be_read_alone_and_the_others_stay_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kcap");
    let batch = random_batch(&mut Random(5), 300);
    let mut writer = create(&path);
    writer.append(&BlockEncoder::new().packets(&batch, Effort::default())).unwrap();
    let segment = Segment::open(&path).unwrap();
    let block = segment.blocks_of(BlockType::PACKETS).next().unwrap();
    type Columns = PacketColumns;
    let mut read = PacketBatch::default();
    macro_rules! alone {
        ($($column:ident $field:ident)*) => {$(
            segment.packets_into(block, Columns::$column, &mut read).unwrap();
            let expected = PacketBatch { len: batch.len, $field: batch.$field.clone(), ..PacketBatch::default() };
            assert_eq!(read, expected, stringify!($column));
        )*};
    }
    alone! {
        TIME time_ns SOCKET_COOKIE socket_cookie NETNS_COOKIE netns_cookie INTERFACE_INDEX interface_index
        WIRE_LEN wire_len LINK_TYPE link_type DIRECTION direction FLAGS flags PROGRAM program CPU cpu
        GSO_SIZE gso_size GSO_SEGMENTS gso_segments MARK mark TASKS tasks PAYLOAD_LEN payload_len HEADER header
    }
    let meta = segment.packets(block, Columns::META).unwrap();
    assert_eq!(
        meta,
        PacketBatch { header: BytesColumn::default(), payload: BytesColumn::default(), ..batch.clone() }
    );
    let payload = segment.packets(block, Columns::PAYLOAD).unwrap();
    assert_eq!((payload.payload, payload.payload_len), (batch.payload, batch.payload_len));
    assert_eq!(segment.packets(block, Columns::NONE).unwrap().len, batch.len);
}

#[test]
fn local_traffic_is_stored_once() {
    let mut random = Random(3);
    let mut once = PacketBatch::default();
    let mut twice = PacketBatch::default();
    for time_ns in 0..500 {
        let row = kcap_format::PacketRow { time_ns, ..Default::default() };
        let (header, payload) = (random.bytes(28), random.bytes(200));
        once.push(&row, &header, &payload);
        twice.push(&row, &header, &payload);
        twice.push(&row, &header, &payload);
    }
    let mut encoder = BlockEncoder::new();
    let once = encoder.packets(&once, Effort::Stored).payload.len();
    let twice = encoder.packets(&twice, Effort::Stored).payload.len();
    assert!(once > 500 * 228);
    // A copy costs its lengths, time and distance, here uncompressed, and none of its 228 bytes.
    assert!(twice < once + 500 * 8, "{once} bytes once, {twice} twice");
}

#[test]
fn messages_of_every_kind_come_back_sealed_or_not() {
    let folder = tempfile::tempdir().unwrap();
    for sealed in [false, true] {
        let path = folder.path().join(format!("{sealed}.kcap"));
        std::fs::write(&path, small_segment(sealed)).unwrap();
        let segment = Segment::open(&path).unwrap();
        assert_eq!(segment.state(), if sealed { SegmentState::Sealed } else { SegmentState::Unsealed });
        assert_eq!(segment.file_info(), &file_info());
        assert_eq!(segment.all_clocks().unwrap(), [clock(1_000), clock(2_000), clock(3_000)]);
        let events = segment.all_events().unwrap();
        assert_eq!(events[0], exit_event(900, b"old"));
        assert_eq!(
            events[1..],
            (0..EVENT_COUNT).map(|i| exit_event(1_000 + i, b"process")).collect::<Vec<_>>()
        );
        assert_eq!(segment.all_losses().unwrap()[0].seen, 40);
        let types: Vec<_> = segment.blocks().iter().map(|block| block.block_type).collect();
        type Type = BlockType;
        assert_eq!(
            types,
            [Type::FILE, Type::SNAPSHOT, Type::PACKETS, Type::CLOCK, Type::EVENTS, Type::PACKETS, Type::LOSS]
        );
        segment.blocks().iter().for_each(|block| segment.check_block(block).unwrap());
        let events = &segment.blocks()[4];
        assert_eq!(
            (events.first_time_ns, events.last_time_ns, events.record_count),
            (1_000, 1_000 + EVENT_COUNT - 1, EVENT_COUNT as u32)
        );
        assert!(segment.packets(events, PacketColumns::ALL).is_err());
        assert!(segment.events(&segment.blocks()[2]).is_err());
    }
}

#[test]
fn the_seal_tells_counts_and_the_digest_of_what_is_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kcap");
    let seal = write_small(FileStorage::create(&path).unwrap()).seal().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(seal.len, bytes.len() as u64);
    assert_eq!(seal.record_count(BlockType::EVENTS), EVENT_COUNT);
    assert!(seal.record_count(BlockType::PACKETS) >= 9);
    let seal_offset =
        u64::from_le_bytes(bytes[bytes.len() - 16..bytes.len() - 8].try_into().unwrap()) as usize;
    assert_eq!(seal.digest, *blake3::hash(&bytes[..seal_offset]).as_bytes());
}

#[test]
fn a_long_segment_is_indexed_and_reads_the_same_without_its_seal() {
    let folder = tempfile::tempdir().unwrap();
    let (path, cut) = (folder.path().join("a.kcap"), folder.path().join("b.kcap"));
    let mut writer = create(&path);
    let mut encoder = BlockEncoder::new();
    for i in 0..1_000 {
        writer.append(&encoder.clock(&[clock(i)])).unwrap();
    }
    let len = writer.len();
    writer.seal().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&cut, &bytes[..len as usize]).unwrap();
    let sealed = Segment::open(&path).unwrap();
    let strict = kcap_format::ReadOptions::with_mode(kcap_format::ReadMode::Strict);
    let walked = Segment::open_with(&cut, &strict).unwrap();
    assert_eq!(walked.state(), SegmentState::Unsealed);
    assert_eq!(sealed.blocks(), walked.blocks());
    let indexes = sealed.blocks_of(BlockType::INDEX).count();
    assert_eq!(indexes, sealed.blocks().len() / limits::INDEX_BLOCK_COUNT);
    assert_eq!(sealed.all_clocks().unwrap().len(), 1_001);
}

#[test]
fn a_segment_can_be_read_while_it_grows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kcap");
    let mut writer = create(&path);
    let mut encoder = BlockEncoder::new();
    let mut before = Segment::open(&path).unwrap();
    for i in 1..20 {
        writer.append(&encoder.events(&[exit_event(i, b"x")], Effort::default())).unwrap();
        let now = Segment::open(&path).unwrap();
        assert_eq!(now.all_events().unwrap().len() as u64, i);
        assert_eq!(before.all_events().unwrap().len() as u64, i - 1, "an open segment stays as it was");
        before = now;
    }
}

#[test]
fn a_capture_sorts_its_segments_and_names_those_it_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Capture::open(folder.path()).unwrap_err().to_string().contains("no .kcap segment"));
    for (name, segment_sequence) in [("a", 2), ("b", 1), ("c", 3)] {
        let storage = FileStorage::create(folder.path().join(format!("{name}.kcap"))).unwrap();
        let file = kcap_format::proto::FileInfo { segment_sequence, ..file_info() };
        kcap_format::SegmentWriter::create(storage, &file).unwrap();
    }
    std::fs::write(folder.path().join("broken.kcap"), b"not a segment").unwrap();
    std::fs::write(folder.path().join("notes.txt"), b"not looked at").unwrap();
    let capture = Capture::open(folder.path()).unwrap();
    let sequences: Vec<_> = capture.segments.iter().map(|s| s.file_info().segment_sequence).collect();
    assert_eq!(sequences, [1, 2, 3]);
    assert_eq!(capture.problems.len(), 1);
    assert!(capture.problems[0].path.ends_with("broken.kcap"));
    let single = Capture::open(folder.path().join("c.kcap")).unwrap();
    assert_eq!(single.segments.len(), 1);
    assert!(Capture::open(folder.path().join("broken.kcap")).is_err());
    assert!(Capture::open(folder.path().join("absent")).is_err());
}
