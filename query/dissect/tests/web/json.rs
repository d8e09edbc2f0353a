//! Transactions as JSON, to be compared with documents.

use std::collections::BTreeMap;

use kcap_dissect::protocol::time::rfc3339_millis;
use kcap_dissect::protocol::{Fields, Transaction, Value};
use serde_json::json;

/// A flat document: dotted names and values.
pub(crate) type Document = BTreeMap<String, serde_json::Value>;

/// What a transaction and a document have in common, under the document's names.
pub(crate) fn document(transaction: &Transaction) -> Document {
    let mut document = Document::new();
    flatten("", &transaction.fields, &mut document);
    let mut set = |name: &str, value| document.insert(name.to_owned(), value);
    set("type", json!(transaction.protocol));
    set("status", json!(transaction.status.name()));
    set("client.port", json!(transaction.client_end().port));
    set("server.port", json!(transaction.server_end().port));
    if let Some(duration_ns) = transaction.duration_ns() {
        set("event.duration", json!(duration_ns));
    }
    if let Some(query) = &transaction.query {
        set("query", json!(query));
    }
    if let Some(request) = &transaction.request {
        set("client.bytes", json!(request.bytes));
    }
    if let Some(response) = &transaction.response {
        set("server.bytes", json!(response.bytes));
    }
    if let [message] = transaction.errors.as_slice() {
        set("error.message", json!(message));
    }
    document
}

fn flatten(prefix: &str, fields: &Fields, document: &mut Document) {
    for (name, value) in fields.iter() {
        let name = format!("{prefix}{name}");
        match value {
            Value::Object(below) => flatten(&format!("{name}."), below, document),
            value => {
                document.insert(name, to_json(value));
            }
        }
    }
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(yes) => json!(yes),
        Value::Int(number) => json!(number),
        Value::Uint(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::Time(ts_ns) => json!(rfc3339_millis(*ts_ns)),
        Value::List(values) => values.iter().map(to_json).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.to_owned(), to_json(value))).collect()
        }
        other => panic!("{other:?} is in no field of HTTP or TLS"),
    }
}
