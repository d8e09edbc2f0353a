//! Options of protocols, from tables of a TOML file, under Packetbeat's names.

use toml::{Table, Value};

/// Time after which a request is given up, unless option `transaction_timeout` says another.
pub const TRANSACTION_TIMEOUT_NS: i64 = 10_000_000_000;

/// What can be wrong with an option. Each message is one line that says where and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// The option does not exist.
    #[error("[{table}] has no option {name}; it has: {known}")]
    Unknown {
        /// Table of the file.
        table: String,
        /// Name of the option.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The value can't be used.
    #[error("[{table}] {name}: {problem}")]
    Value {
        /// Table of the file.
        table: String,
        /// Name of the option.
        name: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The table is of no protocol.
    #[error("no protocol is called {name}; there are: {known}")]
    Protocol {
        /// Name of the table.
        name: String,
        /// Those that there are.
        known: String,
    },
}

/// Options that every protocol has.
#[derive(Clone, Debug, PartialEq)]
pub struct CommonOptions {
    /// `enabled`: whether the protocol is looked for.
    pub enabled: bool,
    /// `ports`: where it is expected.
    pub ports: Vec<u16>,
    /// `any_port`: whether conversations that are recognised by their bytes are followed on all other ports, too. Unless it is
    /// said: yes for tables, no for documents, where Packetbeat looks at `ports` only
    /// ([`Protocols::only_on_ports`](super::Protocols::only_on_ports)).
    pub any_port: Option<bool>,
    /// `send_request`: whether transactions have the request as text.
    pub send_request: bool,
    /// `send_response`: whether transactions have the response as text.
    pub send_response: bool,
    /// `transaction_timeout`: how long a request waits for its response.
    pub transaction_timeout_ns: i64,
    /// `tags`: field `tags` of documents.
    pub tags: Vec<String>,
    /// `keep_null`: whether documents have fields that are null.
    pub keep_null: bool,
    /// `monitor_processes`: whether documents have the processes at both ends, where they were recorded.
    pub monitor_processes: Option<bool>,
    /// `fields`: added to documents, below field `fields`, or at the root with `fields_under_root`.
    pub fields: Table,
    /// `fields_under_root`.
    pub fields_under_root: bool,
    /// `processors`, as they are in the file: whoever makes documents reads them.
    pub processors: Vec<Value>,
}

impl CommonOptions {
    /// What is in force when nothing is said, on these ports.
    #[must_use]
    pub fn with_ports(ports: &[u16]) -> Self {
        Self {
            enabled: true,
            ports: ports.to_vec(),
            any_port: None,
            send_request: false,
            send_response: false,
            transaction_timeout_ns: TRANSACTION_TIMEOUT_NS,
            tags: Vec::new(),
            keep_null: false,
            monitor_processes: None,
            fields: Table::new(),
            fields_under_root: false,
            processors: Vec::new(),
        }
    }

    /// Takes the options that every protocol has out of a table.
    ///
    /// # Errors
    /// For values that can't be used.
    pub fn read(options: &mut OptionTable, default_ports: &[u16]) -> Result<Self, OptionError> {
        let default = Self::with_ports(default_ports);
        Ok(Self {
            enabled: options.switch("enabled", default.enabled)?,
            ports: options.ports("ports")?.unwrap_or(default.ports),
            any_port: options.optional_switch("any_port")?,
            send_request: options.switch("send_request", default.send_request)?,
            send_response: options.switch("send_response", default.send_response)?,
            transaction_timeout_ns: options
                .duration_ns("transaction_timeout", default.transaction_timeout_ns)?,
            tags: options.texts("tags")?.unwrap_or_default(),
            keep_null: options.switch("keep_null", default.keep_null)?,
            monitor_processes: options.optional_switch("monitor_processes")?,
            fields: options.table("fields")?.unwrap_or_default(),
            fields_under_root: options.switch("fields_under_root", default.fields_under_root)?,
            processors: options.list("processors")?.unwrap_or_default(),
        })
    }
}

/// A table of the file, from which options are taken one by one. What is left at the end is unknown.
#[derive(Clone, Debug)]
pub struct OptionTable {
    name: String,
    entries: Table,
    known: Vec<&'static str>,
}

impl OptionTable {
    /// The table of this name.
    #[must_use]
    pub fn new(name: &str, entries: Table) -> Self {
        Self { name: name.to_owned(), entries, known: Vec::new() }
    }

    /// A switch: `true` or `false`.
    ///
    /// # Errors
    /// For other values; likewise below.
    pub fn switch(&mut self, name: &'static str, default: bool) -> Result<bool, OptionError> {
        Ok(self.optional_switch(name)?.unwrap_or(default))
    }

    /// A switch that has a third state, when nothing is said.
    ///
    /// # Errors
    /// As above.
    pub fn optional_switch(&mut self, name: &'static str) -> Result<Option<bool>, OptionError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Boolean(on)) => Ok(Some(on)),
            Some(other) => Err(self.wrong(name, &other, "true or false")),
        }
    }

    /// A number that isn't negative.
    ///
    /// # Errors
    /// As above.
    pub fn number(&mut self, name: &'static str, default: u64) -> Result<u64, OptionError> {
        match self.take(name) {
            None => Ok(default),
            Some(Value::Integer(number)) if number >= 0 => Ok(number.unsigned_abs()),
            Some(other) => Err(self.wrong(name, &other, "a number that isn't negative")),
        }
    }

    /// A number that may be negative.
    ///
    /// # Errors
    /// As above.
    pub fn signed(&mut self, name: &'static str, default: i64) -> Result<i64, OptionError> {
        match self.take(name) {
            None => Ok(default),
            Some(Value::Integer(number)) => Ok(number),
            Some(other) => Err(self.wrong(name, &other, "a number")),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// As above.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, OptionError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, &other, "a text in quotes")),
        }
    }

    /// One of some words.
    ///
    /// # Errors
    /// As above.
    pub fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&str, T)],
        default: T,
    ) -> Result<T, OptionError> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.problem(name, format!("{text:?} is not one of {}", words.join(", ")))
        })
    }

    /// A list of texts; a single text is a list of one.
    ///
    /// # Errors
    /// As above.
    pub fn texts(&mut self, name: &'static str) -> Result<Option<Vec<String>>, OptionError> {
        const EXPECTED: &str = "a list of texts";
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(vec![text])),
            Some(Value::Array(values)) => values
                .into_iter()
                .map(|value| match value {
                    Value::String(text) => Ok(text),
                    other => Err(self.wrong(name, &other, EXPECTED)),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(other) => Err(self.wrong(name, &other, EXPECTED)),
        }
    }

    /// A list of ports: numbers, or texts with numbers as YAML files often have them.
    ///
    /// # Errors
    /// As above.
    pub fn ports(&mut self, name: &'static str) -> Result<Option<Vec<u16>>, OptionError> {
        const EXPECTED: &str = "a list of ports, 1 to 65535";
        let values = match self.take(name) {
            None => return Ok(None),
            Some(Value::Array(values)) => values,
            Some(one) => vec![one],
        };
        let port = |value: &Value| match value {
            Value::Integer(number) => u16::try_from(*number).ok(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        values
            .iter()
            .map(|value| {
                port(value).filter(|port| *port != 0).ok_or_else(|| self.wrong(name, value, EXPECTED))
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A duration in nanoseconds: `"90s"`, `"1h30m"`, `"250ms"`, or a number of seconds; `"-1"` or -1 gives -1 s.
    ///
    /// # Errors
    /// As above.
    pub fn duration_ns(&mut self, name: &'static str, default: i64) -> Result<i64, OptionError> {
        let Some(value) = self.take(name) else { return Ok(default) };
        let duration = match &value {
            Value::Integer(seconds) => seconds.checked_mul(1_000_000_000),
            Value::Float(seconds) => nanoseconds(*seconds * 1e9),
            Value::String(text) => parse_duration_ns(text),
            _ => None,
        };
        duration.ok_or_else(|| self.wrong(name, &value, "a duration such as \"10s\", \"1h30m\" or \"250ms\""))
    }

    /// A table of its own.
    ///
    /// # Errors
    /// As above.
    pub fn table(&mut self, name: &'static str) -> Result<Option<Table>, OptionError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(table)),
            Some(other) => Err(self.wrong(name, &other, "a table")),
        }
    }

    /// A list of anything.
    ///
    /// # Errors
    /// As above.
    pub fn list(&mut self, name: &'static str) -> Result<Option<Vec<Value>>, OptionError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(other) => Err(self.wrong(name, &other, "a list")),
        }
    }

    /// Ends reading.
    ///
    /// # Errors
    /// When an option is left that nobody took.
    pub fn finish(self) -> Result<(), OptionError> {
        match self.entries.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => {
                Err(OptionError::Unknown { table: self.name, name, known: self.known.join(", ") })
            }
        }
    }

    /// The error of an option whose value has the right type but can't be used.
    #[must_use]
    pub fn problem(&self, name: &str, problem: impl Into<String>) -> OptionError {
        OptionError::Value { table: self.name.clone(), name: name.to_owned(), problem: problem.into() }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.entries.remove(name)
    }

    fn wrong(&self, name: &str, value: &Value, expected: &str) -> OptionError {
        self.problem(name, format!("{value} is not {expected}"))
    }
}

/// A duration as Go's `time.ParseDuration` reads it, the form of Packetbeat's options. A bare number is in seconds.
#[must_use]
pub fn parse_duration_ns(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return nanoseconds(seconds * 1e9);
    }
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..number_len].parse().ok()?;
        rest = &rest[number_len..];
        let unit_len = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit_ns = match &rest[..unit_len] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * unit_ns;
        rest = &rest[unit_len..];
    }
    nanoseconds(sign * total)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn nanoseconds(value: f64) -> Option<i64> {
    (value.is_finite() && value.abs() < i64::MAX as f64).then_some(value.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> OptionTable {
        OptionTable::new("dns", text.parse().unwrap())
    }

    #[test]
    fn common_options_under_packetbeats_names() {
        let mut options = table(
            "enabled = false\nports = [53, \"5353\"]\nsend_request = true\ntransaction_timeout = \"1m30s\"\n\
             tags = [\"a\"]\nkeep_null = true\nmonitor_processes = true\nfields = { x = 1 }",
        );
        let common = CommonOptions::read(&mut options, &[53]).unwrap();
        options.finish().unwrap();
        assert!(!common.enabled && common.send_request && !common.send_response && common.keep_null);
        assert_eq!(common.ports, [53, 5353]);
        assert_eq!(common.transaction_timeout_ns, 90_000_000_000);
        assert_eq!(common.tags, ["a"]);
        assert_eq!(common.monitor_processes, Some(true));
    }

    #[test]
    fn what_is_unknown_or_wrong_is_one_line() {
        let mut options = table("prots = [53]");
        let error = CommonOptions::read(&mut options, &[53]).and_then(|_| options.finish()).unwrap_err();
        assert!(error.to_string().starts_with("[dns] has no option prots; it has: enabled, ports, "));
        for (text, message) in [
            ("enabled = 1", "[dns] enabled: 1 is not true or false"),
            ("ports = [0]", "[dns] ports: 0 is not a list of ports, 1 to 65535"),
            (
                "transaction_timeout = \"10 apples\"",
                "[dns] transaction_timeout: \"10 apples\" is not a duration such as \"10s\", \"1h30m\" or \"250ms\"",
            ),
            ("tags = [1]", "[dns] tags: 1 is not a list of texts"),
        ] {
            let error = CommonOptions::read(&mut table(text), &[53]).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("10s", Some(10_000_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5ms", Some(1_500_000)),
            ("2us", Some(2_000)),
            ("2µs", Some(2_000)),
            ("7ns", Some(7)),
            ("30", Some(30_000_000_000)),
            ("-1", Some(-1_000_000_000)),
            ("-1s", Some(-1_000_000_000)),
            ("", None),
            ("s", None),
            ("1", Some(1_000_000_000)),
            ("1x", None),
            ("1s2", None),
            ("9999999999999h", None),
        ] {
            assert_eq!(parse_duration_ns(text), expected, "{text}");
        }
    }
}
