//! Reassembled payload as JSON documents, one a run.

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
use super::waiting_runs::{Run, Sent, WaitingRuns};
use crate::Error;
use crate::export::payload::{MetaField, PayloadFields, PayloadProcess, PayloadRun, payload_document};
use crate::flows::{CurrentPacket, PacketConsumer, PassSettings, follow};
use crate::source::{End, Library};
use crate::table::packets::PacketBlock;

/// Bytes after which a run of a stream is written, and another begun.
const RUN_BYTES_MAX: u64 = 64 << 10;
/// Most combinations of tasks of which it is remembered what they want; no recorder has so many.
const FIELDS_KEPT_MAX: usize = 1024;

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
    let settings = PassSettings {
        flows: FlowOptions::default(),
        bytes: !asked.skip_payload,
        owners: true,
        flow_ids: None,
    };
    let mut failed = None;
    let mut first_ns = None;
    let result = follow(
        library,
        &settings,
        || Collector::new(asked),
        |collector| {
            let begin_ns = *first_ns.get_or_insert(collector.first_ns.unwrap_or(0));
            for Run { mut run, fields } in collector.finished.drain(..) {
                run.relative_ns = run.relative_ns.saturating_sub(begin_ns);
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

/// Gathers runs.
struct Collector<'a> {
    asked: &'a AskedFields,
    /// What documents have, by the TASKS of their packets.
    fields: FxHashMap<u32, Arc<PayloadFields>>,
    current: CurrentPacket,
    /// Wall time of the first packet.
    first_ns: Option<i64>,
    waiting: WaitingRuns,
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
    process: Option<PayloadProcess>,
}

impl<'a> Collector<'a> {
    fn new(asked: &'a AskedFields) -> Self {
        Self {
            asked,
            fields: FxHashMap::default(),
            current: CurrentPacket::default(),
            first_ns: None,
            waiting: WaitingRuns::default(),
            finished: Vec::new(),
            bytes_read: 0,
        }
    }

    /// What documents have of what a packet brought, which may have waited for others: its tag is its TASKS.
    fn fields(&mut self, packet: PacketRef) -> Arc<PayloadFields> {
        let bits = packet.tag;
        if self.fields.len() >= FIELDS_KEPT_MAX {
            self.fields.clear();
        }
        let fields = self.fields.entry(bits).or_insert_with(|| {
            let tasks = self.current.get().map_or(&[][..], |(block, _)| block.handle().payload_tasks());
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
        let fields = self.fields(packet);
        let goes_on = |(number, whose): &(u64, Side)| {
            let is_same =
                |run: &Run| run.fields == fields && run.run.len.saturating_add(sent.len()) <= RUN_BYTES_MAX;
            *whose == side && self.waiting.run(*number).is_some_and(is_same)
        };
        let number = match state.run.filter(goes_on) {
            Some((number, _)) => number,
            None => {
                self.finish(state);
                let run = Self::run(flow, state, side, packet);
                self.waiting.begin(Run { run, fields })
            }
        };
        state.run = Some((number, side));
        self.waiting.add(number, sent, &mut self.finished);
    }

    /// Ends the run that waits.
    fn finish(&mut self, state: &mut State) {
        let run = state.run.take();
        self.finished.extend(run.and_then(|(number, _)| self.waiting.take(number)));
    }
}

impl PacketConsumer for Collector<'_> {
    fn begin(&mut self, block: &Arc<PacketBlock>, row: usize) {
        self.first_ns = self.first_ns.or_else(|| block.realtime_ns(row));
        self.bytes_read += u64::from(block.entry().stored_len) / block.len().max(1) as u64;
        self.current.set(block, row);
    }
}

impl FlowConsumer for Collector<'_> {
    type State = State;

    fn packet(&mut self, _: &Flow, state: &mut State, side: Side, _: PacketRef) {
        let Some((block, row)) = self.current.get() else { return };
        let end = &mut state.ends[side.index()];
        if end.is_sent.is_none() {
            end.is_sent = match block.direction(row) {
                Direction::Egress => Some(true),
                Direction::Ingress => Some(false),
                Direction::Unknown => None,
            };
        }
        if end.process.is_none() {
            end.process = block.local_end(row).and_then(|local| process(block, row, local));
        }
    }

    fn data(&mut self, flow: &Flow, state: &mut State, side: Side, data: StreamData<'_>) {
        self.add(flow, state, side, data.packet, &Sent::Bytes(data.bytes));
    }

    fn gap(&mut self, flow: &Flow, state: &mut State, side: Side, gap: Gap) {
        if gap.reason == GapReason::Truncated && !self.fields(gap.packet).payload {
            self.add(flow, state, side, gap.packet, &Sent::Count(gap.len));
        } else {
            self.finish(state);
        }
    }

    fn datagram(&mut self, flow: &Flow, state: &mut State, side: Side, datagram: Datagram<'_>) {
        let fields = self.fields(datagram.packet);
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
