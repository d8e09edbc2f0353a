//! What the filters of a query say about `flow_id`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// The column.
const COLUMN: &str = "flow_id";

/// The flows that a query wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowIds(Arc<BTreeSet<u64>>);

impl FlowIds {
    /// The flows that a filter leaves; `None` when it says nothing of them, or more than which they are.
    #[must_use]
    pub fn of(filter: &Expr) -> Option<Self> {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                let id =
                    if is_column(left) { id_of(right) } else { id_of(left).filter(|_| is_column(right)) };
                id.map(|id| Self(Arc::new(BTreeSet::from([id]))))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                let (left, right) = (Self::of(left)?, Self::of(right)?);
                Some(Self(Arc::new(left.0.union(&right.0).copied().collect())))
            }
            Expr::InList(InList { expr, list, negated: false }) if is_column(expr) => {
                list.iter().map(id_of).collect::<Option<_>>().map(|ids| Self(Arc::new(ids)))
            }
            _ => None,
        }
    }

    /// The flows that all filters leave; `None` when none of them says which.
    #[must_use]
    pub fn of_all(filters: &[Expr]) -> Option<Self> {
        let sets = filters.iter().filter_map(Self::of);
        sets.reduce(|one, other| Self(Arc::new(one.0.intersection(&other.0).copied().collect())))
    }

    /// One flow.
    #[must_use]
    pub fn one(flow_id: u64) -> Self {
        Self(Arc::new(BTreeSet::from([flow_id])))
    }

    /// Whether a flow is among them.
    #[must_use]
    pub fn contains(&self, flow_id: u64) -> bool {
        self.0.contains(&flow_id)
    }
}

impl fmt::Display for FlowIds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "flows={}", self.0.len())
    }
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == COLUMN)
}

fn id_of(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Literal(ScalarValue::UInt64(id), _) => *id,
        Expr::Literal(ScalarValue::Int64(Some(id)), _) => u64::try_from(*id).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    fn ids(filter: &Expr) -> Option<Vec<u64>> {
        FlowIds::of(filter).map(|ids| ids.0.iter().copied().collect())
    }

    #[test]
    fn flows_that_are_named_are_understood() {
        let filter = || col("flow_id");
        assert_eq!(ids(&filter().eq(lit(5_u64))), Some(vec![5]));
        assert_eq!(ids(&lit(u64::MAX).eq(filter())), Some(vec![u64::MAX]));
        assert_eq!(ids(&filter().in_list(vec![lit(7_u64), lit(3_u64)], false)), Some(vec![3, 7]));
        assert_eq!(ids(&filter().eq(lit(1_u64)).or(filter().eq(lit(2_u64)))), Some(vec![1, 2]));
        let both = [filter().in_list(vec![lit(1_u64), lit(2_u64)], false), filter().eq(lit(2_u64))];
        assert_eq!(FlowIds::of_all(&both), Some(FlowIds::one(2)));
    }

    #[test]
    fn what_is_not_understood_leaves_all_flows() {
        for filter in [
            col("flow_id").not_eq(lit(5_u64)),
            col("flow_id").gt(lit(5_u64)),
            col("flow_id").in_list(vec![lit(5_u64)], true),
            col("flow_id").in_list(vec![lit(5_u64), col("len")], false),
            col("parent_flow_id").eq(lit(5_u64)),
            col("flow_id").eq(lit(5_u64)).or(col("len").eq(lit(1_u64))),
        ] {
            assert_eq!(FlowIds::of(&filter), None, "{filter}");
        }
        assert_eq!(FlowIds::of_all(&[]), None);
    }
}
