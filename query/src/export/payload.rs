//! Runs of payload as JSON documents.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kcap_dissect::protocol::{Fields, Value};
use kcap_format::proto;

use super::json::json_object;
pub use super::payload_fields::{MetaField, PayloadFields};

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
    /// How many bytes there are.
    pub len: u64,
    /// The bytes; none where they are left out.
    pub bytes: Vec<u8>,
}

/// The process at this host's end of a run.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// Device and inode of its pid namespace.
    pub namespace: Option<(u64, u32)>,
    /// Its container.
    pub container: Option<Arc<proto::Container>>,
}

/// The document of a run, as a line without its end.
#[must_use]
pub fn payload_document(run: &PayloadRun, fields: &PayloadFields) -> String {
    let mut document = Fields::new();
    document.set("ts", run.relative_ns);
    document.set("direction", if run.is_sent { "TX" } else { "RX" });
    // As text: JSON's readers keep 53 bits of a number.
    document.set("flowID", run.flow_id.to_string());
    document.set("length", run.len);
    if fields.payload {
        document.set("payload", STANDARD.encode(&run.bytes));
    }
    document.set("net.srcAddr", Value::Ip(run.source.0));
    document.set("net.dstAddr", Value::Ip(run.destination.0));
    document.set_some("net.srcPort", run.source.1);
    document.set_some("net.dstPort", run.destination.1);
    if let Some(process) = &run.process {
        for (name, value) in of_process(process, fields) {
            document.object("process").set_key(name, value);
        }
        if let Some(container) = &process.container {
            for (name, value) in of_container(container, fields) {
                document.object("process").object("container").set_key(name, value);
            }
            for (name, value) in container.pod.iter().flat_map(|pod| of_pod(pod, fields)) {
                document.object("process").object("pod").set_key(name, value);
            }
        }
    }
    json_object(&document)
}

/// The values that are there and wanted, by the names of [`PayloadFields`].
fn chosen<const COUNT: usize>(
    group: &str,
    fields: &PayloadFields,
    values: [(&'static str, Option<Value>); COUNT],
) -> impl Iterator<Item = (&'static str, Value)> {
    values
        .into_iter()
        .filter(|(name, _)| fields.has(group, name))
        .filter_map(|(name, value)| Some((name, value?)))
}

fn of_process(
    process: &PayloadProcess,
    fields: &PayloadFields,
) -> impl Iterator<Item = (&'static str, Value)> {
    let values = [
        ("pid", process.pid.map(Value::from)),
        ("ppid", process.parent_pid.map(Value::from)),
        ("name", process.name.as_deref().map(Value::from)),
        ("cmd", process.command_line.as_deref().map(Value::from)),
        ("exe", process.executable.as_deref().map(Value::from)),
        ("ns", process.namespace.map(|(device, inode)| format!("{device}-{inode}").into())),
        ("startedAt", process.started_ns.map(Value::Time)),
    ];
    chosen("process", fields, values)
}

fn of_container(
    container: &proto::Container,
    fields: &PayloadFields,
) -> impl Iterator<Item = (&'static str, Value)> {
    let created_ns = i64::try_from(container.created_realtime_ns).ok().filter(|time_ns| *time_ns != 0);
    let values = [
        ("ID", text(&container.id)),
        ("Name", text(&container.name)),
        ("Image", text(&container.image)),
        ("ImageID", text(&container.image_id)),
        ("Runtime", text(&container.runtime)),
        ("CreatedAt", created_ns.map(Value::Time)),
        ("Labels", texts(&container.labels)),
    ];
    chosen("container", fields, values)
}

fn of_pod(pod: &proto::Pod, fields: &PayloadFields) -> impl Iterator<Item = (&'static str, Value)> {
    let values = [
        ("ID", text(&pod.id)),
        ("Name", text(&pod.name)),
        ("Namespace", text(&pod.namespace)),
        ("Labels", texts(&pod.labels)),
        ("Annotations", texts(&pod.annotations)),
    ];
    chosen("pod", fields, values)
}

/// Text that somebody told.
fn text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| text.into())
}

/// Texts by their keys, in which a dot is nothing special.
fn texts(texts: &BTreeMap<String, String>) -> Option<Value> {
    let mut object = Fields::new();
    for (key, text) in texts {
        object.set_key(key, text.as_str());
    }
    (!object.is_empty()).then(|| object.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> PayloadRun {
        let address = |last| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last];
        let labels = |key: &str| BTreeMap::from([(key.to_owned(), "a".to_owned())]);
        let container = proto::Container {
            id: "abc".to_owned(),
            name: "web".to_owned(),
            image: "nginx:1".to_owned(),
            labels: labels("com.example/tier"),
            pod: Some(proto::Pod {
                id: "u-1".to_owned(),
                name: "web-0".to_owned(),
                namespace: "prod".to_owned(),
                labels: labels("app"),
                ..proto::Pod::default()
            }),
            ..proto::Container::default()
        };
        PayloadRun {
            relative_ns: 1_500,
            is_sent: true,
            flow_id: u64::MAX,
            source: (address(1), Some(40_000)),
            destination: (address(2), Some(80)),
            process: Some(PayloadProcess {
                pid: Some(7),
                name: Some("curl".to_owned()),
                namespace: Some((4, 4_026_531_836)),
                container: Some(container.into()),
                ..PayloadProcess::default()
            }),
            len: 5,
            bytes: b"GET /".to_vec(),
        }
    }

    #[test]
    fn documents_have_the_run_and_whose_it_is() {
        let all = PayloadFields { payload: true, meta: None };
        assert_eq!(
            payload_document(&run(), &all),
            concat!(
                r#"{"ts":1500,"direction":"TX","flowID":"18446744073709551615","length":5,"payload":"R0VUIC8=","#,
                r#""net":{"srcAddr":"10.0.0.1","dstAddr":"10.0.0.2","srcPort":40000,"dstPort":80},"#,
                r#""process":{"pid":7,"name":"curl","ns":"4-4026531836","#,
                r#""container":{"ID":"abc","Name":"web","Image":"nginx:1","Labels":{"com.example/tier":"a"}},"#,
                r#""pod":{"ID":"u-1","Name":"web-0","Namespace":"prod","Labels":{"app":"a"}}}}"#
            )
        );
    }

    #[test]
    fn fields_are_chosen_by_selectors() {
        let chosen = |selectors: &str| {
            let meta = Some(PayloadFields::selected(selectors).expect("known selectors"));
            let document = payload_document(&run(), &PayloadFields { payload: false, meta });
            document.split_once("\"process\":").map(|(_, process)| process.to_owned())
        };
        for (selectors, process) in [
            ("process.name", r#"{"name":"curl"}}"#),
            ("process.min", r#"{"pid":7,"name":"curl"}}"#),
            ("process.ns", r#"{"ns":"4-4026531836"}}"#),
            ("container.min+process.pid", r#"{"pid":7,"container":{"ID":"abc","Name":"web"}}}"#),
            (
                "process.name+pod.min",
                r#"{"name":"curl","pod":{"ID":"u-1","Name":"web-0","Namespace":"prod"}}}"#,
            ),
            ("pod.labels+container.id", r#"{"container":{"ID":"abc"},"pod":{"Labels":{"app":"a"}}}}"#),
        ] {
            assert_eq!(chosen(selectors).as_deref(), Some(process), "{selectors}");
        }
        assert_eq!(chosen("process.cmd+pod.annotations"), None, "nothing told them");
    }
}
