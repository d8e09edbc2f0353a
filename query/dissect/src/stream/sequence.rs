//! Sequence numbers of 32 bits as places in a stream of any length.

/// How far behind the reference a sequence number is understood to be: the greatest window that TCP can announce
/// (RFC 7323, section 2.3). Numbers that would be farther behind are ahead: a recording may have holes of up to 3 GiB.
pub const BEHIND_MAX: u32 = 1 << 30;

/// The offset of `sequence` in a stream whose offset 0 has the sequence number `start`, near `reference`: at most
/// [`BEHIND_MAX`] before it. Negative for places before the stream's start.
#[must_use]
pub fn offset_of(sequence: u32, start: u32, reference: u64) -> i64 {
    // The low bits are what is carried on the wire.
    let reference_sequence = start.wrapping_add(reference as u32);
    let ahead = sequence.wrapping_sub(reference_sequence).wrapping_add(BEHIND_MAX);
    let reference = i64::try_from(reference).unwrap_or(i64::MAX - i64::from(u32::MAX));
    reference + i64::from(ahead) - i64::from(BEHIND_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_go_on_where_sequence_numbers_wrap() {
        assert_eq!(offset_of(100, 100, 0), 0);
        assert_eq!(offset_of(99, 100, 0), -1);
        assert_eq!(offset_of(5, u32::MAX - 4, 0), 10);
        assert_eq!(offset_of(7, 0, (1 << 33) + 6), (1 << 33) + 7);
        assert_eq!(offset_of(u32::MAX, 0, 1 << 32), i64::from(u32::MAX));
    }

    #[test]
    fn holes_of_two_gibibytes_are_ahead() {
        assert_eq!(offset_of(1 << 31, 0, 0), 1 << 31);
        assert_eq!(offset_of((1 << 31) + 1460, 0, 1460), (1 << 31) + 1460);
        assert_eq!(offset_of(0_u32.wrapping_sub(BEHIND_MAX), 0, 0), -i64::from(BEHIND_MAX));
        assert_eq!(offset_of(0_u32.wrapping_sub(BEHIND_MAX + 1), 0, 0), (3 << 30) - 1);
    }
}
