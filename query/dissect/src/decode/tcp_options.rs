//! TCP options (RFC 9293, section 3.1; RFC 7323; RFC 2018), read when asked for.

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcpOption<'a> {
    /// Most bytes a segment that the sender takes.
    MaximumSegmentSize(u16),
    /// Left shift of windows.
    WindowScale(u8),
    /// Selective acknowledgements are welcome.
    SackPermitted,
    /// Blocks received out of order: pairs of 32-bit sequence numbers, as they lie in the header.
    Sack(&'a [u8]),
    /// Timestamps of sender and echo.
    Timestamps {
        /// `TSval`.
        value: u32,
        /// `TSecr`.
        echo: u32,
    },
    /// Any other.
    Other {
        /// Its number.
        kind: u8,
        /// What follows number and length.
        data: &'a [u8],
    },
}

/// Iterates over options; ends at the end-of-list option, and at one whose length makes no sense.
#[derive(Clone, Debug)]
pub struct TcpOptions<'a> {
    rest: &'a [u8],
}

impl<'a> TcpOptions<'a> {
    /// `bytes` are those between the fixed header and the data.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        const END_OF_LIST: u8 = 0;
        const NO_OPERATION: u8 = 1;
        loop {
            let (&kind, after_kind) = self.rest.split_first()?;
            self.rest = after_kind;
            match kind {
                END_OF_LIST => self.rest = &[],
                NO_OPERATION => {}
                _ => return self.sized(kind),
            }
        }
    }
}

impl<'a> TcpOptions<'a> {
    /// The option of this number, which has a length.
    fn sized(&mut self, kind: u8) -> Option<TcpOption<'a>> {
        let rest = std::mem::take(&mut self.rest);
        let (&len, after_len) = rest.split_first()?;
        let (data, after_data) = after_len.split_at_checked(usize::from(len).checked_sub(2)?)?;
        self.rest = after_data;
        Some(match (kind, data) {
            (2, &[high, low]) => TcpOption::MaximumSegmentSize(u16::from_be_bytes([high, low])),
            (3, &[shift]) => TcpOption::WindowScale(shift),
            (4, &[]) => TcpOption::SackPermitted,
            (5, blocks) if blocks.len() % 8 == 0 => TcpOption::Sack(blocks),
            (8, &[a, b, c, d, e, f, g, h]) => TcpOption::Timestamps {
                value: u32::from_be_bytes([a, b, c, d]),
                echo: u32::from_be_bytes([e, f, g, h]),
            },
            _ => TcpOption::Other { kind, data },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_linux_syn() {
        let bytes = [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 10];
        let options: Vec<_> = TcpOptions::new(&bytes).collect();
        assert_eq!(
            options,
            [
                TcpOption::MaximumSegmentSize(1460),
                TcpOption::SackPermitted,
                TcpOption::Timestamps { value: 7, echo: 0 },
                TcpOption::WindowScale(10),
            ]
        );
    }

    #[test]
    fn senseless_lengths_end_the_list() {
        assert_eq!(TcpOptions::new(&[3, 3, 1, 2, 0, 9, 9]).collect::<Vec<_>>(), [TcpOption::WindowScale(1)]);
        assert_eq!(TcpOptions::new(&[2, 40, 1, 1]).count(), 0);
        assert_eq!(TcpOptions::new(&[2, 1]).count(), 0);
        assert_eq!(TcpOptions::new(&[2]).count(), 0);
        assert_eq!(TcpOptions::new(&[0, 3, 3, 1]).count(), 0, "end of list");
        assert_eq!(
            TcpOptions::new(&[2, 3, 1]).collect::<Vec<_>>(),
            [TcpOption::Other { kind: 2, data: &[1] }],
            "known number, wrong length"
        );
    }
}
