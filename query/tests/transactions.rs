//! Transactions of a capture, as rows and as documents.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// example.org A?
const QUERY: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03org\x00\x00\x01\x00\x01";
/// 192.0.2.7.
const RESPONSE: &[u8] =
    b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x07example\x03org\x00\x00\x01\x00\x01\
    \xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x07";

fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, rest: &[u8]) -> Vec<u8> {
    let total_len = u16::try_from(20 + rest.len()).expect("short");
    let mut packet = vec![0x45, 0];
    packet.extend(total_len.to_be_bytes());
    packet.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(rest);
    packet
}

fn udp(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(source.1.to_be_bytes());
    datagram.extend(destination.1.to_be_bytes());
    datagram.extend((u16::try_from(payload.len()).expect("short") + 8).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    ipv4(source.0, destination.0, 17, &datagram)
}

fn echo(source: Ipv4Addr, destination: Ipv4Addr, kind: u8) -> Vec<u8> {
    ipv4(source, destination, 1, &[kind, 0, 0, 0, 0, 7, 0, 1, b'p', b'i', b'n', b'g'])
}

/// A query and its answer, a query that nobody answers, an echo and its reply: ten milliseconds apart.
fn capture(folder: &Path) -> PathBuf {
    let packets = [
        udp((CLIENT, 40_000), (SERVER, 53), QUERY),
        udp((SERVER, 53), (CLIENT, 40_000), RESPONSE),
        udp((CLIENT, 40_001), (SERVER, 53), QUERY),
        echo(CLIENT, SERVER, 8),
        echo(SERVER, CLIENT, 0),
    ];
    const RAW_IP: u32 = 101;
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    bytes.extend(RAW_IP.to_le_bytes());
    for (place, packet) in (0_u32..).zip(&packets) {
        let len = u32::try_from(packet.len()).expect("short");
        for value in [1_700_000_000, place * 10_000, len, len] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(packet);
    }
    let path = folder.join("capture.pcap");
    std::fs::write(&path, bytes).expect("a file");
    path
}

fn kcap(arguments: &[&str], source: &Path, last: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
    command.args(arguments).arg(source).args(last).output().expect("kcap runs")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn rows(query: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let output = kcap(&["sql", "--format", "csv", "-c", query], &capture(folder.path()), &[]);
    stdout(&output).lines().skip(1).map(str::to_owned).collect()
}

fn documents(config: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kcap.toml");
    std::fs::write(&path, config).expect("a file");
    let config = path.to_str().expect("a path");
    let output = kcap(&["convert", "--to", "ecs", "--config", config], &capture(folder.path()), &["-"]);
    stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn rows_of_all_protocols_and_of_one() {
    assert_eq!(
        rows(
            "SELECT protocol, status, complete, incomplete_reason, duration_ns FROM transactions ORDER BY ts"
        ),
        ["dns,OK,true,,10000000", "dns,Error,false,no_response,", "icmp,OK,true,,10000000"]
    );
    assert_eq!(
        rows(
            "SELECT client_ip, server_port, query, dns.question.name, dns.answers_count, dns.answers[1]['data'], \
             dns.resolved_ip[1] FROM dns WHERE complete"
        ),
        ["10.0.0.1,53,\"class IN, type A, example.org\",example.org,1,192.0.2.7,192.0.2.7"]
    );
    assert_eq!(rows("SELECT icmp.request.type, path, server_port FROM icmp"), ["8,10.0.0.2,"]);
    assert_eq!(rows("SELECT count(*) FROM redis"), ["0"]);
}

#[test]
fn rows_are_tied_to_packets_and_flows() {
    assert_eq!(
        rows(
            "SELECT count(*) FROM transactions t JOIN packets p ON p.packet_id = t.request_packet_id AND p.flow_id = \
             t.flow_id"
        ),
        ["3"]
    );
}

#[test]
fn documents_have_packetbeats_fields() {
    let documents = documents("tags = [\"all\"]\n[dns]\ntags = [\"names\"]");
    assert_eq!(documents.len(), 3);
    let dns = &documents[0];
    for (path, expected) in [
        ("/@timestamp", "2023-11-14T22:13:20.000Z"),
        ("/type", "dns"),
        ("/status", "OK"),
        ("/query", "class IN, type A, example.org"),
        ("/event/dataset", "dns"),
        ("/network/transport", "udp"),
        ("/network/type", "ipv4"),
        ("/client/ip", "10.0.0.1"),
        ("/destination/ip", "10.0.0.2"),
        ("/dns/question/registered_domain", "example.org"),
        ("/dns/answers/0/data", "192.0.2.7"),
        ("/tags/1", "names"),
    ] {
        assert_eq!(dns.pointer(path).and_then(Value::as_str), Some(expected), "{path}");
    }
    assert_eq!(dns.pointer("/event/duration"), Some(&10_000_000.into()));
    assert_eq!(dns.pointer("/related/ip"), Some(&serde_json::json!(["10.0.0.1", "10.0.0.2", "192.0.2.7"])));
    assert_eq!(dns.pointer("/source/bytes"), Some(&QUERY.len().into()));
    let icmp = documents.iter().find(|document| document["type"] == "icmp").expect("an echo");
    assert_eq!(icmp.pointer("/icmp/response/message").and_then(Value::as_str), Some("EchoReply(0)"));
    assert_eq!(icmp["network"].get("protocol"), None);
}

#[test]
fn flows_have_documents_when_they_are_asked_for() {
    let documents = documents("[flows]\n[dns]\nenabled = false\n[icmp]\nenabled = false");
    assert_eq!(documents.len(), 3);
    let flow = &documents[0];
    assert_eq!(flow["type"], "flow");
    assert_eq!(flow["flow"]["final"], true);
    assert_eq!(flow["network"]["packets"], 2);
    assert_eq!(flow["source"]["bytes"], 20 + 8 + QUERY.len());
}

#[test]
fn processors_have_the_last_word() {
    let config = "processors = [{ drop_event = { when = { equals = { status = \"Error\" } } } }]\n\
                  [dns]\nprocessors = [{ drop_fields = { fields = [\"dns.answers\"] } }]";
    let documents = documents(config);
    assert_eq!(documents.len(), 2);
    assert_eq!(documents[0]["dns"].get("answers"), None);
    assert_eq!(documents[0]["dns"]["answers_count"], 1);
}

/// Captures of this project, with conversations of all protocols.
fn recorded() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata");
    [
        "web/http",
        "web/tls",
        "databases/mysql",
        "databases/pgsql",
        "databases/redis",
        "names/dns",
        "names/dhcpv4",
        "names/icmp",
    ]
    .map(|name| folder.join(name).with_extension("pcap"))
    .into()
}

#[test]
fn the_same_rows_in_the_same_order_whatever_the_number_of_threads() {
    let answer = |threads: usize| {
        let query = format!(
            "SET datafusion.execution.target_partitions = {threads}; SELECT ts, end_ts, protocol, flow_id, method, query, status, \
             incomplete_reason, request_packet_id, response_last_packet_id, request_bytes FROM transactions"
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
        command.args(["sql", "--format", "csv", "-c", &query]).args(recorded());
        stdout(&command.output().expect("kcap runs"))
    };
    let one = answer(1);
    for protocol in ["icmp", "dhcpv4", "dns", "http", "tls", "mysql", "pgsql", "redis"] {
        assert!(one.contains(&format!(",{protocol},")), "{protocol}");
    }
    for threads in [2, 3, 40] {
        assert_eq!(answer(threads), one, "{threads} threads");
    }
}

#[test]
fn documents_come_in_the_same_order_each_time() {
    let documents = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
        command.args(["convert", "--to", "ecs-bulk"]).args(recorded()).arg("-");
        stdout(&command.output().expect("kcap runs"))
    };
    let first = documents();
    assert!(first.lines().count() > 20);
    assert_eq!(documents(), first);
}

#[test]
fn parquet_has_the_same_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = folder.path().join("lake");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
    stdout(
        &command
            .args(["convert", "--to", "parquet"])
            .args(recorded())
            .arg(&lake)
            .output()
            .expect("kcap runs"),
    );
    let answer = |sources: &[PathBuf], query: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
        command.args(["sql", "--format", "csv", "-c", query]).args(sources);
        stdout(&command.output().expect("kcap runs"))
    };
    for table in ["transactions", "icmp", "dhcpv4", "dns", "http", "tls", "mysql", "pgsql", "redis"] {
        let query = format!(
            "SELECT count(*) AS n, sum(request_bytes) AS sent, sum(response_bytes) AS received, count(DISTINCT flow_id) AS flows, \
             count(query) AS queries FROM {table}"
        );
        let of_lake = answer(std::slice::from_ref(&lake), &query);
        assert_eq!(of_lake, answer(&recorded(), &query), "{table}");
        assert!(!of_lake.contains("\n0,"), "{table} has rows");
    }
    let query = "SELECT dns.question.name, dns.answers[1]['data'], client_ip FROM dns WHERE complete ORDER BY ts LIMIT 5";
    assert_eq!(answer(&[lake], query), answer(&recorded(), query));
}

/// Pairs of lines, an action and a document, each with a name of its own that the next run gives too, and a newline at the
/// end: the format of Elasticsearch's bulk API.
#[test]
fn bulk_format() {
    let folder = tempfile::tempdir().expect("a folder");
    let capture = capture(folder.path());
    let run = || stdout(&kcap(&["convert", "--to", "ecs-bulk"], &capture, &["-"]));
    let text = run();
    assert!(text.ends_with('\n'));
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 6);
    let mut ids = Vec::new();
    for pair in lines.chunks(2) {
        let action = pair[0].as_object().expect("an object");
        assert_eq!(action.keys().collect::<Vec<_>>(), ["create"]);
        ids.push(action["create"]["_id"].as_str().expect("a name").to_owned());
        assert!(pair[1].get("@timestamp").is_some());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert_eq!(run(), text);
}

#[test]
fn a_wrong_file_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("kcap.toml");
    std::fs::write(&config, "[dns]\nprots = [53]\n").expect("a file");
    let config = config.to_str().expect("a path");
    let output = kcap(&["convert", "--to", "ecs", "--config", config], &capture(folder.path()), &["-"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(message.contains("[dns] has no option prots; it has: enabled, ports"), "{message}");
    assert_eq!(message.lines().count(), 1);
}
