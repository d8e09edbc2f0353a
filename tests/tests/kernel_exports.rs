//! What other programs make of an export: Wireshark's tools of pcapng, DuckDB of Parquet.

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use kcap_tests::command::{Finished, run};
use kcap_tests::kcap::{kcap, number, number_with_duplicates, sql};
use kcap_tests::recorder::Recorder;
use kcap_tests::traffic::{Kind, SERVER_PORTS, Server, Summary, connect};
use kcap_tests::{binary, kernel};
use serde_json::Value;

/// A recording of some TCP and UDP over IPv4 and IPv6.
struct Recording {
    folder: tempfile::TempDir,
    capture: PathBuf,
    client: Summary,
    server_port: u16,
}

impl Recording {
    fn make() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let recorder = Recorder::start(&folder.path().join("capture"), &[]);
        let mut last = None;
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            for kind in [Kind::Udp, Kind::Tcp] {
                let server = Server::start(kind, address, 2, None);
                let port = server.address.port();
                let client = connect(kind, server.address, 2, 20_000, None);
                server.finish();
                last = Some((client, port));
            }
        }
        let capture = recorder.folder().to_owned();
        recorder.stop();
        let (client, server_port) = last.expect("some traffic");
        Self { folder, capture, client, server_port }
    }

    fn convert(&self, to: &str, name: &str, options: &[&str]) -> PathBuf {
        let out = self.folder.path().join(name);
        let mut arguments = vec!["convert".as_ref(), "--to".as_ref(), to.as_ref()];
        arguments.extend(options.iter().map(OsStr::new));
        arguments.extend([self.capture.as_os_str(), out.as_os_str()]);
        kcap(arguments).success();
        out
    }
}

fn quiet(finished: Finished) -> Finished {
    let finished = finished.success();
    // Wireshark's tools warn root of being root, and of nothing else.
    let warnings: Vec<&str> =
        finished.stderr.lines().filter(|line| !line.starts_with("Running as user \"root\"")).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
    finished
}

fn tshark(file: &Path, arguments: &[&str]) -> Vec<String> {
    let finished = quiet(run(Command::new("tshark").arg("-r").arg(file).args(arguments)));
    finished.text().lines().map(str::to_owned).collect()
}

#[test]
fn wireshark_reads_pcapng() {
    if !kernel::available() {
        return;
    }
    let recording = Recording::make();
    let file = recording.convert("pcapng", "all.pcapng", &[]);
    let capinfos = quiet(run(Command::new("capinfos").arg("-M").arg(&file))).text();
    let packets = number(&recording.capture, "SELECT count(*) FROM packets");
    let counted = capinfos.lines().find_map(|line| line.strip_prefix("Number of packets:"));
    assert_eq!(counted.map(str::trim), Some(packets.to_string().as_str()), "{capinfos}");
    assert!(capinfos.contains("nanoseconds"), "{capinfos}");
    assert!(capinfos.contains("kcap"), "the section names the recorder: {capinfos}");

    // Each packet dissects, and says whose it is.
    let malformed = format!(
        "_ws.malformed and (udp.port in {{{ports}}} or tcp.port in {{{ports}}})",
        ports = format_args!("{}..{}", SERVER_PORTS.start(), SERVER_PORTS.end())
    );
    let ports = format!("{}-{}", SERVER_PORTS.start(), SERVER_PORTS.end());
    let (udp, tcp) = (format!("udp.port=={ports},data"), format!("tcp.port=={ports},data"));
    // The bytes of the tests, on whichever client port, look like broken messages of that port's protocol.
    let malformed = tshark(&file, &["-d", &udp, "-d", &tcp, "-Y", &malformed]);
    assert_eq!(malformed, Vec::<String>::new());
    let port = recording.server_port;
    let comments =
        tshark(&file, &["-Y", &format!("tcp.port == {port}"), "-T", "fields", "-e", "frame.comment"]);
    assert!(!comments.is_empty());
    for comment in &comments {
        assert!(comment.contains("kcap-traffic"), "{comment}");
    }
    let from_client =
        tshark(&file, &["-Y", &format!("tcp.dstport == {port}"), "-T", "fields", "-e", "frame.comment"]);
    let pid = recording.client.pid.to_string();
    assert!(from_client.iter().all(|comment| comment.contains(&pid)), "{pid}: {from_client:?}");

    let twice = recording.convert("pcapng", "twice.pcapng", &["--duplicates"]);
    let with_copies = number_with_duplicates(&recording.capture, "SELECT count(*) FROM packets");
    assert!(with_copies > packets);
    assert_eq!(tshark(&twice, &[]).len() as u64, with_copies);
}

#[test]
fn pcapng_goes_through_a_pipe() {
    if !kernel::available() {
        return;
    }
    let recording = Recording::make();
    let file = recording.convert("pcapng", "file.pcapng", &[]);
    let to_pipe =
        ["convert".as_ref(), "--to".as_ref(), "pcapng".as_ref(), recording.capture.as_os_str(), "-".as_ref()];
    assert_eq!(kcap(to_pipe).success().stdout, fs::read(file).expect("the file"));
}

#[test]
fn times_agree_with_sql() {
    if !kernel::available() {
        return;
    }
    let recording = Recording::make();
    let file = recording.convert("pcapng", "times.pcapng", &[]);
    let seen = tshark(&file, &["-T", "fields", "-e", "frame.time_epoch"]);
    let rows = sql(&recording.capture, "SELECT CAST(ts AS BIGINT) AS ns FROM packets ORDER BY ts, packet_id");
    let expected: Vec<String> = rows
        .iter()
        .map(|row| row["ns"].as_u64().expect("nanoseconds"))
        .map(|ns| format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000))
        .collect();
    assert_eq!(seen, expected);
}

/// Queries that mean the same to both engines.
const QUERIES: &[&str] = &[
    "SELECT count(*) AS n, sum(len) AS bytes, sum(payload_len) AS payload FROM packets",
    "SELECT src_port, dst_port, count(*) AS n FROM packets WHERE src_port IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT src_pid, src_process_name, dst_pid, dst_process_name, sum(len) AS bytes FROM packets
     GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
    "SELECT direction, attribution, tcp_flags, count(*) AS n FROM packets GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    "SELECT packet_id, flow_id, len FROM packets ORDER BY packet_id",
    "SELECT pid, parent_pid, process_name, executable, uid, exit_code FROM processes ORDER BY 1, 2, 3",
    "SELECT program, sum(seen) AS seen, sum(filtered) AS filtered, sum(stored) AS stored, sum(lost) AS lost
     FROM losses GROUP BY 1 ORDER BY 1",
    "SELECT count(*) AS n, sum(packets) AS packets FROM segments",
];

/// Runs one query for each line of its input on views of the tables, and prints each row as JSON.
const DUCKDB_SCRIPT: &str = r"
import sys, json, pathlib, duckdb
root = pathlib.Path(sys.argv[1])
connection = duckdb.connect()
for folder in root.glob('table=*'):
    files = str(folder / '**' / '*.parquet').replace(chr(39), '')
    name = folder.name.removeprefix('table=')
    connection.execute(f'CREATE VIEW {name} AS SELECT * FROM read_parquet({files!r})')
result = connection.execute(sys.argv[2])
names = [column[0] for column in result.description]
for row in result.fetchall():
    row = [int(value) if isinstance(value, (int, float)) else value for value in row]
    print(json.dumps({name: value for name, value in zip(names, row) if value is not None}))
";

#[test]
fn duckdb_answers_from_parquet_as_sql_does() {
    if !kernel::available() {
        return;
    }
    let recording = Recording::make();
    let folder = recording.convert("parquet", "parquet", &[]);
    let python = binary::target_folder().join("venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make setup`", python.display());
    for query in QUERIES {
        let duckdb = run(Command::new(&python).args(["-c", DUCKDB_SCRIPT]).arg(&folder).arg(query)).success();
        let rows = duckdb.text();
        let theirs: Vec<Value> =
            rows.lines().map(|line| serde_json::from_str(line).expect("a row of JSON")).collect();
        let ours: Vec<Value> = sql(&recording.capture, query).into_iter().map(without_nulls).collect();
        assert!(!ours.is_empty(), "{query}: no rows");
        assert_eq!(ours, theirs, "{query}");
    }
}

fn without_nulls(row: Value) -> Value {
    let Value::Object(columns) = row else { panic!("a row is an object: {row}") };
    Value::Object(columns.into_iter().filter(|(_, value)| !value.is_null()).collect())
}
