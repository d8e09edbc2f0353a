//! The packets that are measured with.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kcap_format::limits::BLOCK_RAW_LEN_TARGET;
use kcap_format::{BlockType, Direction, PacketBatch, PacketColumns, PacketRow, Segment};

/// The shared folder's capture, if it is there: a blend of small real traces.
const BLEND: &str = "../../shared/bench/base.pcap.zst";
/// What is there in any case: four seconds of a web server and a resolver.
const DEMO: &str = "../testdata/demo.kcap";
/// So many bytes are measured with at least; the demo is repeated up to there.
const LEN_MIN: usize = 64 << 20;

const PCAP_HEADER_LEN: usize = 24;
const RECORD_HEADER_LEN: usize = 16;
const LINKTYPE_ETHERNET: u16 = 1;
const LINKTYPE_RAW: u16 = 101;

/// A classic pcap file in memory.
pub(crate) struct Capture {
    /// What it is, for people.
    pub(crate) name: String,
    /// The file.
    pub(crate) bytes: Vec<u8>,
    link_type: u16,
    fraction_ns: u64,
}

impl Capture {
    /// The blend where it is there, else the demo's packets, again and again.
    pub(crate) fn of_this_host() -> Result<Self> {
        let blend = Path::new(env!("CARGO_MANIFEST_DIR")).join(BLEND);
        if blend.exists() {
            let mut capture = Self::read(&blend)?;
            capture.name = format!("{} (a blend of small real traces, not one large trace)", capture.name);
            return Ok(capture);
        }
        Self::demo()
    }

    /// A pcap file of this byte order, Ethernet or raw IP, plain or compressed with zstd.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let mut bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        if path.extension().is_some_and(|extension| extension == "zst") {
            bytes = zstd::decode_all(&bytes[..]).with_context(|| path.display().to_string())?;
        }
        let u32_at = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let fraction_ns = match u32_at(0) {
            Some(0xA1B2_C3D4) => 1_000,
            Some(0xA1B2_3C4D) => 1,
            _ => bail!("{}: not a little-endian pcap file", path.display()),
        };
        let link_type = match u32_at(20) {
            Some(1) => LINKTYPE_ETHERNET,
            Some(101) => LINKTYPE_RAW,
            other => bail!("{}: link type {other:?} is neither Ethernet nor raw IP", path.display()),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, bytes, link_type, fraction_ns })
    }

    fn demo() -> Result<Self> {
        let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(DEMO);
        let segment = Segment::open(&path)?;
        let mut records = Vec::new();
        for block in segment.blocks_of(BlockType::PACKETS) {
            let packets = segment.packets(block, PacketColumns::ALL)?;
            for row in 0..packets.len {
                let header = packets.header.get(row).unwrap_or_default();
                let payload = packets.payload.get(row).unwrap_or_default();
                let len = (header.len() + payload.len()) as u32;
                let time_us = packets.time_ns[row] / 1_000;
                for value in [(time_us / 1_000_000) as u32, (time_us % 1_000_000) as u32, len, len] {
                    records.extend_from_slice(&value.to_le_bytes());
                }
                records.extend_from_slice(header);
                records.extend_from_slice(payload);
            }
        }
        let mut bytes = Vec::new();
        for value in [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 262_144, LINKTYPE_RAW.into()] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        let times = LEN_MIN.div_ceil(records.len());
        bytes.extend(records.repeat(times));
        let name =
            format!("testdata/demo.kcap, {times} times: its ratios are better than those of real traffic");
        Ok(Self { name, bytes, link_type: LINKTYPE_RAW, fraction_ns: 1_000 })
    }

    /// The packets as a recorder would hand them over to be compressed.
    pub(crate) fn batches(&self) -> Vec<PacketBatch> {
        let mut batches = vec![PacketBatch::default()];
        let mut rest = &self.bytes[PCAP_HEADER_LEN..];
        while let Some((record, after)) = rest.split_first_chunk::<RECORD_HEADER_LEN>() {
            let field =
                |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
            let Some((bytes, after)) = after.split_at_checked(field(8) as usize) else { break };
            rest = after;
            if batches.last().is_none_or(|batch| batch.raw_len() >= BLOCK_RAW_LEN_TARGET as usize) {
                batches.push(PacketBatch::default());
            }
            let row = PacketRow {
                time_ns: u64::from(field(0)) * 1_000_000_000 + u64::from(field(4)) * self.fraction_ns,
                interface_index: 1,
                wire_len: field(12),
                link_type: self.link_type,
                direction: Direction::Unknown,
                ..PacketRow::default()
            };
            let (header, payload) = bytes.split_at(self.header_len(bytes));
            if let Some(batch) = batches.last_mut() {
                batch.push(&row, header, payload);
            }
        }
        batches
    }

    /// Bytes up to the end of the TCP or UDP header, as far as that is found without options of IPv6.
    fn header_len(&self, bytes: &[u8]) -> usize {
        let be16 = |at: usize| bytes.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
        let mut network = 0;
        if self.link_type == LINKTYPE_ETHERNET {
            network = 14;
            while matches!(be16(network - 2), Some(0x8100 | 0x88A8)) {
                network += 4;
            }
        }
        let (protocol, transport) = match bytes.get(network).map(|first| first >> 4) {
            Some(4) => (bytes.get(network + 9), network + usize::from(bytes[network] & 15) * 4),
            Some(6) => (bytes.get(network + 6), network + 40),
            _ => (None, network),
        };
        let end = match protocol {
            Some(6) => {
                transport + bytes.get(transport + 12).map_or(20, |offset| usize::from(offset >> 4) * 4)
            }
            Some(_) => transport + 8,
            None => transport,
        };
        end.min(bytes.len())
    }
}
