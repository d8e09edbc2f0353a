//! `transactions`, and a table for each protocol: a row for each request with its response.
//!
//! The columns that all have in common are in `common`; those of a protocol are declared in its folder in the dissector
//! ([`Protocol::columns`]), and `values` makes arrays of them.

mod all;
mod common;
mod scan;
mod values;

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use kcap_dissect::protocol::{PROTOCOLS, Protocol, Protocols};

use super::column::Column;
use super::documentation::TableDocumentation;
use crate::source::Library;
use crate::transactions::TransactionRecord;
use scan::TransactionScan;

pub(crate) use all::all_at_once;

/// Name of the table of all protocols.
const NAME: &str = "transactions";
const SUMMARY: &str = "A request with its response, or one message, of any protocol. Each protocol has a table of its own with \
    its fields besides.";
const PROTOCOL_SUMMARY: &str = "A transaction of this protocol: the columns of `transactions`, and its own fields under the names \
    that documents have.";

/// The tables, as the engine wants them.
pub(super) fn providers(
    library: &Arc<Library>,
    protocols: &Protocols,
) -> Vec<(&'static str, Arc<dyn TableProvider>)> {
    layouts()
        .map(|layout| {
            let table = Transactions {
                library: Arc::clone(library),
                protocols: protocols.clone(),
                schema: layout.schema(),
                layout,
            };
            (layout.name(), Arc::new(table) as Arc<dyn TableProvider>)
        })
        .collect()
}

/// The tables, as a person reads about them.
pub(super) fn documentation() -> impl Iterator<Item = TableDocumentation> {
    layouts().map(|layout| TableDocumentation {
        name: layout.name(),
        summary: if layout.0.is_none() { SUMMARY } else { PROTOCOL_SUMMARY },
        columns: layout.columns().into_iter().map(|column| (column.field, column.description)).collect(),
    })
}

fn layouts() -> impl Iterator<Item = Layout> {
    std::iter::once(Layout(None)).chain(PROTOCOLS.iter().map(|protocol| Layout(Some(protocol))))
}

/// Which table: that of all protocols, or of one.
#[derive(Clone, Copy)]
struct Layout(Option<&'static Protocol>);

impl Layout {
    fn name(self) -> &'static str {
        self.0.map_or(NAME, |protocol| protocol.name)
    }

    fn schema(self) -> SchemaRef {
        Arc::new(Schema::new(self.columns().into_iter().map(|column| column.field).collect::<Vec<_>>()))
    }

    fn columns(self) -> Vec<TableColumn> {
        let common = common::columns(self.0.is_none()).into_iter().map(|column| TableColumn {
            field: column.field.clone(),
            description: column.description,
            source: ColumnSource::Common(column),
        });
        let own = self.0.map_or(&[][..], |protocol| protocol.columns).iter().map(|column| TableColumn {
            field: values::field(column),
            description: column.description,
            source: ColumnSource::Own(column),
        });
        common.chain(own).collect()
    }
}

/// A column of either kind.
struct TableColumn {
    field: Field,
    description: &'static str,
    source: ColumnSource,
}

enum ColumnSource {
    Common(Column<[Box<TransactionRecord>]>),
    Own(&'static kcap_dissect::protocol::Column),
}

impl TableColumn {
    fn array(&self, records: &[Box<TransactionRecord>], rows: &[u32]) -> ArrayRef {
        match &self.source {
            ColumnSource::Common(column) => column.build(records, rows),
            ColumnSource::Own(column) => {
                let of = |row: &u32| records[*row as usize].transaction.fields.value(column.path);
                values::array(column, &rows.iter().map(of).collect::<Vec<_>>())
            }
        }
    }
}

struct Transactions {
    library: Arc<Library>,
    protocols: Protocols,
    schema: SchemaRef,
    layout: Layout,
}

impl fmt::Debug for Transactions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Transactions").field("name", &self.layout.name()).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for Transactions {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&projection)?);
        // Also for one protocol all are looked for: which of them a conversation speaks must not depend on who asks.
        let protocols = self.protocols.clone();
        Ok(TransactionScan::plan(&self.library, protocols, self.layout, projection, schema, limit))
    }
}
