//! Makes the golden segments of this version of the format: `cargo run -p kcap-format --example golden FOLDER`.
//!
//! Each segment has an expected reading beside it, as JSON. Segments of `testdata/segments/` are kept for ever: what is
//! made here is looked at before it is added, and never replaces what a released version wrote.

#[path = "../tests/common/dump.rs"]
mod dump;

use std::path::{Path, PathBuf};

use kcap_format::proto::{self, event::Event as Kind};
use kcap_format::testing::{CrashStorage, Random};
use kcap_format::{
    BlockEncoder, BlockType, Direction, Effort, Identities, PacketBatch, PacketRow, SegmentWriter,
    block_flags, packet_flags,
};

const BOOT_NS: u64 = 5_000_000_000;
const HEADER_LEN: usize = 96;
/// `LINKTYPE_RAW`.
const RAW_IP: u16 = 101;

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "testdata/segments/1".to_owned()));
    std::fs::create_dir_all(&folder)?;
    for (name, bytes) in whole().into_iter().chain(damaged()) {
        write(&folder, name, &bytes)?;
    }
    let bytes = encrypted();
    write(&folder, "encrypted", &bytes)?;
    std::fs::write(folder.join("identity.txt"), format!("{IDENTITY}\n"))?;
    let identities = Identities::parse("identity.txt", IDENTITY)?;
    std::fs::write(folder.join("decrypted.json"), dump::to_text(&dump::dump(&bytes, &identities)))?;
    Ok(())
}

/// A pair of keys that nothing else is encrypted to.
const RECIPIENT: &str = "age1mgs3k78ema2ud5hk3hc6nul8kt8dgst928rmw3qth2gevvmr4e6q0tfl3v";
const IDENTITY: &str = "AGE-SECRET-KEY-185DFAKNF7A4CC2QKW38Y027QZQDV86VYF6LGM4AE6ADY2Y7LXZWS4RJ22P";

fn write(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(folder.join(format!("{name}.kcap")), bytes)?;
    let text = dump::to_text(&dump::dump(bytes, &Identities::default()));
    std::fs::write(folder.join(format!("{name}.json")), text)?;
    Ok(())
}

/// A segment that is being made.
struct Maker {
    storage: CrashStorage,
    writer: SegmentWriter<CrashStorage>,
    encoder: BlockEncoder,
    random: Random,
}

impl Maker {
    fn new(seed: u64) -> Self {
        let storage = CrashStorage::default();
        let writer = SegmentWriter::create(storage.clone(), &file_info()).expect("memory takes every write");
        Self { storage, writer, encoder: BlockEncoder::new(), random: Random(seed) }
    }

    fn encrypted(seed: u64) -> Self {
        let storage = CrashStorage::default();
        let recipient = RECIPIENT.parse().expect("a public key");
        let writer = SegmentWriter::create_encrypted(storage.clone(), &file_info(), &[recipient]);
        let writer = writer.expect("memory takes every write");
        Self { storage, writer, encoder: BlockEncoder::new(), random: Random(seed) }
    }

    fn packets(&mut self, batch: &PacketBatch, effort: Effort) {
        let block = self.encoder.packets(batch, effort);
        self.writer.append(&block).expect("memory takes every write");
    }

    fn events(&mut self, events: &[proto::Event], effort: Effort) {
        let block = self.encoder.events(events, effort);
        self.writer.append(&block).expect("memory takes every write");
    }

    fn clock(&mut self, time_ns: u64) {
        let block = self.encoder.clock(&[clock(time_ns)]);
        self.writer.append(&block).expect("memory takes every write");
    }

    fn no_events(&mut self) {
        self.events(&[], Effort::Stored);
    }

    fn sync(&mut self) {
        self.writer.sync().expect("memory takes every write");
    }

    fn sealed(self) -> Vec<u8> {
        self.writer.seal().expect("memory takes every write");
        self.storage.bytes()
    }

    fn unsealed(self) -> Vec<u8> {
        self.storage.bytes()
    }

    /// A block of every kind that a recorder writes.
    fn everything(&mut self, effort: Effort) {
        let block = self.encoder.snapshot(&events(4), effort);
        self.writer.append(&block).expect("memory takes every write");
        let batch = traffic(&mut self.random, 12, Traffic::Whole);
        self.packets(&batch, effort);
        self.clock(BOOT_NS + 1_000_000_000);
        self.sync();
        self.events(&events(6), effort);
        let batch = traffic(&mut self.random, 5, Traffic::Whole);
        self.packets(&batch, effort);
        let lost = proto::Lost { cause: proto::LossCause::RingFull.into(), count: 3 };
        let report = proto::LossReport {
            begin_ns: BOOT_NS,
            end_ns: BOOT_NS + 1_000_000_000,
            program: proto::LossProgram::PacketEgress.into(),
            seen: 20,
            stored: 17,
            lost: vec![lost],
            ..Default::default()
        };
        let block = self.encoder.losses(&[report]);
        self.writer.append(&block).expect("memory takes every write");
    }
}

/// Segments as a writer makes them: one for each mix of features.
fn whole() -> Vec<(&'static str, Vec<u8>)> {
    let mut made = Vec::new();
    let mut add = |name, seed, sealed, fill: &dyn Fn(&mut Maker)| {
        let mut maker = Maker::new(seed);
        fill(&mut maker);
        made.push((name, if sealed { maker.sealed() } else { maker.unsealed() }));
    };
    add("empty", 1, true, &|_| {});
    add("stored", 2, true, &|maker| maker.everything(Effort::Stored));
    add("zstd", 3, true, &|maker| {
        maker.everything(Effort::Zstd { level: 3 });
        // Many rows: all ways to lay out numbers and headers.
        let batch = traffic(&mut maker.random, 90, Traffic::HeadersOnly);
        maker.packets(&batch, Effort::Zstd { level: 19 });
    });
    add("headers-only", 4, true, &|maker| {
        let batch = traffic(&mut maker.random, 40, Traffic::HeadersOnly);
        maker.packets(&batch, Effort::default());
    });
    add("copies", 5, true, &|maker| {
        let batch = traffic(&mut maker.random, 20, Traffic::Local);
        maker.packets(&batch, Effort::default());
    });
    add("unsealed", 6, false, &|maker| maker.everything(Effort::default()));
    add("events", 7, true, &|maker| {
        maker.events(&events(40), Effort::default());
        maker.no_events();
    });
    add("index", 8, true, &|maker| (0..256).for_each(|_| maker.no_events()));
    add("later", 9, true, &later);
    add("dictionary", 14, true, &repeating);
    add("tasks", 15, true, &|maker| {
        let mut batch = traffic(&mut maker.random, 30, Traffic::Whole);
        for (tasks, cookie) in batch.tasks.iter_mut().zip(&batch.socket_cookie) {
            *tasks = [0, 1, 1 << 30 | 2][*cookie as usize % 3];
        }
        maker.packets(&batch, Effort::default());
    });
    made
}

/// A sender that goes on with what it sent before: the second block leans on a dictionary.
fn repeating(maker: &mut Maker) {
    // As much as a payload section must have for that, of few different letters.
    let sent: Vec<u8> = (0..36 * 960).map(|_| b'a' + maker.random.below(4) as u8).collect();
    for (block, begin) in [(0, 0), (1, 5_000), (2, 0)] {
        let mut batch = PacketBatch::default();
        // What comes after a dictionary and doesn't repeat it needs none.
        let count = if block == 2 { 2 } else { 36 };
        for (row, payload) in sent[begin..].chunks(960).chain(sent.chunks(960)).take(count).enumerate() {
            let time_ns = BOOT_NS + (block * 100 + row as u64) * 10_000;
            let header = tcp_header(0, row as u32 * 960, payload.len());
            let row = PacketRow {
                time_ns,
                wire_len: (header.len() + payload.len()) as u32,
                link_type: RAW_IP,
                ..PacketRow::default()
            };
            batch.push(&row, &header, payload);
        }
        maker.packets(&batch, Effort::default());
        maker.sync();
    }
}

/// Packets and events that only a recipient reads.
fn encrypted() -> Vec<u8> {
    let mut maker = Maker::encrypted(13);
    maker.everything(Effort::default());
    maker.sealed()
}

/// What a later version may add without a new version number.
fn later(maker: &mut Maker) {
    maker.everything(Effort::Stored);
    let mut block = maker.encoder.clock(&[clock(BOOT_NS)]);
    block.block_type = BlockType(200);
    block.flags &= !block_flags::CRITICAL;
    maker.writer.append(&block).expect("memory takes every write");
    // An event of a kind that this version doesn't know: field 1000.
    let mut block =
        maker.encoder.events(&[proto::Event { time_ns: BOOT_NS, ..Default::default() }], Effort::Stored);
    let message_len = block.payload[0] + 4;
    block.payload[0] = message_len;
    block.payload.extend_from_slice(&[0xC2, 0x3E, 0x01, 0x07]);
    block.raw_len += 4;
    maker.writer.append(&block).expect("memory takes every write");
}

/// One for each class of damage, all made of the same sealed segment.
fn damaged() -> Vec<(&'static str, Vec<u8>)> {
    let mut maker = Maker::new(10);
    maker.everything(Effort::Stored);
    let bytes = maker.sealed();
    let mut older = Maker::new(11);
    older.everything(Effort::Stored);
    let older = older.sealed();
    let blocks = kcap_format::Segment::from_bytes("whole", bytes.clone(), &Default::default())
        .expect("a whole segment")
        .blocks()
        .to_vec();
    let offset = |at: usize| blocks[at].offset as usize;
    let end = |at: usize| offset(at) + HEADER_LEN + blocks[at].stored_len as usize;
    let seal = end(blocks.len() - 1).next_multiple_of(8);
    let change = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        bytes
    };
    vec![
        ("cut-in-header", bytes[..offset(6) + 40].to_vec()),
        ("cut-in-payload", bytes[..end(6) - 3].to_vec()),
        ("cut-between-blocks", bytes[..offset(6)].to_vec()),
        ("seal-damaged", change(&|bytes| bytes[seal + HEADER_LEN + 3] ^= 1)),
        ("header-damaged", change(&|bytes| bytes[offset(2) + 50] ^= 0x40)),
        ("header-damaged-unsealed", change(&|bytes| bytes[offset(2) + 50] ^= 0x40)[..seal].to_vec()),
        ("payload-damaged", change(&|bytes| bytes[end(4) - 1] ^= 0x40)),
        ("payload-damaged-unsynced", change(&|bytes| bytes[end(5) - 1] ^= 0x40)[..seal].to_vec()),
        ("sector-zeroed", change(&|bytes| bytes[512..1_024].fill(0))[..seal].to_vec()),
        ("sector-of-ones", change(&|bytes| bytes[1_024..1_536].fill(0xFF))[..seal].to_vec()),
        ("end-of-zeros", change(&|bytes| bytes[offset(6)..].fill(0))),
        ("first-block-damaged", change(&|bytes| bytes[40] ^= 1)[..seal].to_vec()),
        ("first-block-of-another", change(&|bytes| bytes[..offset(1)].copy_from_slice(&older[..offset(1)]))),
        (
            "payload-of-another",
            change(&|bytes| {
                let payload = offset(5) + HEADER_LEN..end(5);
                bytes[payload.clone()].copy_from_slice(&older[payload]);
            }),
        ),
        (
            "blocks-swapped",
            change(&|bytes| {
                let (first, second) =
                    (bytes[offset(3)..offset(4)].to_vec(), bytes[offset(4)..offset(5)].to_vec());
                let both = [second, first].concat();
                bytes[offset(3)..offset(5)].copy_from_slice(&both);
            })[..seal]
                .to_vec(),
        ),
        ("block-within-payload", block_within_payload()),
    ]
}

/// A recording of the segment itself, as it is copied over the network; and the header in front of it is damaged.
fn block_within_payload() -> Vec<u8> {
    let mut maker = Maker::new(12);
    maker.events(&events(2), Effort::Stored);
    let mut batch = PacketBatch::default();
    let row = PacketRow { time_ns: BOOT_NS, wire_len: 1_500, link_type: RAW_IP, ..PacketRow::default() };
    batch.push(&row, &[], &maker.storage.bytes());
    let at = maker.writer.len() as usize;
    maker.packets(&batch, Effort::Stored);
    maker.clock(BOOT_NS);
    maker.sync();
    maker.clock(BOOT_NS + 1);
    let mut bytes = maker.unsealed();
    bytes[at + 60] ^= 1;
    bytes
}

fn file_info() -> proto::FileInfo {
    proto::FileInfo {
        capture_id: (1..=16).collect(),
        segment_sequence: 1,
        host: Some(proto::Host {
            hostname: "golden".to_owned(),
            boot_id: (17..=32).collect(),
            kernel_release: "6.18.0".to_owned(),
            architecture: "x86_64".to_owned(),
            cpu_count: 2,
            ..Default::default()
        }),
        recorder: Some(proto::Recorder {
            name: "golden".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        }),
        clock: Some(clock(BOOT_NS)),
        ..Default::default()
    }
}

fn clock(boot_ns: u64) -> proto::ClockSample {
    proto::ClockSample {
        boot_before_ns: boot_ns,
        boot_after_ns: boot_ns + 120,
        monotonic_ns: boot_ns - 7,
        realtime_ns: 1_767_225_600_000_000_000 + boot_ns,
        tai_ns: 1_767_225_637_000_000_000 + boot_ns,
    }
}

/// Events of several kinds.
fn events(count: u64) -> Vec<proto::Event> {
    let id =
        |pid: u64| proto::ProcessId { pid: pid as u32, start_time_ns: BOOT_NS - pid, ..Default::default() };
    let process = |pid: u64| proto::Process {
        id: Some(id(pid)),
        parent: Some(id(1)),
        name: b"golden".to_vec(),
        executable: b"/usr/bin/golden".to_vec(),
        arguments: vec![b"golden".to_vec(), format!("--number={pid}").into_bytes()],
        ..Default::default()
    };
    let kind = |i: u64| match i % 4 {
        0 => Kind::Fork(proto::ProcessFork { process: Some(process(100 + i)) }),
        1 => Kind::Exec(proto::ProcessExec { process: Some(process(99 + i)) }),
        2 => Kind::Socket(proto::SocketEvent {
            cookie: 4_096 + i,
            owner: Some(id(98 + i)),
            ..Default::default()
        }),
        _ => Kind::Exit(proto::ProcessExit { id: Some(id(97 + i)), exit_code: 256, ..Default::default() }),
    };
    let event = |i| proto::Event {
        time_ns: BOOT_NS + i * 1_000,
        program: 16,
        cpu: (i % 2) as u32,
        event: Some(kind(i)),
        ..Default::default()
    };
    (0..count).map(event).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Traffic {
    Whole,
    HeadersOnly,
    /// Each packet leaves one socket and arrives at another.
    Local,
}

/// Packets of three connections.
fn traffic(random: &mut Random, count: usize, kind: Traffic) -> PacketBatch {
    let mut batch = PacketBatch::default();
    let mut sequence = [1_000_u32, 2_000, 3_000];
    let mut time_ns = BOOT_NS;
    while batch.len < count {
        time_ns += 20_000 + random.below(90_000);
        let connection = random.below(3) as usize;
        let payload_len = [0, 5, 18][random.below(3) as usize];
        let payload: Vec<u8> = (0..payload_len).map(|_| b'a' + random.below(26) as u8).collect();
        let header = tcp_header(connection as u8, sequence[connection], payload.len());
        sequence[connection] += payload.len() as u32;
        let is_large = random.below(8) == 0;
        let leaving = PacketRow {
            time_ns,
            socket_cookie: 4_096 + connection as u64,
            netns_cookie: 1,
            interface_index: 1 + connection as u32,
            wire_len: (header.len() + payload.len()) as u32 + if is_large { 60_000 } else { 0 },
            link_type: RAW_IP,
            direction: Direction::Egress,
            flags: if random.below(9) == 0 { packet_flags::HEADERS_INCOMPLETE } else { 0 },
            program: 2,
            cpu: random.below(2) as u16,
            gso_size: if is_large { 1_448 } else { 0 },
            gso_segments: if is_large { 42 } else { 0 },
            mark: if connection == 2 { 0xBEEF } else { 0 },
            tasks: 0,
        };
        let stored = if kind == Traffic::HeadersOnly { &[][..] } else { &payload };
        batch.push(&leaving, &header, stored);
        if kind == Traffic::Local {
            let elided = random.below(3) == 0;
            let arriving = PacketRow {
                time_ns: time_ns + 900,
                socket_cookie: 8_192 + connection as u64,
                direction: Direction::Ingress,
                program: 1,
                flags: if elided { packet_flags::PAYLOAD_WITH_LEAVING_COPY } else { 0 },
                ..leaving
            };
            batch.push(&arriving, &header, if elided { &[] } else { stored });
        }
    }
    batch
}

/// IPv4 and TCP, with their checksums left out.
fn tcp_header(connection: u8, sequence: u32, payload_len: usize) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend_from_slice(&(40 + payload_len as u16).to_be_bytes());
    header.extend_from_slice(&[0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    header.extend_from_slice(&(40_000 + u16::from(connection)).to_be_bytes());
    header.extend_from_slice(&[0, 80]);
    header.extend_from_slice(&sequence.to_be_bytes());
    header.extend_from_slice(&[0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
    // Some have options.
    if connection == 1 {
        header[32] = 0x80;
        header.extend_from_slice(&[1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 7]);
    }
    header
}
