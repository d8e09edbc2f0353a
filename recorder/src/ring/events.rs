//! Events of processes and sockets out of their ring.

use std::os::fd::{AsFd, BorrowedFd};

use aya::Ebpf;
use bytemuck::Pod;
use kcap_recorder_ebpf::{
    CgroupEvent, EventHead, EventKind, ExecEvent, ExitEvent, ForkEvent, MappingEvent, SocketEvent,
};

use super::{Drained, mapping::Mapping};
use crate::probe::Error;

/// One record of the event ring.
#[derive(Clone, Copy, Debug)]
pub enum EventRecord<'a> {
    /// A process was cloned.
    Fork(&'a ForkEvent),
    /// A process executed a file.
    Exec(ExecRecord<'a>),
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
    /// A process made memory executable.
    Mapping {
        /// Addresses, flags and file.
        event: &'a MappingEvent,
        /// Names from the file up to the root, each ended by NUL.
        path: &'a [u8],
    },
}

/// An [`ExecEvent`] and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct ExecRecord<'a> {
    /// Process, parent, files and lengths.
    pub event: &'a ExecEvent,
    /// The file name given to the kernel.
    pub filename: &'a [u8],
    /// Names from the binary up to the root, each ended by NUL.
    pub path: &'a [u8],
    /// The same for standard input, output and error.
    pub stream_paths: [&'a [u8]; 3],
    /// The arguments as they lay in memory, each ended by NUL; the last may be cut.
    pub arguments: &'a [u8],
    /// The environment, likewise.
    pub environment: &'a [u8],
}

impl EventRecord<'_> {
    /// Bytes that it takes in the ring.
    #[allow(clippy::len_without_is_empty)] // no record is empty
    pub fn len(&self) -> usize {
        match self {
            Self::Fork(event) => size_of_val(*event),
            Self::Exec(record) => record.len(),
            Self::Exit(event) => size_of_val(*event),
            Self::Socket(event) => size_of_val(*event),
            Self::Mapping { event, path } => size_of_val(*event) + path.len(),
            Self::Cgroup { event, path } => size_of_val(*event) + path.len(),
        }
    }

    /// What all events have.
    pub fn head(&self) -> &EventHead {
        match self {
            Self::Fork(event) => &event.head,
            Self::Exec(record) => &record.event.head,
            Self::Exit(event) => &event.head,
            Self::Socket(event) => &event.head,
            Self::Cgroup { event, .. } => &event.head,
            Self::Mapping { event, .. } => &event.head,
        }
    }
}

impl ExecRecord<'_> {
    fn len(&self) -> usize {
        let paths: usize = self.stream_paths.iter().map(|path| path.len()).sum();
        let texts = [self.filename, self.path, self.arguments, self.environment];
        size_of_val(self.event) + paths + texts.iter().map(|text| text.len()).sum::<usize>()
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
        kind if kind == EventKind::Exec as u16 => parse_exec(record).map(EventRecord::Exec),
        kind if kind == EventKind::Exit as u16 => Some(EventRecord::Exit(prefix(record)?.0)),
        kind if kind == EventKind::Socket as u16 => Some(EventRecord::Socket(prefix(record)?.0)),
        kind if kind == EventKind::Cgroup as u16 => {
            let (event, rest) = prefix::<CgroupEvent>(record)?;
            let path = rest.get(..event.path_len as usize)?;
            Some(EventRecord::Cgroup { event, path })
        }
        kind if kind == EventKind::Mapping as u16 => {
            let (event, rest) = prefix::<MappingEvent>(record)?;
            Some(EventRecord::Mapping { event, path: rest.get(..event.file.path_len as usize)? })
        }
        _ => None,
    }
}

fn parse_exec(record: &[u8]) -> Option<ExecRecord<'_>> {
    let (event, mut rest) = prefix::<ExecEvent>(record)?;
    let mut take = |len: u32| {
        let (taken, after) = rest.split_at_checked(len as usize)?;
        rest = after;
        Some(taken)
    };
    let [input, output, error] = &event.streams;
    Some(ExecRecord {
        event,
        filename: take(event.filename_len)?,
        path: take(event.binary.path_len)?,
        stream_paths: [take(input.file.path_len)?, take(output.file.path_len)?, take(error.file.path_len)?],
        arguments: take(event.arguments_len)?,
        environment: take(event.environment_len)?,
    })
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

    fn exec_of(lens: [u32; 7]) -> ExecEvent {
        let head = EventHead { kind: EventKind::Exec as u16, ..EventHead::default() };
        let [filename_len, path_len, stdin, stdout, stderr, arguments_len, environment_len] = lens;
        let mut event =
            ExecEvent { head, filename_len, arguments_len, environment_len, ..ExecEvent::default() };
        event.binary.path_len = path_len;
        for (stream, len) in event.streams.iter_mut().zip([stdin, stdout, stderr]) {
            stream.file.path_len = len;
        }
        event
    }

    #[test]
    fn exec_is_divided_into_its_parts() {
        let data = b"bin/lsls\0bin\0null\0dev\0out\0ls\0-l\0A=1\0";
        let record = exec(exec_of([6, 7, 9, 4, 0, 6, 4]), data);
        let Some(EventRecord::Exec(parts)) = parse(bytemuck::cast_slice(&record)) else {
            panic!("not an exec");
        };
        assert_eq!((parts.filename, parts.path), (&b"bin/ls"[..], &b"ls\0bin\0"[..]));
        assert_eq!(parts.stream_paths, [&b"null\0dev\0"[..], b"out\0", b""]);
        assert_eq!((parts.arguments, parts.environment), (&b"ls\0-l\0"[..], &b"A=1\0"[..]));
    }

    #[test]
    fn lengths_beyond_the_record_and_unknown_kinds_are_refused() {
        // The data are 17 bytes, and the ring rounds up to words.
        for index in 0..7 {
            for len in [25, u32::MAX] {
                let mut lens = [1; 7];
                lens[index] = len;
                let record = exec(exec_of(lens), b"/bin/ls-l\0-a\0/x\0");
                assert!(parse(bytemuck::cast_slice(&record)).is_none(), "{lens:?}");
            }
        }
        let mut unknown = exec_of([0; 7]);
        unknown.head.kind = 99;
        assert!(parse(bytemuck::cast_slice(&exec(unknown, b""))).is_none());
    }
}
