//! Containers of a real Docker daemon: each packet carries its container, whenever that started and however long it lived.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use kcap_format::Segment;
use kcap_tests::answer::{get, serve};
use kcap_tests::command::wait_until;
use kcap_tests::containers::{Owners, carried, leaving_for};
use kcap_tests::docker::{Docker, IMAGE};
use kcap_tests::kernel;
use kcap_tests::recorder::{Recorder, segments};
use serde_json::{Value, json};

fn open(folder: &Path) -> Vec<Segment> {
    segments(folder).iter().map(|path| Segment::open(path).expect("a whole segment")).collect()
}

/// Waits until a segment on disk tells of something.
#[track_caller]
fn wait_for(what: &str, folder: &Path, told: impl Fn(&Owners) -> bool) {
    wait_until(what, || told(&Owners::of(&open(folder))).then_some(()));
}

#[test]
fn each_packet_carries_its_container() {
    if !kernel::available() {
        return;
    }
    let docker = Docker::start();
    let (old_port, new_port, short_port, host_port) = (serve(), serve(), serve(), serve());
    let every_moment = |port| format!("while :; do {}; sleep 0.2; done", get(port));
    let old = docker.run(&["-d", "--name", "old", "--label", "age=old"], &every_moment(old_port));
    let folder = tempfile::tempdir().expect("a scratch folder");
    let capture = folder.path().join("capture");
    let recorder = Recorder::start(&capture, &["--docker-socket", &docker.socket(), "--segment-time", "3s"]);
    let new = docker
        .run(&["-d", "--name", "new", "--label", "age=new", "--label", "empty="], &every_moment(new_port));
    // No longer than it takes.
    docker.run(&["--rm", "--name", "short", "--label", "age=short"], &get(short_port));
    let answer = std::net::TcpStream::connect(("127.0.0.1", host_port)).expect("a connection");
    drop(answer);
    thread::sleep(Duration::from_secs(4));
    let created = docker.inspect("new", "{{.Created}}");
    let image_id = docker.inspect("new", "{{.Image}}");
    docker.remove("new");
    wait_for("the end of the container", &capture, |owners| {
        owners.named("new").is_some_and(|container| container.gone_ns > 0)
    });
    recorder.stop();

    let segments = open(&capture);
    assert!(segments.len() > 1, "there are several segments");
    let owners = Owners::of(&segments);
    for (port, name) in [(old_port, "old"), (new_port, "new"), (short_port, "short"), (host_port, "")] {
        let packets = leaving_for(&segments, port);
        assert!(!packets.is_empty(), "{name} has packets");
        for cookie in &packets {
            assert_eq!(owners.container_name(*cookie), name, "socket {cookie}");
        }
        let carried = carried(&capture, port);
        let [all] = &carried[..] else { panic!("{name}: not all packets carry the same: {carried:?}") };
        assert_eq!(all["packets"], packets.len());
        if name.is_empty() {
            assert_eq!((&all["container_id"], &all["container_name"]), (&Value::Null, &Value::Null));
            continue;
        }
        let container = owners.named(name).expect("it was told of");
        assert_eq!((&all["container_id"], &all["container_name"]), (&json!(container.id), &json!(name)));
        assert_eq!((&all["image"], &all["runtime"]), (&json!(IMAGE), &json!("docker")));
        assert_eq!(all["labels"]["age"], name);
        assert_eq!(all["pod_name"], Value::Null);
    }
    let container = owners.container(&new).expect("the container by its id");
    assert_eq!((container.name.as_str(), container.runtime.as_str()), ("new", "docker"));
    assert_eq!((container.image.as_str(), &container.image_id), (IMAGE, &image_id));
    assert_eq!(container.labels.get("age").map(String::as_str), Some("new"));
    assert_eq!(container.labels.get("empty").map(String::as_str), Some(""));
    assert!(container.cgroup_id > 0 && container.cgroup_path.ends_with(new.as_bytes()));
    assert!(container.created_realtime_ns > 0, "created {created}");
    let fraction = created.trim_end_matches('Z').rsplit('.').next().expect("a fraction").to_owned();
    let nanoseconds: u64 = format!("{fraction:0<9}").parse().expect("digits");
    assert_eq!(container.created_realtime_ns % 1_000_000_000, nanoseconds);
    let short = owners.named("short").expect("it was told of");
    assert_eq!(short.labels.get("age").map(String::as_str), Some("short"));
    assert_eq!((short.image.as_str(), short.gone_ns > 0), (IMAGE, true));

    // Each segment can be read alone.
    let last = &segments[segments.len() - 1..];
    let alone = Owners::of(last);
    assert_eq!(alone.container(&old).map(|container| container.name.as_str()), Some("old"));
    for cookie in leaving_for(last, old_port) {
        assert_eq!(alone.container_name(cookie), "old");
    }
}

#[test]
fn without_a_runtime_there_are_ids() {
    if !kernel::available() {
        return;
    }
    let docker = Docker::start();
    let port = serve();
    let folder = tempfile::tempdir().expect("a scratch folder");
    let capture = folder.path().join("capture");
    let recorder = Recorder::start(&capture, &["--docker-socket", "none", "--cri-socket", "none"]);
    let id = docker.run(&["-d"], &format!("{}; sleep 60", get(port)));
    wait_for("the container", &capture, |owners| owners.container(&id).is_some());
    recorder.stop();
    let owners = Owners::of(&open(&capture));
    let container = owners.container(&id).expect("waited for");
    assert_eq!((container.name.as_str(), container.runtime.as_str()), ("", "docker"));
    assert!(container.cgroup_id > 0);
}

/// Sockets that never answer, that answer nonsense, and that never stop: recording begins, goes on and ends.
#[test]
fn runtimes_that_hang_or_lie_are_not_in_the_way() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    for (name, answer) in [
        ("hangs", &b""[..]),
        ("lies", b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 9\r\n\r\n{\"a\":[1}]"),
        ("babbles", b"no http at all\r\n\r\n"),
        (
            "floods",
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n",
        ),
    ] {
        let socket = folder.path().join(name);
        let listener = UnixListener::bind(&socket).expect("a socket");
        thread::spawn(move || {
            let mut held = Vec::new();
            for mut connection in listener.incoming().flatten() {
                if name == "floods" {
                    thread::spawn(move || {
                        let _ = connection.write_all(answer);
                        while connection.write_all(&[b'['; 1 << 16]).is_ok() {}
                    });
                } else {
                    let _ = connection.write_all(answer);
                    held.push(connection);
                }
            }
        });
        let socket = socket.to_string_lossy().into_owned();
        let port = serve();
        let capture = folder.path().join(format!("capture-{name}"));
        let recorder = Recorder::start(&capture, &["--docker-socket", &socket, "--cri-socket", &socket]);
        let mut connection = std::net::TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        connection.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("a request");
        thread::sleep(Duration::from_secs(2));
        let status = std::fs::read_to_string(format!("/proc/{}/status", recorder.pid())).expect("its status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak memory");
        let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(peak_kib < 512 << 10, "{name}: {peak_kib} KiB");
        recorder.stop();
        assert!(!leaving_for(&open(&capture), port).is_empty(), "{name}");
    }
}

/// One that is removed while the recorder looks, and one that nobody was ever in.
#[test]
fn a_cgroup_that_vanishes_is_told_of() {
    if !kernel::available() {
        return;
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mounts");
    let hierarchy = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let hierarchy =
        hierarchy.into_iter().find(|fields| fields[2] == "cgroup2").expect("cgroup2")[1].to_owned();
    let parent = Path::new(&hierarchy).join(format!("kcap-vanish-{}", std::process::id()));
    std::fs::create_dir(&parent).expect("a cgroup");
    let folder = tempfile::tempdir().expect("a scratch folder");
    let capture = folder.path().join("capture");
    let id = |number: u32| format!("{number:064x}");
    let churn = |from: u32| {
        for number in from..from + 200 {
            let cgroup = parent.join(id(number));
            std::fs::create_dir(&cgroup).expect("a cgroup");
            std::fs::remove_dir(&cgroup).expect("an empty cgroup");
        }
    };
    let before = thread::scope(|scope| {
        let churning = scope.spawn(|| churn(0));
        let recorder = Recorder::start(&capture, &[]);
        churning.join().expect("cgroups");
        recorder
    });
    churn(1000);
    wait_for("the last one", &capture, |owners| {
        owners.container(&id(1199)).is_some_and(|container| container.gone_ns > 0)
    });
    before.stop();
    std::fs::remove_dir(&parent).expect("an empty cgroup");
    let owners = Owners::of(&open(&capture));
    for number in 1000..1200 {
        let container = owners.container(&id(number)).expect("made while recording");
        assert!(container.gone_ns > 0 && container.cgroup_id > 0, "{container:?}");
    }
}
