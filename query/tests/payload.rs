//! Reassembled payload as JSON documents.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use support::web_recording;

fn convert(source: &Path, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcap"));
    command.args(["convert", "--to", "payload"]).args(options).arg(source).arg("-");
    command.output().expect("kcap runs")
}

fn documents(source: &Path, options: &[&str]) -> Vec<serde_json::Value> {
    let output = convert(source, options);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a document")).collect()
}

#[test]
fn a_document_for_each_run_with_its_process() {
    let folder = tempfile::tempdir().expect("a folder");
    web_recording(folder.path());
    let documents = documents(folder.path(), &[]);
    let lens: Vec<_> = documents.iter().map(|document| document["length"].as_u64()).collect();
    assert_eq!(lens, [Some(30), Some(46), Some(18), Some(5)], "a query, its answer, a request, its response");
    let request = &documents[2];
    assert_eq!(request["payload"], "R0VUIC8gSFRUUC8xLjENCg0K");
    assert_eq!((&request["direction"], &request["process"]["name"]), (&"TX".into(), &"curl".into()));
    assert_eq!(request["process"]["pid"], 100);
    assert_eq!(request["process"]["ppid"], 1);
    assert_eq!(request["process"]["exe"], "/usr/bin/curl");
    assert!(
        request["process"]["startedAt"].as_str().is_some_and(|text| text.starts_with("2026-01-01T00:00:01"))
    );
    assert_eq!(request["net"]["srcAddr"], "127.0.0.1");
    assert_eq!(request["net"]["dstPort"], 80);
    let response = &documents[3];
    assert_eq!((&response["net"]["srcPort"], &response["process"]["name"]), (&80.into(), &"nginx".into()));
    assert_eq!(request["flowID"], response["flowID"]);
    let times: Vec<_> = documents.iter().map(|document| document["ts"].as_u64()).collect();
    assert!(times[0] == Some(0) && times.is_sorted(), "{times:?}");
    let answer = &documents[1];
    assert_eq!((&answer["direction"], &answer["process"]["name"]), (&"RX".into(), &"curl".into()));
}

#[test]
fn what_documents_tell_is_chosen() {
    let folder = tempfile::tempdir().expect("a folder");
    web_recording(folder.path());
    let documents = documents(folder.path(), &["--skip-payload", "--meta", "process.name"]);
    assert!(documents.iter().all(|document| document.get("payload").is_none()));
    assert_eq!(documents[2]["process"], serde_json::json!({"name": "curl"}));
    let refused = convert(folder.path(), &["--meta", "process.colour"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("'process.colour' selects nothing"));
    let elsewhere = Command::new(env!("CARGO_BIN_EXE_kcap"))
        .args(["convert", "--to", "pcap", "--skip-payload"])
        .args([folder.path(), Path::new("-")])
        .output()
        .expect("kcap runs");
    assert_eq!(elsewhere.status.code(), Some(2));
}
