//! `processes`: a row for each process that lived while the recording ran.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Int32Type, UInt32Type, UInt64Type};
use kcap_format::proto::{self, event::Event as Kind};

use super::column::Column;
use super::facts::{Facts, RowSink};
use super::process_columns::{self, ProcessDetails};
use super::text::kernel_text;
use crate::error::Result;
use crate::source::{
    Containers, Library, ProcessIdentity, Recording, container_name, pod_name, pod_namespace,
    process_id_text, process_uuid_text,
};

/// The table.
#[derive(Debug)]
pub(super) struct Processes;

/// How a process was first learned of.
const FIRST_SEEN: [&str; 4] = ["fork", "exec", "exit", "enumerate"];
/// Place of "fork" in it.
const FORK: usize = 0;
/// Place of "exec" in it.
const EXEC: usize = 1;

/// One process.
#[derive(Debug, Default)]
pub(super) struct ProcessRow {
    proc_id: String,
    pid: u32,
    parent: Option<ProcessIdentity>,
    parent_proc_id: Option<String>,
    uuid: Option<String>,
    parent_uuid: Option<String>,
    name: Option<String>,
    executable: Option<Arc<str>>,
    arguments: Option<Arc<Arguments>>,
    credentials: Option<proto::Credentials>,
    cgroup_id: Option<u64>,
    cgroup_path: Option<String>,
    container: Option<Arc<proto::Container>>,
    details: ProcessDetails,
    started: i64,
    exited: Option<i64>,
    exit_code: Option<u32>,
    first_seen: usize,
    first_seen_at: i64,
}

/// Arguments of an execution, shared by all that it cloned.
#[derive(Debug)]
struct Arguments {
    each: Vec<String>,
    joined: String,
}

impl Facts for Processes {
    type Row = ProcessRow;
    const NAME: &'static str = "processes";
    const SUMMARY: &'static str = "A process that was alive during the recording, with what is known of it at its end: of its last execution, or of that of who cloned it. `process_events` has its steps.";

    #[rustfmt::skip]
    fn columns() -> Vec<Column<[ProcessRow]>> {
        let mut columns = vec![
            Column::text("proc_id", "Name of the process: boot, pid and start in clock ticks", |rows: &[ProcessRow], row| Some(&rows[row].proc_id)).required(),
            Column::text("process_uuid", "The same process as a UUID", |rows: &[ProcessRow], row| rows[row].uuid.as_deref()),
            Column::number::<UInt32Type>("pid", "Process id in the initial pid namespace", |rows: &[ProcessRow], row| Some(rows[row].pid)).required(),
            Column::text("parent_proc_id", "The process that cloned it, or its parent when it was found; null when not known", |rows: &[ProcessRow], row| rows[row].parent_proc_id.as_deref()),
            Column::text("parent_process_uuid", "The same process as a UUID", |rows: &[ProcessRow], row| rows[row].parent_uuid.as_deref()),
            Column::number::<UInt32Type>("parent_pid", "Process id of the parent", |rows: &[ProcessRow], row| Some(rows[row].parent?.pid)),
            Column::text("process_name", "Name the kernel keeps (`comm`), at most 15 bytes", |rows: &[ProcessRow], row| rows[row].name.as_deref()),
            Column::text("executable", "File that it runs: executed last by it, or by who cloned it; null for kernel threads and when not known", |rows: &[ProcessRow], row| rows[row].executable.as_deref()),
            Column::text_list("arguments", "Arguments of the last execution, the program's name first", |rows: &[ProcessRow], row| Some(rows[row].arguments.as_ref().map_or(&[], |arguments| &arguments.each[..]))),
            Column::text("command_line", "The arguments joined by blanks", |rows: &[ProcessRow], row| Some(rows[row].arguments.as_ref()?.joined.as_str())),
            Column::number::<UInt32Type>("uid", "User id in the initial user namespace", |rows: &[ProcessRow], row| Some(rows[row].credentials?.uid)),
            Column::number::<UInt32Type>("gid", "Group id in the initial user namespace", |rows: &[ProcessRow], row| Some(rows[row].credentials?.gid)),
            Column::number::<UInt64Type>("cgroup_id", "Id of the cgroup v2 (inode of its folder)", |rows: &[ProcessRow], row| rows[row].cgroup_id),
            Column::text("cgroup_path", "Path of the cgroup below the cgroup2 root; null when nothing told it", |rows: &[ProcessRow], row| rows[row].cgroup_path.as_deref()),
            Column::text("container_id", "Container that it was in last", |rows: &[ProcessRow], row| Some(rows[row].container.as_ref()?.id.as_str())),
            Column::text("container_name", "Name of the container; null when no runtime told it", |rows: &[ProcessRow], row| container_name(rows[row].container.as_ref()?)),
            Column::text("pod_name", "Name of its pod", |rows: &[ProcessRow], row| pod_name(rows[row].container.as_ref()?)),
            Column::text("pod_namespace", "Namespace of its pod", |rows: &[ProcessRow], row| pod_namespace(rows[row].container.as_ref()?)),
            Column::timestamp("start_ts", "When it was cloned; to 10 ms for processes older than the recorder", |rows: &[ProcessRow], row| Some(rows[row].started)).required(),
            Column::timestamp("exit_ts", "When its last thread ended; null while it lives", |rows: &[ProcessRow], row| rows[row].exited),
            Column::number::<Int32Type>("exit_code", "Status it exited with; null while it lives or when a signal killed it", |rows: &[ProcessRow], row| rows[row].exit_code.filter(|code| code & 0x7f == 0).map(|code| (code >> 8 & 0xff) as i32)),
            Column::number::<Int32Type>("exit_signal", "Signal that killed it; null otherwise", |rows: &[ProcessRow], row| rows[row].exit_code.map(|code| (code & 0x7f) as i32).filter(|signal| *signal != 0)),
            Column::enumeration("first_seen", &FIRST_SEEN, "What told of it first: fork, exec, exit, or enumerate (it was older than the recorder)", |rows: &[ProcessRow], row| Some(rows[row].first_seen)).required(),
            Column::timestamp("first_seen_ts", "When the recording first tells of it", |rows: &[ProcessRow], row| Some(rows[row].first_seen_at)).required(),
        ];
        columns.extend(process_columns::columns(|row: &ProcessRow| &row.details));
        columns
    }

    fn rows(library: &Arc<Library>, sink: &mut RowSink<ProcessRow>) -> Result<()> {
        for recording in &library.recordings {
            for row in collect(recording, sink)? {
                sink.push(row)?;
            }
        }
        Ok(())
    }
}

/// All processes of a recording, the oldest first.
fn collect(recording: &Recording, sink: &mut RowSink<ProcessRow>) -> Result<Vec<ProcessRow>> {
    let mut processes: HashMap<ProcessIdentity, ProcessRow> = HashMap::new();
    let mut containers = Containers::default();
    let details_wanted = sink.wants(&process_columns::NAMES_BEGIN);
    for handle in &recording.segments {
        let clock = handle.clock()?;
        for events in handle.events()? {
            for mut event in events? {
                containers.learn(&event);
                if let Some(Kind::CgroupAttach(attach)) = &event.event {
                    let moved = ProcessIdentity::from_proto(attach.process.as_ref());
                    if let Some(row) = moved.and_then(|identity| processes.get_mut(&identity)) {
                        row.cgroup_id = Some(attach.cgroup_id);
                        row.cgroup_path = kernel_text(&attach.cgroup_path);
                    }
                    continue;
                }
                let details = if details_wanted { details_of(&mut event, handle.boot_id()) } else { None };
                let Some(step) = Step::of(&event) else { continue };
                let time = clock.realtime_ns(event.time_ns);
                let inherited = step.inherited(&processes);
                let row = match processes.entry(step.identity) {
                    std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        sink.reserve(PROCESS_MEMORY_BYTES)?;
                        entry.insert(ProcessRow {
                            proc_id: process_id_text(handle.boot_id(), step.identity),
                            pid: step.identity.pid,
                            started: clock.realtime_ns(step.start_time_ns),
                            first_seen: step.kind,
                            first_seen_at: time,
                            ..ProcessRow::default()
                        })
                    }
                };
                let before_bytes = row.text_bytes();
                row.learn(&step, time);
                sink.reserve(row.text_bytes().saturating_sub(before_bytes))?;
                if let Some(details) = details {
                    let before_bytes = row.details.memory_bytes();
                    row.details.learn(details, step.kind == EXEC && !event.snapshot);
                    sink.reserve(row.details.memory_bytes().saturating_sub(before_bytes))?;
                }
                row.inherit(inherited);
                if let (Some(id), Some(path)) = (row.cgroup_id, &row.cgroup_path) {
                    containers.learn_path(id, path.as_bytes());
                }
                row.uuid = process_uuid_text(handle.boot_id(), step.identity);
                row.parent_proc_id = row.parent.map(|parent| process_id_text(handle.boot_id(), parent));
                row.parent_uuid = row.parent.and_then(|parent| process_uuid_text(handle.boot_id(), parent));
            }
        }
    }
    let mut rows: Vec<ProcessRow> = processes.into_values().collect();
    // Processes tell ids of cgroups; paths come from what else was told of the cgroup.
    for row in &mut rows {
        let id = row.cgroup_id.unwrap_or_default();
        row.cgroup_path = row.cgroup_path.take().or(containers.path(id).and_then(kernel_text));
        row.container = containers.of_cgroup(id, row.cgroup_path.as_deref().unwrap_or_default().as_bytes());
    }
    rows.sort_by_key(|row| (row.started, row.pid));
    Ok(rows)
}

/// What the further columns show of what an event tells of a process.
fn details_of(event: &mut proto::Event, boot_id: &[u8]) -> Option<ProcessDetails> {
    let process = match event.event.as_mut()? {
        Kind::Fork(fork) => fork.process.as_mut(),
        Kind::Exec(exec) => exec.process.as_mut(),
        Kind::Enumerate(enumerate) => enumerate.process.as_mut(),
        _ => None,
    };
    Some(ProcessDetails::of(process?, boot_id))
}

/// About what a process takes while the table is put together, beside what it executed.
const PROCESS_MEMORY_BYTES: usize = 1024;

/// What one event tells of a process.
struct Step<'a> {
    identity: ProcessIdentity,
    start_time_ns: u64,
    kind: usize,
    process: Option<&'a proto::Process>,
    exit: Option<&'a proto::ProcessExit>,
}

impl<'a> Step<'a> {
    fn of(event: &'a proto::Event) -> Option<Self> {
        let (kind, process, exit) = match event.event.as_ref()? {
            Kind::Fork(fork) => (FORK, fork.process.as_ref(), None),
            Kind::Exec(exec) => (EXEC, exec.process.as_ref(), None),
            Kind::Exit(exit) => (2, None, Some(exit)),
            Kind::Enumerate(enumerate) => (3, enumerate.process.as_ref(), None),
            // `process_events` decides of each kind whether it is a process's.
            _ => return None,
        };
        let id = process.and_then(|process| process.id.as_ref()).or(exit.and_then(|exit| exit.id.as_ref()));
        let identity = ProcessIdentity::from_proto(id)?;
        Some(Self { identity, start_time_ns: id?.start_time_ns, kind, process, exit })
    }

    /// What a new process runs: what its parent runs, until it executes something.
    fn inherited(&self, processes: &HashMap<ProcessIdentity, ProcessRow>) -> Option<Inherited> {
        let process = self.process.filter(|_| self.kind == FORK)?;
        let parent = processes.get(&ProcessIdentity::from_proto(process.parent.as_ref())?)?;
        Some(Inherited {
            executable: parent.executable.clone(),
            arguments: parent.arguments.clone(),
            details: parent.details.clone(),
        })
    }
}

/// What a process has from the one that cloned it.
struct Inherited {
    executable: Option<Arc<str>>,
    arguments: Option<Arc<Arguments>>,
    details: ProcessDetails,
}

impl ProcessRow {
    /// Bytes of what it executed; of others', too, that it shares.
    fn text_bytes(&self) -> usize {
        let arguments = self.arguments.as_ref().map_or(0, |arguments| 2 * arguments.joined.len());
        self.executable.as_ref().map_or(0, |path| path.len()) + arguments
    }

    fn inherit(&mut self, inherited: Option<Inherited>) {
        let Some(Inherited { executable, arguments, details }) = inherited else { return };
        self.details.inherit(details);
        self.executable = self.executable.take().or(executable);
        self.arguments = self.arguments.take().or(arguments);
    }

    fn learn(&mut self, step: &Step<'_>, time: i64) {
        if let Some(process) = step.process {
            // Later segments repeat in their snapshots what is known; only what is said replaces.
            self.parent = self.parent.or(ProcessIdentity::from_proto(process.parent.as_ref()));
            self.name = kernel_text(&process.name).or(self.name.take());
            self.executable = kernel_text(&process.executable).map(Arc::from).or(self.executable.take());
            if !process.arguments.is_empty() {
                let text = |text: &Vec<u8>| String::from_utf8_lossy(text).into_owned();
                let each: Vec<_> = process.arguments.iter().map(text).collect();
                self.arguments = Some(Arc::new(Arguments { joined: each.join(" "), each }));
            }
            self.credentials = process.credentials.or(self.credentials);
            if process.cgroup_id != 0 && Some(process.cgroup_id) != self.cgroup_id {
                self.cgroup_id = Some(process.cgroup_id);
                self.cgroup_path = None;
            }
            self.cgroup_path = kernel_text(&process.cgroup_path).or(self.cgroup_path.take());
        }
        if let Some(exit) = step.exit {
            self.exited = Some(time);
            self.exit_code = Some(exit.exit_code);
            self.name = self.name.take().or(kernel_text(&exit.name));
        }
    }
}
