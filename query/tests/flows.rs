//! Flows, streams and what is made of them, over a recording whose every packet is known.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kcap_format::{BlockType, Direction, PacketBatch};
use support::{HOST, RESOLVER, Recorder, START_NS, row, tcp, udp, web_recording};

fn kcap(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kcap")).args(arguments).output().expect("kcap runs")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// A recording in a folder of its own.
fn recording() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    web_recording(folder.path());
    folder
}

/// The answer as CSV without its head line.
fn query_with(source: &Path, options: &[&str], sql: &str) -> String {
    let arguments = [&["sql", text(source), "--format", "csv", "-c", sql], options].concat();
    let output = kcap(&arguments);
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("CSV is UTF-8");
    text.split_once('\n').map(|(_, rest)| rest.trim_end().to_owned()).unwrap_or_default()
}

fn query(source: &Path, sql: &str) -> String {
    query_with(source, &[], sql)
}

#[test]
fn conversations_with_their_ends() {
    let folder = recording();
    let sql = "SELECT ip_text(client_ip), client_port, ip_text(server_ip), server_port, ip_proto_name, conn_state, history, \
        client_packets, server_packets, client_payload_bytes, server_payload_bytes, client_stream_bytes, \
        client_process_name, server_process_name, initiator_known, complete FROM flows ORDER BY ts";
    assert_eq!(
        query(folder.path(), sql),
        "10.0.0.2,5353,10.0.0.53,53,udp,SF,Dd,1,1,30,46,,curl,,false,\n\
         127.0.0.1,40000,127.0.0.1,80,tcp,S2,ShDdF,3,2,18,5,18,curl,nginx,true,false"
    );
    let times = "SELECT duration_ns, server_rtt_ns, handshake_rtt_ns FROM flows WHERE ip_proto = 6";
    assert_eq!(query(folder.path(), times), "4000000,1000000,2000000");
    let joined =
        "SELECT count(*) FROM packets p JOIN flows f ON p.flow_id = f.flow_id WHERE f.server_port = 80";
    assert_eq!(query(folder.path(), joined), "5");
    let ids = "SELECT count(*) FROM packets p JOIN flows f ON p.flow_id = f.flow_id \
        WHERE f.community_id <> community_id(p.src_ip, p.src_port, p.dst_ip, p.dst_port, p.ip_proto)";
    assert_eq!(query(folder.path(), ids), "0", "both directions have the flow's Community ID");
}

#[test]
fn the_same_answer_whatever_the_number_of_threads() {
    let folder = recording();
    let sql = "SELECT * FROM flows ORDER BY ts, first_packet_id";
    let one = query(folder.path(), &format!("SET datafusion.execution.target_partitions = 1; {sql}"));
    let many = query(folder.path(), &format!("SET datafusion.execution.target_partitions = 7; {sql}"));
    assert_eq!(one, many);
}

#[test]
fn streams_and_the_packets_that_brought_them() {
    let folder = recording();
    let sql = "SELECT side, \"offset\", s.len, gap_before, payload_text(data), payload_text(p.payload) = payload_text(data) \
        FROM streams s JOIN packets p ON s.packet_id = p.packet_id ORDER BY packet_ts";
    assert_eq!(
        query(folder.path(), sql),
        "client,0,18,0,GET / HTTP/1.1\\r\\n\\r\\n,true\nserver,0,5,0,HELLO,true"
    );
    assert_eq!(query(folder.path(), "SELECT count(*) FROM gaps"), "0");
    assert_eq!(query(folder.path(), "SELECT count(*) FROM decode_errors"), "0");
}

/// Packets of one client to a server, one every second, with a hole in its stream, bytes that disagree, and a cut header.
fn troubled_recording(folder: &Path) {
    let mut segment = Recorder::new(folder).segment();
    let (client, server) = ((HOST, 40_000), (RESOLVER, 80));
    let mut batch = PacketBatch::default();
    let packets: [(Vec<u8>, &[u8]); 6] = [
        (tcp(client, server, 1, 99, 0x02, 0), b""),
        (tcp(client, server, 2, 100, 0x18, 4), b"abcd"),
        (tcp(client, server, 3, 110, 0x18, 4), b"klmn"),
        (tcp(client, server, 4, 111, 0x18, 4), b"lXno"),
        (tcp(client, server, 5, 115, 0x11, 0), b""),
        (udp(client, server, 6, 0)[..24].to_vec(), b""),
    ];
    for (number, (header, payload)) in packets.iter().enumerate() {
        let time = START_NS + number as u64 * 1_000_000_000;
        let len = (header.len() + payload.len()).max(28);
        batch.push(&row(time, Direction::Egress, 31, len), header, payload);
    }
    segment.packets(&batch);
    segment.seal();
}

#[test]
fn what_is_missing_or_wrong_is_in_tables() {
    let folder = tempfile::tempdir().expect("a folder");
    troubled_recording(folder.path());
    let gaps = "SELECT side, \"offset\", len, reason FROM gaps";
    assert_eq!(query(folder.path(), gaps), "client,4,6,never_seen");
    let errors = "SELECT kind, side, \"offset\", len FROM decode_errors ORDER BY kind";
    assert_eq!(query(folder.path(), errors), "disagreement,client,12,1\nheader,,,");
    let last = "SET kcap.stream_overlaps = 'last'; SELECT string_agg(payload_text(data), '' ORDER BY \"offset\") FROM streams";
    assert_eq!(query(folder.path(), last), "abcdklXno");
    let flows = "SELECT history, client_gaps, client_missing_bytes, complete FROM flows WHERE ip_proto = 6";
    assert_eq!(query(folder.path(), flows), "SDF,1,6,false");
}

/// One client sends bytes in two blocks; the payloads of the second are damaged.
fn damaged_recording(folder: &Path) {
    let mut segment = Recorder::new(folder).segment();
    for (number, text) in [b"abcd", b"efgh"].into_iter().enumerate() {
        let mut batch = PacketBatch::default();
        let sequence = 100 + 4 * number as u32;
        let header = tcp((HOST, 40_000), (RESOLVER, 80), number as u16, sequence, 0x18, text.len());
        let time_ns = START_NS + number as u64 * 1_000_000;
        batch.push(&row(time_ns, Direction::Egress, 31, header.len() + text.len()), &header, text);
        segment.packets(&batch);
    }
    segment.seal();
    let path = folder.join("000001.kcap");
    let opened = kcap_format::Segment::open(&path).expect("a segment");
    let block = *opened.blocks_of(BlockType::PACKETS).nth(1).expect("a second block");
    let mut bytes = std::fs::read(&path).expect("a segment");
    // Payloads are last in a block, whose header has 96 bytes (spec/segment.md).
    bytes[(block.offset + 95 + u64::from(block.stored_len)) as usize] ^= 0x10;
    std::fs::write(&path, bytes).expect("a file");
}

/// Recordings with gaps, disagreements, damage and many connections, as segments and as captures of other programs.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata");
    let [troubled, damaged, quiet] = ["troubled", "damaged", "quiet"].map(|name| {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).expect("a folder");
        folder
    });
    troubled_recording(&troubled);
    damaged_recording(&damaged);
    web_recording(&quiet);
    let [http, pgsql] = ["web/http.pcap", "databases/pgsql.pcap"].map(|capture| testdata.join(capture));
    vec![troubled, damaged, quiet, http, pgsql]
}

fn sorted(answer: &str) -> Vec<&str> {
    let mut lines: Vec<_> = answer.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn places_in_streams_don_t_depend_on_whether_bytes_are_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    for source in sources(folder.path()) {
        let columns = "SELECT flow_id, side, \"offset\", len, gap_before, packet_id, client_packets FROM streams \
            JOIN (SELECT first_packet_id, client_packets FROM flows) USING (first_packet_id)";
        let without = query(&source, columns);
        let with = query(&source, &format!("{columns} WHERE length(hex(data)) = 2 * len"));
        assert_eq!(sorted(&without), sorted(&with), "{}", source.display());
        assert!(!without.is_empty(), "{}", source.display());
    }
}

/// Whoever doesn't look at bytes doesn't read them; a damaged block once went unnoticed then.
#[test]
fn what_damage_made_unreadable_is_missing_whether_or_not_bytes_are_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    damaged_recording(folder.path());
    for (sql, expected) in [
        ("SELECT side, \"offset\", len, reason FROM gaps", "client,4,4,truncated"),
        ("SELECT sum(len) FROM streams", "4"),
        ("SELECT sum(len), max(payload_text(data)) FROM streams", "4,abcd"),
    ] {
        let output = kcap(&["sql", text(folder.path()), "--format", "csv", "-c", sql]);
        let rows = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(rows.lines().nth(1), Some(expected), "{sql}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("the payloads of 1 packets left out"), "{sql}: {said}");
    }
}

#[test]
fn one_pass_for_all_tables_gives_the_rows_of_each() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rows = 0;
    for (number, source) in sources(folder.path()).iter().enumerate() {
        let lake = folder.path().join(format!("lake-{number}"));
        let output = kcap(&["convert", "--to", "parquet", text(source), text(&lake)]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for table in ["flows", "flow_reports", "streams", "gaps", "decode_errors"] {
            let all = format!("SELECT * FROM {table}");
            let (own, written) =
                (query(source, &all), query(&lake, &all.replace('*', "* EXCLUDE (date, host)")));
            assert_eq!(sorted(&own), sorted(&written), "{table} of {}", source.display());
            rows += own.lines().count();
        }
    }
    assert!(rows > 100, "{rows}");
}

#[test]
fn reports_of_long_flows() {
    let folder = tempfile::tempdir().expect("a folder");
    troubled_recording(folder.path());
    let sql = "SELECT series, report, final, client_packets, client_packets_delta FROM flow_reports WHERE ip_proto = 6 \
        ORDER BY series, report";
    assert_eq!(
        query_with(folder.path(), &["--flow-period", "2s"], sql),
        "0,0,false,2,2\n0,1,false,4,2\n0,2,true,5,1"
    );
    assert_eq!(query_with(folder.path(), &["--flow-period", "-1"], sql), "0,0,true,5,5");
    assert_eq!(
        query_with(folder.path(), &["--flow-period=-1", "--flow-timeout", "500ms"], sql),
        "0,0,true,1,1\n1,0,true,1,1\n2,0,true,1,1\n3,0,true,1,1\n4,0,true,1,1"
    );
}

#[test]
fn following_a_flow() {
    let folder = recording();
    let id = query(folder.path(), "SELECT flow_id FROM flows WHERE server_port = 80");
    let follow = |arguments: &[&str]| {
        let output = kcap(&[&["follow", &id, text(folder.path())], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("what was sent is text")
    };
    assert_eq!(follow(&["--format", "raw"]), "GET / HTTP/1.1\r\n\r\nHELLO");
    assert_eq!(follow(&["--format", "raw", "--side", "server"]), "HELLO");
    let shown = follow(&[]);
    let mut lines = shown.lines();
    let head = format!("=== flow {id}, protocol 6, client 127.0.0.1:40000, server 127.0.0.1:80");
    assert_eq!(lines.next(), Some(head.as_str()));
    assert!(
        shown.contains("18 bytes, offset 0")
            && shown.contains("\nGET / HTTP/1.1\n")
            && shown.contains("\nHELLO\n")
    );
    assert!(follow(&["--format", "hex"]).contains("00000000  48 45 4c 4c 4f "));
    let community_id = query(folder.path(), "SELECT community_id FROM flows WHERE server_port = 80");
    let output = kcap(&["follow", &community_id, text(folder.path()), "--format", "raw", "--side", "client"]);
    assert_eq!(output.stdout, b"GET / HTTP/1.1\r\n\r\n");
}

#[test]
fn flows_that_are_not_there_and_names_that_are_none() {
    let folder = recording();
    let failed = |flow: &str, code| {
        let output = kcap(&["follow", flow, text(folder.path())]);
        assert_eq!(output.status.code(), Some(code), "{flow}");
        let line = String::from_utf8(output.stderr).expect("errors are UTF-8");
        assert_eq!(line.lines().count(), 1, "{line}");
        line
    };
    assert!(failed("1234", 1).contains("no flow 1234"));
    assert!(failed("web", 2).contains("'web' names no flow"));
}

/// The packets of a pcap file: so many, of so many bytes in all.
fn size_of_pcap(path: &Path) -> (usize, u64) {
    let bytes = std::fs::read(path).expect("the export is there");
    let mut reader = pcap_file::pcap::PcapReader::new(&bytes[..]).expect("a pcap file");
    let mut size = (0, 0);
    while let Some(packet) = reader.next_packet() {
        size.0 += 1;
        size.1 += u64::from(packet.expect("a packet").orig_len());
    }
    size
}

#[test]
fn exports_of_the_packets_of_an_answer() {
    let folder = recording();
    let out = tempfile::tempdir().expect("a folder");
    let export = |sql: &str| {
        let path = out.path().join("chosen.pcap");
        let output = kcap(&["convert", "--to", "pcap", "--query", sql, text(folder.path()), text(&path)]);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        size_of_pcap(&path)
    };
    let answer = |sql: &str| {
        let row = query(folder.path(), sql);
        let (count, bytes) = row.split_once(',').expect("two columns");
        (count.parse().expect("a number"), bytes.parse().expect("a number"))
    };
    let web = answer("SELECT count(*), sum(len) FROM packets WHERE ip_proto = 6");
    assert_eq!(export("SELECT flow_id FROM flows WHERE server_port = 80"), web);
    assert_eq!(export("SELECT flow_id, first_packet_id FROM flows WHERE server_port = 80"), web);
    let dns = answer("SELECT count(*), sum(len) FROM packets WHERE dst_port = 53");
    assert_eq!(export("SELECT packet_id FROM packets WHERE dst_port = 53"), dns);
    assert_eq!(export("SELECT packet_id FROM packets WHERE false").0, 0);
    let refused = kcap(&["convert", "--to", "pcap", "--query", "SELECT 1", text(folder.path()), "-"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("select packet_id or flow_id"));
}

#[test]
fn filters_in_the_language_of_tcpdump() {
    let folder = recording();
    let count = |expression: &str| {
        query(folder.path(), &format!("SELECT count(*) FROM packets p WHERE bpf('{expression}')"))
    };
    assert_eq!(count("tcp port 80"), "5");
    assert_eq!(count("udp and src host 10.0.0.2"), "1");
    assert_eq!(count("tcp[tcpflags] & tcp-syn != 0"), "2");
    assert_eq!(count("tcp[20:4] = 0x47455420"), "1", "GET, in the payload");
    assert_eq!(count(""), "7");
    let failure = kcap(&["sql", text(folder.path()), "-c", "SELECT * FROM packets WHERE bpf('tcp prt 80')"]);
    let line = String::from_utf8_lossy(&failure.stderr).into_owned();
    assert_eq!((failure.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(line.contains("at position 4"), "{line}");
    let elsewhere = kcap(&["sql", text(folder.path()), "-c", "SELECT * FROM flows WHERE bpf('tcp')"]);
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("FROM packets"));
}

/// The plan of a query, without what it was measured to take.
fn plan(source: &Path, sql: &str) -> String {
    let output = kcap(&["sql", text(source), "-c", &format!("EXPLAIN {sql}")]);
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("plans are UTF-8")
}

#[test]
fn one_flow_is_followed_alone() {
    let folder = recording();
    let id = query(folder.path(), "SELECT flow_id FROM flows WHERE server_port = 80");
    for table in ["flows", "streams", "flow_reports", "gaps", "decode_errors"] {
        let sql = format!("SELECT count(*) FROM {table} WHERE flow_id = {id}");
        assert!(plan(folder.path(), &sql).contains("flows=1"), "{table}: {}", plan(folder.path(), &sql));
        // An expression that is not understood leaves all flows, and the same answer.
        let slow = format!("SELECT count(*) FROM {table} WHERE flow_id + 0 = {id}");
        assert!(!plan(folder.path(), &slow).contains("flows=1"));
        assert_eq!(query(folder.path(), &sql), query(folder.path(), &slow), "{table}");
    }
    let columns =
        "conn_state, history, client_packets, server_packets, client_stream_bytes, server_process_name";
    let one = query(folder.path(), &format!("SELECT {columns} FROM flows WHERE flow_id IN ({id}, 7)"));
    assert_eq!(one, query(folder.path(), &format!("SELECT {columns} FROM flows WHERE server_port = 80")));
}

#[test]
fn filters_are_evaluated_where_packets_are_read() {
    let folder = recording();
    let conditions = [
        ("dst_port = 80", "3"),
        ("src_ip = '127.0.0.1' AND len >= 45", "2"),
        ("bpf('udp')", "2"),
        ("payload_text(payload) LIKE 'GET%'", "1"),
        ("process_name = 'curl' AND dst_port = 80", "3"),
        ("cidr(dst_ip, '10.0.0.0/8') OR has_flag(tcp_flags, 'FIN')", "3"),
        ("src_port IS NULL", "0"),
        ("ts >= TIMESTAMP '2026-01-01T00:00:00Z' AND dst_port = 53", "1"),
    ];
    for (condition, expected) in conditions {
        let sql = format!("SELECT count(*) FROM packets WHERE {condition}");
        assert!(!plan(folder.path(), &sql).contains("FilterExec"), "{}", plan(folder.path(), &sql));
        assert_eq!(query(folder.path(), &sql), expected, "{condition}");
    }
    // Payloads are read of the rows that are left, and a limit counts these.
    let sql = "SELECT payload_text(payload) FROM packets WHERE payload_len = 5 LIMIT 1";
    assert!(plan(folder.path(), sql).contains("limit=1"), "{}", plan(folder.path(), sql));
    assert_eq!(query(folder.path(), sql), "HELLO");
    let nested = "SELECT count(*) FROM packets WHERE len = (SELECT max(len) FROM packets)";
    assert_eq!(query(folder.path(), nested), "1");
}
