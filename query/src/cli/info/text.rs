//! What `kcap info` tells of a recording, for people.

use std::fmt::Write;

use arrow::temporal_conversions::timestamp_ns_to_datetime;
use kcap_format::proto;

use super::summary::{Account, Summary};
use crate::cli::escape::{escaped, escaped_lines};
use crate::cli::size::size_text;

/// Several lines about a recording.
pub(super) fn text(summary: &Summary) -> String {
    let mut text = String::new();
    write_text(summary, &mut text).expect("a string takes every write");
    escaped_lines(&text).into_owned()
}

fn write_text(summary: &Summary, text: &mut String) -> std::fmt::Result {
    let (host, recorder) = (&summary.host, &summary.recorder);
    writeln!(text, "capture    {}", summary.capture_id)?;
    if summary.is_import {
        // What capture files tell of where they come from, if they do.
        for (what, name) in
            [("hardware", &host.architecture), ("system", &host.os), ("recorder", &recorder.name)]
        {
            if !name.is_empty() {
                writeln!(text, "{what:<10} {}", escaped(name))?;
            }
        }
    } else {
        write_host(host, recorder, text)?;
    }
    match summary.times {
        Some((first, last)) => writeln!(
            text,
            "time       {} to {} ({:.3} s, clock known to {} ns)",
            time_text(first),
            time_text(last),
            last.saturating_sub(first) as f64 / 1e9,
            summary.clock_error_ns
        )?,
        None => writeln!(text, "time       nothing was recorded")?,
    }
    let (bytes, raw) = (summary.total(|segment| segment.bytes), summary.total(|segment| segment.raw_bytes));
    writeln!(
        text,
        "records    {} packets, {} events in {} ({} before compression)",
        summary.total(|segment| segment.packets),
        summary.total(|segment| segment.events),
        size_text(bytes),
        size_text(raw)
    )?;
    for (name, hook) in &recorder.hooks {
        writeln!(text, "hook       {}: {}", escaped(name), escaped(hook))?;
    }
    for missing in &recorder.missing {
        writeln!(text, "missing    {}", escaped(missing))?;
    }
    for segment in &summary.segments {
        let mut damage = segment.damage.as_deref().map(|damage| format!(", {damage}")).unwrap_or_default();
        if segment.damaged_blocks > 0 {
            write!(damage, ", damaged blocks: {}", segment.damaged_blocks)?;
        }
        writeln!(
            text,
            "segment    {} {} ({}{damage}): {} packets, {} events, {}",
            segment.sequence,
            escaped(&segment.path),
            segment.state,
            segment.packets,
            segment.events,
            size_text(segment.bytes)
        )?;
    }
    write_losses(summary, text)
}

fn write_host(host: &proto::Host, recorder: &proto::Recorder, text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "host       {} ({}, {} processors)",
        escaped(&host.hostname),
        host.architecture,
        host.cpu_count
    )?;
    writeln!(
        text,
        "system     {}, kernel {}",
        if host.os.is_empty() { "unknown" } else { &host.os },
        host.kernel_release
    )?;
    writeln!(
        text,
        "recorder   {} {}: {}",
        recorder.name,
        recorder.version,
        escaped(&recorder.command_line.join(" "))
    )
}

fn write_losses(summary: &Summary, text: &mut String) -> std::fmt::Result {
    for (program, account) in &summary.programs {
        let causes: Vec<_> = account.lost.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
        let causes = if causes.is_empty() { String::new() } else { format!(" ({})", causes.join(", ")) };
        writeln!(
            text,
            "account    {program}: seen {} = filtered {} + stored {} + lost {}{causes}",
            account.seen,
            account.filtered,
            account.stored,
            account.lost_in_all()
        )?;
    }
    writeln!(text, "losses     {}", losses_text(summary))
}

/// What is known of losses, and what is not: "none" is said only of a recording whose account is complete.
fn losses_text(summary: &Summary) -> String {
    let lost = summary.programs.values().map(Account::lost_in_all).fold(0, u64::saturating_add);
    let mut unknown = Vec::new();
    if summary.is_import && summary.programs.is_empty() {
        return "unknown: the capture file does not tell".to_owned();
    }
    let unaccounted = summary.unaccounted();
    if unaccounted > 0 {
        let records = summary.total(|segment| segment.packets + segment.events);
        unknown.push(format!(
            "{unaccounted} of {records} records have no account (the recorder still runs, was killed, or the disk was full)"
        ));
    }
    let in_flight = summary.in_flight();
    if in_flight > 0 {
        unknown.push(format!("{in_flight} events were on their way at the last account"));
    }
    if summary.segments.iter().any(|segment| segment.damage.is_some() || segment.damaged_blocks > 0) {
        unknown.push("what damage took, see the segments above".to_owned());
    }
    if unknown.is_empty() && !summary.is_sealed() {
        unknown.push("what came after the last account, since a segment has no end".to_owned());
    }
    match (lost, unknown.is_empty()) {
        (0, true) => "none".to_owned(),
        (lost, true) => lost.to_string(),
        (0, false) => format!("unknown: {}", unknown.join(", and ")),
        (lost, false) => format!("{lost}; unknown: {}", unknown.join(", and ")),
    }
}

/// A time as RFC 3339 in UTC.
fn time_text(time_ns: i64) -> String {
    timestamp_ns_to_datetime(time_ns)
        .map_or_else(|| format!("{time_ns} ns"), |time| format!("{}Z", time.format("%FT%T%.6f")))
}
