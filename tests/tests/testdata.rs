//! What `testdata/` holds is read as it always was: these answers never change. Needs no privileges.

use std::path::PathBuf;
use std::process::Command;

use kcap_format::{Segment, SegmentState};
use kcap_tests::binary;
use kcap_tests::command::run;
use kcap_tests::kcap::{kcap, number, number_with_duplicates, sql};

fn demo() -> PathBuf {
    binary::repository().join("testdata/demo.kcap")
}

#[test]
fn the_demo_is_sealed_and_whole() {
    let segment = Segment::open(demo()).expect("a segment");
    assert!(matches!(segment.state(), SegmentState::Sealed), "{:?}", segment.state());
    for block in segment.blocks() {
        segment.check_block(block).expect("a sound block");
    }
}

#[test]
fn the_demo_knows_who_talked_to_whom() {
    let rows = sql(
        &demo(),
        "SELECT ip_proto_name, src_process_name, dst_process_name, count(DISTINCT src_pid) AS processes
         FROM packets GROUP BY 1, 2, 3 ORDER BY 1, 2",
    );
    let talks: Vec<[&str; 3]> = rows
        .iter()
        .map(|row| {
            ["ip_proto_name", "src_process_name", "dst_process_name"]
                .map(|name| row[name].as_str().unwrap_or(""))
        })
        .collect();
    assert_eq!(
        talks,
        [
            ["tcp", "curl", "nginx"],
            ["tcp", "nginx", "curl"],
            ["udp", "dig", "dnsmasq"],
            ["udp", "dnsmasq", "dig"]
        ]
    );
    for row in &rows {
        let is_client = ["curl", "dig"].contains(&row["src_process_name"].as_str().unwrap_or(""));
        let processes = row["processes"].as_u64().expect("a number");
        assert_eq!(processes > 1, is_client, "a client runs for each request, a server for all: {row}");
    }
}

#[test]
fn the_demo_adds_up() {
    let demo = demo();
    assert_eq!(number(&demo, "SELECT count(*) FROM losses WHERE seen <> filtered + stored + lost"), 0);
    let stored = "SELECT sum(stored) FROM losses WHERE program IN ('packet_ingress', 'packet_egress')";
    let records = number_with_duplicates(&demo, "SELECT count(*) FROM packets");
    assert_eq!(records, number(&demo, stored));
    assert_eq!(number(&demo, "SELECT count(*) FROM packets"), records / 2, "all of it is local");
    assert_eq!(number(&demo, "SELECT count(*) FROM packets WHERE decode_error IS NOT NULL"), 0);
}

#[test]
fn the_demo_opens_in_wireshark() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("demo.pcapng");
    kcap(["convert".as_ref(), "--to".as_ref(), "pcapng".as_ref(), demo().as_os_str(), file.as_os_str()])
        .success();
    let tshark = |filter: &str| {
        let finished = run(Command::new("tshark").arg("-r").arg(&file).args(["-Y", filter])).success();
        finished.text().lines().count() as u64
    };
    assert_eq!(tshark("frame"), number(&demo(), "SELECT count(*) FROM packets"));
    assert_eq!(tshark("_ws.malformed"), 0);
    assert!(tshark("http.request.uri == \"/numbers.txt\" or dns.qry.name == \"www.kcap.test\"") > 0);
}

/// Each question in a block of SQL of the README can be asked, and has an answer.
#[test]
fn the_questions_of_the_readme_have_answers() {
    let readme = std::fs::read_to_string(binary::repository().join("README.md")).expect("the README");
    let blocks = readme.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    let questions: Vec<&str> = blocks.flat_map(|block| block.split_inclusive(';')).map(str::trim).collect();
    let questions: Vec<&str> = questions.into_iter().filter(|question| !question.is_empty()).collect();
    assert!(questions.len() >= 4, "the README has questions: {questions:?}");
    for question in questions {
        assert!(!sql(&demo(), question).is_empty(), "no answer to {question}");
    }
}
