//! `--where`: what is asked for is recorded from its first packet, and nothing else.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use kcap_format::Segment;
use kcap_format::proto::LossProgram;
use kcap_tests::answer::{get, serve};
use kcap_tests::books::Books;
use kcap_tests::command::{COMMAND_TIME_MAX, Running, run, wait_until};
use kcap_tests::containers::leaving_for;
use kcap_tests::docker::Docker;
use kcap_tests::kernel;
use kcap_tests::recorder::{Recorder, segments};

/// Packets that a client sends at least: SYN, ACK, request, and the two that end it.
const PACKETS_MIN: usize = 5;

fn open(folder: &Path) -> Vec<Segment> {
    segments(folder).iter().map(|path| Segment::open(path).expect("a whole segment")).collect()
}

/// Records with conditions while `action` makes traffic to a wanted and to another port, which it is given.
#[track_caller]
fn check(conditions: &[&str], options: &[&str], action: impl FnOnce(u16, u16)) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (wanted, other) = (serve(), serve());
    let mut arguments: Vec<&str> = conditions.iter().flat_map(|condition| ["--where", condition]).collect();
    arguments.extend(options);
    let recorder = Recorder::start(&folder.path().join("capture"), &arguments);
    action(wanted, other);
    let capture = recorder.folder().to_owned();
    recorder.stop();
    let segments = open(&capture);
    let found = leaving_for(&segments, wanted).len();
    assert!(found >= PACKETS_MIN, "{conditions:?}: {found} packets of the wanted");
    assert_eq!(leaving_for(&segments, other).len(), 0, "{conditions:?}: packets of others");
    for program in [LossProgram::PacketEgress, LossProgram::PacketIngress] {
        let books = Books::of(&segments, program);
        books.check_complete();
        assert!(books.filtered > 0, "{conditions:?}: {books:?}");
    }
}

/// A program of its own that asks a web server: busybox under another name.
fn client(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    fs::copy("/usr/bin/busybox", &path).expect("busybox-static is installed");
    path
}

fn ask(program: &Path, port: u16) -> Command {
    let mut command = Command::new(program);
    command.arg0("wget").args(["-q", "-O", "/dev/null", &format!("http://127.0.0.1:{port}/")]);
    command
}

#[test]
fn by_name_and_executable() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (wanted, other) = (client(folder.path(), "wanted-client"), client(folder.path(), "other-client"));
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&wanted, &link).expect("a link");
    let both = |first: &Path, ports: (u16, u16)| {
        run(&mut ask(&other, ports.1)).success();
        run(&mut ask(first, ports.0)).success();
    };
    let by_path = format!("process.exe={}", wanted.display());
    check(&["process.name=wanted-client"], &[], |port, others| both(&wanted, (port, others)));
    check(&[&by_path], &[], |port, others| both(&wanted, (port, others)));
    check(&[&by_path], &[], |port, others| both(&link, (port, others)));
    check(&["process.name=nobody", "process.name=wanted-client", &by_path], &[], |port, others| {
        both(&wanted, (port, others));
        // One of both conditions isn't enough.
        let impostor = folder.path().join("elsewhere");
        fs::create_dir(&impostor).expect("a folder");
        run(&mut ask(&client(&impostor, "wanted-client"), others)).success();
    });
}

#[test]
fn by_user() {
    if !kernel::available() {
        return;
    }
    check(&["user.id=4711"], &[], |wanted, other| {
        run(&mut ask(Path::new("/usr/bin/busybox"), other)).success();
        run(ask(Path::new("/usr/bin/busybox"), wanted).uid(4711).gid(4711)).success();
    });
}

/// A process older than the recorder, by its number: itself after exec, and its children only if that is asked for.
#[test]
fn by_process_and_its_children() {
    if !kernel::available() {
        return;
    }
    for follow in [false, true] {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let script = r#"while [ ! -s "$0/go" ]; do sleep 0.05; done; . "$0/go""#;
        let mut command = Command::new("busybox");
        command.args(["sh", "-c", script]).arg(folder.path());
        let shell = Running::start(&mut command);
        let pid = format!("process.pid={}", shell.pid());
        let options: &[&str] = if follow { &["--follow-children"] } else { &[] };
        check(&[&pid], options, |wanted, other| {
            run(&mut ask(Path::new("/usr/bin/busybox"), other)).success();
            let by = |port| format!("busybox wget -q -O /dev/null http://127.0.0.1:{port}/");
            // In the end the shell itself becomes the client.
            let child = by(if follow { wanted } else { other });
            let go = format!("{child}; (sh -c '{child}; true'); exec {}", by(wanted));
            fs::write(folder.path().join("go.new"), go).expect("a script");
            fs::rename(folder.path().join("go.new"), folder.path().join("go")).expect("in place");
            shell.wait(Duration::from_secs(60)).success();
        });
    }
}

/// A server whose workers accept as another user: its connections are recorded from the first packet.
#[test]
fn sockets_older_than_the_recorder_are_known() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let program = client(folder.path(), "old-client");
    let port = serve();
    let mut command = Command::new(&program);
    let script = format!("nc 127.0.0.1 {port} < {}", folder.path().join("pipe").display());
    run(Command::new("mkfifo").arg(folder.path().join("pipe"))).success();
    let running = Running::start(command.arg0("sh").args(["-c", &format!("exec {script}")]));
    let mut pipe = None;
    wait_until("the pipe's reader", || {
        pipe = fs::OpenOptions::new().write(true).open(folder.path().join("pipe")).ok();
        pipe.is_some().then_some(())
    });
    let connected = |port: u16| {
        let sockets = fs::read_to_string("/proc/net/tcp").expect("the sockets");
        let remote = format!("0100007F:{port:04X} 01");
        sockets.lines().any(|line| line.contains(&remote)).then_some(())
    };
    wait_until("the connection", || connected(port));
    let name = fs::read_to_string(format!("/proc/{}/comm", running.pid())).expect("its name");
    let condition = format!("process.name={}", name.trim());
    let capture = folder.path().join("capture");
    let recorder = Recorder::start(&capture, &["--where", &condition]);
    use std::io::Write;
    pipe.take().expect("open").write_all(b"GET / HTTP/1.0\r\n\r\n").expect("a request");
    running.wait(Duration::from_secs(60));
    recorder.stop();
    let found = leaving_for(&open(&capture), port).len();
    assert!(found > 1, "{found} packets of a connection older than the recorder");
}

/// A socket that only a process nobody asked for had used comes to one that was asked for. What its storage remembered of the
/// first one counted for the other too, whose packets were filtered for as long as nothing else changed.
#[test]
fn a_socket_that_is_inherited_from_others_counts_from_its_first_use() {
    if !kernel::available() {
        return;
    }
    const DATAGRAM_COUNT: usize = 5;
    const SCRIPT: &str = r#"
        exec 3<> "/dev/udp/127.0.0.1/$1"
        printf other >&3
        (
            printf heir > "/proc/$BASHPID/comm"
            : > "$2/named"
            until [ -e "$2/asked" ]; do sleep 0.05; done
            read -r -N 1 <&3
            for ((i = 0; i < $3; i++)); do printf heir >&3; done
        ) &
        wait
    "#;
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = receiver.local_addr().expect("its address").port();
    let folder = tempfile::tempdir().expect("a scratch folder");
    let capture = folder.path().join("capture");
    let recorder = Recorder::start(&capture, &["--where", "process.name=heir"]);
    let mut bash = Command::new("bash");
    bash.args(["-c", SCRIPT, "bash", &port.to_string()]).arg(folder.path());
    let bash = Running::start(bash.arg(DATAGRAM_COUNT.to_string()));
    let (_, sender) = receiver.recv_from(&mut [0; 8]).expect("what the first process sends");
    wait_until("the second process", || folder.path().join("named").exists().then_some(()));
    // The verdict on what arrives is that of the first process, and newer than the name of the second.
    receiver.send_to(b"?", sender).expect("a datagram");
    fs::write(folder.path().join("asked"), "").expect("a file");
    bash.wait(COMMAND_TIME_MAX).success();
    recorder.stop();
    assert_eq!(leaving_for(&open(&capture), port).len(), DATAGRAM_COUNT);
}

#[test]
fn by_container() {
    if !kernel::available() {
        return;
    }
    let docker = Docker::start();
    let socket = docker.socket();
    let options = ["--docker-socket", socket.as_str()];
    let run_both = |wanted: u16, other: u16| {
        docker.run(&["--rm", "--name", "back", "--label", "tier=db"], &get(other));
        docker.run(&["--rm", "--name", "front", "--label", "tier=web"], &get(wanted));
        run(&mut ask(Path::new("/usr/bin/busybox"), other)).success();
        // What waited for a decision is decided.
        thread::sleep(Duration::from_secs(1));
    };
    for conditions in [
        &["container.name=front"][..],
        &["container.label=tier=web"],
        &["container.label=tier", "container.name=front"],
        &["container.name=front", "container.name=side", "process.name=wget", "user.id=0"],
    ] {
        check(conditions, &options, run_both);
    }
    // By its id, of one that is older than the recorder.
    let old = docker.run(&["-d", "--name", "old"], "while [ ! -s /go ]; do sleep 0.1; done; . /go; sleep 60");
    let short = format!("container.id={}", &old[..12]);
    check(&[&short], &options, |wanted, other| {
        docker.run(&["--rm"], &get(other));
        docker.exec("old", &format!("echo '{}' > /go", get(wanted)));
        docker.exec("old", &get(wanted));
        thread::sleep(Duration::from_secs(1));
    });
}

#[test]
fn wrong_conditions_are_told_in_a_line() {
    let record = |condition: &str| {
        let mut command = Command::new(kcap_tests::binary::kcap_record());
        run(command.args(["run", "-o", "/nonexistent/capture", "--where", condition]))
    };
    for (condition, wanted) in [
        ("process.nmae=x", "did you mean 'process.name'?"),
        ("color=red", "container.label"),
        ("user.id=root", "id -u"),
        ("container.name", "KEY=VALUE"),
    ] {
        let refused = record(condition);
        assert_eq!(refused.status.code(), Some(2), "{condition}");
        assert!(refused.stderr.contains(wanted), "{condition}: {}", refused.stderr);
    }
}
