//! Writers of other formats. They take plain values and know neither segments nor SQL.
//!
//! `spec/pcapng.md` says what becomes of each part of a recording in a capture file.

mod error;
mod packet;
mod pcap;
mod pcapng;

pub use error::ExportError;
pub use packet::{ExportInterface, ExportPacket, InterfaceKey, PacketDirection, SectionInfo};
pub use pcap::PcapWriter;
pub use pcapng::{COMMENT_LEN_MAX, PcapngWriter};
