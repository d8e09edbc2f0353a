//! Ring records of the kernel programs as the messages of `spec/events.proto`.

use std::sync::{Arc, Mutex, PoisonError};

use kcap_format::proto::{
    CgroupAttach, Credentials, Event, ExecutableMapping, MappingEvent, Namespaces, Process, ProcessExec,
    ProcessExit, ProcessFork, ProcessId, SocketEvent, Streams, cgroup_event::Kind, event,
    executable_mapping::Action,
};
use kcap_recorder_ebpf as ebpf;

use super::environment::Environment;
use super::file;
use super::process::split_arguments;
use super::session::Sessions;
use crate::container;
use crate::ring::{EventRecord, ExecRecord};

/// `AF_INET` of Linux.
const AF_INET: u16 = 2;

/// Makes messages of ring records, in their order.
#[derive(Debug)]
pub(crate) struct Translator {
    pub(crate) environment: Environment,
    pub(crate) sessions: Arc<Mutex<Sessions>>,
}

impl Translator {
    /// What a record tells.
    pub(crate) fn translate(&self, record: &EventRecord<'_>) -> Event {
        match record {
            EventRecord::Fork(record) => {
                let mut child = child(record);
                child.exec_session =
                    self.sessions().forked(record.child, record.head.process, &record.namespaces);
                event(&record.head, event::Event::Fork(ProcessFork { process: Some(child) }))
            }
            EventRecord::Exec(record) => {
                let mut process = executed(record, self.environment);
                process.exec_session = self.sessions().of(record.event.head.process);
                event(&record.event.head, event::Event::Exec(ProcessExec { process: Some(process) }))
            }
            EventRecord::Exit(record) => {
                self.sessions().ended(record.head.process);
                exit(record)
            }
            EventRecord::Socket(record) => socket(record),
            EventRecord::Mapping { event, path } => mapping(event, path),
            EventRecord::Cgroup { event, path } => cgroup(event, path),
        }
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The child is a copy of its parent until it says otherwise: same name and user.
fn child(record: &ebpf::ForkEvent) -> Process {
    Process {
        id: process_id(&record.child),
        parent: process_id(&record.head.process),
        tid: record.child.tid,
        cgroup_id: record.cgroup_id,
        namespaces: namespaces(&record.namespaces),
        ..process(&record.head)
    }
}

fn executed(record: &ExecRecord<'_>, environment: Environment) -> Process {
    let event = record.event;
    let not_copied = |total: u32, copied: &[u8]| total.saturating_sub(copied.len() as u32);
    let initial_mapping = (event.code_end > event.code_start).then(|| {
        Box::new(ExecutableMapping {
            action: Action::Initial.into(),
            start_address: event.code_start,
            end_address: event.code_end,
            file: file::file(&event.binary, record.path),
            ..ExecutableMapping::default()
        })
    });
    let [stdin, stdout, stderr] = [0, 1, 2]
        .map(|descriptor| file::descriptor(&event.streams[descriptor], record.stream_paths[descriptor]));
    Process {
        parent: process_id(&event.parent),
        executable: record.filename.to_vec(),
        arguments: split_arguments(record.arguments),
        arguments_truncated: not_copied(event.arguments_len_total, record.arguments),
        namespaces: namespaces(&event.namespaces),
        binary: file::file(&event.binary, record.path).map(Box::new),
        environment: environment.keep(record.environment),
        environment_truncated: if environment.is_wanted() {
            not_copied(event.environment_len_total, record.environment)
        } else {
            0
        },
        streams: Some(Box::new(Streams { stdin, stdout, stderr })),
        initial_mapping,
        ..process(&event.head)
    }
}

fn mapping(record: &ebpf::MappingEvent, path: &[u8]) -> Event {
    let action = match record.action {
        ebpf::MAPPING_ACTION_MMAP => Action::Mmap,
        ebpf::MAPPING_ACTION_MPROTECT => Action::Mprotect,
        _ => Action::Unspecified,
    };
    let mapping = MappingEvent {
        id: process_id(&record.head.process),
        tid: record.head.process.tid,
        name: text(&record.head.name).to_vec(),
        mapping: Some(Box::new(ExecutableMapping {
            action: action.into(),
            start_address: record.start,
            end_address: record.end,
            requested_protection: record.requested_protection,
            new_flags: record.new_vm_flags,
            old_flags: record.old_vm_flags,
            mmap_flags: record.mmap_flags,
            file: file::file(&record.file, path),
        })),
    };
    event(&record.head, event::Event::Mapping(mapping))
}

/// A process ended.
fn exit(record: &ebpf::ExitEvent) -> Event {
    let exit = ProcessExit {
        id: process_id(&record.head.process),
        exit_code: record.exit_code,
        name: text(&record.head.name).to_vec(),
    };
    event(&record.head, event::Event::Exit(exit))
}

/// Something happened to a socket.
fn socket(record: &ebpf::SocketEvent) -> Event {
    let address = |bytes: &[u8; 16], port: u16| match bytes {
        unknown if *unknown == [0; 16] && port == 0 => Vec::new(),
        v4 if record.family == AF_INET => v4[..4].to_vec(),
        v6 => v6.to_vec(),
    };
    let owner = process_id(&record.head.process);
    let socket = SocketEvent {
        kind: i32::from(record.socket_kind),
        cookie: record.cookie,
        netns_cookie: record.netns_cookie,
        family: u32::from(record.family),
        r#type: u32::from(record.socket_type),
        protocol: u32::from(record.protocol),
        local_address: address(&record.local_address, record.local_port),
        local_port: u32::from(record.local_port),
        remote_address: address(&record.remote_address, record.remote_port),
        remote_port: u32::from(record.remote_port),
        owner_tid: record.head.process.tid,
        owner_name: if owner.is_some() { text(&record.head.name).to_vec() } else { Vec::new() },
        owner,
        inherited_owner: process_id(&record.inherited_owner),
        inode: 0,
    };
    event(&record.head, event::Event::Socket(socket))
}

/// Something happened to a cgroup.
fn cgroup(record: &ebpf::CgroupEvent, path: &[u8]) -> Event {
    let is = |kind: ebpf::CgroupEventKind| record.cgroup_kind == kind as u16;
    let told = if is(ebpf::CgroupEventKind::Attach) {
        let process = process_id(&record.moved);
        event::Event::CgroupAttach(CgroupAttach {
            cgroup_id: record.cgroup_id,
            cgroup_path: path.to_vec(),
            process,
        })
    } else {
        let kind = if is(ebpf::CgroupEventKind::Remove) { Kind::Remove } else { Kind::Create };
        event::Event::Cgroup(container::describe(kind, record.cgroup_id, path))
    };
    event(&record.head, told)
}

fn event(head: &ebpf::EventHead, event: event::Event) -> Event {
    Event {
        time_ns: head.time_ns,
        program: u32::from(head.program),
        cpu: u32::from(head.cpu),
        snapshot: false,
        event: Some(event),
    }
}

fn process(head: &ebpf::EventHead) -> Process {
    Process {
        id: process_id(&head.process),
        name: text(&head.name).to_vec(),
        credentials: Some(Credentials { uid: head.uid, gid: head.gid }),
        cgroup_id: head.cgroup_id,
        tid: head.process.tid,
        ..Process::default()
    }
}

fn namespaces(facts: &ebpf::NamespaceFacts) -> Option<Namespaces> {
    (facts.pid_namespace != 0).then_some(Namespaces {
        pid_namespace: facts.pid_namespace,
        mount_namespace: facts.mount_namespace,
        pid: facts.pid,
        parent_pid: facts.parent_pid,
    })
}

/// `None` for number 0, which stands for "no process".
pub(super) fn process_id(key: &ebpf::ProcessKey) -> Option<ProcessId> {
    (key.pid != 0).then_some(ProcessId {
        pid: key.pid,
        start_time_ns: key.start_time_ns,
        start_time_coarse: false,
    })
}

/// Text that ends at the first NUL.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebpf::{EventHead, ProcessKey};

    fn translator() -> Translator {
        Translator { environment: Environment::Names, sessions: Arc::default() }
    }

    fn head() -> EventHead {
        let process = ProcessKey { start_time_ns: 900, pid: 10, tid: 11 };
        let mut name = [0; 16];
        name[..4].copy_from_slice(b"bash");
        EventHead {
            time_ns: 1000,
            process,
            cgroup_id: 3,
            uid: 4,
            gid: 5,
            name,
            cpu: 1,
            program: 16,
            ..EventHead::default()
        }
    }

    #[test]
    fn a_fork_names_child_and_parent() {
        let child = ProcessKey { start_time_ns: 1000, pid: 12, tid: 12 };
        let record = ebpf::ForkEvent { head: head(), child, cgroup_id: 3, ..ebpf::ForkEvent::default() };
        let event = translator().translate(&EventRecord::Fork(&record));
        assert_eq!((event.time_ns, event.program, event.cpu, event.snapshot), (1000, 16, 1, false));
        let Some(event::Event::Fork(ProcessFork { process: Some(process) })) = event.event else {
            panic!("no fork")
        };
        assert_eq!(process.id.unwrap().pid, 12);
        assert_eq!(process.parent.unwrap().pid, 10);
        assert_eq!((process.name.as_slice(), process.cgroup_id), (&b"bash"[..], 3));
    }

    #[test]
    fn an_exec_counts_the_arguments_that_were_cut() {
        let event = ebpf::ExecEvent {
            head: head(),
            arguments_len_total: 100,
            environment_len_total: 50,
            ..ebpf::ExecEvent::default()
        };
        let record = ExecRecord {
            event: &event,
            filename: b"/bin/ls",
            path: b"",
            stream_paths: [b""; 3],
            arguments: b"ls\0-l\0",
            environment: b"HOME=/root\0",
        };
        let event = translator().translate(&EventRecord::Exec(record));
        let Some(event::Event::Exec(ProcessExec { process: Some(process) })) = event.event else {
            panic!("no exec")
        };
        assert_eq!(process.arguments, [b"ls".to_vec(), b"-l".to_vec()]);
        assert_eq!((process.executable.as_slice(), process.arguments_truncated), (&b"/bin/ls"[..], 94));
        assert_eq!(process.parent, None);
        assert_eq!((process.environment, process.environment_truncated), (vec![b"HOME".to_vec()], 39));
        assert_eq!((process.binary, process.initial_mapping), (None, None));
    }

    #[test]
    fn a_cgroup_names_its_container_and_who_entered_it() {
        let path = format!("/docker/{}", "ab".repeat(32));
        let mut record = ebpf::CgroupEvent { head: head(), cgroup_id: 9, ..ebpf::CgroupEvent::default() };
        record.cgroup_kind = ebpf::CgroupEventKind::Create as u16;
        let Some(event::Event::Cgroup(made)) = cgroup(&record, path.as_bytes()).event else { panic!() };
        assert_eq!((made.kind(), made.id, made.container_id), (Kind::Create, 9, "ab".repeat(32)));
        record.cgroup_kind = ebpf::CgroupEventKind::Attach as u16;
        record.moved = ProcessKey { start_time_ns: 5, pid: 6, tid: 6 };
        let Some(event::Event::CgroupAttach(entered)) = cgroup(&record, b"/").event else { panic!() };
        assert_eq!((entered.cgroup_id, entered.process.unwrap().pid), (9, 6));
    }

    #[test]
    fn socket_addresses_have_the_length_of_their_family() {
        let mut record =
            ebpf::SocketEvent { head: head(), family: 2, local_port: 80, ..ebpf::SocketEvent::default() };
        record.local_address[..4].copy_from_slice(&[127, 0, 0, 1]);
        let Some(event::Event::Socket(v4)) = socket(&record).event else { panic!("no socket") };
        assert_eq!((v4.local_address.as_slice(), v4.remote_address.len()), (&[127, 0, 0, 1][..], 0));
        assert_eq!((v4.owner_name.as_slice(), v4.owner.unwrap().start_time_ns), (&b"bash"[..], 900));
        record.family = 10;
        record.head.process = ProcessKey::default();
        let Some(event::Event::Socket(v6)) = socket(&record).event else { panic!("no socket") };
        assert_eq!(v6.local_address.len(), 16);
        assert!(v6.owner.is_none() && v6.owner_name.is_empty());
    }
}
