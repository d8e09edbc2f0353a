//! pcapng and pcap.

use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use indicatif::ProgressBar;
use kcap_dissect::Direction;
use kcap_format::PacketColumns;

use super::chosen::Chosen;
use super::interfaces::Interfaces;
use super::losses::Losses;
use super::output_file::OutputFile;
use crate::export::{
    CommentEnd, CommentProcess, ExportPacket, InterfaceKey, PacketDirection, PcapWriter, PcapngWriter,
    SectionInfo, add_comment_line, add_tasks_line,
};
use crate::source::{End, Library, uuid_text};
use crate::table::packets::{Needs, OrderedPackets, PacketBlock};

/// Rows that are taken at once.
const RUN_ROWS_MAX: usize = 8192;

/// Writes a pcapng file.
pub(super) fn pcapng(
    library: &Arc<Library>,
    chosen: &Chosen,
    duplicates: bool,
    out: &Path,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let mut writer = PcapngWriter::new(BufWriter::new(OutputFile::open(out)?), &section(library))?;
    let mut interfaces = Interfaces::of(library)?;
    let mut losses = Losses::of(library)?;
    let mut comment = String::new();
    let mut last_key = None;
    each_row(library, duplicates, bar, |block, row| {
        if !chosen.contains(block, row) {
            return Ok(());
        }
        let key = interface_key(block, row);
        let interface = interfaces.get(key);
        if block.is_copy(row) && !duplicates {
            return Ok(writer.count_left_out(interface, 1)?);
        }
        last_key = Some(key);
        let direction = direction(block, row);
        let time_ns = block.realtime_ns(row).unwrap_or(0);
        comment.clear();
        comment_lines(block, row, &mut comment);
        add_tasks_line(&mut comment, &block.payload_tasks(row));
        let first_copy = block.duplicate_of[row];
        let pid = block.local_end(row).and_then(|end| block.owners()?.pid(end));
        Ok(writer.write(&ExportPacket {
            packet_id: Some(if first_copy == 0 { block.packet_id(row) } else { first_copy }),
            process: pid.map(|pid| (pid, 0)),
            comment: Some(comment.as_str()).filter(|comment| !comment.is_empty()),
            drop_count: losses.before(time_ns, direction),
            ..packet(block, row, interface, direction)
        })?)
    })?;
    if let Some(key) = last_key {
        writer.count_dropped(interfaces.get(key), losses.rest())?;
    }
    finish(writer.finish()?)
}

/// Writes a pcap file.
pub(super) fn pcap(
    library: &Arc<Library>,
    chosen: &Chosen,
    duplicates: bool,
    out: &Path,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let mut writer = PcapWriter::new(BufWriter::new(OutputFile::open(out)?));
    let mut interfaces = Interfaces::of(library)?;
    each_row(library, duplicates, bar, |block, row| {
        if !chosen.contains(block, row) || (block.is_copy(row) && !duplicates) {
            return Ok(());
        }
        let interface = interfaces.get(interface_key(block, row));
        Ok(writer.write(&packet(block, row, interface, direction(block, row)))?)
    })?;
    finish(writer.finish()?)
}

/// Hands over every packet in the order of time.
fn each_row(
    library: &Arc<Library>,
    duplicates: bool,
    bar: &ProgressBar,
    mut take: impl FnMut(&PacketBlock, usize) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let needs = Needs::both_ends() | Needs::payload() | Needs::sections(PacketColumns::META);
    let needs = if duplicates { needs } else { needs.with_copies(library) };
    let mut packets = OrderedPackets::new(library, needs)?;
    while let Some(run) = packets.next_run(RUN_ROWS_MAX)? {
        let entry = run.block.entry();
        bar.inc(u64::from(entry.stored_len) * run.rows.len() as u64 / u64::from(entry.record_count.max(1)));
        run.rows.iter().try_for_each(|row| take(&run.block, *row as usize))?;
    }
    Ok(())
}

fn packet<'a>(
    block: &'a PacketBlock,
    row: usize,
    interface: &'a crate::export::ExportInterface,
    direction: PacketDirection,
) -> ExportPacket<'a> {
    ExportPacket {
        time_ns: block.realtime_ns(row).and_then(|time| u64::try_from(time).ok()).unwrap_or(0),
        interface,
        direction,
        wire_len: block.batch.wire_len[row],
        header: block.batch.header.get(row).unwrap_or_default(),
        payload: block.batch.payload.get(row).unwrap_or_default(),
        process: None,
        packet_id: None,
        comment: None,
        drop_count: 0,
    }
}

fn interface_key(block: &PacketBlock, row: usize) -> InterfaceKey {
    InterfaceKey {
        netns_cookie: block.batch.netns_cookie[row],
        index: block.batch.interface_index[row],
        link_type: block.batch.link_type[row],
    }
}

fn direction(block: &PacketBlock, row: usize) -> PacketDirection {
    match block.direction(row) {
        Direction::Ingress => PacketDirection::Inbound,
        Direction::Egress => PacketDirection::Outbound,
        Direction::Unknown => PacketDirection::Unknown,
    }
}

/// A line for the end at the hook, and one for the other end if it is on this host too.
fn comment_lines(block: &PacketBlock, row: usize, comment: &mut String) {
    let Some(owners) = block.owners() else { return };
    let time_ns = block.batch.time_ns[row];
    let local = block.local_end(row);
    let ends = [("sender", block.source_end(row)), ("receiver", block.destination_end(row))];
    for (role, end) in ends {
        let Some(end) = end else { continue };
        let is_local = local.is_some_and(|local| std::ptr::eq(local, end));
        let process = process(owners, end, time_ns);
        if process.is_some() || is_local {
            add_comment_line(comment, &CommentEnd { role, process, attribution: end.attribution.as_str() });
        }
    }
}

fn process<'a>(
    owners: &'a crate::source::SegmentOwners,
    end: &End,
    time_ns: u64,
) -> Option<CommentProcess<'a>> {
    Some(CommentProcess {
        pid: owners.pid(end)?,
        name: owners.process_name(end, time_ns).unwrap_or_default(),
        command_line: owners.command_line(end, time_ns).unwrap_or_default(),
    })
}

/// Host and recorder of the first recording, and the ids of all.
fn section(library: &Library) -> SectionInfo {
    let file = library.recordings.first().and_then(|recording| recording.file_info());
    let host = file.and_then(|file| file.host.clone()).unwrap_or_default();
    let recorder = file.and_then(|file| file.recorder.clone()).unwrap_or_default();
    let ids: Vec<_> = library
        .recordings
        .iter()
        .filter_map(|recording| Some(uuid_text(&recording.file_info()?.capture_id)))
        .collect();
    SectionInfo {
        hardware: format!("{}, {} processors", host.architecture, host.cpu_count),
        os: format!("{}, Linux {}", host.os, host.kernel_release),
        application: format!("{} {}", recorder.name, recorder.version),
        comment: format!("host {}, recording {}", host.hostname, ids.join(", ")),
    }
}

fn finish(output: BufWriter<OutputFile>) -> anyhow::Result<()> {
    output.into_inner().map_err(std::io::IntoInnerError::into_error)?.finish()
}
