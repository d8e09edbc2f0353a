//! Sections of bytes: HEADER and PAYLOAD, the rows that are not copies.

use crate::error::Fault;
use crate::limits::TRANSPOSED_ROW_LEN_MAX;
use crate::packets::Encoding;

/// Rows of equal length, which are transposed together.
#[derive(Default)]
struct Group {
    /// Where each row begins in the plain bytes.
    starts: Vec<u32>,
}

/// Sorts rows into groups by length, and keeps its memory.
#[derive(Default)]
pub(super) struct Transposition {
    groups: Vec<Group>,
}

impl Transposition {
    fn group(&mut self, lens: impl Iterator<Item = u32>) {
        self.groups.resize_with(TRANSPOSED_ROW_LEN_MAX + 1, Group::default);
        self.groups.iter_mut().for_each(|group| group.starts.clear());
        let mut start = 0;
        for len in lens {
            if let Some(group) = self.groups.get_mut(len as usize) {
                group.starts.push(start);
            }
            start += len;
        }
    }

    /// Replaces `out` by the rows of `plain`, transposed. `lens` sum to the length of `plain`.
    pub(super) fn transpose(&mut self, encoding: Encoding, plain: &[u8], lens: &[u32], out: &mut Vec<u8>) {
        out.clear();
        out.reserve(plain.len());
        self.group(lens.iter().copied());
        for (len, group) in self.groups.iter().enumerate() {
            for column in 0..len {
                let plane = group.starts.iter().map(|&start| plain[start as usize + column]);
                if encoding == Encoding::TransposedDelta {
                    let mut before = 0;
                    out.extend(plane.map(|byte| byte.wrapping_sub(std::mem::replace(&mut before, byte))));
                } else {
                    out.extend(plane);
                }
            }
        }
        let mut rest = plain;
        for &len in lens {
            let (row, after) = rest.split_at(len as usize);
            rest = after;
            if row.len() > TRANSPOSED_ROW_LEN_MAX {
                out.extend_from_slice(row);
            }
        }
    }

    /// Replaces `out` by the plain rows. The caller has checked that `lens` sum to the length of `raw`.
    pub(super) fn restore(
        &mut self,
        encoding: Encoding,
        raw: &[u8],
        lens: &[u32],
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        out.clear();
        match encoding {
            Encoding::Plain => out.extend_from_slice(raw),
            Encoding::Transposed | Encoding::TransposedDelta => {
                out.resize(raw.len(), 0);
                self.restore_transposed(encoding, raw, lens, out);
            }
            _ => return Err(Fault::Corrupt("a section of bytes has an encoding for numbers")),
        }
        Ok(())
    }

    fn restore_transposed(&mut self, encoding: Encoding, raw: &[u8], lens: &[u32], out: &mut [u8]) {
        self.group(lens.iter().copied());
        let mut rest = raw;
        for (len, group) in self.groups.iter().enumerate() {
            for column in 0..len {
                let (plane, after) = rest.split_at(group.starts.len());
                rest = after;
                if encoding == Encoding::TransposedDelta {
                    let mut byte = 0u8;
                    for (&start, difference) in group.starts.iter().zip(plane) {
                        byte = byte.wrapping_add(*difference);
                        out[start as usize + column] = byte;
                    }
                } else {
                    for (&start, byte) in group.starts.iter().zip(plane) {
                        out[start as usize + column] = *byte;
                    }
                }
            }
        }
        let mut start = 0;
        for len in lens.iter().map(|&len| len as usize) {
            if len > TRANSPOSED_ROW_LEN_MAX {
                let (row, after) = rest.split_at(len);
                rest = after;
                out[start..start + len].copy_from_slice(row);
            }
            start += len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_mixed_lengths_come_back() {
        let lens: Vec<u32> = (0..500).map(|i| [0, 28, 40, 128, 129, 1_000, 1][i % 7]).collect();
        let len: u32 = lens.iter().sum();
        let plain: Vec<u8> = (0..len).map(|i| (i.wrapping_mul(i) / 5) as u8).collect();
        let mut transposition = Transposition::default();
        let (mut raw, mut back) = (Vec::new(), Vec::new());
        for encoding in [Encoding::Transposed, Encoding::TransposedDelta] {
            transposition.transpose(encoding, &plain, &lens, &mut raw);
            assert_eq!(raw.len(), plain.len());
            assert_ne!(raw, plain);
            transposition.restore(encoding, &raw, &lens, &mut back).unwrap();
            assert_eq!(back, plain);
        }
        transposition.restore(Encoding::Plain, &plain, &lens, &mut back).unwrap();
        assert_eq!(back, plain);
        assert!(transposition.restore(Encoding::Planes, &plain, &lens, &mut back).is_err());
    }

    #[test]
    fn planes_lie_as_the_specification_shows_them() {
        let mut transposition = Transposition::default();
        let mut raw = Vec::new();
        transposition.transpose(Encoding::Transposed, b"a1b2xyz", &[2, 2, 3], &mut raw);
        assert_eq!(raw, b"ab12xyz");
        transposition.transpose(Encoding::TransposedDelta, &[5, 9, 7, 4], &[2, 2], &mut raw);
        assert_eq!(raw, [5, 2, 9, 251]);
    }
}
