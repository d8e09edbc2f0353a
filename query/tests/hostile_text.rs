//! A process may have any name, and a table once sent it to the terminal as it was: with escape sequences, bells and line ends.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use support::{Recorder, START_NS, exec, process};

fn kcap(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kcap"))
        .args(&arguments[..1])
        .arg(folder)
        .args(&arguments[1..])
        .output()
        .expect("kcap runs")
}

const NAME: &str = "a\x1b[2J\x07\nb";

fn recording() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut segment = Recorder::new(folder.path()).segment();
    segment.events(&[exec(START_NS, process(100, NAME, &[NAME, "second"]))]);
    segment.seal();
    folder
}

#[test]
fn tables_spell_control_characters_out() {
    let folder = recording();
    for column in
        ["process_name", "arguments", "CAST(arrow_cast(process_name, 'Dictionary(Int32, Utf8)') AS TEXT)"]
    {
        let sql = format!("SELECT {column} AS text FROM processes");
        let output = kcap(&["sql", "-c", &sql], folder.path());
        let shown = String::from_utf8(output.stdout).expect("text");
        assert!(shown.contains("a\\x1b[2J\\x07\\x0ab"), "{shown}");
        assert!(!shown.chars().any(|character| character.is_control() && character != '\n'), "{shown:?}");
        assert_eq!(shown.lines().count(), 5, "{shown}");
    }
}

#[test]
fn formats_for_programs_and_plans_stay_as_they_are() {
    let folder = recording();
    let output =
        kcap(&["sql", "--format", "ndjson", "-c", "SELECT process_name FROM processes"], folder.path());
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(value["process_name"], NAME);
    let plan = kcap(&["sql", "-c", "EXPLAIN SELECT count(*) FROM processes"], folder.path());
    assert!(!String::from_utf8_lossy(&plan.stdout).contains("\\x0a"));
}
