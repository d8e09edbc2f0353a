//! Completion and multi-line input.

use std::collections::BTreeSet;

use datafusion::execution::FunctionRegistry;
use datafusion::prelude::SessionContext;
use rustyline::completion::{Completer, Pair};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Highlighter, Hinter};

use crate::table::documentation;

/// Keywords worth completing.
const KEYWORDS: [&str; 38] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "USING",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS NULL",
    "IS NOT NULL",
    "LIKE",
    "BETWEEN",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "DISTINCT",
    "UNION ALL",
    "WITH",
    "DESC",
    "ASC",
    "EXPLAIN",
    "ANALYZE",
    "DESCRIBE",
    "SHOW TABLES",
    "SET",
    "INTERVAL",
    "OVER",
];

/// What the line editor asks while a query is typed.
#[derive(Helper, Hinter, Highlighter)]
pub(super) struct SqlHelper {
    /// Tables, columns, functions and keywords, sorted.
    words: Vec<String>,
}

impl SqlHelper {
    pub(super) fn new(context: &SessionContext) -> Self {
        let mut words: BTreeSet<String> = KEYWORDS.iter().map(|word| (*word).to_owned()).collect();
        for table in documentation() {
            words.insert(table.name.to_owned());
            words.extend(table.columns.iter().map(|(field, _)| field.name().clone()));
        }
        let state = context.state();
        words.extend(state.udfs().into_iter().chain(state.udafs()).chain(state.udwfs()));
        Self { words: words.into_iter().collect() }
    }

    /// Words that begin as the one before the cursor does, and where that one begins.
    fn candidates(&self, line: &str, position: usize) -> (usize, Vec<String>) {
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        let before = &line[..position];
        let start = before
            .rfind(|character| !is_word(character))
            .map_or(0, |place| place + before[place..].chars().next().map_or(1, char::len_utf8));
        let prefix = before[start..].to_lowercase();
        if prefix.is_empty() {
            return (start, Vec::new());
        }
        let matches = |word: &&String| word.to_lowercase().starts_with(&prefix);
        (start, self.words.iter().filter(matches).cloned().collect())
    }
}

impl Completer for SqlHelper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, words) = self.candidates(line, position);
        Ok((start, words.into_iter().map(|word| Pair { display: word.clone(), replacement: word }).collect()))
    }
}

impl Validator for SqlHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

/// Whether a query has its semicolon, outside of quotes and comments; commands with a backslash need none.
fn is_complete(input: &str) -> bool {
    let text = input.trim();
    if text.is_empty() || text.starts_with('\\') {
        return true;
    }
    let mut quote = None;
    let mut ends = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => {
                quote = Some(character);
                ends = false;
            }
            (None, '-') if characters.peek() == Some(&'-') => {
                characters.by_ref().find(|character| *character == '\n');
            }
            (None, ';') => ends = true,
            (None, character) if character.is_whitespace() => {}
            (None, _) => ends = false,
        }
    }
    ends && quote.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_end_with_a_semicolon_outside_of_quotes() {
        for complete in
            ["", "\\d packets", "SELECT 1;", "SELECT ';' ;  ", "SELECT 1; -- done", "SELECT 'it''s';"]
        {
            assert!(is_complete(complete), "{complete}");
        }
        for open in ["SELECT 1", "SELECT ';", "SELECT 1 -- ;", "SELECT 1; SELECT 2", "SELECT \";\""] {
            assert!(!is_complete(open), "{open}");
        }
    }

    #[test]
    fn completion_looks_at_the_word_before_the_cursor() {
        let helper = SqlHelper { words: vec!["SELECT".into(), "src_ip".into(), "src_port".into()] };
        assert_eq!(helper.candidates("sel", 3), (0, vec!["SELECT".into()]));
        assert_eq!(helper.candidates("SELECT max(src_", 15), (11, vec!["src_ip".into(), "src_port".into()]));
        assert_eq!(helper.candidates("SELECT ", 7), (7, Vec::new()));
        assert_eq!(helper.candidates("é·src_p", "é·src_p".len()), (4, vec!["src_port".into()]));
    }
}
