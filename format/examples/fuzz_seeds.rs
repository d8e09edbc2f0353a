//! Makes the fuzz targets' first inputs out of segments, and of a small one with a block of each kind.
//!
//! ```text
//! cargo run -p kcap-format --example fuzz_seeds -- tests/fuzz/corpus SEGMENT…
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kcap_format::testing::{CrashStorage, Random};
use kcap_format::{
    BlockEncoder, BlockType, Direction, Effort, PacketBatch, PacketRow, ReadMode, ReadOptions, Segment,
    SegmentWriter, proto,
};

/// Longer inputs make a fuzzer slow.
const SEED_LEN_MAX: usize = 4096;
/// Blocks of one type that are taken from one segment.
const BLOCKS_OF_TYPE_MAX: usize = 2;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let corpus = arguments.next().context("usage: fuzz_seeds CORPUS [SEGMENT…]")?;
    for (name, effort) in [("stored", Effort::Stored), ("zstd", Effort::default())] {
        for sealed in [false, true] {
            let state = if sealed { "sealed" } else { "unsealed" };
            seeds(&corpus, &format!("small-{name}-{state}"), &small(effort, sealed)?)?;
        }
    }
    for path in arguments {
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        seeds(&corpus, &name, &bytes)?;
    }
    Ok(())
}

fn seeds(corpus: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    write(corpus, "format_block", name, bytes)?;
    let options = ReadOptions::with_mode(ReadMode::Salvage);
    let Ok(segment) = Segment::from_bytes(name, bytes.to_vec(), &options) else { return Ok(()) };
    let mut taken = std::collections::HashMap::<_, usize>::new();
    for block in segment.blocks() {
        let header = &bytes[block.offset as usize..][..96];
        let payload = &bytes[block.offset as usize + 96..][..block.stored_len as usize];
        let name = format!("{name}-{}", block.sequence);
        let (target, prefix) = match block.block_type {
            BlockType::PACKETS => ("format_packets", [&block.raw_len.to_le_bytes()[..], &[0xFF; 2]].concat()),
            BlockType::INDEX => ("format_index", vec![0]),
            BlockType::FILE => continue,
            other => {
                let number = match other {
                    BlockType::SNAPSHOT => 1,
                    BlockType::CLOCK => 2,
                    BlockType::LOSS => 3,
                    _ => 0,
                };
                let codec = header[84];
                let count = (block.record_count as u16).to_le_bytes();
                ("format_events", [&[number, codec][..], &count, &block.raw_len.to_le_bytes()].concat())
            }
        };
        let input = [&prefix, payload].concat();
        let taken = taken.entry(block.block_type).or_default();
        if input.len() <= SEED_LEN_MAX && *taken < BLOCKS_OF_TYPE_MAX {
            *taken += 1;
            write(corpus, target, &name, &input)?;
        }
    }
    if segment.seal().is_some() {
        let offset = u64::from_le_bytes(bytes[bytes.len() - 16..][..8].try_into()?) as usize;
        write(corpus, "format_index", name, &[&[3], &bytes[offset + 96..]].concat())?;
    }
    Ok(())
}

fn write(corpus: &Path, target: &str, name: &str, bytes: &[u8]) -> Result<()> {
    if bytes.len() > SEED_LEN_MAX {
        return Ok(());
    }
    let folder = corpus.join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes).with_context(|| folder.display().to_string())
}

/// A block of each kind that writers make, with columns of each encoding.
fn small(effort: Effort, sealed: bool) -> Result<Vec<u8>> {
    let storage = CrashStorage::default();
    let file = proto::FileInfo { capture_id: vec![7; 16], ..Default::default() };
    let mut writer = SegmentWriter::create(storage.clone(), &file)?;
    let mut encoder = BlockEncoder::new();
    let exit = proto::ProcessExit { name: b"process".to_vec(), ..Default::default() };
    let event =
        proto::Event { time_ns: 5, event: Some(proto::event::Event::Exit(exit)), ..Default::default() };
    writer.append(&encoder.snapshot(std::slice::from_ref(&event), effort))?;
    writer.append(&encoder.events(&vec![event; 20], effort))?;
    writer.append(&encoder.packets(&packets(), effort))?;
    let clock =
        proto::ClockSample { boot_after_ns: 9, realtime_ns: 1_700_000_000_000_000_000, ..Default::default() };
    writer.append(&encoder.clock(&[clock]))?;
    writer.append(&encoder.losses(&[proto::LossReport { seen: 4, stored: 4, ..Default::default() }]))?;
    if sealed {
        writer.seal()?;
    }
    Ok(storage.bytes())
}

/// Two sockets that talk over loopback: each packet twice.
fn packets() -> PacketBatch {
    let mut batch = PacketBatch::default();
    let mut random = Random(1);
    for number in 0..12u32 {
        let header = [&[0x45, 0, 0, 40][..], &number.to_be_bytes(), &[127, 0, 0, 1]].concat();
        let payload = vec![random.below(256) as u8; random.below(30) as usize];
        for (socket_cookie, direction) in [(1, Direction::Egress), (2, Direction::Ingress)] {
            let row = PacketRow {
                time_ns: u64::from(number) * 1_000 + socket_cookie,
                socket_cookie,
                netns_cookie: 1,
                interface_index: 1,
                wire_len: header.len() as u32 + payload.len() as u32,
                link_type: 101,
                direction,
                program: 2,
                cpu: (number % 2) as u16,
                ..PacketRow::default()
            };
            batch.push(&row, &header, &payload);
        }
    }
    batch
}
