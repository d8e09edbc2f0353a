//! From the payload of a PACKETS block to the columns that were asked for.

use std::cell::RefCell;

use zstd::dict::DecoderDictionary;

use crate::batch::{BytesColumn, PacketBatch};
use crate::compression::{decompress, decompress_with};
use crate::error::Fault;
use crate::header::{BlockHeader, Codec};
use crate::limits::{BLOCK_RAW_LEN_MAX, BUFFER_LEN_KEPT, PACKET_ROW_RAW_LEN};
use crate::packets::bytes_section::{Rows, Transposition};
use crate::packets::columns::PacketColumns;
use crate::packets::copies::{PAYLOAD_EQUAL, distance};
use crate::packets::directory::{CheckedSection, Directory};
use crate::packets::integers::{self, Integer};
use crate::packets::{Encoding, section};

/// Buffers of one thread.
#[derive(Default)]
struct Scratch {
    raw: Vec<u8>,
    own: Vec<u8>,
    own_lens: Vec<u32>,
    own_classes: Vec<u32>,
    class_of_row: Vec<u32>,
    header_lens: Vec<u32>,
    copies: Vec<u32>,
    transposition: Transposition,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What the block's header says of its packets.
#[derive(Clone, Copy)]
pub(crate) struct Stated {
    pub(crate) record_count: u32,
    pub(crate) raw_len: u32,
    pub(crate) directory_crc: u32,
}

impl From<&BlockHeader> for Stated {
    fn from(header: &BlockHeader) -> Self {
        Self {
            record_count: header.record_count,
            raw_len: header.raw_len,
            directory_crc: header.directory_crc,
        }
    }
}

/// How many bytes of a payload [`decode`] looks at for these columns. `prefix` holds the directory at least.
pub(crate) fn prefix_len(prefix: &[u8], stated: Stated, columns: PacketColumns) -> Result<usize, Fault> {
    let directory = Directory::parse(prefix, stated.directory_crc)?;
    Ok(directory.prefix_len(|id| match id {
        section::HEADER => columns.intersects(PacketColumns::HEADER),
        section::PAYLOAD => columns.intersects(PacketColumns::PAYLOAD),
        _ => true,
    }))
}

/// The id of the dictionary without which the payloads of a block can't be read; `None` when they need none, or its
/// directory can't be read, as that of an encrypted one.
pub(crate) fn dictionary_needed(payload: &[u8], directory_crc: u32) -> Option<u64> {
    let directory = Directory::parse(payload, directory_crc).ok()?;
    let section = directory.section(section::PAYLOAD).ok()??;
    named_dictionary(&directory, section).ok()?
}

/// Fills the wanted columns of `batch` and empties all others.
///
/// `dictionaries` gives the dictionary of an id.
pub(crate) fn decode(
    payload: &[u8],
    stated: Stated,
    columns: PacketColumns,
    dictionaries: Dictionaries<'_>,
    batch: &mut PacketBatch,
) -> Result<(), Fault> {
    batch.clear();
    let directory = Directory::parse(payload, stated.directory_crc)?;
    if directory.row_count != stated.record_count as usize {
        return Err(Fault::Corrupt("the section directory has another number of packets than the header"));
    }
    batch.len = directory.row_count;
    let decoded = SCRATCH.with_borrow_mut(|scratch| {
        let mut decoder = Decoder { directory, dictionaries, scratch, raw_len: stated.raw_len as usize };
        let decoded = decoder.fixed(columns, batch).and_then(|()| decoder.variable(columns, batch));
        // Blocks are far smaller as writers make them: one that isn't leaves nothing behind in each thread.
        if stated.raw_len as usize > BUFFER_LEN_KEPT {
            *scratch = Scratch::default();
        }
        decoded
    });
    if decoded.is_err() {
        batch.clear();
    }
    decoded
}

/// Where a segment's dictionaries are found by their ids.
pub(crate) type Dictionaries<'d> = &'d dyn Fn(u64) -> Result<&'d DecoderDictionary<'static>, Fault>;

struct Decoder<'a, 'd> {
    directory: Directory<'a>,
    dictionaries: Dictionaries<'d>,
    scratch: &'a mut Scratch,
    raw_len: usize,
}

impl Decoder<'_, '_> {
    fn fixed(&mut self, columns: PacketColumns, batch: &mut PacketBatch) -> Result<(), Fault> {
        type Columns = PacketColumns;
        let wants = |column| columns.intersects(column);
        if wants(Columns::TIME) {
            self.by_row(section::TIME, &mut batch.time_ns)?;
        }
        if wants(CLASS_COLUMNS) {
            self.classes()?;
        }
        if wants(Columns::SOCKET_COOKIE) {
            self.by_class(section::SOCKET_COOKIE, &mut batch.socket_cookie)?;
        }
        if wants(Columns::NETNS_COOKIE) {
            self.by_class(section::NETNS_COOKIE, &mut batch.netns_cookie)?;
        }
        if wants(Columns::INTERFACE_INDEX) {
            self.by_class(section::INTERFACE_INDEX, &mut batch.interface_index)?;
        }
        if wants(Columns::LINK_TYPE) {
            self.by_class(section::LINK_TYPE, &mut batch.link_type)?;
        }
        if wants(Columns::DIRECTION) {
            self.by_class(section::DIRECTION, &mut batch.direction)?;
        }
        if wants(Columns::FLAGS) {
            self.by_class(section::FLAGS, &mut batch.flags)?;
        }
        if wants(Columns::PROGRAM) {
            self.by_class(section::PROGRAM, &mut batch.program)?;
        }
        if wants(Columns::MARK) {
            self.by_class(section::MARK, &mut batch.mark)?;
        }
        if wants(Columns::TASKS) {
            self.by_class(section::TASKS, &mut batch.tasks)?;
        }
        if wants(Columns::CPU) {
            self.by_row(section::CPU, &mut batch.cpu)?;
        }
        if wants(Columns::GSO_SIZE) {
            self.by_row(section::GSO_SIZE, &mut batch.gso_size)?;
        }
        if wants(Columns::GSO_SEGMENTS) {
            self.by_row(section::GSO_SEGMENTS, &mut batch.gso_segments)?;
        }
        Ok(())
    }

    /// Everything that depends on the lengths of the rows.
    fn variable(&mut self, columns: PacketColumns, batch: &mut PacketBatch) -> Result<(), Fault> {
        type Columns = PacketColumns;
        let bytes = Columns::HEADER | Columns::PAYLOAD;
        if !columns.intersects(bytes | Columns::WIRE_LEN | Columns::PAYLOAD_LEN) {
            return Ok(());
        }
        let mut header_lens = std::mem::take(&mut self.scratch.header_lens);
        let mut copies = std::mem::take(&mut self.scratch.copies);
        self.by_row(section::HEADER_LEN, &mut header_lens)?;
        self.by_row(section::PAYLOAD_LEN, &mut batch.payload_len)?;
        self.check_lens(&header_lens, &batch.payload_len)?;
        if columns.intersects(Columns::WIRE_LEN) {
            self.by_row(section::UNCAPTURED_LEN, &mut batch.wire_len)?;
            let captured = header_lens.iter().zip(&batch.payload_len);
            for (wire, (header, payload)) in batch.wire_len.iter_mut().zip(captured) {
                *wire = wire.wrapping_add(header.wrapping_add(*payload));
            }
        }
        if columns.intersects(bytes) {
            self.by_row(section::COPY_OF, &mut copies)?;
        }
        if columns.intersects(Columns::HEADER) {
            let is_copy = |copy| distance(copy) != 0;
            self.bytes(section::HEADER, &header_lens, &copies, is_copy, &mut batch.header)?;
        }
        if columns.intersects(Columns::PAYLOAD) {
            let is_copy = |copy| copy & PAYLOAD_EQUAL != 0;
            self.bytes(section::PAYLOAD, &batch.payload_len, &copies, is_copy, &mut batch.payload)?;
        }
        if !columns.intersects(Columns::PAYLOAD_LEN | Columns::PAYLOAD) {
            batch.payload_len.clear();
        }
        self.scratch.header_lens = header_lens;
        self.scratch.copies = copies;
        Ok(())
    }

    /// The lengths must give what the block's header states, which is below the limit: copies could otherwise stand
    /// for any amount of memory.
    fn check_lens(&self, header_lens: &[u32], payload_lens: &[u32]) -> Result<(), Fault> {
        let sum = |lens: &[u32]| lens.iter().map(|&len| u64::from(len)).sum::<u64>();
        let fixed = (self.directory.row_count * PACKET_ROW_RAW_LEN) as u64;
        let raw_len = fixed + sum(header_lens) + sum(payload_lens);
        if raw_len == self.raw_len as u64 && raw_len <= u64::from(BLOCK_RAW_LEN_MAX) {
            Ok(())
        } else {
            Err(Fault::Corrupt("the packets' lengths don't sum to the stated raw length"))
        }
    }

    fn by_row<T: Integer>(&mut self, id: u16, out: &mut Vec<T>) -> Result<(), Fault> {
        integers_of(&self.directory, id, self.directory.row_count, &mut self.scratch.raw, out)
    }

    fn classes(&mut self) -> Result<(), Fault> {
        let rows = self.directory.row_count;
        let scratch = &mut *self.scratch;
        integers_of(&self.directory, section::CLASS, rows, &mut scratch.raw, &mut scratch.class_of_row)?;
        let known = |&class: &u32| (class as usize) < self.directory.class_count;
        if scratch.class_of_row.iter().all(known) {
            Ok(())
        } else {
            Err(Fault::Corrupt("a packet is of a class that its block doesn't have"))
        }
    }

    fn by_class<T: Integer>(&mut self, id: u16, out: &mut Vec<T>) -> Result<(), Fault> {
        // Nearly always it is left out, since all are 0, or there is one for all.
        let Some(section) = self.directory.section(id)? else {
            out.clear();
            out.resize(self.directory.row_count, T::default());
            return Ok(());
        };
        let mut of_class = Vec::new();
        integers_in(section, self.directory.class_count, &mut self.scratch.raw, &mut of_class)?;
        out.clear();
        match of_class[..] {
            [only] => out.resize(self.directory.row_count, only),
            _ => out.extend(self.scratch.class_of_row.iter().map(|&class| of_class[class as usize])),
        }
        Ok(())
    }

    fn bytes(
        &mut self,
        id: u16,
        lens: &[u32],
        copies: &[u32],
        is_copy: impl Fn(u32) -> bool,
        out: &mut BytesColumn,
    ) -> Result<(), Fault> {
        let Some(section) = self.directory.section(id)? else {
            return place(&[], lens, copies, is_copy, out);
        };
        let by_class = section.encoding == Encoding::TransposedDelta;
        if by_class {
            self.classes()?;
        }
        let scratch = &mut *self.scratch;
        let is_own = |row: usize| !is_copy(copies[row]);
        keep_own(lens, is_own, &mut scratch.own_lens);
        let class_of_row = if by_class { &scratch.class_of_row[..] } else { &[] };
        keep_own(class_of_row, is_own, &mut scratch.own_classes);
        let own_len = scratch.own_lens.iter().map(|&len| len as usize).sum::<usize>();
        if section.raw_len != own_len {
            return Err(Fault::Corrupt("a section of bytes has another length than its rows"));
        }
        let dictionary = dictionary_of(&self.directory, section, self.dictionaries)?;
        let all_own = scratch.own_lens.len() == lens.len();
        if section.encoding == Encoding::Plain && all_own {
            return out.refill(lens, |data| restore(section, dictionary, data));
        }
        restore(section, dictionary, &mut scratch.raw)?;
        if section.encoding == Encoding::Plain {
            return place(&scratch.raw, lens, copies, is_copy, out);
        }
        let rows = Rows {
            lens: &scratch.own_lens,
            classes: &scratch.own_classes,
            class_count: self.directory.class_count,
        };
        let mut arrange =
            |out: &mut Vec<u8>| scratch.transposition.restore(section.encoding, &scratch.raw, rows, out);
        if all_own {
            return out.refill(lens, arrange);
        }
        arrange(&mut scratch.own)?;
        if scratch.raw.capacity() > BUFFER_LEN_KEPT {
            scratch.raw = Vec::new();
        }
        place(&scratch.own, lens, copies, is_copy, out)
    }
}

/// The dictionary that a section was compressed with.
fn dictionary_of<'d>(
    directory: &Directory<'_>,
    section: CheckedSection<'_>,
    dictionaries: Dictionaries<'d>,
) -> Result<Option<&'d DecoderDictionary<'static>>, Fault> {
    named_dictionary(directory, section)?.map(dictionaries).transpose()
}

fn named_dictionary(directory: &Directory<'_>, section: CheckedSection<'_>) -> Result<Option<u64>, Fault> {
    const UNNAMED: Fault = Fault::Corrupt("a section doesn't name the dictionary that it needs");
    if section.codec != Codec::ZstdDictionary {
        return Ok(None);
    }
    let named = directory.section(section::DICTIONARY)?.ok_or(UNNAMED)?;
    named.stored.try_into().map(|id| Some(u64::from_le_bytes(id))).map_err(|_| UNNAMED)
}

fn restore(
    section: CheckedSection<'_>,
    dictionary: Option<&DecoderDictionary<'_>>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    match dictionary {
        Some(dictionary) => decompress_with(dictionary, section.stored, section.raw_len, out),
        None => decompress(section.codec, section.stored, section.raw_len, out),
    }
}

/// Keeps the values of the rows that are no copies.
fn keep_own(values: &[u32], is_own: impl Fn(usize) -> bool, out: &mut Vec<u32>) {
    out.clear();
    out.extend(values.iter().enumerate().filter(|(row, _)| is_own(*row)).map(|(_, value)| *value));
}

const CLASS_COLUMNS: PacketColumns = PacketColumns::SOCKET_COOKIE
    .union(PacketColumns::NETNS_COOKIE)
    .union(PacketColumns::INTERFACE_INDEX)
    .union(PacketColumns::LINK_TYPE)
    .union(PacketColumns::DIRECTION)
    .union(PacketColumns::FLAGS)
    .union(PacketColumns::PROGRAM)
    .union(PacketColumns::MARK)
    .union(PacketColumns::TASKS);

fn integers_of<T: Integer>(
    directory: &Directory<'_>,
    id: u16,
    count: usize,
    raw: &mut Vec<u8>,
    out: &mut Vec<T>,
) -> Result<(), Fault> {
    let Some(section) = directory.section(id)? else {
        out.clear();
        out.resize(count, T::default());
        return Ok(());
    };
    integers_in(section, count, raw, out)
}

fn integers_in<T: Integer>(
    section: CheckedSection<'_>,
    count: usize,
    raw: &mut Vec<u8>,
    out: &mut Vec<T>,
) -> Result<(), Fault> {
    if section.raw_len > integers::raw_len_max::<T>(section.encoding, count) {
        return Err(Fault::Corrupt("a section of numbers is longer than its rows need"));
    }
    let raw = match section.codec {
        // Where they lie they are as good as anywhere.
        Codec::Stored if section.stored.len() == section.raw_len => section.stored,
        codec => {
            decompress(codec, section.stored, section.raw_len, raw)?;
            raw
        }
    };
    integers::decode(section.encoding, raw, count, out)
}

/// Puts each row in its place, copies included.
fn place(
    own: &[u8],
    lens: &[u32],
    copies: &[u32],
    is_copy: impl Fn(u32) -> bool,
    out: &mut BytesColumn,
) -> Result<(), Fault> {
    const WRONG: Fault = Fault::Corrupt("a copied packet has no packet of its length where it points to");
    const MISSING: Fault = Fault::Corrupt("a section of bytes is missing");
    out.clear();
    // The sum is that of the block's header, and below the limit.
    out.reserve(lens.len(), lens.iter().map(|&len| len as usize).sum());
    let mut rest = own;
    for (row, (&len, &copy)) in lens.iter().zip(copies).enumerate() {
        if is_copy(copy) {
            let original = row.checked_sub(distance(copy)).filter(|&original| original < row).ok_or(WRONG)?;
            if lens.get(original) != Some(&len) {
                return Err(WRONG);
            }
            out.push_copy(original);
        } else {
            let (bytes, after) = rest.split_at_checked(len as usize).ok_or(MISSING)?;
            rest = after;
            out.push(bytes);
        }
    }
    Ok(())
}
