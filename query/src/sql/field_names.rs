//! Lets queries name the fields of protocols as documents do: `dns.question.name`, without quotes.
//!
//! The columns are flat, so that every format and engine can take them; SQL would read the dots as borders between a table, its
//! column and fields of that. Where the name is that of a column with dots in it, it is put in quotes before the query is planned.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::error::Result;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast::{AccessExpr, Expr, Ident, visit_expressions_mut};
use kcap_dissect::protocol::PROTOCOLS;

/// Columns whose names have dots.
static FIELDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let columns = PROTOCOLS.iter().flat_map(|protocol| protocol.columns);
    columns.map(|column| column.path).filter(|path| path.contains('.')).collect()
});

/// The statements of a query.
///
/// # Errors
/// When it isn't SQL.
pub fn statements(query: &str) -> Result<Vec<Statement>> {
    let mut statements: Vec<_> = DFParser::parse_sql(query)?.into();
    statements.iter_mut().for_each(quote_fields);
    Ok(statements)
}

fn quote_fields(statement: &mut Statement) {
    match statement {
        Statement::Statement(statement) => {
            let _ = visit_expressions_mut(statement, |expr| {
                quote_field(expr);
                ControlFlow::<()>::Continue(())
            });
        }
        Statement::Explain(explain) => quote_fields(&mut explain.statement),
        _ => {}
    }
}

fn quote_field(expr: &mut Expr) {
    match expr {
        Expr::CompoundIdentifier(parts) => {
            if let Some(quoted) = quoted(parts) {
                *expr = named(quoted);
            }
        }
        // With something behind it: `dns.answers[1]`, `http.request.headers['host']`.
        Expr::CompoundFieldAccess { root, access_chain } => {
            let mut parts = match &**root {
                Expr::Identifier(part) => vec![part.clone()],
                Expr::CompoundIdentifier(parts) => parts.clone(),
                _ => return,
            };
            let dotted = access_chain.iter().map_while(|access| match access {
                AccessExpr::Dot(Expr::Identifier(part)) => Some(part.clone()),
                _ => None,
            });
            let dotted: Vec<_> = dotted.collect();
            let dotted_len = dotted.len();
            parts.extend(dotted);
            if let Some(quoted) = quoted(&parts) {
                **root = named(quoted);
                access_chain.drain(..dotted_len);
            }
        }
        _ => {}
    }
}

/// The name with the field in it as one part; `None` when it has none. Before the field there may be a table.
fn quoted(parts: &[Ident]) -> Option<Vec<Ident>> {
    (0..parts.len().saturating_sub(1)).find_map(|start| {
        let (table, field) = parts.split_at(start);
        let values: Vec<_> = field.iter().map(|part| part.value.as_str()).collect();
        let name = values.join(".");
        FIELDS.contains(name.as_str()).then(|| {
            let mut whole = Ident::with_quote('"', name);
            whole.span = field[0].span;
            table.iter().cloned().chain([whole]).collect()
        })
    })
}

fn named(mut parts: Vec<Ident>) -> Expr {
    if parts.len() == 1 { Expr::Identifier(parts.remove(0)) } else { Expr::CompoundIdentifier(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(query: &str) -> String {
        statements(query).unwrap().remove(0).to_string()
    }

    #[test]
    fn fields_are_one_name() {
        assert_eq!(
            rewritten("SELECT dns.question.name FROM dns WHERE dns.answers_count > 1 ORDER BY dns.id"),
            "SELECT \"dns.question.name\" FROM dns WHERE \"dns.answers_count\" > 1 ORDER BY \"dns.id\""
        );
        assert_eq!(rewritten("EXPLAIN SELECT dns.id FROM dns"), "EXPLAIN SELECT \"dns.id\" FROM dns");
    }

    #[test]
    fn a_table_may_be_before_them_and_more_behind() {
        assert_eq!(rewritten("SELECT d.dns.id FROM dns AS d"), "SELECT d.\"dns.id\" FROM dns AS d");
        assert_eq!(rewritten("SELECT dns.dns.id FROM dns"), "SELECT dns.\"dns.id\" FROM dns");
        assert_eq!(rewritten("SELECT dns.answers[1] FROM dns"), "SELECT \"dns.answers\"[1] FROM dns");
    }

    #[test]
    fn other_names_stay() {
        for query in
            ["SELECT dns.query FROM dns", "SELECT p.ts FROM packets AS p", "SELECT \"dns.id\" FROM dns"]
        {
            assert_eq!(rewritten(query), query);
        }
    }
}
