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
use std::time::Instant;

use kcap_format::proto::{Event, SocketEnds, SocketEvent, event::Event as Kind};
use rustc_hash::FxHashMap;
use tracing::info;

pub(crate) use self::socket::netns_cookie;
pub(crate) use environment::Environment;
pub(crate) use event::Translator;
pub(crate) use interface::enumerate as interfaces;
pub(crate) use session::Sessions;
pub(crate) use state::State;

/// Most processes that are known at once, those that the kernel's tables for conditions have room for.
pub(crate) const PROCESSES_MAX: usize = kcap_recorder_ebpf::TASK_COUNT_MAX as usize;

/// What is older than the recorder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Enumerated {
    pub(crate) events: Vec<Event>,
    /// Processes that are not among them, since there are more than [`PROCESSES_MAX`].
    pub(crate) processes_left_out: u64,
}

impl From<Vec<Event>> for Enumerated {
    /// Nothing was left out.
    fn from(events: Vec<Event>) -> Self {
        Self { events, processes_left_out: 0 }
    }
}

/// Everything that is older than the recorder: processes, sockets, interfaces. Call it after the programs
/// were attached, so that nothing falls between, and on a thread of its own, which it moves through network
/// namespaces.
pub(crate) fn enumerate(
    cgroup2_root: Option<&Path>,
    arguments_len_max: usize,
    sessions: &Mutex<Sessions>,
) -> Enumerated {
    let begun = Instant::now();
    let proc_root = Path::new("/proc");
    let mut events = cgroup2_root.map(crate::container::enumerate).unwrap_or_default();
    let enumeration =
        process::Enumeration { proc_root, cgroup2_root, arguments_len_max, processes_max: PROCESSES_MAX };
    let mut processes = enumeration.run(sessions);
    let sockets = self::socket::enumerate(proc_root);
    set_stream_addresses(&mut processes.events, &sockets);
    info!(
        processes = processes.events.len(),
        processes_left_out = processes.processes_left_out,
        sockets_and_interfaces = sockets.len(),
        seconds = begun.elapsed().as_secs_f64(),
        "enumerated what is older than the recorder"
    );
    events.append(&mut processes.events);
    events.extend(sockets);
    Enumerated { events, ..processes }
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
