//! `--interface`: which interfaces are recorded, also of those that come later.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::Sender;
use kcap_format::proto::event;
use kcap_recorder_ebpf::{LINK_TYPE_ETHERNET, LINK_TYPE_RAW};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};
use tracing::{debug, info, warn};

use crate::intake::Intake;
use crate::pipeline::ToSink;
use crate::probe::{self, Error};
use crate::{enrich, lockdown};

/// Stands for all interfaces.
const ANY: &str = "any";
/// Multicast group of rtnetlink(7) that tells of interfaces.
const RTMGRP_LINK: u32 = 1;
/// How long to wait for word of an interface before looking whether to end.
const WAIT: Duration = Duration::from_millis(100);
/// Bytes of a message that are read; what they say is looked up anyway.
const MESSAGE_LEN_MAX: usize = 64 << 10;

// ARPHRD_* of linux/if_arp.h.
const HARDWARE_ETHERNET: u16 = 1;
const HARDWARE_LOOPBACK: u16 = 772;
/// No link header: tun, WireGuard, and tunnels of IP in IP.
const HARDWARE_WITHOUT_HEADER: [u16; 5] = [0xfffe, 768, 769, 776, 519];

/// An interface whose frames can be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What its packets begin with, as pcap numbers it.
    pub link_type: u16,
}

/// What was asked for, and what is recorded of it.
#[derive(Debug)]
pub(crate) struct Interfaces {
    names: Vec<String>,
    /// By index.
    known: BTreeMap<u32, Known>,
}

/// An interface that is there, and was asked for.
#[derive(Debug)]
struct Known {
    name: String,
    /// False when it can't be: that is told once.
    is_recorded: bool,
}

impl Interfaces {
    pub(crate) fn new(names: &[String]) -> Self {
        Self { names: names.to_vec(), known: BTreeMap::new() }
    }

    fn is_any(&self) -> bool {
        self.names.iter().any(|name| name == ANY)
    }

    fn is_wanted(&self, link: &FoundLink) -> bool {
        self.is_any() || self.names.contains(&link.name)
    }

    /// Attaches to what was asked for. With `any`, what can't be recorded is left out with a warning.
    pub(crate) fn attach(&mut self, intake: &mut Intake) -> Result<(), Error> {
        if self.names.is_empty() {
            return Ok(());
        }
        let links = links().map_err(|source| Error::File { path: "/sys/class/net".into(), source })?;
        let wanted =
            links.iter().filter(|link| self.is_wanted(link)).filter_map(|link| link.supported().ok());
        remove_left_filters(&wanted.collect::<Vec<_>>());
        for name in self.names.iter().filter(|name| *name != ANY) {
            let link = links.iter().find(|link| &link.name == name);
            let refused = |reason: String| Error::NoInterface { name: name.clone(), reason };
            let link = link.ok_or_else(|| {
                let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
                refused(format!("there is none of this name; there are {} and any", names.join(", ")))
            })?;
            let link = link.supported().map_err(refused)?;
            if self.known.insert(link.index, Known { name: link.name.clone(), is_recorded: true }).is_none() {
                intake.attach_interface(&link)?;
            }
        }
        if self.is_any() {
            self.update(&links, intake);
            if !self.known.values().any(|known| known.is_recorded) {
                let reason = "no interface could be recorded: see the warnings".to_owned();
                return Err(Error::NoInterface { name: ANY.to_owned(), reason });
            }
        }
        Ok(())
    }

    /// Attaches to those that came, and forgets those that went. Returns the indexes of the new ones.
    fn update(&mut self, links: &[FoundLink], intake: &mut Intake) -> Vec<u32> {
        for (index, gone) in
            self.known.extract_if(.., |index, _| links.iter().all(|link| link.index != *index))
        {
            if gone.is_recorded {
                intake.detach_interface(index);
                // Of interfaces that come and go nobody asked for each.
                if self.names.contains(&gone.name) {
                    warn!(
                        interface = gone.name,
                        "the interface is gone; it is recorded again when it comes back"
                    );
                } else {
                    info!(interface = gone.name, "gone");
                }
            }
        }
        let mut new = Vec::new();
        for link in links {
            if self.known.contains_key(&link.index) || !self.is_wanted(link) {
                continue;
            }
            let attached = link
                .supported()
                .and_then(|link| intake.attach_interface(&link).map_err(|error| error.to_string()));
            let is_recorded = match attached {
                Ok(()) => {
                    info!(interface = link.name, "recording");
                    new.push(link.index);
                    true
                }
                Err(reason) => {
                    warn!(interface = link.name, reason, "recording without");
                    false
                }
            };
            self.known.insert(link.index, Known { name: link.name.clone(), is_recorded });
        }
        new
    }

    /// Attaches to interfaces as they come, until told to stop; then takes the programs off all of them, for which the other
    /// threads have lost the right.
    pub(crate) fn watch(mut self, intake: &Mutex<Intake>, stop: &AtomicBool, to_sink: &Sender<ToSink>) {
        if let Err(error) = lockdown::keep_for_attaching() {
            debug!(%error, "capabilities are kept");
        }
        let socket =
            listen().map_err(|error| warn!(%error, "new interfaces are looked for only now and then"));
        let mut message = Vec::with_capacity(MESSAGE_LEN_MAX);
        while !stop.load(Ordering::Acquire) {
            match &socket {
                // Whatever it says, or that messages were lost: what there is now is what counts.
                Ok(socket) => {
                    message.clear();
                    if socket.recv(&mut message, 0).is_err_and(|error| is_timeout(&error)) {
                        continue;
                    }
                }
                Err(()) => std::thread::sleep(WAIT),
            }
            let Ok(links) = links() else { continue };
            let new = self.update(&links, &mut intake.lock().unwrap_or_else(PoisonError::into_inner));
            if new.is_empty() {
                continue;
            }
            let mut events = enrich::interfaces(enrich::netns_cookie());
            events.retain(|event| {
                matches!(&event.event, Some(event::Event::Interface(info)) if new.contains(&info.index))
            });
            let _ = to_sink.send(ToSink::Enumerated(events.into()));
        }
        intake.lock().unwrap_or_else(PoisonError::into_inner).detach_interfaces();
    }
}

/// Takes off what recorders left that were killed.
fn remove_left_filters(links: &[Link]) {
    let left = probe::left_filters(links).unwrap_or_else(|error| {
        debug!(%error, "it isn't known whether recorders left filters at interfaces");
        Vec::new()
    });
    for filter in left {
        let (interface, direction) = (&filter.interface, filter.direction);
        match filter.remove() {
            Ok(()) => warn!(interface, direction, "a recorder that was killed left a filter; it is removed"),
            Err(error) => {
                let command = filter.command();
                warn!(interface, direction, error, command, "a recorder that was killed left a filter");
            }
        }
    }
}

/// An interface, whatever it is.
#[derive(Clone, Debug)]
struct FoundLink {
    index: u32,
    name: String,
    hardware_type: u16,
}

impl FoundLink {
    /// Refuses what has link headers that nothing here knows.
    fn supported(&self) -> Result<Link, String> {
        let link_type = match self.hardware_type {
            HARDWARE_ETHERNET | HARDWARE_LOOPBACK => LINK_TYPE_ETHERNET,
            other if HARDWARE_WITHOUT_HEADER.contains(&other) => LINK_TYPE_RAW,
            other => {
                return Err(format!("its frames are of hardware type {other}, not Ethernet or plain IP"));
            }
        };
        Ok(Link { index: self.index, name: self.name.clone(), link_type })
    }
}

impl Link {
    /// The interface of this name in the calling thread's network namespace; `None` when there is none, or none whose
    /// frames can be recorded.
    pub fn named(name: &str) -> Option<Self> {
        links().ok()?.iter().find(|link| link.name == name)?.supported().ok()
    }
}

/// The interfaces of the calling thread's network namespace whose frames can be recorded.
pub(crate) fn supported_links() -> io::Result<Vec<Link>> {
    Ok(links()?.iter().filter_map(|link| link.supported().ok()).collect())
}

/// The interfaces of the calling thread's network namespace.
fn links() -> io::Result<Vec<FoundLink>> {
    let links = getifaddrs()?.filter_map(|entry| {
        let address = entry.address?;
        let link = address.as_link_addr()?;
        let (index, hardware_type) = (link.ifindex() as u32, link.hatype());
        Some(FoundLink { index, name: entry.interface_name, hardware_type })
    });
    Ok(links.collect())
}

fn listen() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind(&SocketAddr::new(0, RTMGRP_LINK))?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(WAIT.as_millis() as i64))?;
    Ok(socket)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_frames_and_its_index() {
        let link = Link::named("lo").expect("every network namespace has lo");
        assert_eq!((link.index, link.link_type), (1, LINK_TYPE_ETHERNET));
        assert_eq!(Link::named("no-such-one"), None);
    }

    #[test]
    fn what_has_other_link_headers_is_refused() {
        let of = |hardware_type| {
            FoundLink { index: 3, name: "some0".into(), hardware_type }.supported().map(|link| link.link_type)
        };
        assert_eq!((of(1), of(0xfffe)), (Ok(LINK_TYPE_ETHERNET), Ok(LINK_TYPE_RAW)));
        assert!(of(801).unwrap_err().contains("801"));
    }
}
