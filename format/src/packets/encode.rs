//! From a batch to the payload of a PACKETS block.

use crate::batch::{BytesColumn, PacketBatch};
use crate::compression::{Compression, Effort};
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

impl PacketEncoder {
    pub(crate) fn encode(
        &mut self,
        batch: &PacketBatch,
        effort: Effort,
        compression: &mut Compression,
    ) -> Vec<u8> {
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
        sink.integers(section::CPU, &batch.cpu, raw);
        sink.integers(section::GSO_SIZE, &batch.gso_size, raw);
        sink.integers(section::GSO_SEGMENTS, &batch.gso_segments, raw);
        sink.integers(section::HEADER_LEN, &self.lens, raw);
        sink.integers(section::PAYLOAD_LEN, &batch.payload_len, raw);
        sink.integers(section::UNCAPTURED_LEN, &self.uncaptured, raw);
        sink.integers(section::COPY_OF, &self.copies.of_row, raw);
        let copies = &self.copies.of_row;
        self.header.encode(
            section::HEADER,
            &batch.header,
            classes,
            |row| distance(copies[row]) == 0,
            &mut sink,
        );
        self.payload.encode(
            section::PAYLOAD,
            &batch.payload,
            classes,
            |row| copies[row] & PAYLOAD_EQUAL == 0,
            &mut sink,
        );
        directory::join(&self.sections, batch.len, classes.len(), &self.body)
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
        self.sections.push(Section {
            id,
            encoding: encoding as u8,
            codec: codec as u8,
            offset: self.body.len() as u32,
            stored_len: stored.len() as u32,
            raw_len: raw.len() as u32,
            crc: crc32c::crc32c(stored),
        });
        self.body.extend_from_slice(stored);
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

/// Blocks after which all encodings are tried again.
const TRIAL_BLOCK_COUNT: u32 = 32;

impl BytesEncoder {
    fn encode(
        &mut self,
        id: u16,
        column: &BytesColumn,
        classes: &Classes,
        is_own: impl Fn(usize) -> bool,
        sink: &mut Sink<'_>,
    ) {
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
            return;
        }
        if sink.effort == Effort::Stored {
            return sink.section(id, Encoding::Plain, plain);
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
            return sink.section(id, Encoding::Plain, plain);
        }
        self.transposition.transpose(self.best, plain, rows, &mut self.trial);
        sink.section(id, self.best, &self.trial);
    }
}
