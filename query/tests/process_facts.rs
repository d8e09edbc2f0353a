//! What executions and executable memory tell, asked through SQL of a recording that is written here.

mod support;

use std::path::Path;
use std::process::Command;

use kcap_format::proto::{
    Descriptor, ExecutableMapping, File, MappingEvent, Namespaces, Process, ProcessEnumerate, ProcessFork,
    SocketEnds, Streams, event::Event as Kind, executable_mapping::Action, file::Layer,
};
use support::{Recorder, START_NS, event, exec, exit, process, process_id};

const SHELL: u32 = 300;
const WORKER: u32 = 301;
const CHILD: u32 = 302;
const DROPPER: u32 = 299;
const REGULAR_FILE_MODE: u32 = 0o100_644;
const SOCKET_MODE: u32 = 0o140_777;
/// 2026-01-01T00:00:00.5Z
const CTIME_NS: u64 = 1_767_225_600_500_000_000;

/// A shell of `docker exec` runs a program that something wrote, which maps a library and has a child. Then another segment.
fn recording() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recorder = Recorder::new(folder.path());
    let mut first = recorder.segment();
    let mut shell = event(
        START_NS,
        Kind::Enumerate(ProcessEnumerate { process: Some(process(SHELL, "sh", &["sh", "-i"])) }),
    );
    shell.snapshot = true;
    first.snapshot(&[shell]);
    let worker = Process {
        parent: Some(process_id(SHELL)),
        arguments_truncated: 7,
        namespaces: Some(Namespaces {
            pid_namespace: 4_026_532_001,
            mount_namespace: 4_026_532_002,
            pid: 12,
            parent_pid: 0,
        }),
        binary: Some(Box::new(binary())),
        environment: [&b"HOME=/root"[..], b"BAD=\xff"].map(<[u8]>::to_vec).into(),
        environment_truncated: 9,
        streams: Some(Box::new(Streams {
            stdin: Some(Descriptor { mode: SOCKET_MODE, file: None, socket: Some(socket()) }),
            stdout: Some(Descriptor {
                mode: REGULAR_FILE_MODE,
                file: Some(File { path: b"/var/log/worker".to_vec(), ..File::default() }),
                socket: None,
            }),
            stderr: None,
        })),
        exec_session: Some(process_id(SHELL)),
        initial_mapping: Some(Box::new(ExecutableMapping {
            action: Action::Initial.into(),
            start_address: 0x40_0000,
            end_address: 0x40_2000,
            file: Some(binary()),
            ..ExecutableMapping::default()
        })),
        ..process(WORKER, "worker", &["worker", "--now"])
    };
    let child = Process { parent: Some(process_id(WORKER)), ..process(CHILD, "worker", &[]) };
    let child = Process { executable: Vec::new(), ..child };
    let library = ExecutableMapping {
        action: Action::Mprotect.into(),
        start_address: u64::MAX - 0xfff,
        end_address: u64::MAX,
        requested_protection: 5,
        new_flags: 0x75,
        old_flags: 0x73,
        mmap_flags: 0,
        file: Some(File { path: b"/lib/x.so".to_vec(), inode: 5, ..File::default() }),
    };
    let mapping = MappingEvent {
        id: Some(process_id(WORKER)),
        tid: 310,
        name: "worker".into(),
        mapping: Some(library.into()),
    };
    first.events(&[
        exec(START_NS + 1, worker.clone()),
        event(START_NS + 2, Kind::Mapping(mapping)),
        event(START_NS + 3, Kind::Fork(ProcessFork { process: Some(child) })),
        exit(START_NS + 4, CHILD, "worker", 0),
    ]);
    first.seal();

    // Snapshots repeat the execution without its environment.
    let mut second = recorder.segment();
    let mut repeated = exec(START_NS + 1, Process { environment: Vec::new(), ..worker });
    repeated.snapshot = true;
    second.snapshot(&[repeated]);
    second.seal();
    folder
}

fn binary() -> File {
    File {
        path: b"/tmp/worker".to_vec(),
        inode: 77,
        device_major: 8,
        device_minor: 1,
        ctime_ns: CTIME_NS,
        layer: Layer::Upper.into(),
        modified_by: Some(process_id(DROPPER)),
        deleted: true,
        ..File::default()
    }
}

fn socket() -> SocketEnds {
    SocketEnds {
        cookie: 41,
        family: 2,
        protocol: 6,
        local_address: vec![10, 0, 0, 2],
        local_port: 22,
        remote_address: vec![10, 0, 0, 9],
        remote_port: 50_000,
    }
}

/// The answer as CSV without its head line.
fn query(source: &Path, sql: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kcap"))
        .arg("sql")
        .arg(source)
        .args(["--format", "csv", "-c", sql])
        .output()
        .expect("kcap runs");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("CSV is UTF-8");
    text.split_once('\n').map(|(_, rest)| rest.trim_end().to_owned()).unwrap_or_default()
}

/// What an execution tells is in `process_events`, and in `processes` of the last one.
#[test]
fn an_execution_tells_its_binary_streams_environment_and_namespaces() {
    let folder = recording();
    for source in ["process_events WHERE kind = 'exec'", "processes WHERE pid = 301"] {
        let ask = |columns: &str| query(folder.path(), &format!("SELECT {columns} FROM {source}"));
        assert_eq!(
            ask(
                "binary_path, binary_inode, binary_device, binary_ctime, binary_layer, binary_modifier_proc_id, binary_deleted"
            ),
            "/tmp/worker,77,8:1,2026-01-01T00:00:00.500Z,upper,01020304-299-299,true",
            "{source}"
        );
        assert_eq!(
            ask(
                "stdin_type, stdin_mode, stdin_socket_cookie, stdin_local_ip, stdin_local_port, stdin_remote_ip, stdin_remote_port"
            ),
            "socket,49663,41,10.0.0.2,22,10.0.0.9,50000",
            "{source}"
        );
        assert_eq!(
            ask("stdin_path, stdout_type, stdout_path, stdout_local_ip, stderr_type, stderr_mode"),
            ",file,/var/log/worker,,,",
            "{source}"
        );
        assert_eq!(
            ask("ns_pid, ns_parent_pid, pid_namespace, mount_namespace, exec_session_proc_id"),
            "12,,4026532001,4026532002,01020304-300-300",
            "{source}"
        );
        assert_eq!(
            ask("array_to_string(environment, '|'), environment_truncated, arguments_truncated"),
            "HOME=/root|BAD=\u{fffd},9,7",
            "{source}"
        );
        assert_eq!(
            ask("process_uuid, parent_process_uuid, proc_id"),
            "01020304-0506-8000-8000-012d0000012d,01020304-0506-8000-8000-012c0000012c,01020304-301-301",
            "{source}"
        );
    }
}

#[test]
fn executable_memory_is_a_step() {
    let folder = recording();
    let mappings = "SELECT kind, tid, mapping_action, mapping_start, mapping_end, mapping_requested_protection, \
        mapping_old_flags, mapping_new_flags, mapping_mmap_flags, mapping_file_path, mapping_file_inode, \
        mapping_file_deleted FROM process_events WHERE mapping_action IS NOT NULL ORDER BY ts";
    assert_eq!(
        query(folder.path(), mappings),
        "exec,301,initial,4194304,4202496,,,,,/tmp/worker,77,true\n\
         mapping,310,mprotect,18446744073709547520,18446744073709551615,5,115,117,,/lib/x.so,5,false"
    );
    let whose = "SELECT p.command_line, count(*) FROM process_events e JOIN processes p ON e.proc_id = p.proc_id \
        WHERE e.kind = 'mapping' GROUP BY 1";
    assert_eq!(query(folder.path(), whose), "worker --now,1");
}

/// Until it executes something, a process has what the one had that cloned it. Steps tell what they themselves tell.
#[test]
fn a_child_has_the_binary_of_its_parent() {
    let folder = recording();
    let child = "SELECT binary_path, stdout_path, environment_truncated, ns_pid, exec_session_proc_id FROM processes WHERE pid = 302";
    assert_eq!(query(folder.path(), child), "/tmp/worker,/var/log/worker,9,,");
    let steps =
        "SELECT kind, binary_path, arguments_truncated FROM process_events WHERE pid = 302 ORDER BY ts";
    assert_eq!(query(folder.path(), steps), "fork,,\nexit,,");
    let dropped = "SELECT p.pid FROM processes p JOIN processes s ON p.exec_session_proc_id = s.proc_id";
    assert_eq!(query(folder.path(), dropped), "301");
}
