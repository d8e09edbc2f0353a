//! What `kcap verify` tells, for people.

use std::fmt::Write;

use kcap_format::{BlockReport, Encryption, FileReport, Report};

use crate::cli::escape::escaped;
use crate::cli::size::size_text;

/// A line for each file, lines for what is wrong with it, and for what is wrong between files.
pub(super) fn report_text(report: &Report) -> String {
    let mut text = String::new();
    for (at, file) in report.files.iter().enumerate() {
        text.push_str(&file_line(file));
        text.push('\n');
        write_details(file, &mut text).expect("a string takes every write");
        for fault in report.faults.iter().filter(|fault| fault.file == at) {
            writeln!(text, "  {}: {}", fault.kind.name(), escaped(&fault.kind.to_string()))
                .expect("a string takes every write");
        }
    }
    text
}

/// The file, its state, and how much of it there is.
pub(in crate::cli) fn file_line(file: &FileReport) -> String {
    let mut line = format!("{}: {}", escaped(&file.path.display().to_string()), file.state.name());
    if let Some(reason) = &file.reason {
        write!(line, " ({})", escaped(reason)).expect("a string takes every write");
    }
    let len = size_text(file.len);
    if file.segment_id.is_none() {
        return format!("{line}, {len}");
    }
    let (blocks, records) = (file.block_count, file.record_count);
    let lost = match (file.lost_block_count, file.lost_record_count) {
        (Some(0), _) => String::new(),
        (Some(blocks), 0) => format!("; lost: {blocks} blocks"),
        (Some(blocks), records) => format!("; lost: {blocks} blocks with {records} records"),
        (None, 0) => "; lost: unknown, its end".to_owned(),
        (None, records) => format!("; lost: at least {records} records, and its end"),
    };
    let encryption = match file.encryption {
        Encryption::Closed => ", encrypted",
        Encryption::Open => ", encrypted and decrypted",
        _ => "",
    };
    format!("{line}, {blocks} blocks, {records} records, {len}{encryption}{lost}")
}

fn write_details(file: &FileReport, text: &mut String) -> std::fmt::Result {
    for range in &file.damage {
        writeln!(text, "  bytes {} to {}: {}", range.begin, range.end, range.what)?;
    }
    for BlockReport { entry, fault, .. } in &file.blocks {
        writeln!(
            text,
            "  block {} at offset {}: {}, {} records, {}: {}",
            entry.sequence,
            entry.offset,
            entry.block_type,
            entry.record_count,
            size_text(entry.stored_len.into()),
            fault.unwrap_or("whole")
        )?;
    }
    if let Some(repair) = &file.file_info.repair {
        writeln!(
            text,
            "  made by {} of a segment that was {}; lost before: {}",
            escaped(&repair.repaired_by),
            escaped(&repair.source_state),
            escaped(repair.lost_text().as_deref().unwrap_or("nothing"))
        )?;
    }
    Ok(())
}
