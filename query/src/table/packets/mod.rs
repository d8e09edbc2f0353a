//! `packets`: a row for each packet.
//!
//! A scan reads only what the columns of its query need (`needs`): sections of blocks, decoded headers, owners. It is cut
//! into ranges of blocks (`ranges`), each of which a [`Pipeline`] turns into [`PacketBlock`]s and a partition of the
//! plan (`scan`) into batches.

mod ahead;
mod batches;
mod block;
mod columns;
mod needs;
mod ordered;
mod pipeline;
mod predicate;
mod ranges;
mod scan;
mod time_filter;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

pub use batches::OrderedBatches;
pub use block::PacketBlock;
pub use needs::{Needs, Payloads};
pub use ordered::{OrderedPackets, Run};
pub use pipeline::Pipeline;
pub use ranges::{BlockRange, Selection, select};
pub use time_filter::TimeRange;

use super::documentation::{TableDocumentation, described};
use crate::source::Library;
use crate::sql::KcapOptions;
use predicate::Predicate;
use scan::{PacketScan, ScanSettings};

/// Name of the table.
const NAME: &str = "packets";
/// The column that filters prune blocks by.
const TIME_COLUMN: &str = "ts";

/// The table, as the engine wants it.
pub(super) fn provider(library: &Arc<Library>) -> (&'static str, Arc<dyn TableProvider>) {
    let fields: Vec<_> = columns::columns().into_iter().map(|column| column.column.field).collect();
    (NAME, Arc::new(Packets { library: Arc::clone(library), schema: Arc::new(Schema::new(fields)) }))
}

/// The table, as a person reads about it.
pub(super) fn documentation() -> TableDocumentation {
    TableDocumentation {
        name: NAME,
        summary: "A packet that passed a hook. Packets between two sockets of the host pass twice; they are one row unless \
            `kcap.duplicates` is set.",
        columns: described(columns::columns().into_iter().map(|column| column.column).collect()),
    }
}

struct Packets {
    library: Arc<Library>,
    schema: SchemaRef,
}

impl fmt::Debug for Packets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Packets").finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for Packets {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        // The scan evaluates filters before it reads what only their rows need. Those with queries in them it cannot.
        let support = |filter: &&Expr| {
            if Predicate::understands(filter) {
                TableProviderFilterPushDown::Exact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let options = state.config_options();
        let times = TimeRange::of(filters, TIME_COLUMN);
        let selection = select(&self.library, &times, options.execution.target_partitions)?;
        let settings = ScanSettings {
            partitions: selection.partitions,
            projection: projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect()),
            limit,
            predicate: Predicate::new(state, &self.schema, filters)?,
            duplicates: KcapOptions::shows_duplicates(options),
            blocks: selection.blocks,
            blocks_pruned: selection.pruned,
        };
        PacketScan::plan(&self.library, &self.schema, settings)
    }
}
