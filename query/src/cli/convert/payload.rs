//! Reassembled payload as JSON documents, one a run.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use indicatif::ProgressBar;
use kcap_dissect::Direction;
use kcap_dissect::decode::ip_protocol;
use kcap_dissect::flow::{CloseReason, Datagram, Flow, FlowConsumer, FlowOptions, Side};
use kcap_dissect::stream::{Gap, GapReason, PacketRef, StreamData};
use kcap_format::proto;
use rustc_hash::FxHashMap;

use super::output_file::OutputFile;
use crate::Error;
use crate::export::payload::{MetaField, PayloadFields, PayloadProcess, PayloadRun, payload_document};
use crate::flows::{PacketConsumer, PassSettings, follow};
use crate::source::{End, Library};
use crate::table::packets::PacketBlock;

/// Bytes after which a run of a stream is written, and another begun.
const RUN_BYTES_MAX: u64 = 64 << 10;
/// Bytes of all runs that wait for more; the oldest give way.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// What the command line says of documents, before what the tasks of a recording say.
#[derive(Debug)]
pub(super) struct AskedFields {
    /// Leave the payload out.
    pub(super) skip_payload: bool,
    /// Fields of processes, containers and pods.
    pub(super) meta: Option<Vec<MetaField>>,
}

impl AskedFields {
    /// Those of documents of packets that these tasks asked for.
    fn with_tasks<'a>(&self, tasks: impl Iterator<Item = &'a proto::PayloadTask>) -> PayloadFields {
        let mut tasks = tasks.peekable();
        let told = match tasks.peek() {
            Some(_) => PayloadFields::of_tasks(tasks),
            None => PayloadFields { payload: true, meta: None },
        };
        PayloadFields { payload: told.payload && !self.skip_payload, meta: self.meta.clone().or(told.meta) }
    }
}

/// Writes a document for each run: bytes of a stream up to where the other side speaks, a gap, or a limit; and each datagram.
/// Where the payload is left out, bytes count that were not captured.
pub(super) fn write(
    library: &Arc<Library>,
    asked: &AskedFields,
    out: &Path,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let mut output = BufWriter::new(OutputFile::open(out)?);
    let settings = PassSettings { flows: FlowOptions::default(), bytes: true, owners: true, flow_ids: None };
    let mut failed = None;
    let mut first_ns = None;
    let result = follow(
        library,
        &settings,
        || Collector::new(asked),
        |collector| {
            let begin_ns = *first_ns.get_or_insert(collector.first_ns.unwrap_or(0));
            for Run { mut run, fields } in collector.finished.drain(..) {
                run.relative_ns -= begin_ns;
                if let Err(error) = writeln!(output, "{}", payload_document(&run, &fields)) {
                    failed = Some(error);
                    return Err(Error::Stopped);
                }
            }
            bar.inc(std::mem::take(&mut collector.bytes_read));
            Ok(())
        },
    );
    if let Some(error) = failed {
        return Err(error.into());
    }
    result?;
    output.flush()?;
    output.into_inner().map_err(std::io::IntoInnerError::into_error)?.finish()
}

/// A run, and what its document is to have.
struct Run {
    run: PayloadRun,
    fields: Arc<PayloadFields>,
}

/// Gathers runs.
struct Collector<'a> {
    asked: &'a AskedFields,
    /// What documents have, by the TASKS of their packets.
    fields: FxHashMap<u32, Arc<PayloadFields>>,
    current: Option<(Arc<PacketBlock>, usize)>,
    /// Wall time of the first packet.
    first_ns: Option<i64>,
    /// Runs that may go on, by numbers that grow.
    waiting: BTreeMap<u64, Run>,
    waiting_bytes: usize,
    next_number: u64,
    finished: Vec<Run>,
    /// Bytes of packets since this was last taken.
    bytes_read: u64,
}

/// What is kept of a flow.
#[derive(Default)]
struct State {
    /// The run that waits, and whose bytes it has.
    run: Option<(u64, Side)>,
    ends: [LocalEnd; 2],
}

/// What packets of a side told of this host's part.
#[derive(Clone, Debug, Default)]
struct LocalEnd {
    /// Whether packets of the side leave the host; `None` when none told.
    is_sent: Option<bool>,
    /// TASKS of the last one.
    tasks: u32,
    process: Option<PayloadProcess>,
}

/// Bytes that a side sent, or how many it sent.
enum Sent<'a> {
    Bytes(&'a [u8]),
    Count(u64),
}

impl Sent<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Count(count) => *count,
        }
    }
}

impl<'a> Collector<'a> {
    fn new(asked: &'a AskedFields) -> Self {
        Self {
            asked,
            fields: FxHashMap::default(),
            current: None,
            first_ns: None,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            next_number: 0,
            finished: Vec::new(),
            bytes_read: 0,
        }
    }

    /// What documents have of what a side sends now.
    fn fields(&mut self, state: &State, side: Side) -> Arc<PayloadFields> {
        let bits = state.ends[side.index()].tasks;
        let fields = self.fields.entry(bits).or_insert_with(|| {
            let tasks = self.current.as_ref().map_or(&[][..], |(block, _)| block.handle().payload_tasks());
            let chosen = tasks.iter().zip(0..u32::BITS).filter(|(_, bit)| bits >> bit & 1 != 0);
            Arc::new(self.asked.with_tasks(chosen.map(|(task, _)| task)))
        });
        Arc::clone(fields)
    }

    /// Begins a run that a side sent.
    fn run(flow: &Flow, state: &State, side: Side, packet: PacketRef) -> PayloadRun {
        let key = &flow.key;
        let port = |port: u16| {
            let has_ports =
                matches!(flow.protocol(), ip_protocol::TCP | ip_protocol::UDP | ip_protocol::SCTP);
            has_ports.then_some(port)
        };
        let client = (key.source, port(key.source_port));
        let server = (key.destination, port(key.destination_port));
        let end = &state.ends[side.index()];
        // Without a host that it was recorded on, the side that began is taken for it.
        let is_sent = end.is_sent.unwrap_or(side == Side::Client);
        let (source, destination) = if side == Side::Client { (client, server) } else { (server, client) };
        PayloadRun {
            relative_ns: packet.time_ns,
            is_sent,
            flow_id: flow.flow_id,
            source,
            destination,
            process: end.process.clone(),
            len: 0,
            bytes: Vec::new(),
        }
    }

    /// Adds to the run that waits, or begins another.
    fn add(&mut self, flow: &Flow, state: &mut State, side: Side, packet: PacketRef, sent: &Sent<'_>) {
        let fields = self.fields(state, side);
        let goes_on = state.run.is_some_and(|(number, whose)| {
            let is_same =
                |run: &Run| run.fields == fields && run.run.len.saturating_add(sent.len()) <= RUN_BYTES_MAX;
            whose == side && self.waiting.get(&number).is_some_and(is_same)
        });
        if !goes_on {
            self.finish(state);
            self.next_number += 1;
            let run = Self::run(flow, state, side, packet);
            self.waiting.insert(self.next_number, Run { run, fields });
            state.run = Some((self.next_number, side));
        }
        if let Some(Run { run, fields }) = state.run.and_then(|(number, _)| self.waiting.get_mut(&number)) {
            run.len += sent.len();
            if let (Sent::Bytes(bytes), true) = (sent, fields.payload) {
                run.bytes.extend_from_slice(bytes);
                self.waiting_bytes += bytes.len();
            }
        }
        while self.waiting_bytes > WAITING_BYTES_MAX
            && let Some(oldest) = self.waiting.keys().next().copied()
        {
            self.finish_number(oldest);
        }
    }

    /// Ends the run that waits.
    fn finish(&mut self, state: &mut State) {
        if let Some((number, _)) = state.run.take() {
            self.finish_number(number);
        }
    }

    fn finish_number(&mut self, number: u64) {
        if let Some(run) = self.waiting.remove(&number) {
            self.waiting_bytes -= run.run.bytes.len();
            self.finished.push(run);
        }
    }
}

impl PacketConsumer for Collector<'_> {
    fn begin(&mut self, block: &Arc<PacketBlock>, row: usize) {
        self.first_ns = self.first_ns.or_else(|| block.realtime_ns(row));
        self.bytes_read += u64::from(block.entry().stored_len) / block.len().max(1) as u64;
        match &mut self.current {
            Some((current, current_row)) if Arc::ptr_eq(current, block) => *current_row = row,
            current => *current = Some((Arc::clone(block), row)),
        }
    }
}

impl FlowConsumer for Collector<'_> {
    type State = State;

    fn packet(&mut self, _: &Flow, state: &mut State, side: Side, _: PacketRef) {
        let Some((block, row)) = &self.current else { return };
        let end = &mut state.ends[side.index()];
        end.tasks = block.batch.tasks.get(*row).copied().unwrap_or(0);
        if end.is_sent.is_none() {
            end.is_sent = match block.direction(*row) {
                Direction::Egress => Some(true),
                Direction::Ingress => Some(false),
                Direction::Unknown => None,
            };
        }
        if end.process.is_none() {
            end.process = block.local_end(*row).and_then(|local| process(block, *row, local));
        }
    }

    fn data(&mut self, flow: &Flow, state: &mut State, side: Side, data: StreamData<'_>) {
        self.add(flow, state, side, data.packet, &Sent::Bytes(data.bytes));
    }

    fn gap(&mut self, flow: &Flow, state: &mut State, side: Side, gap: Gap) {
        if gap.reason == GapReason::Truncated && !self.fields(state, side).payload {
            self.add(flow, state, side, gap.packet, &Sent::Count(gap.len));
        } else {
            self.finish(state);
        }
    }

    fn datagram(&mut self, flow: &Flow, state: &mut State, side: Side, datagram: Datagram<'_>) {
        let fields = self.fields(state, side);
        let mut run = Self::run(flow, state, side, datagram.packet);
        if fields.payload {
            run.bytes = datagram.payload.to_vec();
            run.len = datagram.payload.len() as u64;
        } else {
            run.len = datagram.payload_len.into();
        }
        if run.len > 0 {
            self.finished.push(Run { run, fields });
        }
    }

    fn closed(&mut self, _: &Flow, mut state: State, _: CloseReason) {
        self.finish(&mut state);
    }
}

fn process(block: &PacketBlock, row: usize, end: &End) -> Option<PayloadProcess> {
    let owners = block.owners()?;
    let facts = block.end_facts(row, end);
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Some(PayloadProcess {
        pid: Some(facts.pid?),
        parent_pid: owners.parent_pid(end),
        name: owned(facts.process_name.as_deref()),
        command_line: owned(facts.command_line.as_deref()),
        executable: owned(facts.executable.as_deref()),
        started_ns: owners.start_time_ns(end).and_then(|start_ns| block.realtime_of(start_ns)),
        namespace: namespace_of(block, owners.pid_namespace(end)),
        container: facts.container,
    })
}

/// Device and inode of a namespace; `None` unless both are recorded.
fn namespace_of(block: &PacketBlock, inode: Option<u32>) -> Option<(u64, u32)> {
    let device = block.handle().file_info().host.as_ref()?.namespace_device;
    Some((device, inode?)).filter(|(device, _)| *device != 0)
}
