//! `--interface any`: also interfaces that come after the recorder.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use kcap_format::proto::event;
use kcap_format::{BlockType, Capture, PacketColumns};
use kcap_tests::command::{COMMAND_TIME_MAX, Running, run, wait_until};
use kcap_tests::complaint::{self, FAILURE};
use kcap_tests::kcap::sql;
use kcap_tests::kernel;
use kcap_tests::namespace::Namespace;
use kcap_tests::recorder::Recorder;
use serde_json::json;

const LINK_TYPE_ETHERNET: u16 = 1;

/// Frames of an interface that hold the bytes, by direction.
fn frames_with(folder: &Path, index: u32, bytes: &[u8]) -> [usize; 2] {
    let capture = Capture::open(folder).expect("a capture");
    let mut counts = [0; 2];
    for segment in &capture.segments {
        for block in segment.blocks_of(BlockType::PACKETS) {
            let batch = segment.packets(block, PacketColumns::ALL).expect("packets");
            for row in 0..batch.len {
                let payload = batch.payload.get(row).unwrap_or_default();
                let has_bytes = payload.windows(bytes.len()).any(|window| window == bytes);
                if batch.interface_index[row] == index && has_bytes {
                    assert_eq!(batch.link_type[row], LINK_TYPE_ETHERNET);
                    counts[usize::from(batch.direction[row]) - 1] += 1;
                }
            }
        }
    }
    counts
}

#[test]
fn an_interface_that_comes_later_is_recorded() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let capture = folder.path().join("capture");
    let mut recorder = Recorder::start(&capture, &["--interface", "any", "-v"]);
    let space = Namespace::new();
    recorder.wait_for_stderr(&space.interface);
    let index = std::fs::read_to_string(format!("/sys/class/net/{}/ifindex", space.interface));
    let index: u32 = index.expect("an index").trim().parse().expect("a number");
    let text = "frames of an interface that came later";
    let sender = std::net::UdpSocket::bind((space.near(false), 0)).expect("a socket");
    // Nobody listens there: the answer is the kernel's, and quotes what it answers.
    wait_until("both directions to be recorded", || {
        sender.send_to(text.as_bytes(), (space.far(false), 9)).ok();
        std::thread::sleep(std::time::Duration::from_millis(300));
        let counts = frames_with(&capture, index, text.as_bytes());
        (counts.iter().all(|count| *count > 0)).then_some(())
    });
    recorder.stop();
    let capture = Capture::open(&capture).expect("a capture");
    let is_told = capture.segments.iter().any(|segment| {
        let blocks = segment.blocks_of(BlockType::SNAPSHOT);
        let mut events = blocks.flat_map(|block| segment.events(block).expect("events"));
        events.any(|event| {
            matches!(event.event, Some(event::Event::Interface(info)) if info.name == space.interface.as_bytes())
        })
    });
    assert!(is_told, "the interface is described in the recording");
}

#[test]
fn an_interface_that_goes_is_told_of_and_recorded_again_when_it_comes_back() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let space = Namespace::new();
    let mut recorder = Recorder::start(folder.path(), &["--interface", &space.interface, "-v"]);
    let ip = |arguments: &[&str]| run(Command::new("ip").args(arguments)).success();
    ip(&["link", "del", &space.interface]);
    recorder.wait_for_stderr("is gone");
    ip(&["link", "add", &space.interface, "type", "bridge"]);
    ip(&["link", "set", &space.interface, "up"]);
    recorder.wait_for_stderr(&format!("recording interface=\"{}\"", space.interface));
    let said = recorder.stop();
    ip(&["link", "del", &space.interface]);
    assert!(said.stderr.contains("recorded "), "{}", said.stderr);
}

/// What a socket here sends and receives has its owner: when it leaves, by the socket; when it arrives, by addresses and ports.
#[test]
fn frames_of_local_sockets_have_their_owners() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let space = Namespace::new();
    let near = space.near(false);
    // One socket is older than the recorder, the other younger.
    let older = UdpSocket::bind((near, 0)).expect("a socket");
    let capture = folder.path().join("capture");
    let recorder = Recorder::start(&capture, &["--interface", &space.interface]);
    let younger = UdpSocket::bind((near, 0)).expect("a socket");
    let ports = [&older, &younger].map(|socket| socket.local_addr().expect("its address").port());
    for (socket, port) in [&older, &younger].into_iter().zip(ports) {
        let ask = format!("exec 3<>/dev/udp/{near}/{port}; echo question >&3; read -r -t 30 -N 1 <&3");
        let asking = Running::start(space.command("bash").args(["-c", &ask]));
        let mut question = [0; 16];
        let (len, sender) = socket.recv_from(&mut question).expect("a question");
        assert_eq!(&question[..len], b"question\n");
        socket.send_to(b"answer\n", sender).expect("an answer");
        asking.wait(COMMAND_TIME_MAX).success();
    }
    recorder.stop();
    let own = std::process::id();
    for port in ports {
        let found = |filter: &str| {
            let query = format!(
                "SELECT pid, src_process_name AS sender, attribution AS by FROM packets WHERE {filter}"
            );
            sql(&capture, &query)
        };
        let arriving = found(&format!("direction = 'ingress' AND dst_port = {port}"));
        assert_eq!(arriving, [json!({"pid": own, "sender": "bash", "by": "tuple"})], "{port}");
        let leaving = found(&format!("direction = 'egress' AND src_port = {port} AND pid = {own}"));
        assert_eq!(leaving.len(), 1, "{port}: {leaving:?}");
        assert!(["cookie", "proc_scan"].map(Some).contains(&leaving[0]["by"].as_str()), "{leaving:?}");
    }
}

#[test]
fn frames_have_no_owner_to_choose_by() {
    let finished = complaint::record(&["run", "-o", "x", "--interface", "lo", "--where", "user.id=0"]);
    complaint::assert_says(&finished, complaint::USAGE, "--where");
    let finished = complaint::record(&["run", "-o", "x", "--filter", "vlan 5"]);
    complaint::assert_says(&finished, complaint::USAGE, "--interface");
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let mut command = Command::new(kcap_tests::binary::kcap_record());
    command.arg("run").arg("-o").arg(folder.path()).args(["--interface", "nosuch0"]);
    let finished = run(&mut command);
    complaint::assert_says(&finished, FAILURE, "nosuch0");
}
