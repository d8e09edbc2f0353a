//! Reassembled payload as JSON documents.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use kcap_format::proto::{self, event::Event as Kind, socket_event::Kind as SocketKind};
use kcap_format::{Direction, PacketBatch};
use support::{
    CURL, HOST, RESOLVER, Recorder, START_NS, event, exec, process, row, socket, udp, web_recording,
};

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

/// A datagram of a process in a container of a pod.
fn pod_recording(folder: &Path) {
    let (container_id, cgroup_id, cookie) = ("0123456789abcdef".repeat(4), 77, 12);
    let container = proto::Container {
        id: container_id.clone(),
        runtime: "containerd".to_owned(),
        name: "front".to_owned(),
        image: "shop:1".to_owned(),
        labels: [("com.example/tier".to_owned(), "web".to_owned())].into(),
        created_realtime_ns: support::BOOT_REALTIME_NS,
        pod: Some(proto::Pod {
            id: "6f1c2d3e".to_owned(),
            name: "shop-0".to_owned(),
            namespace: "prod".to_owned(),
            annotations: [("note".to_owned(), "x".to_owned())].into(),
            ..proto::Pod::default()
        }),
        ..proto::Container::default()
    };
    let cgroup = proto::CgroupEvent {
        id: cgroup_id,
        path: format!("/kubepods/pod6f1c2d3e/{container_id}").into_bytes(),
        container_id,
        ..proto::CgroupEvent::default()
    };
    let curl = proto::Process {
        cgroup_id,
        namespaces: Some(proto::Namespaces {
            pid_namespace: 4_026_532_001,
            pid: 7,
            ..proto::Namespaces::default()
        }),
        ..process(CURL, "curl", &["curl", "shop"])
    };
    let mut segment = Recorder::new(folder).segment();
    segment.events(&[
        event(START_NS, Kind::Cgroup(cgroup)),
        event(START_NS, Kind::Container(container)),
        exec(START_NS, curl),
        socket(START_NS, SocketKind::Create, cookie, CURL, "curl"),
    ]);
    let mut batch = PacketBatch::default();
    let question = udp((HOST, 5353), (RESOLVER, 53), 1, 5);
    batch.push(&row(START_NS + 10, Direction::Egress, cookie, 33), &question, b"hello");
    segment.packets(&batch);
    segment.seal();
}

#[test]
fn documents_tell_of_the_container_and_its_pod() {
    let folder = tempfile::tempdir().expect("a folder");
    pod_recording(folder.path());
    let process = |options: &[&str]| {
        let [document] = &documents(folder.path(), options)[..] else { panic!("one datagram") };
        document["process"].clone()
    };
    let all = process(&[]);
    assert_eq!(all["ns"], "4-4026532001");
    assert_eq!(
        all["container"],
        serde_json::json!({
            "ID": "0123456789abcdef".repeat(4), "Name": "front", "Image": "shop:1", "Runtime": "containerd",
            "CreatedAt": "2026-01-01T00:00:00.000Z", "Labels": {"com.example/tier": "web"},
        })
    );
    assert_eq!(
        all["pod"],
        serde_json::json!({"ID": "6f1c2d3e", "Name": "shop-0", "Namespace": "prod", "Annotations": {"note": "x"}})
    );
    assert_eq!(
        process(&["--meta", "process.name+container.name+pod.min"]),
        serde_json::json!({
            "name": "curl", "container": {"Name": "front"},
            "pod": {"ID": "6f1c2d3e", "Name": "shop-0", "Namespace": "prod"},
        })
    );
}

#[test]
fn what_documents_tell_is_chosen() {
    let folder = tempfile::tempdir().expect("a folder");
    web_recording(folder.path());
    let documents = documents(folder.path(), &["--skip-payload", "--meta", "process.name"]);
    assert!(documents.iter().all(|document| document.get("payload").is_none()));
    let lens: Vec<_> = documents.iter().map(|document| document["length"].as_u64()).collect();
    assert_eq!(lens, [Some(30), Some(46), Some(18), Some(5)], "as with payload");
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
