//! A recording of several segments in a folder, as the recorder leaves it.
#![allow(dead_code, unreachable_pub)] // no test uses all of it

use std::path::{Path, PathBuf};

use kcap_format::proto::{self, Predecessor, predecessor::State};
use kcap_format::{BlockEncoder, BlockEntry, Effort, FileStorage, Segment, SegmentWriter};

use crate::common::{Random, clock, exit_event, file_info, random_batch};

/// Packets in each PACKETS block of the recording, at least.
pub const PACKETS: usize = 20;

/// Writes `count` sealed segments of one recording, each naming the one before, and returns their paths.
pub fn write(folder: &Path, capture: u8, first_number: u64, count: u64) -> Vec<PathBuf> {
    write_behind(folder, capture, first_number, count, None)
}

/// As [`write`], of a recorder that found this in its folder.
pub fn write_behind(
    folder: &Path,
    capture: u8,
    first_number: u64,
    count: u64,
    predecessor: Option<&Predecessor>,
) -> Vec<PathBuf> {
    let mut previous_digest = Vec::new();
    (1..=count)
        .map(|sequence| {
            let path = folder.join(format!("{:06}.kcap", first_number + sequence - 1));
            let begin_ns = u64::from(capture) * 1_000_000 + sequence * 1_000;
            let info = proto::FileInfo {
                capture_id: vec![capture; 16],
                segment_sequence: sequence,
                previous_digest: previous_digest.clone(),
                clock: Some(clock(begin_ns)),
                predecessor: predecessor.filter(|_| sequence == 1).cloned(),
                ..file_info()
            };
            let mut writer = SegmentWriter::create(FileStorage::create(&path).unwrap(), &info).unwrap();
            fill(&mut writer, begin_ns);
            previous_digest = writer.seal().unwrap().digest.to_vec();
            path
        })
        .collect()
}

fn fill(writer: &mut SegmentWriter<FileStorage>, seed: u64) {
    let mut random = Random(seed);
    let mut encoder = BlockEncoder::new();
    writer.append(&encoder.snapshot(&[exit_event(seed, b"old")], Effort::default())).unwrap();
    for i in 0..6 {
        writer.append(&encoder.packets(&random_batch(&mut random, PACKETS), Effort::default())).unwrap();
        let events: Vec<_> = (0..5).map(|at| exit_event(seed + i + at, b"process")).collect();
        writer.append(&encoder.events(&events, Effort::default())).unwrap();
        writer.append(&encoder.clock(&[clock(seed + i)])).unwrap();
        writer.sync().unwrap();
    }
    let loss = proto::LossReport { begin_ns: 1, end_ns: 2, seen: 40, stored: 40, ..Default::default() };
    writer.append(&encoder.losses(&[loss])).unwrap();
}

/// What a recorder that begins now would note about a segment.
pub fn predecessor(path: &Path) -> Predecessor {
    let segment = Segment::open(path).unwrap();
    let mut found = Predecessor {
        name: path.file_name().unwrap().as_encoded_bytes().to_vec(),
        len: segment.len(),
        segment_id: segment.id().to_vec(),
        capture_id: segment.file_info().capture_id.clone(),
        segment_sequence: segment.file_info().segment_sequence,
        synced_offset: segment.synced_offset(),
        block_count: segment.blocks().len() as u32,
        entries_digest: BlockEntry::digest_of(segment.blocks()).to_vec(),
        ..Predecessor::default()
    };
    found.set_state(if segment.seal().is_some() { State::Sealed } else { State::Unsealed });
    found
}

/// Changes the bytes of a file.
pub fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Cuts a file off at the begin of its SEAL, or of a block: as if what is behind had never been written.
pub fn cut_at_block(path: &Path, blocks_kept: usize) {
    let segment = Segment::open(path).unwrap();
    let last = segment.blocks()[blocks_kept - 1];
    drop(segment);
    let end = (last.offset + 96 + u64::from(last.stored_len)).next_multiple_of(8);
    change(path, |bytes| bytes.truncate(end as usize));
}
