//! The kcap segment: what `kcap-record` writes and `kcap` reads.
//!
//! `spec/segment.md` is the normative description of the bytes, `spec/events.proto` of the messages in them. This
//! crate is the one implementation of both: the record model ([`PacketBatch`], [`proto`]), the writer
//! ([`BlockEncoder`], [`SegmentWriter`]) and the reader ([`Segment`], [`Capture`]).
//!
//! ```
//! use kcap_format::{
//!     BlockEncoder, BlockType, Effort, FileStorage, PacketBatch, PacketColumns, PacketRow, Segment, SegmentWriter, proto,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("example.kcap");
//! let mut batch = PacketBatch::default();
//! batch.push(&PacketRow { time_ns: 17, wire_len: 33, ..PacketRow::default() }, b"header bytes", b"payload");
//!
//! let mut writer = SegmentWriter::create(FileStorage::create(&path)?, &proto::FileInfo::default())?;
//! writer.append(&BlockEncoder::new().packets(&batch, Effort::default()))?;
//! writer.seal()?;
//!
//! let segment = Segment::open(&path)?;
//! for block in segment.blocks_of(BlockType::PACKETS) {
//!     let packets = segment.packets(block, PacketColumns::TIME | PacketColumns::HEADER)?;
//!     assert_eq!(packets.time_ns, [17]);
//!     assert_eq!(packets.header.get(0), Some(&b"header bytes"[..]));
//! }
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

mod batch;
mod bytes;
mod capture;
mod checksum;
mod clock;
mod compression;
pub mod container_path;
mod dictionary;
mod encoder;
mod encryption;
mod error;
mod header;
mod id;
mod index;
pub mod limits;
mod messages;
mod mmap;
mod packets;
mod payload_task;
mod process_uuid;
mod repair;
mod segment;
mod storage;
#[cfg(feature = "testing")]
pub mod testing;
mod verify;
mod writer;

/// The messages of `spec/events.proto`, generated at build time.
pub mod proto {
    #![allow(missing_docs, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/kcap.v1.rs"));
}

pub use batch::{BytesColumn, Direction, PacketBatch, PacketRow, packet_flags};
pub use capture::{Capture, Problem, SEGMENT_EXTENSION};
pub use clock::ClockMap;
pub use compression::Effort;
pub use dictionary::DictionaryPool;
pub use encoder::{BlockEncoder, EncodedBlock};
pub use encryption::{Identities, Recipient};
pub use error::{Error, Result};
pub use header::{BlockType, block_flags};
pub use id::PacketId;
pub use index::{BlockEntry, Seal, TypeCount};
pub use messages::split_events;
pub use packets::PacketColumns;
pub use process_uuid::process_uuid;
pub use repair::{Outcome, RepairReport, RepairedFile, repair};
pub use segment::{DamagedRange, ReadMode, ReadOptions, Segment, SegmentState};
pub use storage::{FileStorage, Storage};
pub use verify::{
    BlockReport, ChainFault, ChainFaultKind, Encryption, FileReport, FileState, Report, VerifyOptions, verify,
};
pub use writer::SegmentWriter;
