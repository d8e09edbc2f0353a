//! What can be read of a segment, as a new segment.

use std::path::Path;

use prost::Message;

use super::lost::{block_lost, lost};
use crate::batch::{BytesColumn, PacketBatch};
use crate::compression::Effort;
use crate::encoder::{BlockEncoder, EncodedBlock};
use crate::error::Result;
use crate::header::BlockType;
use crate::index::BlockEntry;
use crate::limits::{FILE_MESSAGE_LEN_MAX, REPAIR_LOST_COUNT_MAX};
use crate::packets::{PacketColumns, dictionary_needed};
use crate::proto;
use crate::segment::{ReadMode, ReadOptions, Segment};
use crate::storage::FileStorage;
use crate::verify::FileReport;
use crate::writer::SegmentWriter;

/// Writes the blocks of `file` that can be read to `path`, behind a FILE block that says `info` and what is lost.
/// Blocks that are whole keep their bytes.
pub(super) fn rewrite(file: &FileReport, mut info: proto::FileInfo, path: &Path) -> Result<proto::Repair> {
    let segment = Segment::open_with(&file.path, &ReadOptions::with_mode(ReadMode::Salvage))?;
    let mut encoder = BlockEncoder::new();
    let mut repair = info.repair.take().unwrap_or_default();
    let mut losses = lost(file, &segment, |entry| left_of(&segment, entry).is_some());
    for (block, what) in faults(file) {
        if let Some(Left { payloads_lost: true, .. }) = left_of(&segment, block) {
            losses.push(proto::repair::Lost { payloads_only: true, ..block_lost(block, what) });
        }
    }
    losses.sort_by_key(|lost| lost.begin);
    repair.lost.append(&mut losses);
    info.repair = Some(shorten(repair, &info));

    let mut writer = SegmentWriter::create(FileStorage::create(path)?, &info)?;
    let dictionaries = segment.dictionaries();
    // The writer makes its own, and puts each dictionary before the first block that needs it and once more behind all,
    // also where damage left only one. Encrypted ones keep their places: nobody here can tell which is which.
    let mut own = vec![BlockType::FILE, BlockType::INDEX, BlockType::SEAL];
    if !dictionaries.is_empty() {
        own.push(BlockType::DICTIONARY);
    }
    for block in segment.blocks().iter().filter(|block| !own.contains(&block.block_type)) {
        if let Some(mut block) = readable(file, &segment, block, &mut encoder)? {
            if block.dictionary.is_none() && block.block_type == BlockType::PACKETS {
                let needed = dictionary_needed(&block.payload, block.directory_crc);
                block.dictionary = dictionaries.iter().find(|known| Some(known.id()) == needed).cloned();
            }
            writer.append(&block)?;
        }
    }
    writer.seal()?;
    Ok(info.repair.unwrap_or_default())
}

/// Damaged blocks and why, without those that are not there at all.
fn faults(file: &FileReport) -> impl Iterator<Item = (&BlockEntry, &'static str)> {
    file.blocks.iter().filter_map(|block| Some((&block.entry, block.fault?)))
}

/// The block as it is stored, or what is left of it.
fn readable(
    file: &FileReport,
    segment: &Segment,
    block: &BlockEntry,
    encoder: &mut BlockEncoder,
) -> Result<Option<EncodedBlock>> {
    if file.blocks.binary_search_by_key(&block.offset, |faulty| faulty.entry.offset).is_err() {
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

/// Leaves out as many losses as the FILE block has no room for, and counts them.
fn shorten(mut repair: proto::Repair, info: &proto::FileInfo) -> proto::Repair {
    let room = FILE_MESSAGE_LEN_MAX.saturating_sub(info.encoded_len() + FILE_MESSAGE_LEN_MAX / 64);
    while repair.lost.len() > REPAIR_LOST_COUNT_MAX || repair.encoded_len() > room {
        let kept = if repair.lost.len() > REPAIR_LOST_COUNT_MAX {
            REPAIR_LOST_COUNT_MAX
        } else {
            repair.lost.len() / 2
        };
        repair.more_lost += (repair.lost.len() - kept) as u64;
        repair.lost.truncate(kept);
        if kept == 0 {
            break;
        }
    }
    repair
}
