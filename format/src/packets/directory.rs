//! The directory at the beginning of a PACKETS payload.

use crate::bytes::Reader;
use crate::checksum;
use crate::error::Fault;
use crate::header::Codec;
use crate::limits::{BLOCK_RAW_LEN_MAX, PACKET_ROW_RAW_LEN, SECTION_COUNT_MAX};
use crate::packets::Encoding;

/// Bytes of the directory before its entries.
const DIRECTORY_FIXED_LEN: usize = 2 + 2 + 4 + 4 + 4;
/// Where the directory's CRC lies; it covers all other bytes of the directory.
const DIRECTORY_CRC_AT: usize = 12;
/// Bytes of one entry.
const SECTION_ENTRY_LEN: usize = 2 + 1 + 1 + 4 * 4;

/// Where a section lies and how it is encoded. Offsets count from the end of the directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    pub(super) id: u16,
    pub(super) encoding: u8,
    pub(super) codec: u8,
    pub(super) offset: u32,
    pub(super) stored_len: u32,
    pub(super) raw_len: u32,
    pub(super) crc: u32,
}

/// Most bytes of a directory.
pub(crate) const DIRECTORY_LEN_MAX: usize =
    DIRECTORY_FIXED_LEN + SECTION_COUNT_MAX as usize * SECTION_ENTRY_LEN;

/// Bytes of a directory with this many sections.
pub(super) fn directory_len(section_count: usize) -> usize {
    DIRECTORY_FIXED_LEN + section_count * SECTION_ENTRY_LEN
}

/// The payload: a directory of these sections, and `body` with the sections themselves.
pub(super) fn join(sections: &[Section], row_count: usize, class_count: usize, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(directory_len(sections.len()) + body.len());
    bytes.extend_from_slice(&(sections.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&0u16.to_le_bytes());
    bytes.extend_from_slice(&(row_count as u32).to_le_bytes());
    bytes.extend_from_slice(&(class_count as u32).to_le_bytes());
    bytes.extend_from_slice(&0u32.to_le_bytes());
    for section in sections {
        bytes.extend_from_slice(&section.id.to_le_bytes());
        bytes.extend_from_slice(&[section.encoding, section.codec]);
        for value in [section.offset, section.stored_len, section.raw_len, section.crc] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
    }
    let crc = checksum_of(&bytes);
    bytes[DIRECTORY_CRC_AT..DIRECTORY_FIXED_LEN].copy_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The checksum that the directory of a payload states.
pub(crate) fn directory_crc(payload: &[u8]) -> Option<u32> {
    Reader(payload.get(DIRECTORY_CRC_AT..)?).u32()
}

fn checksum_of(directory: &[u8]) -> u32 {
    checksum::crc32c_append(
        checksum::crc32c(&directory[..DIRECTORY_CRC_AT]),
        &directory[DIRECTORY_FIXED_LEN..],
    )
}

/// A directory whose checksum and limits are right.
pub(super) struct Directory<'a> {
    pub(super) row_count: usize,
    pub(super) class_count: usize,
    entries: &'a [u8],
    body: &'a [u8],
}

impl<'a> Directory<'a> {
    /// `expected_crc` is the checksum that the block's header states.
    pub(super) fn parse(payload: &'a [u8], expected_crc: u32) -> Result<Self, Fault> {
        const SHORT: Fault = Fault::Corrupt("the section directory is cut short");
        let mut from = Reader(payload);
        let section_count = from.u16().ok_or(SHORT)?;
        from.u16().ok_or(SHORT)?;
        let row_count = from.u32().ok_or(SHORT)? as usize;
        let class_count = from.u32().ok_or(SHORT)? as usize;
        let crc = from.u32().ok_or(SHORT)?;
        if section_count > SECTION_COUNT_MAX {
            return Err(Fault::Corrupt("more sections than a block may have"));
        }
        let len = directory_len(section_count.into());
        let (directory, body) = payload.split_at_checked(len).ok_or(SHORT)?;
        if !checksum::matches(checksum_of(directory), crc) {
            return Err(Fault::Corrupt("the section directory's checksum is wrong"));
        }
        if !checksum::matches(crc, expected_crc) {
            return Err(Fault::Corrupt("the section directory belongs to another block"));
        }
        if row_count.saturating_mul(PACKET_ROW_RAW_LEN) > BLOCK_RAW_LEN_MAX as usize
            || class_count > row_count
        {
            return Err(Fault::Corrupt("more packets than a block may have"));
        }
        Ok(Self { row_count, class_count, entries: &directory[DIRECTORY_FIXED_LEN..], body })
    }

    /// Bytes of the payload up to the end of the last section whose number is wanted.
    pub(super) fn prefix_len(&self, is_wanted: impl Fn(u16) -> bool) -> usize {
        let wanted = self.sections().filter(|section| is_wanted(section.id));
        let ends = wanted.map(|section| section.offset as usize + section.stored_len as usize);
        DIRECTORY_FIXED_LEN + self.entries.len() + ends.max().unwrap_or(0)
    }

    /// All sections, in their order in the block.
    pub(super) fn sections(&self) -> impl Iterator<Item = Section> + 'a {
        self.entries.chunks_exact(SECTION_ENTRY_LEN).filter_map(|entry| {
            let mut from = Reader(entry);
            Some(Section {
                id: from.u16()?,
                encoding: from.u8()?,
                codec: from.u8()?,
                offset: from.u32()?,
                stored_len: from.u32()?,
                raw_len: from.u32()?,
                crc: from.u32()?,
            })
        })
    }

    /// The section with this number, its checksum checked; `None` when it was left out.
    pub(super) fn section(&self, id: u16) -> Result<Option<CheckedSection<'a>>, Fault> {
        let Some(section) = self.sections().find(|section| section.id == id) else { return Ok(None) };
        let begin = section.offset as usize;
        let stored = begin
            .checked_add(section.stored_len as usize)
            .and_then(|end| self.body.get(begin..end))
            .ok_or(Fault::Corrupt("a section lies outside of its block"))?;
        if !checksum::matches(checksum::crc32c(stored), section.crc) {
            return Err(Fault::Corrupt("a section's checksum is wrong"));
        }
        let encoding =
            Encoding::from_u8(section.encoding).ok_or(Fault::Unsupported("an unknown encoding"))?;
        let codec = Codec::from_u8(section.codec)?;
        Ok(Some(CheckedSection { encoding, codec, stored, raw_len: section.raw_len as usize }))
    }
}

/// A section whose stored bytes are those that were written.
#[derive(Clone, Copy)]
pub(super) struct CheckedSection<'a> {
    pub(super) encoding: Encoding,
    pub(super) codec: Codec,
    pub(super) stored: &'a [u8],
    pub(super) raw_len: usize,
}
