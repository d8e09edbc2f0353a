//! Tables that are put together from events: what they have in common.

use std::fmt::{self, Debug};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as EngineResult;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryPool, MemoryReservation, UnboundedMemoryPool,
};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::column::{Column, schema_of};
use super::flow_ids::FlowIds;
use super::scan_plan::{Output, Reader, Scan, ScanPlan, column_names};
use crate::error::{Error, Result};
use crate::source::Library;
use crate::sql::KcapOptions;

/// Most rows of a batch of a sink without a session.
const FED_BATCH_ROWS_MAX: usize = 1024;
/// Bytes of a batch: of its texts, and of what rows hold beside.
pub(super) const BATCH_BYTES_MAX: usize = 8 << 20;

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
    /// Bytes of the rows: of their texts, and what was told.
    bytes: usize,
    left: usize,
    batch_rows_max: usize,
    columns: Vec<Column<[Row]>>,
    schema: SchemaRef,
    output: Output,
    reservation: MemoryReservation,
    options: KcapOptions,
    flow_ids: Option<FlowIds>,
}

impl<Row> RowSink<Row>
where
    [Row]: 'static,
{
    /// A sink for as many rows as there are, without a session: it accounts for no memory.
    pub(super) fn new(columns: Vec<Column<[Row]>>, schema: SchemaRef, output: Output) -> Self {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        Self {
            rows: Vec::new(),
            bytes: 0,
            left: usize::MAX,
            batch_rows_max: FED_BATCH_ROWS_MAX,
            columns,
            schema,
            output,
            reservation: MemoryConsumer::new("rows").register(&pool),
            options: KcapOptions::default(),
            flow_ids: None,
        }
    }

    /// Takes a row.
    ///
    /// # Errors
    /// [`Error::Stopped`] when no more rows are wanted.
    pub(crate) fn push(&mut self, row: Row) -> Result<()> {
        let place = self.rows.len();
        self.rows.push(row);
        self.left -= 1;
        self.bytes += self.columns.iter().map(|column| column.text_len(&self.rows, place)).sum::<usize>();
        let is_full = self.rows.len() >= self.batch_rows_max || self.bytes >= BATCH_BYTES_MAX;
        if is_full || self.left == 0 {
            self.flush()?;
        }
        if self.left == 0 { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Takes a row that holds so many bytes: rows of many bytes make smaller batches.
    ///
    /// # Errors
    /// [`Error::Stopped`] when no more rows are wanted.
    pub(crate) fn push_bytes(&mut self, row: Row, bytes: usize) -> Result<()> {
        self.bytes += bytes;
        self.push(row)
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

    /// Sends the rows that wait.
    ///
    /// # Errors
    /// [`Error::Stopped`] when no more rows are wanted.
    pub(super) fn flush(&mut self) -> Result<()> {
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
        let scan = FactScan::<T> {
            library: Arc::clone(&self.library),
            projection,
            limit,
            flow_ids: FlowIds::of_all(filters),
            table: std::marker::PhantomData,
        };
        Ok(ScanPlan::plan(scan, schema, 1))
    }
}

/// The scan of a table of facts: one partition.
struct FactScan<T> {
    library: Arc<Library>,
    projection: Vec<usize>,
    limit: Option<usize>,
    flow_ids: Option<FlowIds>,
    table: std::marker::PhantomData<T>,
}

impl<T: Facts> Scan for FactScan<T> {
    const NAME: &'static str = "FactScan";

    fn describe(&self, schema: &Schema, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "table={}, columns=[{}]", T::NAME, column_names(schema))?;
        if let Some(flow_ids) = &self.flow_ids {
            write!(formatter, ", {flow_ids}")?;
        }
        self.limit.map_or(Ok(()), |limit| write!(formatter, ", limit={limit}"))
    }

    fn reader(
        &self,
        _partition: usize,
        schema: SchemaRef,
        context: &TaskContext,
        output: Output,
    ) -> EngineResult<Reader> {
        let mut columns: Vec<_> = T::columns().into_iter().map(Some).collect();
        let columns = self.projection.iter().filter_map(|index| columns.get_mut(*index)?.take()).collect();
        let mut sink = RowSink {
            left: self.limit.unwrap_or(usize::MAX),
            batch_rows_max: context.session_config().batch_size(),
            reservation: MemoryConsumer::new(T::NAME).register(context.memory_pool()),
            options: KcapOptions::of(context.session_config().options()),
            flow_ids: self.flow_ids.clone(),
            ..RowSink::new(columns, schema, output)
        };
        let library = Arc::clone(&self.library);
        Ok(Box::new(move || {
            if sink.left == 0 {
                return Ok(());
            }
            T::rows(&library, &mut sink).and_then(|()| sink.flush())
        }))
    }
}

/// The provider as the engine wants it.
pub(crate) fn provider<T: Facts>(library: &Arc<Library>) -> (&'static str, Arc<dyn TableProvider>) {
    let table: Arc<dyn TableProvider> = Arc::new(FactTable::<T>::new(Arc::clone(library)));
    (T::NAME, table)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::channel;

    use super::*;

    /// An array holds 2 GiB of text, and rows of hostile files a lot each.
    #[test]
    fn batches_are_bounded_by_their_texts() {
        let columns = || vec![Column::text("text", "", |rows: &[String], row| Some(rows[row].as_str()))];
        let (sender, mut batches) = channel(100);
        let mut sink = RowSink::new(columns(), schema_of(&columns()), sender);
        for len in [1, BATCH_BYTES_MAX / 2, BATCH_BYTES_MAX / 2, 1, BATCH_BYTES_MAX, 1] {
            sink.push("x".repeat(len)).unwrap();
        }
        sink.flush().unwrap();
        let lengths = std::iter::from_fn(|| batches.try_recv().ok()).map(|batch| batch.unwrap().num_rows());
        assert_eq!(lengths.collect::<Vec<_>>(), [3, 2, 1]);
    }
}
