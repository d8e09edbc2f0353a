//! Gives `bpf('…')` the columns that it looks at.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use kcap_dissect::decode::link_type;

use super::functions::bpf;

/// Adds the columns of `packets` behind the expression of each `bpf('…')`; without payloads where headers are enough to tell.
#[derive(Debug)]
pub(super) struct BpfColumns;

impl AnalyzerRule for BpfColumns {
    fn name(&self) -> &'static str {
        "bpf_columns"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewrite_plan = |plan: LogicalPlan| {
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            let rewritten = plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| rewritten(expr, &schema))?;
                Ok(expr.update_data(|expr| name.restore(expr)))
            })?;
            if rewritten.transformed {
                rewritten.map_data(LogicalPlan::recompute_schema)
            } else {
                Ok(rewritten)
            }
        };
        Ok(plan.transform_up_with_subqueries(rewrite_plan)?.data)
    }
}

fn rewritten(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return Ok(Transformed::no(expr)) };
    if func.name() != bpf::NAME || args.len() != 1 {
        return Ok(Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })));
    }
    let text = match &args[0] {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
        _ => None,
    };
    let Some(text) = text else { return plan_err!("bpf takes one text, as in bpf('tcp port 443')") };
    // An expression can be right for some link types only; raw IP is what recordings have, Ethernet what has all.
    let filter = bpf::parse(&text, link_type::RAW).or_else(|_| bpf::parse(&text, link_type::ETHERNET))?;
    let Some(columns) = columns(schema) else {
        return plan_err!(
            "bpf needs the columns {} of packets: use it in a query FROM packets",
            bpf::COLUMNS.join(", ")
        );
    };
    let mut arguments = args;
    for column in columns {
        let is_left_out = column.name == "payload" && !filter.looks_behind_headers();
        arguments.push(if is_left_out {
            Expr::Literal(ScalarValue::BinaryView(None), None)
        } else {
            Expr::Column(column)
        });
    }
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: arguments })))
}

/// The columns of one table that has all of them.
fn columns(schema: &DFSchema) -> Option<Vec<Column>> {
    let (first, others) = bpf::COLUMNS.split_first()?;
    schema.iter().filter(|(_, field)| field.name() == first).find_map(|(qualifier, _)| {
        let column = |name: &&str| {
            let (qualifier, field) =
                schema.iter().find(|(other, field)| *other == qualifier && field.name() == *name)?;
            Some(Column::new(qualifier.cloned(), field.name()))
        };
        std::iter::once(first).chain(others).map(column).collect()
    })
}
