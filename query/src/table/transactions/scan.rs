//! The scan of transactions in a plan.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::Result as EngineResult;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use kcap_dissect::protocol::{Protocol, Protocols};

use super::{Layout, TableColumn};
use crate::error::{Error, Result};
use crate::source::Library;
use crate::table::conversation::needs_owners;
use crate::table::scan_plan::{Output, Reader, Scan, ScanPlan, column_names};
use crate::transactions::{Found, TransactionOptions, TransactionRecord, each};

/// Transactions of a batch: they may be large.
const BATCH_ROWS_MAX: usize = 1024;
/// Bytes of text of a batch: an array holds no more than 2 GiB, and JSON may be six times as long as what it says.
const BATCH_TEXT_BYTES_MAX: usize = 64 << 20;

/// The scan.
pub(super) struct TransactionScan {
    library: Arc<Library>,
    protocols: Protocols,
    layout: Layout,
    projection: Vec<usize>,
    limit: Option<usize>,
}

impl TransactionScan {
    /// The plan.
    pub(super) fn plan(
        library: &Arc<Library>,
        protocols: Protocols,
        layout: Layout,
        projection: Vec<usize>,
        schema: SchemaRef,
        limit: Option<usize>,
    ) -> Arc<dyn ExecutionPlan> {
        let library = Arc::clone(library);
        ScanPlan::plan(Self { library, protocols, layout, projection, limit }, schema, 1)
    }

    /// Whether a column is asked for that only this protocol has.
    fn wants_fields_of(&self, protocol: &Protocol, schema: &Schema) -> bool {
        let has = |name: &String| protocol.columns.iter().any(|column| column.path == name);
        self.layout.0.is_some_and(|own| own.name == protocol.name)
            && schema.fields().iter().any(|field| has(field.name()))
    }
}

impl Scan for TransactionScan {
    const NAME: &'static str = "TransactionScan";

    fn describe(&self, schema: &Schema, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "table={}, columns=[{}]", self.layout.name(), column_names(schema))?;
        self.limit.map_or(Ok(()), |limit| write!(formatter, ", limit={limit}"))
    }

    fn reader(
        &self,
        _partition: usize,
        schema: SchemaRef,
        context: &TaskContext,
        output: Output,
    ) -> EngineResult<Reader> {
        let mut columns: Vec<_> = self.layout.columns().into_iter().map(Some).collect();
        let options = TransactionOptions {
            protocols: self
                .protocols
                .clone()
                .with_fields_of(|protocol| self.wants_fields_of(protocol, &schema)),
            owners: schema.fields().iter().any(|field| needs_owners(field.name())),
            threads: NonZeroUsize::new(context.session_config().target_partitions())
                .unwrap_or(NonZeroUsize::MIN),
            ..TransactionOptions::default()
        };
        let batches = Batches {
            protocol: self.layout.0.map(|protocol| protocol.name),
            columns: self.projection.iter().filter_map(|place| columns.get_mut(*place)?.take()).collect(),
            schema,
            rows_left: self.limit.unwrap_or(usize::MAX),
            gathered: Gathered::default(),
            output,
        };
        let library = Arc::clone(&self.library);
        Ok(Box::new(move || batches.run(&library, &options)))
    }
}

/// Transactions that wait for a batch to be full.
#[derive(Default)]
pub(super) struct Gathered {
    #[allow(clippy::vec_box)] // they come in boxes, and are large
    records: Vec<Box<TransactionRecord>>,
    text_bytes: usize,
}

impl Gathered {
    /// Takes one, and says whether the batch is full.
    pub(super) fn push(&mut self, record: Box<TransactionRecord>) -> bool {
        self.text_bytes += record.transaction.text_len();
        self.records.push(record);
        self.records.len() >= BATCH_ROWS_MAX || self.text_bytes >= BATCH_TEXT_BYTES_MAX
    }

    /// Those that wait.
    pub(super) fn records(&self) -> &[Box<TransactionRecord>] {
        &self.records
    }

    /// None waits any more.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.text_bytes = 0;
    }
}

/// Gathers transactions into batches.
struct Batches {
    /// The protocol of the table; transactions of others are passed over.
    protocol: Option<&'static str>,
    columns: Vec<TableColumn>,
    schema: SchemaRef,
    rows_left: usize,
    gathered: Gathered,
    output: Output,
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

    fn take(&mut self, found: Found, output: &Output) -> Result<()> {
        let Found::Transaction(record) = found else { return Ok(()) };
        if output.is_closed() {
            return Err(Error::Stopped);
        }
        if self.protocol.is_some_and(|protocol| protocol != record.transaction.protocol) {
            return Ok(());
        }
        let is_full = self.gathered.push(record);
        self.rows_left -= 1;
        if is_full || self.rows_left == 0 {
            self.flush()?;
        }
        if self.rows_left == 0 { Err(Error::Stopped) } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let records = self.gathered.records();
        if records.is_empty() {
            return Ok(());
        }
        let rows: Vec<u32> = (0..u32::try_from(records.len()).unwrap_or(u32::MAX)).collect();
        let arrays = self.columns.iter().map(|column| column.array(records, &rows)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        self.gathered.clear();
        self.output.blocking_send(Ok(batch)).map_err(|_| Error::Stopped)
    }
}
