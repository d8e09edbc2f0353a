//! `kcap sql` over a recording whose every packet is known.

mod support;

use std::path::Path;
use std::process::{Command, Output};

fn kcap(arguments: &[&str], source: &Path) -> Output {
    let (command, rest) = arguments.split_first().expect("a command");
    Command::new(env!("CARGO_BIN_EXE_kcap")).arg(command).arg(source).args(rest).output().expect("kcap runs")
}

/// The answer as CSV without its head line.
fn query(source: &Path, options: &[&str], sql: &str) -> String {
    let mut arguments = vec!["sql", "--format", "csv", "-c", sql];
    arguments.extend(options);
    let output = kcap(&arguments, source);
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("CSV is UTF-8");
    text.split_once('\n').map(|(_, rest)| rest.trim_end().to_owned()).unwrap_or_default()
}

#[test]
fn local_packets_count_once_unless_both_copies_are_wanted() {
    let folder = tempfile::tempdir().expect("a folder");
    support::web_recording(folder.path());
    let count = "SELECT count(*) FROM packets";
    assert_eq!(query(folder.path(), &[], count), "7");
    assert_eq!(query(folder.path(), &["--duplicates"], count), "12");
}
