//! Filters that a scan evaluates itself, before it reads what only the rows need that are left.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_expr::PhysicalExpr;

use super::block::PacketBlock;
use super::columns::{PacketColumn, columns};
use super::needs::Needs;
use crate::error::Result;

/// What rows must hold for.
#[derive(Clone, Debug)]
pub(super) struct Predicate {
    /// Over the columns of `places`.
    expression: Arc<dyn PhysicalExpr>,
    /// Places of the columns that it looks at, in the table.
    places: Vec<usize>,
    schema: SchemaRef,
}

impl Predicate {
    /// Whether a filter can be evaluated on the columns of the table alone.
    pub(super) fn understands(filter: &Expr) -> bool {
        let mut understood = true;
        let visited = filter.apply(|expr| {
            let is_foreign = matches!(
                expr,
                Expr::ScalarSubquery(_)
                    | Expr::Exists(_)
                    | Expr::InSubquery(_)
                    | Expr::OuterReferenceColumn(..)
                    | Expr::Placeholder(_)
            );
            understood &= !is_foreign;
            Ok(if is_foreign { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        visited.is_ok() && understood
    }

    /// The conjunction of filters over a table of this schema; `None` when there are none.
    pub(super) fn new(
        state: &dyn Session,
        table: &SchemaRef,
        filters: &[Expr],
    ) -> EngineResult<Option<Self>> {
        let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(None) };
        let names = filter.column_refs();
        let is_used = |name: &str| names.iter().any(|column| column.name == name);
        let places: Vec<usize> =
            (0..table.fields().len()).filter(|place| is_used(table.field(*place).name())).collect();
        let schema: SchemaRef = Arc::new(table.project(&places)?);
        let expression = state.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(&schema))?)?;
        Ok(Some(Self { expression, places, schema }))
    }

    /// The expression, over the columns that [`Self::columns`] gives.
    pub(super) fn expression(&self) -> &Arc<dyn PhysicalExpr> {
        &self.expression
    }

    /// What evaluating it takes.
    pub(super) fn needs(&self) -> Needs {
        let all = columns();
        let used = self.places.iter().filter_map(|place| all.get(*place));
        used.fold(Needs::default(), |needs, column| needs | column.needs)
    }

    /// The columns that it looks at.
    pub(super) fn columns(&self) -> Vec<PacketColumn> {
        let mut all: Vec<_> = columns().into_iter().map(Some).collect();
        self.places.iter().filter_map(|place| all.get_mut(*place)?.take()).collect()
    }

    /// The rows among these for which it holds. `columns` are those that [`Self::columns`] gave.
    pub(super) fn rows_left(
        &self,
        columns: &[PacketColumn],
        block: &PacketBlock,
        rows: &[u32],
    ) -> Result<Vec<u32>> {
        let arrays = columns.iter().map(|column| column.column.build(block, rows)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        let verdicts = self.expression.evaluate(&batch)?.into_array(rows.len())?;
        let verdicts = verdicts.as_boolean();
        let holds = |index: &usize| verdicts.is_valid(*index) && verdicts.value(*index);
        Ok((0..rows.len()).filter(holds).map(|index| rows[index]).collect())
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.expression)
    }
}
