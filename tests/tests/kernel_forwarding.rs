//! A router's recording: what it forwards is one packet at two interfaces, ARP is the kernel's, and Wireshark reads it all.

use std::path::{Path, PathBuf};
use std::process::Command;

use kcap_format::proto::LossProgram;
use kcap_format::{Capture, Segment};
use kcap_tests::books::Books;
use kcap_tests::command::run;
use kcap_tests::kcap::{kcap, number, number_with_duplicates, sql_with_duplicates};
use kcap_tests::kernel;
use kcap_tests::recorder::Recorder;
use kcap_tests::router::RoutedNetwork;

/// Datagrams that are forwarded.
const DATAGRAMS: u64 = 20;

fn segments(folder: &Path) -> Vec<Segment> {
    Capture::open(folder).expect("a capture").segments
}

fn tshark(file: &Path, filter: &str) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args([
        "-Y",
        filter,
        "-T",
        "fields",
        "-e",
        "eth.src",
        "-e",
        "frame.packet_id",
    ]);
    let finished = run(&mut command).success();
    finished.text().lines().map(str::to_owned).collect()
}

#[test]
fn a_forwarded_packet_is_one_packet() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let network = RoutedNetwork::new("route");
    let capture: PathBuf = folder.path().join("capture");
    let options = ["--interface", "to-a", "--interface", "to-b"];
    let recorder = Recorder::start_as(&capture, &options, |program| network.command("r", program));
    // One after the other, so that the first one's ARP doesn't make the next ones wait.
    let send = format!("for n in $(seq {DATAGRAMS}); do echo $n > /dev/udp/198.18.2.2/9; sleep 0.02; done");
    run(network.command("a", "bash").args(["-c", &send])).success();
    recorder.stop();

    for program in [LossProgram::InterfaceIngress, LossProgram::InterfaceEgress] {
        let books = Books::of(&segments(&capture), program);
        books.check_complete();
        assert!(books.there >= DATAGRAMS && books.lost_total() == 0, "{books:?}");
    }
    let datagrams = "FROM packets WHERE dst_port = 9 AND ip_proto = 17";
    assert_eq!(number(&capture, &format!("SELECT count(*) {datagrams}")), DATAGRAMS);
    assert_eq!(number_with_duplicates(&capture, &format!("SELECT count(*) {datagrams}")), 2 * DATAGRAMS);
    let pairs = format!(
        "SELECT count(*) FROM (SELECT * {datagrams}) AS copy JOIN (SELECT * {datagrams}) AS first
         ON copy.duplicate_of = first.packet_id
         WHERE copy.direction = 'egress' AND first.direction = 'ingress' AND copy.ttl = first.ttl - 1
         AND copy.interface_index <> first.interface_index AND copy.src_mac <> first.src_mac
         AND copy.payload = first.payload AND copy.link_type = 1"
    );
    assert_eq!(number_with_duplicates(&capture, &pairs), DATAGRAMS);
    let owners = "SELECT DISTINCT attribution, pid FROM packets WHERE ip_version IS NULL";
    let owners = sql_with_duplicates(&capture, owners);
    assert_eq!(owners.len(), 1, "{owners:?}");
    assert_eq!(
        (owners[0]["attribution"].as_str(), owners[0].get("pid").and_then(serde_json::Value::as_u64)),
        (Some("kernel"), None)
    );
    let forwarded = format!("SELECT count(*) {datagrams} AND pid IS NOT NULL");
    assert_eq!(number(&capture, &forwarded), 0, "nobody here took them");
    let sent = format!("SELECT count(*) {datagrams} AND src_process_name = 'bash' AND dst_pid IS NULL");
    assert_eq!(number(&capture, &sent), DATAGRAMS, "the sender is on this host, in another namespace");

    let file = folder.path().join("all.pcapng");
    let arguments = ["convert", "--to", "pcapng", "--duplicates"].map(std::ffi::OsStr::new);
    kcap(arguments.into_iter().chain([capture.as_os_str(), file.as_os_str()])).success();
    let seen = tshark(&file, "udp.dstport == 9 && !icmp");
    assert_eq!(seen.len() as u64, 2 * DATAGRAMS);
    let ids: std::collections::BTreeSet<&str> =
        seen.iter().filter_map(|line| line.split('\t').nth(1)).collect();
    assert_eq!(ids.len() as u64, DATAGRAMS, "one id for both: {ids:?}");
    assert!(tshark(&file, "arp").iter().all(|line| line.contains(':')), "frames with their Ethernet header");
    assert!(tshark(&file, "arp").len() >= 4, "questions and answers on both sides");
}
