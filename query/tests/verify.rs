//! `kcap verify` and `kcap repair`: states, exit codes, what is printed for people and for programs.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use kcap_format::{BlockType, Segment};
use serde_json::Value;

fn kcap(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kcap")).args(arguments).output().expect("kcap runs")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

fn printed(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (text(&output.stdout), text(&output.stderr))
}

fn verify_json(path: &Path) -> (Option<i32>, Value) {
    let output = kcap(&["verify", "--json", text(path)]);
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// A recording of two segments, the first with damage in its packets' payloads and in its events.
fn damaged(folder: &Path) -> u64 {
    support::web_recording(folder);
    let path = folder.join("000001.kcap");
    let segment = Segment::open(&path).expect("a segment");
    let mut bytes = std::fs::read(&path).expect("a segment");
    let packets = segment.blocks_of(BlockType::PACKETS).next().expect("packets");
    let events = segment.blocks_of(BlockType::EVENTS).next().expect("events");
    // Payloads lie last in a block; headers have 96 bytes.
    bytes[packets.offset as usize + 96 + packets.stored_len as usize - 1] ^= 1;
    bytes[events.offset as usize + 96] ^= 1;
    std::fs::write(&path, bytes).expect("a file");
    events.offset
}

#[test]
fn a_clean_recording_ends_with_0() {
    let folder = tempfile::tempdir().expect("a folder");
    support::web_recording(folder.path());
    let output = kcap(&["verify", text(folder.path())]);
    let (said, errors) = printed(&output);
    assert_eq!((output.status.code(), &*errors), (Some(0), ""));
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.lines().all(|line| line.contains(".kcap: clean, ")), "{said}");

    let (code, report) = verify_json(folder.path());
    assert_eq!((code, &report["clean"], &report["faults"]), (Some(0), &true.into(), &Value::Array(vec![])));
    assert_eq!(report["files"][0]["segment"], 1);
    assert_eq!(report["files"][0]["digest"].as_str().expect("a digest").len(), 64);

    let (said, _) = printed(&kcap(&["verify", "-v", text(folder.path())]));
    assert!(said.contains("block 0 at offset 0: FILE, 1 records, "), "{said}");
    assert!(said.lines().filter(|line| line.ends_with(": whole")).count() > 4, "{said}");
}

#[test]
fn what_is_not_clean_ends_with_1_and_is_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let offset = damaged(folder.path());
    let output = kcap(&["verify", text(folder.path())]);
    let (said, errors) = printed(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("not clean: 1 of 2 segments; kcap repair"), "{errors}");
    assert!(said.contains("000001.kcap: corrupt (at offset "), "{said}");
    assert!(said.contains(&format!("at offset {offset}: EVENTS")), "{said}");
    assert!(said.contains("000002.kcap: clean"), "{said}");

    let (code, report) = verify_json(folder.path());
    assert_eq!((code, &report["clean"]), (Some(1), &false.into()));
    let file = &report["files"][0];
    assert_eq!((&file["state"], &file["lost_blocks"]), (&"corrupt".into(), &2.into()));
    let faulty = file["damaged_blocks"].as_array().expect("blocks");
    assert_eq!(faulty.len(), 2);
    assert!(faulty.iter().any(|block| block["offset"] == offset && block["type"] == "EVENTS"));

    std::fs::remove_file(folder.path().join("000001.kcap")).expect("a file");
    std::fs::write(folder.path().join("000003.kcap"), b"not a segment").expect("a file");
    let (said, errors) = printed(&kcap(&["verify", text(folder.path())]));
    assert!(said.contains("000003.kcap: not a segment (there is no whole block in it), 13 B"), "{said}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn repair_makes_a_clean_recording_and_says_what_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let [source, out] = ["source", "out"].map(|name| folder.path().join(name));
    std::fs::create_dir(&source).expect("a folder");
    let offset = damaged(&source);
    let rows = |path: &Path, what: &str| {
        let output = kcap(&[
            "sql",
            text(path),
            "--format",
            "csv",
            "-c",
            &format!("SELECT count({what}) FROM packets"),
        ]);
        printed(&output).0.lines().nth(1).expect("a row").to_owned()
    };
    let before = rows(&source, "*");

    let output = kcap(&["repair", text(&source), text(&out)]);
    let (said, errors) = printed(&output);
    assert_eq!((output.status.code(), &*errors), (Some(0), ""), "{said}");
    assert!(said.contains("-> rewritten as ") && said.contains("-> copied to "), "{said}");
    assert!(said.contains(&format!("  lost: bytes {offset} to ")), "{said}");
    assert!(said.contains("PACKETS: the payloads of 2 packets"), "{said}");

    let (code, report) = verify_json(&out);
    assert_eq!((code, &report["clean"]), (Some(0), &true.into()));
    assert_eq!(report["files"][0]["repaired_from"], "corrupt");
    // Answers go on saying what they miss.
    let output = kcap(&["info", text(&out)]);
    let (said, errors) = printed(&output);
    let lost = "repaired; lost before: 1 block with 6 or more records, the payloads of 2 packets";
    assert!(said.contains(lost) && errors.contains(lost), "{said}{errors}");
    assert_eq!(rows(&out, "*"), before, "all packets are there, some without their payloads");

    let again = kcap(&["repair", text(&source), text(&out)]);
    let (_, errors) = printed(&again);
    assert_eq!(again.status.code(), Some(1), "nothing is written over");
    assert_eq!(errors.lines().count(), 1, "{errors}");

    let json = folder.path().join("json");
    let output = kcap(&["repair", "--json", text(&source), text(&json)]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["clean"], &report["files"][0]["outcome"]), (&true.into(), &"rewritten".into()));
    assert_eq!(report["files"][1]["outcome"], "copied");
    let lost = report["files"][0]["lost"].as_array().expect("losses");
    assert!(lost.iter().any(|lost| lost["begin"] == offset && lost["type"] == "EVENTS"), "{lost:?}");
    assert!(lost.iter().any(|lost| lost["payloads_only"] == true && lost["records"] == 2), "{lost:?}");
}

#[test]
fn wrong_arguments_are_told_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let none = folder.path().join("none");
    for (arguments, code) in [
        (vec!["verify"], 2),
        (vec!["repair", "a"], 2),
        (vec!["verify", text(&none)], 1),
        (vec!["verify", text(folder.path())], 1),
        (vec!["repair", text(&none), "out"], 1),
    ] {
        let output = kcap(&arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert_eq!(printed(&output).1.lines().count(), 1, "{arguments:?}");
    }
}
