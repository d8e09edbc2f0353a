//! `kcap convert` and `kcap info` over a recording whose every packet is known.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use support::web_recording;

fn kcap(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kcap")).args(arguments).output().expect("kcap runs")
}

fn recording() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    web_recording(folder.path());
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

/// Lengths on the wire of the packets in a recording's pcapng, in their order.
fn exported_lengths(source: &Path, options: &[&str]) -> Vec<u32> {
    use pcap_file::pcapng::{Block, PcapNgReader};
    let output = kcap(&[&["convert", "--to", "pcapng"], options, &[text(source), "-"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut reader = PcapNgReader::new(&output.stdout[..]).expect("a section header");
    let mut lengths = Vec::new();
    while let Some(block) = reader.next_block() {
        if let (Block::EnhancedPacket(packet), _) = block.expect("a whole block") {
            lengths.push(packet.original_len);
        }
    }
    lengths
}

#[test]
fn pcapng_has_each_packet_once_in_the_order_of_time() {
    let folder = recording();
    assert_eq!(exported_lengths(folder.path(), &[]), [58, 74, 40, 40, 58, 45, 40]);
    let both = exported_lengths(folder.path(), &["--duplicates"]);
    assert_eq!(both, [58, 74, 40, 40, 40, 40, 58, 58, 45, 45, 40, 40]);
}

#[test]
fn blocks_that_overlap_are_merged() {
    let folder = tempfile::tempdir().expect("a folder");
    support::interleaved_recording(folder.path());
    let lengths = exported_lengths(folder.path(), &[]);
    assert_eq!(lengths.len(), 16);
    // The recording gives later packets a greater length.
    assert!(lengths.is_sorted(), "{lengths:?}");
}

#[test]
fn comments_name_both_ends() {
    let folder = recording();
    let output = kcap(&["convert", "--to", "pcapng", text(folder.path()), "-"]);
    let bytes = String::from_utf8_lossy(&output.stdout);
    assert!(
        bytes.contains("sender: curl (pid 100): curl http://localhost/ [cookie]\nreceiver: nginx (pid 200)")
    );
    assert!(bytes.contains("host testhost, recording 07070707-"));
}

#[test]
fn pcap_has_the_captured_bytes() {
    let folder = recording();
    let output = kcap(&["convert", "--to", "pcap", text(folder.path()), "-"]);
    let mut reader = pcap_file::pcap::PcapReader::new(&output.stdout[..]).expect("a head");
    let mut bytes = Vec::new();
    while let Some(packet) = reader.next_packet() {
        bytes.push(packet.expect("a whole packet").data().to_vec());
    }
    assert_eq!(bytes.len(), 7);
    assert_eq!(&bytes[5][40..], b"HELLO");
}

#[test]
fn parquet_has_every_table_and_the_same_rows() {
    let folder = recording();
    let lake = folder.path().join("lake");
    let output = kcap(&["convert", "--to", "parquet", text(folder.path()), text(&lake)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = |table: &str| {
        let path = lake.join(format!("table={table}/date=2026-01-01/host=testhost/part-0.parquet"));
        let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let builder =
            parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
        let group = builder.metadata().row_group(0);
        assert!(group.column(0).offset_index_offset().is_some(), "{table}: page index");
        if table == "packets" {
            let bloom =
                group.columns().iter().filter(|column| column.bloom_filter_offset().is_some()).count();
            assert_eq!(bloom, 3);
        }
        builder.metadata().file_metadata().num_rows()
    };
    for (table, count) in [
        ("packets", 7),
        ("packet_payloads", 7),
        ("processes", 2),
        ("process_events", 4),
        ("sockets", 4),
        ("losses", 5),
        ("segments", 2),
        ("captures", 1),
        ("interfaces", 1),
        ("flows", 2),
        ("streams", 2),
    ] {
        assert_eq!(rows(table), count, "{table}");
    }
    // Tables without rows are there too.
    for table in ["packets", "flows", "flow_reports", "streams", "gaps", "decode_errors", "recorder_steps"] {
        let answer = |source: &Path, what: &str| {
            let sql = format!("SELECT {what} FROM {table}");
            let output = kcap(&["sql", text(source), "--format", "csv", "-c", &sql]);
            assert!(output.status.success(), "{table}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("CSV is UTF-8")
        };
        for what in ["count(*)", "min(capture_id)"] {
            assert_eq!(answer(&lake, what), answer(folder.path(), what), "{table}");
        }
    }
    let again = kcap(&["convert", "--to", "parquet", text(folder.path()), text(&lake)]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("this folder is not empty"));
}

#[test]
fn info_tells_what_there_is() {
    let folder = recording();
    let output = kcap(&["info", text(folder.path())]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in [
        "host       testhost (x86_64, 2 processors)",
        "records    12 packets, 8 events in",
        "account    packet_ingress: seen 8 = filtered 1 + stored 6 + lost 1 (ring_full 1)",
        "losses     1",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
    let json = kcap(&["info", "--json", text(folder.path())]);
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(value[0]["packets"], 12);
    assert_eq!(value[0]["losses"][1]["lost_by_cause"]["ring_full"], 1);
}

#[test]
fn too_few_paths_are_wrong_usage() {
    let folder = recording();
    for arguments in [["convert", "--to", "pcap", text(folder.path())], ["convert", "--to", "parquet", "-"]] {
        let output = kcap(&arguments);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
    }
}

/// What a capture file's comments tell of owners is in the segments that are made of it, and in what is made of these.
#[test]
fn owners_stay_through_a_capture_file_and_segments() {
    let folder = recording();
    let out = tempfile::tempdir().expect("a folder");
    let path = |name: &str| out.path().join(name);
    let (first, segments, second) = (path("first.pcapng"), path("made.kcap"), path("second.pcapng"));
    for (format, from, to) in [
        ("pcapng", folder.path(), &first),
        ("segments", first.as_path(), &segments),
        ("pcapng", segments.as_path(), &second),
    ] {
        let output = kcap(&["convert", "--to", format, text(from), text(to)]);
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let answers = |source: &Path, sql: &str| {
        let output = kcap(&["sql", text(source), "--format", "csv", "-c", sql]);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("CSV is UTF-8")
    };
    let packets = "SELECT ts, len, process_name, pid, attribution, src_process_name, src_pid, dst_process_name, dst_pid \
        FROM packets ORDER BY ts";
    let flows = "SELECT server_port, client_process_name, client_pid, server_process_name, server_pid FROM flows \
        ORDER BY server_port";
    for sql in [packets, flows] {
        let told = answers(folder.path(), sql);
        assert!(told.contains("curl") && told.contains("nginx"), "{told}");
        for source in [&first, &segments, &second] {
            assert_eq!(answers(source, sql), told, "{}", source.display());
        }
    }
    let verified = kcap(&["verify", text(&segments)]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
