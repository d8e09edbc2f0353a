//! Whose packets they are when there are many, and agreement with what programs say of their own traffic.

use std::process::Command;

use kcap_tests::command::{COMMAND_TIME_MAX, Running, run};
use kcap_tests::kcap::number;
use kcap_tests::kernel;
use kcap_tests::recorder::Recorder;
use kcap_tests::traffic::{flood, free_port};
use serde_json::Value;

/// Bytes that iperf3's client sends.
const IPERF_BYTES: u64 = 50_000_000;
/// iperf3 begins each connection with a cookie, which its report leaves out: `COOKIE_SIZE` in its iperf.h.
const IPERF_COOKIE_BYTES: u64 = 37;

/// Of a flood's recorded packets, so many may lack an owner, in thousandths.
const UNATTRIBUTED_PER_MILLE_MAX: u64 = 1;

#[test]
fn a_flood_is_attributed_at_both_ends() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let recorder = Recorder::start(&folder.path().join("capture"), &["--snaplen", "headers"]);
    let flood = flood(300_000, 64);
    let capture = recorder.folder().to_owned();
    recorder.stop();
    let to_port = format!("FROM packets WHERE ip_proto = 17 AND dst_port = {}", flood.port);
    let all = number(&capture, &format!("SELECT count(*) {to_port}"));
    let owned = format!("{to_port} AND src_pid = {} AND dst_pid = {}", flood.sender, flood.receiver);
    let owned = number(&capture, &format!("SELECT count(*) {owned}"));
    assert!(all > 0, "some of the flood was recorded");
    let packet_programs = "program IN ('packet_ingress', 'packet_egress')";
    let lost = number(&capture, &format!("SELECT sum(lost) FROM losses WHERE {packet_programs}"));
    assert!(lost * 10 < all, "{lost} records were lost beside {all} packets: too many to tell anything");
    // A packet whose other copy was lost, which is counted, can't name both ends.
    let unowned = (all - owned).saturating_sub(lost);
    assert!(
        unowned * 1000 <= all * UNATTRIBUTED_PER_MILLE_MAX,
        "{owned} of {all} packets have both owners, {lost} records were lost"
    );
}

#[test]
fn payload_bytes_agree_with_iperf3() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let recorder = Recorder::start(&folder.path().join("capture"), &["--snaplen", "headers"]);
    let port = free_port().to_string();
    let mut server = Running::start(Command::new("iperf3").args(["-s", "-1", "-p", &port, "--forceflush"]));
    server.wait_for_line("Server listening on ");
    let bytes = IPERF_BYTES.to_string();
    let client =
        run(Command::new("iperf3").args(["-c", "127.0.0.1", "-p", &port, "-n", &bytes, "--json"])).success();
    server.wait(COMMAND_TIME_MAX).success();
    let capture = recorder.folder().to_owned();
    recorder.stop();

    let report: Value = serde_json::from_str(&client.text()).expect("iperf3 reports JSON");
    let sent = report["end"]["sum_sent"]["bytes"].as_u64().expect("bytes sent");
    let received = report["end"]["sum_received"]["bytes"].as_u64().expect("bytes received");
    let retransmits = report["end"]["sum_sent"]["retransmits"].as_u64().expect("retransmissions");
    let local_port = report["start"]["connected"][0]["local_port"].as_u64().expect("the client's port");
    let lost = number(&capture, "SELECT sum(lost) FROM losses");
    assert_eq!(lost, 0, "nothing was lost, so the sums can be compared");
    let recorded = number(
        &capture,
        &format!(
            "SELECT sum(payload_len) FROM packets WHERE src_process_name = 'iperf3' AND src_port = {local_port}"
        ),
    );
    // What the client wrote last may never leave its socket: the server closes when the client says that it is done.
    let least = received + IPERF_COOKIE_BYTES;
    assert!(recorded >= least, "{recorded} bytes recorded, {least} received");
    let most = sent + IPERF_COOKIE_BYTES;
    assert!(recorded <= most || retransmits > 0, "{recorded} bytes recorded, {most} written");
}
