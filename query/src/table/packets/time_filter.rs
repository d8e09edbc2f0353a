//! What the filters of a query say about `ts`.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// Times between two bounds, nanoseconds since 1970, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The earliest time that is wanted.
    pub first_ns: i64,
    /// The last time that is wanted.
    pub last_ns: i64,
}

impl Default for TimeRange {
    fn default() -> Self {
        Self { first_ns: i64::MIN, last_ns: i64::MAX }
    }
}

impl TimeRange {
    /// The times that all filters leave. What is not understood leaves all, since the engine filters again.
    #[must_use]
    pub fn of<'a>(filters: impl IntoIterator<Item = &'a Expr>, column: &str) -> Self {
        let mut range = Self::default();
        filters.into_iter().for_each(|filter| range.narrow(filter, column));
        range
    }

    /// True when every time is wanted.
    #[must_use]
    pub fn is_unbounded(&self) -> bool {
        *self == Self::default()
    }

    /// True when some time between the two, both included, is wanted.
    #[must_use]
    pub fn intersects(&self, first_ns: i64, last_ns: i64) -> bool {
        self.first_ns <= last_ns && first_ns <= self.last_ns
    }

    fn narrow(&mut self, filter: &Expr, column: &str) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.narrow(left, column);
                self.narrow(right, column);
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                if is_column(left, column)
                    && let Some(time) = time_of(right)
                {
                    self.compare(*op, time);
                } else if is_column(right, column)
                    && let Some(time) = time_of(left)
                    && let Some(op) = op.swap()
                {
                    self.compare(op, time);
                }
            }
            Expr::Between(between) if !between.negated && is_column(&between.expr, column) => {
                if let Some(low) = time_of(&between.low) {
                    self.compare(Operator::GtEq, low);
                }
                if let Some(high) = time_of(&between.high) {
                    self.compare(Operator::LtEq, high);
                }
            }
            _ => {}
        }
    }

    /// Narrows to the times of `ts op time`.
    fn compare(&mut self, op: Operator, time: i64) {
        let (first, last) = match op {
            Operator::Eq => (time, time),
            Operator::Gt => (time.saturating_add(1), i64::MAX),
            Operator::GtEq => (time, i64::MAX),
            Operator::Lt => (i64::MIN, time.saturating_sub(1)),
            Operator::LtEq => (i64::MIN, time),
            _ => return,
        };
        self.first_ns = self.first_ns.max(first);
        self.last_ns = self.last_ns.min(last);
    }
}

fn is_column(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Column(column) if column.name == name)
}

fn time_of(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::TimestampNanosecond(time, _), _) => *time,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    fn at(time: i64) -> Expr {
        Expr::Literal(ScalarValue::TimestampNanosecond(Some(time), Some("UTC".into())), None)
    }

    #[test]
    fn bounds_come_from_every_form_of_comparison() {
        let range = |filter: Expr| {
            let range = TimeRange::of([&filter], "ts");
            (range.first_ns, range.last_ns)
        };
        assert_eq!(range(col("ts").gt(at(5)).and(col("ts").lt_eq(at(9)))), (6, 9));
        assert_eq!(range(at(5).gt(col("ts"))), (i64::MIN, 4));
        assert_eq!(range(col("ts").between(at(1), at(2))), (1, 2));
        assert_eq!(range(col("ts").eq(at(7))), (7, 7));
    }

    #[test]
    fn what_is_not_understood_leaves_all_times() {
        for filter in [
            col("ts").gt(at(5)).or(col("len").gt(lit(1))),
            col("ts").not_eq(at(5)),
            col("other").gt(at(5)),
            col("ts").not_between(at(1), at(2)),
        ] {
            assert!(TimeRange::of([&filter], "ts").is_unbounded(), "{filter}");
        }
    }
}
