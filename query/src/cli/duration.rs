//! Durations as people write them: `30s`, `500ms`, `2m`. `kcap-record` reads them in the same way.

/// Units and their milliseconds.
const UNITS: [(&str, f64); 5] =
    [("ms", 1.0), ("s", 1000.0), ("", 1000.0), ("m", 60_000.0), ("h", 3_600_000.0)];

/// Parses a duration into milliseconds: a number, which may have a fraction, and a unit; seconds without one.
pub(super) fn parse_duration_ms(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("'{text}' is not a duration like 30s, 500ms or 2m");
    let factor =
        UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| *factor).ok_or_else(wrong)?;
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = number * factor;
    if milliseconds > i64::MAX as f64 / 1e6 { Err(wrong()) } else { Ok(milliseconds.round() as u64) }
}

/// As [`parse_duration_ms`]; -1 means never, which is 0.
pub(super) fn parse_period_ms(text: &str) -> Result<u64, String> {
    if text.trim() == "-1" { Ok(0) } else { parse_duration_ms(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units() {
        assert_eq!(parse_duration_ms("30s"), Ok(30_000));
        assert_eq!(parse_duration_ms("1.5"), Ok(1500));
        assert_eq!(parse_duration_ms("250ms"), Ok(250));
        assert_eq!(parse_duration_ms("2 m"), Ok(120_000));
        assert!(parse_duration_ms("-1").is_err());
        assert!(parse_duration_ms("soon").is_err());
        assert!(parse_duration_ms("99999999999999h").is_err());
        assert_eq!(parse_period_ms("-1"), Ok(0));
    }
}
