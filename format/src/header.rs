//! The header that every block begins with.

use std::fmt;

use crate::checksum;
use crate::error::Fault;
use crate::limits::{
    BLOCK_ALIGNMENT, BLOCK_HEADER_LEN_MAX, BLOCK_RAW_LEN_MAX, BLOCK_RECORD_COUNT_MAX, BLOCK_STORED_LEN_MAX,
    FORMAT_VERSION, SEGMENT_BLOCK_COUNT_MAX, SYNC_MARKER,
};

/// What a block holds. Numbers without a name are kept, so that a reader can count what it doesn't know.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockType(pub u16);

impl BlockType {
    /// One `FileInfo`; the first block of a segment.
    pub const FILE: Self = Self(1);
    /// `ClockSample`s.
    pub const CLOCK: Self = Self(2);
    /// `Event`s that tell what was alive when the segment was begun.
    pub const SNAPSHOT: Self = Self(3);
    /// Packets, in columns.
    pub const PACKETS: Self = Self(4);
    /// `Event`s.
    pub const EVENTS: Self = Self(5);
    /// `LossReport`s.
    pub const LOSS: Self = Self(6);
    /// Entries of the blocks since the last INDEX.
    pub const INDEX: Self = Self(7);
    /// Entries of all blocks, counts and digest; the last block of a sealed segment.
    pub const SEAL: Self = Self(8);
    /// The segment's key, encrypted to its recipients.
    pub const KEY: Self = Self(9);

    /// Payload bytes that the payloads of other blocks repeat.
    pub const DICTIONARY: Self = Self(10);

    /// The name in `spec/segment.md`, or `None` for types of later versions.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::FILE => "FILE",
            Self::CLOCK => "CLOCK",
            Self::SNAPSHOT => "SNAPSHOT",
            Self::PACKETS => "PACKETS",
            Self::EVENTS => "EVENTS",
            Self::LOSS => "LOSS",
            Self::INDEX => "INDEX",
            Self::SEAL => "SEAL",
            Self::KEY => "KEY",
            Self::DICTIONARY => "DICTIONARY",
            _ => return None,
        })
    }
}

impl fmt::Display for BlockType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "unknown type {}", self.0),
        }
    }
}

impl fmt::Debug for BlockType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bits of [`BlockEntry::flags`](crate::BlockEntry::flags).
pub mod block_flags {
    /// A reader that doesn't know the block's type must refuse the segment instead of skipping the block.
    pub const CRITICAL: u16 = 1 << 0;
}

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Codec {
    Stored = 0,
    Zstd = 1,
    /// zstd, with a dictionary that the block names.
    ZstdDictionary = 2,
}

impl Codec {
    pub(crate) fn from_u8(number: u8) -> Result<Self, Fault> {
        match number {
            0 => Ok(Self::Stored),
            1 => Ok(Self::Zstd),
            2 => Ok(Self::ZstdDictionary),
            _ => Err(Fault::Unsupported("an unknown codec")),
        }
    }
}

/// Cipher id of bytes that are not encrypted.
pub(crate) const CIPHER_NONE: u8 = 0;
/// Cipher id of bytes that are encrypted with ChaCha20-Poly1305 (RFC 8439) and the key of the KEY blocks; all others are
/// reserved.
pub(crate) const CIPHER_CHACHA20_POLY1305: u8 = 1;

/// Where each field begins, in bytes; each is the one before plus its length.
mod at {
    pub(super) const SYNC: usize = 0;
    pub(super) const HEADER_CRC: usize = SYNC + 8;
    pub(super) const PAYLOAD_CRC: usize = HEADER_CRC + 4;
    pub(super) const SEGMENT_ID: usize = PAYLOAD_CRC + 4;
    pub(super) const OFFSET: usize = SEGMENT_ID + 16;
    pub(super) const SYNCED_OFFSET: usize = OFFSET + 8;
    pub(super) const SEQUENCE: usize = SYNCED_OFFSET + 8;
    pub(super) const RECORD_COUNT: usize = SEQUENCE + 4;
    pub(super) const STORED_LEN: usize = RECORD_COUNT + 4;
    pub(super) const RAW_LEN: usize = STORED_LEN + 4;
    pub(super) const FIRST_TIME: usize = RAW_LEN + 4;
    pub(super) const LAST_TIME: usize = FIRST_TIME + 8;
    pub(super) const BLOCK_TYPE: usize = LAST_TIME + 8;
    pub(super) const FLAGS: usize = BLOCK_TYPE + 2;
    pub(super) const CODEC: usize = FLAGS + 2;
    pub(super) const CIPHER: usize = CODEC + 1;
    pub(super) const VERSION: usize = CIPHER + 1;
    pub(super) const HEADER_LEN: usize = VERSION + 2;
    pub(super) const RESERVED: usize = HEADER_LEN + 2;
    pub(super) const DIRECTORY_CRC: usize = RESERVED + 2;
    pub(super) const END: usize = DIRECTORY_CRC + 4;
}

/// Bytes of the header that this version writes.
pub(crate) const BLOCK_HEADER_LEN: usize = at::END;

/// A block's header, in the order of its bytes. The CRC of the header itself is made and checked on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    /// CRC32C of the rest of the header; filled by `decode`.
    pub(crate) header_crc: u32,
    pub(crate) payload_crc: u32,
    pub(crate) segment_id: [u8; 16],
    pub(crate) offset: u64,
    pub(crate) synced_offset: u64,
    pub(crate) sequence: u32,
    pub(crate) record_count: u32,
    pub(crate) stored_len: u32,
    pub(crate) raw_len: u32,
    pub(crate) first_time_ns: u64,
    pub(crate) last_time_ns: u64,
    pub(crate) block_type: BlockType,
    pub(crate) flags: u16,
    pub(crate) codec: u8,
    pub(crate) cipher: u8,
    pub(crate) version: u16,
    pub(crate) header_len: u16,
    /// That of the directory of a PACKETS block, 0 for all others: it makes the directory, which is read without the
    /// rest of the payload, that of this block.
    pub(crate) directory_crc: u32,
}

impl BlockHeader {
    /// Where the payload begins in the file.
    pub(crate) fn payload_offset(&self) -> u64 {
        self.offset + u64::from(self.header_len)
    }

    /// Where the payload ends in the file.
    pub(crate) fn payload_end(&self) -> u64 {
        self.payload_offset() + u64::from(self.stored_len)
    }

    /// Where the next block begins.
    pub(crate) fn next_offset(&self) -> u64 {
        self.payload_end().next_multiple_of(BLOCK_ALIGNMENT)
    }

    /// The bytes of the header, its CRC computed and also put into `self`.
    pub(crate) fn encode(&mut self) -> [u8; BLOCK_HEADER_LEN] {
        let mut bytes = [0; BLOCK_HEADER_LEN];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(at::SYNC, &SYNC_MARKER);
        put(at::PAYLOAD_CRC, &self.payload_crc.to_le_bytes());
        put(at::SEGMENT_ID, &self.segment_id);
        put(at::OFFSET, &self.offset.to_le_bytes());
        put(at::SYNCED_OFFSET, &self.synced_offset.to_le_bytes());
        put(at::SEQUENCE, &self.sequence.to_le_bytes());
        put(at::RECORD_COUNT, &self.record_count.to_le_bytes());
        put(at::STORED_LEN, &self.stored_len.to_le_bytes());
        put(at::RAW_LEN, &self.raw_len.to_le_bytes());
        put(at::FIRST_TIME, &self.first_time_ns.to_le_bytes());
        put(at::LAST_TIME, &self.last_time_ns.to_le_bytes());
        put(at::BLOCK_TYPE, &self.block_type.0.to_le_bytes());
        put(at::FLAGS, &self.flags.to_le_bytes());
        put(at::CODEC, &[self.codec]);
        put(at::CIPHER, &[self.cipher]);
        put(at::VERSION, &self.version.to_le_bytes());
        put(at::HEADER_LEN, &self.header_len.to_le_bytes());
        put(at::DIRECTORY_CRC, &self.directory_crc.to_le_bytes());
        self.header_crc = checksum::crc32c(&bytes[at::PAYLOAD_CRC..]);
        bytes[at::HEADER_CRC..at::PAYLOAD_CRC].copy_from_slice(&self.header_crc.to_le_bytes());
        bytes
    }

    /// Reads the header at the beginning of `bytes`, which lie at `offset` in the file.
    ///
    /// `None` when the bytes end before the header does; that is a torn tail if nothing follows.
    pub(crate) fn decode(bytes: &[u8], offset: u64) -> Option<Result<Self, Fault>> {
        let fixed: &[u8; BLOCK_HEADER_LEN] = bytes.first_chunk()?;
        if fixed[..SYNC_MARKER.len()] != SYNC_MARKER {
            return Some(Err(Fault::Corrupt("no sync marker")));
        }
        let header_len = u16_at(fixed, at::HEADER_LEN);
        if usize::from(header_len) < BLOCK_HEADER_LEN || header_len > BLOCK_HEADER_LEN_MAX {
            return Some(Err(Fault::Corrupt("the header's length is out of range")));
        }
        let covered = bytes.get(at::PAYLOAD_CRC..usize::from(header_len))?;
        let header = Self {
            header_crc: u32_at(fixed, at::HEADER_CRC),
            payload_crc: u32_at(fixed, at::PAYLOAD_CRC),
            segment_id: array_at(fixed, at::SEGMENT_ID),
            offset: u64_at(fixed, at::OFFSET),
            synced_offset: u64_at(fixed, at::SYNCED_OFFSET),
            sequence: u32_at(fixed, at::SEQUENCE),
            record_count: u32_at(fixed, at::RECORD_COUNT),
            stored_len: u32_at(fixed, at::STORED_LEN),
            raw_len: u32_at(fixed, at::RAW_LEN),
            first_time_ns: u64_at(fixed, at::FIRST_TIME),
            last_time_ns: u64_at(fixed, at::LAST_TIME),
            block_type: BlockType(u16_at(fixed, at::BLOCK_TYPE)),
            flags: u16_at(fixed, at::FLAGS),
            codec: fixed[at::CODEC],
            cipher: fixed[at::CIPHER],
            version: u16_at(fixed, at::VERSION),
            header_len,
            directory_crc: u32_at(fixed, at::DIRECTORY_CRC),
        };
        Some(header.check(checksum::crc32c(covered), offset).map(|()| header))
    }

    fn check(&self, crc: u32, offset: u64) -> Result<(), Fault> {
        let wrong = [
            (!checksum::matches(crc, self.header_crc), "the header's checksum is wrong"),
            (self.offset != offset, "the block belongs at another offset"),
            (self.synced_offset > offset, "the synced offset lies behind the block"),
            (self.sequence >= SEGMENT_BLOCK_COUNT_MAX, "more blocks than a segment may have"),
            (self.record_count > BLOCK_RECORD_COUNT_MAX, "more records than a block may have"),
            (self.stored_len > BLOCK_STORED_LEN_MAX, "the stored length exceeds the limit"),
            (self.raw_len > BLOCK_RAW_LEN_MAX, "the raw length exceeds the limit"),
        ];
        if let Some((_, what)) = wrong.iter().find(|(wrong, _)| *wrong) {
            return Err(Fault::Corrupt(what));
        }
        if self.version > FORMAT_VERSION || self.version == 0 {
            return Err(Fault::Unsupported("another format version"));
        }
        Ok(())
    }
}

fn array_at<const N: usize>(bytes: &[u8; BLOCK_HEADER_LEN], at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[at..at + N]);
    value
}

fn u16_at(bytes: &[u8; BLOCK_HEADER_LEN], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

fn u32_at(bytes: &[u8; BLOCK_HEADER_LEN], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8; BLOCK_HEADER_LEN], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BlockHeader {
        BlockHeader {
            header_crc: 0,
            payload_crc: 0x0403_0201,
            segment_id: *b"0123456789abcdef",
            offset: 0x1000,
            synced_offset: 0x0FF8,
            sequence: 5,
            record_count: 6,
            stored_len: 7,
            raw_len: 8,
            first_time_ns: 9,
            last_time_ns: 10,
            block_type: BlockType::PACKETS,
            flags: block_flags::CRITICAL,
            codec: 1,
            cipher: 2,
            version: FORMAT_VERSION,
            header_len: BLOCK_HEADER_LEN as u16,
            directory_crc: 0x0D0C_0B0A,
        }
    }

    #[test]
    fn bytes_lie_as_the_specification_shows_them() {
        let bytes = header().encode();
        let mut expected = Vec::new();
        expected.extend_from_slice(b"\x93KCAP\x0D\x0A\x1A");
        expected.extend_from_slice(&bytes[8..12]);
        expected.extend_from_slice(b"\x01\x02\x03\x040123456789abcdef");
        expected.extend_from_slice(b"\x00\x10\0\0\0\0\0\0\xF8\x0F\0\0\0\0\0\0");
        expected.extend_from_slice(b"\x05\0\0\0\x06\0\0\0\x07\0\0\0\x08\0\0\0");
        expected.extend_from_slice(b"\x09\0\0\0\0\0\0\0\x0A\0\0\0\0\0\0\0");
        expected.extend_from_slice(b"\x04\0\x01\0\x01\x02\x01\0\x60\0\0\0\x0A\x0B\x0C\x0D");
        assert_eq!(bytes, expected[..]);
        assert_eq!(bytes.len(), 96);
        assert_eq!(bytes[8..12], crc32c::crc32c(&bytes[12..]).to_le_bytes());
        assert_eq!(crc32c::crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn headers_come_back_also_with_fields_of_later_versions() {
        let mut header = header();
        let bytes = header.encode();
        assert_eq!(BlockHeader::decode(&bytes, 0x1000), Some(Ok(header)));

        let mut longer = bytes.to_vec();
        longer.extend_from_slice(b"a field!");
        longer[88] += 8;
        let crc = crc32c::crc32c(&longer[12..]);
        longer[8..12].copy_from_slice(&crc.to_le_bytes());
        let read = BlockHeader::decode(&longer, 0x1000).unwrap().unwrap();
        assert_eq!((read.header_len, read.payload_offset()), (104, 0x1000 + 104));
        assert_eq!(BlockHeader::decode(&longer[..103], 0x1000), None);
    }

    #[test]
    fn what_is_beyond_a_limit_is_refused_though_its_checksum_is_right() {
        let refused = |change: fn(&mut BlockHeader)| {
            let mut header = header();
            change(&mut header);
            let bytes = header.encode();
            BlockHeader::decode(&bytes, 0x1000).unwrap().unwrap_err()
        };
        for change in [
            (|header| header.offset = 0x1008) as fn(&mut BlockHeader),
            |header| header.synced_offset = 0x1001,
            |header| header.sequence = SEGMENT_BLOCK_COUNT_MAX,
            |header| header.record_count = BLOCK_RECORD_COUNT_MAX + 1,
            |header| header.stored_len = BLOCK_STORED_LEN_MAX + 1,
            |header| header.raw_len = BLOCK_RAW_LEN_MAX + 1,
            |header| header.header_len = 95,
            |header| header.header_len = BLOCK_HEADER_LEN_MAX + 1,
        ] {
            assert!(matches!(refused(change), Fault::Corrupt(_)));
        }
        assert!(matches!(refused(|header| header.version = FORMAT_VERSION + 1), Fault::Unsupported(_)));
    }
}
