//! What INDEX and SEAL say about the blocks before them.

use crate::bytes::Reader;
use crate::error::Fault;
use crate::header::{BlockHeader, BlockType};
use crate::limits::{END_MARKER, SEGMENT_BLOCK_COUNT_MAX};

/// A block as its header, an INDEX or the SEAL describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// Where the block's header begins in the file.
    pub offset: u64,
    /// Time of the first record, in nanoseconds since boot; 0 when the block has none.
    pub first_time_ns: u64,
    /// Time of the last record, in nanoseconds since boot.
    pub last_time_ns: u64,
    /// Counts the blocks of the segment, from 0.
    pub sequence: u32,
    /// Packets, events or other messages in the block.
    pub record_count: u32,
    /// Bytes of the payload in the file.
    pub stored_len: u32,
    /// Bytes of the records before compression.
    pub raw_len: u32,
    /// CRC32C of the block's header, which in turn holds that of the payload.
    pub header_crc32c: u32,
    /// What the block holds.
    pub block_type: BlockType,
    /// [`block_flags`](crate::block_flags).
    pub flags: u16,
}

/// Bytes of an entry in INDEX and SEAL.
pub(crate) const BLOCK_ENTRY_LEN: usize = 8 * 3 + 4 * 5 + 2 * 2;

impl BlockEntry {
    pub(crate) fn of(header: &BlockHeader) -> Self {
        Self {
            offset: header.offset,
            first_time_ns: header.first_time_ns,
            last_time_ns: header.last_time_ns,
            sequence: header.sequence,
            record_count: header.record_count,
            stored_len: header.stored_len,
            raw_len: header.raw_len,
            header_crc32c: header.header_crc,
            block_type: header.block_type,
            flags: header.flags,
        }
    }

    /// BLAKE3 of entries as INDEX has them: whoever changes a byte of one of these blocks changes it, since an entry
    /// holds the checksum of the header, and that the one of the payload.
    #[must_use]
    pub fn digest_of(entries: &[Self]) -> [u8; 32] {
        let mut encoded = Vec::with_capacity(entries.len() * BLOCK_ENTRY_LEN);
        entries.iter().for_each(|entry| entry.encode(&mut encoded));
        *blake3::hash(&encoded).as_bytes()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for value in [self.offset, self.first_time_ns, self.last_time_ns] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for value in [self.sequence, self.record_count, self.stored_len, self.raw_len, self.header_crc32c] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for value in [self.block_type.0, self.flags] {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            offset: from.u64()?,
            first_time_ns: from.u64()?,
            last_time_ns: from.u64()?,
            sequence: from.u32()?,
            record_count: from.u32()?,
            stored_len: from.u32()?,
            raw_len: from.u32()?,
            header_crc32c: from.u32()?,
            block_type: BlockType(from.u16()?),
            flags: from.u16()?,
        })
    }
}

/// Reads as many entries as the bytes hold, at most a segment's.
fn decode_entries(bytes: &[u8], count: u32) -> Option<Vec<BlockEntry>> {
    if count > SEGMENT_BLOCK_COUNT_MAX || bytes.len() != count as usize * BLOCK_ENTRY_LEN {
        return None;
    }
    let mut from = Reader(bytes);
    (0..count).map(|_| BlockEntry::decode(&mut from)).collect()
}

/// Payload of an INDEX block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    /// Offset of the INDEX before this one, 0 when there is none.
    pub(crate) previous_offset: u64,
    /// The blocks since then, that INDEX itself included.
    pub(crate) entries: Vec<BlockEntry>,
}

impl Index {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.entries.len() * BLOCK_ENTRY_LEN);
        out.extend_from_slice(&self.previous_offset.to_le_bytes());
        out.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        self.entries.iter().for_each(|entry| entry.encode(&mut out));
        out
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Fault> {
        let mut from = Reader(payload);
        let mut read = || {
            let previous_offset = from.u64()?;
            let count = from.u32()?;
            from.u32()?;
            Some(Self { previous_offset, entries: decode_entries(from.0, count)? })
        };
        read().ok_or(Fault::Corrupt("the INDEX has another length than it states"))
    }
}

/// How many blocks of one type there are, and how many records they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeCount {
    /// The type.
    pub block_type: BlockType,
    /// Blocks of it.
    pub block_count: u32,
    /// Records in them.
    pub record_count: u64,
}

/// What the SEAL says of its segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// BLAKE3 of all bytes of the file before the SEAL block: what the next segment's FILE names.
    pub digest: [u8; 32],
    /// Bytes of the whole file, the SEAL included.
    pub len: u64,
    /// Time of the first packet or event, in nanoseconds since boot; 0 when there is none.
    pub first_time_ns: u64,
    /// Time of the last packet or event.
    pub last_time_ns: u64,
    /// Blocks and records by type, in the order of the types' numbers.
    pub counts: Vec<TypeCount>,
}

const SEAL_FIXED_LEN: usize = 32 + 8 * 2 + 4 * 2;
const TYPE_COUNT_LEN: usize = 2 + 2 + 4 + 8;
/// Offset of the SEAL block, then [`END_MARKER`]: the last bytes of the file.
pub(crate) const TRAILER_LEN: usize = 8 + END_MARKER.len();

impl Seal {
    /// Records in blocks of this type.
    #[must_use]
    pub fn record_count(&self, block_type: BlockType) -> u64 {
        self.counts.iter().find(|count| count.block_type == block_type).map_or(0, |count| count.record_count)
    }

    /// Sums the entries up. `len` is filled when the SEAL's place is known.
    pub(crate) fn of(entries: &[BlockEntry], digest: [u8; 32]) -> Self {
        let mut counts = std::collections::BTreeMap::new();
        let (mut first_time_ns, mut last_time_ns) = (u64::MAX, 0);
        for entry in entries {
            let count = counts.entry(entry.block_type).or_insert((0u32, 0u64));
            count.0 += 1;
            count.1 += u64::from(entry.record_count);
            if matches!(entry.block_type, BlockType::PACKETS | BlockType::EVENTS) && entry.record_count > 0 {
                first_time_ns = first_time_ns.min(entry.first_time_ns);
                last_time_ns = last_time_ns.max(entry.last_time_ns);
            }
        }
        let counts = counts
            .into_iter()
            .map(|(block_type, (block_count, record_count))| TypeCount {
                block_type,
                block_count,
                record_count,
            })
            .collect();
        Self { digest, len: 0, first_time_ns: first_time_ns.min(last_time_ns), last_time_ns, counts }
    }

    /// The payload of the SEAL block at `offset`.
    pub(crate) fn encode(&self, entries: &[BlockEntry], offset: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(
            SEAL_FIXED_LEN
                + self.counts.len() * TYPE_COUNT_LEN
                + entries.len() * BLOCK_ENTRY_LEN
                + TRAILER_LEN,
        );
        out.extend_from_slice(&self.digest);
        out.extend_from_slice(&self.first_time_ns.to_le_bytes());
        out.extend_from_slice(&self.last_time_ns.to_le_bytes());
        out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.counts.len() as u32).to_le_bytes());
        for count in &self.counts {
            out.extend_from_slice(&count.block_type.0.to_le_bytes());
            out.extend_from_slice(&0u16.to_le_bytes());
            out.extend_from_slice(&count.block_count.to_le_bytes());
            out.extend_from_slice(&count.record_count.to_le_bytes());
        }
        entries.iter().for_each(|entry| entry.encode(&mut out));
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&END_MARKER);
        out
    }

    /// The seal and the entries of all blocks before it. `offset` is that of the SEAL block, `len` the file's.
    pub(crate) fn decode(payload: &[u8], offset: u64, len: u64) -> Result<(Self, Vec<BlockEntry>), Fault> {
        let (digest, counts, entries) =
            Self::decode_parts(payload, offset).ok_or(Fault::Corrupt("the SEAL's payload is malformed"))?;
        let mut seal = Self::of(&entries, digest);
        if seal.counts != counts {
            return Err(Fault::Corrupt("the SEAL's counts are not those of its entries"));
        }
        seal.len = len;
        Ok((seal, entries))
    }

    fn decode_parts(payload: &[u8], offset: u64) -> Option<([u8; 32], Vec<TypeCount>, Vec<BlockEntry>)> {
        let (body, trailer) = payload.split_at_checked(payload.len().checked_sub(TRAILER_LEN)?)?;
        if seal_offset(trailer)? != offset {
            return None;
        }
        let mut from = Reader(body);
        let digest = from.array()?;
        let (_first_time_ns, _last_time_ns) = (from.u64()?, from.u64()?);
        let entry_count = from.u32()?;
        let type_count = from.u32()?;
        let counts_len = (type_count as usize).checked_mul(TYPE_COUNT_LEN)?;
        let counts = from.take(counts_len)?.chunks_exact(TYPE_COUNT_LEN).map(decode_type_count);
        Some((digest, counts.collect::<Option<_>>()?, decode_entries(from.0, entry_count)?))
    }
}

fn decode_type_count(bytes: &[u8]) -> Option<TypeCount> {
    let mut from = Reader(bytes);
    let block_type = BlockType(from.u16()?);
    from.u16()?;
    Some(TypeCount { block_type, block_count: from.u32()?, record_count: from.u64()? })
}

/// The offset of the SEAL, if these are the last bytes of a sealed segment.
pub(crate) fn seal_offset(trailer: &[u8]) -> Option<u64> {
    let mut from = Reader(trailer);
    let offset = from.u64()?;
    (from.0 == END_MARKER).then_some(offset)
}
