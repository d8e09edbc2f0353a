//! From records to the payload of a block, independent of any file.

use std::sync::Arc;

use crate::batch::PacketBatch;
use crate::compression::{Compression, Effort};
use crate::dictionary::{Dictionary, DictionaryPool};
use crate::header::{BlockType, CIPHER_NONE, Codec, block_flags};
use crate::messages;
use crate::packets::{self, EncodedPackets, PacketEncoder};
use crate::proto;

/// Encodes blocks. It keeps its buffers and what it learned about the traffic: use one a thread, for long.
#[derive(Default)]
pub struct BlockEncoder {
    compression: Compression,
    packets: PacketEncoder,
    dictionaries: Arc<DictionaryPool>,
    raw: Vec<u8>,
}

/// A block's payload and what its header says about it; [`SegmentWriter::append`](crate::SegmentWriter::append)
/// gives it a place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EncodedBlock {
    /// What the block holds.
    pub block_type: BlockType,
    /// The payload as it is to be stored.
    pub payload: Vec<u8>,
    /// Bytes of the records before compression.
    pub raw_len: u32,
    /// Packets, events or other messages.
    pub record_count: u32,
    /// Time of the first record, in nanoseconds since boot; 0 when there is none.
    pub first_time_ns: u64,
    /// Time of the last record.
    pub last_time_ns: u64,
    /// [`block_flags`].
    pub flags: u16,
    pub(crate) codec: Codec,
    /// Of packets: the checksum of the payload's directory.
    pub(crate) directory_crc: u32,
    /// Of `payload`; [`CIPHER_NONE`] where the writer is to encrypt it.
    pub(crate) cipher: u8,
    /// What the payload's bytes are compressed with: the writer sees to it that the segment has it.
    pub(crate) dictionary: Option<Arc<Dictionary>>,
    /// Length of the longest message, 0 for packets: checked when the block is written.
    pub(crate) message_len_max: usize,
}

impl EncodedBlock {
    /// A DICTIONARY block.
    pub(crate) fn dictionary(bytes: &[u8], effort: Effort, compression: &mut Compression) -> Self {
        let (codec, payload) = compression.compress(bytes, effort);
        Self {
            block_type: BlockType::DICTIONARY,
            payload: payload.to_vec(),
            raw_len: saturate(bytes.len()),
            record_count: 1,
            first_time_ns: 0,
            last_time_ns: 0,
            flags: block_flags::CRITICAL,
            codec,
            directory_crc: 0,
            cipher: CIPHER_NONE,
            dictionary: None,
            message_len_max: 0,
        }
    }
}

impl BlockEncoder {
    /// An encoder that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An encoder that uses the same dictionaries as others.
    #[must_use]
    pub fn with_dictionaries(dictionaries: Arc<DictionaryPool>) -> Self {
        Self { dictionaries, ..Self::default() }
    }

    /// A PACKETS block. End batches near [`BLOCK_RAW_LEN_TARGET`](crate::limits::BLOCK_RAW_LEN_TARGET): one beyond
    /// the limits is refused when it is written.
    pub fn packets(&mut self, batch: &PacketBatch, effort: Effort) -> EncodedBlock {
        let EncodedPackets { payload, dictionary } =
            self.packets.encode(batch, effort, &mut self.compression, &self.dictionaries);
        let (first_time_ns, last_time_ns) = time_range(batch.time_ns.iter().map(|&time| (time, time)));
        EncodedBlock {
            block_type: BlockType::PACKETS,
            directory_crc: packets::directory_crc(&payload).unwrap_or(0),
            cipher: CIPHER_NONE,
            payload,
            raw_len: saturate(batch.raw_len()),
            record_count: saturate(batch.len),
            first_time_ns,
            last_time_ns,
            flags: block_flags::CRITICAL,
            codec: Codec::Stored,
            dictionary,
            message_len_max: 0,
        }
    }

    /// An EVENTS block. Divide long lists with [`split_events`](crate::split_events).
    pub fn events(&mut self, events: &[proto::Event], effort: Effort) -> EncodedBlock {
        self.messages(BlockType::EVENTS, events, |event| (event.time_ns, event.time_ns), effort)
    }

    /// A SNAPSHOT block. Divide long lists with [`split_events`](crate::split_events).
    pub fn snapshot(&mut self, events: &[proto::Event], effort: Effort) -> EncodedBlock {
        self.messages(BlockType::SNAPSHOT, events, |event| (event.time_ns, event.time_ns), effort)
    }

    /// A CLOCK block.
    pub fn clock(&mut self, samples: &[proto::ClockSample]) -> EncodedBlock {
        let time = |sample: &proto::ClockSample| (sample.boot_before_ns, sample.boot_after_ns);
        self.messages(BlockType::CLOCK, samples, time, Effort::default())
    }

    /// A LOSS block.
    pub fn losses(&mut self, reports: &[proto::LossReport]) -> EncodedBlock {
        self.messages(BlockType::LOSS, reports, |report| (report.begin_ns, report.end_ns), Effort::default())
    }

    /// The FILE block; [`SegmentWriter::create`](crate::SegmentWriter::create) writes it.
    pub fn file(&mut self, file: &proto::FileInfo) -> EncodedBlock {
        let time = |file: &proto::FileInfo| {
            file.clock.as_ref().map_or((0, 0), |clock| (clock.boot_before_ns, clock.boot_after_ns))
        };
        self.messages(BlockType::FILE, std::slice::from_ref(file), time, Effort::Stored)
    }

    fn messages<M: prost::Message>(
        &mut self,
        block_type: BlockType,
        messages: &[M],
        time_of: impl Fn(&M) -> (u64, u64),
        effort: Effort,
    ) -> EncodedBlock {
        self.raw.clear();
        let message_len_max = messages::encode(messages, &mut self.raw);
        let (codec, payload) = self.compression.compress(&self.raw, effort);
        let (first_time_ns, last_time_ns) = time_range(messages.iter().map(time_of));
        EncodedBlock {
            block_type,
            payload: payload.to_vec(),
            raw_len: saturate(self.raw.len()),
            record_count: saturate(messages.len()),
            first_time_ns,
            last_time_ns,
            flags: block_flags::CRITICAL,
            codec,
            directory_crc: 0,
            cipher: CIPHER_NONE,
            dictionary: None,
            message_len_max,
        }
    }
}

fn time_range(times: impl Iterator<Item = (u64, u64)>) -> (u64, u64) {
    times.reduce(|range, time| (range.0.min(time.0), range.1.max(time.1))).unwrap_or((0, 0))
}

/// A length that doesn't fit is beyond every limit, and so is the value it saturates at.
fn saturate(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
