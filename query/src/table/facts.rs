//! Tables that are put together from events: what they have in common.

use std::fmt::{self, Debug};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use tokio::sync::mpsc::Sender;

use super::column::{Column, schema_of};
use super::flow_ids::FlowIds;
use crate::error::{Error, Result};
use crate::source::Library;
use crate::sql::KcapOptions;

/// Batches that may wait for a slow reader.
const BATCHES_WAITING_MAX: usize = 2;

/// Bytes of a batch, for rows that say how many they hold.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// A table whose rows are made one after the other from a library.
pub(crate) trait Facts: Debug + Send + Sync + 'static {
    /// What a row is made of.
    type Row: Send + 'static;
    /// Name of the table.
    const NAME: &'static str;
    /// What a row is, in a sentence.
    const SUMMARY: &'static str;
    /// Whether rows are of flows that can be followed alone: then filters on `flow_id` leave packets of others out.
    const OF_FLOWS: bool = false;
    /// The columns in their order.
    fn columns() -> Vec<Column<[Self::Row]>>;
    /// Makes the rows and hands each one to the sink.
    fn rows(library: &Arc<Library>, sink: &mut RowSink<Self::Row>) -> Result<()>;
}

/// Takes rows and sends them as batches.
pub(crate) struct RowSink<Row> {
    rows: Vec<Row>,
    /// Bytes of the rows, as far as they were told.
    bytes: usize,
    left: usize,
    batch_rows_max: usize,
    columns: Vec<Column<[Row]>>,
    schema: SchemaRef,
    output: Sender<EngineResult<RecordBatch>>,
    reservation: MemoryReservation,
    options: KcapOptions,
    flow_ids: Option<FlowIds>,
}

impl<Row> RowSink<Row>
where
    [Row]: 'static,
{
    /// Takes a row.
    ///
    /// # Errors
    /// [`Error::Stopped`] when no more rows are wanted.
    pub(crate) fn push(&mut self, row: Row) -> Result<()> {
        self.rows.push(row);
        self.left -= 1;
        if self.rows.len() >= self.batch_rows_max || self.left == 0 {
            self.flush()?;
        }
        if self.left == 0 { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Takes a row that holds so many bytes: rows of many bytes make smaller batches.
    ///
    /// # Errors
    /// [`Error::Stopped`] when no more rows are wanted.
    pub(crate) fn push_bytes(&mut self, row: Row, bytes: usize) -> Result<()> {
        self.push(row)?;
        self.bytes += bytes;
        if self.bytes >= BATCH_BYTES_MAX { self.flush() } else { Ok(()) }
    }

    /// True when a column is wanted whose name begins like one of these.
    pub(crate) fn wants(&self, beginnings: &[&str]) -> bool {
        let begins = |name: &String| beginnings.iter().any(|beginning| name.starts_with(beginning));
        self.columns.iter().any(|column| begins(column.field.name()))
    }

    /// The flows that are wanted, when not all are.
    pub(crate) fn flow_ids(&self) -> Option<FlowIds> {
        self.flow_ids.clone()
    }

    /// The options of the session.
    pub(crate) fn options(&self) -> &KcapOptions {
        &self.options
    }

    /// Stops making rows when nobody waits for them.
    ///
    /// # Errors
    /// [`Error::Stopped`] then.
    pub(crate) fn check_wanted(&self) -> Result<()> {
        if self.output.is_closed() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Accounts for memory that the table itself needs until its rows are made.
    ///
    /// # Errors
    /// When the session's memory limit does not allow it.
    pub(crate) fn reserve(&mut self, bytes: usize) -> Result<()> {
        Ok(self.reservation.try_grow(bytes)?)
    }

    fn flush(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let indices: Vec<u32> = (0..u32::try_from(self.rows.len()).unwrap_or(u32::MAX)).collect();
        let arrays = self.columns.iter().map(|column| column.build(&self.rows, &indices)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        self.rows.clear();
        self.bytes = 0;
        self.output.blocking_send(Ok(batch)).map_err(|_| Error::Stopped)
    }
}

/// Gives a table of facts to the engine.
pub(crate) struct FactTable<T> {
    library: Arc<Library>,
    schema: SchemaRef,
    table: std::marker::PhantomData<T>,
}

impl<T: Facts> FactTable<T> {
    pub(crate) fn new(library: Arc<Library>) -> Self {
        Self { library, schema: schema_of(&T::columns()), table: std::marker::PhantomData }
    }
}

impl<T: Facts> Debug for FactTable<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FactTable").field("name", &T::NAME).finish_non_exhaustive()
    }
}

#[async_trait]
impl<T: Facts> TableProvider for FactTable<T> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match FlowIds::of(filter) {
            Some(_) if T::OF_FLOWS => TableProviderFilterPushDown::Inexact,
            _ => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&projection)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Arc::new(FactScan::<T> {
            library: Arc::clone(&self.library),
            projection,
            limit,
            flow_ids: FlowIds::of_all(filters),
            properties: Arc::new(properties),
            table: std::marker::PhantomData,
        }))
    }
}

/// The scan of a table of facts: one partition.
struct FactScan<T> {
    library: Arc<Library>,
    projection: Vec<usize>,
    limit: Option<usize>,
    flow_ids: Option<FlowIds>,
    properties: Arc<PlanProperties>,
    table: std::marker::PhantomData<T>,
}

impl<T: Facts> Debug for FactScan<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FactScan").field("name", &T::NAME).finish_non_exhaustive()
    }
}

impl<T: Facts> DisplayAs for FactScan<T> {
    fn fmt_as(&self, _format: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.schema().fields().iter().map(|field| field.name().clone()).collect();
        write!(formatter, "FactScan: table={}, columns=[{}]", T::NAME, names.join(", "))?;
        if let Some(flow_ids) = &self.flow_ids {
            write!(formatter, ", {flow_ids}")?;
        }
        self.limit.map_or(Ok(()), |limit| write!(formatter, ", limit={limit}"))
    }
}

impl<T: Facts> ExecutionPlan for FactScan<T> {
    fn name(&self) -> &'static str {
        "FactScan"
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
        let mut columns: Vec<_> = T::columns().into_iter().map(Some).collect();
        let mut sink = RowSink {
            rows: Vec::new(),
            bytes: 0,
            left: self.limit.unwrap_or(usize::MAX),
            batch_rows_max: context.session_config().batch_size(),
            columns: self.projection.iter().filter_map(|index| columns.get_mut(*index)?.take()).collect(),
            schema: self.schema(),
            output: builder.tx(),
            reservation: MemoryConsumer::new(T::NAME).register(context.memory_pool()),
            options: KcapOptions::of(context.session_config().options()),
            flow_ids: self.flow_ids.clone(),
        };
        let library = Arc::clone(&self.library);
        builder.spawn_blocking(move || {
            if sink.left == 0 {
                return Ok(());
            }
            match T::rows(&library, &mut sink).and_then(|()| sink.flush()) {
                Ok(()) | Err(Error::Stopped) => Ok(()),
                Err(error) => Err(DataFusionError::from(error)),
            }
        });
        Ok(builder.build())
    }
}

/// The provider as the engine wants it.
pub(crate) fn provider<T: Facts>(library: &Arc<Library>) -> (&'static str, Arc<dyn TableProvider>) {
    let table: Arc<dyn TableProvider> = Arc::new(FactTable::<T>::new(Arc::clone(library)));
    (T::NAME, table)
}
