//! A capture file that is open.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kcap_format::{BlockEntry, BlockType, PacketColumns, SegmentState, proto};
use twox_hash::XxHash3_128;

use crate::bytes::Bytes;
use crate::error::{Error, Result, Stop};
use crate::format::{Format, Item, Section};
use crate::index::{Chunk, End, Index};
use crate::interface::{Interfaces, Statistics};
use crate::limits::{CHUNK_LEN, ZSTD_WINDOW_LOG_MAX};
use crate::packets::{self, Packets};
use crate::spool::Spool;
use crate::window::Window;

/// How compressed files begin.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes of the beginning that, with the length, tell files apart.
const IDENTITY_LEN: usize = 64 << 10;
/// Number of the block that describes the interfaces; those of packets follow, and then that of losses.
const SNAPSHOT_SEQUENCE: u32 = 0;
/// Number of the first block of packets.
const FIRST_SEQUENCE: u32 = SNAPSHOT_SEQUENCE + 1;

/// A pcap or pcapng file, open for reading and shared between threads.
#[derive(Debug)]
pub struct CaptureFile {
    path: PathBuf,
    bytes: Bytes,
    /// Bytes on disk; `None` for streams.
    stored_len: Option<u64>,
    format: Format,
    index: Index,
    file_info: proto::FileInfo,
    blocks: OnceLock<Vec<BlockEntry>>,
}

/// Whether a file begins as a capture file or as compressed data, which may hold one. Streams are never asked: what was
/// read of them is gone.
///
/// # Errors
/// When the file cannot be read.
pub fn is_capture(path: &Path) -> Result<bool> {
    let io_error = |error| Error::io(path, error);
    let mut head = Vec::new();
    File::open(path).map_err(io_error)?.take(32).read_to_end(&mut head).map_err(io_error)?;
    let is_pcap = crate::pcap::PcapFormat::of(&head).is_some();
    Ok(is_pcap || crate::pcapng::is_pcapng(&head) || is_compressed(&head))
}

fn is_compressed(head: &[u8]) -> bool {
    head.starts_with(&GZIP_MAGIC) || head.starts_with(&ZSTD_MAGIC)
}

impl CaptureFile {
    /// Opens a file: reads its first bytes. `number` tells the files of one command apart, from 1: it becomes the
    /// sequence number of the segment that the file stands for, and so a part of the ids of its packets.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotACapture`], [`Error::Unsupported`].
    pub fn open(path: impl AsRef<Path>, number: u64) -> Result<Self> {
        let path = path.as_ref();
        let io_error = |error| Error::io(path, error);
        let file = File::open(path).map_err(io_error)?;
        let metadata = file.metadata().map_err(io_error)?;
        if !metadata.is_file() {
            return Self::from_stream(path, file, number);
        }
        let mut head = [0; ZSTD_MAGIC.len()];
        let head_len = crate::bytes::read_file_at(&file, &mut head, 0).map_err(io_error)?;
        let bytes = if is_compressed(&head[..head_len]) {
            Bytes::Spool(
                Spool::new(decompressor(&head[..head_len], file).map_err(io_error)?).map_err(io_error)?,
            )
        } else {
            Bytes::File { file, len: metadata.len() }
        };
        Self::of(path, bytes, Some(metadata.len()), number)
    }

    /// Opens a stream, plain or compressed. What comes out of it goes to a temporary file as it is asked for, so that it can be
    /// read again. `name` stands for the path in messages.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_stream(
        name: impl AsRef<Path>,
        mut stream: impl Read + Send + 'static,
        number: u64,
    ) -> Result<Self> {
        let name = name.as_ref();
        let io_error = |error| Error::io(name, error);
        let mut head = Vec::new();
        (&mut stream).take(ZSTD_MAGIC.len() as u64).read_to_end(&mut head).map_err(io_error)?;
        let whole = io::Cursor::new(head.clone()).chain(stream);
        let source = if is_compressed(&head) {
            decompressor(&head, whole).map_err(io_error)?
        } else {
            Box::new(whole)
        };
        Self::of(name, Bytes::Spool(Spool::new(source).map_err(io_error)?), None, number)
    }

    fn of(path: &Path, bytes: Bytes, stored_len: Option<u64>, number: u64) -> Result<Self> {
        let io_error = |error| Error::io(path, error);
        let detected = Format::detect(path, &bytes);
        if let (Err(Error::NotACapture { .. }), Bytes::Spool(spool)) = (&detected, &bytes)
            && let Some(failure) = spool.take_failure()
        {
            return Err(io_error(failure));
        }
        let (format, position) = detected?;
        let mut section = Section::default();
        let mut interfaces = Vec::new();
        match &format {
            Format::Pcap(pcap) => interfaces.push(pcap.interface()),
            Format::Pcapng => {
                match format.next(&mut Window::new(&bytes), &mut position.clone(), Interfaces::all(&[])) {
                    Ok(Item::Section(found)) => section = found,
                    Err(Stop::Io(error)) => return Err(io_error(error)),
                    // The walk finds it again, and then it is told.
                    _ => {}
                }
            }
        }
        let mut beginning = vec![0; IDENTITY_LEN];
        let len = bytes.read_at(&mut beginning, 0).map_err(io_error)?;
        beginning.truncate(len);
        beginning.extend(stored_len.unwrap_or(0).to_le_bytes());
        let file_info = proto::FileInfo {
            capture_id: XxHash3_128::oneshot(&beginning).to_be_bytes().to_vec(),
            segment_sequence: number,
            host: Some(proto::Host {
                os: section.system,
                architecture: section.hardware,
                ..proto::Host::default()
            }),
            recorder: Some(proto::Recorder { name: section.application, ..proto::Recorder::default() }),
            origin: proto::file_info::Origin::Import.into(),
            ..proto::FileInfo::default()
        };
        let index = Index::new(position, interfaces);
        Ok(Self {
            path: path.to_owned(),
            bytes,
            stored_len,
            format,
            index,
            file_info,
            blocks: OnceLock::new(),
        })
    }

    /// The file, or the name of the stream.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the FILE block of a segment says: an id that is made of the file's beginning and length, and for pcapng what wrote it
    /// and on which system.
    #[must_use]
    pub fn file_info(&self) -> &proto::FileInfo {
        &self.file_info
    }

    /// Bytes on disk; of a stream, 0.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // an empty file is no capture
    pub fn len(&self) -> u64 {
        self.stored_len.unwrap_or(0)
    }

    /// About how many blocks of packets there are, without looking for them; `None` for streams and compressed files.
    #[must_use]
    pub fn chunk_count_hint(&self) -> Option<usize> {
        let chunks = self.bytes.known_len()?.div_ceil(CHUNK_LEN);
        Some(usize::try_from(chunks).unwrap_or(usize::MAX))
    }

    /// A block of packets by its number among those, from 0; `None` behind the last. The file is walked as far as that.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn chunk(&self, number: usize) -> Result<Option<BlockEntry>> {
        let chunk = self.index.chunk(&self.format, &self.bytes, number);
        let chunk = chunk.map_err(|error| Error::io(&self.path, error))?;
        Ok(chunk.map(|chunk| packets_entry(number, &chunk)))
    }

    /// All blocks, in the order of a segment: SNAPSHOT with the interfaces, PACKETS, and LOSS where something is known of losses.
    /// The whole file is walked when this is called first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn blocks(&self) -> Result<&[BlockEntry]> {
        if let Some(blocks) = self.blocks.get() {
            return Ok(blocks);
        }
        let all = self.index.all(&self.format, &self.bytes);
        let (chunks, _) = all.map_err(|error| Error::io(&self.path, error))?;
        let times = times(&chunks);
        let description = |block_type, sequence, record_count: usize| BlockEntry {
            record_count: u32::try_from(record_count).unwrap_or(u32::MAX),
            ..entry(block_type, sequence, times)
        };
        let mut blocks =
            vec![description(BlockType::SNAPSHOT, SNAPSHOT_SEQUENCE, self.index.interfaces().len())];
        blocks.extend(chunks.iter().enumerate().map(|(number, chunk)| packets_entry(number, chunk)));
        if self.losses_of(&chunks).is_some() {
            let sequence = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
            blocks.push(description(BlockType::LOSS, sequence, 1));
        }
        Ok(self.blocks.get_or_init(|| blocks))
    }

    /// In which state the file is, as far as it was walked: sealed stands for a file that ends behind a whole record, unsealed for
    /// one whose end was not reached yet.
    #[must_use]
    pub fn state(&self) -> SegmentState {
        match self.index.bad_packets_and_end().1 {
            None => SegmentState::Unsealed,
            Some(End::Whole) => SegmentState::Sealed,
            Some(End::Torn(offset)) => SegmentState::Torn { offset },
            Some(End::Corrupt(offset, what)) => SegmentState::Corrupt { offset, what },
        }
    }

    /// How many packets could not be read, in records that could be passed over, as far as the file was walked.
    #[must_use]
    pub fn bad_packets(&self) -> u64 {
        self.index.bad_packets_and_end().0
    }

    /// The packets of a block that [`Self::chunk`] or [`Self::blocks`] gave. Nothing is read for columns that are not wanted.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Changed`] when the file is not what it was.
    pub fn packets(&self, block: &BlockEntry, columns: PacketColumns) -> Result<Packets> {
        let read = |chunk: &Chunk| {
            let interfaces = self.index.interfaces();
            packets::read(&self.format, &self.bytes, chunk, Interfaces::all(&interfaces), columns)
        };
        self.of_block(block, read)
    }

    /// The comments of a block's packets, in their order, empty for those without. None at all for pcap, which has none.
    ///
    /// # Errors
    /// As [`Self::packets`].
    pub fn comments(&self, block: &BlockEntry) -> Result<Vec<String>> {
        let read = |chunk: &Chunk| {
            let interfaces = self.index.interfaces();
            packets::comments(&self.format, &self.bytes, chunk, Interfaces::all(&interfaces))
        };
        self.of_block(block, read)
    }

    fn of_block<T>(
        &self,
        block: &BlockEntry,
        read: impl FnOnce(&Chunk) -> std::result::Result<T, Stop>,
    ) -> Result<T> {
        let changed = |offset| Error::Changed { path: self.path.clone(), offset };
        let number = block.sequence.checked_sub(FIRST_SEQUENCE).ok_or_else(|| changed(block.offset))?;
        let chunk = self.index.chunk(&self.format, &self.bytes, number as usize);
        let chunk = chunk.map_err(|error| Error::io(&self.path, error))?;
        let chunk = chunk.ok_or_else(|| changed(block.offset))?;
        read(&chunk).map_err(|stop| match stop {
            Stop::Io(error) => Error::io(&self.path, error),
            Stop::End => changed(chunk.end),
            Stop::Torn(offset) | Stop::Corrupt(offset, _) => changed(offset),
        })
    }

    /// How many interfaces the file describes, as far as it was walked.
    #[must_use]
    pub fn interface_count(&self) -> u32 {
        u32::try_from(self.index.interfaces().len()).unwrap_or(u32::MAX)
    }

    /// The interfaces, as the events that a segment's SNAPSHOT tells of them with.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn interface_events(&self) -> Result<Vec<proto::Event>> {
        let first_ns = self.blocks()?.iter().map(|block| block.first_time_ns).min().unwrap_or(0);
        let interfaces = self.index.interfaces();
        Ok((0..).zip(interfaces.iter()).map(|(index, interface)| interface.event(index, first_ns)).collect())
    }

    /// Most bytes of a packet that were captured, over all interfaces before the place that was walked to; `None` for no limit.
    #[must_use]
    pub fn snaplen(&self) -> Option<u32> {
        let interfaces = self.index.interfaces();
        let snaplens: Option<Vec<u32>> =
            interfaces.iter().map(|interface| Some(interface.snaplen).filter(|len| *len != 0)).collect();
        snaplens?.into_iter().max()
    }

    /// What is known of packets that are not in the file: drops that interfaces counted, and records that could not be read.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn losses(&self) -> Result<Option<proto::LossReport>> {
        let all = self.index.all(&self.format, &self.bytes);
        let (chunks, _) = all.map_err(|error| Error::io(&self.path, error))?;
        Ok(self.losses_of(&chunks))
    }

    fn losses_of(&self, chunks: &[Chunk]) -> Option<proto::LossReport> {
        let (bad_packets, end) = self.index.bad_packets_and_end();
        let bad_records = bad_packets + u64::from(!matches!(end, None | Some(End::Whole)));
        let statistics = self.index.statistics();
        if statistics.is_empty() && bad_records == 0 {
            return None;
        }
        let sum = |of: fn(&Statistics) -> u64| {
            statistics.iter().fold(0_u64, |sum, statistics| sum.saturating_add(of(statistics)))
        };
        let stored: u64 = chunks.iter().map(|chunk| u64::from(chunk.packets)).sum();
        let received = sum(|statistics| statistics.received);
        let lost = [
            (proto::LossCause::RingFull, sum(|statistics| statistics.dropped_by_system)),
            (proto::LossCause::Unspecified, sum(|statistics| statistics.dropped_by_interface)),
            (proto::LossCause::BadRecord, bad_records),
        ];
        // What the filter held back, where the interface says how many it let pass.
        let filtered = sum(|statistics| {
            statistics.accepted_by_filter.map_or(0, |accepted| statistics.received.saturating_sub(accepted))
        });
        let (begin_ns, end_ns) = times(chunks);
        Some(proto::LossReport {
            begin_ns,
            end_ns,
            seen: lost
                .iter()
                .fold(filtered.saturating_add(stored), |seen, (_, count)| seen.saturating_add(*count)),
            filtered,
            stored,
            lost: lost
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(cause, count)| proto::Lost { cause: cause.into(), count })
                .collect(),
            kernel_seen: received,
            ..proto::LossReport::default()
        })
    }
}

/// The first and last time of all packets.
fn times(chunks: &[Chunk]) -> (u64, u64) {
    let first = chunks.iter().map(|chunk| chunk.first_ns).min().unwrap_or(0);
    (first, chunks.iter().map(|chunk| chunk.last_ns).max().unwrap_or(0))
}

fn packets_entry(number: usize, chunk: &Chunk) -> BlockEntry {
    let len = u32::try_from(chunk.end - chunk.start.offset).unwrap_or(u32::MAX);
    let sequence = u32::try_from(number).map_or(u32::MAX, |number| number.saturating_add(FIRST_SEQUENCE));
    BlockEntry {
        offset: chunk.start.offset,
        record_count: chunk.packets,
        stored_len: len,
        raw_len: len,
        ..entry(BlockType::PACKETS, sequence, (chunk.first_ns, chunk.last_ns))
    }
}

fn entry(block_type: BlockType, sequence: u32, (first_time_ns, last_time_ns): (u64, u64)) -> BlockEntry {
    BlockEntry {
        offset: 0,
        first_time_ns,
        last_time_ns,
        sequence,
        record_count: 0,
        stored_len: 0,
        raw_len: 0,
        header_crc32c: 0,
        block_type,
        flags: 0,
    }
}

fn decompressor(head: &[u8], source: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    Ok(if head.starts_with(&GZIP_MAGIC) {
        Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::with_capacity(1 << 17, source)))
    } else {
        let mut decoder = zstd::Decoder::new(source)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        Box::new(BoundedZstd(decoder))
    })
}

/// Says what to do about a file that needs more memory than is allowed; the library only says that it does.
struct BoundedZstd<R: io::BufRead>(zstd::Decoder<'static, R>);

impl<R: io::BufRead> Read for BoundedZstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            if !error.to_string().contains("too much memory") {
                return error;
            }
            let limit_mib = 1_u64 << (ZSTD_WINDOW_LOG_MAX - 20);
            io::Error::other(format!(
                "decompressing it takes more than {limit_mib} MiB of memory; let zstd do it: zstd -dc --long=31 FILE | kcap … -"
            ))
        })
    }
}
