//! Files made to cost memory. A reader's memory stays below 64 MiB whatever they state: a recorder's host and a laptop
//! are often small, and a query reads many segments at once. The mapped file is not counted; the file is on disk.

#[path = "common/allocator.rs"]
mod allocator;
mod common;
#[path = "common/forged.rs"]
mod forged;

use std::path::Path;

use common::{MemoryStorage, Random, exit_event, file_info, random_batch};
use forged::{Block, blocks, messages, segment};
use kcap_format::limits::{
    BLOCK_RAW_LEN_MAX, BLOCK_RECORD_COUNT_MAX, BLOCK_STORED_LEN_MAX, FILE_MESSAGE_LEN_MAX, MESSAGE_COUNT_MAX,
    MESSAGES_RAW_LEN_MAX, PACKET_ROW_RAW_LEN, SEGMENT_BLOCK_COUNT_MAX, SYNC_MARKER,
};
use kcap_format::{
    BlockEncoder, BlockEntry, BlockType, Effort, EncodedBlock, Identities, PacketBatch, PacketColumns,
    PacketRow, ReadMode, ReadOptions, Recipient, Segment, SegmentWriter, Storage, proto,
};
use prost::Message;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting::new();

const MEMORY_LEN_MAX: usize = 64 << 20;

const RECIPIENT: &str = "age1mgs3k78ema2ud5hk3hc6nul8kt8dgst928rmw3qth2gevvmr4e6q0tfl3v";
const IDENTITY: &str = "AGE-SECRET-KEY-185DFAKNF7A4CC2QKW38Y027QZQDV86VYF6LGM4AE6ADY2Y7LXZWS4RJ22P";

/// One test, since what others allocate meanwhile would be counted.
#[test]
fn whatever_a_file_states_its_reader_stays_below_64_mib() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.kcap");
    let (mut greatest, mut beyond) = (0, Vec::new());
    for (name, make) in FILES {
        std::fs::write(&path, make()).unwrap();
        for mode in [ReadMode::Strict, ReadMode::Salvage] {
            let identities = Identities::parse("key", IDENTITY).unwrap();
            let options = ReadOptions::with_mode(mode).with_identities(identities);
            let before = ALLOCATOR.live();
            ALLOCATOR.forget_peak();
            // On a thread of its own, so that the buffers that a reader keeps are counted for each file anew.
            let (blocks, records) =
                std::thread::scope(|scope| scope.spawn(|| read_all(&path, &options)).join().unwrap());
            let taken = ALLOCATOR.peak() - before;
            println!("{:>5} KiB, {blocks:>6} blocks, {records:>7} records, {mode:?}: {name}", taken >> 10);
            if taken >= MEMORY_LEN_MAX {
                beyond.push(format!("{name}, {mode:?}: {taken} bytes"));
            }
            greatest = greatest.max(taken);
        }
    }
    assert!(beyond.is_empty(), "{beyond:#?}");
    println!("{} files, at most {} KiB", FILES.len(), greatest >> 10);
    assert!(greatest > 16 << 20, "the files don't ask for much");
}

/// Reads everything that a file has, one block after the other.
fn read_all(path: &Path, options: &ReadOptions) -> (usize, usize) {
    let Ok(segment) = Segment::open_with(path, options) else { return (0, 0) };
    let mut batch = PacketBatch::default();
    let mut records = 0;
    for block in segment.blocks() {
        records += read(&segment, block, &mut batch).unwrap_or(0);
    }
    (segment.blocks().len(), records)
}

fn read(segment: &Segment, block: &BlockEntry, batch: &mut PacketBatch) -> kcap_format::Result<usize> {
    Ok(match block.block_type {
        BlockType::PACKETS => {
            segment.packets_into(block, PacketColumns::ALL, batch)?;
            batch.len
        }
        BlockType::EVENTS | BlockType::SNAPSHOT => segment.events(block)?.len(),
        BlockType::CLOCK => segment.clocks(block)?.len(),
        BlockType::LOSS => segment.losses(block)?.len(),
        _ => segment.check_block(block).map(|()| 0)?,
    })
}

type Make = fn() -> Vec<u8>;

const FILES: &[(&str, Make)] = &[
    ("lengths and counts at their limits, and no bytes", || {
        let mut bytes = Vec::new();
        for block_type in 0..12 {
            bytes.extend(segment(&[Block {
                block_type: BlockType(block_type),
                record_count: BLOCK_RECORD_COUNT_MAX,
                raw_len: BLOCK_RAW_LEN_MAX,
                stated_len: Some(BLOCK_STORED_LEN_MAX),
                ..Block::default()
            }]));
        }
        bytes
    }),
    ("zstd frames that hold more than is stated", || {
        let bomb = zstd::bulk::compress(&vec![0; 256 << 20], 1).unwrap();
        segment(&[
            messages(BlockType::EVENTS, 1, 100, 1, bomb.clone()),
            messages(BlockType::EVENTS, 1, MESSAGES_RAW_LEN_MAX, 1, bomb),
        ])
    }),
    ("a zstd frame with a window of 2 GiB and no stated content", || {
        // Magic, no content size, window 2^31; a run of 128 KiB, again and again.
        let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xA8];
        for _ in 0..1_000 {
            frame.extend_from_slice(&[0x02, 0x00, 0x10, 0x00]);
        }
        segment(&[messages(BlockType::EVENTS, 1, MESSAGES_RAW_LEN_MAX, 1, frame)])
    }),
    ("as many empty events as a block can have", || {
        let count = MESSAGE_COUNT_MAX;
        segment(&[messages(BlockType::EVENTS, count, count, 0, vec![0; count as usize])])
    }),
    ("as many small events as a block can have, and one with many arguments", || {
        let event = exit_event(1, b"name").encode_length_delimited_to_vec();
        let mut raw = event.repeat(MESSAGE_COUNT_MAX as usize - 2);
        let process = proto::Process { arguments: vec![Vec::new(); (1 << 19) - 50], ..Default::default() };
        let exec = proto::event::Event::Exec(proto::ProcessExec { process: Some(process) });
        let wide = proto::Event { event: Some(exec), ..Default::default() }.encode_length_delimited_to_vec();
        raw.truncate((MESSAGES_RAW_LEN_MAX as usize - wide.len()) / event.len() * event.len());
        let count = raw.len() / event.len() + 1;
        raw.extend(wide);
        segment(&[messages(BlockType::EVENTS, count as u32, raw.len() as u32, 0, raw)])
    }),
    ("loss reports with a million empty causes", || {
        let report =
            proto::LossReport { lost: vec![proto::Lost::default(); (1 << 19) - 9], ..Default::default() };
        let raw = report.encode_length_delimited_to_vec();
        segment(&[messages(BlockType::LOSS, 2, 2 * raw.len() as u32, 0, raw.repeat(2))])
    }),
    ("messages in messages in messages", || {
        let mut nested = Vec::new();
        for _ in 0..10_000 {
            let mut outer = vec![0x0A];
            prost::encode_length_delimiter(nested.len(), &mut outer).unwrap();
            outer.extend_from_slice(&nested);
            nested = outer;
            if nested.len() > 100_000 {
                break;
            }
        }
        let mut raw = Vec::new();
        prost::encode_length_delimiter(nested.len(), &mut raw).unwrap();
        raw.extend(nested);
        segment(&[messages(BlockType::EVENTS, 1, raw.len() as u32, 0, raw)])
    }),
    ("a FILE block that lists what half a million repairs lost", || {
        let repair = proto::Repair {
            lost: vec![proto::repair::Lost::default(); (1 << 19) - 50],
            ..Default::default()
        };
        let file = proto::FileInfo { repair: Some(repair), ..Default::default() };
        let raw = file.encode_length_delimited_to_vec();
        blocks(&[messages(BlockType::FILE, 1, raw.len() as u32, 0, raw)])
    }),
    ("a FILE block with as many messages as a block can have", || {
        let count = MESSAGE_COUNT_MAX;
        blocks(&[messages(BlockType::FILE, count, count, 0, vec![0; count as usize])])
    }),
    ("as many packets without bytes as a block can have", || {
        let mut batch = PacketBatch::default();
        let mut random = Random(7);
        for time_ns in 0..u64::from(BLOCK_RAW_LEN_MAX) / PACKET_ROW_RAW_LEN as u64 {
            batch.push(&wild_row(time_ns, &mut random), &[], &[]);
        }
        written(&[], &[batch], Effort::Stored)
    }),
    ("one packet as long as a block can be", || written(&[], &[long_packet()], Effort::Zstd { level: 1 })),
    ("one packet as long as a block can be, encrypted", || {
        written(&[RECIPIENT.parse().unwrap()], &[long_packet()], Effort::Stored)
    }),
    ("transposed headers and copied payloads up to the limit", || {
        written(&[], &[copied_packets()], Effort::Zstd { level: 1 })
    }),
    ("many valid blocks", || {
        let mut random = Random(3);
        let batches: Vec<_> = (0..300).map(|_| random_batch(&mut random, 200)).collect();
        written(&[], &batches, Effort::Stored)
    }),
    (
        "all of it at once: a long FILE block, as many blocks as there can be, and the dearest of each kind",
        || {
            let mut encoder = BlockEncoder::new();
            let costs = [
                encoder.packets(&copied_packets(), Effort::Zstd { level: 1 }),
                encoder.packets(&long_packet(), Effort::Stored),
            ];
            full(true, &long_file(), &[RECIPIENT.parse().unwrap()], &costs)
        },
    ),
    ("as many blocks as a segment can have, sealed", || full_of_blocks(true)),
    ("as many blocks as a segment can have, not sealed", || full_of_blocks(false)),
    ("as many blocks, every other one damaged", || {
        let mut bytes = full_of_blocks(false);
        let begins = |at: &usize| bytes[*at..].starts_with(&SYNC_MARKER);
        let blocks: Vec<usize> = (0..bytes.len()).step_by(8).filter(begins).collect();
        blocks.iter().skip(2).step_by(2).for_each(|at| bytes[at + 40] ^= 1);
        bytes
    }),
    ("a hundred thousand KEY blocks", || {
        let payload = b"age-encryption.org/v1\n-> X25519 AAAA\n".to_vec();
        let block = Block { block_type: BlockType::KEY, record_count: 1, payload, ..Block::default() };
        segment(&vec![block; 100_000])
    }),
];

fn wild_row(time_ns: u64, random: &mut Random) -> PacketRow {
    PacketRow {
        time_ns: if random.below(2) == 0 { random.next() } else { time_ns },
        socket_cookie: random.next(),
        netns_cookie: random.next(),
        interface_index: random.next() as u32,
        wire_len: random.next() as u32,
        cpu: random.next() as u16,
        gso_size: random.next() as u16,
        gso_segments: random.next() as u16,
        mark: random.next() as u32,
        ..PacketRow::default()
    }
}

fn long_packet() -> PacketBatch {
    let mut batch = PacketBatch::default();
    let payload = vec![0xA5; BLOCK_RAW_LEN_MAX as usize - PACKET_ROW_RAW_LEN];
    batch.push(&PacketRow::default(), &[], &payload);
    batch
}

/// Short headers of as many classes as rows, and long payloads that are mostly copies.
fn copied_packets() -> PacketBatch {
    let mut batch = PacketBatch::default();
    let mut random = Random(9);
    let payload = random.bytes(100);
    while batch.raw_len() + 400 < BLOCK_RAW_LEN_MAX as usize {
        let row = wild_row(batch.len as u64, &mut random);
        let header = [&[0x45; 30][..], &random.next().to_be_bytes()].concat();
        for _ in 0..2 {
            batch.push(&PacketRow { socket_cookie: random.next(), ..row }, &header, &payload);
        }
    }
    batch
}

fn written(recipients: &[Recipient], batches: &[PacketBatch], effort: Effort) -> Vec<u8> {
    let memory = MemoryStorage::default();
    let mut writer = SegmentWriter::create_encrypted(memory.clone(), &file_info(), recipients).unwrap();
    let mut encoder = BlockEncoder::new();
    for batch in batches {
        writer.append(&encoder.packets(batch, effort)).unwrap();
    }
    writer.seal().unwrap();
    memory.bytes()
}

/// A FILE block that lists many losses of repairs.
fn long_file() -> proto::FileInfo {
    let lost = vec![proto::repair::Lost::default(); FILE_MESSAGE_LEN_MAX / 2 - 90];
    let repair = proto::Repair { lost, ..Default::default() };
    proto::FileInfo { repair: Some(repair), ..file_info() }
}

/// Blocks without a payload, as many as fit.
fn full_of_blocks(sealed: bool) -> Vec<u8> {
    full(sealed, &file_info(), &[], &[])
}

/// As many blocks as fit, the first of which are these.
fn full(sealed: bool, file: &proto::FileInfo, recipients: &[Recipient], first: &[EncodedBlock]) -> Vec<u8> {
    let memory = Unlogged::default();
    let mut writer = SegmentWriter::create_encrypted(memory.clone(), file, recipients).unwrap();
    for block in first {
        writer.append(block).unwrap();
    }
    let block = BlockEncoder::new().clock(&[]);
    // Until the writer keeps the rest for what it has to write itself.
    while writer.append(&block).is_ok() {}
    assert!(writer.blocks().len() > SEGMENT_BLOCK_COUNT_MAX as usize * 9 / 10);
    if sealed {
        writer.seal().unwrap();
    }
    let bytes = memory.0.lock().unwrap();
    bytes.clone()
}

/// Bytes alone: the log of a [`MemoryStorage`] would be longer than the segment.
#[derive(Clone, Default)]
struct Unlogged(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Storage for Unlogged {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    fn path(&self) -> &Path {
        Path::new("memory")
    }
}
