//! Reading the records of blocks.

use std::borrow::Cow;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::block::{Refusal, block_of_entry, check_payload};
use super::plain::{PLAIN, check_cipher, give_back_large};
use super::{Inner, Segment};
use crate::batch::PacketBatch;
use crate::clock::ClockMap;
use crate::compression::decompress;
use crate::encoder::EncodedBlock;
use crate::error::{Error, Fault, Result};
use crate::header::{BlockHeader, BlockType, Codec};
use crate::index::BlockEntry;
use crate::limits::{CLOCK_SAMPLE_COUNT_MAX, MESSAGES_RAW_LEN_MAX};
use crate::packets::{self, PacketColumns};
use crate::{messages, proto};

impl Segment {
    /// The packets of a block. Only the sections of the wanted columns are touched.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the bytes are not those that were written, [`Error::Unsupported`] when a later version
    /// wrote them, [`Error::Encrypted`] when they are for others, [`Error::WrongBlockType`] when the block holds none.
    pub fn packets(&self, block: &BlockEntry, columns: PacketColumns) -> Result<PacketBatch> {
        let mut batch = PacketBatch::default();
        self.packets_into(block, columns, &mut batch)?;
        Ok(batch)
    }

    /// As [`Self::packets`], into a batch whose memory is used again. After an error the batch is empty.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn packets_into(
        &self,
        block: &BlockEntry,
        columns: PacketColumns,
        batch: &mut PacketBatch,
    ) -> Result<()> {
        batch.clear_large();
        expect_type(block, &[BlockType::PACKETS], "PACKETS blocks")?;
        let (header, payload) = self.0.payload(block)?;
        let stated = (&header).into();
        if columns.intersects(PacketColumns::PAYLOAD) {
            self.0.load_dictionaries();
        }
        let dictionaries = &|id| self.0.dictionary(id);
        let decoded = match self.0.key_of(block, &header)? {
            None => packets::decode(payload, stated, columns, dictionaries, batch),
            Some(key) => PLAIN.with_borrow_mut(|plain| {
                plain.clear();
                key.decrypt(&header, payload, packets::DIRECTORY_LEN_MAX, plain)?;
                let len = packets::prefix_len(plain, stated, columns)?;
                key.decrypt(&header, payload, len, plain)?;
                let decoded = packets::decode(plain, stated, columns, dictionaries, batch);
                give_back_large(plain);
                decoded
            }),
        };
        if let Ok(offset) = usize::try_from(block.offset) {
            let end = offset + usize::from(header.header_len) + payload.len();
            self.0.bytes.release(offset..end, self.0.is_last_of_packets(block));
        }
        decoded.map_err(|fault| self.0.fault(block, fault))
    }

    /// The packets of many blocks, decoded on all processors, in the order of the blocks.
    pub fn par_packets<'a>(
        &'a self,
        blocks: &'a [BlockEntry],
        columns: PacketColumns,
    ) -> impl IndexedParallelIterator<Item = Result<PacketBatch>> + 'a {
        blocks.par_iter().map(move |block| self.packets(block, columns))
    }

    /// The events of an EVENTS or SNAPSHOT block. Kinds that this version doesn't know come as events without one:
    /// count them.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn events(&self, block: &BlockEntry) -> Result<Vec<proto::Event>> {
        expect_type(block, &[BlockType::EVENTS, BlockType::SNAPSHOT], "EVENTS and SNAPSHOT blocks")?;
        self.0.messages(block)
    }

    /// The samples of a CLOCK block.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn clocks(&self, block: &BlockEntry) -> Result<Vec<proto::ClockSample>> {
        expect_type(block, &[BlockType::CLOCK], "CLOCK blocks")?;
        self.0.messages(block)
    }

    /// The reports of a LOSS block.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn losses(&self, block: &BlockEntry) -> Result<Vec<proto::LossReport>> {
        expect_type(block, &[BlockType::LOSS], "LOSS blocks")?;
        self.0.messages(block)
    }

    /// The bytes of each message of a block, unknown fields included, for whoever passes them on.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn message_bytes(&self, block: &BlockEntry) -> Result<Vec<Vec<u8>>> {
        const WITH_MESSAGES: [BlockType; 5] =
            [BlockType::FILE, BlockType::CLOCK, BlockType::SNAPSHOT, BlockType::EVENTS, BlockType::LOSS];
        expect_type(block, &WITH_MESSAGES, "blocks of messages")?;
        let (raw, header) = self.0.raw_messages(block)?;
        let messages =
            messages::split(&raw, header.record_count).map_err(|fault| self.0.fault(block, fault))?;
        Ok(messages.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// All events of the segment, those of its SNAPSHOT first.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn all_events(&self) -> Result<Vec<proto::Event>> {
        let blocks = self.blocks_of(BlockType::SNAPSHOT).chain(self.blocks_of(BlockType::EVENTS));
        concat(blocks.map(|block| self.events(block)))
    }

    /// All clock samples of the segment, that of its FILE block first, however many: see [`Self::clock_map`] for what they are
    /// for.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn all_clocks(&self) -> Result<Vec<proto::ClockSample>> {
        let mut clocks: Vec<_> = self.file_info().clock.into_iter().collect();
        clocks.extend(concat(self.blocks_of(BlockType::CLOCK).map(|block| self.clocks(block)))?);
        Ok(clocks)
    }

    /// Turns times since boot into wall time, from the samples of the FILE block and all CLOCK blocks. `on_error` hears of
    /// blocks that can't be read, and of those with more samples than [`CLOCK_SAMPLE_COUNT_MAX`] leaves room for, which are not
    /// looked at; an error of its own ends the reading.
    ///
    /// # Errors
    /// Those of `on_error`.
    pub fn clock_map<E>(
        &self,
        mut on_error: impl FnMut(&BlockEntry, Error) -> Result<(), E>,
    ) -> Result<ClockMap, E> {
        let mut map = ClockMap::default();
        map.push(self.file_info().clock.as_slice());
        let mut room = CLOCK_SAMPLE_COUNT_MAX;
        for block in self.blocks_of(BlockType::CLOCK) {
            let read = match room.checked_sub(block.record_count) {
                Some(rest) => {
                    room = rest;
                    self.clocks(block)
                }
                None => {
                    Err(self.0.fault(block, Fault::Corrupt("more clock samples than a segment may have")))
                }
            };
            match read {
                Ok(samples) => map.push(&samples),
                Err(error) => on_error(block, error)?,
            }
        }
        map.finish();
        Ok(map)
    }

    /// All loss reports of the segment.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn all_losses(&self) -> Result<Vec<proto::LossReport>> {
        concat(self.blocks_of(BlockType::LOSS).map(|block| self.losses(block)))
    }

    /// The block as it is stored, to be written to another segment. Its payload's checksum is checked, its records are
    /// not looked at.
    pub(crate) fn encoded_block(&self, block: &BlockEntry) -> Result<EncodedBlock> {
        let (header, payload) = self.0.payload(block)?;
        check_payload(&header, payload)
            .and_then(|()| check_cipher(&header))
            .and_then(|_| Codec::from_u8(header.codec))
            .map_err(|fault| self.0.fault(block, fault))
            .map(|codec| EncodedBlock {
                block_type: header.block_type,
                payload: payload.to_vec(),
                raw_len: header.raw_len,
                record_count: header.record_count,
                first_time_ns: header.first_time_ns,
                last_time_ns: header.last_time_ns,
                flags: header.flags,
                codec,
                directory_crc: header.directory_crc,
                cipher: header.cipher,
                dictionary: None,
                message_len_max: 0,
            })
    }

    /// Whether [`Self::encoded_block`] gives the block, as far as its header tells.
    pub(crate) fn check_copyable(&self, block: &BlockEntry) -> Result<(), Fault> {
        let (header, _) = block_of_entry(self.bytes(), block, self.id()).map_err(Refusal::fault)?;
        check_cipher(&header)?;
        Codec::from_u8(header.codec).map(drop)
    }

    /// Checks a block whole: its header, and its payload's checksum.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a byte is not as it was written.
    pub fn check_block(&self, block: &BlockEntry) -> Result<()> {
        let (header, payload) = self.0.payload(block)?;
        check_payload(&header, payload).map_err(|fault| self.0.fault(block, fault))
    }
}

impl Inner {
    /// Whether no block of packets comes after this one.
    fn is_last_of_packets(&self, block: &BlockEntry) -> bool {
        block.offset >= self.last_packets_offset
    }

    /// The messages of a block with their lengths, decompressed.
    pub(super) fn raw_messages(&self, block: &BlockEntry) -> Result<(Cow<'_, [u8]>, BlockHeader)> {
        self.raw_bytes(block, MESSAGES_RAW_LEN_MAX)
    }

    /// The payload of a block that is compressed as a whole, decompressed.
    pub(super) fn raw_bytes(
        &self,
        block: &BlockEntry,
        raw_len_max: u32,
    ) -> Result<(Cow<'_, [u8]>, BlockHeader)> {
        let (header, payload) = self.payload(block)?;
        let key = self.key_of(block, &header)?;
        let read = || {
            check_payload(&header, payload)?;
            if header.raw_len > raw_len_max {
                return Err(Fault::Corrupt("more bytes than a block of its type may have"));
            }
            let raw_len = header.raw_len as usize;
            let codec = Codec::from_u8(header.codec)?;
            let decompressed = |stored: &[u8]| {
                let mut raw = Vec::new();
                decompress(codec, stored, raw_len, &mut raw).map(|()| Cow::Owned(raw))
            };
            match key {
                None if codec == Codec::Stored && payload.len() == raw_len => Ok(Cow::Borrowed(payload)),
                None => decompressed(payload),
                Some(key) => PLAIN.with_borrow_mut(|plain| {
                    plain.clear();
                    key.decrypt(&header, payload, usize::MAX, plain)?;
                    let decompressed = decompressed(plain);
                    give_back_large(plain);
                    decompressed
                }),
            }
        };
        read().map(|raw| (raw, header)).map_err(|fault| self.fault(block, fault))
    }
}

fn expect_type(block: &BlockEntry, types: &[BlockType], wanted: &'static str) -> Result<()> {
    if types.contains(&block.block_type) {
        return Ok(());
    }
    Err(Error::WrongBlockType { offset: block.offset, found: block.block_type, wanted })
}

fn concat<T>(lists: impl Iterator<Item = Result<Vec<T>>>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    for list in lists {
        all.extend(list?);
    }
    Ok(all)
}
