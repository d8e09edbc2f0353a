//! What the writers are given.

/// Who recorded, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SectionInfo {
    /// The machine, e.g. its architecture and number of processors. Empty: left out, as for the others.
    pub hardware: String,
    /// Operating system and kernel.
    pub os: String,
    /// What recorded, with its version.
    pub application: String,
    /// Anything else, e.g. the host's name.
    pub comment: String,
}

/// What makes two packets come from one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct InterfaceKey {
    /// Cookie of the network namespace, 0 when unknown.
    pub netns_cookie: u64,
    /// Interface index in that namespace, 0 when unknown.
    pub index: u32,
    /// `LINKTYPE_*` of its packets: a capture file has one for each interface.
    pub link_type: u16,
}

/// An interface as a capture file describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportInterface {
    /// Its identity.
    pub key: InterfaceKey,
    /// Its name in its namespace. Empty: left out, as for the description.
    pub name: String,
    /// What else is known, e.g. the namespace.
    pub description: String,
    /// Its hardware address.
    pub mac_address: Option<[u8; 6]>,
    /// Most bytes that were captured of a packet, 0 for no limit.
    pub snaplen: u32,
}

/// Which way a packet went, seen from the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PacketDirection {
    /// Not known.
    #[default]
    Unknown,
    /// Arriving.
    Inbound,
    /// Leaving.
    Outbound,
}

/// A packet.
#[derive(Clone, Copy, Debug)]
pub struct ExportPacket<'a> {
    /// Nanoseconds since 1970-01-01T00:00:00 UTC.
    pub time_ns: u64,
    /// Where it was seen. Packets with the same key must have the same interface.
    pub interface: &'a ExportInterface,
    /// Which way it went.
    pub direction: PacketDirection,
    /// Its length on the wire.
    pub wire_len: u32,
    /// Captured bytes, link or network header first.
    pub header: &'a [u8],
    /// Captured bytes that follow those of `header`.
    pub payload: &'a [u8],
    /// Process id and thread id; 0 for a thread that is not known.
    pub process: Option<(u32, u32)>,
    /// Number that is the same for copies of one packet.
    pub packet_id: Option<u64>,
    /// What a person should know of it.
    pub comment: Option<&'a str>,
    /// Packets of the same direction that were lost before this one and not told of yet.
    pub drop_count: u64,
}

impl ExportPacket<'_> {
    /// Puts the captured bytes into `buffer`, in place of what was there. Returns the length on the wire, which formats
    /// demand to be no less than what was captured.
    pub(super) fn fill(&self, buffer: &mut Vec<u8>) -> u32 {
        buffer.clear();
        buffer.extend_from_slice(self.header);
        buffer.extend_from_slice(self.payload);
        self.wire_len.max(u32::try_from(buffer.len()).unwrap_or(u32::MAX))
    }
}
