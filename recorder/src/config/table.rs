//! Tables of the file, with the places of what is in them.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::nearest::nearest;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Bytes of the file before the place.
    pub(super) at: usize,
    /// Path of the key; empty where there is none.
    pub(super) key: String,
    pub(super) message: String,
}

impl Problem {
    /// One line with the place in `text`, the file.
    pub(super) fn describe(&self, text: &str) -> String {
        let before = &text.as_bytes()[..self.at.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        if self.key.is_empty() {
            return format!("line {line}: {}", self.message);
        }
        format!("line {line}: {}: {}", self.key, self.message)
    }
}

/// A table.
pub(super) struct Options<'t, 'i> {
    /// Path of the table with a full stop behind it; empty for the top.
    path: String,
    entries: &'t DeTable<'i>,
    at: usize,
}

impl<'t, 'i> Options<'t, 'i> {
    pub(super) fn of(path: &str, entries: &'t DeTable<'i>, at: usize) -> Self {
        let path = if path.is_empty() { String::new() } else { format!("{path}.") };
        Self { path, entries, at }
    }

    /// Where the table begins.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// A problem with a key, where its value is if it has one.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        let at = self.value(key).map_or(self.at, |value| value.span().start);
        self.problem_at(at, key, message)
    }

    fn problem_at(&self, at: usize, key: &str, message: impl Into<String>) -> Problem {
        Problem { at, key: format!("{}{key}", self.path), message: message.into() }
    }

    fn value(&self, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.entries.iter().find(|(name, _)| name.get_ref().as_ref() == key).map(|(_, value)| value)
    }

    fn wrong(&self, key: &str, wanted: &str, found: &Spanned<DeValue<'i>>) -> Problem {
        let kind = found.get_ref().type_str();
        let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        self.problem_at(found.span().start, key, format!("must be {wanted}, not {article} {kind}"))
    }

    /// A text, if the key is there.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'t str>, Problem> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.get_ref().as_str().map(Some).ok_or_else(|| self.wrong(key, "a text", value))
    }

    /// A switch; false when it isn't there.
    pub(super) fn switch(&self, key: &str) -> Result<bool, Problem> {
        let Some(value) = self.value(key) else { return Ok(false) };
        value.get_ref().as_bool().ok_or_else(|| self.wrong(key, "true or false", value))
    }

    /// A list of texts, each read by `read`; `None` when it isn't there.
    pub(super) fn list<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, Problem> {
        const WANTED: &str = "a list of texts";
        let Some(value) = self.value(key) else { return Ok(None) };
        let values = value.get_ref().as_array().ok_or_else(|| self.wrong(key, WANTED, value))?;
        let read_one = |value: &'t Spanned<DeValue<'i>>| {
            let text = value.get_ref().as_str().ok_or_else(|| self.wrong(key, WANTED, value))?;
            read(text).map_err(|message| self.problem_at(value.span().start, key, message))
        };
        values.iter().map(read_one).collect::<Result<_, _>>().map(Some)
    }

    /// The tables `[[key]]`.
    pub(super) fn tables(&self, key: &str) -> Result<Vec<Options<'t, 'i>>, Problem> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        if value.get_ref().is_table() {
            return Err(self.problem(key, format!("is one table: write [[{key}]]")));
        }
        let tables = value.get_ref().as_array().map(|values| {
            let of = |value: &'t Spanned<DeValue<'i>>| {
                let table = value.get_ref().as_table()?;
                Some(Options::of(&format!("{}{key}", self.path), table, value.span().start))
            };
            values.iter().map(of).collect::<Option<Vec<_>>>()
        });
        tables.flatten().ok_or_else(|| self.problem(key, format!("is no list of tables: write [[{key}]]")))
    }

    /// Refuses all keys but these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        let unknown = self.entries.iter().find(|(key, _)| !known.contains(&key.get_ref().as_ref()));
        let Some((key, _)) = unknown else { return Ok(()) };
        let name = key.get_ref();
        let meant = match nearest(name, known.iter().copied()) {
            Some(meant) => format!("; did you mean '{meant}'?"),
            None => format!("; the keys are {}", known.join(", ")),
        };
        let message = format!("there is no key '{}{name}'{meant}", self.path);
        Err(Problem { at: key.span().start, key: String::new(), message })
    }
}
