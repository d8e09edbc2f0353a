//! The columns that `processes` and `process_events` have in common: where a process lives, and what it executed.

use std::sync::Arc;

use arrow::datatypes::UInt32Type;
use kcap_format::proto;

use super::column::Column;
use super::file_columns::{self, FileFacts};
use super::stream_columns;
use crate::source::{ProcessIdentity, process_id_text};

/// What the names of these columns begin with.
pub(super) const NAMES_BEGIN: [&str; 10] = [
    "ns_",
    "pid_namespace",
    "mount_namespace",
    "exec_session_",
    "arguments_truncated",
    "environment",
    "binary_",
    "stdin_",
    "stdout_",
    "stderr_",
];

/// What is told of a process beside its name and what it runs.
#[derive(Clone, Debug, Default)]
pub(super) struct ProcessDetails {
    namespaces: Option<proto::Namespaces>,
    exec_session: Option<String>,
    execution: Option<Arc<Execution>>,
}

/// What only an execution tells, or `/proc` of a process that was found.
#[derive(Debug)]
pub(super) struct Execution {
    arguments_truncated: u32,
    environment: Vec<String>,
    environment_truncated: u32,
    binary: Option<FileFacts>,
    streams: Option<Box<proto::Streams>>,
}

impl Execution {
    fn is_of(&self, other: &Self) -> bool {
        self.binary == other.binary
    }
}

impl ProcessDetails {
    /// Takes what only these columns show out of what an event told.
    pub(super) fn of(process: &mut proto::Process, boot_id: &[u8]) -> Self {
        let session = ProcessIdentity::from_proto(process.exec_session.as_ref());
        // A fork tells nothing of it.
        let executed = !process.executable.is_empty() || process.binary.is_some();
        let texts = |texts: Vec<Vec<u8>>| {
            texts.into_iter().map(|text| String::from_utf8_lossy(&text).into_owned()).collect()
        };
        Self {
            namespaces: process.namespaces.take(),
            exec_session: session.map(|session| process_id_text(boot_id, session)),
            execution: executed.then(|| {
                Arc::new(Execution {
                    arguments_truncated: process.arguments_truncated,
                    environment: texts(std::mem::take(&mut process.environment)),
                    environment_truncated: process.environment_truncated,
                    binary: process.binary.take().map(|binary| FileFacts::new(binary, boot_id)),
                    streams: process.streams.take(),
                })
            }),
        }
    }

    /// Adds what was told later. `begins_anew` says that it was told of a new execution, not repeated of an old one.
    pub(super) fn learn(&mut self, later: Self, begins_anew: bool) {
        self.namespaces = later.namespaces.or(self.namespaces.take());
        self.exec_session = later.exec_session.or(self.exec_session.take());
        self.execution = match (self.execution.take(), later.execution) {
            (None, told) | (told, None) => told,
            // What is repeated lacks the environment.
            (Some(known), Some(told)) if !begins_anew && known.is_of(&told) => Some(known),
            (_, told) => told,
        };
    }

    /// Takes over what a new process has from the one that cloned it, until it executes something.
    pub(super) fn inherit(&mut self, parent: Self) {
        self.execution = self.execution.take().or(parent.execution);
    }

    fn binary(&self) -> Option<&FileFacts> {
        self.execution.as_ref()?.binary.as_ref()
    }

    fn streams(&self) -> Option<&proto::Streams> {
        self.execution.as_ref()?.streams.as_deref()
    }

    /// About how many bytes it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let execution = self.execution.as_ref().map_or(0, |execution| {
            let environment: usize =
                execution.environment.iter().map(|text| text.len() + size_of::<String>()).sum();
            let binary = execution.binary.as_ref().map_or(0, FileFacts::memory_bytes);
            let streams = execution.streams.as_ref().map_or(0, |streams| {
                let paths = [&streams.stdin, &streams.stdout, &streams.stderr].map(|descriptor| {
                    descriptor.as_ref().and_then(|one| one.file.as_ref()).map_or(0, |file| file.path.len())
                });
                size_of::<proto::Streams>() + paths.iter().sum::<usize>()
            });
            size_of::<Execution>() + environment + binary + streams
        });
        size_of::<Self>() + self.exec_session.as_ref().map_or(0, String::len) + execution
    }
}

/// The columns, from whatever row the process is in.
#[rustfmt::skip]
pub(super) fn columns<R: 'static>(of: fn(&R) -> &ProcessDetails) -> Vec<Column<[R]>> {
    let known = |number: u32| Some(number).filter(|number| *number != 0);
    let mut columns = vec![
        Column::number::<UInt32Type>("ns_pid", "Process id in its own pid namespace, as in its container", move |rows: &[R], row| known(of(&rows[row]).namespaces.as_ref()?.pid)),
        Column::number::<UInt32Type>("ns_parent_pid", "Process id of its parent there; null when the parent is outside", move |rows: &[R], row| known(of(&rows[row]).namespaces.as_ref()?.parent_pid)),
        Column::number::<UInt32Type>("pid_namespace", "Inode of its pid namespace, as `/proc/PID/ns/pid` shows it", move |rows: &[R], row| known(of(&rows[row]).namespaces.as_ref()?.pid_namespace)),
        Column::number::<UInt32Type>("mount_namespace", "Inode of its mount namespace", move |rows: &[R], row| known(of(&rows[row]).namespaces.as_ref()?.mount_namespace)),
        Column::text("exec_session_proc_id", "The process that `docker exec`, `kubectl exec` or nsenter(1) brought into its pid namespace: this one, or one that it descends from", move |rows: &[R], row| of(&rows[row]).exec_session.as_deref()),
        Column::number::<UInt32Type>("arguments_truncated", "Bytes of the arguments that were not recorded", move |rows: &[R], row| Some(of(&rows[row]).execution.as_ref()?.arguments_truncated)),
        Column::text_list("environment", "Names of the variables, or NAME=VALUE where the recorder was asked for values; null for processes older than the recorder", move |rows: &[R], row| Some(&of(&rows[row]).execution.as_ref()?.environment[..]).filter(|texts| !texts.is_empty())),
        Column::number::<UInt32Type>("environment_truncated", "Bytes of the environment beyond the recorder's limit", move |rows: &[R], row| Some(of(&rows[row]).execution.as_ref()?.environment_truncated)),
    ];
    columns.extend(file_columns::columns("binary", "Full path of the executed file, of a script that of its interpreter, from the root of its mount namespace", move |row: &R| of(row).binary()));
    columns.extend(stream_columns::columns(move |row: &R| of(row).streams()));
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executed(path: &str, environment: &[&str]) -> ProcessDetails {
        let mut process = proto::Process {
            executable: path.into(),
            environment: environment.iter().map(|text| text.as_bytes().to_vec()).collect(),
            ..proto::Process::default()
        };
        ProcessDetails::of(&mut process, &[])
    }

    fn environment(details: &ProcessDetails) -> &[String] {
        &details.execution.as_ref().expect("an execution").environment
    }

    #[test]
    fn a_repetition_leaves_the_environment_and_an_execution_replaces_it() {
        let mut details = executed("/bin/sh", &["HOME"]);
        details.learn(executed("/bin/sh", &[]), false);
        assert_eq!(environment(&details), ["HOME"]);
        details.learn(ProcessDetails::default(), true);
        assert_eq!(environment(&details), ["HOME"], "nothing was told");
        details.learn(executed("/bin/true", &["PATH"]), true);
        assert_eq!(environment(&details), ["PATH"]);
        let mut child = ProcessDetails::default();
        child.inherit(details);
        assert_eq!(environment(&child), ["PATH"]);
    }
}
