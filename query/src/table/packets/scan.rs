//! The scan of `packets` in a plan.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::Result as EngineResult;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};

use super::block::PacketBlock;
use super::columns::{PacketColumn, columns};
use super::needs::Needs;
use super::pipeline::Pipeline;
use super::predicate::Predicate;
use super::ranges::BlockRange;
use crate::error::{Error, Result};
use crate::source::Library;
use crate::table::scan_plan::{Output, Reader, Scan, ScanPlan, column_names};

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
pub(super) struct PacketScan {
    library: Arc<Library>,
    settings: ScanSettings,
    needs: Needs,
    metrics: ExecutionPlanMetricsSet,
}

impl PacketScan {
    /// The plan.
    pub(super) fn plan(
        library: &Arc<Library>,
        schema: &SchemaRef,
        settings: ScanSettings,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let projected = Arc::new(schema.project(&settings.projection)?);
        let partitions = settings.partitions.len();
        let needs = needs_of(&settings, library);
        let metrics = ExecutionPlanMetricsSet::new();
        let scan = Self { library: Arc::clone(library), settings, needs, metrics };
        Ok(ScanPlan::plan(scan, projected, partitions))
    }
}

/// What the projected columns take, and leaving out copies.
fn needs_of(settings: &ScanSettings, library: &Library) -> Needs {
    let all = columns();
    let hides = !settings.duplicates && library.has_copies();
    let hide = if hides { Needs::matching() } else { Needs::default() };
    let filter = settings.predicate.as_ref().map(Predicate::needs).unwrap_or_default();
    let wanted = settings.projection.iter().filter_map(|place| all.get(*place));
    let needs = wanted.fold(hide | filter, |needs, column| needs | column.needs);
    if hides { needs.with_copies(library) } else { needs }
}

impl Scan for PacketScan {
    const NAME: &'static str = "PacketScan";

    fn describe(&self, schema: &Schema, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        write!(
            formatter,
            "partitions={}, blocks={}, pruned={}, decode={}, payload={}, owners={}, duplicates={}, columns=[{}]",
            settings.partitions.len(),
            settings.blocks,
            settings.blocks_pruned,
            self.needs.decode,
            self.needs.payload,
            self.needs.owner,
            if settings.duplicates { "shown" } else { "hidden" },
            column_names(schema)
        )?;
        if let Some(predicate) = &settings.predicate {
            write!(formatter, ", filter={predicate}")?;
        }
        settings.limit.map_or(Ok(()), |limit| write!(formatter, ", limit={limit}"))
    }

    fn filter(&self) -> Option<&Arc<dyn PhysicalExpr>> {
        self.settings.predicate.as_ref().map(Predicate::expression)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn reader(
        &self,
        partition: usize,
        schema: SchemaRef,
        context: &TaskContext,
        output: Output,
    ) -> EngineResult<Reader> {
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
            schema,
            rows_left: self.settings.limit.unwrap_or(usize::MAX),
            hides_copies: !self.settings.duplicates,
            batch_rows_max: context.session_config().batch_size(),
            output,
            baseline: BaselineMetrics::new(&self.metrics, partition),
            blocks_read: MetricBuilder::new(&self.metrics).counter("blocks_read", partition),
            rows_decoded: MetricBuilder::new(&self.metrics).counter("rows_decoded", partition),
        };
        Ok(Box::new(move || reader.run()))
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
    output: Output,
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
