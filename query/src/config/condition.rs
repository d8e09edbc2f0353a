//! Conditions of processors, as those of Beats: `when = { equals = { "status" = "OK" } }`.

use kcap_dissect::protocol::{Fields, OptionError, Value};
use regex::Regex;
use toml::Table;

use super::document_value;

/// A condition on a document.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// Each field has this value.
    Equals(Vec<(String, Value)>),
    /// Each field has this text in it, or as one of its values.
    Contains(Vec<(String, String)>),
    /// Each field matches.
    Regexp(Vec<(String, Regex)>),
    /// Each field is a number within these bounds.
    Range(Vec<(String, Vec<Bound>)>),
    /// Each field is there.
    HasFields(Vec<String>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
}

/// One bound of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    Less(f64),
    LessOrEqual(f64),
    Greater(f64),
    GreaterOrEqual(f64),
}

const NAMES: &str = "equals, contains, regexp, range, has_fields, and, or, not";

impl Condition {
    /// Reads a condition; several in one table must all hold.
    ///
    /// # Errors
    /// When there is none, or one isn't right.
    pub(super) fn read(table_name: &str, value: &toml::Value) -> Result<Self, OptionError> {
        let reader = Reader { table_name };
        reader.condition(value)
    }

    /// Whether a document is so.
    pub(super) fn holds(&self, document: &Fields) -> bool {
        match self {
            Self::Equals(fields) => fields
                .iter()
                .all(|(path, expected)| document.value(path).is_some_and(|value| equal(value, expected))),
            Self::Contains(fields) => fields
                .iter()
                .all(|(path, part)| document.value(path).is_some_and(|value| contains(value, part))),
            Self::Regexp(fields) => fields
                .iter()
                .all(|(path, regex)| document.value(path).is_some_and(|value| matches(value, regex))),
            Self::Range(fields) => fields.iter().all(|(path, bounds)| {
                let number = document.value(path).and_then(number);
                number.is_some_and(|number| bounds.iter().all(|bound| bound.allows(number)))
            }),
            Self::HasFields(paths) => paths.iter().all(|path| document.value(path).is_some()),
            Self::And(conditions) => conditions.iter().all(|condition| condition.holds(document)),
            Self::Or(conditions) => conditions.iter().any(|condition| condition.holds(document)),
            Self::Not(condition) => !condition.holds(document),
        }
    }
}

impl Bound {
    fn named(name: &str, limit: f64) -> Option<Self> {
        match name {
            "lt" => Some(Self::Less(limit)),
            "lte" => Some(Self::LessOrEqual(limit)),
            "gt" => Some(Self::Greater(limit)),
            "gte" => Some(Self::GreaterOrEqual(limit)),
            _ => None,
        }
    }

    fn allows(self, number: f64) -> bool {
        match self {
            Self::Less(limit) => number < limit,
            Self::LessOrEqual(limit) => number <= limit,
            Self::Greater(limit) => number > limit,
            Self::GreaterOrEqual(limit) => number >= limit,
        }
    }
}

struct Reader<'a> {
    table_name: &'a str,
}

impl Reader<'_> {
    fn condition(&self, value: &toml::Value) -> Result<Condition, OptionError> {
        let table = self.table(value, "a condition")?;
        let mut conditions =
            table.iter().map(|(name, value)| self.named(name, value)).collect::<Result<Vec<_>, _>>()?;
        match conditions.len() {
            0 => Err(self.problem(format!("a condition is empty; there are: {NAMES}"))),
            1 => Ok(conditions.remove(0)),
            _ => Ok(Condition::And(conditions)),
        }
    }

    fn named(&self, name: &str, value: &toml::Value) -> Result<Condition, OptionError> {
        Ok(match name {
            "equals" => Condition::Equals(
                self.fields(value, name)?
                    .into_iter()
                    .map(|(path, value)| (path, document_value(&value)))
                    .collect(),
            ),
            "contains" => Condition::Contains(self.texts(value, name)?),
            "regexp" => Condition::Regexp(
                self.texts(value, name)?
                    .into_iter()
                    .map(|(path, pattern)| match Regex::new(&pattern) {
                        Ok(regex) => Ok((path, regex)),
                        Err(error) => {
                            let last = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
                            Err(self.problem(format!("regexp {pattern:?}: {last}")))
                        }
                    })
                    .collect::<Result<_, _>>()?,
            ),
            "range" => Condition::Range(self.ranges(value)?),
            "has_fields" => Condition::HasFields(match value {
                toml::Value::Array(values) => values
                    .iter()
                    .map(|value| value.as_str().map(str::to_owned).ok_or_else(|| self.has_fields()))
                    .collect::<Result<_, _>>()?,
                _ => return Err(self.has_fields()),
            }),
            "and" => Condition::And(self.list(value, name)?),
            "or" => Condition::Or(self.list(value, name)?),
            "not" => Condition::Not(Box::new(self.condition(value)?)),
            other => return Err(self.problem(format!("{other} is no condition; there are: {NAMES}"))),
        })
    }

    fn table<'v>(&self, value: &'v toml::Value, what: &str) -> Result<&'v Table, OptionError> {
        value.as_table().ok_or_else(|| self.problem(format!("{what} must be a table, not {value}")))
    }

    fn list(&self, value: &toml::Value, name: &str) -> Result<Vec<Condition>, OptionError> {
        let values =
            value.as_array().ok_or_else(|| self.problem(format!("{name} takes a list of conditions")))?;
        values.iter().map(|value| self.condition(value)).collect()
    }

    /// Fields with their values; tables below tables give dotted names.
    fn fields(&self, value: &toml::Value, name: &str) -> Result<Vec<(String, toml::Value)>, OptionError> {
        let mut fields = Vec::new();
        flatten(self.table(value, name)?, "", &mut fields);
        if fields.is_empty() {
            return Err(self.problem(format!("{name} names no field")));
        }
        Ok(fields)
    }

    fn texts(&self, value: &toml::Value, name: &str) -> Result<Vec<(String, String)>, OptionError> {
        let text = |(path, value): (String, toml::Value)| match value {
            toml::Value::String(text) => Ok((path, text)),
            other => Err(self.problem(format!("{name} of {path} takes a text, not {other}"))),
        };
        self.fields(value, name)?.into_iter().map(text).collect()
    }

    /// `{ "a.b" = { gte = 1, lt = 5 } }`, or `{ "a.b.gte" = 1, "a.b.lt" = 5 }`.
    fn ranges(&self, value: &toml::Value) -> Result<Vec<(String, Vec<Bound>)>, OptionError> {
        let mut ranges: Vec<(String, Vec<Bound>)> = Vec::new();
        for (path, limit) in self.fields(value, "range")? {
            let number = limit.as_float().or_else(|| limit.as_integer().map(as_float));
            let bound = path
                .rsplit_once('.')
                .and_then(|(field, bound)| Some((field.to_owned(), Bound::named(bound, number?)?)));
            let Some((field, bound)) = bound else {
                let form = "range takes numbers with lt, lte, gt or gte, as { \"a.b\" = { gte = 1 } }";
                return Err(self.problem(format!("{form}; not {path} = {limit}")));
            };
            match ranges.iter_mut().find(|(known, _)| *known == field) {
                Some((_, bounds)) => bounds.push(bound),
                None => ranges.push((field, vec![bound])),
            }
        }
        Ok(ranges)
    }

    fn has_fields(&self) -> OptionError {
        self.problem("has_fields takes a list of names".to_owned())
    }

    fn problem(&self, problem: String) -> OptionError {
        OptionError::Value { table: self.table_name.to_owned(), name: "processors".to_owned(), problem }
    }
}

fn flatten(table: &Table, prefix: &str, fields: &mut Vec<(String, toml::Value)>) {
    for (name, value) in table {
        let path = format!("{prefix}{name}");
        match value {
            toml::Value::Table(below) => flatten(below, &format!("{path}."), fields),
            other => fields.push((path, other.clone())),
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn as_float(number: i64) -> f64 {
    number as f64
}

#[allow(clippy::cast_precision_loss)]
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Uint(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

fn equal(value: &Value, expected: &Value) -> bool {
    match (number(value), number(expected)) {
        (Some(value), Some(expected)) => value.total_cmp(&expected).is_eq(),
        _ => shown(value) == shown(expected),
    }
}

/// Text of a value that is one, or is written as one.
fn shown(value: &Value) -> Value {
    match value {
        Value::Ip(_) | Value::Time(_) => crate::export::json::json_text(value).trim_matches('"').into(),
        other => other.clone(),
    }
}

fn contains(value: &Value, part: &str) -> bool {
    match value {
        Value::List(values) => values.iter().any(|value| shown(value).as_text() == Some(part)),
        one => shown(one).as_text().is_some_and(|text| text.contains(part)),
    }
}

fn matches(value: &Value, regex: &Regex) -> bool {
    match value {
        Value::List(values) => values.iter().any(|value| matches(value, regex)),
        one => shown(one).as_text().is_some_and(|text| regex.is_match(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Fields {
        let mut fields = Fields::new();
        fields.set("status", "OK");
        fields.set("http.response.status_code", 404_u16);
        fields.set("tags", Value::list(["a", "b"]));
        fields.set("client.ip", Value::Ip([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1]));
        fields
    }

    fn holds(text: &str) -> bool {
        let table: Table = text.parse().unwrap();
        Condition::read("dns", &table["when"]).unwrap().holds(&document())
    }

    #[test]
    fn each_condition() {
        assert!(holds("when = { equals = { status = \"OK\" } }"));
        assert!(!holds("when = { equals = { status = \"Error\" } }"));
        assert!(holds("when = { equals = { \"http.response.status_code\" = 404 } }"));
        assert!(holds("when.equals.http.response.status_code = 404"));
        assert!(!holds("when = { equals = { missing = 1 } }"));
        assert!(holds("when = { equals = { \"client.ip\" = \"10.0.0.1\" } }"));
        assert!(holds("when = { contains = { status = \"K\" } }"));
        assert!(holds("when = { contains = { tags = \"b\" } }"));
        assert!(!holds("when = { contains = { tags = \"c\" } }"));
        assert!(holds("when = { regexp = { status = \"^O.$\" } }"));
        assert!(holds("when = { range = { \"http.response.status_code\" = { gte = 400, lt = 500 } } }"));
        assert!(!holds("when = { range = { \"http.response.status_code.lt\" = 404 } }"));
        assert!(!holds("when = { range = { status = { gt = 0 } } }"));
        assert!(holds("when = { has_fields = [\"status\", \"http.response\"] }"));
        assert!(!holds("when = { has_fields = [\"status\", \"missing\"] }"));
    }

    #[test]
    fn conditions_of_conditions() {
        let (yes, no) = ("{ equals = { status = \"OK\" } }", "{ equals = { status = \"x\" } }");
        assert!(holds(&format!("when = {{ or = [{no}, {yes}] }}")));
        assert!(!holds(&format!("when = {{ and = [{no}, {yes}] }}")));
        assert!(holds(&format!("when = {{ not = {no} }}")));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, message) in [
            ("when = {}", "a condition is empty"),
            ("when = 1", "a condition must be a table, not 1"),
            ("when = { equal = { a = 1 } }", "equal is no condition; there are: equals, "),
            ("when = { regexp = { a = \"(\" } }", "regexp \"(\": "),
            ("when = { range = { a = 1 } }", "range takes numbers"),
            ("when = { contains = { a = 1 } }", "contains of a takes a text, not 1"),
            ("when = { and = 1 }", "and takes a list"),
            ("when = { has_fields = \"a\" }", "has_fields takes a list of names"),
        ] {
            let table: Table = text.parse().unwrap();
            let error = Condition::read("dns", &table["when"]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("[dns] processors: {message}")), "{error}");
        }
    }
}
