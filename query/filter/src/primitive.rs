//! What the primitives of the language look at, for each link type.

use std::net::Ipv6Addr;

use crate::link_type;
use crate::names::Versions;
use crate::program::{Node, Place};

/// Which of the two ends a primitive is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    Source,
    Destination,
    Either,
    Both,
}

impl Ends {
    fn of(self, source: Node, destination: Node) -> Node {
        match self {
            Self::Source => source,
            Self::Destination => destination,
            Self::Either => source.or(destination),
            Self::Both => source.and(destination),
        }
    }
}

/// Where headers lie behind a link header, and the tags before it that the expression named so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    link_type: u16,
    shift: u32,
}

/// Bytes of a VLAN tag.
const TAG_LEN: u32 = 4;

impl Layout {
    pub(super) fn new(link_type: u16) -> Self {
        Self { link_type, shift: 0 }
    }

    /// True when the packets have Ethernet headers.
    pub(super) fn is_ethernet(self) -> bool {
        self.link_type == link_type::ETHERNET
    }

    /// Where the network header begins.
    pub(super) fn network(self) -> u32 {
        let link_len = match self.link_type {
            link_type::ETHERNET => 14,
            link_type::LINUX_SLL => 16,
            link_type::LINUX_SLL2 => 20,
            link_type::NULL | link_type::LOOP => 4,
            _ => 0,
        };
        link_len + self.shift
    }

    /// Tests for an EtherType.
    pub(super) fn ether_type(self, number: u16) -> Node {
        let at = match self.link_type {
            link_type::ETHERNET => 12,
            link_type::LINUX_SLL => 14,
            link_type::LINUX_SLL2 => 0,
            _ => return self.version(number),
        };
        number_at(Place::Fixed(at + self.shift), 2, number.into())
    }

    /// Where there is no EtherType, the version of IP tells.
    fn version(self, number: u16) -> Node {
        let nibble = match number {
            0x0800 => 0x40,
            0x86dd => 0x60,
            _ => return Node::Constant(false),
        };
        Node::Bytes { at: Place::Fixed(self.network()), mask: vec![0xf0], value: vec![nibble] }
    }

    /// A VLAN tag, of this id or any. What follows in the expression lies behind it.
    pub(super) fn vlan(&mut self, id: Option<u16>) -> Node {
        let is_tag = Node::any([0x8100, 0x88a8, 0x9100].map(|number| self.ether_type(number)));
        let tag_at = self.network();
        self.shift += TAG_LEN;
        match id {
            None => is_tag,
            Some(id) => {
                let [high, low] = id.to_be_bytes();
                let mask = vec![0x0f, 0xff];
                is_tag.and(Node::Bytes { at: Place::Fixed(tag_at), mask, value: vec![high, low] })
            }
        }
    }

    /// An Ethernet address.
    pub(super) fn mac(self, ends: Ends, address: [u8; 6]) -> Node {
        let is_at = |at| Node::Bytes { at: Place::Fixed(at), mask: vec![0xff; 6], value: address.to_vec() };
        ends.of(is_at(6), is_at(0))
    }

    /// A frame to a group of receivers.
    pub(super) fn ether_multicast(self) -> Node {
        Node::Bytes { at: Place::Fixed(0), mask: vec![1], value: vec![1] }
    }

    /// An IPv4 address or network, in IP headers (`ether_type` 0x0800) or in ARP and RARP.
    pub(super) fn ipv4(self, ether_type: u16, ends: Ends, address: [u8; 4], mask: [u8; 4]) -> Node {
        let (source, destination) = if ether_type == 0x0800 { (12, 16) } else { (14, 24) };
        let is_at = |offset| Node::Bytes {
            at: Place::Fixed(self.network() + offset),
            mask: mask.to_vec(),
            value: address.iter().zip(mask).map(|(byte, mask)| byte & mask).collect(),
        };
        self.ether_type(ether_type).and(ends.of(is_at(source), is_at(destination)))
    }

    /// An IPv6 address or network.
    pub(super) fn ipv6(self, ends: Ends, address: Ipv6Addr, prefix_len: u8) -> Node {
        let mask: Vec<u8> =
            (u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0)).to_be_bytes().to_vec();
        let is_at = |offset| Node::Bytes {
            at: Place::Fixed(self.network() + offset),
            mask: mask.clone(),
            value: address.octets().iter().zip(&mask).map(|(byte, mask)| byte & mask).collect(),
        };
        self.ether_type(0x86dd).and(ends.of(is_at(8), is_at(24)))
    }

    /// A protocol over IP. Over IPv6, also behind a fragment header.
    pub(super) fn ip_protocol(self, versions: Versions, number: u8) -> Node {
        let network = self.network();
        let v4 = || self.ether_type(0x0800).and(byte_at(network + 9, number));
        let v6 = || {
            let in_fragment = byte_at(network + 6, 44).and(byte_at(network + 40, number));
            self.ether_type(0x86dd).and(byte_at(network + 6, number).or(in_fragment))
        };
        match versions {
            Versions::V4 => v4(),
            Versions::V6 => v6(),
            Versions::Both => v4().or(v6()),
        }
    }

    /// Ports from `first` to `last` of some protocols.
    pub(super) fn ports(self, protocols: &[u8], ends: Ends, first: u16, last: u16) -> Node {
        let network = self.network();
        let range = |at| Node::Range { at, size: 2, first: first.into(), last: last.into() };
        let any = |offset| Node::any(protocols.iter().map(|number| byte_at(network + offset, *number)));
        let v6 = self
            .ether_type(0x86dd)
            .and(any(6))
            .and(ends.of(range(Place::Fixed(network + 40)), range(Place::Fixed(network + 42))));
        let behind = |offset| range(Place::BehindIpv4 { network, offset });
        let v4 = self
            .ether_type(0x0800)
            .and(any(9))
            .and(Node::FirstFragment { network })
            .and(ends.of(behind(0), behind(2)));
        v6.or(v4)
    }
}

/// A byte is this one.
pub(super) fn byte_at(at: u32, value: u8) -> Node {
    number_at(Place::Fixed(at), 1, value.into())
}

/// A number is this one.
fn number_at(at: Place, size: u8, value: u32) -> Node {
    Node::Range { at, size, first: value, last: value }
}
