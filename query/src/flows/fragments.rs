//! What is wrong with fragments of packets.

use std::sync::Arc;

use kcap_dissect::decode::{FragmentError, IncompletePacket};
use kcap_dissect::stream::PacketRef;

use crate::table::packets::PacketBlock;

/// A fragment, for findings that outlive its block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FragmentName {
    /// The packet.
    pub packet: PacketRef,
    /// Its bytes on the wire.
    pub wire_len: u32,
    /// Its flow: without ports, unless it is the first.
    pub flow_id: Option<u64>,
    /// Its recording.
    pub capture_id: String,
}

/// Something about fragments.
#[derive(Clone, Copy, Debug)]
pub enum FragmentFinding<'a> {
    /// Others never came.
    Incomplete(&'a IncompletePacket<FragmentName>),
    /// It cannot be a part of a packet.
    Rejected(&'a FragmentName, FragmentError),
    /// The last of a packet whose fragments overlap and disagree.
    Disagreement(&'a FragmentName),
}

impl FragmentName {
    pub(super) fn of(block: &Arc<PacketBlock>, row: usize) -> Self {
        Self {
            packet: PacketRef {
                packet_id: block.packet_id(row),
                time_ns: block.realtime_ns(row).unwrap_or(0),
                ..PacketRef::default()
            },
            wire_len: block.batch.wire_len[row],
            flow_id: block.flow_id(row),
            capture_id: block.capture_id().to_owned(),
        }
    }
}
