//! Events of processes and sockets out of their ring.

use std::os::fd::{AsFd, BorrowedFd};

use aya::Ebpf;
use bytemuck::Pod;
use kcap_recorder_ebpf::{CgroupEvent, EventHead, EventKind, ExecEvent, ExitEvent, ForkEvent, SocketEvent};

use super::{Drained, mapping::Mapping};
use crate::probe::Error;

/// One record of the event ring.
#[derive(Clone, Copy, Debug)]
pub enum EventRecord<'a> {
    /// A process was cloned.
    Fork(&'a ForkEvent),
    /// A process executed a file.
    Exec {
        /// Lengths, process and parent.
        event: &'a ExecEvent,
        /// The path given to the kernel.
        path: &'a [u8],
        /// The arguments as they lay in memory, each ended by NUL; the last may be cut.
        arguments: &'a [u8],
    },
    /// A process ended.
    Exit(&'a ExitEvent),
    /// Something happened to a socket.
    Socket(&'a SocketEvent),
    /// Something happened to a cgroup.
    Cgroup {
        /// Which one, and what.
        event: &'a CgroupEvent,
        /// Its path below the root of the hierarchy.
        path: &'a [u8],
    },
}

impl EventRecord<'_> {
    /// What all events have.
    pub fn head(&self) -> &EventHead {
        match self {
            Self::Fork(event) => &event.head,
            Self::Exec { event, .. } => &event.head,
            Self::Exit(event) => &event.head,
            Self::Socket(event) => &event.head,
            Self::Cgroup { event, .. } => &event.head,
        }
    }
}

/// The ring of the process and socket programs.
#[derive(Debug)]
pub struct EventRing(Mapping);

impl EventRing {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Mapping::take(ebpf, "EVENTS").map(Self)
    }

    /// Hands up to `max` events to `each`, in the order in which they were reserved. Returns early when the ring is
    /// empty or its next record is still being written.
    pub fn drain(&mut self, max: u64, mut each: impl FnMut(EventRecord<'_>)) -> Drained {
        let mut drained = Drained::default();
        self.0.drain(max, |record| match parse(record) {
            Some(event) => {
                drained.records += 1;
                each(event);
            }
            None => drained.bad += 1,
        });
        drained
    }

    /// Bytes that wait in the ring.
    pub fn backlog_len(&self) -> usize {
        self.0.backlog_len()
    }

    /// Bytes that the ring holds.
    pub fn capacity_len(&self) -> usize {
        self.0.len()
    }
}

impl AsFd for EventRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn parse(record: &[u8]) -> Option<EventRecord<'_>> {
    let head = prefix::<EventHead>(record)?.0;
    match head.kind {
        kind if kind == EventKind::Fork as u16 => Some(EventRecord::Fork(prefix(record)?.0)),
        kind if kind == EventKind::Exec as u16 => {
            let (event, rest) = prefix::<ExecEvent>(record)?;
            let (path, rest) = rest.split_at_checked(event.path_len as usize)?;
            let arguments = rest.get(..event.arguments_len as usize)?;
            Some(EventRecord::Exec { event, path, arguments })
        }
        kind if kind == EventKind::Exit as u16 => Some(EventRecord::Exit(prefix(record)?.0)),
        kind if kind == EventKind::Socket as u16 => Some(EventRecord::Socket(prefix(record)?.0)),
        kind if kind == EventKind::Cgroup as u16 => {
            let (event, rest) = prefix::<CgroupEvent>(record)?;
            let path = rest.get(..event.path_len as usize)?;
            Some(EventRecord::Cgroup { event, path })
        }
        _ => None,
    }
}

fn prefix<T: Pod>(record: &[u8]) -> Option<(&T, &[u8])> {
    let (start, rest) = record.split_at_checked(size_of::<T>())?;
    Some((bytemuck::try_from_bytes(start).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An exec record, in words as the ring aligns it.
    fn exec(event: ExecEvent, data: &[u8]) -> Vec<u64> {
        let mut bytes = bytemuck::bytes_of(&event).to_vec();
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.chunks_exact(8).map(|chunk| u64::from_ne_bytes(chunk.try_into().unwrap())).collect()
    }

    fn exec_of(path_len: u32, arguments_len: u32) -> ExecEvent {
        let head = EventHead { kind: EventKind::Exec as u16, ..EventHead::default() };
        ExecEvent { head, path_len, arguments_len, ..ExecEvent::default() }
    }

    #[test]
    fn exec_is_divided_into_path_and_arguments() {
        let record = exec(exec_of(7, 9), b"/bin/ls-l\0-a\0/x\0");
        let Some(EventRecord::Exec { path, arguments, .. }) = parse(bytemuck::cast_slice(&record)) else {
            panic!("not an exec");
        };
        assert_eq!((path, arguments), (&b"/bin/ls"[..], &b"-l\0-a\0/x\0"[..]));
    }

    #[test]
    fn lengths_beyond_the_record_and_unknown_kinds_are_refused() {
        for (path_len, arguments_len) in [(17, 0), (7, 10), (u32::MAX, 1), (0, u32::MAX)] {
            let record = exec(exec_of(path_len, arguments_len), b"/bin/ls-l\0-a\0/x\0");
            assert!(parse(bytemuck::cast_slice(&record)).is_none(), "{path_len} {arguments_len}");
        }
        let mut unknown = exec_of(0, 0);
        unknown.head.kind = 99;
        assert!(parse(bytemuck::cast_slice(&exec(unknown, b""))).is_none());
    }
}
