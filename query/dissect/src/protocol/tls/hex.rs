//! Bytes as hexadecimal digits.

/// As digests and ids are written mostly.
pub(super) fn lower_hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|&byte| digits(byte, b"0123456789abcdef")).collect()
}

/// As ECS wants the digests of certificates.
pub(super) fn upper_hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|&byte| digits(byte, b"0123456789ABCDEF")).collect()
}

fn digits(byte: u8, digits: &[u8; 16]) -> [char; 2] {
    [byte >> 4, byte & 0xf].map(|half| char::from(digits[usize::from(half)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_cases() {
        assert_eq!(lower_hex(&[0, 0xaf, 0x10]), "00af10");
        assert_eq!(upper_hex(&[0, 0xaf, 0x10]), "00AF10");
    }
}
