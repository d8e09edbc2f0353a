//! Ends: exit codes and the one line that explains them.

use std::io::ErrorKind;
use std::process::ExitCode;

/// Exit code for a failure.
const FAILURE: u8 = 1;
/// Exit code for arguments that make no sense.
const USAGE: u8 = 2;

/// Prints what clap has to say: help and version are no errors, everything else is wrong usage.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    // A closed pipe is all that can go wrong here, and then there is nobody to tell.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

/// The exit code of a command; an error is printed in one line, a closed pipe is a quiet end.
pub(super) fn code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if is_broken_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    let line = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("kcap: {line}");
    ExitCode::from(FAILURE)
}

/// Whether the reader of our output went away, however deep the error tells of it.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        kind == Some(ErrorKind::BrokenPipe) || cause.to_string().contains("Broken pipe")
    })
}
