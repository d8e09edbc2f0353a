//! The scan of transactions in a plan.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use kcap_dissect::protocol::{Protocol, Protocols};
use tokio::sync::mpsc::Sender;

use super::{Layout, TableColumn};
use crate::error::{Error, Result};
use crate::source::Library;
use crate::table::conversation::needs_owners;
use crate::transactions::{Found, TransactionOptions, TransactionRecord, each};

/// Batches that may wait for a slow reader.
pub(super) const BATCHES_WAITING_MAX: usize = 2;
/// Transactions of a batch: they may be large.
pub(super) const BATCH_ROWS_MAX: usize = 1024;

/// The scan.
pub(super) struct TransactionScan {
    library: Arc<Library>,
    protocols: Protocols,
    layout: Layout,
    projection: Vec<usize>,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl TransactionScan {
    pub(super) fn new(
        library: &Arc<Library>,
        protocols: Protocols,
        layout: Layout,
        projection: Vec<usize>,
        schema: SchemaRef,
        limit: Option<usize>,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let library = Arc::clone(library);
        Self { library, protocols, layout, projection, limit, properties: Arc::new(properties) }
    }

    /// Whether a column is asked for that only this protocol has.
    fn wants_fields_of(&self, protocol: &Protocol) -> bool {
        self.layout.0.is_some_and(|own| own.name == protocol.name)
            && self.names().iter().any(|name| protocol.columns.iter().any(|column| column.path == name))
    }

    fn names(&self) -> Vec<String> {
        self.schema().fields().iter().map(|field| field.name().clone()).collect()
    }
}

impl fmt::Debug for TransactionScan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TransactionScan").field("name", &self.layout.name()).finish_non_exhaustive()
    }
}

impl DisplayAs for TransactionScan {
    fn fmt_as(&self, _format: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names().join(", ");
        write!(formatter, "TransactionScan: table={}, columns=[{names}]", self.layout.name())?;
        self.limit.map_or(Ok(()), |limit| write!(formatter, ", limit={limit}"))
    }
}

impl ExecutionPlan for TransactionScan {
    fn name(&self) -> &'static str {
        "TransactionScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> EngineResult<TreeNodeRecursion>,
    ) -> EngineResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> EngineResult<SendableRecordBatchStream> {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema(), BATCHES_WAITING_MAX);
        let mut columns: Vec<_> = self.layout.columns().into_iter().map(Some).collect();
        let batches = Batches {
            protocol: self.layout.0.map(|protocol| protocol.name),
            columns: self.projection.iter().filter_map(|place| columns.get_mut(*place)?.take()).collect(),
            schema: self.schema(),
            rows_left: self.limit.unwrap_or(usize::MAX),
            records: Vec::new(),
            output: builder.tx(),
        };
        let options = TransactionOptions {
            protocols: self.protocols.clone().with_fields_of(|protocol| self.wants_fields_of(protocol)),
            owners: self.names().iter().any(|name| needs_owners(name)),
            threads: NonZeroUsize::new(context.session_config().target_partitions())
                .unwrap_or(NonZeroUsize::MIN),
            ..TransactionOptions::default()
        };
        let library = Arc::clone(&self.library);
        builder.spawn_blocking(move || match batches.run(&library, &options) {
            Ok(()) | Err(Error::Stopped) => Ok(()),
            Err(error) => Err(DataFusionError::from(error)),
        });
        Ok(builder.build())
    }
}

/// Gathers transactions into batches.
struct Batches {
    /// The protocol of the table; transactions of others are passed over.
    protocol: Option<&'static str>,
    columns: Vec<TableColumn>,
    schema: SchemaRef,
    rows_left: usize,
    records: Vec<TransactionRecord>,
    output: Sender<EngineResult<RecordBatch>>,
}

impl Batches {
    fn run(mut self, library: &Arc<Library>, options: &TransactionOptions) -> Result<()> {
        if self.rows_left == 0 {
            return Ok(());
        }
        // Rows may be far apart: whether anybody still waits for them is looked at in between.
        let output = self.output.clone();
        each(library, options, |_| {}, |found| self.take(found, &output))?;
        self.flush()
    }

    fn take(&mut self, found: Found, output: &Sender<EngineResult<RecordBatch>>) -> Result<()> {
        let Found::Transaction(record) = found else { return Ok(()) };
        if output.is_closed() {
            return Err(Error::Stopped);
        }
        if self.protocol.is_some_and(|protocol| protocol != record.transaction.protocol) {
            return Ok(());
        }
        self.records.push(*record);
        self.rows_left -= 1;
        if self.records.len() >= BATCH_ROWS_MAX || self.rows_left == 0 {
            self.flush()?;
        }
        if self.rows_left == 0 { Err(Error::Stopped) } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        let rows: Vec<u32> = (0..u32::try_from(self.records.len()).unwrap_or(u32::MAX)).collect();
        let arrays = self.columns.iter().map(|column| column.array(&self.records, &rows)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.records.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        self.records.clear();
        self.output.blocking_send(Ok(batch)).map_err(|_| Error::Stopped)
    }
}
