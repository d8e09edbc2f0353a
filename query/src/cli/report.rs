//! `kcap report`: one page about recordings.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::convert::output_file::{OutputFile, refuse_recording};
use super::identity::IdentityArguments;
use super::size::parse_size;
use super::{open, tell_damage};
use crate::report::page;
use crate::sql::SessionSettings;

/// Arguments of `kcap report`.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  kcap report capture/ -o report.html")]
pub(super) struct ReportArguments {
    /// Capture folders, segments, pcap or pcapng files
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// The file to write; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Memory for sorting and grouping; beyond it they use temporary files
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    memory_limit: usize,
    #[command(flatten)]
    identity: IdentityArguments,
}

/// Runs the command.
pub(super) fn run(arguments: &ReportArguments) -> anyhow::Result<()> {
    let library = Arc::new(open(&arguments.sources, &arguments.identity)?);
    refuse_recording(&arguments.output, &library)?;
    let settings =
        SessionSettings { memory_limit_bytes: arguments.memory_limit, ..SessionSettings::default() };
    let names: Vec<_> = arguments.sources.iter().map(|source| source.display().to_string()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let text = runtime.block_on(page(&library, &settings, &names.join(", ")))?;
    let mut output = OutputFile::open(&arguments.output)?;
    output.write_all(text.as_bytes())?;
    output.finish()?;
    tell_damage(&library);
    Ok(())
}
