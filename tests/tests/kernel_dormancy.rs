//! While nobody is wanted, packets aren't looked at; who is wanted then is recorded from the first packet, or the recording
//! says that it may not be.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use kcap_format::proto::recording_mode::Capture;
use kcap_format::proto::{GovernorStep, LossProgram, RecordingMode, event};
use kcap_format::{Segment, SegmentState};
use kcap_tests::answer::serve;
use kcap_tests::books::Books;
use kcap_tests::command::{run, wait_until};
use kcap_tests::containers::leaving_for;
use kcap_tests::exclusive_program::ExclusiveProgram;
use kcap_tests::isolated::Isolated;
use kcap_tests::kernel;
use kcap_tests::recorder::{Recorder, segments};

/// What runs for each packet or use of a socket.
const FREQUENT: [LossProgram; 9] = [
    LossProgram::PacketIngress,
    LossProgram::PacketEgress,
    LossProgram::SocketOperations,
    LossProgram::SocketSend,
    LossProgram::SocketReceive,
    LossProgram::SocketSendmsg4,
    LossProgram::SocketSendmsg6,
    LossProgram::SocketRecvmsg4,
    LossProgram::SocketRecvmsg6,
];
/// `CAP_NET_ADMIN`, `CAP_PERFMON` and `CAP_BPF` of `linux/capability.h`.
const CAPABILITIES_TO_ATTACH: u64 = 1 << 12 | 1 << 38 | 1 << 39;
const CAP_BPF_MASK: u64 = 1 << 39;
const DATAGRAM_COUNT: usize = 10;
/// Recordings in which a first packet must be recorded at least once: a busy machine may miss it, and then says so.
const ATTEMPT_COUNT: usize = 5;

fn open(folder: &Path) -> Vec<Segment> {
    segments(folder).iter().map(|path| Segment::open(path).expect("a whole segment")).collect()
}

fn steps(segments: &[Segment]) -> Vec<GovernorStep> {
    let events = segments.iter().flat_map(|segment| segment.all_events().expect("events"));
    let steps = events.filter(|event| !event.snapshot).filter_map(|event| match event.event {
        Some(event::Event::Governor(step)) => Some(step),
        _ => None,
    });
    let capture = |mode: &Option<RecordingMode>| mode.expect("a mode").capture();
    steps.filter(|step| capture(&step.from) != capture(&step.to)).collect()
}

fn captures(steps: &[GovernorStep]) -> Vec<Capture> {
    steps.iter().map(|step| step.to.expect("a mode").capture()).collect()
}

fn ask(port: u16) {
    run(Command::new("busybox").args([
        "wget",
        "-q",
        "-O",
        "/dev/null",
        &format!("http://127.0.0.1:{port}/"),
    ]))
    .success();
}

/// A shell that takes a name, and sends at once.
fn send_as(name: &str, port: u16) {
    let script = format!(
        "printf {name} > /proc/$$/comm; for i in $(seq {DATAGRAM_COUNT}); do echo $i > /dev/udp/127.0.0.1/{port}; done"
    );
    run(Command::new("bash").args(["-c", &script])).success();
}

#[test]
fn nothing_is_seen_while_nobody_is_wanted() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let port = serve();
    let recorder =
        Recorder::start(&folder.path().join("capture"), &["--where", "process.name=nobody-at-all"]);
    ask(port);
    let capture = recorder.folder().to_owned();
    recorder.stop();
    let segments = open(&capture);
    for program in FREQUENT {
        let books = Books::of(&segments, program);
        // Those of sockets run for a moment at the start, until it is known that nobody is there.
        assert_eq!((books.stored, books.lost_total()), (0, 0), "{program:?}");
        books.check_complete();
    }
    for program in [LossProgram::PacketIngress, LossProgram::PacketEgress] {
        assert_eq!(Books::of(&segments, program).kernel_seen, 0, "{program:?}");
    }
    assert!(Books::of(&segments, LossProgram::ProcessExec).kernel_seen > 0);
    let steps = steps(&segments);
    assert_eq!(captures(&steps), [Capture::Asleep], "{steps:?}");
    let hooks = &segments[0].file_info().recorder.as_ref().expect("a recorder").hooks;
    assert!(hooks.contains_key("process_exec") && !hooks.contains_key("packet_ingress"), "{hooks:?}");
}

#[test]
fn who_is_wanted_is_recorded_from_the_first_packet() {
    if !kernel::available() {
        return;
    }
    let can_wait = thread::available_parallelism().is_ok_and(|count| count.get() > 1);
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = receiver.local_addr().expect("its address").port();
    let folder = tempfile::tempdir().expect("a scratch folder");
    let mut whole_count = 0;
    for attempt in 0..ATTEMPT_COUNT {
        let name = format!("late-{attempt}");
        let recorder =
            Recorder::start(&folder.path().join(&name), &["--where", &format!("process.name={name}")]);
        ask(serve());
        send_as(&name, port);
        let capture = recorder.folder().to_owned();
        recorder.stop();
        let segments = open(&capture);
        let steps = steps(&segments);
        assert_eq!(captures(&steps), [Capture::Asleep, Capture::Full], "{steps:?}");
        assert!(steps[1].asked_ns > 0, "{steps:?}");
        let found = leaving_for(&segments, port).len();
        // Each datagram is of a socket of its own, that is made and connected: the last may have been made late and connected
        // in time.
        let missed_max = (steps[1].early_sockets as usize).div_ceil(2);
        assert!(found + missed_max >= DATAGRAM_COUNT, "{found} datagrams; {steps:?}");
        whole_count += usize::from(found == DATAGRAM_COUNT);
        for program in FREQUENT {
            Books::of(&segments, program).check_complete();
        }
    }
    assert!(whole_count > 0 || !can_wait, "never a first packet");
}

/// The hooks in the segments say what was attached when they began.
#[test]
fn segments_say_what_was_attached() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let options = ["--where", "process.name=late-one", "--segment-time", "1s"];
    let mut recorder = Recorder::start(&folder.path().join("capture"), &[&options[..], &["-v"]].concat());
    send_as("late-one", 9);
    recorder.wait_for_stderr("awake: a process may be wanted");
    let capture = recorder.folder().to_owned();
    let before = segments(&capture).len();
    wait_until("two more segments", || {
        send_as("late-one", 9);
        (segments(&capture).len() >= before + 2).then_some(())
    });
    recorder.stop();
    let segments = open(&capture);
    let hooks = |segment: &Segment| segment.file_info().recorder.as_ref().expect("a recorder").hooks.clone();
    let (first, last) = (hooks(&segments[0]), hooks(segments.last().expect("a segment")));
    assert!(!first.contains_key("packet_egress") && last.contains_key("packet_egress"), "{first:?} {last:?}");
    assert!(last.contains_key("socket_create"), "{last:?}");
}

#[test]
fn who_may_be_wanted_unseen_keeps_it_awake() {
    if !kernel::available() {
        return;
    }
    let own = format!("process.pid={}", std::process::id());
    for conditions in
        [&["user.id=4711"][..], &[own.as_str()], &["process.name=nobody-at-all", "user.id=4711"]]
    {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let options: Vec<&str> = conditions.iter().flat_map(|condition| ["--where", condition]).collect();
        let recorder = Recorder::start(&folder.path().join("capture"), &options);
        ask(serve());
        let capture = recorder.folder().to_owned();
        recorder.stop();
        let segments = open(&capture);
        assert_eq!(captures(&steps(&segments)), [], "{conditions:?}");
        assert!(Books::of(&segments, LossProgram::PacketEgress).kernel_seen > 0, "{conditions:?}");
    }
}

/// Who is wanted can't be recorded: the recording ends and says so, and nobody waits for it in vain.
#[test]
fn a_recording_that_cant_wake_ends() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let isolated = Isolated::new();
    let options = ["--where", "process.name=late-three"];
    let start = |program: PathBuf| isolated.recorder(&program);
    let recorder = Recorder::start_as(&folder.path().join("capture"), &options, start);
    let capture = recorder.folder().to_owned();
    let exclusive = ExclusiveProgram::attach(isolated.path());
    send_as("late-three", 9);
    let finished = recorder.wait();
    drop(exclusive);
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    let said = "somebody is wanted, and the programs that see packets can't be attached";
    assert!(finished.stderr.contains(said), "{}", finished.stderr);
    let segments = open(&capture);
    assert!(
        segments.iter().all(|segment| segment.state() == SegmentState::Sealed),
        "what was recorded stays"
    );
    assert_eq!(captures(&steps(&segments)), [Capture::Asleep]);
}

/// Name and capabilities of each thread.
fn threads(pid: u32) -> Vec<(String, u64)> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let statuses = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("status")).ok());
    let field = |status: &str, name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field of status");
        value.trim().to_owned()
    };
    let capabilities = |status: &str| u64::from_str_radix(&field(status, "CapPrm:"), 16).expect("a mask");
    statuses.map(|status| (field(&status, "Name:"), capabilities(&status))).collect()
}

#[test]
fn only_who_attaches_may_and_only_until_then() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let options = ["--where", "process.name=late-two", "-v"];
    let mut recorder = Recorder::start(&folder.path().join("capture"), &options);
    // Threads that looked into other namespaces while it started may live a little longer.
    wait_until("each thread to have what it needs", || {
        let threads = threads(recorder.pid());
        let (wakers, others): (Vec<_>, Vec<_>) =
            threads.into_iter().partition(|(name, _)| name == "kcap-waker");
        let is_confined = !wakers.is_empty()
            && wakers.iter().all(|(_, capabilities)| capabilities & !CAPABILITIES_TO_ATTACH == 0)
            && others.iter().all(|(_, capabilities)| capabilities & !CAP_BPF_MASK == 0);
        is_confined.then_some(())
    });
    send_as("late-two", 9);
    recorder.wait_for_stderr("awake: a process may be wanted");
    wait_until("those who attached to end", || {
        let threads = threads(recorder.pid());
        threads.iter().all(|(_, capabilities)| capabilities & !CAP_BPF_MASK == 0).then_some(())
    });
    recorder.stop();
}
