//! The plan of a table's scan: what all of them have in common.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use tokio::sync::mpsc::Sender;

use crate::error::{Error, Result};

/// Batches that may wait for a slow reader.
pub(super) const BATCHES_WAITING_MAX: usize = 2;

/// Where a scan sends its batches.
pub(super) type Output = Sender<EngineResult<RecordBatch>>;

/// Reads a partition and sends its batches, on a thread of its own. [`Error::Stopped`] is no error: nobody wants more.
pub(super) type Reader = Box<dyn FnOnce() -> Result<()> + Send>;

/// What one table's scan does.
pub(super) trait Scan: Send + Sync + 'static {
    /// Name in plans.
    const NAME: &'static str;

    /// What `EXPLAIN` shows behind the name.
    fn describe(&self, schema: &Schema, formatter: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// The filter that rows are read with.
    fn filter(&self) -> Option<&Arc<dyn PhysicalExpr>> {
        None
    }

    /// What was measured.
    fn metrics(&self) -> Option<MetricsSet> {
        None
    }

    /// Prepares reading a partition.
    fn reader(
        &self,
        partition: usize,
        schema: SchemaRef,
        context: &TaskContext,
        output: Output,
    ) -> EngineResult<Reader>;
}

/// A scan as the engine's plan: it has no plans below it.
pub(super) struct ScanPlan<S> {
    scan: S,
    properties: Arc<PlanProperties>,
}

impl<S: Scan> ScanPlan<S> {
    /// The plan of a scan that gives these columns in so many partitions.
    pub(super) fn plan(scan: S, schema: SchemaRef, partitions: usize) -> Arc<dyn ExecutionPlan> {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Arc::new(Self { scan, properties: Arc::new(properties) })
    }
}

/// Names of columns, as plans list them.
pub(super) fn column_names(schema: &Schema) -> String {
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names.join(", ")
}

impl<S: Scan> fmt::Debug for ScanPlan<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct(S::NAME).finish_non_exhaustive()
    }
}

impl<S: Scan> DisplayAs for ScanPlan<S> {
    fn fmt_as(&self, _format: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", S::NAME)?;
        self.scan.describe(&self.schema(), formatter)
    }
}

impl<S: Scan> ExecutionPlan for ScanPlan<S> {
    fn name(&self) -> &'static str {
        S::NAME
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
        self.scan.filter().map_or(Ok(TreeNodeRecursion::Continue), f)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.scan.metrics()
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> EngineResult<SendableRecordBatchStream> {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema(), BATCHES_WAITING_MAX);
        let reader = self.scan.reader(partition, self.schema(), &context, builder.tx())?;
        builder.spawn_blocking(move || match reader() {
            Ok(()) | Err(Error::Stopped) => Ok(()),
            Err(error) => Err(DataFusionError::from(error)),
        });
        Ok(builder.build())
    }
}
