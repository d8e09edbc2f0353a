//! Columns of integers: constant, byte planes, or differences.

use crate::error::Fault;
use crate::packets::Encoding;

/// An unsigned integer of a column.
pub(super) trait Integer: Copy + Default + Eq {
    const WIDTH: usize;
    fn widen(self) -> u64;
    /// Keeps the lowest bytes.
    fn narrow(value: u64) -> Self;
    /// The value of these bytes, lowest first; there are no more than it has. In its own width, so that the compiler puts as
    /// many as it can into one instruction.
    fn of_bytes<const N: usize>(bytes: [u8; N]) -> Self;
}

macro_rules! integer {
    ($($type:ty),*) => {$(
        impl Integer for $type {
            const WIDTH: usize = size_of::<$type>();
            fn widen(self) -> u64 {
                u64::from(self)
            }
            fn narrow(value: u64) -> Self {
                value as $type
            }
            fn of_bytes<const N: usize>(bytes: [u8; N]) -> Self {
                let mut shift = 0;
                bytes.into_iter().fold(0, |value, byte| {
                    let value = value | <$type>::from(byte).wrapping_shl(shift);
                    shift += 8;
                    value
                })
            }
        }
    )*};
}
integer!(u8, u16, u32, u64);

/// Most bytes that a delta takes: LEB128 of 64 bits.
const LEB128_LEN_MAX: usize = 10;

/// Encodes values as CONSTANT or PLANES into `out`; `None` when all are zero and the section is left out.
pub(super) fn encode<T: Integer>(values: &[T], out: &mut Vec<u8>) -> Option<Encoding> {
    out.clear();
    let first = *values.first()?;
    if values.iter().all(|&value| value == first) {
        if first == T::default() {
            return None;
        }
        out.extend_from_slice(&first.widen().to_le_bytes()[..T::WIDTH]);
        return Some(Encoding::Constant);
    }
    let bits = values.iter().fold(0, |bits, value| bits | value.widen());
    let planes = 8 - bits.leading_zeros() / 8;
    out.push(planes as u8);
    for plane in 0..planes {
        out.extend(values.iter().map(|value| (value.widen() >> (8 * plane)) as u8));
    }
    Some(Encoding::Planes)
}

/// Encodes values that mostly grow, as DELTA; `None` when all are zero.
pub(super) fn encode_delta(values: &[u64], out: &mut Vec<u8>) -> Option<Encoding> {
    out.clear();
    if values.iter().all(|&value| value == 0) {
        return None;
    }
    let mut before = 0;
    for &value in values {
        let difference = value.wrapping_sub(before) as i64;
        before = value;
        let mut rest = ((difference << 1) ^ (difference >> 63)) as u64;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
    Some(Encoding::Delta)
}

/// Most bytes that `count` values take in this encoding before compression.
pub(super) fn raw_len_max<T: Integer>(encoding: Encoding, count: usize) -> usize {
    match encoding {
        Encoding::Constant => T::WIDTH,
        Encoding::Planes => 1 + T::WIDTH * count,
        Encoding::Delta => LEB128_LEN_MAX * count,
        _ => 0,
    }
}

/// Replaces `out` by the `count` values that `raw` encodes.
pub(super) fn decode<T: Integer>(
    encoding: Encoding,
    raw: &[u8],
    count: usize,
    out: &mut Vec<T>,
) -> Result<(), Fault> {
    out.clear();
    let decoded = match encoding {
        Encoding::Constant => decode_constant(raw, count, out),
        Encoding::Planes => decode_planes(raw, count, out),
        Encoding::Delta => decode_delta(raw, count, out),
        _ => None,
    };
    decoded.ok_or(Fault::Corrupt("a section of numbers has another length than its rows need"))
}

fn decode_constant<T: Integer>(raw: &[u8], count: usize, out: &mut Vec<T>) -> Option<()> {
    if raw.len() != T::WIDTH {
        return None;
    }
    let mut bytes = [0; 8];
    bytes[..T::WIDTH].copy_from_slice(raw);
    out.resize(count, T::narrow(u64::from_le_bytes(bytes)));
    Some(())
}

fn decode_planes<T: Integer>(raw: &[u8], count: usize, out: &mut Vec<T>) -> Option<()> {
    let (&planes, raw) = raw.split_first()?;
    if usize::from(planes) > T::WIDTH || raw.len() != usize::from(planes) * count {
        return None;
    }
    if planes == 0 || count == 0 {
        out.resize(count, T::default());
        return Some(());
    }
    let mut planes = raw.chunks_exact(count);
    let (first, second, third) = (planes.next()?, planes.next(), planes.next());
    // Lengths, which are in every block and wanted by most readers, have two or three: those are put together at once.
    match (second, third) {
        (None, _) => out.extend(first.iter().map(|&byte| T::of_bytes([byte]))),
        (Some(second), None) => {
            out.extend(first.iter().zip(second).map(|(&first, &second)| T::of_bytes([first, second])));
        }
        (Some(second), Some(third)) => {
            let bytes = first.iter().zip(second).zip(third);
            out.extend(bytes.map(|((&first, &second), &third)| T::of_bytes([first, second, third])));
        }
    }
    for (shift, plane) in (24..).step_by(8).zip(planes) {
        for (value, &byte) in out.iter_mut().zip(plane) {
            *value = T::narrow(value.widen() | u64::from(byte) << shift);
        }
    }
    Some(())
}

fn decode_delta<T: Integer>(raw: &[u8], count: usize, out: &mut Vec<T>) -> Option<()> {
    out.reserve(count);
    let mut rest = raw;
    let mut value = 0u64;
    for _ in 0..count {
        let (zigzag, len) = match leb128_within_word(rest) {
            Some(found) => found,
            None => leb128(rest)?,
        };
        rest = &rest[len..];
        value = value.wrapping_add((zigzag >> 1) ^ (zigzag & 1).wrapping_neg());
        out.push(T::narrow(value));
    }
    rest.is_empty().then_some(())
}

/// A number that ends within the next eight bytes, and its length. Takes them all at once: where lengths vary, a branch
/// for each byte is guessed wrong too often.
fn leb128_within_word(bytes: &[u8]) -> Option<(u64, usize)> {
    /// The bit that says of each byte whether another one follows.
    const CONTINUED: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(*bytes.first_chunk()?);
    let ends = !word & CONTINUED;
    if ends == 0 {
        return None;
    }
    // The seven bits of each byte up to the last one, then pairs of those put together, then pairs of pairs.
    let sevens = word & (ends ^ (ends - 1)) & !CONTINUED;
    let pairs = sevens & 0x007F_007F_007F_007F | (sevens & 0x7F00_7F00_7F00_7F00) >> 1;
    let fours = pairs & 0x0000_3FFF_0000_3FFF | (pairs & 0x3FFF_0000_3FFF_0000) >> 2;
    let number = fours & 0x0FFF_FFFF | (fours & 0x0FFF_FFFF_0000_0000) >> 4;
    Some((number, ends.trailing_zeros() as usize / 8 + 1))
}

/// A number of any length, byte by byte, and its length; `None` when it doesn't end or has more than 64 bits.
fn leb128(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0;
    for (at, &byte) in bytes.iter().take(LEB128_LEN_MAX).enumerate() {
        if at == LEB128_LEN_MAX - 1 && byte > 1 {
            return None;
        }
        number |= u64::from(byte & 0x7F) << (7 * at);
        if byte < 0x80 {
            return Some((number, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Integer + std::fmt::Debug>(values: &[T]) {
        let mut raw = Vec::new();
        let Some(encoding) = encode(values, &mut raw) else {
            assert!(values.iter().all(|&value| value == T::default()));
            return;
        };
        assert!(raw.len() <= raw_len_max::<T>(encoding, values.len()));
        let mut back = vec![T::default()];
        decode(encoding, &raw, values.len(), &mut back).unwrap();
        assert_eq!(back, values);
        for len in 0..raw.len() {
            assert!(decode(encoding, &raw[..len], values.len(), &mut back).is_err());
        }
    }

    #[test]
    fn constants_and_planes_come_back() {
        round_trip::<u8>(&[1, 2, 255]);
        round_trip::<u16>(&[7, 7, 7]);
        round_trip::<u32>(&[0, 70_000, 3]);
        round_trip::<u64>(&[u64::MAX, 0, 1 << 40]);
        round_trip::<u64>(&[0, 0]);
        round_trip::<u32>(&[]);
    }

    #[test]
    fn deltas_come_back_also_backwards_and_around() {
        let values = [5, 9, 3, u64::MAX, 0, 1 << 63, 1 << 62];
        let mut raw = Vec::new();
        let encoding = encode_delta(&values, &mut raw).unwrap();
        assert!(raw.len() <= raw_len_max::<u64>(encoding, values.len()));
        let mut back = Vec::<u64>::new();
        decode(encoding, &raw, values.len(), &mut back).unwrap();
        assert_eq!(back, values);
        for len in 0..raw.len() {
            assert!(decode(encoding, &raw[..len], values.len(), &mut back).is_err());
        }
        assert!(decode(encoding, &raw, values.len() - 1, &mut back).is_err());
    }

    #[test]
    fn numbers_of_all_lengths_are_read_alike_by_word_and_by_byte() {
        let numbers: Vec<u64> = (0..64)
            .flat_map(|bit| [1_u64 << bit, (2_u64 << bit).wrapping_sub(1), (1_u64 << bit).wrapping_add(5)])
            .collect();
        for &number in &numbers {
            let mut bytes = Vec::new();
            let mut rest = number;
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
            let len = bytes.len();
            assert_eq!(leb128(&bytes), Some((number, len)));
            for len in 0..len {
                assert_eq!(leb128(&bytes[..len]), None);
            }
            bytes.extend_from_slice(&[0xFF; 7]);
            let expected = (len <= 8).then_some((number, len));
            assert_eq!(leb128_within_word(&bytes), expected);
        }
        // More zeros than it needs, as no writer has it: still the same number.
        assert_eq!(leb128_within_word(&[0x85, 0x80, 0x80, 0, 9, 9, 9, 9]), Some((5, 4)));
        assert_eq!(leb128(&[0x85, 0x80, 0x80, 0]), Some((5, 4)));
    }

    #[test]
    fn planes_of_every_number_come_back() {
        for planes in 0..8 {
            let values: Vec<u64> =
                (1..100_u64).map(|i| i.wrapping_mul(0x0123_4567_89AB_CDEF) >> (8 * planes)).collect();
            round_trip(&values);
        }
        round_trip::<u32>(&[u32::MAX, 0x0102_0304, 0x00FF_0102, 0xFFFF]);
    }

    #[test]
    fn a_number_that_does_not_end_is_refused() {
        let mut out = Vec::<u64>::new();
        assert!(decode(Encoding::Delta, &[0xFF; 40], 1, &mut out).is_err());
        assert!(decode(Encoding::Planes, &[9, 1, 2, 3, 4, 5, 6, 7, 8, 9], 1, &mut out).is_err());
        assert!(decode(Encoding::Plain, &[1], 1, &mut out).is_err());
    }
}
