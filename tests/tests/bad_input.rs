//! What goes wrong for users: each has one clear line on standard error that names the cause, and the right exit code.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use kcap_tests::binary;
use kcap_tests::command::run;
use kcap_tests::complaint::{FAILURE, USAGE, assert_says, record};
use kcap_tests::kcap::kcap;

/// The user and group "nobody".
const NOBODY: &str = "65534";

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
    let folder = format!("/tmp/kcap-never-made-{}", std::process::id());
    let finished = run(command.args(["run", "-o", &folder, "--duration", "1s"]));
    assert_says(&finished, FAILURE, "root");
    assert!(!Path::new(&folder).exists(), "nothing is left behind");
}
