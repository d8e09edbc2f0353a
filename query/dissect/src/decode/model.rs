//! What decoding a packet gives.

use super::error::DecodeError;
use super::tcp_options::TcpOptions;

/// The meaning of a packet's headers, as far as they could be followed.
///
/// Of a packet in a tunnel, these are the headers of the innermost packet; [`tunnel`](Self::tunnel) tells of the tunnel, and
/// [`decode_outer`](super::decode_outer) gives the headers around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Link layer.
    pub link: Link,
    /// Network layer.
    pub network: Network,
    /// Ports, also when the rest of the transport header was not captured.
    pub ports: Option<Ports>,
    /// Transport layer.
    pub transport: Transport,
    /// Where the network header begins, in bytes from the first captured one.
    pub network_offset: u32,
    /// Where the transport header begins; where the network header ends when there is none.
    pub transport_offset: u32,
    /// Bytes of all headers that were understood, link to transport: where the payload begins.
    pub header_len: u32,
    /// Bytes on the wire after the headers: of the transport payload when the transport header was understood. From the
    /// length in the IP header where it has one, else from the packet's length on the wire.
    pub payload_len: u32,
    /// The tunnel that the innermost packet came in.
    pub tunnel: Option<Tunnel>,
    /// How many tunnels lie around each other.
    pub tunnel_depth: u8,
    /// What stopped decoding, when it did not reach its end.
    pub error: Option<DecodeError>,
}

impl Decoded {
    /// The IP header.
    #[must_use]
    pub fn ip(&self) -> Option<&Ip> {
        match &self.network {
            Network::Ip(ip) => Some(ip),
            _ => None,
        }
    }

    /// The TCP header, when all its fixed part was captured.
    #[must_use]
    pub fn tcp(&self) -> Option<&Tcp> {
        match &self.transport {
            Transport::Tcp(tcp) => Some(tcp),
            _ => None,
        }
    }

    /// The ICMP or ICMPv6 header.
    #[must_use]
    pub fn icmp(&self) -> Option<&Icmp> {
        match &self.transport {
            Transport::Icmp(icmp) => Some(icmp),
            _ => None,
        }
    }

    /// The options of the TCP header in `bytes`, which must be those that were decoded. Empty for other packets.
    #[must_use]
    pub fn tcp_options<'a>(&self, bytes: &'a [u8]) -> TcpOptions<'a> {
        let options = self.tcp().and_then(|tcp| {
            let start = self.transport_offset as usize + super::tcp::FIXED_LEN;
            let end = (self.transport_offset as usize + usize::from(tcp.header_len)).min(bytes.len());
            bytes.get(start..end)
        });
        TcpOptions::new(options.unwrap_or_default())
    }
}

/// The link header. All empty for raw IP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Who sent it; Linux cooked headers have it where the device has addresses of six bytes.
    pub source_mac: Option<[u8; 6]>,
    /// Whom it was for.
    pub destination_mac: Option<[u8; 6]>,
    /// VLAN tags (control information: priority, drop eligible, 12 bits of id), outermost first; see `vlan_count`.
    pub vlan_tags: [u16; super::VLAN_TAGS_MAX],
    /// How many of `vlan_tags` there are.
    pub vlan_count: u8,
    /// [`ether_type`] of what follows the link header and its tags; 0 when the link header has none.
    pub ether_type: u16,
    /// The outermost label of MPLS (RFC 3032): 20 bits.
    pub mpls_label: Option<u32>,
    /// Session of PPP over Ethernet (RFC 2516).
    pub pppoe_session: Option<u16>,
}

impl Link {
    /// Id of the outermost VLAN (IEEE 802.1Q), if the packet is tagged.
    #[must_use]
    pub fn vlan_id(&self) -> Option<u16> {
        (self.vlan_count > 0).then(|| self.vlan_tags[0] & 0x0fff)
    }
}

/// The network header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Network {
    /// None that is decoded; [`Link::ether_type`] may say what it was.
    #[default]
    None,
    /// IPv4 or IPv6.
    Ip(Ip),
    /// ARP.
    Arp(Arp),
}

/// Either IP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ip {
    /// 4 or 6.
    pub version: u8,
    /// Sender; IPv4 as IPv4-mapped IPv6 (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2).
    pub source: [u8; 16],
    /// Receiver, likewise.
    pub destination: [u8; 16],
    /// [`ip_protocol`] after all extension headers.
    pub protocol: u8,
    /// Time to live, hop limit.
    pub ttl: u8,
    /// Type of service or traffic class: six bits DSCP, two ECN.
    pub traffic_class: u8,
    /// Flow label of IPv6; 0 for IPv4.
    pub flow_label: u32,
    /// Identification: of every IPv4 packet, and of IPv6 packets with a fragment header.
    pub id: Option<u32>,
    /// IPv4's "don't fragment".
    pub dont_fragment: bool,
    /// Where this fragment's data lie in the whole, in bytes.
    pub fragment_offset: u16,
    /// Fragments with a greater offset follow.
    pub more_fragments: bool,
    /// Bytes from the beginning of the IP header to the end of the packet, on the wire.
    pub total_len: u32,
}

impl Ip {
    /// True when this is a part of a packet.
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// True when either address is in `127.0.0.0/8` or is `::1`: such packets never leave their network namespace, and every
    /// namespace has these addresses.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        const IPV6_LOOPBACK: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        [self.source, self.destination]
            .iter()
            .any(|address| if self.version == 4 { address[12] == 127 } else { *address == IPV6_LOOPBACK })
    }
}

/// An ARP packet for IPv4 on Ethernet (RFC 826).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arp {
    /// 1 request, 2 reply.
    pub operation: u16,
    /// Hardware address of the sender.
    pub sender_mac: [u8; 6],
    /// Protocol address of the sender.
    pub sender_ip: [u8; 4],
    /// Hardware address asked for.
    pub target_mac: [u8; 6],
    /// Protocol address asked for.
    pub target_ip: [u8; 4],
}

/// Ports of TCP, UDP and SCTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Ports {
    pub source: u16,
    pub destination: u16,
}

/// The transport header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// None: no IP, another protocol than these, a fragment but the first, or a header that was cut.
    #[default]
    None,
    /// TCP.
    Tcp(Tcp),
    /// UDP; `length` as in its header.
    Udp {
        /// Length field: header and data. 0 in some packets that stand for several.
        length: u16,
    },
    /// ICMP, or ICMPv6 when the IP header is IPv6.
    Icmp(Icmp),
    /// SCTP.
    Sctp {
        /// Verification tag (RFC 9260, section 3.1).
        verification_tag: u32,
    },
    /// IGMP (RFC 3376).
    Igmp {
        /// Type: 0x11 query, 0x16 report of version 2, 0x17 leave, 0x22 report of version 3.
        kind: u8,
        /// The group asked for, reported or left; 0 where the message names none here.
        group: [u8; 4],
    },
}

/// A tunnel: how one packet travels in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// What kind.
    pub kind: TunnelKind,
    /// What tells the tunnels between two hosts apart: the VNI of VXLAN and Geneve, the TEID of GTP-U, the key of GRE, the
    /// session of ERSPAN; `None` where the header has none.
    pub id: Option<u32>,
}

/// Kinds of tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TunnelKind {
    /// IP in IP: IPv4 in IPv4 (RFC 2003), 6in4 (RFC 4213), and either in IPv6 (RFC 2473).
    IpInIp,
    /// Generic routing encapsulation (RFC 2784, RFC 2890), and that of PPTP (RFC 2637).
    Gre,
    /// Frames mirrored by a switch, in GRE.
    Erspan,
    /// RFC 7348.
    Vxlan,
    /// RFC 8926.
    Geneve,
    /// User plane of GPRS, LTE and 5G (3GPP TS 29.281).
    GtpU,
}

impl TunnelKind {
    /// All kinds, in their order.
    pub const ALL: [Self; 6] = [Self::IpInIp, Self::Gre, Self::Erspan, Self::Vxlan, Self::Geneve, Self::GtpU];

    /// The name that tables use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IpInIp => "ipip",
            Self::Gre => "gre",
            Self::Erspan => "erspan",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::GtpU => "gtpu",
        }
    }
}

/// A TCP header (RFC 9293, section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// [`tcp_flag`] and the reserved bits, twelve in all as in Wireshark.
    pub flags: u16,
    /// Window, not scaled.
    pub window: u16,
    /// Bytes of header with options.
    pub header_len: u8,
}

/// An ICMP (RFC 792) or ICMPv6 (RFC 4443) header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Identifier and sequence number of echo requests and replies.
    pub echo: Option<(u16, u16)>,
}

/// Bits of [`Tcp::flags`].
#[allow(missing_docs)]
pub mod tcp_flag {
    pub const FIN: u16 = 0x001;
    pub const SYN: u16 = 0x002;
    pub const RST: u16 = 0x004;
    pub const PSH: u16 = 0x008;
    pub const ACK: u16 = 0x010;
    pub const URG: u16 = 0x020;
    pub const ECE: u16 = 0x040;
    pub const CWR: u16 = 0x080;
    /// Accurate ECN (RFC 9768), formerly the nonce sum.
    pub const AE: u16 = 0x100;
}

/// IP protocol numbers that decoding follows.
#[allow(missing_docs)]
pub mod ip_protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IGMP: u8 = 2;
    pub const IPV4: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT_HEADER: u8 = 59;
    pub const DESTINATION_OPTIONS: u8 = 60;
    pub const SCTP: u8 = 132;
    pub const MOBILITY: u8 = 135;
    pub const MPLS: u8 = 137;
    pub const HOST_IDENTITY: u8 = 139;
    pub const SHIM6: u8 = 140;
}

/// EtherType numbers that decoding follows.
#[allow(missing_docs)]
pub mod ether_type {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    /// Ethernet frames in GRE, Geneve and others: "transparent Ethernet bridging".
    pub const ETHERNET: u16 = 0x6558;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    /// PPP, in GRE version 1 (PPTP).
    pub const PPP: u16 = 0x880b;
    pub const MPLS: u16 = 0x8847;
    pub const MPLS_MULTICAST: u16 = 0x8848;
    pub const PPPOE_SESSION: u16 = 0x8864;
    pub const SERVICE_VLAN: u16 = 0x88a8;
    pub const ERSPAN: u16 = 0x88be;
    pub const ERSPAN_3: u16 = 0x22eb;
    /// Service tags before IEEE 802.1ad gave them a number.
    pub const OLD_SERVICE_VLAN: u16 = 0x9100;
}

/// A length as `u32`; no packet reaches the limit.
pub(crate) fn saturate(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// An IPv4 address as the IPv6 address that maps it.
pub(crate) fn map_ipv4(address: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}
