//! Reading TLS's presentation language (RFC 8446, section 3): numbers in network order, and vectors with their length before
//! them.

/// What hasn't been read yet. Every step gives `None` when there is less than it needs, and then leaves the place where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn array<const LEN: usize>(&mut self) -> Option<&'a [u8; LEN]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|&[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(|&bytes| u16::from_be_bytes(bytes))
    }

    pub(super) fn u24(&mut self) -> Option<u32> {
        self.array().map(|&[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// A vector with one byte of length.
    pub(super) fn vector8(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let len = ahead.u8()?;
        let vector = ahead.bytes(usize::from(len))?;
        *self = ahead;
        Some(vector)
    }

    /// A vector with two bytes of length.
    pub(super) fn vector16(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let len = ahead.u16()?;
        let vector = ahead.bytes(usize::from(len))?;
        *self = ahead;
        Some(vector)
    }

    /// A vector with three bytes of length.
    pub(super) fn vector24(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let len = ahead.u24()?;
        let vector = ahead.bytes(len as usize)?;
        *self = ahead;
        Some(vector)
    }
}

/// Numbers of two bytes, one after the other; a byte too many at the end is left out.
pub(super) fn u16_list(bytes: &[u8]) -> impl Iterator<Item = u16> + Clone {
    bytes.as_chunks::<2>().0.iter().map(|&pair| u16::from_be_bytes(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_vectors() {
        let mut reader = Reader::new(&[1, 0, 2, 9, 8, 0, 0, 1, 7, 5]);
        assert_eq!(reader.vector8(), Some(&[0][..]));
        assert_eq!(reader.u8(), Some(2));
        assert_eq!(reader.u16(), Some(0x0908));
        assert_eq!(reader.vector24(), Some(&[7][..]));
        assert_eq!(reader.rest(), [5]);
    }

    #[test]
    fn what_is_too_short_moves_nothing() {
        let mut reader = Reader::new(&[0, 3, 1, 2]);
        assert_eq!(reader.vector16(), None);
        assert_eq!(reader.vector24(), None);
        assert_eq!(reader.bytes(5), None);
        assert_eq!(reader.rest().len(), 4);
    }
}
