//! Writers of other formats. They take plain values and know neither segments nor SQL.
//!
//! `spec/pcapng.md` says what becomes of each part of a recording in a capture file.

mod comment;
pub mod ecs;
mod error;
pub mod json;
mod packet;
pub mod parquet_file;
pub mod payload;
mod payload_fields;
mod pcap;
mod pcapng;

pub use comment::{COMMAND_LINE_LEN_MAX, CommentEnd, CommentProcess, add_comment_line, add_tasks_line};
pub use error::ExportError;
pub use packet::{ExportInterface, ExportPacket, InterfaceKey, PacketDirection, SectionInfo};
pub use pcap::PcapWriter;
pub use pcapng::{COMMENT_LEN_MAX, PcapngWriter};
