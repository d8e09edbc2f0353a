//! Tables that are filled side by side by one pass, and read once.

use std::fmt;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::exec_err;
use datafusion::error::Result as EngineResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream::{once, unfold};
use tokio::sync::mpsc::{Receiver, channel};

use super::scan_plan::{BATCHES_WAITING_MAX, Output};

/// Tables with their names, that are read at the same time: whoever fills them waits for each.
pub(crate) type FedTables = Vec<(&'static str, Arc<dyn TableProvider>)>;

/// A table, and where its batches are to be sent.
///
/// # Errors
/// When the engine does not take the table.
pub(super) fn fed_table(schema: &SchemaRef) -> EngineResult<(Arc<dyn TableProvider>, Output)> {
    let (sender, receiver) = channel(BATCHES_WAITING_MAX);
    let fed = Fed { schema: Arc::clone(schema), receiver: Mutex::new(Some(receiver)) };
    let table = StreamingTable::try_new(Arc::clone(schema), vec![Arc::new(fed)])?;
    Ok((Arc::new(table), sender))
}

/// What the engine reads.
struct Fed {
    schema: SchemaRef,
    receiver: Mutex<Option<Receiver<EngineResult<RecordBatch>>>>,
}

impl fmt::Debug for Fed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fed").finish_non_exhaustive()
    }
}

impl PartitionStream for Fed {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let receiver = self.receiver.lock().ok().and_then(|mut receiver| receiver.take());
        let Some(receiver) = receiver else {
            let twice = once(async { exec_err!("a table that is filled once cannot be read again") });
            return Box::pin(RecordBatchStreamAdapter::new(schema, twice));
        };
        let batches = unfold(receiver, |mut receiver| async move {
            let batch = receiver.recv().await?;
            Some((batch, receiver))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}
