//! What executions and executable memory of a real host tell, asked as a user asks it: with `kcap sql`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use kcap_format::Segment;
use kcap_tests::kcap::{number, sql};
use kcap_tests::kernel;
use kcap_tests::recorder::{Recorder, segments};
use serde_json::{Value, json};

/// Copies a program, removes it, and executes what the descriptor still holds.
const REMOVED: &str = "exec 9<\"$0\"; rm \"$0\"; exec /proc/self/fd/9 0";

/// The only row of an answer.
#[track_caller]
fn row(capture: &Path, query: &str) -> Value {
    let rows = sql(capture, query);
    let [row] = &rows[..] else { panic!("{query}: not one row: {rows:?}") };
    row.clone()
}

#[test]
fn sql_tells_of_binary_streams_environment_and_namespaces() {
    if !kernel::available() {
        return;
    }
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let folder = fs::canonicalize(scratch.path()).expect("its path");
    let capture = folder.join("capture");
    let recorder = Recorder::start(&capture, &["--environment", "values"]);
    let program = folder.join("own-sleep");
    fs::copy("/bin/sleep", &program).expect("a copy");
    let inode = fs::metadata(&program).expect("the copy").ino();
    let out = folder.join("out");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    let ports = [&client.local_addr(), &client.peer_addr()].map(|end| end.as_ref().expect("an end").port());
    let mut child = Command::new("/bin/sh")
        .args([OsStr::new("-c"), OsStr::new(REMOVED), program.as_os_str()])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("COLOUR", "green")
        .stdin(Stdio::from(OwnedFd::from(client)))
        .stdout(File::create(&out).expect("a file"))
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    let pid = child.id();
    assert!(child.wait().expect("its end").success());
    recorder.stop();

    let first = Segment::open(&segments(&capture)[0]).expect("a segment");
    let tells_changes = first
        .file_info()
        .recorder
        .as_ref()
        .is_some_and(|recorder| recorder.hooks.contains_key("file_change"));
    let inode_of = |kind: &str| fs::metadata(format!("/proc/self/ns/{kind}")).expect("a namespace").ino();
    let columns = "command_line, binary_path, binary_inode, binary_deleted, binary_layer, stdin_type, \
        ip_text(stdin_local_ip) AS from_ip, stdin_local_port, ip_text(stdin_remote_ip) AS to_ip, stdin_remote_port, \
        stdout_type, stdout_path, stderr_type, stderr_path, array_has(environment, 'COLOUR=green') AS is_green, \
        environment_truncated, arguments_truncated, ns_pid, ns_parent_pid, pid_namespace, mount_namespace";
    // The same of the step, and of the process as it was last.
    let step = format!(
        "SELECT {columns} FROM process_events WHERE kind = 'exec' AND pid = {pid} ORDER BY ts DESC LIMIT 1"
    );
    let process = format!("SELECT {columns} FROM processes WHERE pid = {pid} AND exit_code = 0");
    for query in [step, process] {
        let told = row(&capture, &query);
        let expected = json!({
            "command_line": "/proc/self/fd/9 0",
            "binary_path": program, "binary_inode": inode, "binary_deleted": true,
            "stdin_type": "socket", "from_ip": "127.0.0.1", "stdin_local_port": ports[0],
            "to_ip": "127.0.0.1", "stdin_remote_port": ports[1],
            "stdout_type": "file", "stdout_path": out,
            "stderr_type": "character_device", "stderr_path": "/dev/null",
            "is_green": true, "environment_truncated": 0, "arguments_truncated": 0,
            "ns_pid": pid, "ns_parent_pid": std::process::id(),
            "pid_namespace": inode_of("pid"), "mount_namespace": inode_of("mnt"),
        });
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(&told[name], value, "{name} of {told}");
        }
    }
    // References are proc_ids, and lead to the rows of processes.
    let copier = format!(
        "SELECT m.pid FROM processes p JOIN processes m ON p.binary_modifier_proc_id = m.proc_id WHERE p.pid = {pid}"
    );
    let copiers: Vec<Value> = sql(&capture, &copier);
    assert_eq!(copiers.len(), usize::from(tells_changes), "{copiers:?}");
    assert!(
        copiers.iter().all(|row| row["pid"] == std::process::id()),
        "this process copied it: {copiers:?}"
    );
    let named_alike = format!(
        "SELECT count(DISTINCT e.process_uuid) FROM process_events e JOIN processes p \
         ON e.proc_id = p.proc_id AND e.process_uuid = p.process_uuid WHERE p.pid = {pid}"
    );
    assert_eq!(number(&capture, &named_alike), 1);
    let cookie = format!(
        "SELECT s.pid = {} AS is_ours, s.local_port FROM processes p JOIN sockets s \
         ON p.stdin_socket_cookie = s.socket_cookie WHERE p.pid = {pid}",
        std::process::id()
    );
    for socket in sql(&capture, &cookie) {
        assert_eq!(socket["local_port"], ports[0]);
    }
}

#[test]
fn sql_tells_of_memory_that_becomes_executable() {
    if !kernel::available() {
        return;
    }
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let capture = scratch.path().join("capture");
    let recorder = Recorder::start(&capture, &["--executable-mappings"]);
    // The dynamic linker maps the libraries of a program, as dlopen(3) does.
    let mut child = Command::new("/bin/ls").arg("/").stdout(Stdio::null()).spawn().expect("ls");
    let pid = child.id();
    assert!(child.wait().expect("its end").success());
    recorder.stop();

    let mappings = |condition: &str| {
        let query = format!(
            "SELECT mapping_action, mapping_start < mapping_end AS is_there, mapping_requested_protection, \
             mapping_new_flags, mapping_mmap_flags, mapping_file_path, mapping_file_inode, binary_inode \
             FROM process_events WHERE pid = {pid} AND {condition} ORDER BY ts"
        );
        sql(&capture, &query)
    };
    let initial = mappings("mapping_action = 'initial' AND executable = '/bin/ls'");
    let [initial] = &initial[..] else { panic!("one execution: {initial:?}") };
    assert_eq!(initial["is_there"], true);
    assert_eq!(initial["mapping_file_inode"], initial["binary_inode"]);
    assert_eq!(initial["mapping_file_inode"], fs::metadata("/bin/ls").expect("ls").ino());
    let libraries = mappings("kind = 'mapping' AND mapping_file_path LIKE '%/libc.so%'");
    let [library] = &libraries[..] else { panic!("one libc: {libraries:?}") };
    assert_eq!((&library["mapping_action"], &library["is_there"]), (&json!("mmap"), &json!(true)));
    let path = library["mapping_file_path"].as_str().expect("a path");
    assert_eq!(library["mapping_file_inode"], fs::metadata(path).expect("libc").ino());
    let bits = |name: &str| library[name].as_u64().unwrap_or_else(|| panic!("{name} of {library}"));
    let (executable, readable) = (libc::PROT_EXEC as u64, libc::PROT_READ as u64);
    assert_eq!(bits("mapping_requested_protection"), executable | readable);
    // `VM_EXEC` of the kernel's include/linux/mm.h has the value of PROT_EXEC.
    assert_eq!(bits("mapping_new_flags") & executable, executable);
    assert_eq!(bits("mapping_mmap_flags") & libc::MAP_PRIVATE as u64, libc::MAP_PRIVATE as u64);
    assert_eq!(library["binary_inode"], Value::Null, "a mapping is no execution");
}
