//! How fast blocks are encoded and decoded, and how small they get.
//!
//! ```text
//! cargo run --release -p kcap-format --example throughput            made-up traffic
//! cargo run --release -p kcap-format --example throughput FILE.pcap  the packets of a capture (raw IP or Ethernet)
//! ```
//!
//! Each packet of a capture is recorded as local traffic is: leaving one socket, and arriving at another one
//! about 2 µs later.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use kcap_format::{
    BlockEncoder, BlockType, Direction, Effort, FileStorage, PacketBatch, PacketColumns, PacketRow, Segment,
    SegmentWriter, limits, proto,
};

fn main() -> Result<()> {
    let packets = match std::env::args_os().nth(1) {
        Some(path) => read_pcap(Path::new(&path))?,
        None => made_up(200_000),
    };
    let batches = batches(&packets);
    let rows: usize = batches.iter().map(|batch| batch.len).sum();
    let raw: usize = batches.iter().map(PacketBatch::raw_len).sum();
    println!(
        "{} packets, {rows} rows in {} blocks, {:.1} MB raw",
        packets.len(),
        batches.len(),
        raw as f64 / 1e6
    );

    let folder = std::env::temp_dir().join(format!("kcap-throughput-{}", std::process::id()));
    std::fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
    let measured = measure_all(&folder, &batches, raw, packets.len());
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn measure_all(folder: &Path, batches: &[PacketBatch], raw: usize, packet_count: usize) -> Result<()> {
    println!("{:<10} {:>10} {:>10} {:>14}", "encode", "MB/s", "MB", "bytes/packet");
    let mut path = folder.join("stored.kcap");
    for (name, effort) in [
        ("stored", Effort::Stored),
        ("zstd -1", Effort::Zstd { level: 1 }),
        ("zstd -3", Effort::Zstd { level: 3 }),
    ] {
        path = folder.join(format!("{name}.kcap"));
        let mut writer = SegmentWriter::create(FileStorage::create(&path)?, &proto::FileInfo::default())?;
        let mut encoder = BlockEncoder::new();
        let begin = Instant::now();
        for batch in batches {
            writer.append(&encoder.packets(batch, effort))?;
        }
        let seconds = begin.elapsed().as_secs_f64();
        let len = writer.seal()?.len;
        let per_packet = len as f64 / packet_count as f64;
        println!(
            "{name:<10} {:>10.0} {:>10.2} {per_packet:>14.2}",
            raw as f64 / 1e6 / seconds,
            len as f64 / 1e6
        );
    }

    let segment = Segment::open(&path)?;
    println!("{:<10} {:>10} {:>14}", "decode", "MB/s", "packets/s");
    for (name, columns) in [
        ("metadata", PacketColumns::META),
        ("headers", PacketColumns::META | PacketColumns::HEADER),
        ("all", PacketColumns::ALL),
    ] {
        let mut batch = PacketBatch::default();
        let mut rows = 0;
        let begin = Instant::now();
        for block in segment.blocks_of(BlockType::PACKETS) {
            segment.packets_into(block, columns, &mut batch)?;
            rows += batch.len;
        }
        let seconds = begin.elapsed().as_secs_f64();
        println!("{name:<10} {:>10.0} {:>14.0}", raw as f64 / 1e6 / seconds, rows as f64 / seconds);
    }
    Ok(())
}

/// A packet from its network header on.
struct Packet {
    time_ns: u64,
    wire_len: u32,
    bytes: Vec<u8>,
}

/// Batches as the recorder makes them.
fn batches(packets: &[Packet]) -> Vec<PacketBatch> {
    let mut batches = vec![PacketBatch::default()];
    for packet in packets {
        let (header, payload) = packet.bytes.split_at(header_len(&packet.bytes));
        let (leaving_cookie, arriving_cookie) = cookies(header);
        let leaving = PacketRow {
            time_ns: packet.time_ns,
            socket_cookie: leaving_cookie,
            netns_cookie: 1,
            interface_index: 1,
            wire_len: packet.wire_len,
            link_type: 101,
            direction: Direction::Egress,
            program: proto::LossProgram::PacketEgress as u8,
            ..PacketRow::default()
        };
        let arriving = PacketRow {
            time_ns: packet.time_ns + 1_500 + (packet.time_ns.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54),
            socket_cookie: arriving_cookie,
            direction: Direction::Ingress,
            program: proto::LossProgram::PacketIngress as u8,
            ..leaving
        };
        if batches.last().is_none_or(|batch| batch.raw_len() >= limits::BLOCK_RAW_LEN_TARGET as usize) {
            batches.push(PacketBatch::default());
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(&leaving, header, payload);
            batch.push(&arriving, header, payload);
        }
    }
    batches
}

/// Bytes of the IPv4 and transport headers; as far as this example needs them.
fn header_len(bytes: &[u8]) -> usize {
    let ip = bytes.first().map_or(0, |first| usize::from(first & 15) * 4);
    let transport = match bytes.get(9) {
        Some(6) => bytes.get(ip + 12).map_or(20, |offset| usize::from(offset >> 4) * 4),
        _ => 8,
    };
    (ip + transport).min(bytes.len())
}

/// Stand-ins for the cookies of both sockets, from the ports.
fn cookies(header: &[u8]) -> (u64, u64) {
    let port = |at: usize| header.get(at..at + 2).map_or(0, |b| u64::from(u16::from_be_bytes([b[0], b[1]])));
    ((port(20) << 16) + port(22) + 70_000, (port(22) << 16) + port(20) + 70_000)
}

/// Half small datagrams, half 1,400 bytes of compressible text, in ten flows.
fn made_up(count: u32) -> Vec<Packet> {
    let text: Vec<u8> =
        (0..40_000u32).map(|i| b"GET /index.html HTTP/1.1\r\n"[(i * i / 7 % 26) as usize]).collect();
    (0..count)
        .map(|i| {
            let len = if i % 2 == 0 { 64 } else { 1_400 };
            let mut bytes = vec![0x45, 0, 0, 0];
            bytes.extend_from_slice(&(i as u16).to_be_bytes());
            bytes.extend_from_slice(&[0x40, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
            bytes.extend_from_slice(&(40_000 + (i % 10) as u16).to_be_bytes());
            bytes.extend_from_slice(&[0, 53, 0, 0, 0, 0]);
            bytes.extend_from_slice(&i.to_be_bytes());
            let begin = i.wrapping_mul(31) as usize % (text.len() - len);
            bytes.extend_from_slice(&text[begin..begin + len]);
            Packet { time_ns: u64::from(i) * 3_000, wire_len: bytes.len() as u32, bytes }
        })
        .collect()
}

/// A classic pcap file of this byte order, raw IP or Ethernet.
fn read_pcap(path: &Path) -> Result<Vec<Packet>> {
    let file = std::fs::read(path).with_context(|| path.display().to_string())?;
    let u32_at = |at: usize| file.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let fraction_ns = match u32_at(0) {
        Some(0xA1B2_C3D4) => 1_000,
        Some(0xA1B2_3C4D) => 1,
        _ => bail!("{}: not a little-endian pcap file", path.display()),
    };
    let link_len = match u32_at(20) {
        Some(1) => 14,
        Some(101) => 0,
        other => bail!("{}: link type {other:?} is neither Ethernet nor raw IP", path.display()),
    };
    let mut packets = Vec::new();
    let mut at = 24;
    while let (Some(seconds), Some(fraction), Some(captured), Some(wire_len)) =
        (u32_at(at), u32_at(at + 4), u32_at(at + 8), u32_at(at + 12))
    {
        let begin = at + 16;
        at = begin + captured as usize;
        let Some(bytes) = file.get((begin + link_len).min(at)..at) else { break };
        packets.push(Packet {
            time_ns: u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * fraction_ns,
            wire_len: wire_len.saturating_sub(link_len as u32),
            bytes: bytes.to_vec(),
        });
    }
    Ok(packets)
}
