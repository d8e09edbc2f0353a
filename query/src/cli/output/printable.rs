//! Makes text of the types that text formats have no form for.
//!
//! The extension type in a field's metadata gets lost in aggregates (`min(src_ip)`, `array_agg(src_ip)`), so the type of
//! the values decides: in kcap's tables bytes of 16 are addresses and bytes of 6 are MAC addresses, and nothing else is
//! of a fixed size.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, RecordBatch, RecordBatchOptions, StringArray, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampNanosecondType};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::time_text::TimeText;
use crate::cli::escape::{escaped, escaped_lines};
use crate::table::column::timestamp_type;
use crate::table::types::{ADDRESS_TYPE, MAC_TYPE, mac_text, write_address};

/// Bytes of a value that a table shows; the rest is counted.
const TABLE_BYTES_MAX: usize = 32;

/// What the text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Style {
    /// For people: long bytes are cut, and control characters spelled out.
    Table,
    /// As `Table`, for text of many lines that the engine wrote.
    Plan,
    /// For programs, without nested values.
    Csv,
    /// For programs.
    Json,
}

impl Style {
    fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Plan)
    }
}

/// The batch with text in place of addresses, and of bytes where the style cannot show them.
pub(super) fn printable(batch: &RecordBatch, style: Style) -> Result<RecordBatch, ArrowError> {
    let columns =
        batch.columns().iter().map(|column| printable_array(column, style)).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(printable_schema(batch.schema_ref(), style), columns, &options)
}

/// The schema of what [`printable`] makes.
pub(super) fn printable_schema(schema: &SchemaRef, style: Style) -> SchemaRef {
    let field = |field: &Arc<Field>| Field::new(field.name(), printable_type(field.data_type(), style), true);
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::BinaryView | DataType::LargeBinary)
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

fn printable_type(data_type: &DataType, style: Style) -> DataType {
    match data_type {
        address if *address == ADDRESS_TYPE || *address == MAC_TYPE => DataType::Utf8,
        bytes if is_bytes(bytes) => DataType::Utf8,
        time if style == Style::Csv && *time == timestamp_type() => DataType::Utf8,
        text if style.is_for_people() && is_text(text) => DataType::Utf8,
        DataType::List(_) if style == Style::Csv => DataType::Utf8,
        DataType::List(item) => {
            DataType::List(Arc::new(Field::new(item.name(), printable_type(item.data_type(), style), true)))
        }
        other => other.clone(),
    }
}

fn printable_array(array: &ArrayRef, style: Style) -> Result<ArrayRef, ArrowError> {
    let data_type = array.data_type();
    if *data_type == ADDRESS_TYPE {
        let mut texts = StringBuilder::with_capacity(array.len(), array.len() * 16);
        for bytes in array.as_fixed_size_binary() {
            match bytes.and_then(|bytes| bytes.try_into().ok()) {
                Some(bytes) => {
                    write_address(&mut texts, bytes).expect("a builder takes every write");
                    texts.append_value("");
                }
                None => texts.append_null(),
            }
        }
        return Ok(Arc::new(texts.finish()));
    }
    if style == Style::Csv && *data_type == timestamp_type() {
        let mut texts = StringBuilder::with_capacity(array.len(), array.len() * 30);
        let mut text = TimeText::new();
        for time in array.as_primitive::<TimestampNanosecondType>() {
            texts.append_option(time.map(|time| text.of(time)));
        }
        return Ok(Arc::new(texts.finish()));
    }
    if *data_type == MAC_TYPE {
        let texts: StringArray =
            array.as_fixed_size_binary().iter().map(|bytes| bytes.map(mac_text)).collect();
        return Ok(Arc::new(texts));
    }
    if is_bytes(data_type) {
        let views = cast(array, &DataType::BinaryView)?;
        let bytes_max = if style.is_for_people() { TABLE_BYTES_MAX } else { usize::MAX };
        let texts: StringArray = views
            .as_binary_view()
            .iter()
            .map(|bytes| bytes.map(|bytes| bytes_text(bytes, bytes_max)))
            .collect();
        return Ok(Arc::new(texts));
    }
    if style.is_for_people() && is_text(data_type) {
        let escape = if style == Style::Plan { escaped_lines } else { escaped };
        let texts = cast(array, &DataType::Utf8)?;
        let texts: StringArray = texts.as_string::<i32>().iter().map(|text| text.map(escape)).collect();
        return Ok(Arc::new(texts));
    }
    let DataType::List(item) = data_type else { return Ok(Arc::clone(array)) };
    let list = array.as_list::<i32>();
    let values = printable_array(list.values(), style)?;
    let field = Arc::new(Field::new(item.name(), values.data_type().clone(), true));
    let list =
        GenericListArray::<i32>::try_new(field, list.offsets().clone(), values, list.nulls().cloned())?;
    if style != Style::Csv {
        return Ok(Arc::new(list));
    }
    let formatter_options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(&list, &formatter_options)?;
    let text = |row| list.is_valid(row).then(|| formatter.value(row).to_string());
    Ok(Arc::new((0..list.len()).map(text).collect::<StringArray>()))
}

/// Hexadecimal digits; what is more than `bytes_max` is counted.
fn bytes_text(bytes: &[u8], bytes_max: usize) -> String {
    let shown = &bytes[..bytes.len().min(bytes_max)];
    let mut text = String::with_capacity(shown.len() * 2);
    shown.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a string takes every write"));
    if shown.len() < bytes.len() {
        write!(text, "… ({} bytes)", bytes.len()).expect("a string takes every write");
    }
    text
}
