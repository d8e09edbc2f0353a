//! Network interfaces of a network namespace.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use kcap_format::proto::{Event, InterfaceInfo, event};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, socket};

use crate::clock;

/// Most interfaces that are recorded of a namespace.
const INTERFACES_MAX: usize = 4096;

/// The interfaces of the calling thread's network namespace, as events.
pub(crate) fn enumerate(netns_cookie: u64) -> Vec<Event> {
    let mut found: BTreeMap<String, InterfaceInfo> = BTreeMap::new();
    let Ok(entries) = getifaddrs() else { return Vec::new() };
    // An interface is told of once for each of its addresses, the link layer's among them.
    for entry in entries {
        let Some(address) = entry.address else { continue };
        add(found.entry(entry.interface_name).or_default(), &address);
    }
    let probe = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).ok();
    let mut events = Vec::new();
    for (name, mut info) in found.into_iter().filter(|(_, info)| info.index != 0).take(INTERFACES_MAX) {
        info.mtu = probe.as_ref().and_then(|probe| mtu(probe, &name)).unwrap_or(0);
        info.name = name.into_bytes();
        info.netns_cookie = netns_cookie;
        let event = Some(event::Event::Interface(info));
        events.push(Event { time_ns: clock::boot_ns(), snapshot: true, event, ..Event::default() });
    }
    events
}

fn add(info: &mut InterfaceInfo, address: &SockaddrStorage) {
    if let Some(link) = address.as_link_addr() {
        info.index = link.ifindex() as u32;
        info.hardware_type = u32::from(link.hatype());
        info.mac_address = link.addr().map(Vec::from).unwrap_or_default();
    } else if let Some(v4) = address.as_sockaddr_in() {
        info.addresses.push(address_bytes(v4.ip().into()));
    } else if let Some(v6) = address.as_sockaddr_in6() {
        info.addresses.push(address_bytes(v6.ip().into()));
    }
}

/// `SIOCGIFMTU` of netdevice(7).
fn mtu(socket: &OwnedFd, name: &str) -> Option<u32> {
    // SAFETY: all bytes zero are a valid request without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays zero: it ends the name.
    if name.len() >= request.ifr_name.len() {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the kernel reads and writes one `ifreq`, which lives until it returns.
    let status = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU as _, &raw mut request) };
    if status != 0 {
        return None;
    }
    // SAFETY: the kernel has filled this member.
    Some(unsafe { request.ifr_ifru.ifru_mtu } as u32)
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
    fn the_loopback_interface_has_its_index_and_address() {
        let found = enumerate(7).into_iter().find_map(|event| match event.event {
            Some(event::Event::Interface(info)) if info.name == b"lo" => Some(info),
            _ => None,
        });
        let loopback = found.expect("every network namespace has lo");
        assert_eq!((loopback.index, loopback.hardware_type, loopback.netns_cookie), (1, 772, 7));
        assert!(loopback.mtu > 0 && loopback.addresses.contains(&vec![127, 0, 0, 1]));
    }
}
