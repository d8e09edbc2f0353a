//! Values of the binary protocol as text: parameters of prepared statements, and rows of their results.

use std::fmt::Write as _;

use super::super::sql::Reader;
use super::constants::field_type;
use super::view::length_encoded_bytes;

/// A type with its sign, as parameters have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ValueType {
    /// One of [`field_type`].
    pub(super) field_type: u8,
    pub(super) is_unsigned: bool,
}

/// The next value, as the server's own client would print it. `None` if it isn't whole.
pub(super) fn value_text(reader: &mut Reader<'_>, value_type: ValueType) -> Option<String> {
    let unsigned = value_type.is_unsigned;
    Some(match value_type.field_type {
        field_type::NULL => "NULL".to_owned(),
        field_type::TINY => {
            let byte = reader.u8()?;
            if unsigned { byte.to_string() } else { byte.cast_signed().to_string() }
        }
        field_type::SHORT | field_type::YEAR => {
            let number = reader.u16_le()?;
            if unsigned { number.to_string() } else { number.cast_signed().to_string() }
        }
        field_type::LONG | field_type::INT24 => {
            let number = reader.u32_le()?;
            if unsigned { number.to_string() } else { number.cast_signed().to_string() }
        }
        field_type::LONGLONG => {
            let number = reader.u64_le()?;
            if unsigned { number.to_string() } else { number.cast_signed().to_string() }
        }
        field_type::FLOAT => f32::from_bits(reader.u32_le()?).to_string(),
        field_type::DOUBLE => f64::from_bits(reader.u64_le()?).to_string(),
        field_type::DATE => date_text(reader, true)?,
        field_type::DATETIME | field_type::TIMESTAMP => date_text(reader, false)?,
        field_type::TIME => time_text(reader)?,
        _ => bytes_text(length_encoded_bytes(reader)?),
    })
}

/// Passes over the next value. `None` if it isn't whole.
pub(super) fn pass_value(reader: &mut Reader<'_>, value_type: ValueType) -> Option<()> {
    let length = match value_type.field_type {
        field_type::NULL => 0,
        field_type::TINY => 1,
        field_type::SHORT | field_type::YEAR => 2,
        field_type::LONG | field_type::INT24 | field_type::FLOAT => 4,
        field_type::LONGLONG | field_type::DOUBLE => 8,
        field_type::DATE | field_type::DATETIME | field_type::TIMESTAMP | field_type::TIME => {
            reader.u8()?.into()
        }
        _ => return length_encoded_bytes(reader).map(|_| ()),
    };
    reader.take(length).map(|_| ())
}

/// Bytes as text if they are UTF-8; else in hexadecimal, as SQL writes them: `x'00ff'`.
pub(super) fn bytes_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let mut text = String::with_capacity(3 + bytes.len() * 2);
            text.push_str("x'");
            for byte in bytes {
                let _ = write!(text, "{byte:02x}");
            }
            text.push('\'');
            text
        }
    }
}

/// `2017-07-28 23:59:59.000001`: zero parts at the end aren't sent; a fraction is shown if there is one.
fn date_text(reader: &mut Reader<'_>, date_only: bool) -> Option<String> {
    let length = reader.u8()?;
    let mut fields = Reader::new(reader.take(length.into())?);
    let year = fields.u16_le().unwrap_or(0);
    let [month, day] = fields.array().unwrap_or_default();
    let date = format!("{year:04}-{month:02}-{day:02}");
    if date_only && length <= 4 {
        return Some(date);
    }
    let [hour, minute, second] = fields.array().unwrap_or_default();
    Some(format!("{date} {hour:02}:{minute:02}:{second:02}{}", fraction_text(&mut fields)))
}

/// `-838:59:59.000001`.
fn time_text(reader: &mut Reader<'_>) -> Option<String> {
    let length = reader.u8()?;
    let mut fields = Reader::new(reader.take(length.into())?);
    let sign = if fields.u8().unwrap_or(0) == 0 { "" } else { "-" };
    let days = fields.u32_le().unwrap_or(0);
    let [hour, minute, second] = fields.array().unwrap_or_default();
    let hours = u64::from(days) * 24 + u64::from(hour);
    Some(format!("{sign}{hours:02}:{minute:02}:{second:02}{}", fraction_text(&mut fields)))
}

fn fraction_text(fields: &mut Reader<'_>) -> String {
    match fields.u32_le() {
        Some(microseconds @ 1..) => format!(".{microseconds:06}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(field_type: u8, is_unsigned: bool, bytes: &[u8]) -> Option<String> {
        value_text(&mut Reader::new(bytes), ValueType { field_type, is_unsigned })
    }

    #[test]
    fn values_print_as_in_the_client() {
        for (field_type, unsigned, bytes, expected) in [
            (field_type::TINY, false, &[0xff][..], "-1"),
            (field_type::TINY, true, &[0xff], "255"),
            (field_type::SHORT, false, &[0, 0x80], "-32768"),
            (field_type::YEAR, true, &[0xe1, 7], "2017"),
            (field_type::LONG, false, &[0xfe, 0xff, 0xff, 0xff], "-2"),
            (field_type::LONGLONG, true, &[0xff; 8], "18446744073709551615"),
            (field_type::DOUBLE, false, &1.5_f64.to_le_bytes(), "1.5"),
            (field_type::FLOAT, false, &0.1_f32.to_le_bytes(), "0.1"),
            (field_type::DATE, false, &[4, 0xe1, 7, 7, 28], "2017-07-28"),
            (field_type::DATETIME, false, &[0], "0000-00-00 00:00:00"),
            (
                field_type::DATETIME,
                false,
                &[11, 0xe1, 7, 7, 28, 23, 59, 58, 7, 0, 0, 0],
                "2017-07-28 23:59:58.000007",
            ),
            (field_type::TIME, false, &[8, 1, 34, 0, 0, 0, 22, 59, 59], "-838:59:59"),
            (field_type::NULL, false, &[], "NULL"),
            (0xfd, false, b"\x03abc", "abc"),
            (0xfc, false, b"\x02\x00\xff", "x'00ff'"),
        ] {
            assert_eq!(text(field_type, unsigned, bytes).as_deref(), Some(expected));
            let mut reader = Reader::new(bytes);
            let value_type = ValueType { field_type, is_unsigned: unsigned };
            assert_eq!(pass_value(&mut reader, value_type), Some(()), "{expected}");
            assert!(reader.is_empty(), "{expected}");
            if !bytes.is_empty() {
                let cut = &bytes[..bytes.len() - 1];
                assert_eq!(text(field_type, unsigned, cut), None, "{expected} cut");
                assert_eq!(pass_value(&mut Reader::new(cut), value_type), None, "{expected} cut");
            }
        }
    }
}
