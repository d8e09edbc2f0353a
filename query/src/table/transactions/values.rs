//! Columns of a protocol's own fields: from trees of values to arrays of one type.

use std::net::Ipv6Addr;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeBinaryBuilder, Float64Array, Int64Array, ListArray, ListBuilder,
    MapBuilder, StringArray, StringBuilder, StructArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields as ArrowFields};
use kcap_dissect::protocol::{Column, Kind, Value};

use crate::export::json::json_text;
use crate::table::column::timestamp_type;
use crate::table::types::{ADDRESS_LEN, address_bytes, address_field};

/// Name and type of a column.
pub(super) fn field(column: &Column) -> Field {
    match column.kind {
        Kind::Ip => address_field(column.path),
        kind => Field::new(column.path, data_type(kind), true),
    }
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Bool => DataType::Boolean,
        Kind::Int => DataType::Int64,
        Kind::Uint => DataType::UInt64,
        Kind::Float => DataType::Float64,
        Kind::Time => timestamp_type(),
        Kind::Texts => DataType::new_list(DataType::Utf8, true),
        Kind::Objects(columns) => DataType::new_list(DataType::Struct(fields(columns)), true),
        Kind::Map => map_type(),
        // Text, JSON, and what a later version of the dissector adds.
        _ => DataType::Utf8,
    }
}

fn fields(columns: &[Column]) -> ArrowFields {
    columns.iter().map(field).collect()
}

fn map_type() -> DataType {
    let entries = ArrowFields::from(vec![
        Field::new("keys", DataType::Utf8, false),
        Field::new("values", DataType::Utf8, true),
    ]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

/// The values as an array of the column's type. What has another type is converted where that loses nothing, and else null.
pub(super) fn array(column: &Column, values: &[Option<&Value>]) -> ArrayRef {
    match column.kind {
        Kind::Bool => Arc::new(values.iter().map(|value| as_bool((*value)?)).collect::<BooleanArray>()),
        Kind::Int => Arc::new(values.iter().map(|value| as_int((*value)?)).collect::<Int64Array>()),
        Kind::Uint => Arc::new(values.iter().map(|value| as_uint((*value)?)).collect::<UInt64Array>()),
        Kind::Float => Arc::new(values.iter().map(|value| as_float((*value)?)).collect::<Float64Array>()),
        Kind::Time => {
            let times: TimestampNanosecondArray = values.iter().map(|value| as_time((*value)?)).collect();
            Arc::new(times.with_timezone("UTC"))
        }
        Kind::Ip => addresses(values),
        Kind::Texts => texts(values),
        Kind::Objects(columns) => objects(columns, values),
        Kind::Map => map(values),
        Kind::Json => {
            Arc::new(values.iter().map(|value| Some(json_text((*value)?))).collect::<StringArray>())
        }
        _ => Arc::new(values.iter().map(|value| as_text((*value)?)).collect::<StringArray>()),
    }
}

fn as_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        _ => None,
    }
}

fn as_int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(value) => Some(*value),
        Value::Uint(value) => i64::try_from(*value).ok(),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn as_uint(value: &Value) -> Option<u64> {
    match value {
        Value::Text(text) => text.parse().ok(),
        other => other.as_u64(),
    }
}

#[allow(clippy::cast_precision_loss)]
fn as_float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(value) => Some(*value),
        Value::Int(value) => Some(*value as f64),
        Value::Uint(value) => Some(*value as f64),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn as_time(value: &Value) -> Option<i64> {
    match value {
        Value::Time(ts_ns) => Some(*ts_ns),
        _ => None,
    }
}

fn as_address(value: &Value) -> Option<[u8; ADDRESS_LEN]> {
    match value {
        Value::Ip(address) => Some(*address),
        Value::Text(text) => text.parse().ok().map(address_bytes),
        _ => None,
    }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Text(text) => Some(text.clone()),
        Value::Ip(address) => Some(Ipv6Addr::from(*address).to_canonical().to_string()),
        other => Some(json_text(other)),
    }
}

fn addresses(values: &[Option<&Value>]) -> ArrayRef {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(values.len(), 16);
    for value in values {
        match value.and_then(as_address) {
            Some(address) => builder.append_value(address).expect("addresses have the width of the column"),
            None => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

fn texts(values: &[Option<&Value>]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for value in values {
        match value {
            None | Some(Value::Null) => builder.append_null(),
            Some(Value::List(texts)) => builder.append_value(texts.iter().map(as_text)),
            Some(one) => builder.append_value([as_text(one)]),
        }
    }
    Arc::new(builder.finish())
}

/// Lists of objects: the objects of all rows one after the other, a column for each field of theirs.
fn objects(columns: &'static [Column], values: &[Option<&Value>]) -> ArrayRef {
    let (mut lengths, mut is_present, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for value in values {
        let before = all.len();
        match value {
            Some(Value::List(objects)) => all.extend(objects),
            Some(object @ Value::Object(_)) => all.push(*object),
            _ => {}
        }
        is_present.push(matches!(value, Some(Value::List(_) | Value::Object(_))));
        lengths.push(all.len() - before);
    }
    let part = |column: &Column| {
        let values: Vec<_> = all
            .iter()
            .map(|object| match object {
                Value::Object(fields) => fields.value(column.path),
                _ => None,
            })
            .collect();
        array(column, &values)
    };
    let fields = fields(columns);
    let structs = StructArray::new(fields.clone(), columns.iter().map(part).collect(), None);
    let item = Arc::new(Field::new_list_field(DataType::Struct(fields), true));
    let nulls = NullBuffer::from(is_present);
    Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(lengths), Arc::new(structs), Some(nulls)))
}

fn map(values: &[Option<&Value>]) -> ArrayRef {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for value in values {
        let is_present = match value {
            Some(Value::Object(fields)) => {
                for (name, value) in fields.iter() {
                    builder.keys().append_value(name);
                    builder.values().append_option(as_text(value));
                }
                true
            }
            _ => false,
        };
        builder.append(is_present).expect("each key was given a value");
    }
    Arc::new(builder.finish())
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    use kcap_dissect::protocol::Fields;

    use super::*;

    /// The array, whose type must be the column's, as text row by row.
    fn shown(column: Column, values: &[Option<Value>]) -> Vec<String> {
        let values: Vec<_> = values.iter().map(Option::as_ref).collect();
        let array = array(&column, &values);
        assert_eq!(array.data_type(), field(&column).data_type());
        let options = FormatOptions::default().with_null("-");
        let formatter = ArrayFormatter::try_new(&array, &options).unwrap();
        (0..array.len()).map(|row| formatter.value(row).to_string()).collect()
    }

    #[test]
    fn values_are_converted_where_nothing_is_lost() {
        let values = [Some(Value::Uint(7)), Some(Value::from("8")), Some(Value::from("x")), None];
        assert_eq!(shown(Column::uint("a", ""), &values), ["7", "8", "-", "-"]);
        assert_eq!(shown(Column::text("a", ""), &values), ["7", "8", "x", "-"]);
        assert_eq!(shown(Column::int("a", ""), &[Some(Value::Uint(u64::MAX))]), ["-"]);
    }

    #[test]
    fn lists_and_objects() {
        let list = |texts: &[&str]| Some(Value::list(texts.iter().copied()));
        let values = [list(&["a", "b"]), None, list(&[]), Some(Value::from("c"))];
        assert_eq!(shown(Column::texts("a", ""), &values), ["[a, b]", "-", "[]", "[c]"]);

        const RECORD: &[Column] = &[Column::text("name", "x"), Column::uint("ttl", "x")];
        let mut record = Fields::new();
        record.set("name", "n");
        record.set("ttl", "60");
        record.set("left", "out");
        let values = [Some(Value::List(vec![record.into()])), None];
        assert_eq!(shown(Column::objects("a", RECORD, ""), &values), ["[{name: n, ttl: 60}]", "-"]);
    }

    #[test]
    fn names_from_the_wire_are_keys() {
        let mut headers = Fields::new();
        headers.set_key("x.y", "1");
        headers.set_key("host", Value::list(["a", "b"]));
        let values = [Some(Value::Object(headers)), None];
        assert_eq!(shown(Column::map("a", ""), &values), [r#"{x.y: 1, host: ["a","b"]}"#, "-"]);
    }
}
