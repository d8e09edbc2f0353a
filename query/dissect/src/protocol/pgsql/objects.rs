//! Prepared statements and portals of one connection.

use std::sync::Arc;

use super::super::sql::{Held, Parameters, Recent};
use super::view::Column;

/// Statements, and portals, that are remembered for a connection; the one that wasn't used for longest makes room.
pub(super) const OBJECTS_MAX: usize = 4096;

/// Bytes of texts and lists that are remembered of them.
pub(super) const OBJECT_BYTES_MAX: usize = 4 << 20;

/// Things with names, as many as are remembered.
pub(super) type Named<T> = Recent<Arc<[u8]>, T>;

/// A prepared statement.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) query: Arc<str>,
    /// Object ids of its parameters' types.
    pub(super) types: Vec<u32>,
    /// What its results look like, once it was described.
    pub(super) columns: Option<(u16, Vec<Column>)>,
}

/// A statement with its parameters. All executions of it share this.
#[derive(Debug, Default)]
pub(super) struct Portal {
    /// Empty for the one without a name.
    pub(super) statement_name: Option<Arc<str>>,
    /// `None` when the statement isn't known.
    pub(super) query: Option<Arc<str>>,
    pub(super) parameters: Parameters,
    pub(super) binary_results: Vec<bool>,
    pub(super) columns: Option<(u16, Vec<Column>)>,
}

/// Room for them.
pub(super) fn named<T: Held>() -> Named<T> {
    Recent::new(OBJECTS_MAX, OBJECT_BYTES_MAX)
}

impl Portal {
    /// Bytes of what each execution tells of it.
    pub(super) fn told(&self) -> usize {
        self.query.as_ref().map_or(0, |query| query.len())
            + self.statement_name.as_ref().map_or(0, |name| name.len())
            + self.parameters.held()
    }
}

impl Held for Statement {
    fn held(&self) -> usize {
        self.query.len() + size_of_val(&self.types[..]) + columns_held(self.columns.as_ref())
    }
}

impl Held for Arc<Portal> {
    fn held(&self) -> usize {
        self.told() + self.binary_results.len() + columns_held(self.columns.as_ref())
    }
}

fn columns_held(columns: Option<&(u16, Vec<Column>)>) -> usize {
    columns.map_or(0, |(_, columns)| {
        columns.iter().map(|column| column.name.len()).sum::<usize>() + size_of_val(&columns[..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_count_like_texts() {
        let column = Column { name: "name".to_owned(), type_id: 25, is_binary: false };
        let columns = Some((2, vec![column; 2]));
        let columns_bytes = 2 * (size_of::<Column>() + 4);
        let mut statement = Statement { query: "select".into(), types: vec![25; 3], columns: None };
        assert_eq!(statement.held(), 6 + 3 * 4);
        statement.columns.clone_from(&columns);
        assert_eq!(statement.held(), 6 + 3 * 4 + columns_bytes);
        let mut portal = Portal {
            statement_name: Some("s1".into()),
            query: Some("select".into()),
            binary_results: vec![true; 100],
            columns,
            ..Portal::default()
        };
        portal.parameters.push("text".to_owned());
        assert_eq!(portal.told(), 2 + 6 + size_of::<String>() + 4);
        assert_eq!(Arc::new(portal).held(), 2 + 6 + size_of::<String>() + 4 + 100 + columns_bytes);
    }
}
