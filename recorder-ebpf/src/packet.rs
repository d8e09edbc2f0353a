//! The record of a packet in the packet ring.

/// Head of a packet's ring record; `captured_len` bytes of the packet follow it.
///
/// The ring record is as long as its size class ([`SIZE_CLASSES`]); bytes after the captured ones are undefined. With the
/// 8 bytes that the kernel puts before it, the record of a short packet fills whole cache lines: floods of small packets
/// cost a good part of a hundred nanoseconds more when it doesn't.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct PacketHead {
    /// `bpf_ktime_get_boot_ns` when the program ran.
    pub time_ns: u64,
    /// `bpf_get_socket_cookie`; 0 when the packet has no socket. At an interface it is the sender's, also of a frame that
    /// arrives from another network namespace (`skb_scrub_packet` keeps it).
    pub socket_cookie: u64,
    /// `SO_NETNS_COOKIE` of the socket; 0 on kernels that don't tell for packets: before 6.2, or 6.15
    /// where programs can't read it by type.
    pub netns_cookie: u64,
    /// `__sk_buff.ifindex`, in the packet's network namespace.
    pub interface_index: u32,
    /// `__sk_buff.len`: bytes of the packet at this hook, whatever was captured of it.
    pub wire_len: u32,
    /// Bytes that follow this head.
    pub captured_len: u32,
    /// `__sk_buff.mark`.
    pub mark: u32,
    /// Rules that hold, as far as is known: [`RULE_RECORD`](crate::RULE_RECORD), and those of tasks.
    pub rules: u32,
    /// How many of the captured bytes are headers (network to transport); the rest is payload.
    pub header_len: u16,
    /// Processor that ran the program.
    pub cpu: u16,
    /// `__sk_buff.gso_size`: payload bytes a segment when the packet stands for several; 0 otherwise.
    pub gso_size: u16,
    /// `__sk_buff.gso_segs`.
    pub gso_segments: u16,
    /// `__sk_buff.vlan_tci`: the VLAN tag that the kernel took out of the frame, or that the device is to put in. It is
    /// neither in `wire_len` nor in the captured bytes. [`vlan_protocol`](Self::vlan_protocol) says whether there is one.
    pub vlan_tci: u16,
    /// [`Program`](crate::Program) that made the record.
    pub program: u8,
    /// `PACKET_FLAG_*`.
    pub flags: u8,
}

impl PacketHead {
    /// [`DIRECTION_INGRESS`] or [`DIRECTION_EGRESS`].
    #[must_use]
    pub const fn direction(&self) -> u8 {
        if self.flags & PACKET_FLAG_EGRESS != 0 { DIRECTION_EGRESS } else { DIRECTION_INGRESS }
    }

    /// [`LINK_TYPE_RAW`] or [`LINK_TYPE_ETHERNET`]: what the captured bytes begin with.
    #[must_use]
    pub const fn link_type(&self) -> u16 {
        if self.flags & PACKET_FLAG_ETHERNET != 0 { LINK_TYPE_ETHERNET } else { LINK_TYPE_RAW }
    }

    /// EtherType of the tag that is in [`vlan_tci`](Self::vlan_tci); 0: there is none.
    #[must_use]
    pub const fn vlan_protocol(&self) -> u16 {
        match self.flags & (PACKET_FLAG_TAG_8021Q | PACKET_FLAG_TAG_8021AD) {
            0 => 0,
            PACKET_FLAG_TAG_8021Q => ETH_P_8021Q,
            _ => ETH_P_8021AD,
        }
    }
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

/// EtherTypes of VLAN tags, customer's and service provider's (IEEE 802.1Q clause 9.5).
pub const ETH_P_8021Q: u16 = 0x8100;
/// See [`ETH_P_8021Q`].
pub const ETH_P_8021AD: u16 = 0x88a8;

/// The headers could not be followed to the transport header: `header_len` covers what was understood.
pub const PACKET_FLAG_HEADERS_INCOMPLETE: u8 = 1 << 0;
/// The arriving copy of a loopback packet: its payload is not here but in the record of the leaving copy, which has the
/// same header bytes and `wire_len`, and was stored a moment before.
pub const PACKET_FLAG_PAYLOAD_ELIDED: u8 = 1 << 1;
/// Those flags that are recorded as they are.
pub const PACKET_FLAGS_RECORDED: u8 = PACKET_FLAG_HEADERS_INCOMPLETE | PACKET_FLAG_PAYLOAD_ELIDED;

/// The packet was leaving; see [`PacketHead::direction`].
pub const PACKET_FLAG_EGRESS: u8 = 1 << 2;
/// It begins with an Ethernet header; see [`PacketHead::link_type`].
pub const PACKET_FLAG_ETHERNET: u8 = 1 << 3;
/// There is a tag of [`ETH_P_8021Q`] beside the frame.
pub const PACKET_FLAG_TAG_8021Q: u8 = 1 << 4;
/// There is a tag of [`ETH_P_8021AD`].
pub const PACKET_FLAG_TAG_8021AD: u8 = 1 << 5;
/// User space has yet to decide whether the packet is wanted, by what `UNDECIDED` says of its socket.
pub const PACKET_FLAG_UNDECIDED: u8 = 1 << 7;

/// Bytes of packet data in a ring record, smallest class that fits. Powers of two: the verifier follows
/// `((len - 1) & (class - 1)) + 1`.
pub const SIZE_CLASSES: [u32; 9] = [64, 128, 256, 2048, 8192, 16_384, 65_536, 131_072, 262_144];

/// Packets of which no more is captured go through a ring of their own while it has room: one of [`SIZE_CLASSES`].
pub const SHORT_PACKET_LEN_MAX: u32 = 256;

/// Most bytes that are captured of a packet: more than 64 KiB are two or more segments that the kernel handles as one
/// packet, as TCP over loopback does.
pub const SNAPLEN_MAX: u32 = 262_144;
