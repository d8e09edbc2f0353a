//! Processors of documents, as those of Beats: they drop documents or fields.

use kcap_dissect::protocol::{Fields, OptionError};
use toml::Table;

use super::condition::Condition;

/// Fields that stay, whatever processors say.
const KEPT_FIELDS: [&str; 2] = ["@timestamp", "type"];

const NAMES: &str = "drop_event, drop_fields, include_fields";

/// Processors in their order.
#[derive(Clone, Debug, Default)]
pub struct Processors(Vec<Processor>);

/// What is done with documents for which a condition holds.
#[derive(Clone, Debug)]
struct Processor {
    action: Action,
    condition: Option<Condition>,
}

#[derive(Clone, Debug)]
enum Action {
    DropEvent,
    DropFields(Vec<String>),
    IncludeFields(Vec<String>),
}

impl Processors {
    /// Reads a list of processors of a table of the file.
    ///
    /// # Errors
    /// When there is none of a name, or one isn't right.
    pub(super) fn read(table_name: &str, list: &[toml::Value]) -> Result<Self, OptionError> {
        let reader = Reader { table_name };
        let mut processors = Vec::new();
        for entry in list {
            let entry = entry.as_table().filter(|entry| !entry.is_empty());
            let entry = entry.ok_or_else(|| {
                reader.problem("each is a table with a name, as { drop_fields = { fields = [\"a.b\"] } }")
            })?;
            for (name, arguments) in entry {
                processors.push(reader.processor(name, arguments)?);
            }
        }
        Ok(Self(processors))
    }

    /// Changes a document. False: it was dropped.
    #[must_use]
    pub(super) fn run(&self, document: &mut Fields) -> bool {
        for processor in &self.0 {
            if processor.condition.as_ref().is_some_and(|condition| !condition.holds(document)) {
                continue;
            }
            match &processor.action {
                Action::DropEvent => return false,
                Action::DropFields(paths) => {
                    for path in paths.iter().filter(|path| !KEPT_FIELDS.contains(&path.as_str())) {
                        document.remove(path);
                    }
                }
                Action::IncludeFields(paths) => {
                    let mut kept = Fields::new();
                    for path in KEPT_FIELDS.into_iter().chain(paths.iter().map(String::as_str)) {
                        if let Some(value) = document.value(path) {
                            kept.set(path, value.clone());
                        }
                    }
                    *document = kept;
                }
            }
        }
        true
    }
}

struct Reader<'a> {
    table_name: &'a str,
}

impl Reader<'_> {
    fn processor(&self, name: &str, arguments: &toml::Value) -> Result<Processor, OptionError> {
        let mut arguments: Table = arguments
            .as_table()
            .cloned()
            .ok_or_else(|| self.problem(&format!("{name} takes a table, as {{ when = … }}")))?;
        let condition = match arguments.remove("when") {
            Some(when) => Some(Condition::read(self.table_name, &when)?),
            None => None,
        };
        // Fields that are missing are no error here, whatever Beats is told.
        arguments.remove("ignore_missing");
        let action = match name {
            "drop_event" => Action::DropEvent,
            "drop_fields" => Action::DropFields(self.fields(name, &mut arguments)?),
            "include_fields" => Action::IncludeFields(self.fields(name, &mut arguments)?),
            other => return Err(self.problem(&format!("{other} is no processor; there are: {NAMES}"))),
        };
        match arguments.keys().next() {
            Some(unknown) => {
                Err(self.problem(&format!("{name} has no option {unknown}; it has: when, fields")))
            }
            None => Ok(Processor { action, condition }),
        }
    }

    fn fields(&self, name: &str, arguments: &mut Table) -> Result<Vec<String>, OptionError> {
        let expected = || self.problem(&format!("{name} takes fields = [\"a.b\", …]"));
        match arguments.remove("fields") {
            Some(toml::Value::Array(values)) => values
                .into_iter()
                .map(|value| match value {
                    toml::Value::String(path) => Ok(path),
                    _ => Err(expected()),
                })
                .collect(),
            _ => Err(expected()),
        }
    }

    fn problem(&self, problem: &str) -> OptionError {
        OptionError::Value {
            table: self.table_name.to_owned(),
            name: "processors".to_owned(),
            problem: problem.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use kcap_dissect::protocol::Value;

    use super::*;

    /// The document after the processors, as JSON; `None` when it was dropped.
    fn after(processors: &str) -> Option<String> {
        let table: Table = format!("processors = {processors}").parse().unwrap();
        let processors = Processors::read("dns", table["processors"].as_array().unwrap()).unwrap();
        let mut document = Fields::new();
        document.set("@timestamp", "t");
        document.set("type", "http");
        document.set("a.b", 1_u8);
        document.object("a").set_key("x.y", Value::from("z"));
        document.set("c", 2_u8);
        processors.run(&mut document).then(|| crate::export::json::json_object(&document))
    }

    #[test]
    fn dropping_and_keeping() {
        assert_eq!(
            after(r#"[{ drop_fields = { fields = ["a.b", "a.x.y", "missing", "type"] } }]"#).as_deref(),
            Some(r#"{"@timestamp":"t","type":"http","a":{},"c":2}"#)
        );
        assert_eq!(
            after(r#"[{ include_fields = { fields = ["a.b"] } }]"#).as_deref(),
            Some(r#"{"@timestamp":"t","type":"http","a":{"b":1}}"#)
        );
        assert_eq!(
            after(r"[{ include_fields = { fields = [] } }]").as_deref(),
            Some(r#"{"@timestamp":"t","type":"http"}"#)
        );
        assert_eq!(after("[{ drop_event = {} }]"), None);
    }

    #[test]
    fn only_where_the_condition_holds_and_in_their_order() {
        let kept = after(r#"[{ drop_event = { when = { equals = { c = 3 } } } }]"#);
        assert!(kept.is_some());
        assert_eq!(after(r#"[{ drop_event = { when = { equals = { c = 2 } } } }]"#), None);
        let dropped_first =
            r#"[{ drop_fields = { fields = ["c"] } }, { drop_event = { when = { has_fields = ["c"] } } }]"#;
        assert!(after(dropped_first).is_some());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, message) in [
            ("[1]", "each is a table with a name"),
            ("[{ add_tags = {} }]", "add_tags is no processor; there are: drop_event, "),
            ("[{ drop_fields = {} }]", "drop_fields takes fields = "),
            ("[{ drop_event = { fields = [] } }]", "drop_event has no option fields"),
            ("[{ drop_event = 1 }]", "drop_event takes a table"),
        ] {
            let table: Table = format!("processors = {text}").parse().unwrap();
            let error = Processors::read("dns", table["processors"].as_array().unwrap()).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
