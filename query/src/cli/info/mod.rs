//! `kcap info`: what a recording holds.

mod summary;
mod text;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::identity::IdentityArguments;
use super::{open, tell_damage};
use summary::Summary;

/// Arguments of `kcap info`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  kcap info capture/\n  kcap info --json capture/ | jq '.[].losses'")]
pub(super) struct InfoArguments {
    /// Capture folders, segments, pcap or pcapng files; - is standard input
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// Write JSON: an array with an object for each recording
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    identity: IdentityArguments,
}

/// Runs the command.
pub(super) fn run(arguments: &InfoArguments) -> anyhow::Result<()> {
    let library = open(&arguments.sources, &arguments.identity)?;
    let summaries: Vec<Summary> = library.recordings.iter().map(Summary::of).collect::<crate::Result<_>>()?;
    let mut output = std::io::stdout().lock();
    if arguments.json {
        let array: Vec<_> = summaries.iter().map(Summary::json).collect();
        writeln!(output, "{}", serde_json::to_string_pretty(&array)?)?;
    } else {
        let texts: Vec<_> = summaries.iter().map(text::text).collect();
        write!(output, "{}", texts.join("\n"))?;
    }
    output.flush()?;
    tell_damage(&library);
    Ok(())
}
