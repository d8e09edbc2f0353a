//! The scan of `packets` in a plan.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use tokio::sync::mpsc::Sender;

use super::block::PacketBlock;
use super::columns::{PacketColumn, columns};
use super::needs::Needs;
use super::pipeline::Pipeline;
use super::predicate::Predicate;
use super::ranges::BlockRange;
use crate::error::{Error, Result};
use crate::source::Library;

/// Batches that may wait for a slow reader.
const BATCHES_WAITING_MAX: usize = 2;

/// What a scan reads: a plain value.
#[derive(Clone, Debug)]
pub(super) struct ScanSettings {
    /// Blocks of each partition.
    pub(super) partitions: Vec<Vec<BlockRange>>,
    /// Places of the wanted columns.
    pub(super) projection: Vec<usize>,
    /// What rows must hold for.
    pub(super) predicate: Option<Predicate>,
    /// Rows that are enough.
    pub(super) limit: Option<usize>,
    /// Whether the arriving copies of local packets are rows.
    pub(super) duplicates: bool,
    /// Blocks of packets in all partitions.
    pub(super) blocks: usize,
    /// Blocks of packets that filters ruled out.
    pub(super) blocks_pruned: usize,
}

/// The scan.
#[derive(Debug)]
pub(super) struct PacketScan {
    library: Arc<Library>,
    settings: ScanSettings,
    needs: Needs,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl PacketScan {
    pub(super) fn new(
        library: &Arc<Library>,
        schema: &SchemaRef,
        settings: ScanSettings,
    ) -> EngineResult<Self> {
        let projected = Arc::new(schema.project(&settings.projection)?);
        let needs = needs_of(&settings, library);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(projected),
            Partitioning::UnknownPartitioning(settings.partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            library: Arc::clone(library),
            settings,
            needs,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

/// What the projected columns take, and leaving out copies.
fn needs_of(settings: &ScanSettings, library: &Library) -> Needs {
    let all = columns();
    let hides = !settings.duplicates && library.has_copies();
    let hide = if hides { Needs::matching() } else { Needs::default() };
    let filter = settings.predicate.as_ref().map(Predicate::needs).unwrap_or_default();
    settings
        .projection
        .iter()
        .filter_map(|place| all.get(*place))
        .fold(hide | filter, |needs, column| needs | column.needs)
}

impl DisplayAs for PacketScan {
    fn fmt_as(&self, _format: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.schema().fields().iter().map(|field| field.name().clone()).collect();
        let settings = &self.settings;
        write!(
            formatter,
            "PacketScan: partitions={}, blocks={}, pruned={}, decode={}, payload={}, owners={}, duplicates={}, columns=[{}]",
            settings.partitions.len(),
            settings.blocks,
            settings.blocks_pruned,
            self.needs.decode,
            self.needs.payload,
            self.needs.owner,
            if settings.duplicates { "shown" } else { "hidden" },
            names.join(", ")
        )?;
        if let Some(predicate) = &settings.predicate {
            write!(formatter, ", filter={predicate}")?;
        }
        settings.limit.map_or(Ok(()), |limit| write!(formatter, ", limit={limit}"))
    }
}

impl ExecutionPlan for PacketScan {
    fn name(&self) -> &'static str {
        "PacketScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> EngineResult<TreeNodeRecursion>,
    ) -> EngineResult<TreeNodeRecursion> {
        match &self.settings.predicate {
            Some(predicate) => f(predicate.expression()),
            None => Ok(TreeNodeRecursion::Continue),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> EngineResult<SendableRecordBatchStream> {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema(), BATCHES_WAITING_MAX);
        let mut all: Vec<_> = columns().into_iter().map(Some).collect();
        let predicate = self.settings.predicate.clone();
        // Only blocks with rows that are left have their payloads read, unless those decide.
        let leaves_payloads =
            self.needs.payload && predicate.as_ref().is_some_and(|predicate| !predicate.needs().payload);
        let pipeline = Pipeline::new(&self.library, &self.settings.partitions[partition], self.needs)?;
        let reader = PartitionReader {
            pipeline: if leaves_payloads { pipeline.leaving_payloads() } else { pipeline },
            leaves_payloads,
            predicate: predicate.map(|predicate| (predicate.columns(), predicate)),
            columns: self
                .settings
                .projection
                .iter()
                .filter_map(|place| all.get_mut(*place)?.take())
                .collect(),
            schema: self.schema(),
            rows_left: self.settings.limit.unwrap_or(usize::MAX),
            hides_copies: !self.settings.duplicates,
            batch_rows_max: context.session_config().batch_size(),
            output: builder.tx(),
            baseline: BaselineMetrics::new(&self.metrics, partition),
            blocks_read: MetricBuilder::new(&self.metrics).counter("blocks_read", partition),
            rows_decoded: MetricBuilder::new(&self.metrics).counter("rows_decoded", partition),
        };
        builder.spawn_blocking(move || match reader.run() {
            Ok(()) | Err(Error::Stopped) => Ok(()),
            Err(error) => Err(DataFusionError::from(error)),
        });
        Ok(builder.build())
    }
}

/// Turns the blocks of a partition into batches.
struct PartitionReader {
    pipeline: Pipeline,
    /// Whether payloads are still to be read of a block whose rows are wanted.
    leaves_payloads: bool,
    predicate: Option<(Vec<PacketColumn>, Predicate)>,
    columns: Vec<PacketColumn>,
    schema: SchemaRef,
    rows_left: usize,
    hides_copies: bool,
    batch_rows_max: usize,
    output: Sender<EngineResult<RecordBatch>>,
    baseline: BaselineMetrics,
    blocks_read: Count,
    rows_decoded: Count,
}

impl PartitionReader {
    fn run(mut self) -> Result<()> {
        while self.rows_left > 0 && !self.output.is_closed() {
            let (blocks, rows) = (self.pipeline.blocks_read, self.pipeline.rows_decoded);
            let next = self.pipeline.next_block()?;
            self.blocks_read.add(self.pipeline.blocks_read - blocks);
            self.rows_decoded.add(self.pipeline.rows_decoded - rows);
            let Some(mut block) = next else { break };
            self.emit(&mut block)?;
        }
        self.baseline.done();
        Ok(())
    }

    fn emit(&mut self, block: &mut PacketBlock) -> Result<()> {
        let mut rows: Vec<u32> = (0..u32::try_from(block.len()).unwrap_or(u32::MAX))
            .filter(|row| !(self.hides_copies && block.is_copy(*row as usize)))
            .collect();
        if let Some((columns, predicate)) = &self.predicate {
            let _timer = self.baseline.elapsed_compute().timer();
            let left = rows.chunks(self.batch_rows_max);
            rows = left
                .map(|rows| predicate.rows_left(columns, block, rows))
                .collect::<Result<Vec<_>>>()?
                .concat();
        }
        rows.truncate(self.rows_left);
        if self.leaves_payloads && !rows.is_empty() {
            block.read_payload()?;
        }
        self.rows_left -= rows.len();
        for rows in rows.chunks(self.batch_rows_max) {
            let batch = {
                let _timer = self.baseline.elapsed_compute().timer();
                let arrays = self.columns.iter().map(|column| column.column.build(block, rows)).collect();
                let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
                RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?
            };
            self.baseline.record_output(rows.len());
            self.output.blocking_send(Ok(batch)).map_err(|_| Error::Stopped)?;
        }
        Ok(())
    }
}
