//! `kcap verify`: whether recordings are as they were written.

mod json;
mod text;

use std::io::Write;
use std::path::{Path, PathBuf};

use kcap_format::{Encryption, Error, FileState, Report, VerifyOptions};

use super::identity::IdentityArguments;
use super::progress;

pub(super) use json::file_json;
pub(super) use text::file_line;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "States of a segment:\n  clean        sealed, and every byte is as it was sealed\n  unsealed     whole, without a seal: still being written, or the recorder was killed\n  torn         its unsynced end is not whole: what a crash leaves\n  corrupt      bytes changed that were on stable storage\n  unsupported  written by a later version\n  unreadable, not a segment\n\nThe bytes of encrypted segments are compared with their checksums; with --identity they are decrypted, and their\nrecords checked, too.\n\nExit code: 0 when every segment is clean and none is missing, 1 otherwise.\nkcap repair makes a clean recording of what is whole."
)]
pub(super) struct VerifyArguments {
    /// Capture folders or segments
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Show every block, not only those with a fault
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    identity: IdentityArguments,
}

/// Runs the command. What is not clean is an error, after it was shown.
pub(super) fn run(arguments: &VerifyArguments) -> anyhow::Result<()> {
    let bar = progress::bytes_bar(arguments.sources.iter().map(|source| bytes_of(source)).sum());
    let on_read = |bytes| bar.inc(bytes);
    let mut options = VerifyOptions::default();
    options.identities = arguments.identity.read()?;
    options.every_block = arguments.verbose;
    options.on_read = &on_read;
    let report = kcap_format::verify(&arguments.sources, &options);
    bar.finish_and_clear();
    let report = report?;
    let mut output = std::io::stdout().lock();
    if arguments.json {
        writeln!(
            output,
            "{}",
            serde_json::to_string_pretty(&json::report_json(&report, arguments.verbose))?
        )?;
    } else {
        write!(output, "{}", text::report_text(&report))?;
    }
    output.flush()?;
    if let Some(summary) = summary(&report) {
        anyhow::bail!("{summary}");
    }
    // Asked to look into what is not for this identity.
    let closed = report.files.iter().find(|file| file.encryption == Encryption::Closed);
    match closed.filter(|_| !options.identities.is_empty()) {
        Some(file) => Err(Error::Encrypted { path: file.path.clone(), identity_given: true }.into()),
        None => Ok(()),
    }
}

/// Bytes of the segments of a source, for the progress bar.
pub(super) fn bytes_of(source: &Path) -> u64 {
    let len = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let Ok(entries) = source.read_dir() else { return len(source) };
    let is_segment =
        |path: &PathBuf| path.extension().is_some_and(|ext| ext == kcap_format::SEGMENT_EXTENSION);
    entries.flatten().map(|entry| entry.path()).filter(is_segment).map(|path| len(&path)).sum()
}

/// What is not clean, in one line.
pub(super) fn summary(report: &Report) -> Option<String> {
    if report.is_clean() {
        return None;
    }
    let unclean = report.files.iter().filter(|file| file.state != FileState::Clean).count();
    let mut parts = Vec::new();
    if unclean > 0 {
        parts.push(format!("{unclean} of {} segments", report.files.len()));
    }
    match report.faults.len() {
        0 => {}
        1 => parts.push("1 fault between segments".to_owned()),
        count => parts.push(format!("{count} faults between segments")),
    }
    Some(format!(
        "not clean: {}; kcap repair SOURCE OUT makes a clean recording of what is whole",
        parts.join(", ")
    ))
}
