//! The runs.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use kcap_format::{
    BlockEncoder, BlockType, Effort, FileStorage, PacketBatch, PacketColumns, Segment, SegmentWriter, proto,
};

use crate::capture::Capture;
use crate::report::{Report, Row};

/// Each run is repeated, and the fastest counts: whatever else the machine does only makes it slower.
const ROUND_COUNT: usize = 3;

const EFFORTS: [(&str, Effort); 5] = [
    ("kcap stored", Effort::Stored),
    ("kcap -5", Effort::Zstd { level: -5 }),
    ("kcap 1", Effort::Zstd { level: 1 }),
    ("kcap 3", Effort::Zstd { level: 3 }),
    ("kcap 9", Effort::Zstd { level: 9 }),
];
const ZSTD_LEVELS: [(&str, i32); 2] = [("zstd -1", 1), ("zstd -3", 3)];
/// A reader's and a writer's buffer.
const COPY_STEP_LEN: usize = 1 << 20;

const READS: [(&str, PacketColumns); 3] = [
    ("metadata", PacketColumns::META),
    ("headers", PacketColumns::META.union(PacketColumns::HEADER)),
    ("everything", PacketColumns::ALL),
];

/// Measures all rows.
pub(crate) fn all(
    capture: &Capture,
    batches: &[PacketBatch],
    folder: &Path,
    report: &mut Report,
) -> Result<()> {
    let raw = folder.join("raw");
    let time = fastest(|| timed(|| write_file(&raw, |file| Ok(file.write_all(&capture.bytes)?))))?;
    report.push(Row::write("copy", time, len(&raw)?));
    for (name, level) in ZSTD_LEVELS {
        let path = folder.join(name);
        let time = fastest(|| {
            timed(|| {
                write_file(&path, |file| {
                    let mut encoder = zstd::Encoder::new(file, level)?;
                    encoder.write_all(&capture.bytes)?;
                    encoder.finish()?;
                    Ok(())
                })
            })
        })?;
        report.push(Row::write(name, time, len(&path)?));
    }
    for (name, effort) in EFFORTS {
        let path = folder.join(name);
        let time = fastest(|| write_segment(&path, batches, effort))?;
        report.push(Row::write(name, time, len(&path)?));
    }

    report.push(Row::read("copy", "everything", fastest(|| timed(|| drain(&mut File::open(&raw)?)))?));
    for (name, _) in ZSTD_LEVELS {
        let path = folder.join(name);
        let time = fastest(|| timed(|| drain(&mut zstd::Decoder::new(File::open(&path)?)?)))?;
        report.push(Row::read(name, "everything", time));
    }
    for (name, _) in EFFORTS {
        for (what, columns) in READS {
            let path = folder.join(name);
            let time = fastest(|| timed(|| read_segment(&path, columns)))?;
            report.push(Row::read(name, what, time));
        }
    }
    Ok(())
}

fn fastest(mut run: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    let mut fastest = Duration::MAX;
    for _ in 0..ROUND_COUNT {
        fastest = fastest.min(run()?);
    }
    Ok(fastest)
}

fn timed(run: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let begin = Instant::now();
    run()?;
    Ok(begin.elapsed())
}

fn write_file(path: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let _ = fs::remove_file(path);
    write(&mut File::create_new(path)?)
}

/// Writes a whole segment; its SEAL waits for the disk, and is not timed.
fn write_segment(path: &Path, batches: &[PacketBatch], effort: Effort) -> Result<Duration> {
    let _ = fs::remove_file(path);
    let begin = Instant::now();
    let mut writer = SegmentWriter::create(FileStorage::create(path)?, &proto::FileInfo::default())?;
    let mut encoder = BlockEncoder::new();
    for batch in batches {
        writer.append(&encoder.packets(batch, effort))?;
    }
    let time = begin.elapsed();
    writer.seal()?;
    Ok(time)
}

fn read_segment(path: &Path, columns: PacketColumns) -> Result<()> {
    let segment = Segment::open(path)?;
    let mut batch = PacketBatch::default();
    for block in segment.blocks_of(BlockType::PACKETS) {
        segment.packets_into(block, columns, &mut batch)?;
        black_box(&batch);
    }
    Ok(())
}

fn drain(from: &mut impl Read) -> Result<()> {
    let mut buffer = vec![0; COPY_STEP_LEN];
    while from.read(&mut buffer)? > 0 {
        black_box(&buffer);
    }
    Ok(())
}

fn len(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path)?.len())
}
