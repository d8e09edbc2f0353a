//! A reader that is generated from `spec/segment.ksy`, with `tests/kaitai/read.py` for what a grammar can't say, finds in
//! the golden segments what this crate finds: the document alone is enough to read a segment.
//!
//! Needs node, the Kaitai Struct compiler and some Python packages, which `.ci/setup test` installs below the target
//! folder. Without them the test is skipped, unless `KCAP_TEST_KERNEL=require` says that everything must run.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder")
}

fn python() -> PathBuf {
    target().join("venv/bin/python")
}

fn modules() -> PathBuf {
    target().join("kaitai/node_modules")
}

/// What is missing, if something is.
fn missing() -> Option<String> {
    let runs = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    if !runs(Command::new("node").arg("--version")) {
        return Some("node".to_owned());
    }
    if !modules().join("kaitai-struct-compiler").is_dir() {
        return Some(modules().join("kaitai-struct-compiler").display().to_string());
    }
    let packages = "import blake3, kaitaistruct, zstandard";
    (!runs(Command::new(python()).args(["-c", packages])))
        .then(|| format!("{packages} in {}", python().display()))
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the command runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_generated_reader_finds_the_same_in_the_golden_segments() {
    if let Some(missing) = missing() {
        assert!(
            std::env::var("KCAP_TEST_KERNEL").as_deref() != Ok("require"),
            "{missing} is missing: run .ci/setup test"
        );
        println!("skipped: {missing} is missing; .ci/setup test installs it");
        return;
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let generated = tempfile::tempdir().unwrap();
    run(Command::new("node")
        .arg(here.join("tests/kaitai/compile.js"))
        .arg(modules())
        .arg(here.join("../spec/segment.ksy"))
        .arg(generated.path()));
    let golden = here.join("../testdata/segments/1");
    let mut segments: Vec<PathBuf> = golden.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "kcap"));
    segments.sort();
    let read = here.join("tests/kaitai/read.py");
    let output = run(Command::new(python()).arg(read).arg(generated.path()).args(&segments));
    let readings: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(readings.len(), segments.len());
    let (mut blocks, mut packets) = (0, 0);
    for (path, reading) in segments.iter().zip(&readings) {
        let text = std::fs::read_to_string(path.with_extension("json")).unwrap();
        let mut expected: Value = serde_json::from_str(&text).unwrap();
        // It has one mode.
        expected.as_object_mut().unwrap().remove("opens");
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&reading[name], value, "{}: {name}", path.display());
        }
        let found = reading["blocks"].as_array().unwrap();
        blocks += found.len();
        packets += found
            .iter()
            .filter_map(|block| block["packets"]["time_ns"].as_array())
            .map(Vec::len)
            .sum::<usize>();
    }
    assert!(packets > 100, "{packets} packets");
    println!("{} segments, {blocks} blocks, {packets} packets read the same", segments.len());
}
