//! What goes wrong for users: each has one clear line on standard error that names the cause, and the right exit code.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use kcap_tests::command::{Finished, run};
use kcap_tests::kcap::kcap;
use kcap_tests::recorder::{Recorder, segments};
use kcap_tests::{binary, kernel};

/// Exit codes: a failure, and a wrong command line.
const FAILURE: i32 = 1;
const USAGE: i32 = 2;
/// The user and group "nobody".
const NOBODY: &str = "65534";

/// One line that says `cause`, and the exit code.
#[track_caller]
fn assert_says(finished: &Finished, code: i32, cause: &str) {
    assert_eq!(finished.status.code(), Some(code), "{}", finished.stderr);
    assert!(finished.stderr.contains(cause), "{cause:?} isn't in {:?}", finished.stderr);
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    // What clap says of a wrong command line has a hint and the usage beneath.
    if code == FAILURE {
        assert_eq!(finished.stderr.trim_end().lines().count(), 1, "{}", finished.stderr);
    }
}

#[track_caller]
fn record(arguments: &[&str]) -> Finished {
    run(Command::new(binary::kcap_record()).args(arguments))
}

#[test]
fn wrong_command_lines() {
    assert_says(&record(&["run", "--no-such-option"]), USAGE, "--no-such-option");
    assert_says(&record(&["run", "-o", "x", "--duration", "soon"]), USAGE, "soon");
    assert_says(&record(&["run", "-o", "x", "--snaplen", "300000"]), USAGE, "300000");
    assert_says(&record(&["run", "-o", "x", "--segment-size", "big"]), USAGE, "big");
    assert_says(&kcap(["sql", "--no-such-option"]), USAGE, "--no-such-option");
    assert_says(&kcap(["sql"]), USAGE, "SOURCE");
    assert_says(&kcap(["convert", "--to", "sausages", "a", "b"]), USAGE, "sausages");
}

#[test]
fn sources_that_are_none() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let missing = folder.path().join("missing");
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).expect("an empty folder");
    let text = folder.path().join("text.kcap");
    fs::write(&text, "this is no segment, but long enough to hold the header of one".repeat(10))
        .expect("a file");
    let nothing = folder.path().join("nothing.kcap");
    fs::write(&nothing, "").expect("an empty file");
    for command in ["sql", "info"] {
        for (source, cause) in
            [(&missing, "missing"), (&empty, "empty"), (&text, "text.kcap"), (&nothing, "nothing.kcap")]
        {
            let mut arguments = vec![command.as_ref(), source.as_os_str()];
            if command == "sql" {
                arguments.extend(["-c", "SELECT count(*) FROM packets"].map(OsStr::new));
            }
            assert_says(&kcap(arguments), FAILURE, cause);
        }
    }
}

#[test]
fn recording_without_privileges() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    // Where nobody can reach it.
    let program = folder.path().join("kcap-record");
    fs::copy(binary::kcap_record(), &program).expect("a copy of the recorder");
    for path in [folder.path(), &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
    }
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(&program);
        command
    } else {
        Command::new(&program)
    };
    let finished = run(command.args(["run", "-o", "/tmp/kcap-never-made", "--duration", "1s"]));
    assert_says(&finished, FAILURE, "root");
    assert!(!Path::new("/tmp/kcap-never-made").exists(), "nothing is left behind");
}

#[test]
fn recording_into_what_is_no_folder() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");
    let into = |path: &Path| record(&["run", "-o", path.to_str().expect("a UTF-8 path"), "--duration", "1s"]);
    assert_says(&into(&file), FAILURE, "file");
    assert_says(&into(&file.join("below")), FAILURE, "below");
    // No file system there lets anybody, not even root, make a folder.
    assert_says(&into(Path::new("/proc/capture")), FAILURE, "/proc/capture");
}

#[test]
fn two_recordings_into_one_folder() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let first = Recorder::start(folder.path(), &[]);
    let path = folder.path().to_str().expect("a UTF-8 path");
    assert_says(&record(&["run", "-o", path, "--duration", "1s"]), FAILURE, path);
    first.stop();
}

#[test]
fn wrong_sql() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let capture = folder.path().join("capture");
    Recorder::start(&capture, &[]).stop();
    let sql = |query: &str| kcap(["sql".as_ref(), capture.as_os_str(), "-c".as_ref(), query.as_ref()]);
    assert_says(&sql("SELECT nothing FROM packets"), FAILURE, "nothing");
    assert_says(&sql("SELECT * FROM sausages"), FAILURE, "sausages");
    assert_says(&sql("SELEC 1"), FAILURE, "SELEC");
    assert_says(&sql("SELECT 1 +"), FAILURE, "SQL");

    // A segment of which only the start is there holds nothing yet.
    let whole = segments(&capture).remove(0);
    let bytes = fs::read(&whole).expect("the segment");
    let stump = folder.path().join("stump.kcap");
    fs::write(&stump, &bytes[..40]).expect("the start of it");
    assert_says(&kcap(["info".as_ref(), stump.as_os_str()]), FAILURE, "stump.kcap");
}

#[test]
fn a_broken_pipe_is_a_quiet_end() {
    if !kernel::available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let capture = folder.path().join("capture");
    Recorder::start(&capture, &[]).stop();
    let script =
        r#""$0" sql "$1" --format csv -c 'SELECT * FROM processes a CROSS JOIN processes b' | head -1"#;
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("set -o pipefail; {script}")]).arg(binary::kcap()).arg(&capture);
    let finished = run(&mut shell);
    assert_eq!(finished.stderr, "");
    assert_eq!(finished.text().lines().count(), 1);
}
