//! A script on the standard input of `kcap sql` once went to the prompt: a statement without a semicolon was dropped, and
//! errors ended with success.

mod support;

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn kcap(arguments: &[&str], input: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    support::web_recording(folder.path());
    let mut child = Command::new(env!("CARGO_BIN_EXE_kcap"))
        .arg("sql")
        .arg(folder.path())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kcap runs");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("kcap reads");
    child.wait_with_output().expect("kcap ends")
}

fn answer(input: &str) -> String {
    let output = kcap(&["--format", "csv"], input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn all_statements_of_a_script_are_answered() {
    assert_eq!(answer("select 1 as a"), "a\n1\n");
    assert_eq!(answer("select 1 as a;\nselect\n 2 as b"), "a\n1\nb\n2\n");
    assert!(answer("select 1 as a;\n\\d losses\n").contains("lost_ring_full"));
    assert_eq!(answer("\\q\nselect 1"), "");
}

#[test]
fn a_script_ends_with_its_first_error() {
    let output = kcap(&["--format", "csv"], "select 1 as a; select foo; select 2 as b;");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a\n1\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("No field named foo") && said.lines().count() == 1, "{said}");
    assert_eq!(kcap(&[], "\\nonsense\n").status.code(), Some(1));
}

#[test]
fn an_empty_query_is_wrong_usage() {
    for query in ["", " ; ", "-- nothing"] {
        let output = kcap(&["-c", query], "");
        assert_eq!(output.status.code(), Some(2), "{query:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("empty query"));
    }
}
