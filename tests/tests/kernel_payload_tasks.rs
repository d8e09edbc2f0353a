//! Payload tasks: whole packets of some, and headers of all others, in one recording.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

use kcap_format::proto::{FileInfo, LossProgram, PayloadTask};
use kcap_format::{BlockType, Direction, PacketColumns, Segment};
use kcap_tests::answer::{get, serve};
use kcap_tests::binary;
use kcap_tests::books::Books;
use kcap_tests::command::{Finished, run};
use kcap_tests::docker::Docker;
use kcap_tests::kcap::sql;
use kcap_tests::kernel;
use kcap_tests::recorder::{Recorder, segments};
use serde_json::json;

/// What senders send, and how often.
const PAYLOAD_LEN: u32 = 10_000;
const DATAGRAM_COUNT: usize = 20;
const UDP_HEADERS_LEN: u32 = 28;

/// A packet that left for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    payload_len: u32,
    wire_len: u32,
    tasks: u32,
}

/// Datagrams of [`PAYLOAD_LEN`] that were recorded in this way.
fn datagrams(payload_len: u32, tasks: u32) -> Vec<Sent> {
    vec![Sent { payload_len, wire_len: UDP_HEADERS_LEN + PAYLOAD_LEN, tasks }; DATAGRAM_COUNT]
}

/// A recording that is over.
struct Recorded {
    segments: Vec<Segment>,
}

impl Recorded {
    fn file(&self) -> &FileInfo {
        self.segments[0].file_info()
    }

    /// Packets that left for a port of IPv4, in their order.
    fn leaving_for(&self, port: u16) -> Vec<Sent> {
        let mut sent = Vec::new();
        for segment in &self.segments {
            for block in segment.blocks_of(BlockType::PACKETS) {
                let batch = segment.packets(block, PacketColumns::ALL).expect("a whole block of packets");
                for row in (0..batch.len).filter(|row| batch.direction[*row] == Direction::Egress as u8) {
                    if let Some([0x45, rest @ ..]) = batch.header.get(row)
                        && rest.get(21..23) == Some(&port.to_be_bytes()[..])
                    {
                        let (payload_len, wire_len) = (batch.payload_len[row], batch.wire_len[row]);
                        sent.push(Sent { payload_len, wire_len, tasks: batch.tasks[row] });
                    }
                }
            }
        }
        sent
    }

    /// Packets that a filter or a condition left out. All others are there or counted as lost.
    fn filtered(&self) -> u64 {
        let programs = [LossProgram::PacketEgress, LossProgram::PacketIngress];
        let books = programs.map(|program| Books::of(&self.segments, program));
        books.iter().for_each(Books::check_complete);
        assert_eq!(books.iter().map(Books::lost_total).sum::<u64>(), 0, "{books:?}");
        books.iter().map(|books| books.filtered).sum()
    }
}

/// Records with the tasks of a file while `action` makes traffic.
#[track_caller]
fn record(tasks: &str, options: &[&str], action: impl FnOnce()) -> Recorded {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("tasks.toml");
    fs::write(&file, tasks).expect("a file");
    let arguments = [&["--config", file.to_str().expect("its path")], options].concat();
    let recorder = Recorder::start(&folder.path().join("capture"), &arguments);
    action();
    let capture = recorder.folder().to_owned();
    recorder.stop();
    let open = |path: &PathBuf| Segment::open(path).expect("a whole segment");
    Recorded { segments: segments(&capture).iter().map(open).collect() }
}

/// Where senders send, and two senders under names of their own.
struct Senders {
    folder: tempfile::TempDir,
    receivers: [UdpSocket; 2],
}

impl Senders {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        for name in ["wanted-sender", "other-sender"] {
            fs::copy(binary::kcap_traffic(), folder.path().join(name)).expect("a program");
        }
        let receivers = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        Self { folder, receivers }
    }

    fn ports(&self) -> [u16; 2] {
        self.receivers.each_ref().map(|receiver| receiver.local_addr().expect("its address").port())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn send(&self, name: &str, port: u16) {
        let (address, count) = (format!("127.0.0.1:{port}"), DATAGRAM_COUNT.to_string());
        let mut command = Command::new(self.path(name));
        run(command.args(["flood", &address, &count, &PAYLOAD_LEN.to_string()])).success();
    }
}

const WANTED: &str = "[[payload]]\nname = 'wanted'\nconditions = ['process.name=wanted-sender']\n";

#[test]
fn whole_packets_of_one_process_and_headers_of_all_others() {
    if !kernel::available() {
        return;
    }
    let senders = Senders::new();
    let [first, second] = senders.ports();
    let recorded = record(&format!("{WANTED}meta = 'process.name+pod.min'\n"), &[], || {
        senders.send("wanted-sender", first);
        senders.send("other-sender", second);
    });
    assert_eq!(recorded.leaving_for(first), datagrams(PAYLOAD_LEN, 1));
    assert_eq!(recorded.leaving_for(second), datagrams(0, 0));
    assert_eq!(recorded.filtered(), 0);
    let told = recorded.file().recorder.as_ref().expect("who recorded");
    let task = PayloadTask {
        name: "wanted".to_owned(),
        conditions: vec!["process.name=wanted-sender".to_owned()],
        meta: "process.name+pod.min".to_owned(),
        ..PayloadTask::default()
    };
    assert_eq!(told.payload_tasks, [task]);
    assert_eq!(
        (told.options["payload"].as_str(), told.options["payload-tasks"].as_str()),
        ("none", "wanted")
    );
}

/// A filter makes a task smaller, and what it leaves out is recorded as anything else.
#[test]
fn a_filter_leaves_out_a_part_of_a_task() {
    if !kernel::available() {
        return;
    }
    let senders = Senders::new();
    let [first, second] = senders.ports();
    let tasks = format!("{WANTED}filter = 'udp and dst port {first}'\n");
    let recorded = record(&tasks, &["--payload", "100"], || {
        senders.send("wanted-sender", first);
        senders.send("wanted-sender", second);
        senders.send("other-sender", first);
    });
    assert_eq!(recorded.leaving_for(first), [datagrams(PAYLOAD_LEN, 1), datagrams(100, 0)].concat());
    assert_eq!(recorded.leaving_for(second), datagrams(100, 0));
    assert_eq!(recorded.filtered(), 0);
}

#[test]
fn without_payload_the_headers_name_the_task() {
    if !kernel::available() {
        return;
    }
    let senders = Senders::new();
    let [first, second] = senders.ports();
    let recorded = record(&format!("{WANTED}skip_payload = true\n"), &[], || {
        senders.send("wanted-sender", first);
        senders.send("other-sender", second);
    });
    assert_eq!(recorded.leaving_for(first), datagrams(0, 1));
    assert_eq!(recorded.leaving_for(second), datagrams(0, 0));
}

/// Tasks may want the same packets; `--where` and `--filter` say what of the rest is recorded, and the limit on flows is
/// for the rest too.
#[test]
fn tasks_are_recorded_whatever_the_rest_is() {
    if !kernel::available() {
        return;
    }
    let senders = Senders::new();
    let [first, second] = senders.ports();
    let path = senders.path("wanted-sender");
    let by_path = format!("[[payload]]\nname = 'by path'\nconditions = ['process.exe={}']\n", path.display());
    let tasks = format!("{WANTED}filter = 'dst port {first}'\n{by_path}");
    let both = || {
        senders.send("wanted-sender", first);
        senders.send("wanted-sender", second);
        senders.send("other-sender", second);
    };
    let nobody = ["--where", "user.id=4294967294"];
    for rest in [&nobody[..], &["--filter", "tcp and less 1"]] {
        let recorded = record(&tasks, rest, both);
        assert_eq!(recorded.leaving_for(first), datagrams(PAYLOAD_LEN, 3), "{rest:?}");
        assert_eq!(recorded.leaving_for(second), datagrams(PAYLOAD_LEN, 2), "{rest:?}");
        assert!(recorded.filtered() >= DATAGRAM_COUNT as u64, "{rest:?}");
    }
    let recorded = record(&tasks, &["--payload-per-flow", "15000"], both);
    assert_eq!(recorded.leaving_for(first), datagrams(PAYLOAD_LEN, 3));
    let rest: Vec<u32> = recorded.leaving_for(second).iter().map(|sent| sent.payload_len).collect();
    let expected = [&[PAYLOAD_LEN; DATAGRAM_COUNT][..], &[10_000, 5_000], &[0; DATAGRAM_COUNT - 2]].concat();
    assert_eq!(rest, expected);
}

/// Names of containers are known after their first packets, which wait until then: with their payload if it was wanted.
#[test]
fn a_container_that_starts_later_is_known_from_its_first_packet() {
    if !kernel::available() {
        return;
    }
    let docker = Docker::start();
    let socket = docker.socket();
    let (wanted, other) = (serve(), serve());
    let tasks = "[[payload]]\nname = 'front'\nconditions = ['container.name=front']\n";
    let recorded = record(tasks, &["--docker-socket", &socket], || {
        docker.run(&["--rm", "--name", "back"], &get(other));
        docker.run(&["--rm", "--name", "front"], &get(wanted));
        // What waited for a decision is decided.
        thread::sleep(Duration::from_secs(1));
    });
    let bytes = |sent: &[Sent]| -> (u32, u32) {
        let headers = |sent: &Sent| sent.wire_len - sent.payload_len;
        (sent.iter().map(|sent| sent.payload_len).sum(), sent.iter().map(headers).sum())
    };
    let (front, back) = (recorded.leaving_for(wanted), recorded.leaving_for(other));
    assert!(front.len() >= 5 && back.len() >= 5, "{front:?} {back:?}");
    assert!(front.iter().all(|sent| sent.tasks == 1), "{front:?}");
    assert!(back.iter().all(|sent| sent.tasks == 0 && sent.payload_len == 0), "{back:?}");
    assert!(bytes(&front).0 > "GET / HTTP/1.1".len() as u32, "{front:?}");
    assert_eq!(recorded.filtered(), 0);
}

/// Of a packet between two processes of the host, SQL has what either was recorded with.
#[test]
fn what_only_the_receiver_is_recorded_with_is_found_by_sql() {
    if !kernel::available() {
        return;
    }
    let senders = Senders::new();
    let [port, _] = senders.ports();
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("tasks.toml");
    let own = process::id();
    let task = format!("[[payload]]\nname = 'receiver'\nconditions = ['process.pid={own}']\n");
    fs::write(&file, task).expect("a file");
    let recorder =
        Recorder::start(&folder.path().join("capture"), &["--config", file.to_str().expect("its path")]);
    senders.send("other-sender", port);
    let capture = recorder.folder().to_owned();
    recorder.stop();
    let len = UDP_HEADERS_LEN + PAYLOAD_LEN;
    let query = format!(
        "SELECT src_process_name AS name, payload_tasks AS tasks, count(*) AS packets FROM packets \
         WHERE dst_port = {port} AND cap_len = {len} AND length(hex(payload)) = 2 * {PAYLOAD_LEN} GROUP BY 1, 2"
    );
    let expected = json!({"name": "other-sender", "tasks": ["receiver"], "packets": DATAGRAM_COUNT});
    assert_eq!(sql(&capture, &query), [expected]);
}

#[test]
fn wrong_files_are_told_in_a_line() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let record = |text: &str, more: &[&str]| -> Finished {
        let file = folder.path().join("tasks.toml");
        fs::write(&file, text).expect("a file");
        let mut command = Command::new(binary::kcap_record());
        run(command.args(["run", "-o", "/nonexistent/capture", "--config"]).arg(&file).args(more))
    };
    for (text, more, expected) in [
        ("[[payload]]\nname = 'a'\n", &[][..], "line 1: payload.conditions: task 'a' has no condition"),
        ("[[payload]]\nnmae = 'a'\n", &[], "line 2: there is no key 'payload.nmae'; did you mean 'name'?"),
        ("[[payload]\n", &[], "line 1: "),
        (WANTED, &["--snaplen", "headers"], "--snaplen headers keeps no payload"),
    ] {
        let refused = record(text, more);
        assert_eq!(refused.status.code(), Some(2), "{text}: {}", refused.stderr);
        assert!(refused.stderr.contains(expected), "{text}: {}", refused.stderr);
    }
    let mut command = Command::new(binary::kcap_record());
    let nowhere = run(command.args(["run", "-o", "/nonexistent/capture", "--config", "/no/such/file.toml"]));
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(nowhere.stderr.contains("/no/such/file.toml"), "{}", nowhere.stderr);
    assert!(!Path::new("/nonexistent").exists());
}
