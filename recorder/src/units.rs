//! Sizes and durations as people write them: `64MiB`, `10s`, `1m30s`.

use std::time::Duration;

/// Units of size and the bytes in each; the binary ones are printed.
const SIZE_UNITS: [(&str, u64); 13] = [
    ("b", 1),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
];

/// Units of time and the nanoseconds in each.
const DURATION_UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Reads a size: a number, which may have a fraction, and a unit; without a unit it counts bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let help = "write a number and a unit, e.g. 512KiB, 64MiB, 1.5GiB";
    let text = text.trim();
    let (number, unit) = split_number(text);
    let unit = unit.trim().to_ascii_lowercase();
    let factor = match SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => return Err(format!("unknown unit of size '{unit}'; {help}")),
    };
    scale(number, factor).ok_or_else(|| format!("not a size; {help}"))
}

/// Reads a duration: one or more numbers with units (`90s`, `1m30s`); without a unit it counts seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let help = "write numbers with units, e.g. 500ms, 10s, 1m30s, 2h";
    let text = text.trim();
    let mut rest = text;
    if rest.is_empty() {
        return Err(format!("no duration; {help}"));
    }
    let mut total_ns = 0_u64;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let factor = match DURATION_UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None if unit.is_empty() && number == text => 1_000_000_000,
            None => return Err(format!("unknown unit of time '{unit}'; {help}")),
        };
        total_ns = scale(number, factor)
            .and_then(|part_ns| total_ns.checked_add(part_ns))
            .ok_or_else(|| format!("not a duration; {help}"))?;
        rest = next.trim_start();
    }
    Ok(Duration::from_nanos(total_ns))
}

/// A size with three digits and a binary unit: `12.3 MiB`.
pub(crate) fn format_size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1023.5 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 99.95 { 0 } else { 1 };
    format!("{value:.digits$} {}", units[unit])
}

/// A count with thousands separated: `1,234,567`.
pub(crate) fn format_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A point in time as `YYYYMMDDTHHMMSSZ`, for file names.
pub(crate) fn format_utc_compact(realtime_ns: u64) -> String {
    let seconds = realtime_ns / 1_000_000_000;
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Year, month and day of a count of days since 1970-01-01, in the Gregorian calendar (the algorithm of
/// Howard Hinnant's `civil_from_days`, for days that are not negative).
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01, so that leap days end the year
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// `number * factor`, exact for whole numbers; `None` when it is no number or above `u64`.
fn scale(number: &str, factor: u64) -> Option<u64> {
    if !number.contains('.') {
        return number.parse::<u64>().ok()?.checked_mul(factor);
    }
    let value = number.parse::<f64>().ok()? * factor as f64;
    (value < u64::MAX as f64).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("64m"), Ok(64 << 20));
        assert_eq!(parse_size("1.5 GiB"), Ok(3 << 29));
        assert_eq!(parse_size("10MB"), Ok(10_000_000));
        for bad in ["", "MiB", "12 parsecs", "-1", "1..5", "99999999999TiB", "18446744073709551616"] {
            assert!(parse_size(bad).is_err(), "{bad} was taken for a size");
        }
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(parse_duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("0.5h"), Ok(Duration::from_secs(1800)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "s", "10x", "1m30", "99999999999d", "-5s"] {
            assert!(parse_duration(bad).is_err(), "{bad} was taken for a duration");
        }
    }

    #[test]
    fn numbers_are_printed() {
        assert_eq!(format_size(0), "0 B");
        assert_eq!(format_size(1023), "1023 B");
        assert_eq!(format_size(1 << 20), "1.0 MiB");
        assert_eq!(format_size(300 << 20), "300 MiB");
        assert_eq!(format_size(u64::MAX), "16.0 EiB");
        assert_eq!(format_count(1), "1");
        assert_eq!(format_count(123_456), "123,456");
        assert_eq!(format_count(1_234_567), "1,234,567");
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        assert_eq!(format_utc_compact(0), "19700101T000000Z");
        assert_eq!(format_utc_compact(951_782_399_000_000_000), "20000228T235959Z");
        assert_eq!(format_utc_compact(951_782_400_000_000_000), "20000229T000000Z");
        assert_eq!(format_utc_compact(4_107_542_399_000_000_000), "21000228T235959Z");
        assert_eq!(format_utc_compact(4_107_542_400_000_000_000), "21000301T000000Z");
    }
}
