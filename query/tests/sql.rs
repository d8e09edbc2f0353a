//! `kcap sql` over a recording whose every packet is known.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use support::web_recording;

fn kcap(arguments: &[&str], source: &Path) -> Output {
    let (command, rest) = arguments.split_first().expect("a command");
    Command::new(env!("CARGO_BIN_EXE_kcap")).arg(command).arg(source).args(rest).output().expect("kcap runs")
}

/// A recording in a folder of its own.
fn recording() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    web_recording(folder.path());
    folder
}

/// The answer as CSV without its head line.
fn query_with(source: &Path, options: &[&str], sql: &str) -> String {
    let mut arguments = vec!["sql", "--format", "csv", "-c", sql];
    arguments.extend(options);
    let output = kcap(&arguments, source);
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("CSV is UTF-8");
    text.split_once('\n').map(|(_, rest)| rest.trim_end().to_owned()).unwrap_or_default()
}

fn query(source: &Path, sql: &str) -> String {
    query_with(source, &[], sql)
}

/// The plan of a query.
fn plan(source: &Path, sql: &str) -> String {
    query(source, &format!("EXPLAIN {sql}"))
}

/// The one line that a failing query says.
fn failure(source: &Path, sql: &str) -> String {
    let output = kcap(&["sql", "-c", sql], source);
    assert_eq!(output.status.code(), Some(1), "{sql}");
    let text = String::from_utf8(output.stderr).expect("errors are UTF-8");
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim_end().to_owned()
}

#[test]
fn local_packets_count_once_unless_both_copies_are_wanted() {
    let folder = recording();
    let count = "SELECT count(*) FROM packets";
    assert_eq!(query(folder.path(), count), "7");
    assert_eq!(query_with(folder.path(), &["--duplicates"], count), "12");
    assert_eq!(query(folder.path(), "SET kcap.duplicates = true; SELECT count(*) AS n FROM packets"), "12");
    let copies = "SELECT count(*), count(DISTINCT duplicate_of) FROM packets WHERE duplicate_of IS NOT NULL";
    assert_eq!(query_with(folder.path(), &["--duplicates"], copies), "5,5");
    let joined = "SELECT c.segment, o.segment, o.direction, c.direction FROM packets c JOIN packets o \
        ON c.duplicate_of = o.packet_id WHERE c.segment <> o.segment";
    assert_eq!(query_with(folder.path(), &["--duplicates"], joined), "2,1,egress,ingress", "across segments");
}

/// Copies are found across blocks, and so across partitions, however the scan is cut; also where packets look alike.
#[test]
fn partitions_do_not_change_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    support::flood_recording(folder.path(), 40, 50);
    for partitions in [1, 2, 3, 7, 64] {
        let sql = format!(
            "SET datafusion.execution.target_partitions = {partitions}; SELECT count(*) AS n, sum(len) AS bytes, \
             count(DISTINCT packet_id) AS ids, min(dst_process_name) AS receiver, count(dst_pid) > 1940 AS received \
             FROM packets"
        );
        assert_eq!(query(folder.path(), &sql), "2000,116000,2000,server,true", "{partitions} partitions");
    }
}

/// Matching once began 250 ms or 16 blocks before a partition, though a copy was found up to a second later.
#[test]
fn copies_that_waited_in_a_queue_count_once_in_every_partition() {
    let folder = tempfile::tempdir().expect("a folder");
    support::queued_recording(folder.path(), 40);
    for partitions in [1, 2, 7, 64] {
        let sql = format!(
            "SET datafusion.execution.target_partitions = {partitions}; SELECT count(*) AS n FROM packets"
        );
        assert_eq!(query(folder.path(), &sql), "41", "{partitions} partitions");
    }
}

#[test]
fn packets_name_the_processes_at_both_ends() {
    let folder = recording();
    let ends = "SET datafusion.execution.target_partitions = 1; SELECT src_process_name, dst_process_name, count(*), \
        sum(payload_len) FROM packets GROUP BY 1, 2 ORDER BY 1, 2";
    assert_eq!(query(folder.path(), ends), "curl,nginx,3,18\ncurl,,1,30\nnginx,curl,2,5\n,curl,1,46");
    let local = "SELECT attribution, process_name, count(*) FROM packets GROUP BY 1, 2 ORDER BY 1, 2";
    assert_eq!(query(folder.path(), local), "cookie,curl,5\nsocket_storage,nginx,2");
    // The process has one name, whichever table tells of it.
    let joined = "SELECT p.process_name, p.exit_code, count(*) FROM packets k JOIN processes p ON k.proc_id = p.proc_id \
        GROUP BY 1, 2 ORDER BY 1";
    assert_eq!(query(folder.path(), joined), "curl,3,5\nnginx,,2");
}

#[test]
fn headers_are_columns() {
    let folder = recording();
    let first = "SELECT src_ip, dst_ip, src_port, dst_port, ip_proto_name, flags_str(tcp_flags), len, ttl, tcp_seq \
        FROM packets WHERE has_flag(tcp_flags, 'SYN') ORDER BY ts LIMIT 1";
    assert_eq!(query(folder.path(), first), "127.0.0.1,127.0.0.1,40000,80,tcp,SYN,40,64,1000");
    let text = "SELECT payload_text(payload), hex(payload) FROM packets WHERE payload_len = 5";
    assert_eq!(query(folder.path(), text), "HELLO,48454c4c4f");
    assert_eq!(
        query(folder.path(), "SELECT min(ts), count(DISTINCT flow_id) FROM packets"),
        "2026-01-01T00:00:01.010Z,2"
    );
}

#[test]
fn addresses_compare_and_print() {
    let folder = recording();
    let count = |filter: &str| query(folder.path(), &format!("SELECT count(*) FROM packets WHERE {filter}"));
    for (filter, packets) in [
        ("src_ip = '127.0.0.1'", "5"),
        ("'127.0.0.1' = src_ip", "5"),
        ("src_ip = ip('10.0.0.53')", "1"),
        ("cidr(src_ip, '127.0.0.0/8')", "5"),
        ("cidr(dst_ip, '10.0.0.0/24')", "2"),
        ("cidr(dst_ip, '::ffff:0:0/96')", "7"),
        ("NOT cidr(dst_ip, '127.0.0.1')", "2"),
        ("src_ip IN ('127.0.0.1', '10.0.0.53')", "6"),
        ("src_ip NOT IN ('127.0.0.1')", "2"),
        ("src_ip BETWEEN '10.0.0.0' AND '10.0.0.255'", "2"),
        ("src_ip NOT BETWEEN '10.0.0.0' AND '10.0.0.255'", "5"),
        ("CASE src_ip WHEN '127.0.0.1' THEN true ELSE false END", "5"),
        ("CASE WHEN dst_port = 53 THEN src_ip ELSE '10.0.0.2' END = '10.0.0.2'", "7"),
        ("src_ip IN (SELECT dst_ip FROM packets WHERE dst_ip NOT IN ('10.0.0.2'))", "6"),
        ("src_ip IS DISTINCT FROM '127.0.0.1'", "2"),
        ("'127.0.0.1' IS NOT DISTINCT FROM src_ip", "5"),
    ] {
        assert_eq!(count(filter), packets, "{filter}");
    }
    let having = "SELECT src_port FROM packets GROUP BY 1 HAVING min(src_ip) = '10.0.0.53'";
    assert_eq!(query(folder.path(), having), "53");
    // Through aggregates, which lose the extension type.
    let aggregates = "SELECT src_ip, min(dst_ip), array_agg(DISTINCT dst_ip), ip_text(src_ip) || '!' FROM packets \
        WHERE dst_port = 53 GROUP BY 1";
    assert_eq!(query(folder.path(), aggregates), "10.0.0.2,10.0.0.53,[10.0.0.53],10.0.0.2!");
}

#[test]
fn scans_read_what_the_query_needs() {
    let folder = recording();
    let scan = |sql: &str| plan(folder.path(), sql);
    let metadata = scan("SELECT sum(len) FROM packets");
    assert!(metadata.contains("payload=false, owners=false"), "{metadata}");
    let owners = scan("SELECT process_name FROM packets");
    assert!(owners.contains("payload=false, owners=true"), "{owners}");
    let payload = scan("SELECT payload FROM packets");
    assert!(payload.contains("payload=true, owners=false"), "{payload}");
    let everything = query_with(folder.path(), &["--duplicates"], "EXPLAIN SELECT sum(len) FROM packets");
    assert!(everything.contains("decode=false"), "{everything}");
    let limit = scan("SELECT ts FROM packets LIMIT 2");
    assert!(limit.contains("limit=2"), "{limit}");
}

#[test]
fn blocks_out_of_time_are_not_read() {
    let folder = recording();
    let sql = "SELECT count(*) FROM packets WHERE ts < '2026-01-01T00:00:01.015Z'";
    assert!(plan(folder.path(), sql).contains("blocks=1, pruned=2"), "{}", plan(folder.path(), sql));
    assert_eq!(query(folder.path(), sql), "2");
    let none = "SELECT count(*) FROM packets WHERE ts > '2027-01-01'";
    assert!(plan(folder.path(), none).contains("blocks=0, pruned=3"));
    assert_eq!(query(folder.path(), none), "0");
    let metrics = query(folder.path(), &format!("EXPLAIN ANALYZE {sql}"));
    assert!(metrics.contains("blocks_read=1"), "{metrics}");
    // A copy is one even when the block that it is the copy of is out of time.
    let tail = "SELECT count(*) FROM packets WHERE ts > '2026-01-01T00:00:01.024002Z'";
    assert_eq!(query(folder.path(), tail), "0");
}

#[test]
fn processes_live_once() {
    let folder = recording();
    let processes = "SELECT proc_id, parent_pid, process_name, command_line, uid, first_seen, exit_code, exit_ts FROM processes";
    assert_eq!(
        query(folder.path(), processes),
        "01020304-100-100,1,curl,curl http://localhost/,1000,fork,3,2026-01-01T00:00:01.031Z\n\
         01020304-200-200,1,nginx,\"nginx -g daemon off;\",1000,enumerate,,"
            .replace("\"nginx -g daemon off;\"", "nginx -g daemon off;")
    );
    let events = "SELECT kind, count(*) FROM process_events GROUP BY 1 ORDER BY 1";
    assert_eq!(
        query(folder.path(), events),
        "enumerate,1\nexec,1\nexit,1\nfork,1",
        "snapshots are no events"
    );
}

#[test]
fn sockets_know_their_owners() {
    let folder = recording();
    let sockets = "SELECT socket_cookie, creator_process_name, process_name, pid, accepted, older, closed_ts IS NOT NULL \
        FROM sockets ORDER BY 1";
    assert_eq!(
        query(folder.path(), sockets),
        "11,curl,curl,100,false,false,true\n12,curl,curl,100,false,false,false\n\
         20,,nginx,200,false,true,false\n21,,nginx,200,true,false,false"
    );
}

#[test]
fn losses_add_up() {
    let folder = recording();
    let sums = "SELECT program, sum(seen), sum(filtered), sum(stored), sum(lost), sum(lost_ring_full) FROM losses GROUP BY 1 ORDER BY 1";
    assert_eq!(
        query(folder.path(), sums),
        "packet_egress,6,0,6,0,0\npacket_ingress,8,1,6,1,1\nprocess_exit,2,0,2,0,0\nprocess_fork,6,0,6,0,0"
    );
    assert_eq!(
        query(folder.path(), "SELECT count(*) FROM losses WHERE seen <> filtered + stored + lost"),
        "0"
    );
}

#[test]
fn recordings_and_segments_describe_themselves() {
    let folder = recording();
    let captures = "SELECT host, kernel_release, segments, packets, clock_error_ns, first_ts FROM captures";
    assert_eq!(query(folder.path(), captures), "testhost,6.18.0,2,12,50,2026-01-01T00:00:01.001Z");
    let segments = "SELECT segment, state, packets, events, ratio > 0 FROM segments ORDER BY 1";
    assert_eq!(query(folder.path(), segments), "1,sealed,11,6,true\n2,sealed,1,2,true");
    assert_eq!(query(folder.path(), "SELECT name, addresses, mac FROM interfaces"), "lo,[127.0.0.1],");
}

#[test]
fn formats_hold_the_same_rows() {
    let folder = recording();
    let sql = "SELECT src_ip, len FROM packets WHERE dst_port = 53";
    let text = |format: &str| kcap(&["sql", "--format", format, "-c", sql], folder.path()).stdout;
    assert_eq!(String::from_utf8_lossy(&text("ndjson")), "{\"src_ip\":\"10.0.0.2\",\"len\":58}\n");
    assert_eq!(String::from_utf8_lossy(&text("csv")), "src_ip,len\n10.0.0.2,58\n");
    assert!(String::from_utf8_lossy(&text("table")).contains("| 10.0.0.2 | 58  |"));
    assert_eq!(text("parquet")[..4], *b"PAR1");
    let stream = text("arrow");
    let arrow = arrow::ipc::reader::StreamReader::try_new(&stream[..], None).expect("an Arrow stream");
    let field = arrow.schema().field(0).clone();
    assert_eq!(field.metadata().get("ARROW:extension:name").map(String::as_str), Some("kcap.ip"));
    assert_eq!(arrow.map(|batch| batch.expect("a batch").num_rows()).sum::<usize>(), 1);
}

#[test]
fn wrong_queries_get_one_line() {
    let folder = recording();
    for (sql, says) in [
        ("SELEC 1", "found: SELEC at Line: 1, Column: 1"),
        ("SELECT foo FROM packets", "line 1, column 8: No field named foo"),
        ("SELECT * FROM pakets", "line 1, column 15: table 'pakets' not found"),
        ("SELECT ip('ten')", "'ten' is not an IPv4 or IPv6 address"),
        ("SELECT cidr(src_ip, '10/8') FROM packets", "'10/8' is not a network like"),
        ("SELECT has_flag(tcp_flags, 'FOO') FROM packets", "'FOO' is no TCP flag"),
        ("SELECT count(*) FROM packets WHERE src_ip IN ('localhost')", "address"),
    ] {
        let line = failure(folder.path(), sql);
        assert!(line.starts_with("kcap: ") && line.contains(says), "{line}");
    }
    // The engine takes this for a bug of its own.
    let line = failure(folder.path(), "SELECT sum(len > 50) FROM packets");
    assert!(!line.contains("bug") && !line.contains("Internal") && line.contains("sum"), "{line}");
}

#[test]
fn wrong_sources_get_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = |path: &Path| failure(path, "SELECT 1");
    assert!(said(&folder.path().join("nothing")).contains("no such file or folder"));
    assert!(said(folder.path()).contains("no recording in this folder"));
    let other = folder.path().join("other.kcap");
    std::fs::write(&other, "this is no segment").expect("a file");
    assert!(said(&other).contains("not a kcap segment"));
    assert_eq!(kcap(&["sql", "--nonsense"], folder.path()).status.code(), Some(2));
}

/// A recorder that was killed leaves a segment that ends in the middle of a block.
#[test]
fn what_is_left_of_a_cut_segment_is_used() {
    let folder = recording();
    let path = folder.path().join("000001.kcap");
    let bytes = std::fs::read(&path).expect("a segment");
    let whole = query(folder.path(), "SELECT blocks FROM segments WHERE segment = 1")
        .parse::<usize>()
        .expect("a number");
    // Inside the third block from the end: the loss account, before INDEX and SEAL.
    let cut = bytes.len() * 3 / 5;
    std::fs::write(&path, &bytes[..cut]).expect("a shorter segment");
    let output = kcap(&["sql", "--format", "csv", "-c", "SELECT state, blocks FROM segments"], &path);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("cut short at offset"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (state, blocks) = text.lines().nth(1).and_then(|line| line.split_once(',')).expect("a row");
    assert_eq!(state, "torn");
    assert!(blocks.parse::<usize>().expect("a number") < whole);
}

#[test]
fn parquet_gives_the_same_answers() {
    let folder = recording();
    let lake = folder.path().join("lake");
    let lake_text = lake.to_str().expect("paths of tests are UTF-8");
    let output = kcap(&["convert", "--to", "parquet", "--duplicates", lake_text], folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for sql in [
        "SELECT count(*), sum(len), min(ts), max(ts) FROM packets",
        "SELECT src_process_name, dst_process_name, attribution, count(*) FROM packets GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        "SELECT src_ip, flow_id, flags_str(tcp_flags) FROM packets WHERE src_ip = '127.0.0.1' ORDER BY ts",
        "SELECT proc_id, arguments, exit_code FROM processes ORDER BY 1",
        "SELECT program, seen, stored, lost FROM losses ORDER BY begin_ts, program, segment",
    ] {
        assert_eq!(query(&lake, sql), query(folder.path(), sql), "{sql}");
    }
    let count = "SELECT count(*) FROM packets";
    assert_eq!(query_with(&lake, &["--duplicates"], count), "12");
    let payload = "SELECT payload_text(payload) FROM packets JOIN packet_payloads USING (packet_id) WHERE payload_len = 5";
    assert_eq!(query(&lake, payload), "HELLO");
    assert_eq!(query(&lake, "SELECT DISTINCT date, host FROM packets"), "2026-01-01,testhost");
}
