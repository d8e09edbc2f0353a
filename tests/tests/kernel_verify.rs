//! What the recorder writes is clean to `kcap verify`; what is damaged afterwards is named, and repaired.

use std::net::Ipv4Addr;

use kcap_tests::command::wait_until;
use kcap_tests::kcap::{kcap, number};
use kcap_tests::kernel;
use kcap_tests::recorder::{Recorder, segments};
use kcap_tests::traffic::{Kind, Server, connect, flood};
use nix::sys::signal::Signal;

const RECORDS: &str = "SELECT count(*) FROM packets";

#[test]
fn a_recording_is_clean_and_its_damage_can_be_repaired() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let [capture, repaired] = ["capture", "repaired"].map(|name| folder.path().join(name));
    let recorder = Recorder::start(&capture, &["--segment-size", "1MiB", "--compression-level", "stored"]);
    wait_until("three segments", || {
        flood(5_000, 500);
        (segments(&capture).len() > 3).then_some(())
    });
    let server = Server::start(Kind::Tcp, Ipv4Addr::LOCALHOST.into(), 1, None);
    connect(Kind::Tcp, server.address, 1, 10_000, None);
    server.finish();
    recorder.stop();
    let verified = kcap(["verify".as_ref(), capture.as_os_str()]).success();
    assert!(verified.text().lines().all(|line| line.contains(": clean, ")), "{}", verified.text());
    let records = number(&capture, RECORDS);

    // A sector in the middle of the second segment.
    let damaged = &segments(&capture)[1];
    let mut bytes = std::fs::read(damaged).expect("a segment");
    let sector = bytes.len() / 2 / 512 * 512;
    bytes[sector..sector + 512].fill(0);
    std::fs::write(damaged, bytes).expect("a segment");
    let verified = kcap(["verify".as_ref(), capture.as_os_str()]);
    assert_eq!(verified.status.code(), Some(1), "{}", verified.text());
    assert_eq!(verified.text().matches(": corrupt (").count(), 1, "{}", verified.text());

    kcap(["repair".as_ref(), capture.as_os_str(), repaired.as_os_str()]).success();
    kcap(["verify".as_ref(), repaired.as_os_str()]).success();
    let left = number(&repaired, RECORDS);
    assert!(left <= records && left > records / 2, "{left} of {records}");
    assert_eq!(segments(&repaired).len(), segments(&capture).len());
}

#[test]
fn a_killed_recorder_leaves_what_verify_calls_unsealed_or_torn() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let [capture, repaired] = ["capture", "repaired"].map(|name| folder.path().join(name));
    let recorder = Recorder::start(&capture, &[]);
    wait_until("packets", || {
        flood(2_000, 200);
        (number(&capture, RECORDS) > 0).then_some(())
    });
    recorder.end(Signal::SIGKILL);
    // Another recording notes what it found.
    Recorder::start(&capture, &[]).stop();
    let verified = kcap(["verify".as_ref(), capture.as_os_str()]);
    assert_eq!(verified.status.code(), Some(1));
    let first = verified.text().lines().next().expect("a line").to_owned();
    assert!(first.contains(": unsealed (") || first.contains(": torn ("), "{first}");
    assert!(!verified.text().contains("predecessor"), "{}", verified.text());

    kcap(["repair".as_ref(), capture.as_os_str(), repaired.as_os_str()]).success();
    kcap(["verify".as_ref(), repaired.as_os_str()]).success();
    assert_eq!(number(&repaired, RECORDS), number(&capture, RECORDS), "nothing that was readable is lost");
}
