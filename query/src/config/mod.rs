//! The file of `--config`: which protocols, with which options, and what becomes of documents. TOML, with Packetbeat's names.

mod condition;
mod processors;

use std::collections::HashMap;
use std::path::Path;

use kcap_dissect::flow::{FLOW_PERIOD_DEFAULT_NS, FLOW_TIMEOUT_DEFAULT_NS};
use kcap_dissect::protocol::{OptionError, OptionTable, PROTOCOLS, Protocols, Value};
use toml::Table;

pub use processors::Processors;

/// What a file says; the default is what an empty one says.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The protocols with their options.
    pub protocols: Protocols,
    /// Documents of flows, when there is a table `[flows]` that doesn't disable them.
    pub flows: Option<FlowsConfig>,
    /// `tags` of all documents.
    pub tags: Vec<String>,
    /// `fields` of all documents.
    pub fields: ExtraFields,
    /// What becomes of documents of each protocol, and of flows.
    protocol_processors: HashMap<&'static str, Processors>,
    /// What becomes of all documents, after that.
    processors: Processors,
}

/// Fields that are added to documents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExtraFields {
    /// The fields.
    pub fields: Table,
    /// At the root of documents, not below `fields`.
    pub under_root: bool,
}

/// Table `[flows]`.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowsConfig {
    /// `timeout`: silence after which a flow is over, in nanoseconds.
    pub timeout_ns: i64,
    /// `period`: time between reports in nanoseconds; `None` for one at the end.
    pub period_ns: Option<i64>,
    /// `enable_delta_flow_reports`: counts since the report before, not since the begin of the flow.
    pub is_delta: bool,
    /// `tags` of their documents.
    pub tags: Vec<String>,
    /// `fields` of their documents.
    pub fields: ExtraFields,
    /// `keep_null`.
    pub keep_null: bool,
}

/// Why a file can't be used: one line that says what and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It can't be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It isn't TOML.
    #[error("{path}: line {line}: {problem}")]
    Syntax {
        /// The file.
        path: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// An option isn't right.
    #[error("{path}: {source}")]
    Option {
        /// The file.
        path: String,
        /// Which, and why.
        source: OptionError,
    },
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it can't be read or used.
    pub fn open(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: name.clone(), source })?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            ConfigError::Syntax { path: name.clone(), line, problem: error.message().to_owned() }
        })?;
        Self::read(table).map_err(|source| ConfigError::Option { path: name, source })
    }

    /// Reads what a file's text said.
    ///
    /// # Errors
    /// When a table, an option or a value doesn't exist.
    pub fn read(mut table: Table) -> Result<Self, OptionError> {
        let mut top = Table::new();
        for name in ["tags", "fields", "fields_under_root", "processors"] {
            top.extend(table.remove(name).map(|value| (name.to_owned(), value)));
        }
        let mut top = OptionTable::new("top level", top);
        let tags = top.texts("tags")?.unwrap_or_default();
        let fields = extra_fields(&mut top)?;
        let processors = Processors::read("top level", &top.list("processors")?.unwrap_or_default())?;
        let mut protocol_processors = HashMap::new();
        let flows = match table.remove("flows") {
            None => None,
            Some(toml::Value::Table(entries)) => {
                let (flows, processors) = FlowsConfig::read(entries)?;
                protocol_processors.insert(crate::export::ecs::FLOW_TYPE, processors);
                flows
            }
            Some(_) => return Err(top.problem("flows", "is not a table of options: write [flows]")),
        };
        let protocols = Protocols::read(table)?;
        for protocol in PROTOCOLS {
            if let Some(configured) = protocols.named(protocol.name) {
                let processors = Processors::read(protocol.name, &configured.common.processors)?;
                protocol_processors.insert(protocol.name, processors);
            }
        }
        Ok(Self { protocols, flows, tags, fields, protocol_processors, processors })
    }

    /// Lets the processors of a document's type, and then those of all documents, have it. False: it was dropped.
    #[must_use]
    pub fn process(&self, document_type: &str, document: &mut kcap_dissect::protocol::Fields) -> bool {
        self.protocol_processors.get(document_type).is_none_or(|processors| processors.run(document))
            && self.processors.run(document)
    }
}

impl FlowsConfig {
    /// Reads the table; no flows when they are disabled.
    fn read(entries: Table) -> Result<(Option<Self>, Processors), OptionError> {
        let mut options = OptionTable::new("flows", entries);
        let enabled = options.switch("enabled", true)?;
        let timeout_ns = options.duration_ns("timeout", FLOW_TIMEOUT_DEFAULT_NS)?;
        if timeout_ns <= 0 {
            return Err(options.problem("timeout", "must be more than 0"));
        }
        let period_ns = options.duration_ns("period", FLOW_PERIOD_DEFAULT_NS)?;
        if period_ns == 0 {
            return Err(options.problem("period", "must be more than 0, or -1 for reports at the end only"));
        }
        let flows = Self {
            timeout_ns,
            period_ns: Some(period_ns).filter(|period| *period > 0),
            is_delta: options.switch("enable_delta_flow_reports", false)?,
            tags: options.texts("tags")?.unwrap_or_default(),
            fields: extra_fields(&mut options)?,
            keep_null: options.switch("keep_null", false)?,
        };
        let processors = Processors::read("flows", &options.list("processors")?.unwrap_or_default())?;
        options.finish()?;
        Ok((enabled.then_some(flows), processors))
    }
}

fn extra_fields(options: &mut OptionTable) -> Result<ExtraFields, OptionError> {
    Ok(ExtraFields {
        fields: options.table("fields")?.unwrap_or_default(),
        under_root: options.switch("fields_under_root", false)?,
    })
}

/// A value of a file as one of a document.
#[must_use]
pub(crate) fn document_value(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(value) => (*value).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => Value::List(values.iter().map(document_value).collect()),
        toml::Value::Table(table) => {
            let mut fields = kcap_dissect::protocol::Fields::new();
            for (name, value) in table {
                fields.set(name, document_value(value));
            }
            fields.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, OptionError> {
        Config::read(text.parse().unwrap())
    }

    #[test]
    fn flows_are_there_when_their_table_is() {
        assert_eq!(read("").unwrap().flows, None);
        assert_eq!(read("[flows]\nenabled = false").unwrap().flows, None);
        let flows = read("[flows]\ntimeout = \"5s\"\nperiod = -1").unwrap().flows.unwrap();
        assert_eq!((flows.timeout_ns, flows.period_ns), (5_000_000_000, None));
    }

    #[test]
    fn what_is_wrong_is_one_line() {
        for (text, message) in [
            ("tag = [\"a\"]", "no protocol is called tag; there are: "),
            ("[flows]\ntimeouts = 1", "[flows] has no option timeouts; it has: enabled, timeout, "),
            ("[flows]\nperiod = 0", "[flows] period: must be more than 0"),
            ("flows = 1", "[top level] flows: is not a table"),
            ("[dns]\nprocessors = [{ drop = {} }]", "[dns] processors: drop is no processor; there are: "),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn files_that_are_not_there_or_not_toml() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert!(Config::open(&path).unwrap_err().to_string().starts_with("cannot read "));
        std::fs::write(&path, "[dns]\nports = [53\n").unwrap();
        let error = Config::open(&path).unwrap_err().to_string();
        assert!(error.contains("config.toml: line "), "{error}");
    }
}
