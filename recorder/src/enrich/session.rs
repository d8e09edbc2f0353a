//! Which processes belong to a `kubectl exec` or `docker exec`.
//!
//! A container's own processes descend from the first one of its pid namespace. One that is in the namespace, isn't its
//! first, and has a parent outside, was put there from outside: a session begins with it, and its children inherit it.
//! Where containers share the host's pid namespace, sessions can't be told.

use kcap_format::proto::ProcessId;
use kcap_recorder_ebpf::{NamespaceFacts, ProcessKey};
use rustc_hash::FxHashMap;

/// Most processes in sessions that are known at once; those that come later count as outside of any.
const PROCESSES_MAX: usize = 1 << 16;
/// A start read from `/proc` is rounded down to a clock tick.
const TICK_NS: u64 = 10_000_000;

/// Living processes of sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    members: FxHashMap<u32, Member>,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    start_ticks: u64,
    session: ProcessId,
}

impl Sessions {
    /// The session of a new process, from its namespaces or its parent's.
    pub(super) fn forked(
        &mut self,
        child: ProcessKey,
        parent: ProcessKey,
        namespaces: &NamespaceFacts,
    ) -> Option<ProcessId> {
        let session = if entered(namespaces) { Some(exact(child)) } else { self.of(parent) }?;
        self.add(exact(child), session);
        Some(session)
    }

    /// The session that a process belongs to.
    pub(super) fn of(&self, process: ProcessKey) -> Option<ProcessId> {
        let member = self.members.get(&process.pid)?;
        (member.start_ticks == process.start_time_ns / TICK_NS).then_some(member.session)
    }

    /// The process is gone.
    pub(super) fn ended(&mut self, process: ProcessKey) {
        if self.of(process).is_some() {
            self.members.remove(&process.pid);
        }
    }

    /// A process that is older than the recorder. What events told is newer and stays.
    pub(super) fn enumerated(&mut self, process: ProcessId, session: ProcessId) {
        if !self.members.contains_key(&process.pid) {
            self.add(process, session);
        }
    }

    fn add(&mut self, process: ProcessId, session: ProcessId) {
        if self.members.len() < PROCESSES_MAX || self.members.contains_key(&process.pid) {
            let start_ticks = process.start_time_ns / TICK_NS;
            self.members.insert(process.pid, Member { start_ticks, session });
        }
    }
}

/// Whether a process was put into a pid namespace from outside.
fn entered(namespaces: &NamespaceFacts) -> bool {
    let known = namespaces.pid_namespace != 0 && namespaces.parent_pid_namespace != 0;
    known
        && namespaces.pid_namespace != namespaces.parent_pid_namespace
        && namespaces.parent_pid == 0
        && namespaces.pid != 1
}

fn exact(process: ProcessKey) -> ProcessId {
    ProcessId { pid: process.pid, start_time_ns: process.start_time_ns, start_time_coarse: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: u32 = 1;
    const CONTAINER: u32 = 2;

    fn key(pid: u32) -> ProcessKey {
        ProcessKey { pid, tid: pid, start_time_ns: u64::from(pid) * 1_000_000_123 }
    }

    fn inside(pid: u32, parent_pid: u32, parent_pid_namespace: u32) -> NamespaceFacts {
        NamespaceFacts {
            pid_namespace: CONTAINER,
            pid,
            parent_pid,
            parent_pid_namespace,
            ..NamespaceFacts::default()
        }
    }

    #[test]
    fn a_session_begins_with_whoever_comes_from_outside_and_is_inherited() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.forked(key(10), key(1), &inside(1, 0, HOST)), None, "the container's first");
        assert_eq!(sessions.forked(key(11), key(10), &inside(7, 1, CONTAINER)), None, "its child");
        let session = sessions.forked(key(20), key(1), &inside(30, 0, HOST));
        assert_eq!(session.unwrap().pid, 20);
        assert_eq!(sessions.forked(key(21), key(20), &inside(31, 30, CONTAINER)), session);
        sessions.ended(key(20));
        assert_eq!(sessions.of(key(20)), None);
        assert_eq!(sessions.forked(key(22), key(21), &inside(32, 31, CONTAINER)), session);
        assert_eq!(
            sessions.of(ProcessKey { start_time_ns: 5, ..key(22) }),
            None,
            "its number was given again"
        );
    }

    #[test]
    fn a_process_of_before_the_recorder_hands_its_session_on() {
        let mut sessions = Sessions::default();
        let coarse = |pid| ProcessId {
            start_time_ns: key(pid).start_time_ns / TICK_NS * TICK_NS,
            pid,
            start_time_coarse: true,
        };
        sessions.enumerated(coarse(20), coarse(20));
        let session = sessions.forked(key(21), key(20), &inside(31, 30, CONTAINER));
        assert_eq!(session, Some(coarse(20)));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut sessions = Sessions::default();
        for pid in 0..PROCESSES_MAX as u32 + 10 {
            sessions.forked(key(pid), key(1), &inside(30, 0, HOST));
        }
        assert_eq!(sessions.members.len(), PROCESSES_MAX);
    }
}
