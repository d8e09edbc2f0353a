//! Recordings with payload tasks: what one end of a packet was recorded for is known of the packet, whichever copy has it.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use kcap_format::proto::{self, event::Event as Kind, socket_event::Kind as SocketKind};
use kcap_format::{Direction, PacketBatch, PacketRow};
use support::{
    CURL, CURL_COOKIE, DNS_COOKIE, HOST, LOOPBACK, NGINX, NGINX_COOKIE, RESOLVER, Recorder, START_NS, event,
    exec, process, row, socket, tcp, udp,
};

/// Bits of the tasks.
const WEB: u32 = 1;
const QUIET: u32 = 2;
/// A task that the segments don't name.
const NAMELESS: u32 = 1 << 30;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// Bytes of a second request, which arrives in pieces.
const PIECES: [usize; 3] = [100, 100, 40];

fn kcap(arguments: &[&str], source: &Path) -> Output {
    let (command, rest) = arguments.split_first().expect("a command");
    Command::new(env!("CARGO_BIN_EXE_kcap"))
        .arg(command)
        .args(rest)
        .arg(source)
        .arg("-")
        .output()
        .expect("kcap")
}

fn query(source: &Path, options: &[&str], sql: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
    let output = command.args(["sql", "--format", "ndjson", "-c", sql]).args(options).arg(source).output();
    let output = output.expect("kcap runs");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("JSON is UTF-8").trim_end().to_owned()
}

fn documents(source: &Path, options: &[&str]) -> Vec<serde_json::Value> {
    let output = kcap(&[&["convert", "--to", "payload"], options].concat(), source);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a document")).collect()
}

fn second_request() -> Vec<u8> {
    (b'a'..=b'z').cycle().take(PIECES.iter().sum()).collect()
}

/// curl, of which headers are recorded, asks nginx, of which a task wants all. A resolver's client is recorded by a task
/// without payload, and what nobody asked for goes to port 9.
fn recording() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let task = |name: &str, skip_payload, meta: &str| proto::PayloadTask {
        name: name.to_owned(),
        conditions: vec![format!("process.name={name}")],
        skip_payload,
        meta: meta.to_owned(),
        ..proto::PayloadTask::default()
    };
    let mut recorder = Recorder::new(folder.path());
    recorder.payload_tasks = vec![task("web", false, ""), task("quiet", true, "process.name")];
    let mut first = recorder.segment();
    first.events(&[
        exec(START_NS, process(CURL, "curl", &["curl"])),
        exec(START_NS, process(NGINX, "nginx", &["nginx"])),
        socket(START_NS, SocketKind::Create, CURL_COOKIE, CURL, "curl"),
        socket(START_NS, SocketKind::Receive, NGINX_COOKIE, NGINX, "nginx"),
        socket(START_NS, SocketKind::Create, DNS_COOKIE, CURL, "curl"),
    ]);
    let (client, server) = ((LOOPBACK, 40000), (LOOPBACK, 80));
    // Further apart than what a partition takes to warm up.
    let ms = |milliseconds: u64| START_NS + milliseconds * 1_000_000;
    let of = |tasks, row| PacketRow { tasks, ..row };

    let mut batch = PacketBatch::default();
    for (time_ns, from_client, flags, sequence) in [(ms(0), true, 0x02, 1000), (ms(20), false, 0x12, 5000)] {
        let (sender, receiver) = if from_client { (client, server) } else { (server, client) };
        let cookies = if from_client { [CURL_COOKIE, NGINX_COOKIE] } else { [NGINX_COOKIE, CURL_COOKIE] };
        let tasks = if from_client { [0, WEB] } else { [WEB, 0] };
        let header = tcp(sender, receiver, 1, sequence, flags, 0);
        batch.push(&of(tasks[0], row(time_ns, Direction::Egress, cookies[0], 40)), &header, b"");
        batch.push(&of(tasks[1], row(time_ns + 5000, Direction::Ingress, cookies[1], 40)), &header, b"");
    }
    let request = tcp(client, server, 2, 1001, 0x18, REQUEST.len());
    let len = request.len() + REQUEST.len();
    batch.push(&row(ms(40), Direction::Egress, CURL_COOKIE, len), &request, b"");
    batch.push(&of(WEB, row(ms(45), Direction::Ingress, NGINX_COOKIE, len)), &request, REQUEST);
    let response = tcp(server, client, 3, 5001, 0x18, RESPONSE.len());
    let len = response.len() + RESPONSE.len();
    batch.push(&of(WEB, row(ms(60), Direction::Egress, NGINX_COOKIE, len)), &response, RESPONSE);
    batch.push(&row(ms(65), Direction::Ingress, CURL_COOKIE, len), &response, b"");

    // What leaves at once arrives in pieces: one in the same block, the others in the next segment.
    let all = second_request();
    let sent = tcp(client, server, 10, 1001 + REQUEST.len() as u32, 0x18, all.len());
    let row_of_sent = row(ms(80), Direction::Egress, CURL_COOKIE, sent.len() + all.len());
    batch.push(
        &PacketRow { gso_size: PIECES[0] as u16, gso_segments: PIECES.len() as u16, ..row_of_sent },
        &sent,
        b"",
    );
    let mut later = PacketBatch::default();
    let mut offset = 0;
    for (number, len) in PIECES.into_iter().enumerate() {
        let sequence = 1001 + (REQUEST.len() + offset) as u32;
        let header = tcp(client, server, 10 + number as u16, sequence, 0x18, len);
        let arrived = row(ms(85 + number as u64), Direction::Ingress, NGINX_COOKIE, header.len() + len);
        let batch = if number == 0 { &mut batch } else { &mut later };
        batch.push(&of(WEB, arrived), &header, &all[offset..offset + len]);
        offset += len;
    }
    first.packets(&batch);
    first.seal();

    let mut second = recorder.segment();
    let enumerated = proto::ProcessEnumerate { process: Some(process(CURL, "curl", &["curl"])) };
    let mut alive = [
        event(ms(90), Kind::Enumerate(enumerated)),
        socket(ms(90), SocketKind::Create, DNS_COOKIE, CURL, "curl"),
    ];
    alive.iter_mut().for_each(|event| event.snapshot = true);
    second.snapshot(&alive);
    let question = udp((HOST, 5353), (RESOLVER, 53), 1, 30);
    later.push(&of(QUIET, row(ms(100), Direction::Egress, DNS_COOKIE, 58)), &question, b"");
    let other = udp((HOST, 5353), (RESOLVER, 9), 2, 30);
    later.push(&row(ms(110), Direction::Egress, DNS_COOKIE, 58), &other, b"");
    let named = udp((HOST, 5353), (RESOLVER, 10), 3, 4);
    later.push(&of(NAMELESS | QUIET, row(ms(120), Direction::Egress, DNS_COOKIE, 32)), &named, b"none");
    second.packets(&later);
    second.seal();
    folder
}

#[test]
fn packets_name_the_tasks_of_both_ends() {
    let folder = recording();
    let tasks = "SELECT dst_port AS p, payload_tasks AS t FROM packets WHERE ip_proto = 17 ORDER BY ts";
    let expected = "{\"p\":53,\"t\":[\"quiet\"]}\n{\"p\":9}\n{\"p\":10,\"t\":[\"quiet\",\"30\"]}";
    assert_eq!(query(folder.path(), &[], tasks), expected);
    let count = "SELECT count(*) AS n FROM packets WHERE array_has(payload_tasks, 'web')";
    assert_eq!(query(folder.path(), &[], count), "{\"n\":5}");
    assert_eq!(query(folder.path(), &["--duplicates"], count), "{\"n\":7}", "each copy has its own");
}

#[test]
fn payload_that_only_the_receiver_was_recorded_with_is_the_packet_s() {
    let folder = recording();
    let bytes = |payload: &[u8]| payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let all = [&b""[..], b"", REQUEST, RESPONSE, &second_request()];
    let expected: Vec<_> =
        all.iter().map(|all| format!("{{\"c\":{},\"h\":\"{}\"}}", 40 + all.len(), bytes(all))).collect();
    for partitions in [1, 2, 8] {
        let sql = format!(
            "SET datafusion.execution.target_partitions = {partitions}; \
             SELECT cap_len AS c, hex(payload) AS h FROM packets WHERE ip_proto = 6 ORDER BY ts"
        );
        assert_eq!(query(folder.path(), &[], &sql), expected.join("\n"), "{partitions} partitions");
    }
    let without =
        "SELECT max(cap_len) AS n FROM packets WHERE ip_proto = 6 AND direction = 'egress' AND dst_port = 80";
    assert_eq!(query(folder.path(), &["--duplicates"], without), "{\"n\":40}");
    let filtered = "SELECT count(*) AS n FROM packets WHERE cap_len > 40 AND dst_port = 80";
    assert_eq!(query(folder.path(), &[], filtered), "{\"n\":2}");
    let streams = "SELECT payload_text(data) AS d FROM streams WHERE ip_proto = 6 ORDER BY ts LIMIT 1";
    assert!(query(folder.path(), &[], streams).contains("GET / HTTP/1.1"));
    let http = "SELECT method AS m, \"http.response.status_code\" AS s FROM http";
    assert!(query(folder.path(), &[], http).starts_with("{\"m\":\"GET\",\"s\":200}"));
    let gaps = "SELECT count(*) AS n FROM gaps WHERE ip_proto = 6";
    assert_eq!(query(folder.path(), &[], gaps), "{\"n\":0}");
}

/// Both copies are in a pcapng file with what each was captured with, or one with all.
#[test]
fn capture_files_have_tasks_and_payload() {
    let folder = recording();
    const LINE: &[u8] = b"\npayload tasks: quiet, 30";
    let file = folder.path().join("out.pcapng");
    for (options, with_payload) in [(&[][..], 2), (&["--duplicates"], 4)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
        let converted =
            command.args(["convert", "--to", "pcapng"]).args(options).args([folder.path(), &file]).output();
        assert!(converted.expect("kcap runs").status.success());
        let bytes = std::fs::read(&file).expect("a file");
        let comments = bytes.windows(LINE.len()).filter(|bytes| *bytes == LINE).count();
        assert_eq!(comments, 1);
        let count = "SELECT count(*) AS n FROM packets WHERE cap_len > 40 AND dst_port = 80";
        let direction = if options.is_empty() { "" } else { " AND direction = 'ingress'" };
        assert_eq!(
            query(&file, options, &format!("{count}{direction}")),
            format!("{{\"n\":{with_payload}}}"),
        );
        std::fs::remove_file(&file).expect("a file");
    }
}

#[test]
fn tasks_say_what_documents_have() {
    let folder = recording();
    let all = documents(folder.path(), &[]);
    let seen: Vec<_> = all
        .iter()
        .map(|document| {
            (
                document["net"]["dstPort"].as_u64(),
                document["length"].as_u64(),
                document["payload"].is_string(),
            )
        })
        .collect();
    let second = PIECES.iter().sum::<usize>() as u64;
    let expected = [
        (Some(80), Some(REQUEST.len() as u64), true),
        (Some(40000), Some(RESPONSE.len() as u64), true),
        (Some(53), Some(30), false),
        (Some(10), Some(4), false),
        (Some(80), Some(second), true),
    ];
    assert_eq!(seen, expected);
    assert_eq!(all[0]["process"]["exe"], "/usr/bin/curl", "a task without selectors wants all");
    assert_eq!(all[2]["process"], serde_json::json!({"name": "curl"}));
    // The command line says more.
    let all = documents(folder.path(), &["--meta", "process.pid"]);
    assert_eq!(all[2]["process"], serde_json::json!({"pid": CURL}));
    assert_eq!(all[0]["process"], serde_json::json!({"pid": CURL}));
    let all = documents(folder.path(), &["--skip-payload"]);
    assert!(all.iter().all(|document| document.get("payload").is_none()));
    assert_eq!(all.len(), 6, "what nobody asked for counts where payload isn't wanted");
}

/// Bytes wait for a packet before them, which nobody asked for and which comes late. What it was recorded for once decided
/// about all of them.
#[test]
fn bytes_that_waited_are_written_as_the_task_of_their_own_packet_says() {
    const SECRET: &[u8] = b"secret";
    let folder = tempfile::tempdir().expect("a folder");
    let mut recorder = Recorder::new(folder.path());
    let quiet =
        proto::PayloadTask { name: "quiet".to_owned(), skip_payload: true, ..proto::PayloadTask::default() };
    recorder.payload_tasks = vec![quiet];
    let mut segment = recorder.segment();
    let (client, server) = ((HOST, 40000), (RESOLVER, 80));
    let mut batch = PacketBatch::default();
    let packets = [
        (1, tcp(client, server, 1, 99, 0x02, 0), &b""[..]),
        (1, tcp(client, server, 2, 104, 0x18, SECRET.len()), SECRET),
        (0, tcp(client, server, 3, 100, 0x18, 4), b"open"),
    ];
    for (number, (tasks, header, payload)) in packets.iter().enumerate() {
        let time_ns = START_NS + number as u64 * 1_000_000;
        let row = row(time_ns, Direction::Egress, CURL_COOKIE, header.len() + payload.len());
        batch.push(&PacketRow { tasks: *tasks, ..row }, header, payload);
    }
    segment.packets(&batch);
    segment.seal();
    let lens_and_payloads: Vec<_> = documents(folder.path(), &[])
        .iter()
        .map(|document| (document["length"].as_u64(), document["payload"].as_str().map(str::to_owned)))
        .collect();
    assert_eq!(lens_and_payloads, [(Some(4), Some("b3Blbg==".to_owned())), (Some(6), None)]);
}

/// A name longer than recorders take would be told of with each packet.
#[test]
fn tasks_with_names_that_are_too_long_have_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recorder = Recorder::new(folder.path());
    let task = |len: usize| proto::PayloadTask { name: "x".repeat(len), ..proto::PayloadTask::default() };
    recorder.payload_tasks = vec![task(64), task(65)];
    let mut segment = recorder.segment();
    let mut batch = PacketBatch::default();
    let question = udp((HOST, 5353), (RESOLVER, 53), 1, 0);
    batch.push(&PacketRow { tasks: 3, ..row(START_NS, Direction::Egress, DNS_COOKIE, 28) }, &question, b"");
    segment.packets(&batch);
    segment.seal();
    let expected = serde_json::json!({"t": ["x".repeat(64), "1"]}).to_string();
    assert_eq!(query(folder.path(), &[], "SELECT payload_tasks AS t FROM packets"), expected);
}
