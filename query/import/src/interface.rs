//! The interfaces that a capture file tells of.

use std::net::IpAddr;
use std::sync::Arc;

use kcap_format::proto;

/// An interface, in the order of the file over all its sections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    /// `LINKTYPE_*` of its packets.
    pub(crate) link_type: u16,
    /// Most bytes of a packet that were captured; 0 for no limit.
    pub(crate) snaplen: u32,
    /// How its timestamps count.
    pub(crate) clock: TimestampUnit,
    pub(crate) name: Vec<u8>,
    pub(crate) mac_address: Vec<u8>,
    pub(crate) addresses: Vec<IpAddr>,
}

/// The interfaces that are known at a place in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interfaces<'a> {
    /// Those before the walk that is at that place.
    pub(crate) before: &'a [Arc<Interface>],
    /// Those that it met itself.
    pub(crate) since: &'a [Arc<Interface>],
}

impl<'a> Interfaces<'a> {
    /// All that are in a list.
    pub(crate) fn all(before: &'a [Arc<Interface>]) -> Self {
        Self { before, since: &[] }
    }

    /// An interface by its number in the file.
    pub(crate) fn get(self, number: u32) -> Option<&'a Interface> {
        let number = number as usize;
        let found =
            self.before.get(number).or_else(|| self.since.get(number.checked_sub(self.before.len())?));
        found.map(|interface| &**interface)
    }
}

/// Counts at the end of a capture (draft-ietf-opsawg-pcapng, section 4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    /// Packets that the interface received.
    pub(crate) received: u64,
    /// Of these, packets that it dropped for want of resources.
    pub(crate) dropped_by_interface: u64,
    /// Packets that the operating system dropped.
    pub(crate) dropped_by_system: u64,
    /// Packets that the capture filter let pass; `None` when the file does not say.
    pub(crate) accepted_by_filter: Option<u64>,
}

/// What a timestamp counts, and from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimestampUnit {
    /// Units of a second.
    per_second: u64,
    /// Seconds to add.
    offset_s: i64,
}

impl Default for TimestampUnit {
    /// Microseconds since 1970.
    fn default() -> Self {
        Self { per_second: MICROS_PER_SECOND, offset_s: 0 }
    }
}

const MICROS_PER_SECOND: u64 = 1_000_000;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

impl TimestampUnit {
    /// The unit of `if_tsresol` and `if_tsoffset`: negative powers of ten or, with the highest bit set, of two. Finer ones
    /// than a number of 64 bits can count are not understood.
    pub(crate) fn new(resolution: u8, offset_s: i64) -> Option<Self> {
        let exponent = u32::from(resolution & 0x7f);
        let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
        Some(Self { per_second: base.checked_pow(exponent)?, offset_s })
    }

    /// Nanoseconds since 1970; times before are 0.
    pub(crate) fn nanoseconds(self, timestamp: u64) -> u64 {
        let since_offset = match self.per_second {
            MICROS_PER_SECOND => timestamp.saturating_mul(1000),
            NANOS_PER_SECOND => timestamp,
            per_second => {
                let nanoseconds =
                    u128::from(timestamp) * u128::from(NANOS_PER_SECOND) / u128::from(per_second);
                u64::try_from(nanoseconds).unwrap_or(u64::MAX)
            }
        };
        if self.offset_s == 0 {
            return since_offset;
        }
        let nanoseconds = i128::from(since_offset) + i128::from(self.offset_s) * i128::from(NANOS_PER_SECOND);
        u64::try_from(nanoseconds.max(0)).unwrap_or(u64::MAX)
    }
}

impl Interface {
    /// As the events of a recording tell of an interface.
    pub(crate) fn event(&self, index: u32, time_ns: u64) -> proto::Event {
        let info = proto::InterfaceInfo {
            index,
            name: self.name.clone(),
            mac_address: self.mac_address.clone(),
            addresses: self.addresses.iter().map(|address| octets(*address)).collect(),
            hardware_type: hardware_type(self.link_type),
            ..proto::InterfaceInfo::default()
        };
        proto::Event {
            time_ns,
            snapshot: true,
            event: Some(proto::event::Event::Interface(info)),
            ..proto::Event::default()
        }
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// `ARPHRD_*` of `linux/if_arp.h` for a link type, as far as it tells; `ARPHRD_VOID` otherwise.
fn hardware_type(link_type: u16) -> u32 {
    use kcap_dissect::decode::link_type as link;
    match link_type {
        link::ETHERNET => 1,
        link::PPP | link::PPP_HDLC | link::PPP_ETHER => 512,
        link::C_HDLC => 513,
        link::NULL | link::LOOP => 772,
        link::IEEE802_11 => 801,
        link::IEEE802_11_RADIOTAP => 803,
        link::RAW | link::RAW_12 | link::RAW_14 | link::IPV4 | link::IPV6 => 65_534,
        _ => 65_535,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_all_kinds() {
        let time = |resolution, offset_s, timestamp| {
            TimestampUnit::new(resolution, offset_s).unwrap().nanoseconds(timestamp)
        };
        assert_eq!(TimestampUnit::default().nanoseconds(1_500_000), 1_500_000_000);
        assert_eq!(time(0, 0, 3), 3_000_000_000);
        assert_eq!(time(3, 0, 1500), 1_500_000_000);
        assert_eq!(time(9, 0, 7), 7);
        assert_eq!(time(12, 0, 7_000), 7);
        assert_eq!(time(0x80 | 10, 0, 1536), 1_500_000_000);
        assert_eq!(time(0x80 | 32, 0, 1 << 31), 500_000_000);
        assert_eq!(time(6, 100, 1), 100_000_001_000);
        assert_eq!(time(6, -100, 1), 0);
        assert_eq!(time(0, i64::MAX, u64::MAX), u64::MAX);
        assert_eq!(time(0, i64::MIN, u64::MAX), 0);
        assert_eq!((TimestampUnit::new(20, 0), TimestampUnit::new(0xc0, 0)), (None, None));
    }
}
