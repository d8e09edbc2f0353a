//! Times as runtimes write them (RFC 3339).

/// Nanoseconds since 1970-01-01T00:00:00 UTC; `None` for what is no time after that.
pub(super) fn realtime_ns(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let is_divided = [(4, "-"), (7, "-"), (13, ":"), (16, ":")]
        .iter()
        .all(|(at, divider)| text.get(*at..*at + 1) == Some(*divider));
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !is_divided || !matches!(text.get(10..11)?, "T" | "t" | " ") {
        return None;
    }
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|other: char| !other.is_ascii_digit())?),
        None => ("", rest),
    };
    let nanoseconds: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let offset_s = match zone {
        "Z" | "z" => 0,
        _ => {
            let (sign, clock) = zone.split_at_checked(1)?;
            let (hours, minutes) = clock.split_once(':')?;
            let seconds = hours.parse::<u8>().ok()? as i64 * 3600 + minutes.parse::<u8>().ok()? as i64 * 60;
            match sign {
                "+" => seconds,
                "-" => -seconds,
                _ => return None,
            }
        }
    };
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset_s;
    u64::try_from(seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)?).ok()
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that a leap day is a year's last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_fractions_and_zones() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-02-29T12:00:00.5Z", 1_709_208_000_500_000_000),
            ("2024-02-29T12:00:00.123456789Z", 1_709_208_000_123_456_789),
            ("2024-02-29T14:30:00+02:30", 1_709_208_000_000_000_000),
            ("2000-03-01T00:00:00-01:00", 951_872_400_000_000_000),
            ("2024-02-29T12:00:00.1234567891Z", 1_709_208_000_123_456_789),
        ] {
            assert_eq!(realtime_ns(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn whatever_else_is_no_time() {
        for text in [
            "",
            "0001-01-01T00:00:00Z",
            "2024-02-29",
            "2024-13-29T12:00:00Z",
            "2024-02-29T12:00:00",
            "2024-02-29T12:00:00.Z5",
            "2024-02-29T12:00:00.5",
            "2024-02-29T12:00:00+0200",
            "+024-02-29T12:00:00Z",
            "2024/02/29T12:00:00Z",
            "9999-12-31T23:59:59Z",
            "2024-02-2éT12:00:00Z",
        ] {
            assert_eq!(realtime_ns(text), None, "{text}");
        }
    }
}
