//! Lets a query compare an address with plain text: `src_ip = '10.0.0.1'`.

use std::net::IpAddr;

use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable};

use crate::table::types::{ADDRESS_LEN, ADDRESS_TYPE, address_bytes};

/// Turns a text literal into an address when the other side of an operator is one.
#[derive(Debug)]
pub(super) struct AddressLiterals;

impl ExprPlanner for AddressLiterals {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        if is_address(&expr.left, schema) {
            expr.right = as_address(expr.right);
        } else if is_address(&expr.right, schema) {
            expr.left = as_address(expr.left);
        }
        Ok(PlannerResult::Original(expr))
    }
}

fn is_address(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr, Expr::Column(_) | Expr::ScalarFunction(_))
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
