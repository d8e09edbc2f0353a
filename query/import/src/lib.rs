//! Capture files of other programs, read as a segment is read: pcap and pcapng, plain or compressed, from a file or a
//! stream.
//!
//! A [`CaptureFile`] gives blocks of packets with the same columns that a segment's blocks have
//! ([`PacketBatch`](kcap_format::PacketBatch)), so that whoever reads segments reads these too. Opening one reads its first
//! bytes. Blocks are found when they are asked for ([`CaptureFile::chunk`]); whoever needs to know of all of them
//! ([`CaptureFile::blocks`]) makes all processors walk the file, from record to record, without looking at the packets.
//!
//! Files are read and never mapped: one that is cut off meanwhile, as rotation does, is an error and not the end of the
//! process.
#![forbid(unsafe_code)]

mod bytes;
mod capture;
mod convert;
mod error;
mod format;
mod index;
mod interface;
mod packets;
mod pcap;
mod pcapng;
mod spare;
mod spool;
mod window;

pub use capture::{CaptureFile, is_capture};
pub use convert::{ConvertOptions, to_segments};
pub use error::{Error, Result};
pub use packets::Packets;

/// Limits that hold for every capture file.
pub mod limits {
    /// Bytes of a file that make a block: the packets whose records begin in them.
    pub const CHUNK_LEN: u64 = 256 << 10;

    /// Most captured bytes of a packet. Other programs stop at 256 KiB for networks; beyond this a length is a lie.
    pub const PACKET_LEN_MAX: u32 = 8 << 20;

    /// Most bytes of a block that describes something: an interface, a section, statistics.
    pub const DESCRIPTION_LEN_MAX: u32 = 1 << 20;

    /// Most interfaces of a file.
    pub const INTERFACE_COUNT_MAX: usize = 1 << 16;

    /// Most bytes of an interface's name; what is longer is cut, and ends in an ellipsis then. Linux has 15, and names that
    /// Windows makes, with the id of a device in them, some dozens.
    pub const INTERFACE_NAME_LEN_MAX: usize = 256;

    /// Most addresses that are kept of an interface: the first ones. All interfaces stay in memory while the file is open.
    pub const INTERFACE_ADDRESS_COUNT_MAX: usize = 64;

    /// Most memory that decompressing a zstd file may take, as the base-2 logarithm of bytes: 32 MiB, which is what every level
    /// up to 20 needs. Files made with `--ultra -22` or `--long` need more, and `zstd -dc --long=31 FILE | kcap … -` reads them.
    pub const ZSTD_WINDOW_LOG_MAX: u32 = 25;

    /// Most blocks of a file: a [`PacketId`](kcap_format::PacketId) has 24 bits for the block. So 4 TiB of a file are read.
    pub const CHUNK_COUNT_MAX: usize = (1 << 24) - 2;
}
