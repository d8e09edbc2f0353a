//! Sizes as people write them: `512MiB`, `1.5GiB`, `2GB`, `4096`. `kcap-record` reads them in the same way.

/// Units and their bytes.
const UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("B", 1),
    ("K", 1 << 10),
    ("KIB", 1 << 10),
    ("KB", 1000),
    ("M", 1 << 20),
    ("MIB", 1 << 20),
    ("MB", 1_000_000),
    ("G", 1 << 30),
    ("GIB", 1 << 30),
    ("GB", 1_000_000_000),
    ("T", 1 << 40),
    ("TIB", 1 << 40),
    ("TB", 1_000_000_000_000),
];

/// Parses a size in bytes: a number, which may have a fraction, and a unit.
pub(super) fn parse_size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let digits =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_uppercase();
    let factor = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, bytes)| *bytes)
        .ok_or_else(|| format!("'{unit}' is not a unit; use KiB, MiB, GiB or TiB"))?;
    let bytes = if number.contains('.') {
        let bytes = number.parse::<f64>().map(|number| number * factor as f64);
        bytes.map(|bytes| (bytes < u64::MAX as f64).then_some(bytes as u64)).ok()
    } else {
        number.parse::<u64>().map(|number| number.checked_mul(factor)).ok()
    };
    bytes
        .ok_or_else(|| format!("'{text}' is not a size like 512MiB or 1.5GiB"))?
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| format!("'{text}' is more than this machine can address"))
}

/// A number of bytes for people: `3.2 MiB`.
pub(super) fn size_text(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_size("512 mib"), Ok(512 << 20));
        assert_eq!(parse_size("2GB"), Ok(2_000_000_000));
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("1.5 GiB"), Ok(3 << 29));
        assert_eq!(parse_size(".5t"), Ok(1 << 39));
        assert_eq!(parse_size("2TiB"), Ok(2 << 40));
        for wrong in [
            "",
            "GiB",
            ".",
            "1.5.5G",
            "-1G",
            "1.5e3",
            "99999999T",
            "1parsec",
            "99999999999999999999",
            "18446744073709551615G",
        ] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(size_text(1023), "1023 B");
        assert_eq!(size_text(3 << 19), "1.5 MiB");
    }
}
