//! The packets that the answer of a query names.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::anyhow;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, UInt64Type};
use futures::StreamExt;
use kcap_dissect::flow::{Flow, FlowConsumer, FlowOptions, Side};
use kcap_dissect::stream::PacketRef;

use crate::cli::exit::Usage;
use crate::flows::{CurrentPacket, PacketConsumer, PassSettings, follow};
use crate::source::Library;
use crate::sql::{SessionSettings, error_line, new_session};
use crate::table::packets::PacketBlock;

/// Which packets are written.
#[derive(Debug)]
pub(super) enum Chosen {
    /// All.
    All,
    /// Those with these ids, each with its recording if the answer tells it.
    Packets(Keys),
    /// Those of these flows.
    Flows(Keys),
}

/// Ids, and in which recordings; `None` for any.
#[derive(Debug, Default)]
pub(super) struct Keys {
    ids: HashSet<(Option<Arc<str>>, u64)>,
    has_capture_id: bool,
}

impl Keys {
    fn contains(&self, block: &PacketBlock, id: u64) -> bool {
        let capture_id = self.has_capture_id.then(|| Arc::from(block.capture_id()));
        self.ids.contains(&(capture_id, id))
    }
}

impl Chosen {
    /// Whether a row of a block is among them.
    pub(super) fn contains(&self, block: &PacketBlock, row: usize) -> bool {
        match self {
            Self::All => true,
            Self::Packets(keys) => keys.contains(block, block.packet_id(row)),
            Self::Flows(keys) => block.flow_id(row).is_some_and(|id| keys.contains(block, id)),
        }
    }

    /// Asks `query`, whose answer has a column `packet_id`, or `flow_id`: with `first_packet_id` beside it, conversations are
    /// meant and not all with the same addresses and ports.
    ///
    /// # Errors
    /// A query that fails, or whose answer has no such column.
    pub(super) fn by(
        query: &str,
        library: &Arc<Library>,
        settings: &SessionSettings,
    ) -> anyhow::Result<Self> {
        let engine_error = |error| anyhow!(error_line(&error));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let context = new_session(library, settings).map_err(engine_error)?;
        let batches: Vec<RecordBatch> = runtime.block_on(async {
            let frame = context.sql(query).await.map_err(engine_error)?;
            let schema = Arc::clone(frame.schema().inner());
            let mut stream = frame.execute_stream().await.map_err(engine_error)?;
            let mut batches = vec![RecordBatch::new_empty(schema)];
            while let Some(batch) = stream.next().await {
                batches.push(batch.map_err(engine_error)?);
            }
            anyhow::Ok(batches)
        })?;
        let schema = batches[0].schema();
        let has = |name: &str| schema.column_with_name(name).is_some();
        if library.recordings.len() > 1 && has("packet_id") && !has("capture_id") {
            return Err(Usage::error(
                "packet ids are those of one recording, and the sources are several: select capture_id beside packet_id",
            ));
        }
        match () {
            () if has("packet_id") => Ok(Self::Packets(keys(&batches, "packet_id")?)),
            () if has("flow_id") && has("first_packet_id") => {
                let flows = FlowOptions {
                    streams: false,
                    timeout_ns: i64::try_from(settings.flow_timeout_ms)
                        .unwrap_or(i64::MAX)
                        .saturating_mul(1_000_000),
                    ..FlowOptions::default()
                };
                packets_of(&keys(&batches, "first_packet_id")?, library, flows)
            }
            () if has("flow_id") => Ok(Self::Flows(keys(&batches, "flow_id")?)),
            () => Err(Usage::error("the answer of --query names no packets: select packet_id or flow_id")),
        }
    }
}

/// The values of a column, with their recordings.
fn keys(batches: &[RecordBatch], column: &str) -> anyhow::Result<Keys> {
    let mut keys = Keys::default();
    for batch in batches {
        let Some(ids) = batch.column_by_name(column) else { continue };
        let ids = cast(ids, &DataType::UInt64)?;
        let ids = ids.as_primitive::<UInt64Type>();
        let captures =
            batch.column_by_name("capture_id").map(|column| cast(column, &DataType::Utf8)).transpose()?;
        keys.has_capture_id = captures.is_some();
        for row in 0..batch.num_rows() {
            if ids.is_valid(row) {
                let capture =
                    captures.as_ref().map(|captures| Arc::from(captures.as_string::<i32>().value(row)));
                keys.ids.insert((capture, ids.value(row)));
            }
        }
    }
    Ok(keys)
}

/// The packets of the conversations that begin with these.
fn packets_of(firsts: &Keys, library: &Arc<Library>, flows: FlowOptions) -> anyhow::Result<Chosen> {
    let settings = PassSettings { flows, bytes: false, owners: false, flow_ids: None };
    let mut chosen = Keys { has_capture_id: true, ..Keys::default() };
    let consumer = || Conversations { firsts, current: CurrentPacket::default(), packets: Vec::new() };
    follow(library, &settings, consumer, |conversations| {
        chosen.ids.extend(conversations.packets.drain(..).map(|(capture, id)| (Some(capture), id)));
        Ok(())
    })?;
    Ok(Chosen::Packets(chosen))
}

/// Gathers the packets of conversations.
struct Conversations<'a> {
    firsts: &'a Keys,
    current: CurrentPacket,
    packets: Vec<(Arc<str>, u64)>,
}

impl PacketConsumer for Conversations<'_> {
    fn begin(&mut self, block: &Arc<PacketBlock>, row: usize) {
        self.current.set(block, row);
    }
}

impl FlowConsumer for Conversations<'_> {
    /// Whether the conversation is wanted.
    type State = Option<bool>;

    fn packet(&mut self, flow: &Flow, wanted: &mut Option<bool>, _: Side, packet: PacketRef) {
        let Some((block, _)) = self.current.get() else { return };
        if *wanted.get_or_insert_with(|| self.firsts.contains(block, flow.first_packet_id)) {
            self.packets.push((Arc::from(block.capture_id()), packet.packet_id));
        }
    }
}
