//! What can be read of a segment, as a new segment.

use std::path::Path;

use super::lost::{block_lost, lost};
use super::room;
use crate::batch::{BytesColumn, PacketBatch};
use crate::compression::Effort;
use crate::encoder::{BlockEncoder, EncodedBlock};
use crate::error::{Error, Result};
use crate::header::BlockType;
use crate::index::BlockEntry;
use crate::packets::{PacketColumns, dictionary_needed};
use crate::proto;
use crate::segment::{ReadMode, ReadOptions, Segment};
use crate::storage::FileStorage;
use crate::verify::FileReport;
use crate::writer::{SegmentWriter, check_lens};

/// Writes the blocks of `file` that can be read to `path`, behind a FILE block that says `info` and what is lost.
/// Blocks that are whole keep their bytes.
pub(super) fn rewrite(file: &FileReport, info: &proto::FileInfo, path: &Path) -> Result<proto::Repair> {
    let segment = Segment::open_with(&file.path, &ReadOptions::with_mode(ReadMode::Salvage))?;
    let mut blocks: Vec<&BlockEntry> = own_blocks_left_out(&segment).collect();
    let mut refused: Vec<(&BlockEntry, &'static str)> = Vec::new();
    blocks.retain(|block| match refusal(file, &segment, block) {
        Some(what) => {
            refused.push((block, what));
            false
        }
        None => true,
    });
    let full = match write(file, &segment, info, &blocks, &refused, path)? {
        Written::Whole(repair) => return Ok(repair),
        Written::Full(full) => full,
    };
    // What lies behind has no room either. The FILE block tells of it, and is written first.
    std::fs::remove_file(path).map_err(|error| Error::io(path, error))?;
    let (fitting, rest) = blocks.split_at(full.block_count);
    let rest = rest.iter().filter(|block| !is_faulty(file, block) || left_of(&segment, block).is_some());
    refused.extend(rest.map(|block| (*block, NO_ROOM)));
    match write(file, &segment, info, fitting, &refused, path)? {
        Written::Whole(repair) => Ok(repair),
        Written::Full(full) => Err(full.error),
    }
}

/// Why a block is lost that can be read.
const NO_ROOM: &str = "a segment has no room for it beside those before it";

/// What writing came to.
enum Written {
    Whole(proto::Repair),
    Full(Full),
}

/// A segment takes no more than so many of the blocks.
struct Full {
    block_count: usize,
    error: Error,
}

/// The blocks that the writer doesn't make by itself. It puts each dictionary before the first block that needs it and once
/// more behind all, also where damage left only one. Encrypted ones keep their places: nobody here can tell which is which.
fn own_blocks_left_out(segment: &Segment) -> impl Iterator<Item = &BlockEntry> {
    let mut own = vec![BlockType::FILE, BlockType::INDEX, BlockType::SEAL];
    if !segment.dictionaries().is_empty() {
        own.push(BlockType::DICTIONARY);
    }
    segment.blocks().iter().filter(move |block| !own.contains(&block.block_type))
}

/// Why a block can't be copied though its checksums are right: verifying doesn't look at what is encrypted or of an unknown
/// type.
fn refusal(file: &FileReport, segment: &Segment, block: &BlockEntry) -> Option<&'static str> {
    if is_faulty(file, block) {
        return None;
    }
    if let Err(fault) = segment.check_copyable(block) {
        return Some(fault.what());
    }
    let lens = (block.stored_len as usize, block.raw_len, block.record_count);
    check_lens(block.block_type, lens)
        .err()
        .map(|_| "more bytes or records than a block of its type may have")
}

fn write(
    file: &FileReport,
    segment: &Segment,
    info: &proto::FileInfo,
    blocks: &[&BlockEntry],
    refused: &[(&BlockEntry, &'static str)],
    path: &Path,
) -> Result<Written> {
    let mut info = info.clone();
    let mut repair = info.repair.take().unwrap_or_default();
    let is_written =
        |entry: &BlockEntry| blocks.binary_search_by_key(&entry.offset, |block| block.offset).is_ok();
    let mut losses = lost(file, segment, |entry| left_of(segment, entry).is_some());
    for (block, what) in faults(file) {
        if let Some(Left { payloads_lost: true, .. }) = left_of(segment, block)
            && is_written(block)
        {
            losses.push(proto::repair::Lost { payloads_only: true, ..block_lost(block, what) });
        }
    }
    losses.extend(refused.iter().map(|(block, what)| block_lost(block, what)));
    losses.sort_by_key(|lost| lost.begin);
    repair.lost.append(&mut losses);
    room::put(&mut info, repair);

    let mut writer = SegmentWriter::create(FileStorage::create(path)?, &info)?;
    let mut encoder = BlockEncoder::new();
    let dictionaries = segment.dictionaries();
    for (block_count, block) in blocks.iter().enumerate() {
        if let Some(mut block) = readable(file, segment, block, &mut encoder)? {
            if block.dictionary.is_none() && block.block_type == BlockType::PACKETS {
                let needed = dictionary_needed(&block.payload, block.directory_crc);
                block.dictionary = dictionaries.iter().find(|known| Some(known.id()) == needed).cloned();
            }
            match writer.append(&block) {
                Err(error @ Error::Limit { .. }) => return Ok(Written::Full(Full { block_count, error })),
                appended => appended?,
            };
        }
    }
    writer.seal()?;
    Ok(Written::Whole(info.repair.unwrap_or_default()))
}

/// Damaged blocks and why, without those that are not there at all.
fn faults(file: &FileReport) -> impl Iterator<Item = (&BlockEntry, &'static str)> {
    file.blocks.iter().filter_map(|block| Some((&block.entry, block.fault?)))
}

fn is_faulty(file: &FileReport, block: &BlockEntry) -> bool {
    file.blocks.binary_search_by_key(&block.offset, |faulty| faulty.entry.offset).is_ok()
}

/// The block as it is stored, or what is left of it.
fn readable(
    file: &FileReport,
    segment: &Segment,
    block: &BlockEntry,
    encoder: &mut BlockEncoder,
) -> Result<Option<EncodedBlock>> {
    if !is_faulty(file, block) {
        return segment.encoded_block(block).map(Some);
    }
    Ok(left_of(segment, block).map(|left| encoder.packets(&left.packets, Effort::default())))
}

/// What can be read of a damaged block.
struct Left {
    packets: PacketBatch,
    payloads_lost: bool,
}

/// Packets have a checksum for each section: where only that of the payloads is wrong, the packets are there with their
/// headers.
fn left_of(segment: &Segment, block: &BlockEntry) -> Option<Left> {
    if block.block_type != BlockType::PACKETS {
        return None;
    }
    if let Ok(packets) = segment.packets(block, PacketColumns::ALL) {
        return Some(Left { packets, payloads_lost: false });
    }
    let mut packets = segment.packets(block, PacketColumns::META | PacketColumns::HEADER).ok()?;
    let mut none = BytesColumn::default();
    (0..packets.len).for_each(|_| none.push(&[]));
    packets.payload = none;
    packets.payload_len.fill(0);
    Some(Left { packets, payloads_lost: true })
}
