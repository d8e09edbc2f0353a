//! One file, read to its last byte.

use std::path::Path;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::block::{self, BlockFault};
use super::{BlockReport, Encryption, FileReport, FileState, VerifyOptions};
use crate::batch::PacketBatch;
use crate::encryption::Identities;
use crate::error::Error;
use crate::header::BlockType;
use crate::index::BlockEntry;
use crate::limits::BLOCK_ALIGNMENT;
use crate::proto;
use crate::segment::{ReadMode, ReadOptions, Segment, SegmentState};

/// Bytes that are digested between two calls of `on_read`.
const DIGEST_STEP_LEN: usize = 4 << 20;

/// Reads a file.
pub(crate) fn check_file(path: &Path, options: &VerifyOptions<'_>) -> FileReport {
    let len = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut report = FileReport {
        path: path.to_owned(),
        len,
        state: FileState::Clean,
        reason: None,
        segment_id: None,
        encryption: Encryption::None,
        file_info: proto::FileInfo::default(),
        block_count: 0,
        record_count: 0,
        lost_record_count: 0,
        blocks: Vec::new(),
        damage: Vec::new(),
        lost_block_count: None,
        sealed_digest: None,
        digest: [0; 32],
    };
    let segment = match open(path, &options.identities) {
        Ok(segment) => segment,
        Err(error) => {
            report.state = match error {
                Error::NotASegment { .. } => FileState::NotASegment,
                Error::Torn { .. } => FileState::Torn,
                Error::Unsupported { .. } => FileState::Unsupported,
                Error::Corrupt { .. } => FileState::Corrupt,
                _ => FileState::Unreadable,
            };
            report.reason = Some(reason(error));
            (options.on_read)(len);
            return report;
        }
    };
    fill(&mut report, &segment, options);
    report
}

/// Opens for salvage what this version may read at all.
fn open(path: &Path, identities: &Identities) -> Result<Segment, Error> {
    if let Err(error @ Error::Unsupported { .. }) = Segment::open(path) {
        return Err(error);
    }
    let options = ReadOptions::with_mode(ReadMode::Salvage);
    Segment::open_with(path, &options.with_identities(identities.clone()))
}

/// What an error says, without the path.
fn reason(error: Error) -> String {
    match error {
        Error::Io { source, .. } => source.to_string(),
        Error::Unsupported { offset, what, .. } => {
            format!(
                "the block at offset {offset} has {what}, which this version cannot read; use a newer kcap"
            )
        }
        Error::Torn { .. } => "it ends within its first block".to_owned(),
        Error::NotASegment { .. } => "there is no whole block in it".to_owned(),
        error => error.to_string(),
    }
}

fn fill(report: &mut FileReport, segment: &Segment, options: &VerifyOptions<'_>) {
    report.len = segment.len();
    report.segment_id = Some(segment.id());
    report.encryption = match (segment.is_encrypted(), segment.has_key()) {
        (false, _) => Encryption::None,
        (true, false) => Encryption::Closed,
        (true, true) => Encryption::Open,
    };
    report.file_info = segment.file_info().clone();
    report.damage = segment.damage().to_vec();
    report.sealed_digest = segment.seal().map(|seal| seal.digest);

    let blocks = segment.blocks();
    let checks: Vec<Option<BlockFault>> = blocks
        .par_iter()
        .map_init(PacketBatch::default, |batch, block| block::check(segment, block, batch).err())
        .collect();
    report.digest = digest(segment, options.on_read);

    let missing = segment.missing_blocks();
    report.lost_block_count = lost_block_count(segment, &missing, &checks);
    let damaged = |fault: &Option<BlockFault>| matches!(fault, Some(BlockFault::Damaged(_)));
    let first_fault = blocks.iter().zip(&checks).find(|(_, fault)| damaged(fault));
    let first_fault = first_fault.and_then(|(block, fault)| Some((block.offset, fault.as_ref()?.what())));
    let is_unsupported = checks.iter().any(|fault| matches!(fault, Some(BlockFault::Unsupported(_))));
    (report.state, report.reason) = state(segment, first_fault, is_unsupported, report.digest);

    let found = blocks
        .iter()
        .zip(checks)
        .map(|(block, fault)| BlockReport { entry: *block, fault: fault.map(|fault| fault.what()) });
    let gone = missing.into_iter().map(|entry| BlockReport { entry, fault: Some("there is no such block") });
    report.blocks = found.chain(gone).collect();
    report.blocks.sort_by_key(|block| block.entry.offset);
    for block in &report.blocks {
        let is_record = matches!(block.entry.block_type, BlockType::PACKETS | BlockType::EVENTS);
        let records = if is_record { u64::from(block.entry.record_count) } else { 0 };
        if block.fault.is_none() {
            report.block_count += 1;
            report.record_count += records;
        } else {
            report.lost_record_count += records;
        }
    }
    if !options.every_block {
        report.blocks.retain(|block| block.fault.is_some());
    }
}

fn state(
    segment: &Segment,
    first_fault: Option<(u64, &'static str)>,
    is_unsupported: bool,
    digest: [u8; 32],
) -> (FileState, Option<String>) {
    let at = |(offset, what): (u64, &str)| Some(format!("at offset {offset}: {what}"));
    let (opened, damage) = match segment.state() {
        SegmentState::Sealed => (FileState::Clean, None),
        SegmentState::Unsealed => (FileState::Unsealed, None),
        SegmentState::Torn { .. } => (FileState::Torn, segment.damage().first()),
        SegmentState::Corrupt { .. } => (FileState::Corrupt, segment.damage().first()),
    };
    let damage = damage.map(|range| (range.begin, range.what));
    // What is wrong first: a range without blocks, or a block with a damaged payload.
    let first = [damage, first_fault].into_iter().flatten().min_by_key(|(offset, _)| *offset);
    match first_fault {
        Some((offset, _)) if offset < segment.synced_offset() => (FileState::Corrupt, first.and_then(at)),
        Some(_) if opened != FileState::Corrupt => (FileState::Torn, first.and_then(at)),
        None if opened == FileState::Clean && segment.seal().is_some_and(|seal| seal.digest != digest) => {
            let what = "bytes outside of the blocks are not those that were sealed";
            (FileState::Corrupt, Some(what.to_owned()))
        }
        None if is_unsupported && opened == FileState::Clean => {
            (FileState::Unsupported, Some("some blocks are of a later version".to_owned()))
        }
        None if opened == FileState::Unsealed => (opened, Some("it has no SEAL".to_owned())),
        _ => (opened, first.and_then(at)),
    }
}

/// The digest that the SEAL has or would have.
fn digest(segment: &Segment, on_read: &(dyn Fn(u64) + Sync)) -> [u8; 32] {
    let bytes = segment.bytes();
    let end = bytes.len().min(segment.sealed_len() as usize);
    let mut digest = blake3::Hasher::new();
    for step in bytes[..end].chunks(DIGEST_STEP_LEN) {
        digest.update(step);
        on_read(step.len() as u64);
    }
    // The padding of the last block may not be there.
    let padding = [0; BLOCK_ALIGNMENT as usize];
    digest.update(&padding[..segment.sealed_len() as usize - end]);
    on_read((bytes.len() - end) as u64);
    *digest.finalize().as_bytes()
}

/// Blocks that can't be read: damaged ones, and those that the sequences of the others leave out. Where the end of a
/// file is damaged and no SEAL tells of it, nobody knows.
fn lost_block_count(segment: &Segment, missing: &[BlockEntry], checks: &[Option<BlockFault>]) -> Option<u64> {
    let damaged = checks.iter().flatten().count() as u64;
    let blocks = segment.blocks();
    if segment.seal().is_some() {
        return Some(damaged + missing.len() as u64);
    }
    let last_end = segment.sealed_len();
    if segment.damage().last().is_some_and(|range| range.begin >= last_end) {
        return None;
    }
    let written = blocks.last().map_or(0, |block| u64::from(block.sequence) + 1);
    Some(damaged + written.saturating_sub(blocks.len() as u64))
}
