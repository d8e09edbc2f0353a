//! Why the headers of a packet could not be followed further.

use std::fmt;

/// A header that decoding knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layer {
    /// Ethernet II, or a VLAN tag.
    Ethernet,
    /// BSD null or OpenBSD loopback.
    Loopback,
    /// Linux cooked capture, version 1 or 2.
    LinuxCooked,
    /// Radiotap: what a wireless device tells of a frame.
    Radiotap,
    /// IEEE 802.11.
    Wireless,
    /// Logical link control with SNAP.
    Llc,
    /// PPP, and Cisco's HDLC.
    Ppp,
    /// PPP over Ethernet.
    Pppoe,
    /// A label of MPLS, or the control word behind the last one.
    Mpls,
    /// Raw IP: the version nibble.
    RawIp,
    /// Address resolution.
    Arp,
    /// IPv4.
    Ipv4,
    /// IPv6, its fixed header.
    Ipv6,
    /// An extension header of IPv6.
    Ipv6Extension,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP.
    Icmp,
    /// ICMP for IPv6.
    Icmpv6,
    /// SCTP, its common header.
    Sctp,
    /// IGMP.
    Igmp,
    /// IP authentication header.
    Authentication,
    /// Generic routing encapsulation.
    Gre,
    /// Encapsulated remote SPAN, within GRE.
    Erspan,
    /// VXLAN.
    Vxlan,
    /// Geneve.
    Geneve,
    /// GPRS tunnelling, user plane.
    GtpU,
    /// IP in IP.
    IpInIp,
}

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ethernet => "Ethernet",
            Self::Loopback => "loopback",
            Self::LinuxCooked => "Linux cooked",
            Self::Radiotap => "radiotap",
            Self::Wireless => "IEEE 802.11",
            Self::Llc => "LLC",
            Self::Ppp => "PPP",
            Self::Pppoe => "PPPoE",
            Self::Mpls => "MPLS",
            Self::RawIp => "raw IP",
            Self::Arp => "ARP",
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
            Self::Ipv6Extension => "IPv6 extension",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Icmp => "ICMP",
            Self::Icmpv6 => "ICMPv6",
            Self::Sctp => "SCTP",
            Self::Igmp => "IGMP",
            Self::Authentication => "IP authentication",
            Self::Gre => "GRE",
            Self::Erspan => "ERSPAN",
            Self::Vxlan => "VXLAN",
            Self::Geneve => "Geneve",
            Self::GtpU => "GTP-U",
            Self::IpInIp => "IP in IP",
        })
    }
}

/// What stopped decoding. What was understood before it is in [`Decoded`](super::Decoded) beside it. Offsets count
/// bytes from the first captured one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The link type is none of those that are decoded.
    #[error("link type {link_type} is not decoded")]
    LinkType {
        /// `LINKTYPE_*` of the packet.
        link_type: u16,
    },
    /// The captured bytes end within a header.
    #[error("{layer} header at byte {offset}: {needed_len} bytes needed, {captured_len} captured")]
    Truncated {
        /// The header that is cut.
        layer: Layer,
        /// Where it begins.
        offset: u32,
        /// Bytes it takes.
        needed_len: u32,
        /// Bytes of it that are there.
        captured_len: u32,
    },
    /// The IP version is not the one that the header before says, or neither 4 nor 6.
    #[error("{layer} header at byte {offset}: version is {version}")]
    Version {
        /// The header.
        layer: Layer,
        /// Where it begins.
        offset: u32,
        /// The version found.
        version: u8,
    },
    /// A header says it is shorter than its fixed part.
    #[error("{layer} header at byte {offset}: header length {header_len} is too small")]
    HeaderLen {
        /// The header.
        layer: Layer,
        /// Where it begins.
        offset: u32,
        /// The length it gives, in bytes.
        header_len: u32,
    },
    /// A header says that it and what follows are longer than the packet was, or shorter than the header.
    #[error("{layer} header at byte {offset}: length is {stated_len}, the packet has {actual_len}")]
    PacketLen {
        /// The header.
        layer: Layer,
        /// Where it begins.
        offset: u32,
        /// The length it gives, in bytes.
        stated_len: u32,
        /// Bytes of the packet from this header on.
        actual_len: u32,
    },
    /// More headers of one kind than [`VLAN_TAGS_MAX`](super::VLAN_TAGS_MAX),
    /// [`MPLS_LABELS_MAX`](super::MPLS_LABELS_MAX), [`IPV6_EXTENSIONS_MAX`](super::IPV6_EXTENSIONS_MAX),
    /// [`LINKS_MAX`](super::LINKS_MAX) or [`TUNNELS_MAX`](super::TUNNELS_MAX).
    #[error("{layer} header at byte {offset}: too many of them")]
    TooMany {
        /// The header.
        layer: Layer,
        /// Where the first one too many begins.
        offset: u32,
    },
}
