//! `kcap info` once said "losses none" of recordings that tell nothing of losses: those of a recorder that was killed, or whose
//! disk was full when it should have written its account.

mod support;

use std::path::Path;
use std::process::Command;

use kcap_format::proto::LossReport;
use kcap_format::{Direction, PacketBatch};
use support::{DNS_COOKIE, HOST, RESOLVER, Recorder, START_NS, report, row, udp};

/// What `kcap info` says of losses.
fn losses(folder: &Path) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_kcap")).arg("info").arg(folder).output().expect("kcap runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("losses     "));
    line.expect("a line about losses").to_owned()
}

/// A segment of five packets with an account, sealed or not.
fn recording(reports: &[LossReport], seal: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut segment = Recorder::new(folder.path()).segment();
    let mut batch = PacketBatch::default();
    for number in 0..5 {
        let header = udp((HOST, 1000), (RESOLVER, 53), 1, 0);
        batch.push(&row(START_NS + number, Direction::Egress, DNS_COOKIE, 28), &header, &[]);
    }
    segment.packets(&batch);
    if !reports.is_empty() {
        segment.losses(reports);
    }
    if seal {
        segment.seal();
    }
    folder
}

#[test]
fn none_is_said_only_when_all_is_known() {
    let complete = recording(&[report(2, 5, 0, 5, &[])], true);
    assert_eq!(losses(complete.path()), "none");
    let silent = recording(&[], true);
    let said = losses(silent.path());
    assert!(said.starts_with("unknown: 5 of 5 records have no account"), "{said}");
    let part = recording(&[report(2, 3, 0, 3, &[])], false);
    let said = losses(part.path());
    assert!(said.starts_with("unknown: 2 of 5 records have no account"), "{said}");
    let on_its_way = LossReport { in_flight: 7, ..report(2, 5, 0, 5, &[]) };
    let said = losses(recording(&[on_its_way], true).path());
    assert_eq!(said, "unknown: 7 events were on their way at the last account");
    let unsealed = recording(&[report(2, 5, 0, 5, &[])], false);
    let said = losses(unsealed.path());
    assert_eq!(said, "unknown: what came after the last account, since a segment has no end");
}
