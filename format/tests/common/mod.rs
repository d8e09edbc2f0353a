//! Traffic and storage that several tests use.
#![allow(dead_code, unreachable_pub)] // no test uses all of it

use std::path::Path;

pub use kcap_format::testing::{CrashStorage as MemoryStorage, Random};
use kcap_format::{
    BlockEncoder, Direction, Effort, FileStorage, PacketBatch, PacketRow, SegmentWriter, Storage, proto,
};

/// Packets of a few sockets, local ones twice, with everything that a column can hold.
pub fn random_batch(random: &mut Random, len: usize) -> PacketBatch {
    random_batch_of(random, len, &[28, 40, 52, 0, 60, 200], &[0, 64, 64, 1, 1_400])
}

/// As [`random_batch`], with headers and payloads of these lengths.
fn random_batch_of(
    random: &mut Random,
    len: usize,
    header_lens: &[usize],
    payload_lens: &[usize],
) -> PacketBatch {
    let mut batch = PacketBatch::default();
    let mut time_ns = random.next() >> 1;
    while batch.len < len {
        time_ns = time_ns.wrapping_add(random.below(10_000)).wrapping_sub(random.below(100));
        let socket = random.below(6);
        let wild = random.below(20) == 0;
        let row = PacketRow {
            time_ns,
            socket_cookie: socket * 4_099,
            netns_cookie: socket / 4,
            interface_index: if wild { random.next() as u32 } else { 1 },
            wire_len: random.below(70_000) as u32,
            link_type: 101,
            direction: Direction::from_u8(random.below(3) as u8),
            flags: random.below(4) as u16,
            program: random.below(3) as u8,
            cpu: random.below(300) as u16,
            gso_size: if wild { 1_448 } else { 0 },
            gso_segments: if wild { random.next() as u16 } else { 0 },
            mark: if wild { random.next() as u32 } else { 0 },
            tasks: if socket == 3 { random.below(4) as u32 } else { 0 },
        };
        let header_len = header_lens[random.below(header_lens.len() as u64) as usize];
        let payload_len = payload_lens[random.below(payload_lens.len() as u64) as usize];
        let header = random.bytes(header_len);
        let payload = random.bytes(payload_len);
        batch.push(&row, &header, &payload);
        match random.below(4) {
            0 => batch.push(&PacketRow { direction: Direction::Ingress, ..row }, &header, &payload),
            1 => batch.push(&PacketRow { socket_cookie: 77, ..row }, &header, b""),
            _ => {}
        }
    }
    batch
}

pub fn file_info() -> proto::FileInfo {
    proto::FileInfo {
        capture_id: vec![7; 16],
        segment_sequence: 1,
        host: Some(proto::Host { hostname: "host".into(), cpu_count: 2, ..Default::default() }),
        clock: Some(clock(1_000)),
        ..Default::default()
    }
}

pub fn clock(boot_ns: u64) -> proto::ClockSample {
    proto::ClockSample {
        boot_before_ns: boot_ns,
        boot_after_ns: boot_ns + 100,
        monotonic_ns: boot_ns,
        realtime_ns: 1_700_000_000_000_000_000 + boot_ns,
        tai_ns: 0,
    }
}

pub fn exit_event(time_ns: u64, name: &[u8]) -> proto::Event {
    let exit = proto::ProcessExit { name: name.to_vec(), exit_code: 256, ..Default::default() };
    proto::Event { time_ns, event: Some(proto::event::Event::Exit(exit)), ..Default::default() }
}

/// Events in the EVENTS block of the small segment.
pub const EVENT_COUNT: u64 = 5;

/// A small segment with a block of each type; not sealed.
pub fn write_small<S: Storage>(storage: S) -> SegmentWriter<S> {
    let mut random = Random(1);
    let mut encoder = BlockEncoder::new();
    let mut writer = SegmentWriter::create(storage, &file_info()).unwrap();
    let snapshot = [exit_event(900, b"old")];
    writer.append(&encoder.snapshot(&snapshot, Effort::default())).unwrap();
    writer
        .append(&encoder.packets(&random_batch_of(&mut random, 6, &[20, 28], &[0, 20]), Effort::default()))
        .unwrap();
    writer.append(&encoder.clock(&[clock(2_000), clock(3_000)])).unwrap();
    writer.sync().unwrap();
    let events: Vec<_> = (0..EVENT_COUNT).map(|i| exit_event(1_000 + i, b"process")).collect();
    writer.append(&encoder.events(&events, Effort::default())).unwrap();
    writer.append(&encoder.packets(&random_batch_of(&mut random, 3, &[20], &[9]), Effort::Stored)).unwrap();
    let loss = proto::LossReport { begin_ns: 1, end_ns: 2, seen: 40, stored: 40, ..Default::default() };
    writer.append(&encoder.losses(&[loss])).unwrap();
    writer
}

/// The bytes of the small segment.
pub fn small_segment(sealed: bool) -> Vec<u8> {
    let memory = MemoryStorage::default();
    let writer = write_small(memory.clone());
    if sealed {
        writer.seal().unwrap();
    }
    memory.bytes()
}

pub fn create(path: &Path) -> SegmentWriter<FileStorage> {
    SegmentWriter::create(FileStorage::create(path).unwrap(), &file_info()).unwrap()
}
