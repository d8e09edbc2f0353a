//! A table as a list of columns: name, type, meaning, and how its values come out of the rows.
//!
//! One list is the schema, the documentation (`spec/tables.md`) and the code that fills batches, so that they cannot
//! disagree; a projection is a choice from the list.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryViewBuilder, BooleanArray, DictionaryArray, FixedSizeBinaryBuilder,
    Int8Array, ListBuilder, MapBuilder, MapFieldNames, PrimitiveArray, StringArray, StringBuilder,
    StringDictionaryBuilder, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};

use super::types::{ADDRESS_LEN, MAC_LEN, address_field, mac_field};

/// Fills a column for the rows of a source that were chosen, in their order.
type Build<S> = Box<dyn Fn(&S, &[u32]) -> ArrayRef + Send + Sync>;
/// Tells how many bytes of text a row has.
type TextLen<S> = Box<dyn Fn(&S, usize) -> usize + Send + Sync>;

/// A column over rows of source `S`.
pub(crate) struct Column<S: ?Sized> {
    /// Name and type.
    pub(crate) field: Field,
    /// What a value means, its unit, and when it is null.
    pub(crate) description: &'static str,
    build: Build<S>,
    /// For texts of any length.
    text_len: Option<TextLen<S>>,
}

impl<S: ?Sized> std::fmt::Debug for Column<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Column").field("field", &self.field).finish_non_exhaustive()
    }
}

impl<S: ?Sized + 'static> Column<S> {
    /// A column of other values than long texts.
    fn new(field: Field, description: &'static str, build: Build<S>) -> Self {
        Self { field, description, build, text_len: None }
    }

    /// The values of the chosen rows.
    pub(crate) fn build(&self, source: &S, rows: &[u32]) -> ArrayRef {
        (self.build)(source, rows)
    }

    /// Bytes of text that a row has, where they may be many: an array holds no more than 2 GiB.
    pub(crate) fn text_len(&self, source: &S, row: usize) -> usize {
        self.text_len.as_ref().map_or(0, |text_len| text_len(source, row))
    }

    /// Says that the column is never null.
    #[must_use]
    pub(crate) fn required(mut self) -> Self {
        self.field = self.field.with_nullable(false);
        self
    }

    /// Integers of an Arrow type.
    pub(crate) fn number<T: ArrowPrimitiveType>(
        name: &str,
        description: &'static str,
        value: impl Fn(&S, usize) -> Option<T::Native> + Send + Sync + 'static,
    ) -> Self {
        let build = move |source: &S, rows: &[u32]| {
            Arc::new(rows.iter().map(|row| value(source, *row as usize)).collect::<PrimitiveArray<T>>())
                as ArrayRef
        };
        Self::new(Field::new(name, T::DATA_TYPE, true), description, Box::new(build))
    }

    /// Times: nanoseconds since 1970 in UTC.
    pub(crate) fn timestamp(
        name: &str,
        description: &'static str,
        value: impl Fn(&S, usize) -> Option<i64> + Send + Sync + 'static,
    ) -> Self {
        let data_type = timestamp_type();
        let build = move |source: &S, rows: &[u32]| {
            let values: TimestampNanosecondArray =
                rows.iter().map(|row| value(source, *row as usize)).collect();
            Arc::new(values.with_timezone("UTC")) as ArrayRef
        };
        Self::new(Field::new(name, data_type, true), description, Box::new(build))
    }

    /// True or false.
    pub(crate) fn boolean(
        name: &str,
        description: &'static str,
        value: impl Fn(&S, usize) -> Option<bool> + Send + Sync + 'static,
    ) -> Self {
        let build = move |source: &S, rows: &[u32]| {
            Arc::new(rows.iter().map(|row| value(source, *row as usize)).collect::<BooleanArray>())
                as ArrayRef
        };
        Self::new(Field::new(name, DataType::Boolean, true), description, Box::new(build))
    }

    /// Text that seldom repeats.
    pub(crate) fn text(
        name: &str,
        description: &'static str,
        value: impl for<'a> Fn(&'a S, usize) -> Option<&'a str> + Send + Sync + 'static,
    ) -> Self {
        let value = Arc::new(value);
        let of_row = Arc::clone(&value);
        let build = move |source: &S, rows: &[u32]| {
            let mut builder = StringBuilder::with_capacity(rows.len(), rows.len() * 16);
            rows.iter().for_each(|row| builder.append_option(value(source, *row as usize)));
            Arc::new(builder.finish()) as ArrayRef
        };
        let text_len = move |source: &S, row| of_row(source, row).map_or(0, str::len);
        Self {
            text_len: Some(Box::new(text_len)),
            ..Self::new(Field::new(name, DataType::Utf8, true), description, Box::new(build))
        }
    }

    /// Text that is made for each row, and is seldom there.
    pub(crate) fn rare_text(
        name: &str,
        description: &'static str,
        value: impl Fn(&S, usize) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let build = move |source: &S, rows: &[u32]| {
            Arc::new(rows.iter().map(|row| value(source, *row as usize)).collect::<StringArray>()) as ArrayRef
        };
        Self::new(Field::new(name, DataType::Utf8, true), description, Box::new(build))
    }

    /// Text that repeats from row to row, as a dictionary.
    pub(crate) fn repeated_text(
        name: &str,
        description: &'static str,
        value: impl for<'a> Fn(&'a S, usize) -> Option<&'a str> + Send + Sync + 'static,
    ) -> Self {
        let build = move |source: &S, rows: &[u32]| {
            let mut builder = StringDictionaryBuilder::<Int32Type>::new();
            rows.iter().for_each(|row| builder.append_option(value(source, *row as usize)));
            Arc::new(builder.finish()) as ArrayRef
        };
        let data_type = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        Self::new(Field::new(name, data_type, true), description, Box::new(build))
    }

    /// One of a few names, given by its place in `names`.
    pub(crate) fn enumeration(
        name: &str,
        names: &'static [&'static str],
        description: &'static str,
        value: impl Fn(&S, usize) -> Option<usize> + Send + Sync + 'static,
    ) -> Self {
        let values: ArrayRef = Arc::new(StringArray::from_iter_values(names));
        let build = move |source: &S, rows: &[u32]| {
            let key = |row: &u32| value(source, *row as usize).filter(|key| *key < names.len());
            let keys: Int8Array =
                rows.iter().map(|row| key(row).and_then(|key| i8::try_from(key).ok())).collect();
            Arc::new(DictionaryArray::new(keys, Arc::clone(&values))) as ArrayRef
        };
        let data_type = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        Self::new(Field::new(name, data_type, true), description, Box::new(build))
    }

    /// Addresses: 16 bytes, IPv4 mapped into IPv6.
    pub(crate) fn address(
        name: &str,
        description: &'static str,
        value: impl Fn(&S, usize) -> Option<[u8; ADDRESS_LEN]> + Send + Sync + 'static,
    ) -> Self {
        Self::new(address_field(name), description, fixed_bytes(value))
    }

    /// MAC addresses: 6 bytes.
    pub(crate) fn mac(
        name: &str,
        description: &'static str,
        value: impl Fn(&S, usize) -> Option<[u8; MAC_LEN]> + Send + Sync + 'static,
    ) -> Self {
        Self::new(mac_field(name), description, fixed_bytes(value))
    }

    /// Bytes of any length.
    pub(crate) fn bytes(
        name: &str,
        description: &'static str,
        value: impl for<'a> Fn(&'a S, usize) -> Option<&'a [u8]> + Send + Sync + 'static,
    ) -> Self {
        let build = move |source: &S, rows: &[u32]| {
            let mut builder = BinaryViewBuilder::with_capacity(rows.len());
            rows.iter().for_each(|row| builder.append_option(value(source, *row as usize)));
            Arc::new(builder.finish()) as ArrayRef
        };
        Self::new(Field::new(name, DataType::BinaryView, true), description, Box::new(build))
    }

    /// A list of texts.
    pub(crate) fn text_list(
        name: &str,
        description: &'static str,
        value: impl for<'a> Fn(&'a S, usize) -> Option<&'a [String]> + Send + Sync + 'static,
    ) -> Self {
        let value = Arc::new(value);
        let of_row = Arc::clone(&value);
        let list = Self::list(name, description, move |source, row, builder| match value(source, row) {
            Some(texts) => builder.append_value(texts.iter().map(Some)),
            None => builder.append_null(),
        });
        let text_len =
            move |source: &S, row| of_row(source, row).into_iter().flatten().map(String::len).sum();
        Self { text_len: Some(Box::new(text_len)), ..list }
    }

    /// A list of names; null for none.
    pub(crate) fn names(
        name: &str,
        description: &'static str,
        value: impl for<'a> Fn(&'a S, usize) -> Vec<Cow<'a, str>> + Send + Sync + 'static,
    ) -> Self {
        Self::list(name, description, move |source, row, builder| match &value(source, row)[..] {
            [] => builder.append_null(),
            names => builder.append_value(names.iter().map(Some)),
        })
    }

    fn list(
        name: &str,
        description: &'static str,
        append: impl Fn(&S, usize, &mut ListBuilder<StringBuilder>) + Send + Sync + 'static,
    ) -> Self {
        let build = move |source: &S, rows: &[u32]| {
            let mut builder = ListBuilder::new(StringBuilder::new());
            for row in rows {
                append(source, *row as usize, &mut builder);
            }
            Arc::new(builder.finish()) as ArrayRef
        };
        let data_type = DataType::new_list(DataType::Utf8, true);
        Self::new(Field::new(name, data_type, true), description, Box::new(build))
    }

    /// Texts by name.
    pub(crate) fn text_map(
        name: &str,
        description: &'static str,
        value: impl for<'a> Fn(&'a S, usize) -> Option<&'a BTreeMap<String, String>> + Send + Sync + 'static,
    ) -> Self {
        let value = Arc::new(value);
        let of_row = Arc::clone(&value);
        let text_len = move |source: &S, row| {
            let texts = of_row(source, row).into_iter().flatten();
            texts.map(|(key, text)| key.len() + text.len()).sum()
        };
        let build = move |source: &S, rows: &[u32]| {
            let mut builder =
                MapBuilder::new(Some(map_field_names()), StringBuilder::new(), StringBuilder::new());
            for row in rows {
                let texts = value(source, *row as usize);
                for (key, text) in texts.into_iter().flatten() {
                    builder.keys().append_value(key);
                    builder.values().append_value(text);
                }
                builder.append(texts.is_some()).expect("as many keys as values");
            }
            Arc::new(builder.finish()) as ArrayRef
        };
        let names = map_field_names();
        let entries = Field::new_struct(
            names.entry,
            vec![Field::new(names.key, DataType::Utf8, false), Field::new(names.value, DataType::Utf8, true)],
            false,
        );
        let data_type = DataType::Map(Arc::new(entries), false);
        Self {
            text_len: Some(Box::new(text_len)),
            ..Self::new(Field::new(name, data_type, true), description, Box::new(build))
        }
    }
}

/// As Parquet calls the parts of a map.
fn map_field_names() -> MapFieldNames {
    MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() }
}

/// The type of every time: nanoseconds in UTC.
#[must_use]
pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// The schema that the columns make.
#[must_use]
pub(crate) fn schema_of<S: ?Sized>(columns: &[Column<S>]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>()))
}

fn fixed_bytes<S: ?Sized, const LEN: usize>(
    value: impl Fn(&S, usize) -> Option<[u8; LEN]> + Send + Sync + 'static,
) -> Build<S> {
    Box::new(move |source: &S, rows: &[u32]| {
        let width = i32::try_from(LEN).expect("widths are small constants");
        let mut builder = FixedSizeBinaryBuilder::with_capacity(rows.len(), width);
        for row in rows {
            match value(source, *row as usize) {
                Some(bytes) => builder.append_value(bytes).expect("the array has the width of the column"),
                None => builder.append_null(),
            }
        }
        Arc::new(builder.finish()) as ArrayRef
    })
}
