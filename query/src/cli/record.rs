//! `kcap record`: runs `kcap-record`, which lives beside `kcap`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;

/// Name of the recorder's program.
const RECORDER: &str = "kcap-record";

/// Arguments of `kcap record`.
#[derive(Args, Debug)]
#[command(disable_help_flag = true, after_help = "Example:\n  kcap record run -o capture/ --duration 10s")]
pub(super) struct RecordArguments {
    /// Arguments of kcap-record
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Becomes the recorder; comes back only when that fails.
pub(super) fn run(arguments: &RecordArguments) -> anyhow::Result<()> {
    let program = recorder_path();
    let mut command = Command::new(&program);
    command.args(&arguments.arguments);
    become_program(&mut command, &program)
}

/// The recorder beside this program, else wherever the shell would find it.
fn recorder_path() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join(RECORDER)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(RECORDER))
}

#[cfg(unix)]
fn become_program(command: &mut Command, program: &Path) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    if error.kind() == std::io::ErrorKind::NotFound {
        bail!(
            "{RECORDER} is not installed beside kcap or on PATH: build it with make release, or install it"
        );
    }
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

#[cfg(not(unix))]
fn become_program(_command: &mut Command, _program: &Path) -> anyhow::Result<()> {
    bail!("{RECORDER} records Linux hosts; this is none")
}
