//! What the flow table wants to know of a packet.

use crate::decode::Decoded;
use crate::flow_id::FlowKey;
use crate::stream::PacketRef;

/// A packet, decoded.
#[derive(Clone, Copy, Debug)]
pub struct PacketView<'a> {
    /// Its id in its recording.
    pub packet_id: u64,
    /// When it was seen, in nanoseconds since 1970.
    pub time_ns: i64,
    /// Its headers.
    pub decoded: &'a Decoded,
    /// Of a packet in tunnels, the headers of the packets around it, outermost first; see
    /// [`decode_outer`](crate::decode::decode_outer).
    pub outer: &'a [Decoded],
    /// Captured bytes after the headers, with or without link padding. May be empty when nobody wants streams.
    pub payload: &'a [u8],
    /// Captured bytes after the headers, also when `payload` is left empty.
    pub captured_payload_len: u32,
    /// Bytes on the wire.
    pub wire_len: u32,
    /// Cookie of the network namespace; 0 when not known.
    pub netns_cookie: u64,
    /// [`flow_id`](crate::flow_id()) of the headers, where it is known already: it takes a hash.
    pub flow_id: Option<u64>,
    /// Comes back with what the packet brings: [`PacketRef::tag`].
    pub tag: u32,
}

impl<'a> PacketView<'a> {
    /// Which packet it is.
    #[must_use]
    pub fn packet(&self) -> PacketRef {
        PacketRef { packet_id: self.packet_id, time_ns: self.time_ns, tag: self.tag }
    }

    /// The id of its flow, which has this key.
    pub(super) fn flow_id_of(&self, key: &FlowKey) -> u64 {
        self.flow_id.unwrap_or_else(|| key.id())
    }

    /// Bytes of transport payload that were on the wire and were not captured.
    #[must_use]
    pub fn truncated_len(&self) -> u32 {
        self.decoded.payload_len.saturating_sub(self.captured_payload_len)
    }

    /// The payload without padding.
    #[must_use]
    pub fn transport_payload(&self) -> &'a [u8] {
        &self.payload[..self.payload.len().min(self.decoded.payload_len as usize)]
    }
}
