//! Capture files, written byte by byte.

#![allow(dead_code)] // each test file uses a part

use std::path::Path;

use kcap_format::{BlockType, PacketBatch, PacketColumns};
use kcap_import::CaptureFile;

/// 2026-01-01T00:00:00Z.
pub(crate) const START_S: u32 = 1_767_225_600;

/// A byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    pub(crate) fn u16(self, value: u16) -> [u8; 2] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn u32(self, value: u32) -> [u8; 4] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn u64(self, value: u64) -> [u8; 8] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

/// An Ethernet frame with a UDP datagram from port `number` to 53, whose payload is `payload_len` times that number.
pub(crate) fn frame(number: u16, payload_len: usize) -> Vec<u8> {
    let udp_len = u16::try_from(payload_len + 8).expect("short");
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0]);
    frame.extend((udp_len + 20).to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(number.to_be_bytes());
    frame.extend([0, 53]);
    frame.extend(udp_len.to_be_bytes());
    frame.extend([0, 0]);
    frame.resize(frame.len() + payload_len, number as u8);
    frame
}

/// Bytes of the headers of [`frame`].
pub(crate) const FRAME_HEADER_LEN: usize = 42;

pub(crate) fn pcap_header(order: Order, magic: u32, link_type: u32) -> Vec<u8> {
    let mut bytes = order.u32(magic).to_vec();
    bytes.extend(order.u16(2));
    bytes.extend(order.u16(4));
    bytes.extend([0; 8]);
    bytes.extend(order.u32(262_144));
    bytes.extend(order.u32(link_type));
    bytes
}

pub(crate) fn pcap_record(order: Order, seconds: u32, fraction: u32, wire_len: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in [seconds, fraction, data.len() as u32, wire_len] {
        bytes.extend(order.u32(number));
    }
    bytes.extend(data);
    bytes
}

/// A pcap file of `count` frames, a millisecond apart.
pub(crate) fn pcap(order: Order, count: usize, payload_len: usize) -> Vec<u8> {
    let mut bytes = pcap_header(order, 0xa1b2_c3d4, 1);
    for number in 0..count {
        let data = frame(number as u16, payload_len + number % 7);
        let micros = number as u32 * 1000;
        let time = (START_S + micros / 1_000_000, micros % 1_000_000);
        bytes.extend(pcap_record(order, time.0, time.1, data.len() as u32, &data));
    }
    bytes
}

/// A block of pcapng.
pub(crate) fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let len = order.u32(padded as u32 + 12);
    let mut bytes = order.u32(kind).to_vec();
    bytes.extend(len);
    bytes.extend(body);
    bytes.resize(8 + padded, 0);
    bytes.extend(len);
    bytes
}

pub(crate) fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = order.u16(code).to_vec();
    bytes.extend(order.u16(value.len() as u16));
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

pub(crate) fn section(order: Order, options: &[Vec<u8>]) -> Vec<u8> {
    let mut body = order.u32(0x1a2b_3c4d).to_vec();
    body.extend(order.u16(1));
    body.extend(order.u16(0));
    body.extend([0xff; 8]);
    body.extend(options.concat());
    block(order, 0x0a0d_0d0a, &body)
}

pub(crate) fn interface(order: Order, link_type: u16, snaplen: u32, options: &[Vec<u8>]) -> Vec<u8> {
    let mut body = order.u16(link_type).to_vec();
    body.extend([0; 2]);
    body.extend(order.u32(snaplen));
    body.extend(options.concat());
    block(order, 1, &body)
}

pub(crate) fn enhanced_packet(
    order: Order,
    interface: u32,
    timestamp: u64,
    data: &[u8],
    options: &[Vec<u8>],
) -> Vec<u8> {
    let mut body = Vec::new();
    let halves = [(timestamp >> 32) as u32, timestamp as u32];
    for number in [interface, halves[0], halves[1], data.len() as u32, data.len() as u32] {
        body.extend(order.u32(number));
    }
    body.extend(data);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(options.concat());
    block(order, 6, &body)
}

/// What an interface counted: codes of options and their numbers.
pub(crate) fn statistics(order: Order, interface: u32, counts: &[(u16, u64)]) -> Vec<u8> {
    let mut body = order.u32(interface).to_vec();
    body.extend([0; 8]);
    for &(code, count) in counts {
        body.extend(option(order, code, &order.u64(count)));
    }
    block(order, 5, &body)
}

/// A pcapng file of `count` frames, a millisecond apart, with one interface.
pub(crate) fn pcapng(order: Order, count: usize, payload_len: usize) -> Vec<u8> {
    let mut bytes = section(order, &[]);
    bytes.extend(interface(order, 1, 0, &[]));
    for number in 0..count {
        let data = frame(number as u16, payload_len + number % 7);
        let micros = u64::from(START_S) * 1_000_000 + number as u64 * 1000;
        bytes.extend(enhanced_packet(order, 0, micros, &data, &[]));
    }
    bytes
}

/// Opens bytes as a file.
pub(crate) fn open(bytes: &[u8]) -> kcap_import::Result<CaptureFile> {
    let file = tempfile::NamedTempFile::new().expect("a file can be made");
    std::fs::write(file.path(), bytes).expect("it can be written");
    CaptureFile::open(file.path(), 1)
}

/// Opens bytes as a stream.
pub(crate) fn stream(bytes: &[u8]) -> kcap_import::Result<CaptureFile> {
    CaptureFile::from_stream(Path::new("-"), std::io::Cursor::new(bytes.to_vec()), 1)
}

/// Everything of all packets.
pub(crate) fn packets(capture: &CaptureFile) -> PacketBatch {
    let mut all = PacketBatch::default();
    for block in capture.blocks().expect("it can be walked") {
        if block.block_type != BlockType::PACKETS {
            continue;
        }
        let batch = capture.packets(block, PacketColumns::ALL).expect("it can be read").batch;
        assert_eq!(batch.len, block.record_count as usize);
        all.len += batch.len;
        all.time_ns.extend(&batch.time_ns);
        all.interface_index.extend(&batch.interface_index);
        all.wire_len.extend(&batch.wire_len);
        all.link_type.extend(&batch.link_type);
        all.direction.extend(&batch.direction);
        all.payload_len.extend(&batch.payload_len);
        for row in 0..batch.len {
            all.header.push(batch.header.get(row).expect("read"));
            all.payload.push(batch.payload.get(row).expect("read"));
        }
    }
    all
}
