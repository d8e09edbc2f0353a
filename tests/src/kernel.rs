//! Whether this user and kernel allow recording, and what a test does when they don't.

use std::process::Command;

use crate::binary;
use crate::command::run;

/// Set to `require`, it makes tests that need the kernel fail instead of skip.
pub const REQUIRE_VARIABLE: &str = "KCAP_TEST_KERNEL";

/// True when recording is possible. Otherwise fails the test if [`REQUIRE_VARIABLE`] says so, else prints why the test
/// is skipped; the test then returns at once.
#[track_caller]
pub fn available() -> bool {
    let Err(reason) = check() else { return true };
    let required = std::env::var_os(REQUIRE_VARIABLE).is_some_and(|value| value == "require");
    assert!(!required, "{REQUIRE_VARIABLE}=require, but {reason}");
    eprintln!("skipped: {reason}");
    false
}

fn check() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("recording needs root".to_owned());
    }
    let doctor = run(Command::new(binary::kcap_record()).arg("doctor"));
    if doctor.status.success() {
        Ok(())
    } else {
        Err(format!("kcap-record doctor says: {}", doctor.stderr.trim()))
    }
}
