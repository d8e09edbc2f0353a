//! Packets in the order of time as batches of some columns, without the engine.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::columns::{PacketColumn, columns};
use super::needs::Needs;
use super::ordered::OrderedPackets;
use crate::error::Result;
use crate::source::Library;

/// Most rows of a batch.
const BATCH_ROWS_MAX: usize = 8192;

/// Batches of the table `packets`, sorted by `ts`.
#[derive(Debug)]
pub struct OrderedBatches {
    packets: OrderedPackets,
    columns: Vec<PacketColumn>,
    schema: SchemaRef,
    duplicates: bool,
}

impl OrderedBatches {
    /// The columns that `choose` wants of all packets; with both copies of local packets or one.
    ///
    /// # Errors
    /// When a segment's clock cannot be read.
    pub fn new(library: &Arc<Library>, duplicates: bool, choose: impl Fn(&str) -> bool) -> Result<Self> {
        let columns: Vec<_> =
            columns().into_iter().filter(|column| choose(column.column.field.name())).collect();
        let hide = if duplicates { Needs::default() } else { Needs::matching() };
        let needs = columns.iter().fold(hide | Needs::timed(), |needs, column| needs | column.needs);
        let needs = if duplicates { needs } else { needs.with_copies(library) };
        let fields: Vec<_> = columns.iter().map(|column| column.column.field.clone()).collect();
        Ok(Self {
            packets: OrderedPackets::new(library, needs)?,
            columns,
            schema: Arc::new(Schema::new(fields)),
            duplicates,
        })
    }

    /// What the batches look like.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next batch, and the bytes on disk of the part of its block that it is.
    ///
    /// # Errors
    /// When a block cannot be read.
    pub fn next_batch(&mut self) -> Result<Option<(RecordBatch, u64)>> {
        loop {
            let Some(mut run) = self.packets.next_run(BATCH_ROWS_MAX)? else { return Ok(None) };
            let entry = run.block.entry();
            let share =
                u64::from(entry.stored_len) * run.rows.len() as u64 / u64::from(entry.record_count.max(1));
            if !self.duplicates {
                run.rows.retain(|row| !run.block.is_copy(*row as usize));
            }
            if run.rows.is_empty() {
                continue;
            }
            let arrays =
                self.columns.iter().map(|column| column.column.build(&run.block, &run.rows)).collect();
            return Ok(Some((RecordBatch::try_new(Arc::clone(&self.schema), arrays)?, share)));
        }
    }
}
