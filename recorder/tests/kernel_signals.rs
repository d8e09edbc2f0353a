//! Signals that end a recording, or must not.

mod kernel;

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    os::{fd::FromRawFd, unix::process::CommandExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use kcap_format::{Capture, Segment, SegmentState};
use kernel::{Session, options};

/// Long enough to drain and seal on a busy machine.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// SIGHUP used to end the recorder without a seal: a closed terminal cost the last segment its end.
#[test]
fn a_hangup_ends_the_recording_orderly() {
    if !can_record() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = start(folder.path(), Stdio::piped(), |_| {});
    wait_until_recording(recorder.stderr.take().unwrap());
    signal(&recorder, libc::SIGHUP);
    assert!(end(&mut recorder).success());
    assert_sealed(folder.path());
}

#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    if !can_record() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = start(folder.path(), Stdio::piped(), |command| {
        let ignore_hangup = || {
            // SAFETY: async-signal-safe, as is asked for between fork and exec.
            unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
            Ok(())
        };
        // SAFETY: as above.
        unsafe { command.pre_exec(ignore_hangup) };
    });
    wait_until_recording(recorder.stderr.take().unwrap());
    signal(&recorder, libc::SIGHUP);
    thread::sleep(Duration::from_millis(500));
    assert!(recorder.try_wait().unwrap().is_none(), "it ended");
    signal(&recorder, libc::SIGTERM);
    assert!(end(&mut recorder).success());
    assert_sealed(folder.path());
}

/// A log line that can't be written used to panic, which ends the process at once.
#[test]
fn a_terminal_that_is_gone_does_not_cost_the_seal() {
    if !can_record() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut ours, theirs) = terminal();
    let mut recorder = start(folder.path(), Stdio::from(theirs), |_| {});
    let mut printed = Vec::new();
    while !String::from_utf8_lossy(&printed).contains(RECORDING) {
        let mut bytes = [0; 1024];
        let len = ours.read(&mut bytes).unwrap();
        printed.extend_from_slice(&bytes[..len]);
    }
    drop(ours);
    signal(&recorder, libc::SIGHUP);
    assert!(end(&mut recorder).success());
    assert_sealed(folder.path());
}

/// What the recorder logs when all its threads run.
const RECORDING: &str = "recording";

fn can_record() -> bool {
    Session::start(&options()).is_some_and(|session| {
        session.finish();
        true
    })
}

fn start(folder: &Path, errors: Stdio, prepare: impl FnOnce(&mut Command)) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcap-record"));
    // Should the test fail before it ends the recorder, that ends by itself.
    command.args(["run", "-v", "--duration", "120s", "-o"]).arg(folder).stdin(Stdio::null()).stderr(errors);
    prepare(&mut command);
    command.spawn().unwrap()
}

/// Returns when the log says so, and has the rest read by a thread, so that the pipe stays open.
fn wait_until_recording(errors: impl Read + Send + 'static) {
    let mut lines = BufReader::new(errors).lines();
    let found = lines.by_ref().any(|line| line.unwrap().ends_with(RECORDING));
    assert!(found, "the recorder did not begin");
    thread::spawn(move || lines.for_each(drop));
}

fn signal(recorder: &Child, signal: libc::c_int) {
    // SAFETY: a child of ours that was not waited for.
    assert_eq!(unsafe { libc::kill(recorder.id() as libc::pid_t, signal) }, 0);
}

fn end(recorder: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + END_TIMEOUT;
    loop {
        if let Some(status) = recorder.try_wait().unwrap() {
            return status;
        }
        if Instant::now() >= deadline {
            recorder.kill().unwrap();
            recorder.wait().unwrap();
            panic!("the recorder did not end");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn assert_sealed(folder: &Path) {
    let capture = Capture::open(folder).unwrap();
    assert!(capture.problems.is_empty());
    assert_eq!(capture.segments.iter().map(Segment::state).collect::<Vec<_>>(), [SegmentState::Sealed]);
}

/// Both ends of a terminal.
fn terminal() -> (File, File) {
    let (mut ours, mut theirs) = (0, 0);
    let nothing = std::ptr::null_mut();
    // SAFETY: room for two descriptors, and neither name, settings nor size are wanted.
    let failed =
        unsafe { libc::openpty(&raw mut ours, &raw mut theirs, nothing, std::ptr::null(), std::ptr::null()) };
    assert_eq!(failed, 0);
    for end in [ours, theirs] {
        // Else the recorder has both ends, and the terminal never goes away.
        // SAFETY: a system call without pointers.
        assert_eq!(unsafe { libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC) }, 0);
    }
    // SAFETY: new, and nobody else's.
    unsafe { (File::from_raw_fd(ours), File::from_raw_fd(theirs)) }
}
