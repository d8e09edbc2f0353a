//! All tables of transactions at once, for exports: one pass over the packets, instead of one for each table.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::exec_err;
use datafusion::error::Result as EngineResult;
use tokio::sync::mpsc::Sender;

use super::scan::Gathered;
use super::{Layout, TableColumn, layouts};
use crate::error::{Error, Result};
use crate::source::Library;
use crate::table::fed::{FedTables, fed_table};
use crate::transactions::{Found, TransactionOptions, TransactionRecord, each};

/// Fills the tables.
pub(crate) struct Feed {
    library: Arc<Library>,
    /// That of all protocols.
    common: Output,
    protocols: Vec<ProtocolOutput>,
}

/// Where rows of a table go.
struct Output {
    columns: Vec<TableColumn>,
    schema: SchemaRef,
    sender: Sender<EngineResult<RecordBatch>>,
}

/// A protocol's own table, and what waits to go there, and into the common one.
struct ProtocolOutput {
    name: &'static str,
    output: Output,
    gathered: Gathered,
}

/// All tables of transactions over a library, and what fills them.
///
/// # Errors
/// When the engine does not take a table.
pub(crate) fn all_at_once(library: &Arc<Library>) -> EngineResult<(FedTables, Feed)> {
    let mut tables = FedTables::new();
    let mut common = None;
    let mut protocols = Vec::new();
    for layout in layouts() {
        let schema = layout.schema();
        let (table, sender) = fed_table(&schema)?;
        tables.push((layout.name(), table));
        let output = Output { columns: layout.columns(), schema, sender };
        match layout {
            Layout(None) => common = Some(output),
            Layout(Some(protocol)) => {
                let gathered = Gathered::default();
                protocols.push(ProtocolOutput { name: protocol.name, output, gathered });
            }
        }
    }
    let Some(common) = common else { return exec_err!("there is no table of all protocols") };
    Ok((tables, Feed { library: Arc::clone(library), common, protocols }))
}

impl Feed {
    /// Fills the tables, and waits while nobody reads them.
    ///
    /// # Errors
    /// When packets cannot be read; [`Error::Stopped`] when a table is read no more.
    pub(crate) fn run(mut self) -> Result<()> {
        let library = Arc::clone(&self.library);
        each(&library, &TransactionOptions::default(), |_| {}, |found| self.take(found))?;
        let Self { common, protocols, .. } = &mut self;
        protocols.iter_mut().try_for_each(|own| own.flush(common))
    }

    fn take(&mut self, found: Found) -> Result<()> {
        let Found::Transaction(record) = found else { return Ok(()) };
        let own = self.protocols.iter_mut().find(|own| own.name == record.transaction.protocol);
        let Some(own) = own else { return Ok(()) };
        if own.gathered.push(record) { own.flush(&self.common) } else { Ok(()) }
    }
}

impl ProtocolOutput {
    fn flush(&mut self, common: &Output) -> Result<()> {
        common.send(self.gathered.records())?;
        self.output.send(self.gathered.records())?;
        self.gathered.clear();
        Ok(())
    }
}

impl Output {
    fn send(&self, records: &[Box<TransactionRecord>]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let rows: Vec<u32> = (0..u32::try_from(records.len()).unwrap_or(u32::MAX)).collect();
        let arrays = self.columns.iter().map(|column| column.array(records, &rows)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        self.sender.blocking_send(Ok(batch)).map_err(|_| Error::Stopped)
    }
}
