//! Columns of integers: constant, byte planes, or differences.

use crate::error::Fault;
use crate::packets::Encoding;

/// An unsigned integer of a column.
pub(super) trait Integer: Copy + Default + Eq {
    const WIDTH: usize;
    fn widen(self) -> u64;
    /// Keeps the lowest bytes.
    fn narrow(value: u64) -> Self;
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
        }
    )*};
}
integer!(u8, u16, u32);

impl Integer for u64 {
    const WIDTH: usize = 8;
    fn widen(self) -> u64 {
        self
    }
    fn narrow(value: u64) -> Self {
        value
    }
}

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
    out.extend(planes.next()?.iter().map(|&byte| T::narrow(byte.into())));
    for (shift, plane) in (8..).step_by(8).zip(planes) {
        for (value, &byte) in out.iter_mut().zip(plane) {
            *value = T::narrow(value.widen() | u64::from(byte) << shift);
        }
    }
    Some(())
}

fn decode_delta<T: Integer>(raw: &[u8], count: usize, out: &mut Vec<T>) -> Option<()> {
    out.reserve(count);
    let mut bytes = raw.iter();
    let mut value = 0u64;
    for _ in 0..count {
        let mut zigzag = 0;
        let mut shift = 0;
        loop {
            let byte = *bytes.next()?;
            if shift == 63 && byte > 1 {
                return None;
            }
            zigzag |= u64::from(byte & 0x7F) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        value = value.wrapping_add((zigzag >> 1) ^ (zigzag & 1).wrapping_neg());
        out.push(T::narrow(value));
    }
    bytes.next().is_none().then_some(())
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
    fn a_number_that_does_not_end_is_refused() {
        let mut out = Vec::<u64>::new();
        assert!(decode(Encoding::Delta, &[0xFF; 40], 1, &mut out).is_err());
        assert!(decode(Encoding::Planes, &[9, 1, 2, 3, 4, 5, 6, 7, 8, 9], 1, &mut out).is_err());
        assert!(decode(Encoding::Plain, &[1], 1, &mut out).is_err());
    }
}
