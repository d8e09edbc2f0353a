//! Lets a query compare an address with plain text: `src_ip = '10.0.0.1'`, and with IN, BETWEEN and CASE.

use std::net::IpAddr;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use crate::table::types::{ADDRESS_LEN, ADDRESS_TYPE, address_bytes};

/// Turns a text literal into an address when it is compared with one: with operators while a query is planned, and else,
/// where the planner has no place for it, before types are checked.
#[derive(Debug)]
pub(super) struct AddressLiterals;

impl ExprPlanner for AddressLiterals {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        (expr.left, expr.right) = operands(expr.left, expr.right, schema);
        Ok(PlannerResult::Original(expr))
    }
}

impl AnalyzerRule for AddressLiterals {
    fn name(&self) -> &'static str {
        "address_literals"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewrite_plan = |plan: LogicalPlan| {
            let schema = merge_schema(&plan.inputs());
            // A column keeps the name that the query gave it.
            let names = NamePreserver::new(&plan);
            let rewritten = plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| Ok(rewritten(expr, &schema)))?;
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

/// The expression with addresses in place of the text literals that it compares with one.
fn rewritten(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::InList(mut list) if is_address(&list.expr, schema) => {
            list.list = list.list.into_iter().map(as_address).collect();
            Transformed::yes(Expr::InList(list))
        }
        // Operators of more than one word, as IS DISTINCT FROM, do not pass by the planner.
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (left, right) = operands(*left, *right, schema);
            Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
        }
        Expr::Between(mut between) if is_address(&between.expr, schema) => {
            between.low = Box::new(as_address(*between.low));
            between.high = Box::new(as_address(*between.high));
            Transformed::yes(Expr::Between(between))
        }
        Expr::Case(mut case) => {
            let compares = case.expr.as_ref().is_some_and(|expr| is_address(expr, schema));
            let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
            let gives = results.into_iter().any(|result| is_address(result, schema));
            if !compares && !gives {
                return Transformed::no(Expr::Case(case));
            }
            let if_it = |does: bool, expr: Expr| if does { as_address(expr) } else { expr };
            let branch = |(when, then): (Box<Expr>, Box<Expr>)| {
                (Box::new(if_it(compares, *when)), Box::new(if_it(gives, *then)))
            };
            case.when_then_expr = case.when_then_expr.into_iter().map(branch).collect();
            case.else_expr = case.else_expr.map(|expr| Box::new(if_it(gives, *expr)));
            Transformed::yes(Expr::Case(case))
        }
        other => Transformed::no(other),
    }
}

/// Both sides of an operator, where one is an address and the other the text of one.
fn operands(left: Expr, right: Expr, schema: &DFSchema) -> (Expr, Expr) {
    if is_address(&left, schema) {
        (left, as_address(right))
    } else if is_address(&right, schema) {
        (as_address(left), right)
    } else {
        (left, right)
    }
}

/// True for what is an address already.
fn is_address(expr: &Expr, schema: &DFSchema) -> bool {
    !matches!(expr, Expr::Literal(..))
        && expr.get_type(schema).is_ok_and(|data_type| data_type == ADDRESS_TYPE)
}

/// The literal as an address if its text is one; otherwise unchanged, so that the type checker complains.
fn as_address(expr: Expr) -> Expr {
    let Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), metadata) = &expr
    else {
        return expr;
    };
    let Ok(address) = text.parse::<IpAddr>() else { return expr };
    let width = i32::try_from(ADDRESS_LEN).expect("an address has 16 bytes");
    Expr::Literal(
        ScalarValue::FixedSizeBinary(width, Some(address_bytes(address).to_vec())),
        metadata.clone(),
    )
}
