//! `kcap repair`: a clean recording of what is whole of a damaged one.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use kcap_format::proto::repair::Lost;
use kcap_format::{BlockType, Outcome, RepairReport, RepairedFile};
use serde_json::{Value, json};

use super::escape::escaped;
use super::{progress, verify};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "SOURCE is only read. Whole segments are copied; of damaged ones every whole block is written to a new\nsegment, and packets whose payloads alone are damaged keep their headers. What is lost is listed here and in\nthe new segment (kcap verify shows that it was repaired). The result is synced, and verified. An encrypted\nrecording is repaired without a key, and stays encrypted: of a damaged block of it, nothing is left.\n\nExit code: 0 when the result is clean, 1 otherwise."
)]
pub(super) struct RepairArguments {
    /// A capture folder or a segment
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// A folder that is empty or does not exist; for a segment, a file that does not exist
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(arguments: &RepairArguments) -> anyhow::Result<()> {
    let bar = progress::bytes_bar(3 * verify::bytes_of(&arguments.source));
    let report = kcap_format::repair(&arguments.source, &arguments.out, &|bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let report = report?;
    let mut output = std::io::stdout().lock();
    if arguments.json {
        writeln!(output, "{}", serde_json::to_string_pretty(&report_json(&report))?)?;
    } else {
        write!(output, "{}", report_text(&report))?;
    }
    output.flush()?;
    match verify::summary(&report.result) {
        None => Ok(()),
        Some(_) => anyhow::bail!(
            "{} is not clean: the disk changed what was written; kcap verify says where",
            arguments.out.display()
        ),
    }
}

fn report_text(report: &RepairReport) -> String {
    let mut text = String::new();
    for file in &report.files {
        write_file(file, &mut text).expect("a string takes every write");
    }
    text
}

fn write_file(file: &RepairedFile, text: &mut String) -> std::fmt::Result {
    write!(text, "{}", verify::file_line(&file.source))?;
    let path = file.path.as_ref().map(|path| escaped(&path.display().to_string()).into_owned());
    match (&file.outcome, path) {
        (Outcome::Rewritten(repair), Some(path)) => {
            writeln!(text, " -> rewritten as {path}")?;
            for lost in &repair.lost {
                writeln!(text, "  lost: {}", lost_text(lost))?;
            }
            if repair.more_lost > 0 {
                writeln!(text, "  lost: {} more blocks or ranges", repair.more_lost)?;
            }
            if repair.file_lost {
                writeln!(text, "  lost: the FILE block, which names the host and the recording")?;
            }
            if repair.segments_lost_before > 0 {
                writeln!(text, "  lost: {} whole segments before this one", repair.segments_lost_before)?;
            }
            for note in &repair.notes {
                writeln!(text, "  note: {}", escaped(note))?;
            }
            Ok(())
        }
        (Outcome::LeftOut { reason }, _) => writeln!(text, " -> left out: {}", escaped(reason)),
        (_, path) => writeln!(text, " -> copied to {}", path.unwrap_or_default()),
    }
}

fn lost_text(lost: &Lost) -> String {
    let mut text = format!("bytes {} to {}", lost.begin, lost.end);
    let block_type = u16::try_from(lost.block_type).map_or(BlockType(0), BlockType);
    match (lost.block_count, block_type.name()) {
        (_, Some(name)) if lost.payloads_only => {
            write!(text, ", {name}: the payloads of {} packets", lost.record_count)
        }
        (_, Some(name)) => write!(text, ", {name}: {} records", lost.record_count),
        (0, None) => write!(text, ", which may have been blocks"),
        (count, None) => write!(text, ", {count} blocks"),
    }
    .expect("a string takes every write");
    format!("{text} ({})", escaped(&lost.what))
}

fn report_json(report: &RepairReport) -> Value {
    let file = |file: &RepairedFile| {
        let mut value = json!({
            "source": verify::file_json(&file.source, false),
            "path": file.path.as_ref().map(|path| path.display().to_string()),
        });
        match &file.outcome {
            Outcome::Rewritten(repair) => {
                value["outcome"] = "rewritten".into();
                value["lost"] = repair.lost.iter().map(lost_json).collect();
                value["more_lost"] = repair.more_lost.into();
                value["file_block_lost"] = repair.file_lost.into();
                value["segments_lost_before"] = repair.segments_lost_before.into();
                value["notes"] = repair.notes.clone().into();
            }
            Outcome::LeftOut { reason } => {
                value["outcome"] = "left out".into();
                value["reason"] = reason.clone().into();
            }
            _ => value["outcome"] = "copied".into(),
        }
        value
    };
    json!({ "clean": report.result.is_clean(), "files": report.files.iter().map(file).collect::<Vec<_>>() })
}

fn lost_json(lost: &Lost) -> Value {
    let known = |number: u64| (lost.block_type > 0).then_some(number);
    let block_type = u16::try_from(lost.block_type).map_or(BlockType(0), BlockType);
    json!({
        "begin": lost.begin,
        "end": lost.end,
        "what": lost.what,
        "type": block_type.name(),
        "blocks": (lost.block_count > 0).then_some(lost.block_count),
        "records": known(lost.record_count),
        "payloads_only": lost.payloads_only,
    })
}
