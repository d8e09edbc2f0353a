//! Capture files of other programs answer what recordings answer.

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A frame with a TCP segment from `10.0.0.N` to `10.0.0.200:80`.
fn frame(number: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, number, 8, 0];
    frame.extend([0x45, 0, 0, 45, 0, number, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, number, 10, 0, 0, 200]);
    frame.extend([0x9c, 0x40, 0, 80, 0, 0, 0, number, 0, 0, 0, 0, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
    frame.extend(*b"hello");
    frame
}

/// A pcap file of frames with these numbers, each at as many seconds.
fn pcap(numbers: &[u8]) -> Vec<u8> {
    pcap_of(numbers.iter().map(|number| (u32::from(*number), frame(*number))))
}

/// A pcap file of frames with their seconds.
fn pcap_of(frames: impl IntoIterator<Item = (u32, Vec<u8>)>) -> Vec<u8> {
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for (seconds, frame) in frames {
        for value in [seconds, 0, frame.len() as u32, frame.len() as u32] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(frame);
    }
    bytes
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a file");
    path
}

fn sql(sources: &[&Path], query: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
    command.arg("sql").args(sources).args(["--format", "csv", "-c", query]);
    command.output().expect("kcap runs")
}

fn rows(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().skip(1).map(str::to_owned).collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Seconds of the records of a little-endian pcap file.
fn records(mut bytes: &[u8]) -> Vec<u32> {
    let number =
        |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let mut seconds = Vec::new();
    bytes = &bytes[24..];
    while !bytes.is_empty() {
        seconds.push(number(bytes, 0));
        bytes = &bytes[16 + number(bytes, 8) as usize..];
    }
    seconds
}

#[test]
fn a_pcap_answers_like_a_recording() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), "a.pcap", &pcap(&[1, 2, 3]));
    let query = "SELECT packet_id, ts, src_ip, src_port, dst_port, tcp_seq, len, cap_len, payload_text(payload), attribution, process_name \
        FROM packets WHERE src_ip = '10.0.0.2'";
    assert_eq!(
        rows(&sql(&[&path], query)),
        ["17592187092993,1970-01-01T00:00:02Z,10.0.0.2,40000,80,2,59,59,hello,no_socket,"]
    );
    let one = |query: &str| rows(&sql(&[&path], query)).join("|");
    assert_eq!(one("SELECT count(*) FROM packets"), "3");
    assert_eq!(one("SELECT count(DISTINCT flow_id) FROM packets"), "3");
    assert_eq!(one("SELECT state, packets, blocks FROM segments"), "sealed,3,2");
    assert_eq!(one("SELECT packets, first_ts FROM captures"), "3,1970-01-01T00:00:01Z");
    assert_eq!(one("SELECT interface_index, hardware_type FROM interfaces"), "0,1");
    assert_eq!(one("SELECT count(*) FROM processes"), "0");
    assert_eq!(one("SELECT count(*) FROM packets WHERE ts > '1970-01-01T00:00:02Z'"), "1");
    let info = Command::new(env!("CARGO_BIN_EXE_kcap")).arg("info").arg(&path).output().expect("kcap runs");
    let text = String::from_utf8_lossy(&info.stdout).into_owned();
    assert!(text.contains("3 packets") && text.contains("sealed"), "{text}");
}

/// As `mergecap -a` writes two captures of the same time: one behind the other. Once no more than 16 MiB were put in order.
#[test]
fn parts_of_a_file_that_lie_side_by_side_in_time_are_put_in_order() {
    const PART_LEN: usize = 20 << 20;
    const FRAME_LEN: usize = 200_000;
    let frames = (PART_LEN / FRAME_LEN) as u32;
    let mut large = frame(1);
    large.resize(FRAME_LEN, 0);
    let part = |number: u32| (0..frames).map(move |place| 2 * place + number);
    let seconds = part(0).chain(part(1));
    let folder = tempfile::tempdir().expect("a folder");
    let source = write(folder.path(), "merged.pcap", &pcap_of(seconds.map(|at| (at, large.clone()))));
    let out = folder.path().join("out.pcap");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
    let output = command.args(["convert", "--to", "pcap"]).args([&source, &out]).output().expect("kcap runs");
    assert!(output.status.success(), "{}", stderr(&output));
    let ordered: Vec<_> = (0..2 * frames).collect();
    assert_eq!(records(&std::fs::read(&out).expect("the file")), ordered);
}

#[test]
fn many_files_are_one_source_in_the_order_of_time() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "b.pcap", &pcap(&[1, 4, 5]));
    write(folder.path(), "a.pcap1", &pcap(&[2, 3, 6]));
    write(folder.path(), "notes.txt", b"not a capture");
    let out = folder.path().join("out.pcap");
    for source in [folder.path().to_owned(), folder.path().join("*.pcap*")] {
        assert_eq!(rows(&sql(&[&source], "SELECT count(DISTINCT packet_id) FROM packets")), ["6"]);
        assert_eq!(rows(&sql(&[&source], "SELECT path FROM segments")).len(), 2);
        let convert = |source: &Path| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
            command.args(["convert", "--to", "pcap"]).arg(source).arg(&out).output().expect("kcap runs")
        };
        let output = convert(&source);
        assert!(output.status.success(), "{}", stderr(&output));
        let merged = std::fs::read(&out).expect("the file");
        assert_eq!(records(&merged), [1, 2, 3, 4, 5, 6]);
        std::fs::remove_file(&out).expect("removed");
    }
}

#[test]
fn the_same_file_counts_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), "a.pcap", &pcap(&[1]));
    assert_eq!(rows(&sql(&[&path, folder.path()], "SELECT count(*) FROM packets")), ["1"]);
}

#[test]
fn standard_input_is_a_source() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kcap runs");
        // Fails where kcap refused to read.
        let _ = child.stdin.take().expect("a pipe").write_all(&pcap(&[1, 2]));
        child.wait_with_output().expect("kcap ends")
    };
    let output = run(&["sql", "-", "--format", "csv", "-c", "SELECT count(*), sum(len) FROM packets"]);
    assert_eq!(rows(&output), ["2,118"]);
    let output = run(&["sql", "-"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("write SQL behind -c"), "{}", stderr(&output));
}

/// What is missing is said in one line, is a state of the file, and is counted.
#[test]
fn a_file_cut_short_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = pcap(&[1, 2, 3]);
    let path = write(folder.path(), "cut.pcap", &whole[..whole.len() - 1]);
    let output = sql(&[&path], "SELECT count(*) FROM packets");
    assert_eq!(rows(&output), ["2"]);
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert!(stderr(&output).contains("cut short at offset 174"), "{}", stderr(&output));
    assert_eq!(rows(&sql(&[&path], "SELECT state FROM segments")), ["torn"]);
    assert_eq!(rows(&sql(&[&path], "SELECT seen, stored, lost, lost_bad_record FROM losses")), ["3,2,1,1"]);

    let mut lies = whole;
    lies[24 + 8..24 + 12].fill(0xff);
    let path = write(folder.path(), "lies.pcap", &lies);
    let output = sql(&[&path], "SELECT count(*) FROM packets");
    assert_eq!(rows(&output), ["0"]);
    assert!(stderr(&output).contains("damaged at offset 24"), "{}", stderr(&output));
    assert_eq!(rows(&sql(&[&path], "SELECT state FROM segments")), ["corrupt"]);
}

#[test]
fn what_is_no_capture_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), "a.txt", b"a text that is long enough to have a header");
    let output = sql(&[&path], "SELECT 1");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("neither a kcap segment nor a capture file"), "{}", stderr(&output));
}

#[test]
fn segments_made_of_files_answer_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = write(folder.path(), "first.pcap", &pcap(&[1, 3, 5]));
    let second = write(folder.path(), "second.pcap", &pcap(&[2, 4]));
    let convert = |sources: &[&Path], out: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
        command.args(["convert", "--to", "segments"]).args(sources).arg(out).output().expect("kcap runs")
    };
    let query = "SELECT ts, src_ip, tcp_seq, len, cap_len, payload_text(payload) FROM packets ORDER BY ts";
    for (sources, out) in [
        (&[first.as_path()][..], folder.path().join("one.kcap")),
        (&[first.as_path(), second.as_path()][..], folder.path().join("capture")),
    ] {
        let output = convert(sources, &out);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(rows(&sql(&[&out], query)), rows(&sql(sources, query)));
        assert_eq!(rows(&sql(&[&out], "SELECT state FROM segments")), ["sealed"]);
        // What is there already is never written over.
        let again = convert(sources, &out);
        assert_eq!(again.status.code(), Some(1));
        assert_eq!(stderr(&again).lines().count(), 1, "{}", stderr(&again));
        let segment = convert(&[&out], &folder.path().join("other"));
        assert_eq!(segment.status.code(), Some(2), "{}", stderr(&segment));
    }
    let partial = |path: &Path| path.read_dir().expect("a folder").count();
    assert_eq!(partial(&folder.path().join("capture")), 1);
    let info =
        Command::new(env!("CARGO_BIN_EXE_kcap")).arg("info").arg(folder.path().join("one.kcap")).output();
    let text = String::from_utf8_lossy(&info.expect("kcap runs").stdout).into_owned();
    assert!(text.contains("losses     unknown: the capture file does not tell"), "{text}");
}

#[test]
fn a_packet_in_a_tunnel_has_its_own_addresses() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut tunnelled = frame(7);
    let outer = [0x45, 0, 0, 65, 0, 1, 0x40, 0, 64, 4, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    tunnelled.splice(14..14, outer);
    let path = write(folder.path(), "tunnel.pcap", &pcap_of([(1, tunnelled), (2, frame(8))]));
    let query =
        "SELECT src_ip, dst_port, tunnel, tunnel_id, outer_src_ip, outer_dst_ip FROM packets ORDER BY ts";
    assert_eq!(rows(&sql(&[&path], query)), ["10.0.0.7,80,ipip,,192.0.2.1,192.0.2.2", "10.0.0.8,80,,,,"]);
}

#[test]
fn checksums_are_checked_for_who_asks() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut right = frame(1);
    right[24..26].copy_from_slice(&[0x26, 0x02]);
    right[50..52].copy_from_slice(&[0xb9, 0x9b]);
    let mut wrong = right.clone();
    wrong[58] ^= 1;
    let cut = pcap_of([(1, right), (2, wrong), (3, frame(2))]);
    let path = write(folder.path(), "sums.pcap", &cut);
    let query = "SELECT ip_checksum_status, checksum_status FROM packets ORDER BY ts";
    assert_eq!(rows(&sql(&[&path], query)), ["good,good", "good,bad", "offloaded,bad"]);
}

#[test]
fn processes_come_back_from_an_export() {
    let folder = tempfile::tempdir().expect("a folder");
    let recording = folder.path().join("recording");
    std::fs::create_dir(&recording).expect("a folder");
    support::web_recording(&recording);
    let exported = folder.path().join("export.pcapng");
    let status = Command::new(env!("CARGO_BIN_EXE_kcap"))
        .args(["convert", "--to", "pcapng"])
        .args([&recording, &exported])
        .status()
        .expect("kcap runs");
    assert!(status.success());
    for query in [
        "SELECT src_port, dst_port, direction, process_name, pid, attribution, src_process_name, src_pid, dst_process_name, dst_pid \
            FROM packets ORDER BY ts",
        "SELECT server_port, client_process_name, client_pid, server_process_name, server_pid FROM flows ORDER BY ts",
    ] {
        let expected = rows(&sql(&[&recording], query));
        assert!(expected.iter().any(|row| row.contains("curl")), "{expected:?}");
        assert_eq!(rows(&sql(&[&exported], query)), expected);
    }
    let unknown = "SELECT count(proc_id) FROM packets";
    assert_eq!(rows(&sql(&[&exported], unknown)), ["0"], "comments don't tell when a process began");
}
