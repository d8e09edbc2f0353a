//! Values as text. Those in text format are it already; binary ones depend on their type (the `*send` functions of
//! PostgreSQL's `src/backend/utils/adt`).

use std::fmt::Write as _;

use super::super::sql::Reader;

/// Object ids of types (`src/include/catalog/pg_type.dat`).
mod type_id {
    pub(super) const BOOL: u32 = 16;
    pub(super) const BYTEA: u32 = 17;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const OID: u32 = 26;
    pub(super) const FLOAT4: u32 = 700;
    pub(super) const FLOAT8: u32 = 701;
    pub(super) const DATE: u32 = 1082;
    pub(super) const TIME: u32 = 1083;
    pub(super) const TIMESTAMP: u32 = 1114;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
    pub(super) const NUMERIC: u32 = 1700;
    pub(super) const UUID: u32 = 2950;
    pub(super) const JSONB: u32 = 3802;
}

/// A value as the server's client would print it. What isn't understood is in hexadecimal: `\x00ff`.
pub(super) fn value_text(bytes: &[u8], is_binary: bool, type_id: u32) -> String {
    if is_binary {
        binary_text(bytes, type_id).unwrap_or_else(|| text_or_hex(bytes))
    } else {
        super::super::text(bytes)
    }
}

fn text_or_hex(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) => {
            text.to_owned()
        }
        _ => hex(bytes),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn binary_text(bytes: &[u8], type_id: u32) -> Option<String> {
    Some(match type_id {
        type_id::BOOL => if *bytes.first()? == 0 { "f" } else { "t" }.to_owned(),
        type_id::BYTEA => hex(bytes),
        type_id::INT2 => i16::from_be_bytes(bytes.try_into().ok()?).to_string(),
        type_id::INT4 => i32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        type_id::INT8 => i64::from_be_bytes(bytes.try_into().ok()?).to_string(),
        type_id::OID => u32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        type_id::FLOAT4 => f32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        type_id::FLOAT8 => f64::from_be_bytes(bytes.try_into().ok()?).to_string(),
        type_id::DATE => date_text(i32::from_be_bytes(bytes.try_into().ok()?).into())?,
        type_id::TIME => time_text(i64::from_be_bytes(bytes.try_into().ok()?)),
        type_id::TIMESTAMP => timestamp_text(i64::from_be_bytes(bytes.try_into().ok()?))?,
        type_id::TIMESTAMPTZ => format!("{}+00", timestamp_text(i64::from_be_bytes(bytes.try_into().ok()?))?),
        type_id::NUMERIC => numeric_text(bytes)?,
        type_id::UUID => uuid_text(bytes.try_into().ok()?),
        type_id::JSONB => text_or_hex(bytes.strip_prefix(&[1])?),
        _ => return None,
    })
}

/// Days since 2000-01-01.
fn date_text(days: i64) -> Option<String> {
    const FROM_CIVIL_ERA: i64 = 730_425; // days from 0000-03-01 to 2000-01-01
    const DAYS_PER_ERA: i64 = 146_097;
    match i32::try_from(days).ok()? {
        i32::MAX => return Some("infinity".to_owned()),
        i32::MIN => return Some("-infinity".to_owned()),
        _ => {}
    }
    let shifted = days + FROM_CIVIL_ERA;
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// Microseconds since midnight.
fn time_text(microseconds: i64) -> String {
    let seconds = microseconds.div_euclid(1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let whole = format!("{hour:02}:{minute:02}:{second:02}");
    match microseconds.rem_euclid(1_000_000) {
        0 => whole,
        fraction => format!("{whole}.{fraction:06}").trim_end_matches('0').to_owned(),
    }
}

/// Microseconds since 2000-01-01.
fn timestamp_text(microseconds: i64) -> Option<String> {
    match microseconds {
        i64::MAX => return Some("infinity".to_owned()),
        i64::MIN => return Some("-infinity".to_owned()),
        _ => {}
    }
    let date = date_text(microseconds.div_euclid(MICROSECONDS_PER_DAY))?;
    Some(format!("{date} {}", time_text(microseconds.rem_euclid(MICROSECONDS_PER_DAY))))
}

fn uuid_text(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Digits to the base of 10,000, the weight of the first, the sign, and how many decimals are shown (`numeric_send`).
fn numeric_text(bytes: &[u8]) -> Option<String> {
    const NEGATIVE: u16 = 0x4000;
    const NOT_A_NUMBER: u16 = 0xc000;
    const INFINITY: u16 = 0xd000;
    const NEGATIVE_INFINITY: u16 = 0xf000;
    const SCALE_MAX: u16 = 0x3fff;
    const WEIGHT_MAX: i16 = 0x7fff / 4;
    /// Zeros before or behind the digits that are told. No column may be declared to have more digits
    /// (`NUMERIC_MAX_PRECISION`), and numbers of a few bytes can have 131,072 before the point.
    const ZEROS_MAX: usize = 1000;
    let mut reader = Reader::new(bytes);
    let count = usize::from(reader.u16_be()?);
    let weight = reader.u16_be()?.cast_signed();
    let sign = reader.u16_be()?;
    let scale = reader.u16_be()?;
    match sign {
        NOT_A_NUMBER => return Some("NaN".to_owned()),
        INFINITY => return Some("Infinity".to_owned()),
        NEGATIVE_INFINITY => return Some("-Infinity".to_owned()),
        _ => {}
    }
    let digits: Vec<u16> = reader
        .take(count * 2)?
        .chunks_exact(2)
        .map(|digit| u16::from_be_bytes([digit[0], digit[1]]))
        .collect();
    if scale > SCALE_MAX
        || !(-WEIGHT_MAX..=WEIGHT_MAX).contains(&weight)
        || digits.iter().any(|&digit| digit > 9999)
    {
        return None;
    }
    let given = count * 4;
    let integer_length = usize::try_from(weight + 1).unwrap_or(0) * 4;
    if integer_length > given + ZEROS_MAX || usize::from(scale) > given + ZEROS_MAX {
        return None;
    }
    let digit = |place: i32| {
        usize::try_from(i32::from(weight) - place).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0)
    };
    let mut text = String::new();
    for place in (0..=i32::from(weight).max(0)).rev() {
        let padded = format!("{:04}", digit(place));
        text.push_str(if text.is_empty() { padded.trim_start_matches('0') } else { &padded });
    }
    if text.is_empty() {
        text.push('0');
    }
    if scale > 0 {
        let groups = i32::from(scale.div_ceil(4));
        let decimals: String = (1..=groups).map(|place| format!("{:04}", digit(-place))).collect();
        text.push('.');
        text.push_str(&decimals[..usize::from(scale)]);
    }
    Some(if sign == NEGATIVE { format!("-{text}") } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_in_psql() {
        for (type_id, bytes, expected) in [
            (type_id::BOOL, &[1][..], "t"),
            (type_id::INT2, &[0xff, 0xfe], "-2"),
            (type_id::INT4, &[0, 0, 1, 0], "256"),
            (type_id::INT8, &[0, 0, 0, 1, 0, 0, 0, 0], "4294967296"),
            (type_id::FLOAT8, &1.5_f64.to_be_bytes(), "1.5"),
            (type_id::DATE, &0_i32.to_be_bytes(), "2000-01-01"),
            (type_id::DATE, &(-1_i32).to_be_bytes(), "1999-12-31"),
            (type_id::DATE, &59_i32.to_be_bytes(), "2000-02-29"),
            (type_id::DATE, &8826_i32.to_be_bytes(), "2024-03-01"),
            (type_id::TIMESTAMP, &86_400_500_000_i64.to_be_bytes(), "2000-01-02 00:00:00.5"),
            (type_id::TIMESTAMPTZ, &(-1_i64).to_be_bytes(), "1999-12-31 23:59:59.999999+00"),
            (type_id::TIMESTAMP, &i64::MAX.to_be_bytes(), "infinity"),
            (type_id::TIME, &3_661_000_000_i64.to_be_bytes(), "01:01:01"),
            (type_id::BYTEA, &[0, 0xff], "\\x00ff"),
            (type_id::JSONB, b"\x01{\"a\":1}", "{\"a\":1}"),
            (type_id::NUMERIC, &[0, 2, 0, 1, 0, 0, 0, 0, 0, 1, 0, 2], "10002"),
            (type_id::NUMERIC, &[0, 2, 0, 0, 0x40, 0, 0, 3, 0, 12, 0x13, 0x88], "-12.500"),
            (type_id::NUMERIC, &[0, 1, 0xff, 0xff, 0, 0, 0, 2, 0x01, 0xf4], "0.05"),
            (type_id::NUMERIC, &[0, 0, 0, 0, 0, 0, 0, 0], "0"),
            (type_id::NUMERIC, &[0, 0, 0, 0, 0xc0, 0, 0, 0], "NaN"),
            (type_id::UUID, &[0x12; 16], "12121212-1212-1212-1212-121212121212"),
            (25, b"text", "text"),
            (0, &[0, 0, 0, 5], "\\x00000005"),
            (type_id::INT4, &[5], "\\x05"),
        ] {
            assert_eq!(value_text(bytes, true, type_id), expected);
        }
        assert_eq!(value_text(b"42", false, type_id::INT4), "42");
    }

    #[test]
    fn numbers_of_absurd_size() {
        assert_eq!(numeric_text(&[0xff, 0xff, 0x7f, 0xff, 0, 0, 0xff, 0xff]), None);
        // The most that the format allows; the most zeros that are told, and one more, on either side of the point.
        assert_eq!(numeric_text(&[0, 1, 0x1f, 0xff, 0, 0, 0x3f, 0xff, 0, 1]), None);
        assert_eq!(numeric_text(&[0, 1, 0, 250, 0, 0, 0, 0, 0, 1]).map(|text| text.len()), Some(1001));
        assert_eq!(numeric_text(&[0, 1, 0, 251, 0, 0, 0, 0, 0, 1]), None);
        assert_eq!(numeric_text(&[0, 1, 0, 0, 0, 0, 0x03, 0xec, 0, 1]).map(|text| text.len()), Some(1006));
        assert_eq!(numeric_text(&[0, 1, 0, 0, 0, 0, 0x03, 0xed, 0, 1]), None);
    }
}
