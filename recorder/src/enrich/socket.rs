//! Sockets that are older than the recorder, and interfaces, in every network namespace that a process lives
//! in, with their owners.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use kcap_format::proto::{Event, ProcessId, event};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use rustc_hash::FxHashMap;
use tracing::{debug, warn};

use super::{interface, process, sock_diag};

/// Most network namespaces that are visited.
const NAMESPACES_MAX: usize = 4096;
/// Most open files that are looked at to find the owners of sockets.
const FILES_MAX: usize = 1 << 22;
/// `SO_NETNS_COOKIE` of `asm-generic/socket.h` (5.14).
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Who holds a socket's file.
struct Owner {
    id: ProcessId,
    name: Vec<u8>,
}

/// What a walk over `/proc` found.
#[derive(Default)]
struct Holders {
    owners: FxHashMap<u64, Owner>,
    /// One file for each network namespace, by its inode.
    namespaces: FxHashMap<u64, PathBuf>,
}

/// Interfaces and sockets of all namespaces, as events. Moves the calling thread through the
/// namespaces and leaves it in the last one: call it on a thread made for it.
pub(crate) fn enumerate(proc_root: &Path) -> Vec<Event> {
    let mut holders = walk(proc_root);
    let own = fs::read_link("/proc/thread-self/ns/net").ok().and_then(|target| inode_of(&target, "net:["));
    if let Some(own) = own {
        holders.namespaces.remove(&own);
    }
    let mut events = Vec::new();
    add_namespace(&mut events);
    for path in holders.namespaces.values() {
        let entered = File::open(path)
            .map_err(nix::Error::try_from)
            .ok()
            .map(|file| setns(file, CloneFlags::CLONE_NEWNET));
        match entered {
            Some(Ok(())) => add_namespace(&mut events),
            // Its last process may have ended: then there is nothing to enumerate.
            refused => debug!(namespace = %path.display(), ?refused, "network namespace not entered"),
        }
    }
    for event in &mut events {
        set_owner(event, &holders.owners);
    }
    events
}

fn add_namespace(events: &mut Vec<Event>) {
    let netns_cookie = netns_cookie();
    events.extend(interface::enumerate(netns_cookie));
    match sock_diag::dump(netns_cookie) {
        Ok(found) => events.extend(found),
        Err(error) => warn!(%error, "sockets older than the recorder are not known"),
    }
}

fn set_owner(event: &mut Event, owners: &FxHashMap<u64, Owner>) {
    let Some(event::Event::Socket(socket)) = &mut event.event else { return };
    if let Some(owner) = owners.get(&socket.inode) {
        socket.owner = Some(owner.id);
        socket.owner_name.clone_from(&owner.name);
    }
}

/// Looks at the open files and the network namespace of every process. A socket that several processes hold
/// belongs to the youngest: the server behind the one that opened its port, the child behind its forking
/// parent.
fn walk(proc_root: &Path) -> Holders {
    let mut holders = Holders::default();
    let mut files = 0;
    for pid in process::pids(proc_root) {
        let folder = proc_root.join(pid.to_string());
        let namespace = folder.join("ns/net");
        if let Some(inode) = fs::read_link(&namespace).ok().and_then(|target| inode_of(&target, "net:["))
            && holders.namespaces.len() < NAMESPACES_MAX
        {
            holders.namespaces.entry(inode).or_insert(namespace);
        }
        let Ok(entries) = fs::read_dir(folder.join("fd")) else { continue };
        let sockets =
            entries.flatten().filter_map(|entry| inode_of(&fs::read_link(entry.path()).ok()?, "socket:["));
        let mut identity = None;
        for inode in sockets {
            files += 1;
            if files > FILES_MAX {
                warn!(limit = FILES_MAX, "more open files than are looked at");
                return holders;
            }
            if identity.is_none() {
                identity = process::identity(proc_root, pid);
            }
            let Some((id, name)) = &identity else { break };
            let older =
                holders.owners.get(&inode).is_none_or(|known| known.id.start_time_ns <= id.start_time_ns);
            if older {
                holders.owners.insert(inode, Owner { id: *id, name: name.clone() });
            }
        }
    }
    holders
}

/// The number in a link such as `socket:[1234]`.
pub(super) fn inode_of(target: &Path, prefix: &str) -> Option<u64> {
    target.to_str()?.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok()
}

/// Cookie of the calling thread's network namespace; 0 on kernels that don't tell.
pub(crate) fn netns_cookie() -> u64 {
    let probe = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    probe.ok().and_then(|probe| cookie_option(&probe)).unwrap_or(0)
}

fn cookie_option(socket: &OwnedFd) -> Option<u64> {
    let mut cookie = 0_u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `cookie`, and both live until it returns.
    let status = unsafe {
        let value = (&raw mut cookie).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_NETNS_COOKIE, value, &raw mut len)
    };
    (status == 0).then_some(cookie)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn links_of_proc_hold_inodes() {
        assert_eq!(inode_of(Path::new("socket:[1234]"), "socket:["), Some(1234));
        assert_eq!(inode_of(Path::new("pipe:[1234]"), "socket:["), None);
        assert_eq!(inode_of(Path::new("socket:[12"), "socket:["), None);
    }

    #[test]
    fn a_listener_of_this_process_is_enumerated_as_its_own() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = u32::from(listener.local_addr().unwrap().port());
        // On its own thread, since it may move through namespaces.
        let events = std::thread::spawn(|| enumerate(Path::new("/proc"))).join().unwrap();
        let found = events.iter().find_map(|event| match &event.event {
            Some(event::Event::Socket(socket)) if socket.local_port == port => Some(socket),
            _ => None,
        });
        let owner = found.expect("the listener").owner.expect("its owner");
        assert_eq!(owner.pid, std::process::id());
        assert!(owner.start_time_coarse && owner.start_time_ns > 0);
    }
}
