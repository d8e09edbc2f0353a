//! Checksums, for who asks: a wrong one is no reason to leave a packet out.
//!
//! Packets that leave a host are mostly captured before the device computed them: the kernel leaves the sum of the
//! pseudo-header in its place (`CHECKSUM_PARTIAL` of `linux/skbuff.h`), which is told apart from a wrong one.

use super::model::{Decoded, Ip, Transport, ip_protocol};

/// What a checksum says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChecksumStatus {
    /// There is none: in IPv6 headers, in UDP datagrams whose sender left it out, in protocols without one.
    Absent,
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Left to the device, which had not computed it yet.
    Offloaded,
    /// Not known: not all that it covers is in the packet, or was captured.
    Unverified,
}

impl ChecksumStatus {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::Absent, Self::Good, Self::Bad, Self::Offloaded, Self::Unverified];

    /// The name that tables use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Offloaded => "offloaded",
            Self::Unverified => "unverified",
        }
    }
}

/// Checks the header of IPv4 (RFC 791). `bytes` are those that were decoded. `None` for anything but IP.
#[must_use]
pub fn ip_checksum_status(decoded: &Decoded, bytes: &[u8]) -> Option<ChecksumStatus> {
    let ip = decoded.ip()?;
    if ip.version != 4 {
        return Some(ChecksumStatus::Absent);
    }
    let header = bytes.get(decoded.network_offset as usize..).unwrap_or_default();
    let len = usize::from(header.first().copied().unwrap_or(0) & 0x0f) * 4;
    let Some(header) = header.get(..len).filter(|header| header.len() >= 20) else {
        return Some(ChecksumStatus::Unverified);
    };
    let mut sum = Sum::default();
    sum.add(header);
    Some(match (sum.folded(), [header[10], header[11]]) {
        (0xffff, _) => ChecksumStatus::Good,
        (_, [0, 0]) => ChecksumStatus::Offloaded,
        _ => ChecksumStatus::Bad,
    })
}

/// Checks the innermost transport header with what it carries: TCP, UDP, ICMP, ICMPv6, IGMP and SCTP. `header` and `payload`
/// are the bytes that were captured, in two parts. `None` when there is no transport header.
#[must_use]
pub fn transport_checksum_status(decoded: &Decoded, header: &[u8], payload: &[u8]) -> Option<ChecksumStatus> {
    let ip = decoded.ip()?;
    let place = match decoded.transport {
        Transport::None => return None,
        Transport::Tcp(_) => 16,
        Transport::Udp { .. } => 6,
        Transport::Icmp(_) | Transport::Igmp { .. } => 2,
        Transport::Sctp { .. } => 8,
    };
    let start = decoded.transport_offset as usize;
    let before = decoded.transport_offset.saturating_sub(decoded.network_offset);
    let len = match decoded.transport {
        Transport::Udp { length } if length != 0 => u32::from(length),
        _ => ip.total_len.saturating_sub(before),
    };
    let parts = covered(header.get(start..), payload, len as usize).filter(|_| !ip.is_fragment());
    let Some(parts) = parts else { return Some(ChecksumStatus::Unverified) };
    let byte = |at: usize| parts[0].get(at).or_else(|| parts[1].get(at - parts[0].len())).copied();
    let (Some(high), Some(low)) = (byte(place), byte(place + 1)) else {
        return Some(ChecksumStatus::Unverified);
    };
    let stored = u16::from_be_bytes([high, low]);
    match decoded.transport {
        Transport::Sctp { .. } => return Some(sctp(parts)),
        Transport::Udp { .. } if stored == 0 => return Some(ChecksumStatus::Absent),
        _ => {}
    }
    let has_pseudo_header =
        !(ip.version == 4 && [ip_protocol::ICMP, ip_protocol::IGMP].contains(&ip.protocol));
    let mut sum = if has_pseudo_header { pseudo_header(ip, len) } else { Sum::default() };
    parts.iter().for_each(|part| sum.add(part));
    if sum.folded() == 0xffff {
        return Some(ChecksumStatus::Good);
    }
    // Devices that cut a packet into several want the sum without a length.
    let is_partial =
        has_pseudo_header && [len, 0].iter().any(|len| pseudo_header(ip, *len).folded() == stored);
    Some(if is_partial { ChecksumStatus::Offloaded } else { ChecksumStatus::Bad })
}

/// The bytes that a checksum covers, in two parts; `None` when not all were captured.
fn covered<'a>(header: Option<&'a [u8]>, payload: &'a [u8], len: usize) -> Option<[&'a [u8]; 2]> {
    let header = header?;
    let first = header.get(..len.min(header.len()))?;
    Some([first, payload.get(..len - first.len())?])
}

/// CRC32C over the packet with zeros in place of the checksum, least significant byte first (RFC 9260, appendix A).
fn sctp(parts: [&[u8]; 2]) -> ChecksumStatus {
    const PLACE: std::ops::Range<usize> = 8..12;
    let Some(stored) = parts[0].get(PLACE).and_then(<[u8]>::first_chunk) else {
        return ChecksumStatus::Unverified;
    };
    let mut crc = crc32c::crc32c(&parts[0][..PLACE.start]);
    crc = crc32c::crc32c_append(crc, &[0; 4]);
    crc = crc32c::crc32c_append(crc, &parts[0][PLACE.end..]);
    crc = crc32c::crc32c_append(crc, parts[1]);
    match u32::from_le_bytes(*stored) {
        stored if stored == crc => ChecksumStatus::Good,
        0 => ChecksumStatus::Offloaded,
        _ => ChecksumStatus::Bad,
    }
}

/// Addresses, length and protocol (RFC 9293, section 3.1; RFC 8200, section 8.1).
fn pseudo_header(ip: &Ip, len: u32) -> Sum {
    let mut sum = Sum::default();
    for address in [&ip.source, &ip.destination] {
        sum.add(if ip.version == 4 { &address[12..] } else { address });
    }
    sum.add(&len.to_be_bytes());
    sum.add(&[0, ip.protocol]);
    sum
}

/// The checksum of bytes among which it is zero (RFC 1071).
pub(super) fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum = Sum::default();
    sum.add(bytes);
    !sum.folded()
}

/// A sum of 16-bit words in ones' complement (RFC 1071), over bytes that come in parts.
#[derive(Clone, Copy, Default)]
struct Sum {
    sum: u64,
    /// Whether a byte of a word is still to come.
    is_odd: bool,
}

impl Sum {
    fn add(&mut self, mut bytes: &[u8]) {
        if self.is_odd
            && let Some((first, rest)) = bytes.split_first()
        {
            self.sum += u64::from(*first);
            self.is_odd = false;
            bytes = rest;
        }
        let mut words = bytes.chunks_exact(2);
        self.sum += words.by_ref().map(|word| u64::from(u16::from_be_bytes([word[0], word[1]]))).sum::<u64>();
        if let [last] = words.remainder() {
            self.sum += u64::from(*last) << 8;
            self.is_odd = true;
        }
    }

    /// The sum in 16 bits: 0xffff when the checksum was among what was added, and is right.
    fn folded(self) -> u16 {
        let mut sum = self.sum;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{CLIENT_V4, SERVER_V4, ipv4, ipv6, tcp, udp};
    use super::super::{decode, link_type};
    use super::*;

    /// The status of a packet, however it is split, which must be the same.
    fn status(packet: &[u8]) -> Option<ChecksumStatus> {
        let decoded = decode(link_type::RAW, packet, u32::try_from(packet.len()).unwrap());
        let whole = transport_checksum_status(&decoded, packet, &[]);
        for split in decoded.transport_offset as usize..packet.len() {
            let (header, payload) = packet.split_at(split);
            let parts = transport_checksum_status(&decoded, header, payload);
            assert!(parts == whole || split < decoded.header_len as usize, "split at {split}");
        }
        whole
    }

    /// The checksum of a packet whose field is zero.
    fn computed(packet: &[u8], transport: usize) -> [u8; 2] {
        let decoded = decode(link_type::RAW, packet, u32::try_from(packet.len()).unwrap());
        let ip = decoded.ip().unwrap();
        let mut sum = pseudo_header(ip, u32::try_from(packet.len() - transport).unwrap());
        sum.add(&packet[transport..]);
        (!sum.folded()).to_be_bytes()
    }

    #[test]
    fn tcp_and_udp_of_both_versions() {
        let segment = [tcp(40_000, 443, 1, 2, 0x18), b"hello".to_vec()].concat();
        let datagram = [udp(5353, 53, 5), b"hello".to_vec()].concat();
        for (mut packet, transport, place) in [
            (ipv4(CLIENT_V4, SERVER_V4, 6, 7, &segment), 20, 36),
            (ipv6(6, &segment), 40, 56),
            (ipv4(CLIENT_V4, SERVER_V4, 17, 7, &datagram), 20, 26),
            (ipv6(17, &datagram), 40, 46),
        ] {
            let is_udp = place == transport + 6;
            assert_eq!(status(&packet) == Some(ChecksumStatus::Absent), is_udp);
            let right = computed(&packet, transport);
            packet[place..place + 2].copy_from_slice(&right);
            assert_eq!(status(&packet), Some(ChecksumStatus::Good));
            *packet.last_mut().unwrap() ^= 1;
            assert_eq!(status(&packet), Some(ChecksumStatus::Bad));
            let decoded = decode(link_type::RAW, &packet, u32::try_from(packet.len()).unwrap());
            let sum = pseudo_header(decoded.ip().unwrap(), u32::try_from(packet.len() - transport).unwrap());
            packet[place..place + 2].copy_from_slice(&sum.folded().to_be_bytes());
            assert_eq!(status(&packet), Some(ChecksumStatus::Offloaded));
            let cut = &packet[..packet.len() - 1];
            let decoded = decode(link_type::RAW, cut, u32::try_from(packet.len()).unwrap());
            assert_eq!(transport_checksum_status(&decoded, cut, &[]), Some(ChecksumStatus::Unverified));
        }
    }

    #[test]
    fn icmp_has_no_pseudo_header() {
        let mut echo = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1, b'a', b'b', b'c'];
        let mut sum = Sum::default();
        sum.add(&echo);
        echo[2..4].copy_from_slice(&(!sum.folded()).to_be_bytes());
        assert_eq!(status(&ipv4(CLIENT_V4, SERVER_V4, 1, 1, &echo)), Some(ChecksumStatus::Good));
        assert_eq!(status(&ipv6(58, &echo)), Some(ChecksumStatus::Bad), "that of ICMPv6 has one");
    }

    #[test]
    fn headers_of_ipv4() {
        let mut packet = ipv4(CLIENT_V4, SERVER_V4, 17, 1, &udp(1, 2, 0));
        let status = |packet: &[u8]| ip_checksum_status(&decode(link_type::RAW, packet, 28), packet);
        assert_eq!(status(&packet), Some(ChecksumStatus::Offloaded));
        let mut sum = Sum::default();
        sum.add(&packet[..20]);
        packet[10..12].copy_from_slice(&(!sum.folded()).to_be_bytes());
        assert_eq!(status(&packet), Some(ChecksumStatus::Good));
        packet[8] -= 1;
        assert_eq!(status(&packet), Some(ChecksumStatus::Bad));
        assert_eq!(status(&ipv6(17, &udp(1, 2, 0))), Some(ChecksumStatus::Absent));
        assert_eq!(status(&[0; 4]), None);
    }

    #[test]
    fn sctp_has_a_crc() {
        let mut packet = [0x1f, 0x90, 0x1f, 0x91, 1, 2, 3, 4, 0, 0, 0, 0, 0, 3, 0, 4].to_vec();
        let of = |packet: &[u8]| status(&ipv4(CLIENT_V4, SERVER_V4, 132, 1, packet));
        assert_eq!(of(&packet), Some(ChecksumStatus::Offloaded));
        let crc = crc32c::crc32c(&packet);
        packet[8..12].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(of(&packet), Some(ChecksumStatus::Good));
        packet[15] ^= 1;
        assert_eq!(of(&packet), Some(ChecksumStatus::Bad));
    }
}
