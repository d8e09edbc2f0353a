//! What goes wrong for users who may record: each has one clear line on standard error that names the cause, and the right
//! exit code.

use std::fs;
use std::path::Path;
use std::process::Command;

use kcap_tests::command::run;
use kcap_tests::complaint::{FAILURE, assert_says, record};
use kcap_tests::kcap::kcap;
use kcap_tests::recorder::{Recorder, segments};
use kcap_tests::{binary, kernel};

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
    assert_says(&sql("SELECT 1 +"), FAILURE, "expression");

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
