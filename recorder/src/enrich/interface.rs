//! Network interfaces of the recorder's own network namespace.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use kcap_format::proto::{Event, InterfaceInfo, event};
use nix::ifaddrs::getifaddrs;

use crate::clock;

/// Most interfaces that are recorded of a namespace.
const INTERFACES_MAX: usize = 4096;

/// The interfaces, as events.
pub(crate) fn enumerate(netns_cookie: u64) -> Vec<Event> {
    let mut addresses = addresses_by_name();
    let Ok(entries) = fs::read_dir("/sys/class/net") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let mut info = read(&entry.path(), &name)?;
            info.addresses = addresses.remove(&name).unwrap_or_default();
            info.netns_cookie = netns_cookie;
            let event = Some(event::Event::Interface(info));
            Some(Event { time_ns: clock::boot_ns(), snapshot: true, event, ..Event::default() })
        })
        .take(INTERFACES_MAX)
        .collect()
}

fn read(folder: &Path, name: &str) -> Option<InterfaceInfo> {
    let text = |file: &str| fs::read_to_string(folder.join(file)).ok();
    let number = |file: &str| text(file)?.trim().parse().ok();
    Some(InterfaceInfo {
        index: number("ifindex")?,
        name: name.as_bytes().to_vec(),
        mtu: number("mtu").unwrap_or(0),
        mac_address: text("address").and_then(|address| parse_mac(address.trim())).unwrap_or_default(),
        hardware_type: number("type").unwrap_or(0),
        ..InterfaceInfo::default()
    })
}

/// Hexadecimal bytes with colons between them.
fn parse_mac(text: &str) -> Option<Vec<u8>> {
    text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
}

fn addresses_by_name() -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut found: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    let Ok(interfaces) = getifaddrs() else { return found };
    for interface in interfaces {
        let Some(storage) = interface.address else { continue };
        let address = if let Some(v4) = storage.as_sockaddr_in() {
            IpAddr::V4(v4.ip())
        } else if let Some(v6) = storage.as_sockaddr_in6() {
            IpAddr::V6(v6.ip())
        } else {
            continue;
        };
        found.entry(interface.interface_name).or_default().push(address_bytes(address));
    }
    found
}

/// An address as 4 or 16 bytes in network order.
pub(crate) fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_is_bytes() {
        assert_eq!(parse_mac("02:fc:00:0a:ff:01"), Some(vec![2, 0xfc, 0, 10, 255, 1]));
        assert_eq!(parse_mac(""), None);
        assert_eq!(parse_mac("zz:00"), None);
    }

    #[test]
    fn the_loopback_interface_has_its_index_and_address() {
        let found = enumerate(7).into_iter().find_map(|event| match event.event {
            Some(event::Event::Interface(info)) if info.name == b"lo" => Some(info),
            _ => None,
        });
        let loopback = found.expect("every network namespace has lo");
        assert_eq!((loopback.index, loopback.hardware_type, loopback.netns_cookie), (1, 772, 7));
    }
}
