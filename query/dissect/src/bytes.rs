//! Reading network-order integers at fixed places of fixed-size headers.

/// The two bytes at `at`, most significant first. For headers whose length is in their type.
pub(crate) const fn u16_at<const LEN: usize>(bytes: &[u8; LEN], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The four bytes at `at`, most significant first.
pub(crate) const fn u32_at<const LEN: usize>(bytes: &[u8; LEN], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The `COUNT` bytes at `at`.
pub(crate) fn array_at<const COUNT: usize, const LEN: usize>(bytes: &[u8; LEN], at: usize) -> [u8; COUNT] {
    std::array::from_fn(|index| bytes[at + index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_order() {
        let bytes = [1, 2, 3, 4, 5];
        assert_eq!(u16_at(&bytes, 1), 0x0203);
        assert_eq!(u32_at(&bytes, 1), 0x0203_0405);
        assert_eq!(array_at::<2, 5>(&bytes, 3), [4, 5]);
    }
}
