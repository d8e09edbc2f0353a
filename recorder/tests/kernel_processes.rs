//! Processes: what a real child does is told as it was.

mod kernel;

use std::{
    os::unix::process::ExitStatusExt,
    process::{self, Command},
};

use kcap_recorder_ebpf::{ExitEvent, ForkEvent, ProcessKey};

use kernel::{Event, Exec, Recorded, Session, options};

#[test]
fn fork_exec_and_exit_of_a_child() {
    let Some(session) = Session::start(&options()) else { return };
    let mut child = Command::new("/bin/sh").args(["-c", "exit 3"]).spawn().unwrap();
    let status = child.wait().unwrap();
    let recorded = session.finish();

    let fork = fork_of(&recorded, child.id());
    assert_eq!((fork.head.process.pid, fork.child.tid), (process::id(), child.id()));
    let Exec { event: exec, filename, arguments, .. } = exec_of(&recorded, child.id());
    assert_eq!((&filename[..], &arguments[..]), (&b"/bin/sh"[..], &b"/bin/sh\0-c\0exit 3\0"[..]));
    assert_eq!(exec.arguments_len_total as usize, arguments.len());
    assert_eq!(exec.parent.pid, process::id());
    assert_eq!(exec.parent.start_time_ns, fork.head.process.start_time_ns);
    assert_eq!(&exec.head.name[..3], b"sh\0");
    assert_eq!(exec.head.uid, nix::unistd::getuid().as_raw());
    let exit = exit_of(&recorded, child.id());
    assert_eq!(exit.exit_code, status.into_raw() as u32);
    assert_eq!(exit.exit_code, 3 << 8);
    // One process, however often it is told of.
    let started = [fork.child, exec.head.process, exit.head.process].map(|key: ProcessKey| key.start_time_ns);
    assert!(started.iter().all(|start| *start == started[0] && *start != 0), "{started:?}");
    assert!(fork.head.time_ns <= exec.head.time_ns && exec.head.time_ns <= exit.head.time_ns);
}

#[test]
fn a_signal_is_told_as_wait_tells_it() {
    let Some(session) = Session::start(&options()) else { return };
    let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
    child.kill().unwrap();
    let status = child.wait().unwrap();
    let recorded = session.finish();
    assert_eq!(exit_of(&recorded, child.id()).exit_code & 0x7f, status.signal().unwrap() as u32);
}

#[test]
fn long_paths_and_arguments_are_told_as_far_as_they_go() {
    let Some(session) = Session::start(&options()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(200));
    std::fs::create_dir(&deep).unwrap();
    let program = deep.join("true");
    std::os::unix::fs::symlink("/bin/true", &program).unwrap();
    let mut long_path = Command::new(&program).arg("x").spawn().unwrap();
    long_path.wait().unwrap();
    let mut long_arguments = Command::new("/bin/true").arg("y".repeat(3000)).spawn().unwrap();
    long_arguments.wait().unwrap();
    let mut too_long = Command::new("/bin/true").arg("z".repeat(50_000)).spawn().unwrap();
    too_long.wait().unwrap();
    let recorded = session.finish();

    use std::os::unix::ffi::OsStrExt;
    assert_eq!(exec_of(&recorded, long_path.id()).filename, program.as_os_str().as_bytes());
    let Exec { filename, arguments, .. } = exec_of(&recorded, long_arguments.id());
    assert_eq!((&filename[..], arguments.len()), (&b"/bin/true"[..], 10 + 3001));
    let Exec { event, arguments, .. } = exec_of(&recorded, too_long.id());
    assert_eq!((arguments.len(), event.arguments_len_total), (4096, 10 + 50_001));
    assert!(arguments[10..].iter().all(|byte| *byte == b'z'));
}

#[test]
fn threads_are_no_processes() {
    let Some(session) = Session::start(&options()) else { return };
    std::thread::spawn(|| ()).join().unwrap();
    let recorded = session.finish();
    let told = recorded.events.iter().any(|event| match event {
        Event::Fork(fork) => fork.child.pid == process::id(),
        Event::Exit(exit) => exit.head.process.pid == process::id(),
        _ => false,
    });
    assert!(!told);
    let filtered: u64 = recorded.counters.iter().map(|row| row.counters.filtered).sum();
    assert!(filtered >= 2, "the thread's start and end were seen");
}

fn fork_of(recorded: &Recorded, pid: u32) -> ForkEvent {
    let found = recorded.events.iter().find_map(|event| match event {
        Event::Fork(fork) if fork.child.pid == pid => Some(*fork),
        _ => None,
    });
    found.expect("no fork")
}

fn exec_of(recorded: &Recorded, pid: u32) -> &Exec {
    let found = recorded.events.iter().find_map(|event| match event {
        Event::Exec(exec) if exec.event.head.process.pid == pid => Some(exec),
        _ => None,
    });
    found.expect("no exec")
}

fn exit_of(recorded: &Recorded, pid: u32) -> ExitEvent {
    let mut found = recorded.events.iter().filter_map(|event| match event {
        Event::Exit(exit) if exit.head.process.pid == pid => Some(*exit),
        _ => None,
    });
    let exit = found.next().expect("no exit");
    assert!(found.next().is_none(), "more than one exit");
    exit
}
