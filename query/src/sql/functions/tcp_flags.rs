//! Names of TCP flags, for the functions that write and read them.

/// Name and bit of each flag: RFC 9293 section 3.1, with NS of RFC 3540 (now AE).
pub(super) const TCP_FLAGS: [(&str, u16); 9] = [
    ("FIN", 1 << 0),
    ("SYN", 1 << 1),
    ("RST", 1 << 2),
    ("PSH", 1 << 3),
    ("ACK", 1 << 4),
    ("URG", 1 << 5),
    ("ECE", 1 << 6),
    ("CWR", 1 << 7),
    ("AE", 1 << 8),
];

/// The names of the flags that are set, with commas: `SYN,ACK`.
pub(super) fn names(flags: u16) -> String {
    TCP_FLAGS.iter().filter(|(_, bit)| flags & bit != 0).map(|(name, _)| *name).collect::<Vec<_>>().join(",")
}

/// The bits of flags named in any case, with commas; the name that is none otherwise.
pub(super) fn bits(names: &str) -> Result<u16, String> {
    names.split(',').map(str::trim).try_fold(0, |bits, name| {
        TCP_FLAGS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, bit)| bits | bit)
            .ok_or_else(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bits_are_inverse() {
        for flags in 0..512 {
            if flags != 0 {
                assert_eq!(bits(&names(flags)), Ok(flags));
            }
        }
        assert_eq!(names(0), "");
        assert_eq!(bits("syn, ack"), Ok(0x12));
        assert_eq!(bits("SYN,XYZ"), Err("XYZ".to_owned()));
    }
}
