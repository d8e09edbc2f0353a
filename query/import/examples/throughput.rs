//! How fast a capture file is walked, read and converted, on all processors.
//!
//!     cargo run --release -p kcap-import --example throughput -- FILE

use std::time::Instant;

use kcap_format::{BlockType, Effort, FileStorage, PacketColumns, proto};
use kcap_import::{CaptureFile, ConvertOptions, to_segments};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("name a capture file")?;
    let open = || CaptureFile::open(&path, 1);

    let begin = Instant::now();
    let first = open()?.chunk(0)?.map_or(0, |block| block.record_count);
    println!("open, first block     {:8.3} ms, {first} packets", begin.elapsed().as_secs_f64() * 1e3);

    let file = open()?;
    let begin = Instant::now();
    let blocks: Vec<_> =
        file.blocks()?.iter().filter(|block| block.block_type == BlockType::PACKETS).copied().collect();
    told("walk to the end", &blocks, begin);

    for (what, columns) in [
        ("headers, decoded", PacketColumns::TIME | PacketColumns::HEADER),
        ("everything", PacketColumns::ALL),
    ] {
        let begin = Instant::now();
        let counts = blocks.par_iter().map(|block| Ok(file.packets(block, columns)?.decoded.len()));
        let counted: usize = counts.collect::<kcap_import::Result<Vec<_>>>()?.into_iter().sum();
        told(&format!("{what} ({counted})"), &blocks, begin);
    }

    let folder = tempfile::tempdir()?;
    let options = ConvertOptions {
        capture_id: [0; 16],
        recorder: proto::Recorder::default(),
        segment_len: 256 << 20,
        effort: Effort::Zstd { level: 1 },
    };
    let begin = Instant::now();
    let create = |sequence| FileStorage::create(folder.path().join(format!("{sequence:06}.kcap")));
    to_segments(&[&file], &options, create, |_| {})?;
    told("to segments", &blocks, begin);
    let stored: u64 =
        folder.path().read_dir()?.map(|entry| Ok(entry?.metadata()?.len())).sum::<std::io::Result<u64>>()?;
    println!("segments have {:.1} % of the file", stored as f64 * 100.0 / file.len() as f64);
    Ok(())
}

fn told(what: &str, blocks: &[kcap_format::BlockEntry], begin: Instant) {
    let seconds = begin.elapsed().as_secs_f64();
    let bytes: u64 = blocks.iter().map(|block| u64::from(block.stored_len)).sum();
    let packets: u64 = blocks.iter().map(|block| u64::from(block.record_count)).sum();
    println!(
        "{what:<28} {:8.0} ms, {:7.0} MB/s, {:6.2} million packets/s",
        seconds * 1e3,
        bytes as f64 / 1e6 / seconds,
        packets as f64 / 1e6 / seconds
    );
}
