//! Addresses and ports.

use std::net::Ipv6Addr;

use super::parse_number;
use crate::names;

/// An address of some kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identifier {
    Mac([u8; 6]),
    /// The first `bytes` bytes of it were given.
    V4 {
        address: [u8; 4],
        bytes: u32,
    },
    V6(Ipv6Addr),
}

impl Identifier {
    pub(super) fn of(text: &str) -> Option<Self> {
        mac(text).map(Self::Mac).or_else(|| v4(text)).or_else(|| text.parse().ok().map(Self::V6))
    }
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let separator = [':', '-'].into_iter().find(|separator| text.matches(*separator).count() == 5)?;
    let mut address = [0; 6];
    for (byte, part) in address.iter_mut().zip(text.split(separator)) {
        *byte = Some(part)
            .filter(|part| (1..=2).contains(&part.len()))
            .and_then(|part| u8::from_str_radix(part, 16).ok())?;
    }
    Some(address)
}

fn v4(text: &str) -> Option<Identifier> {
    let mut address = [0; 4];
    let mut bytes = 0;
    for part in text.split('.') {
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        *address.get_mut(bytes)? = Some(part).filter(|_| is_number)?.parse().ok()?;
        bytes += 1;
    }
    Some(Identifier::V4 { address, bytes: bytes as u32 })
}

pub(super) fn port(text: &str) -> Option<u16> {
    parse_number(text).and_then(|number| u16::try_from(number).ok()).or_else(|| names::service(text))
}

/// `1000-2000`; the ends may be the wrong way round, as for libpcap.
pub(super) fn port_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (port(first)?, port(last)?);
    Some((first.min(last), first.max(last)))
}
