//! Writers refuse what readers would refuse.

mod common;

use common::{MemoryStorage, exit_event, file_info};
use kcap_format::{
    BlockEncoder, Effort, Error, PacketBatch, PacketRow, SegmentWriter, limits, proto, split_events,
};

fn writer() -> SegmentWriter<MemoryStorage> {
    SegmentWriter::create(MemoryStorage::default(), &file_info()).unwrap()
}

fn refused<T>(result: kcap_format::Result<T>, expected: &str) {
    match result {
        Err(Error::Limit { what, value, limit }) => {
            assert_eq!(what, expected);
            assert!(value > limit);
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("{expected} was accepted"),
    }
}

#[test]
fn packets_beyond_the_raw_length_are_refused_and_the_writer_goes_on() {
    let mut batch = PacketBatch::default();
    let payload = vec![0; 65_000];
    while batch.raw_len() <= limits::BLOCK_RAW_LEN_MAX as usize {
        batch.push(&PacketRow::default(), b"header", &payload);
    }
    let mut writer = writer();
    let mut encoder = BlockEncoder::new();
    refused(writer.append(&encoder.packets(&batch, Effort::default())), "the raw length of a block");
    let mut small = PacketBatch::default();
    small.push(&PacketRow::default(), b"header", &payload);
    writer.append(&encoder.packets(&small, Effort::default())).unwrap();
}

#[test]
fn a_block_at_the_raw_length_is_written_and_read_even_when_it_does_not_shrink() {
    let mut random = common::Random(4);
    let noise = random.bytes(1 << 20);
    let mut batch = PacketBatch::default();
    for i in 0..15 {
        batch.push(&PacketRow { time_ns: i, ..Default::default() }, &[i as u8], &noise);
    }
    let left = limits::BLOCK_RAW_LEN_MAX as usize - batch.raw_len() - limits::PACKET_ROW_RAW_LEN;
    batch.push(&PacketRow::default(), &[], &noise[..left]);
    assert_eq!(batch.raw_len(), limits::BLOCK_RAW_LEN_MAX as usize);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kcap");
    let mut writer = common::create(&path);
    let block = writer.append(&BlockEncoder::new().packets(&batch, Effort::Stored)).unwrap();
    let segment = kcap_format::Segment::open(&path).unwrap();
    assert!(segment.packets(&block, kcap_format::PacketColumns::ALL).unwrap() == batch);
}

#[test]
fn messages_beyond_their_limits_are_refused() {
    let mut encoder = BlockEncoder::new();
    let long = [exit_event(1, &vec![b'x'; limits::MESSAGE_LEN_MAX])];
    refused(writer().append(&encoder.events(&long, Effort::default())), "the length of a message");
    let many = vec![proto::Event::default(); limits::MESSAGE_COUNT_MAX as usize + 1];
    refused(writer().append(&encoder.events(&many, Effort::default())), "the number of records in a block");
    let much = vec![exit_event(1, &[b'x'; 1_000]); 3_000];
    refused(writer().append(&encoder.events(&much, Effort::default())), "the raw length of a block");
    let mut writer = writer();
    for events in [&many, &much] {
        for run in split_events(events) {
            writer.append(&encoder.events(run, Effort::default())).unwrap();
        }
    }
    let recorder =
        proto::Recorder { command_line: vec!["x".repeat(limits::MESSAGE_LEN_MAX)], ..Default::default() };
    let file = proto::FileInfo { recorder: Some(recorder), ..file_info() };
    refused(SegmentWriter::create(MemoryStorage::default(), &file), "the length of a message");
}

#[test]
fn a_segment_ends_at_its_number_of_blocks_and_can_still_be_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kcap");
    let memory = MemoryStorage::default();
    let mut writer = SegmentWriter::create(memory.clone(), &file_info()).unwrap();
    let block = BlockEncoder::new().clock(&[common::clock(1)]);
    let error = loop {
        if let Err(error) = writer.append(&block) {
            break error;
        }
    };
    refused(Err::<(), _>(error), "the number of blocks");
    let blocks = writer.blocks().len();
    writer.seal().unwrap();
    std::fs::write(&path, memory.bytes()).unwrap();
    let segment = kcap_format::Segment::open(&path).unwrap();
    assert_eq!(segment.blocks().len(), blocks);
    assert_eq!(segment.state(), kcap_format::SegmentState::Sealed);
}
