//! kcap-reduce: makes a small segment for `testdata/` out of a recording of a whole host.
//!
//! ```text
//! kcap-reduce CAPTURE OUT.kcap NAME…
//! ```
//!
//! Keeps the processes that ever had one of the names, their sockets and packets, and the loopback interface. What it
//! leaves out is accounted as filtered, so that the segment's account still adds up. Who the host was is left out too.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use kcap_format::proto::{self, event::Event as Kind};
use kcap_format::{
    BlockEncoder, BlockType, Capture, Effort, FileStorage, PacketBatch, PacketColumns, PacketRow, Segment,
    SegmentWriter, split_events,
};

/// The host's name in what is made.
const HOSTNAME: &str = "demo";
const EFFORT: Effort = Effort::Zstd { level: 19 };

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [capture, out, names @ ..] = &arguments[..] else {
        bail!("usage: kcap-reduce CAPTURE OUT.kcap NAME…")
    };
    let capture = Capture::open(Path::new(capture))?;
    let [segment] = &capture.segments[..] else { bail!("the capture must have one segment") };
    let kept = Kept::find(segment, names)?;
    let mut writer = SegmentWriter::create(FileStorage::create(out)?, &file_info(segment))?;
    let mut encoder = BlockEncoder::new();
    let mut stored = Stored::default();
    for block in segment.blocks() {
        match block.block_type {
            BlockType::CLOCK => {
                writer.append(&encoder.clock(&segment.clocks(block)?))?;
            }
            BlockType::SNAPSHOT | BlockType::EVENTS => {
                let mut events = segment.events(block)?;
                events.retain(|event| kept.has_event(event));
                for events in split_events(&events) {
                    if block.block_type == BlockType::SNAPSHOT {
                        writer.append(&encoder.snapshot(events, EFFORT))?;
                    } else {
                        stored.count_events(events);
                        writer.append(&encoder.events(events, EFFORT))?;
                    }
                }
            }
            BlockType::PACKETS => {
                let batch = kept.packets(&segment.packets(block, PacketColumns::ALL)?);
                if !batch.is_empty() {
                    stored.count_packets(&batch);
                    writer.append(&encoder.packets(&batch, EFFORT))?;
                }
            }
            // The writer makes its own FILE, INDEX and SEAL; the account follows below.
            _ => {}
        }
    }
    let reports = stored.reports(&segment.all_losses()?)?;
    writer.append(&encoder.losses(&reports))?;
    writer.seal()?;
    Ok(())
}

fn file_info(segment: &Segment) -> proto::FileInfo {
    let mut info = segment.file_info().clone();
    if let Some(host) = &mut info.host {
        HOSTNAME.clone_into(&mut host.hostname);
        host.machine_id.clear();
        // The version alone: what follows names whoever built the kernel.
        if let Some((version, _)) = host.kernel_release.split_once('-') {
            host.kernel_release = version.to_owned();
        }
    }
    info
}

/// Whose records are kept.
struct Kept {
    pids: HashSet<u32>,
    cookies: HashSet<u64>,
}

impl Kept {
    fn find(segment: &Segment, names: &[String]) -> Result<Self> {
        let events = segment.all_events()?;
        let is_named = |name: &[u8]| names.iter().any(|kept| kept.as_bytes() == name);
        let mut kept = Self { pids: HashSet::new(), cookies: HashSet::new() };
        kept.pids.extend(
            events
                .iter()
                .filter_map(process)
                .filter(|process| is_named(&process.name))
                .filter_map(|process| Some(process.id?.pid)),
        );
        let sockets = events.iter().filter_map(|event| match &event.event {
            Some(Kind::Socket(socket)) => Some(socket),
            _ => None,
        });
        let owned = sockets.filter(|socket| {
            [&socket.owner, &socket.inherited_owner]
                .into_iter()
                .flatten()
                .any(|owner| kept.pids.contains(&owner.pid))
        });
        kept.cookies = owned.map(|socket| socket.cookie).collect();
        Ok(kept)
    }

    fn has_event(&self, event: &proto::Event) -> bool {
        let has = |id: &Option<proto::ProcessId>| id.as_ref().is_some_and(|id| self.pids.contains(&id.pid));
        match &event.event {
            Some(Kind::Exit(exit)) => has(&exit.id),
            Some(Kind::Socket(socket)) => self.cookies.contains(&socket.cookie),
            Some(Kind::Interface(interface)) => interface.name == b"lo",
            Some(Kind::Governor(_)) => true,
            _ => process(event).is_some_and(|process| has(&process.id)),
        }
    }

    fn packets(&self, batch: &PacketBatch) -> PacketBatch {
        let mut kept = PacketBatch::default();
        for row in (0..batch.len).filter(|row| self.cookies.contains(&batch.socket_cookie[*row])) {
            let packet = PacketRow {
                time_ns: batch.time_ns[row],
                socket_cookie: batch.socket_cookie[row],
                netns_cookie: batch.netns_cookie[row],
                interface_index: batch.interface_index[row],
                wire_len: batch.wire_len[row],
                link_type: batch.link_type[row],
                direction: kcap_format::Direction::from_u8(batch.direction[row]),
                flags: batch.flags[row],
                program: batch.program[row],
                cpu: batch.cpu[row],
                gso_size: batch.gso_size[row],
                gso_segments: batch.gso_segments[row],
                mark: batch.mark[row],
                tasks: batch.tasks[row],
            };
            let [header, payload] =
                [&batch.header, &batch.payload].map(|column| column.get(row).unwrap_or_default());
            kept.push(&packet, header, payload);
        }
        kept
    }
}

fn process(event: &proto::Event) -> Option<&proto::Process> {
    match event.event.as_ref()? {
        Kind::Fork(fork) => fork.process.as_ref(),
        Kind::Exec(exec) => exec.process.as_ref(),
        Kind::Enumerate(enumerate) => enumerate.process.as_ref(),
        _ => None,
    }
}

/// Records that were kept, by program and processor.
#[derive(Default)]
struct Stored(BTreeMap<(i32, u32), u64>);

impl Stored {
    fn count_events(&mut self, events: &[proto::Event]) {
        for event in events.iter().filter(|event| event.program != 0) {
            *self.0.entry((event.program.cast_signed(), event.cpu)).or_default() += 1;
        }
    }

    fn count_packets(&mut self, batch: &PacketBatch) {
        for (program, cpu) in batch.program.iter().zip(&batch.cpu) {
            *self.0.entry((i32::from(*program), u32::from(*cpu))).or_default() += 1;
        }
    }

    /// One report for each program and processor: what was stored before and isn't kept counts as filtered.
    fn reports(&self, originals: &[proto::LossReport]) -> Result<Vec<proto::LossReport>> {
        let mut sums: BTreeMap<(i32, u32), proto::LossReport> = BTreeMap::new();
        for original in originals {
            if !original.lost.is_empty() {
                bail!("the recording lost something: record again");
            }
            let sum = sums
                .entry((original.program, original.cpu))
                .or_insert_with(|| proto::LossReport { seen: 0, ..original.clone() });
            sum.seen += original.seen;
            sum.end_ns = sum.end_ns.max(original.end_ns);
            sum.kernel_seen = sum.kernel_seen.max(original.kernel_seen);
            sum.in_flight = 0;
        }
        for (key, sum) in &mut sums {
            sum.stored = self.0.get(key).copied().unwrap_or(0);
            sum.filtered = sum
                .seen
                .checked_sub(sum.stored)
                .with_context(|| format!("{key:?}: more stored than seen"))?;
        }
        Ok(sums.into_values().collect())
    }
}
