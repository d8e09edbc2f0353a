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

/// Datagrams that are forwarded.
const DATAGRAMS: u64 = 20;

/// Network namespaces of two hosts and of the router between them. Removed when dropped.
struct Network {
    name: String,
}

impl Network {
    fn new() -> Self {
        let network = Self { name: format!("kcap-{}-route", std::process::id()) };
        let script = r#"
            for side in a r b; do
                ip netns add "$0-$side"
                for conf in all default; do
                    ip netns exec "$0-$side" sh -c "echo 1 > /proc/sys/net/ipv6/conf/$conf/disable_ipv6"
                done
            done
            ip netns exec "$0-r" sh -c "echo 1 > /proc/sys/net/ipv4/ip_forward"
            number=1
            for side in a b; do
                ip -n "$0-r" link add "to-$side" type veth peer name eth0 netns "$0-$side"
                ip -n "$0-r" addr add "198.18.$number.1/24" dev "to-$side"
                ip -n "$0-$side" addr add "198.18.$number.2/24" dev eth0
                ip -n "$0-r" link set "to-$side" up
                ip -n "$0-$side" link set eth0 up
                ip -n "$0-$side" route add default via "198.18.$number.1"
                number=2
            done
        "#;
        run(Command::new("sh").args(["-ec", script, &network.name])).success();
        network
    }

    /// A command in a namespace, with all other namespaces as they are here.
    fn command(&self, side: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}-{side}", self.name)).arg(program);
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for side in ["a", "b", "r"] {
            let _ = Command::new("ip").args(["netns", "del", &format!("{}-{side}", self.name)]).output();
        }
    }
}

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
    let network = Network::new();
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
