//! The kcap segment: what `kcap-record` writes and `kcap` reads.
//!
//! `spec/segment.md` is the normative description of the bytes, `spec/events.proto` of the messages in them. This
//! crate is the one implementation of both: the record model ([`PacketBatch`], [`proto`]), the writer and the reader.
#![forbid(unsafe_code)]

mod batch;

/// The messages of `spec/events.proto`, generated at build time.
pub mod proto {
    #![allow(missing_docs, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/kcap.v1.rs"));
}

pub use batch::{BytesColumn, Direction, PacketBatch, PacketRow, packet_flags};
