//! The record of a packet in the packet ring.

/// Head of a packet's ring record; `captured_len` bytes of the packet follow it.
///
/// The ring record is as long as its size class ([`SIZE_CLASSES`]); bytes after the captured ones are undefined.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct PacketHead {
    /// `bpf_ktime_get_boot_ns` when the program ran.
    pub time_ns: u64,
    /// `bpf_get_socket_cookie`; 0 when the packet has no socket. At an interface it is the sender's, also of a frame that
    /// arrives from another network namespace (`skb_scrub_packet` keeps it).
    pub socket_cookie: u64,
    /// `bpf_get_netns_cookie`; 0 on kernels that don't tell for packets (before 6.15).
    pub netns_cookie: u64,
    /// `__sk_buff.ifindex`, in the packet's network namespace.
    pub interface_index: u32,
    /// `__sk_buff.len`: bytes of the packet at this hook, whatever was captured of it.
    pub wire_len: u32,
    /// Bytes that follow this head.
    pub captured_len: u32,
    /// How many of the captured bytes are headers (network to transport); the rest is payload.
    pub header_len: u16,
    /// Processor that ran the program.
    pub cpu: u16,
    /// `__sk_buff.gso_size`: payload bytes a segment when the packet stands for several; 0 otherwise.
    pub gso_size: u16,
    /// `__sk_buff.gso_segs`.
    pub gso_segments: u16,
    /// [`Program`](crate::Program) that made the record.
    pub program: u8,
    /// [`DIRECTION_INGRESS`] or [`DIRECTION_EGRESS`].
    pub direction: u8,
    /// `PACKET_FLAG_*`.
    pub flags: u16,
    /// `__sk_buff.mark`.
    pub mark: u32,
    /// `ETH_P_*` in host order (`__sk_buff.protocol` swapped).
    pub protocol: u16,
    /// [`LINK_TYPE_RAW`] or [`LINK_TYPE_ETHERNET`]: what the captured bytes begin with.
    pub link_type: u16,
    /// `__sk_buff.vlan_tci`: the VLAN tag that the kernel took out of the frame, or that the device is to put in. It is
    /// neither in `wire_len` nor in the captured bytes.
    pub vlan_tci: u16,
    /// EtherType of that tag in host order; 0: there is none.
    pub vlan_protocol: u16,
    /// Rules that hold, as far as is known: [`RULE_RECORD`](crate::RULE_RECORD), and those of tasks.
    pub rules: u32,
}

/// `LINKTYPE_RAW`: the captured bytes begin with the network header.
pub const LINK_TYPE_RAW: u16 = 101;
/// `LINKTYPE_ETHERNET`: the captured bytes begin with an Ethernet header.
pub const LINK_TYPE_ETHERNET: u16 = 1;

/// Bytes of a [`PacketHead`].
pub const PACKET_HEAD_LEN: usize = size_of::<PacketHead>();

/// The packet arrived.
pub const DIRECTION_INGRESS: u8 = 1;
/// The packet is leaving.
pub const DIRECTION_EGRESS: u8 = 2;

/// Most interfaces that are recorded at once.
pub const INTERFACE_COUNT_MAX: u32 = 4096;

/// The headers could not be followed to the transport header: `header_len` covers what was understood.
pub const PACKET_FLAG_HEADERS_INCOMPLETE: u16 = 1 << 0;
/// The arriving copy of a loopback packet: its payload is not here but in the record of the leaving copy, which has the
/// same header bytes and `wire_len`, and was stored a moment before.
pub const PACKET_FLAG_PAYLOAD_ELIDED: u16 = 1 << 1;

/// User space has yet to decide whether the packet is wanted, by what `UNDECIDED` says of its socket. Not recorded.
pub const PACKET_FLAG_UNDECIDED: u16 = 1 << 15;

/// Bytes of packet data in a ring record, smallest class that fits. Powers of two: the verifier follows
/// `((len - 1) & (class - 1)) + 1`.
pub const SIZE_CLASSES: [u32; 9] = [64, 128, 256, 2048, 8192, 16_384, 65_536, 131_072, 262_144];

/// Packets of which no more is captured go through a ring of their own while it has room: one of [`SIZE_CLASSES`].
pub const SHORT_PACKET_LEN_MAX: u32 = 256;

/// Most bytes that are captured of a packet: more than 64 KiB are two or more segments that the kernel handles as one
/// packet, as TCP over loopback does.
pub const SNAPLEN_MAX: u32 = 262_144;
