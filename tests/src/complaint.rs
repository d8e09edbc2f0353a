//! What a program says when something is wrong: one clear line on standard error, and the right exit code.

use std::process::Command;

use crate::binary;
use crate::command::{Finished, run};

/// Exit code of a failure.
pub const FAILURE: i32 = 1;
/// Exit code of a wrong command line.
pub const USAGE: i32 = 2;

/// Fails unless the program ended with `code` and one line that says `cause`.
#[track_caller]
pub fn assert_says(finished: &Finished, code: i32, cause: &str) {
    assert_eq!(finished.status.code(), Some(code), "{}", finished.stderr);
    assert!(finished.stderr.contains(cause), "{cause:?} isn't in {:?}", finished.stderr);
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    // What clap says of a wrong command line has a hint and the usage beneath.
    if code == FAILURE {
        assert_eq!(finished.stderr.trim_end().lines().count(), 1, "{}", finished.stderr);
    }
}

/// Runs `kcap-record`, whatever comes of it.
#[track_caller]
pub fn record(arguments: &[&str]) -> Finished {
    run(Command::new(binary::kcap_record()).args(arguments))
}
