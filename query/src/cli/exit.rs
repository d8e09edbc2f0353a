//! Ends: exit codes and the one line that explains them.

use std::process::ExitCode;

use clap::error::ErrorKind;

use super::escape::escaped;

/// Exit code for a failure.
const FAILURE: u8 = 1;
/// Exit code for arguments that make no sense.
const USAGE: u8 = 2;

/// Prints what clap has to say: help and version are no errors, everything else is wrong usage and one line.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    let asks_for_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if asks_for_help {
        // A closed pipe is all that can go wrong here, and then there is nobody to tell.
        let _ = error.print();
    } else {
        let text = error.to_string();
        let cause = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        let cause = one_line(cause);
        eprintln!("kcap: {}; kcap --help, and --help of each command, tell more", escaped(&cause));
    }
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Arguments that make no sense, found after they were parsed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(String);

impl Usage {
    /// An error that ends with the exit code for wrong usage.
    pub(super) fn error(what: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self(what.into()))
    }
}

/// The exit code of a command; an error is printed in one line, a closed pipe is a quiet end.
pub(super) fn code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if is_broken_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    eprintln!("kcap: {}", escaped(&one_line(&text_of(&error))));
    ExitCode::from(if error.is::<Usage>() { USAGE } else { FAILURE })
}

/// What went wrong and why. Many messages say their cause already: it isn't said again.
pub(super) fn text_of(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&cause);
        }
    }
    text
}

/// Whether the reader of our output went away, however deep the error tells of it.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        kind == Some(std::io::ErrorKind::BrokenPipe) || cause.to_string().contains("Broken pipe")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("a.toml: {source}")]
        struct WithCause {
            source: std::fmt::Error,
        }
        let cause = std::fmt::Error.to_string();
        let error = anyhow::Error::new(WithCause { source: std::fmt::Error });
        assert_eq!(text_of(&error), format!("a.toml: {cause}"));
        assert_eq!(text_of(&error.context("no options")), format!("no options: a.toml: {cause}"));
        let without = anyhow::Error::new(std::fmt::Error).context("a.toml");
        assert_eq!(text_of(&without), format!("a.toml: {cause}"));
    }
}
