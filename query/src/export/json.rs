//! Fields of transactions as JSON.

use std::net::Ipv6Addr;

use kcap_dissect::protocol::time::rfc3339_millis;
use kcap_dissect::protocol::{Fields, Value};
use serde_json::Number;

/// A value as JSON text.
#[must_use]
pub fn json_text(value: &Value) -> String {
    let mut text = String::new();
    push_value(&mut text, value);
    text
}

/// An object as JSON text, in the order of its fields.
#[must_use]
pub fn json_object(fields: &Fields) -> String {
    let mut text = String::new();
    push_object(&mut text, fields);
    text
}

fn push_value(text: &mut String, value: &Value) {
    match value {
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Int(number) => text.push_str(&number.to_string()),
        Value::Uint(number) => text.push_str(&number.to_string()),
        // JSON has no infinity.
        Value::Float(number) => match Number::from_f64(*number) {
            Some(number) => text.push_str(&number.to_string()),
            None => text.push_str("null"),
        },
        Value::Text(value) => push_text(text, value),
        Value::Time(ts_ns) => push_text(text, &rfc3339_millis(*ts_ns)),
        Value::Ip(address) => push_text(text, &Ipv6Addr::from(*address).to_canonical().to_string()),
        Value::List(values) => {
            text.push('[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                push_value(text, value);
            }
            text.push(']');
        }
        Value::Object(fields) => push_object(text, fields),
        // Null, and what a later version of the dissector adds.
        _ => text.push_str("null"),
    }
}

fn push_object(text: &mut String, fields: &Fields) {
    text.push('{');
    for (place, (name, value)) in fields.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        push_text(text, name);
        text.push(':');
        push_value(text, value);
    }
    text.push('}');
}

fn push_text(text: &mut String, value: &str) {
    text.push_str(&serde_json::Value::from(value).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value() {
        let mut fields = Fields::new();
        fields.set("a.b", "x\"\n\u{1}");
        fields.set("a.c", Value::list([1_u8, 2]));
        fields.set("t", Value::Time(1_445_287_763_817_999_999));
        fields.set("ip", Value::Ip([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1]));
        fields.set("n", Value::Null);
        fields.set("f", f64::INFINITY);
        fields.set("big", u64::MAX);
        assert_eq!(
            json_object(&fields),
            r#"{"a":{"b":"x\"\n\u0001","c":[1,2]},"t":"2015-10-19T20:49:23.817Z","ip":"10.0.0.1","n":null,"f":null,"big":18446744073709551615}"#
        );
    }
}
