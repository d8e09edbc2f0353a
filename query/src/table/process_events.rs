//! `process_events`: what processes did, step by step.

use std::sync::Arc;

use arrow::datatypes::{Int32Type, UInt16Type, UInt32Type, UInt64Type};
use kcap_format::proto::{self, event::Event as Kind};

use super::column::Column;
use super::facts::{Facts, RowSink};
use super::mapping_columns::{self, MappingFacts};
use super::process_columns::{self, ProcessDetails};
use super::text::kernel_text;
use crate::error::Result;
use crate::source::{Library, ProcessIdentity, process_id_text, process_uuid_text};

/// The table.
#[derive(Debug)]
pub(super) struct ProcessEvents;

/// What a step can be.
const KINDS: [&str; 5] = ["fork", "exec", "exit", "enumerate", "mapping"];

/// One step of a process.
#[derive(Debug)]
pub(super) struct ProcessEventRow {
    time: i64,
    kind: usize,
    proc_id: Option<String>,
    uuid: Option<String>,
    pid: Option<u32>,
    parent_proc_id: Option<String>,
    parent_uuid: Option<String>,
    parent_pid: Option<u32>,
    tid: Option<u32>,
    name: Option<String>,
    executable: Option<String>,
    command_line: Option<String>,
    credentials: Option<proto::Credentials>,
    cgroup_id: Option<u64>,
    details: ProcessDetails,
    mapping: Option<MappingFacts>,
    exit_code: Option<u32>,
    cpu: u32,
    segment: u64,
}

impl Facts for ProcessEvents {
    type Row = ProcessEventRow;
    const NAME: &'static str = "process_events";
    const SUMMARY: &'static str = "A step in the life of a process: fork, exec, exit, enumerate (found alive when the \
        recording began), or mapping (it made memory executable).";

    #[rustfmt::skip]
    fn columns() -> Vec<Column<[ProcessEventRow]>> {
        let mut columns = vec![
            Column::timestamp("ts", "When it happened", |rows: &[ProcessEventRow], row| Some(rows[row].time)).required(),
            Column::enumeration("kind", &KINDS, "fork, exec, exit, enumerate or mapping", |rows: &[ProcessEventRow], row| Some(rows[row].kind)).required(),
            Column::text("proc_id", "The process: boot, pid and start in clock ticks", |rows: &[ProcessEventRow], row| rows[row].proc_id.as_deref()),
            Column::text("process_uuid", "The same process as a UUID", |rows: &[ProcessEventRow], row| rows[row].uuid.as_deref()),
            Column::number::<UInt32Type>("pid", "Process id in the initial pid namespace", |rows: &[ProcessEventRow], row| rows[row].pid),
            Column::text("parent_proc_id", "For fork, who cloned it; else the parent", |rows: &[ProcessEventRow], row| rows[row].parent_proc_id.as_deref()),
            Column::text("parent_process_uuid", "The same process as a UUID", |rows: &[ProcessEventRow], row| rows[row].parent_uuid.as_deref()),
            Column::number::<UInt32Type>("parent_pid", "Process id of the parent", |rows: &[ProcessEventRow], row| rows[row].parent_pid),
            Column::number::<UInt32Type>("tid", "The thread that acted; null when not told", |rows: &[ProcessEventRow], row| rows[row].tid),
            Column::text("process_name", "Name the kernel keeps (`comm`) after the step", |rows: &[ProcessEventRow], row| rows[row].name.as_deref()),
            Column::text("executable", "File that was executed, as the kernel was given it", |rows: &[ProcessEventRow], row| rows[row].executable.as_deref()),
            Column::text("command_line", "The arguments joined by blanks", |rows: &[ProcessEventRow], row| rows[row].command_line.as_deref()),
            Column::number::<UInt32Type>("uid", "User id in the initial user namespace", |rows: &[ProcessEventRow], row| Some(rows[row].credentials?.uid)),
            Column::number::<UInt32Type>("gid", "Group id in the initial user namespace", |rows: &[ProcessEventRow], row| Some(rows[row].credentials?.gid)),
            Column::number::<UInt64Type>("cgroup_id", "Id of the cgroup v2 (inode of its folder)", |rows: &[ProcessEventRow], row| rows[row].cgroup_id),
        ];
        columns.extend(process_columns::columns(|row: &ProcessEventRow| &row.details));
        columns.extend(mapping_columns::columns(|row: &ProcessEventRow| row.mapping.as_ref()));
        columns.extend([
            Column::number::<Int32Type>("exit_code", "For exit: the status; null when a signal killed it", |rows: &[ProcessEventRow], row| rows[row].exit_code.filter(|code| code & 0x7f == 0).map(|code| (code >> 8 & 0xff) as i32)),
            Column::number::<Int32Type>("exit_signal", "For exit: the signal that killed it", |rows: &[ProcessEventRow], row| rows[row].exit_code.map(|code| (code & 0x7f) as i32).filter(|signal| *signal != 0)),
            Column::number::<UInt16Type>("cpu", "Processor that told of it", |rows: &[ProcessEventRow], row| u16::try_from(rows[row].cpu).ok()),
            Column::number::<UInt64Type>("segment", "Sequence number of the segment", |rows: &[ProcessEventRow], row| Some(rows[row].segment)).required(),
        ]);
        columns
    }

    fn rows(library: &Arc<Library>, sink: &mut RowSink<ProcessEventRow>) -> Result<()> {
        for recording in &library.recordings {
            for (position, handle) in recording.segments.iter().enumerate() {
                let clock = handle.clock()?;
                let file = handle.file_info();
                for events in handle.events()? {
                    for event in events? {
                        // A snapshot repeats what went before, except where the recording begins.
                        if event.snapshot && position > 0 {
                            continue;
                        }
                        let time = clock.realtime_ns(event.time_ns);
                        if let Some(row) = row_of(event, time, handle.boot_id(), file.segment_sequence) {
                            sink.push(row)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// What one event is made of.
#[derive(Default)]
struct Parts {
    kind: usize,
    id: Option<proto::ProcessId>,
    name: Vec<u8>,
    tid: u32,
    process: Option<proto::Process>,
    mapping: Option<Box<proto::ExecutableMapping>>,
    exit_code: Option<u32>,
}

impl Parts {
    fn of(event: Kind) -> Option<Self> {
        Some(match event {
            Kind::Fork(fork) => Self::of_process(0, fork.process),
            Kind::Exec(exec) => Self::of_process(1, exec.process),
            Kind::Exit(exit) => Self {
                kind: 2,
                id: exit.id,
                name: exit.name,
                exit_code: Some(exit.exit_code),
                ..Self::default()
            },
            Kind::Enumerate(enumerate) => Self::of_process(3, enumerate.process),
            Kind::Mapping(event) => Self {
                kind: 4,
                id: event.id,
                name: event.name,
                tid: event.tid,
                mapping: event.mapping,
                ..Self::default()
            },
            Kind::Socket(_)
            | Kind::Interface(_)
            | Kind::Governor(_)
            | Kind::Cgroup(_)
            | Kind::CgroupAttach(_)
            | Kind::Container(_)
            | Kind::PacketComments(_) => return None,
        })
    }

    fn of_process(kind: usize, process: Option<proto::Process>) -> Self {
        let Some(mut process) = process else { return Self { kind, ..Self::default() } };
        Self {
            kind,
            id: process.id,
            name: std::mem::take(&mut process.name),
            tid: process.tid,
            mapping: process.initial_mapping.take(),
            process: Some(process),
            exit_code: None,
        }
    }
}

fn row_of(event: proto::Event, time: i64, boot_id: &[u8], segment: u64) -> Option<ProcessEventRow> {
    let Parts { kind, id, name, tid, process, mapping, exit_code } = Parts::of(event.event?)?;
    let identity = ProcessIdentity::from_proto(id.as_ref());
    let mut process = process.unwrap_or_default();
    let parent = ProcessIdentity::from_proto(process.parent.as_ref());
    let arguments: Vec<_> = process.arguments.iter().map(|text| String::from_utf8_lossy(text)).collect();
    Some(ProcessEventRow {
        time,
        kind,
        proc_id: identity.map(|identity| process_id_text(boot_id, identity)),
        uuid: identity.and_then(|identity| process_uuid_text(boot_id, identity)),
        pid: identity.map(|identity| identity.pid),
        parent_proc_id: parent.map(|parent| process_id_text(boot_id, parent)),
        parent_uuid: parent.and_then(|parent| process_uuid_text(boot_id, parent)),
        parent_pid: parent.map(|parent| parent.pid),
        tid: Some(tid).filter(|tid| *tid != 0),
        name: kernel_text(&name),
        executable: kernel_text(&process.executable),
        command_line: (!arguments.is_empty()).then(|| arguments.join(" ")),
        credentials: process.credentials,
        cgroup_id: Some(process.cgroup_id).filter(|id| *id != 0),
        details: ProcessDetails::of(&mut process, boot_id),
        mapping: mapping.map(|mapping| MappingFacts::new(mapping, boot_id)),
        exit_code,
        cpu: event.cpu,
        segment,
    })
}
