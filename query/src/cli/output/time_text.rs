//! Times as text, as Arrow's own formatter writes them: for millions of rows that one takes too long.

use kcap_dissect::protocol::time::civil_from_days;

const SECOND_NS: i64 = 1_000_000_000;
const DAY_S: i64 = 86_400;
/// `2026-01-31T00:00:00.123456789Z`. All times that nanoseconds of 64 bits reach have years of four digits.
const TEXT_LEN_MAX: usize = 30;
const FRACTION_START: usize = 20;

/// Writes one time after the other.
pub(super) struct TimeText {
    /// The second that `bytes` say, since 1970.
    second: i64,
    bytes: [u8; TEXT_LEN_MAX],
}

impl TimeText {
    pub(super) fn new() -> Self {
        let mut text = Self { second: 0, bytes: *b"1970-01-01T00:00:00.000000000Z" };
        text.set_second(0);
        text
    }

    /// The text of a time in nanoseconds since 1970 (RFC 3339), with as many groups of three digits behind the point as it has.
    pub(super) fn of(&mut self, ts_ns: i64) -> &str {
        let second = ts_ns.div_euclid(SECOND_NS);
        if second != self.second {
            self.set_second(second);
        }
        let fraction_ns = ts_ns.rem_euclid(SECOND_NS) as u32;
        let digits = match fraction_ns {
            0 => 0,
            millis if millis % 1_000_000 == 0 => 3,
            micros if micros % 1_000 == 0 => 6,
            _ => 9,
        };
        let mut rest = fraction_ns;
        for place in self.bytes[FRACTION_START..FRACTION_START + 9].iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let end = if digits == 0 { FRACTION_START - 1 } else { FRACTION_START + digits };
        self.bytes[FRACTION_START - 1] = b'.';
        self.bytes[end] = b'Z';
        std::str::from_utf8(&self.bytes[..=end]).unwrap_or_default()
    }

    fn set_second(&mut self, second: i64) {
        self.second = second;
        let (year, month, day) = civil_from_days(second.div_euclid(DAY_S));
        // It is not negative, and less than a day.
        let of_day = second.rem_euclid(DAY_S) as u32;
        let year = year as u32;
        let pairs =
            [year / 100, year % 100, month, day, of_day / 3600, of_day / 60 % 60, of_day % 60].map(pair);
        for (at, pair) in [0, 2, 5, 8, 11, 14, 17].into_iter().zip(pairs) {
            self.bytes[at..at + 2].copy_from_slice(&pair);
        }
    }
}

/// Two digits of a number below 100.
fn pair(number: u32) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::TimestampNanosecondArray;
    use arrow::util::display::{ArrayFormatter, FormatOptions};

    use super::*;

    #[test]
    fn times_are_those_of_arrow() {
        let day_ns = DAY_S * SECOND_NS;
        let mut times =
            vec![i64::MIN, i64::MAX, 0, -1, 1, 1_000, 1_000_000, 120_000_000, SECOND_NS, -SECOND_NS];
        times.extend((-700..700).map(|step| step * 131 * day_ns + step * 7_777_777_000));
        times.extend((0..100).map(|step| 1_780_000_000 * SECOND_NS + step * 123_456_789));
        let array = TimestampNanosecondArray::from(times.clone()).with_timezone(Arc::from("UTC"));
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(&array, &options).unwrap();
        let mut text = TimeText::new();
        for (row, time) in times.into_iter().enumerate() {
            assert_eq!(text.of(time), formatter.value(row).to_string());
        }
    }
}
