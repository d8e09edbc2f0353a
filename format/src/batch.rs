//! Packets in columns: what a PACKETS block holds, uncompressed.

use crate::limits::{BUFFER_LEN_KEPT, PACKET_ROW_RAW_LEN};

/// Variable-length values, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BytesColumn {
    /// Where each value ends in `data`; the first begins at 0.
    ends: Vec<u32>,
    data: Vec<u8>,
}

impl BytesColumn {
    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True when there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all values together.
    #[must_use]
    pub fn data_len(&self) -> usize {
        self.data.len()
    }

    /// All values, one after the other.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Where each value ends in [`Self::data`].
    #[must_use]
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Appends a value. The sum of all must stay below 4 GiB, which the block limits guarantee.
    pub fn push(&mut self, value: &[u8]) {
        self.data.extend_from_slice(value);
        self.ends.push(u32::try_from(self.data.len()).expect("a block holds less than 4 GiB"));
    }

    /// The value of a row, or `None` when there is no such row (or the column was not read).
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        let end = *self.ends.get(row)? as usize;
        let start = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        self.data.get(start..end)
    }

    /// Length of each value.
    pub fn lens(&self) -> impl Iterator<Item = u32> + '_ {
        self.ends.iter().scan(0, |start, &end| Some(end - std::mem::replace(start, end)))
    }

    /// Removes all values and keeps the memory.
    pub fn clear(&mut self) {
        self.ends.clear();
        self.data.clear();
    }

    /// Makes room for so many values of so many bytes, and no more.
    pub fn reserve(&mut self, values: usize, bytes: usize) {
        self.ends.reserve_exact(values);
        self.data.reserve_exact(bytes);
    }

    /// Appends the value of an earlier row once more; nothing when there is no such row.
    pub(crate) fn push_copy(&mut self, row: usize) {
        let Some(&end) = self.ends.get(row) else { return };
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        self.data.extend_from_within(start as usize..end as usize);
        self.ends.push(u32::try_from(self.data.len()).expect("a block holds less than 4 GiB"));
    }

    /// Replaces all values: `fill` leaves as many bytes as `lens` sum to.
    pub(crate) fn refill<E>(
        &mut self,
        lens: &[u32],
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.clear();
        fill(&mut self.data)?;
        self.ends.extend(lens.iter().scan(0, |end, len| {
            *end += len;
            Some(*end)
        }));
        debug_assert_eq!(self.ends.last().map_or(0, |&end| end as usize), self.data.len());
        Ok(())
    }
}

/// Which way a packet went, seen from the host.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Not known: packets of an imported capture.
    #[default]
    Unknown = 0,
    /// Arriving at a socket or interface.
    Ingress = 1,
    /// Leaving a socket or interface.
    Egress = 2,
}

impl Direction {
    /// The direction with this number; anything unassigned is [`Direction::Unknown`].
    #[must_use]
    pub fn from_u8(number: u8) -> Self {
        match number {
            1 => Self::Ingress,
            2 => Self::Egress,
            _ => Self::Unknown,
        }
    }
}

/// Bits of [`PacketRow::flags`].
pub mod packet_flags {
    /// The headers could not be followed to the transport header; `header` holds what was understood.
    pub const HEADERS_INCOMPLETE: u16 = 1 << 0;
    /// The payload was left out because the leaving copy of the same packet was recorded with it.
    pub const PAYLOAD_WITH_LEAVING_COPY: u16 = 1 << 1;
}

/// The fixed-size values of one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketRow {
    /// Nanoseconds since boot.
    pub time_ns: u64,
    /// Cookie of the packet's socket at the hook, 0 for none.
    pub socket_cookie: u64,
    /// Cookie of the network namespace, 0 when unknown.
    pub netns_cookie: u64,
    /// Interface index in that namespace.
    pub interface_index: u32,
    /// Bytes of the packet on the wire (at the hook), link header included where the hook sees one.
    pub wire_len: u32,
    /// `LINKTYPE_*` of the captured bytes, as in pcap; 101 (raw IP) for packets of cgroup hooks.
    pub link_type: u16,
    /// Which way it went.
    pub direction: Direction,
    /// [`packet_flags`].
    pub flags: u16,
    /// `LossProgram` of `spec/events.proto`; 0 for imported packets.
    pub program: u8,
    /// Processor on which it was seen.
    pub cpu: u16,
    /// Payload bytes a segment when the packet stands for several (GSO, GRO); 0 otherwise.
    pub gso_size: u16,
    /// How many segments it stands for; 0 or 1 for one.
    pub gso_segments: u16,
    /// `skb->mark`.
    pub mark: u32,
    /// Payload tasks that asked for it: bit `n` is that of `Recorder.payload_tasks[n]` of `spec/events.proto`.
    pub tasks: u32,
}

/// Packets of one block in columns. A reader leaves the columns empty that it was not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // each column is the field of PacketRow of the same name
pub struct PacketBatch {
    /// Number of packets, whichever columns are filled.
    pub len: usize,
    pub time_ns: Vec<u64>,
    pub socket_cookie: Vec<u64>,
    pub netns_cookie: Vec<u64>,
    pub interface_index: Vec<u32>,
    pub wire_len: Vec<u32>,
    pub link_type: Vec<u16>,
    pub direction: Vec<u8>,
    pub flags: Vec<u16>,
    pub program: Vec<u8>,
    pub cpu: Vec<u16>,
    pub gso_size: Vec<u16>,
    pub gso_segments: Vec<u16>,
    pub mark: Vec<u32>,
    pub tasks: Vec<u32>,
    /// Captured bytes from the link or network header to the end of the transport header.
    pub header: BytesColumn,
    /// Captured bytes after the headers.
    pub payload: BytesColumn,
    /// Captured payload bytes of each packet, also when `payload` itself was not read.
    pub payload_len: Vec<u32>,
}

impl PacketBatch {
    /// True when there is no packet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a packet with its captured bytes.
    pub fn push(&mut self, row: &PacketRow, header: &[u8], payload: &[u8]) {
        self.len += 1;
        self.time_ns.push(row.time_ns);
        self.socket_cookie.push(row.socket_cookie);
        self.netns_cookie.push(row.netns_cookie);
        self.interface_index.push(row.interface_index);
        self.wire_len.push(row.wire_len);
        self.link_type.push(row.link_type);
        self.direction.push(row.direction as u8);
        self.flags.push(row.flags);
        self.program.push(row.program);
        self.cpu.push(row.cpu);
        self.gso_size.push(row.gso_size);
        self.gso_segments.push(row.gso_segments);
        self.mark.push(row.mark);
        self.tasks.push(row.tasks);
        self.header.push(header);
        self.payload.push(payload);
        self.payload_len.push(u32::try_from(payload.len()).expect("a packet is shorter than 4 GiB"));
    }

    /// Bytes that the packets take before compression: what the block limits count.
    #[must_use]
    pub fn raw_len(&self) -> usize {
        self.len * PACKET_ROW_RAW_LEN + self.header.data_len() + self.payload.data_len()
    }

    /// Removes all packets, and gives memory back that is more than blocks usually take.
    pub(crate) fn clear_large(&mut self) {
        let fixed = self.time_ns.capacity().max(self.ends_capacity()) * PACKET_ROW_RAW_LEN;
        if fixed + self.header.data.capacity() + self.payload.data.capacity() > BUFFER_LEN_KEPT {
            *self = Self::default();
        } else {
            self.clear();
        }
    }

    fn ends_capacity(&self) -> usize {
        self.header.ends.capacity().max(self.payload.ends.capacity())
    }

    /// Removes all packets and keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
        self.time_ns.clear();
        self.socket_cookie.clear();
        self.netns_cookie.clear();
        self.interface_index.clear();
        self.wire_len.clear();
        self.link_type.clear();
        self.direction.clear();
        self.flags.clear();
        self.program.clear();
        self.cpu.clear();
        self.gso_size.clear();
        self.gso_segments.clear();
        self.mark.clear();
        self.tasks.clear();
        self.header.clear();
        self.payload.clear();
        self.payload_len.clear();
    }
}
