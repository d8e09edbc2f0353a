//! Sections of bytes: HEADER and PAYLOAD, the rows that are not copies.

use crate::error::Fault;
use crate::limits::TRANSPOSED_ROW_LEN_MAX;
use crate::packets::Encoding;

/// The rows of a section: lengths and classes, row by row.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) lens: &'a [u32],
    /// Below `class_count`; only needed for `TransposedDelta`.
    pub(super) classes: &'a [u32],
    pub(super) class_count: usize,
}

/// A row of at most `TRANSPOSED_ROW_LEN_MAX` bytes in the plain bytes.
#[derive(Clone, Copy)]
struct ShortRow {
    start: usize,
    len: usize,
}

/// Transposes rows and restores them, and keeps its memory.
#[derive(Default)]
pub(super) struct Transposition {
    /// By length: where each row begins in the plain bytes.
    starts_of_len: Vec<Vec<u32>>,
    /// By class: the last row.
    last_of_class: Vec<Option<ShortRow>>,
    differences: Vec<u8>,
}

impl Transposition {
    /// Replaces `out` by the rows of `plain`, transposed. `rows.lens` sum to the length of `plain`.
    pub(super) fn transpose(&mut self, encoding: Encoding, plain: &[u8], rows: Rows<'_>, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(plain.len());
        self.group(rows.lens);
        let mut differences = std::mem::take(&mut self.differences);
        let mut from = plain;
        if encoding == Encoding::TransposedDelta {
            differences.clear();
            differences.extend_from_slice(plain);
            self.for_each_reference(rows, |row, reference| {
                let reference = &plain[reference.start..reference.start + reference.len];
                for (byte, reference) in differences[row.start..row.start + row.len].iter_mut().zip(reference)
                {
                    *byte = byte.wrapping_sub(*reference);
                }
            });
            from = &differences;
        }
        for (len, starts) in self.starts_of_len.iter().enumerate() {
            for column in 0..len {
                out.extend(starts.iter().map(|&start| from[start as usize + column]));
            }
        }
        let mut rest = plain;
        for &len in rows.lens {
            let (row, after) = rest.split_at(len as usize);
            rest = after;
            if row.len() > TRANSPOSED_ROW_LEN_MAX {
                out.extend_from_slice(row);
            }
        }
        self.differences = differences;
    }

    /// Replaces `out` by the plain rows. The caller has checked that `rows.lens` sum to the length of `raw`, and that the
    /// classes are below their number.
    pub(super) fn restore(
        &mut self,
        encoding: Encoding,
        raw: &[u8],
        rows: Rows<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        out.clear();
        match encoding {
            Encoding::Plain => out.extend_from_slice(raw),
            Encoding::Transposed | Encoding::TransposedDelta => {
                out.resize(raw.len(), 0);
                self.restore_transposed(raw, rows.lens, out);
            }
            _ => return Err(Fault::Corrupt("a section of bytes has an encoding for numbers")),
        }
        if encoding == Encoding::TransposedDelta {
            self.for_each_reference(rows, |row, reference| {
                let (before, after) = out.split_at_mut(row.start);
                let reference = &before[reference.start..reference.start + reference.len];
                for (byte, reference) in after[..row.len].iter_mut().zip(reference) {
                    *byte = byte.wrapping_add(*reference);
                }
            });
        }
        Ok(())
    }

    fn group(&mut self, lens: &[u32]) {
        self.starts_of_len.resize_with(TRANSPOSED_ROW_LEN_MAX + 1, Vec::new);
        self.starts_of_len.iter_mut().for_each(Vec::clear);
        let mut start = 0;
        for &len in lens {
            if let Some(starts) = self.starts_of_len.get_mut(len as usize) {
                starts.push(start);
            }
            start += len;
        }
    }

    /// Calls `act` for each short row and the row that it is the difference to: the last one of its class, or else the
    /// last one of all.
    fn for_each_reference(&mut self, rows: Rows<'_>, mut act: impl FnMut(ShortRow, ShortRow)) {
        self.last_of_class.clear();
        self.last_of_class.resize(rows.class_count, None);
        let mut last = None;
        let mut start = 0;
        for (&len, &class) in rows.lens.iter().zip(rows.classes) {
            let row = ShortRow { start, len: len as usize };
            start += row.len;
            if row.len > TRANSPOSED_ROW_LEN_MAX {
                continue;
            }
            let of_class = &mut self.last_of_class[class as usize];
            if let Some(reference) = of_class.or(last) {
                act(row, reference);
            }
            *of_class = Some(row);
            last = Some(row);
        }
    }

    fn restore_transposed(&mut self, raw: &[u8], lens: &[u32], out: &mut [u8]) {
        self.group(lens);
        let mut rest = raw;
        for (len, starts) in self.starts_of_len.iter().enumerate() {
            for column in 0..len {
                let (plane, after) = rest.split_at(starts.len());
                rest = after;
                for (&start, byte) in starts.iter().zip(plane) {
                    out[start as usize + column] = *byte;
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
    fn rows_of_mixed_lengths_and_classes_come_back() {
        let lens: Vec<u32> = (0..500).map(|i| [0, 28, 40, 128, 129, 1_000, 1][i % 7]).collect();
        let classes: Vec<u32> = (0..500).map(|i| i * i % 11).collect();
        let rows = Rows { lens: &lens, classes: &classes, class_count: 11 };
        let len: u32 = lens.iter().sum();
        let plain: Vec<u8> = (0..len).map(|i| (i.wrapping_mul(i) / 5) as u8).collect();
        let mut transposition = Transposition::default();
        let (mut raw, mut back) = (Vec::new(), Vec::new());
        for encoding in [Encoding::Transposed, Encoding::TransposedDelta] {
            transposition.transpose(encoding, &plain, rows, &mut raw);
            assert_eq!(raw.len(), plain.len());
            assert_ne!(raw, plain);
            transposition.restore(encoding, &raw, rows, &mut back).unwrap();
            assert_eq!(back, plain);
        }
        transposition.restore(Encoding::Plain, &plain, rows, &mut back).unwrap();
        assert_eq!(back, plain);
        assert!(transposition.restore(Encoding::Planes, &plain, rows, &mut back).is_err());
    }

    #[test]
    fn bytes_lie_as_the_specification_shows_them() {
        let mut transposition = Transposition::default();
        let mut raw = Vec::new();
        let rows = Rows { lens: &[2, 2, 3], classes: &[0, 0, 0], class_count: 1 };
        transposition.transpose(Encoding::Transposed, b"a1b2xyz", rows, &mut raw);
        assert_eq!(raw, b"ab12xyz");
        let rows = Rows { lens: &[2, 2, 3], classes: &[0, 1, 0], class_count: 2 };
        transposition.transpose(Encoding::TransposedDelta, &[5, 9, 7, 4, 6, 9, 1], rows, &mut raw);
        assert_eq!(raw, [5, 2, 9, 251, 1, 0, 1]);
    }
}
