//! From a batch to the payload of a PACKETS block.

use std::sync::Arc;

use crate::batch::{BytesColumn, PacketBatch};
use crate::compression::{Compression, Effort};
use crate::dictionary::{Dictionary, DictionaryPool, LEVEL_OF_STORED};
use crate::header::Codec;
use crate::limits::TRANSPOSED_ROW_LEN_MAX;
use crate::packets::bytes_section::{Rows, Transposition};
use crate::packets::classes::Classes;
use crate::packets::copies::{CopyFinder, PAYLOAD_EQUAL, distance};
use crate::packets::directory::{self, Section};
use crate::packets::integers::{self, Integer};
use crate::packets::{Encoding, section};

/// Encodes PACKETS payloads; keeps its memory and what it learned about the traffic.
#[derive(Default)]
pub(crate) struct PacketEncoder {
    classes: Classes,
    copies: CopyFinder,
    header: BytesEncoder,
    payload: BytesEncoder,
    raw: Vec<u8>,
    lens: Vec<u32>,
    uncaptured: Vec<u32>,
    sections: Vec<Section>,
    body: Vec<u8>,
}

/// The payload of a PACKETS block, and the dictionary that it needs.
pub(crate) struct EncodedPackets {
    pub(crate) payload: Vec<u8>,
    pub(crate) dictionary: Option<Arc<Dictionary>>,
}

impl PacketEncoder {
    pub(crate) fn encode(
        &mut self,
        batch: &PacketBatch,
        effort: Effort,
        compression: &mut Compression,
        dictionaries: &DictionaryPool,
    ) -> EncodedPackets {
        self.classes.find(batch);
        self.copies.find(batch);
        self.lens.clear();
        self.lens.extend(batch.header.lens());
        self.uncaptured.clear();
        let captured = self.lens.iter().zip(&batch.payload_len);
        self.uncaptured.extend(
            batch
                .wire_len
                .iter()
                .zip(captured)
                .map(|(wire, (header, payload))| wire.wrapping_sub(header.wrapping_add(*payload))),
        );

        self.sections.clear();
        self.body.clear();
        let mut sink = Sink { sections: &mut self.sections, body: &mut self.body, effort, compression };
        let raw = &mut self.raw;
        if let Some(encoding) = integers::encode_delta(&batch.time_ns, raw) {
            sink.section(section::TIME, encoding, raw);
        }
        let classes = &self.classes;
        sink.integers(section::CLASS, &classes.of_row, raw);
        sink.integers(section::SOCKET_COOKIE, &classes.socket_cookie, raw);
        sink.integers(section::NETNS_COOKIE, &classes.netns_cookie, raw);
        sink.integers(section::INTERFACE_INDEX, &classes.interface_index, raw);
        sink.integers(section::LINK_TYPE, &classes.link_type, raw);
        sink.integers(section::DIRECTION, &classes.direction, raw);
        sink.integers(section::FLAGS, &classes.flags, raw);
        sink.integers(section::PROGRAM, &classes.program, raw);
        sink.integers(section::MARK, &classes.mark, raw);
        sink.integers(section::TASKS, &classes.tasks, raw);
        sink.integers(section::CPU, &batch.cpu, raw);
        sink.integers(section::GSO_SIZE, &batch.gso_size, raw);
        sink.integers(section::GSO_SEGMENTS, &batch.gso_segments, raw);
        sink.integers(section::HEADER_LEN, &self.lens, raw);
        sink.integers(section::PAYLOAD_LEN, &batch.payload_len, raw);
        sink.integers(section::UNCAPTURED_LEN, &self.uncaptured, raw);
        sink.integers(section::COPY_OF, &self.copies.of_row, raw);
        let copies = &self.copies.of_row;
        let is_own = |row: usize| distance(copies[row]) == 0;
        if let Some((encoding, bytes)) = self.header.arrange(&batch.header, classes, is_own, &mut sink) {
            sink.section(section::HEADER, encoding, bytes);
        }
        let is_own = |row: usize| copies[row] & PAYLOAD_EQUAL == 0;
        let mut dictionary = None;
        if let Some((encoding, bytes)) = self.payload.arrange(&batch.payload, classes, is_own, &mut sink) {
            dictionary = sink.payload(encoding, bytes, dictionaries);
        }
        let payload = directory::join(&self.sections, batch.len, classes.len(), &self.body);
        EncodedPackets { payload, dictionary }
    }
}

/// Where encoded sections go.
struct Sink<'a> {
    sections: &'a mut Vec<Section>,
    body: &'a mut Vec<u8>,
    effort: Effort,
    compression: &'a mut Compression,
}

impl Sink<'_> {
    fn integers<T: Integer>(&mut self, id: u16, values: &[T], raw: &mut Vec<u8>) {
        if let Some(encoding) = integers::encode(values, raw) {
            self.section(id, encoding, raw);
        }
    }

    fn section(&mut self, id: u16, encoding: Encoding, raw: &[u8]) {
        let (codec, stored) = self.compression.compress(raw, self.effort);
        self.sections.push(entry(id, encoding, codec, raw, stored, self.body.len()));
        self.body.extend_from_slice(stored);
    }

    /// The PAYLOAD section, with a dictionary if there is one that helps; the block then names it.
    fn payload(
        &mut self,
        encoding: Encoding,
        raw: &[u8],
        dictionaries: &DictionaryPool,
    ) -> Option<Arc<Dictionary>> {
        let (level, dictionary) = match self.effort {
            Effort::Zstd { level } => (level, dictionaries.choose(raw, level, self.compression)),
            Effort::Stored => (LEVEL_OF_STORED, dictionaries.choose_known(raw, self.compression)),
        };
        if let Some(dictionary) = dictionary
            && let Some(stored) = self.compression.compress_with(raw, level, &dictionary)
        {
            let id = dictionary.id().to_le_bytes();
            let offset = self.body.len();
            self.sections.push(entry(section::DICTIONARY, Encoding::Plain, Codec::Stored, &id, &id, offset));
            self.body.extend_from_slice(&id);
            let (offset, codec) = (self.body.len(), Codec::ZstdDictionary);
            self.sections.push(entry(section::PAYLOAD, encoding, codec, raw, stored, offset));
            self.body.extend_from_slice(stored);
            return Some(dictionary);
        }
        self.section(section::PAYLOAD, encoding, raw);
        None
    }
}

/// The directory's entry of a section that begins at `offset`.
fn entry(id: u16, encoding: Encoding, codec: Codec, raw: &[u8], stored: &[u8], offset: usize) -> Section {
    Section {
        id,
        encoding: encoding as u8,
        codec: codec as u8,
        offset: offset as u32,
        stored_len: stored.len() as u32,
        raw_len: raw.len() as u32,
        crc: crc32c::crc32c(stored),
    }
}

/// Encodes a column of bytes in the way that was best for the traffic of late.
struct BytesEncoder {
    best: Encoding,
    blocks_until_trial: u32,
    transposition: Transposition,
    own: Vec<u8>,
    own_lens: Vec<u32>,
    own_classes: Vec<u32>,
    trial: Vec<u8>,
}

impl Default for BytesEncoder {
    fn default() -> Self {
        Self {
            best: Encoding::Plain,
            blocks_until_trial: 0,
            transposition: Transposition::default(),
            own: Vec::new(),
            own_lens: Vec::new(),
            own_classes: Vec::new(),
            trial: Vec::new(),
        }
    }
}

/// Rows are not transposed where less than one part in this many of their bytes would be.
const TRANSPOSED_WORTHWHILE_PART: usize = 8;
/// Blocks after which all encodings are tried again.
const TRIAL_BLOCK_COUNT: u32 = 32;

impl BytesEncoder {
    /// The bytes of the rows that the block stores itself, in the order in which they are compressed. `None` when there
    /// are none.
    fn arrange<'a>(
        &'a mut self,
        column: &'a BytesColumn,
        classes: &Classes,
        is_own: impl Fn(usize) -> bool,
        sink: &mut Sink<'_>,
    ) -> Option<(Encoding, &'a [u8])> {
        self.own_lens.clear();
        self.own_classes.clear();
        for (row, (len, &class)) in column.lens().zip(&classes.of_row).enumerate() {
            if is_own(row) {
                self.own_lens.push(len);
                self.own_classes.push(class);
            }
        }
        // Rows that are not kept are often empty: payloads that the kernel side left out.
        let own_len: usize = self.own_lens.iter().map(|len| *len as usize).sum();
        let plain = if own_len == column.data_len() {
            column.data()
        } else {
            self.own.clear();
            for row in (0..column.len()).filter(|&row| is_own(row)) {
                self.own.extend_from_slice(column.get(row).unwrap_or_default());
            }
            &self.own
        };
        if plain.is_empty() {
            return None;
        }
        if sink.effort == Effort::Stored {
            return Some((Encoding::Plain, plain));
        }
        // Only short rows are transposed.
        let short_lens =
            self.own_lens.iter().map(|len| *len as usize).filter(|len| *len <= TRANSPOSED_ROW_LEN_MAX);
        if short_lens.sum::<usize>() < plain.len() / TRANSPOSED_WORTHWHILE_PART {
            return Some((Encoding::Plain, plain));
        }
        let rows = Rows { lens: &self.own_lens, classes: &self.own_classes, class_count: classes.len() };
        if self.blocks_until_trial == 0 {
            self.blocks_until_trial = TRIAL_BLOCK_COUNT;
            self.best = Encoding::Plain;
            let mut smallest = sink.compression.compress(plain, sink.effort).1.len();
            for encoding in [Encoding::Transposed, Encoding::TransposedDelta] {
                self.transposition.transpose(encoding, plain, rows, &mut self.trial);
                let len = sink.compression.compress(&self.trial, sink.effort).1.len();
                if len < smallest {
                    (self.best, smallest) = (encoding, len);
                }
            }
        }
        self.blocks_until_trial -= 1;
        if self.best == Encoding::Plain {
            return Some((Encoding::Plain, plain));
        }
        self.transposition.transpose(self.best, plain, rows, &mut self.trial);
        Some((self.best, &self.trial))
    }
}
