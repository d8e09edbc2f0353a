//! Events of processes in a recording: bursts of short ones, numbers that are given again, and crowds that are there
//! before the recorder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use kcap_format::proto::{Event, LossProgram, Process, ProcessId, event::Event as Kind};
use kcap_format::{Segment, process_uuid};
use kcap_tests::command::{Running, run, wait_until};
use kcap_tests::recorder::{Recorder, segments};
use kcap_tests::{binary, kernel};

/// Processes of the burst.
const BURST: u64 = 10_000;
/// Processes that are there before the recorder, unless the variable says otherwise; each takes some 100 KiB of the
/// kernel's memory.
const CROWD: usize = 5_000;
const CROWD_VARIABLE: &str = "KCAP_TEST_CROWD";
/// A recorder knows of at least so many.
const PROCESSES_KEPT: usize = 130_000;
/// Numbers in the pid namespace of the test, the fewest that Linux allows being 301, and processes that share them.
const PID_MAX: u32 = 400;
const PIDS_USED: u32 = 1_500;

/// A shell with a child; the last word keeps it from becoming the one before.
const SCRIPT: &str = "/bin/true; sleep 100; :";

#[test]
fn a_burst_of_short_processes_is_recorded_or_counted() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let recorder = Recorder::start(&folder.path().join("capture"), &[]);
    let script = format!("i=0; while [ $i -lt {BURST} ]; do /bin/true; i=$((i+1)); done");
    let shell = Running::start(Command::new("sh").args(["-c", &script]));
    let parent = shell.pid();
    shell.wait(kcap_tests::command::COMMAND_TIME_MAX).success();
    let capture = recorder.folder().to_owned();
    recorder.stop();

    let recorded = Recorded::read(&capture);
    let children: BTreeSet<(u32, u64)> = recorded
        .processes(|kind| matches!(kind, Kind::Fork(_)))
        .filter(|process| process.parent.is_some_and(|id| id.pid == parent))
        .filter_map(|process| process.id.map(key))
        .collect();
    let lost = |program| recorded.lost.get(&(program as i32)).copied().unwrap_or(0);
    let missing = |found: usize| BURST.saturating_sub(found as u64);
    assert!(children.len() as u64 <= BURST, "{} children", children.len());
    assert!(missing(children.len()) <= lost(LossProgram::ProcessFork), "{} children", children.len());

    let is_child = |id: Option<ProcessId>| id.is_some_and(|id| children.contains(&key(id)));
    let execs: Vec<&Process> = recorded
        .processes(|kind| matches!(kind, Kind::Exec(_)))
        .filter(|process| is_child(process.id))
        .collect();
    let exits = recorded.events.iter().filter(|event| match &event.event {
        Some(Kind::Exit(exit)) => is_child(exit.id),
        _ => false,
    });
    let unknown = missing(children.len());
    assert!(missing(execs.len()) <= lost(LossProgram::ProcessExec) + unknown, "{} execs", execs.len());
    let exits = exits.count();
    assert!(missing(exits) <= lost(LossProgram::ProcessExit) + unknown, "{exits} exits");
    for process in execs {
        assert_eq!(process.executable, b"/bin/true");
        assert_eq!(process.arguments, [b"/bin/true".to_vec()]);
        assert!(!process.binary.as_ref().expect("a binary").path.is_empty());
    }
}

/// Numbers of a small pid namespace are used over and over; each use is a process of its own.
#[test]
fn a_number_that_is_given_again_is_another_process() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let recorder = Recorder::start(&folder.path().join("capture"), &[]);
    let script = format!(
        "echo {PID_MAX} >/proc/sys/kernel/pid_max || exit 77
         i=0; while [ $i -lt {PIDS_USED} ]; do /bin/true; i=$((i+1)); done"
    );
    // Since Linux 6.14 each pid namespace has a limit of its own; before, the file is the host's, and is left alone.
    let own_limit = release() >= (6, 14);
    let mut wrapping = Command::new("unshare");
    wrapping.args(["--pid", "--fork", "--mount-proc", "sh", "-c", &script]);
    let finished = if own_limit { Some(run(&mut wrapping)) } else { None };
    let capture = recorder.folder().to_owned();
    recorder.stop();
    let Some(finished) = finished else {
        println!("skipped: pid namespaces of this kernel have no limit of their own");
        return;
    };
    finished.success();

    let recorded = Recorded::read(&capture);
    let mut uses: BTreeMap<(u32, u32), Vec<ProcessId>> = BTreeMap::new();
    for process in recorded.processes(|kind| matches!(kind, Kind::Fork(_))) {
        let (Some(namespaces), Some(id)) = (&process.namespaces, process.id) else { continue };
        uses.entry((namespaces.pid_namespace, namespaces.pid)).or_default().push(id);
    }
    let most = uses.values().map(Vec::len).max().unwrap_or(0);
    assert!(most >= 3, "the numbers went round: {most} uses of one");
    let mut uuids = BTreeSet::new();
    for ids in uses.values() {
        for id in ids {
            let uuid = process_uuid(&recorded.boot_id, id).expect("a process");
            assert!(uuids.insert(uuid), "{id:?} is taken for another one");
        }
    }
    // What each did is told of that one: one exec and one exit at most for each.
    let forked: BTreeSet<(u32, u64)> = uses.values().flatten().map(|id| key(*id)).collect();
    let mut exits = BTreeMap::new();
    for event in &recorded.events {
        if let Some(Kind::Exit(exit)) = &event.event
            && let Some(id) = exit.id.filter(|id| forked.contains(&key(*id)))
        {
            *exits.entry(key(id)).or_insert(0) += 1;
        }
    }
    assert!(exits.values().all(|count| *count == 1), "a process ends once");
    assert!(exits.len() as u32 >= PIDS_USED, "each end was recorded: {}", exits.len());
}

/// As `kubectl exec` does: somebody outside puts a process into a container's pid namespace.
#[test]
fn whoever_enters_a_pid_namespace_begins_a_session() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let enter = |inside: &str| {
        let mut command = Command::new("nsenter");
        Running::start(command.args(["--target", inside, "--pid", "sh", "-c", SCRIPT]))
    };
    let container =
        Running::start(Command::new("unshare").args(["--pid", "--fork", "--kill-child", "sh", "-c", SCRIPT]));
    let inside = wait_until("the container's first process", || child_of(container.pid()));
    let older = enter(&inside);
    wait_until("its child", || child_of(older.pid()).and_then(|pid| child_of(pid.parse().ok()?)));
    let recorder = Recorder::start(&folder.path().join("capture"), &[]);
    let younger = enter(&inside);
    wait_until("its child", || child_of(younger.pid()).and_then(|pid| child_of(pid.parse().ok()?)));
    let capture = recorder.folder().to_owned();
    recorder.stop();
    let entered: Vec<u32> = [&older, &younger]
        .map(|running| child_of(running.pid()).and_then(|pid| pid.parse().ok()).expect("it"))
        .into();
    drop((older, younger, container));

    let recorded = Recorded::read(&capture);
    let session_of = |process: &Process| process.exec_session.map(|id| id.pid);
    let told = |pid: u32| {
        recorded.processes(|_| true).filter(move |process| process.id.is_some_and(|id| id.pid == pid))
    };
    for pid in entered {
        let last = told(pid).last().expect("whoever entered");
        assert_eq!(session_of(last), Some(pid), "{last:?}");
        let children: Vec<&Process> = recorded
            .processes(|_| true)
            .filter(|process| process.parent.is_some_and(|parent| parent.pid == pid))
            .collect();
        assert!(!children.is_empty());
        assert!(children.iter().all(|child| session_of(child) == Some(pid)), "{children:?}");
    }
    let first = told(inside.parse().expect("a pid")).last().expect("the container's first process");
    assert_eq!((session_of(first), first.namespaces.as_ref().expect("namespaces").pid), (None, 1));
}

/// The newest child of a process.
fn child_of(pid: u32) -> Option<String> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next_back().map(str::to_owned)
}

#[test]
fn a_crowd_that_was_there_before_is_enumerated() {
    if !kernel::available() {
        return;
    }
    let count = std::env::var(CROWD_VARIABLE).map_or(CROWD, |text| text.parse().expect("a number"));
    let mut crowd = Running::start(Command::new(binary::kcap_traffic()).args(["crowd", &count.to_string()]));
    crowd.wait_for_line("ready");
    // With conditions, recording only begins when all are known.
    for options in [&["-v"][..], &["-v", "--where", "process.name=no-such-process"]] {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let recorder = Recorder::start(&folder.path().join("capture"), options);
        let capture = recorder.folder().to_owned();
        let said = recorder.stop().stderr;
        let told =
            said.lines().find(|line| line.contains("enumerated what is older")).expect("how long it took");
        println!("{count} processes more, {options:?}: {told}");
        check_crowd(&Recorded::read(&capture), crowd.pid(), count);
    }
    crowd.stop(nix::sys::signal::Signal::SIGTERM);
}

/// All processes of the crowd are there, or it is said how many are missing.
fn check_crowd(recorded: &Recorded, parent: u32, count: usize) {
    let left_out = recorded.lost.get(&(LossProgram::SnapshotProcesses as i32)).copied().unwrap_or(0);
    let members: Vec<&Process> = recorded
        .processes(|kind| matches!(kind, Kind::Enumerate(_)))
        .filter(|process| process.parent.is_some_and(|id| id.pid == parent))
        .collect();
    assert!(members.len() <= count && members.len() as u64 + left_out >= count as u64, "{}", members.len());
    assert!(left_out == 0 || count > PROCESSES_KEPT, "{left_out} left out");
    let executable = std::fs::canonicalize(binary::kcap_traffic()).expect("its path");
    for member in members {
        let binary = member.binary.as_ref().expect("a binary");
        assert_eq!(binary.path, executable.as_os_str().as_encoded_bytes());
        let namespaces = member.namespaces.as_ref().expect("namespaces");
        assert_eq!((namespaces.pid, namespaces.parent_pid), (member.id.expect("an id").pid, parent));
    }
}

/// What a recording holds of processes.
struct Recorded {
    boot_id: Vec<u8>,
    events: Vec<Event>,
    /// Runs of a kernel program that were lost, by its number.
    lost: BTreeMap<i32, u64>,
}

impl Recorded {
    fn read(capture: &Path) -> Self {
        let mut recorded = Self { boot_id: Vec::new(), events: Vec::new(), lost: BTreeMap::new() };
        for path in segments(capture) {
            let segment = Segment::open(&path).expect("a segment");
            recorded.boot_id = segment.file_info().host.clone().expect("a host").boot_id;
            recorded.events.extend(segment.all_events().expect("events"));
            for report in segment.all_losses().expect("reports") {
                *recorded.lost.entry(report.program).or_default() +=
                    report.lost.iter().map(|lost| lost.count).sum::<u64>();
            }
        }
        recorded
    }

    /// The processes of events of a kind, without those that a snapshot repeats.
    fn processes(&self, is_wanted: impl Fn(&Kind) -> bool) -> impl Iterator<Item = &Process> {
        let kinds = self.events.iter().filter_map(|event| event.event.as_ref());
        kinds.filter(move |kind| is_wanted(kind)).filter_map(|kind| match kind {
            Kind::Fork(fork) => fork.process.as_ref(),
            Kind::Exec(exec) => exec.process.as_ref(),
            Kind::Enumerate(found) => found.process.as_ref(),
            _ => None,
        })
    }
}

fn key(id: ProcessId) -> (u32, u64) {
    (id.pid, id.start_time_ns)
}

/// The kernel's version.
fn release() -> (u32, u32) {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    let mut numbers = text.split(['.', '-']).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
