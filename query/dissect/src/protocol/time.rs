//! Days of the calendar, for protocols that write times as text.

/// Year, month and day of a day that is counted from 1970-01-01, in the Gregorian calendar: the algorithm of Howard Hinnant,
/// "chrono-compatible low-level date algorithms", `civil_from_days`.
#[must_use]
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    const DAYS_OF_ERA: i64 = 146_097;
    let shifted = days + 719_468;
    let era = shifted.div_euclid(DAYS_OF_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_OF_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // Both are small: a month and a day of one.
    (year, month as u32, day as u32)
}

/// A point in time as documents have it: `2015-10-19T20:49:23.817Z`, cut to milliseconds.
#[must_use]
pub fn rfc3339_millis(ts_ns: i64) -> String {
    const DAY_NS: i64 = 86_400_000_000_000;
    let (year, month, day) = civil_from_days(ts_ns.div_euclid(DAY_NS));
    let millis = ts_ns.rem_euclid(DAY_NS) / 1_000_000;
    let (seconds, millis) = (millis / 1000, millis % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(civil_from_days(-1), (1969, 12, 31));
        assert_eq!(civil_from_days(11_016), (2000, 2, 29));
        assert_eq!(civil_from_days(20_000), (2024, 10, 4));
    }

    #[test]
    fn points_in_time() {
        assert_eq!(rfc3339_millis(1_445_287_763_817_999_999), "2015-10-19T20:49:23.817Z");
        assert_eq!(rfc3339_millis(-1), "1969-12-31T23:59:59.999Z");
    }
}
