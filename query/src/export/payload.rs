//! Runs of payload as JSON documents.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kcap_dissect::protocol::{Fields, Value};

use super::json::json_object;

/// Bytes that one side of a flow sent, in order and each once, with no gap between them.
#[derive(Clone, Debug, Default)]
pub struct PayloadRun {
    /// Nanoseconds since the first packet of the sources.
    pub relative_ns: i64,
    /// True when the host of the process sent it, false when it received it.
    pub is_sent: bool,
    /// `flow_id`.
    pub flow_id: u64,
    /// Address and port of who sent it; no port for ICMP.
    pub source: ([u8; 16], Option<u16>),
    /// Address and port of who received it.
    pub destination: ([u8; 16], Option<u16>),
    /// The process at this host's end, if one is known.
    pub process: Option<PayloadProcess>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The process at this host's end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PayloadProcess {
    /// Process id in the initial pid namespace.
    pub pid: Option<u32>,
    /// Process id of its parent.
    pub parent_pid: Option<u32>,
    /// Name.
    pub name: Option<String>,
    /// Command line.
    pub command_line: Option<String>,
    /// File that it runs.
    pub executable: Option<String>,
    /// When it began, in nanoseconds since 1970.
    pub started_ns: Option<i64>,
    /// Id of its container.
    pub container_id: Option<String>,
}

/// Which fields documents have beside those of the run itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadFields {
    /// Whether the bytes themselves are written.
    pub payload: bool,
    /// Names of fields of `process`, and of `process.container` with their `container.` before them; `None` for all.
    pub meta: Option<Vec<&'static str>>,
}

/// Fields of `process` that documents can have.
const FIELDS: [&str; 7] = ["pid", "ppid", "name", "cmd", "exe", "startedAt", "container.ID"];

/// What `process.min` stands for.
const FIELDS_MIN: [&str; 2] = ["pid", "name"];

impl PayloadFields {
    /// Reads selectors joined by `+`, as in `process.name+container.min`: a field's name, or `all` or `min` of `process` and
    /// `container`. The error names the one that is wrong.
    ///
    /// # Errors
    /// The selector that names nothing.
    pub fn selected(selectors: &str) -> Result<Vec<&'static str>, String> {
        let mut selected = Vec::new();
        for selector in selectors.split('+') {
            let chosen: Vec<&'static str> = match selector {
                "process" | "process.all" => {
                    FIELDS.into_iter().filter(|field| !field.starts_with("container.")).collect()
                }
                "process.min" => FIELDS_MIN.to_vec(),
                "container" | "container.all" | "container.min" => vec!["container.ID"],
                _ => {
                    let name = selector.strip_prefix("process.").unwrap_or(selector);
                    FIELDS.into_iter().filter(|field| *field == name).collect()
                }
            };
            if chosen.is_empty() {
                return Err(selector.to_owned());
            }
            selected.extend(chosen);
        }
        Ok(selected)
    }

    fn has(&self, field: &str) -> bool {
        self.meta.as_ref().is_none_or(|fields| fields.contains(&field))
    }
}

/// The document of a run, as a line without its end.
#[must_use]
pub fn payload_document(run: &PayloadRun, fields: &PayloadFields) -> String {
    let mut document = Fields::new();
    document.set("ts", run.relative_ns);
    document.set("direction", if run.is_sent { "TX" } else { "RX" });
    // As text: JSON's readers keep 53 bits of a number.
    document.set("flowID", run.flow_id.to_string());
    document.set("length", run.bytes.len() as u64);
    if fields.payload {
        document.set("payload", STANDARD.encode(&run.bytes));
    }
    document.set("net.srcAddr", Value::Ip(run.source.0));
    document.set("net.dstAddr", Value::Ip(run.destination.0));
    document.set_some("net.srcPort", run.source.1);
    document.set_some("net.dstPort", run.destination.1);
    if let Some(process) = &run.process {
        let mut set = |name: &str, value: Option<Value>| {
            if fields.has(name) {
                document.set_some(&format!("process.{name}"), value);
            }
        };
        set("pid", process.pid.map(Value::from));
        set("ppid", process.parent_pid.map(Value::from));
        set("name", process.name.as_deref().map(Value::from));
        set("cmd", process.command_line.as_deref().map(Value::from));
        set("exe", process.executable.as_deref().map(Value::from));
        set("startedAt", process.started_ns.map(Value::Time));
        set("container.ID", process.container_id.as_deref().map(Value::from));
    }
    json_object(&document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> PayloadRun {
        let address = |last| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last];
        PayloadRun {
            relative_ns: 1_500,
            is_sent: true,
            flow_id: u64::MAX,
            source: (address(1), Some(40_000)),
            destination: (address(2), Some(80)),
            process: Some(PayloadProcess {
                pid: Some(7),
                name: Some("curl".to_owned()),
                container_id: Some("abc".to_owned()),
                ..PayloadProcess::default()
            }),
            bytes: b"GET /".to_vec(),
        }
    }

    #[test]
    fn documents_have_the_run_and_whose_it_is() {
        let all = PayloadFields { payload: true, meta: None };
        assert_eq!(
            payload_document(&run(), &all),
            r#"{"ts":1500,"direction":"TX","flowID":"18446744073709551615","length":5,"payload":"R0VUIC8=","net":{"srcAddr":"10.0.0.1","dstAddr":"10.0.0.2","srcPort":40000,"dstPort":80},"process":{"pid":7,"name":"curl","container":{"ID":"abc"}}}"#
        );
    }

    #[test]
    fn fields_are_chosen_by_selectors() {
        let chosen = |selectors: &str| {
            let meta = Some(PayloadFields::selected(selectors).expect("known selectors"));
            let document = payload_document(&run(), &PayloadFields { payload: false, meta });
            document.split_once("\"process\":").map(|(_, process)| process.to_owned())
        };
        assert_eq!(chosen("process.name").as_deref(), Some(r#"{"name":"curl"}}"#));
        assert_eq!(chosen("process.min").as_deref(), Some(r#"{"pid":7,"name":"curl"}}"#));
        assert_eq!(
            chosen("container.min+process.pid").as_deref(),
            Some(r#"{"pid":7,"container":{"ID":"abc"}}}"#)
        );
        assert_eq!(chosen("process.cmd"), None);
        assert_eq!(PayloadFields::selected("process.name+pod.colour"), Err("pod.colour".to_owned()));
    }
}
