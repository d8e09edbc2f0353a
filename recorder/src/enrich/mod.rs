//! What the kernel programs don't tell by themselves: what was there before the recorder, and what is alive
//! now.

mod containers;
mod environment;
mod event;
mod file;
mod interface;
mod proc_files;
mod process;
mod session;
mod sock_diag;
mod socket;
mod state;

use std::path::Path;
use std::sync::Mutex;

use kcap_format::proto::{Event, SocketEnds, SocketEvent, event::Event as Kind};
use rustc_hash::FxHashMap;

pub(crate) use self::socket::netns_cookie;
pub(crate) use environment::Environment;
pub(crate) use event::Translator;
pub(crate) use interface::enumerate as interfaces;
pub(crate) use session::Sessions;
pub(crate) use state::State;

/// Everything that is older than the recorder: processes, sockets, interfaces. Call it after the programs
/// were attached, so that nothing falls between, and on a thread of its own, which it moves through network
/// namespaces.
pub(crate) fn enumerate(
    cgroup2_root: Option<&Path>,
    arguments_len_max: usize,
    sessions: &Mutex<Sessions>,
) -> Vec<Event> {
    let proc_root = Path::new("/proc");
    let mut events = cgroup2_root.map(crate::container::enumerate).unwrap_or_default();
    let mut processes = process::Enumeration { proc_root, cgroup2_root, arguments_len_max }.run(sessions);
    let sockets = self::socket::enumerate(proc_root);
    set_stream_addresses(&mut processes, &sockets);
    events.extend(processes);
    events.extend(sockets);
    events
}

/// Gives the standard streams of `processes` that are internet sockets the addresses of these.
fn set_stream_addresses(processes: &mut [Event], sockets: &[Event]) {
    let sockets = sockets.iter().filter_map(|event| match &event.event {
        Some(Kind::Socket(socket)) if socket.inode != 0 => Some((socket.inode, socket)),
        _ => None,
    });
    let by_inode: FxHashMap<u64, &SocketEvent> = sockets.collect();
    for event in processes {
        let Some(Kind::Enumerate(found)) = &mut event.event else { continue };
        let Some(streams) = found.process.as_mut().and_then(|process| process.streams.as_mut()) else {
            continue;
        };
        for (inode, descriptor) in proc_files::sockets(streams) {
            let Some(socket) = by_inode.get(&inode) else { continue };
            descriptor.socket = Some(SocketEnds {
                cookie: socket.cookie,
                family: socket.family,
                protocol: socket.protocol,
                local_address: socket.local_address.clone(),
                local_port: socket.local_port,
                remote_address: socket.remote_address.clone(),
                remote_port: socket.remote_port,
            });
        }
    }
}
