//! What the kernel programs don't tell by themselves: what was there before the recorder, and what is alive
//! now.

mod containers;
mod event;
mod interface;
mod process;
mod sock_diag;
mod socket;
mod state;

use std::path::Path;

use kcap_format::proto::Event;

pub(crate) use event::{cgroup, exec, exit, fork, socket};
pub(crate) use state::State;

/// Everything that is older than the recorder: processes, sockets, interfaces. Call it after the programs
/// were attached, so that nothing falls between, and on a thread of its own, which it moves through network
/// namespaces.
pub(crate) fn enumerate(cgroup2_root: Option<&Path>) -> Vec<Event> {
    let proc_root = Path::new("/proc");
    let mut events = cgroup2_root.map(crate::container::enumerate).unwrap_or_default();
    events.extend(process::enumerate(proc_root, cgroup2_root));
    events.extend(self::socket::enumerate(proc_root));
    events
}
