//! Reading fields one after the other; past the end there is nothing.

/// What is left of some bytes. Every read gives `None`, and takes nothing, when there is less than it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the first of these bytes on.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// Number of bytes not read yet.
    pub(crate) fn len(&self) -> usize {
        self.left.len()
    }

    /// True when all is read.
    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// The next byte, which stays.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.left.first().copied()
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(count)?;
        self.left = left;
        Some(taken)
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.left)
    }

    /// The bytes before the next NUL, which is taken too.
    pub(crate) fn until_nul(&mut self) -> Option<&'a [u8]> {
        let length = self.left.iter().position(|&byte| byte == 0)?;
        let text = self.take(length)?;
        self.take(1)?;
        Some(text)
    }

    /// The bytes before the next NUL or, without one, all that is left.
    pub(crate) fn until_nul_or_end(&mut self) -> &'a [u8] {
        self.until_nul().unwrap_or_else(|| self.rest())
    }

    /// The next bytes by value.
    pub(crate) fn array<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        self.take(COUNT)?.try_into().ok()
    }

    /// One byte.
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// Two bytes, least significant first.
    pub(crate) fn u16_le(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Three bytes, least significant first.
    pub(crate) fn u24_le(&mut self) -> Option<u32> {
        self.array().map(|[low, middle, high]| u32::from_le_bytes([low, middle, high, 0]))
    }

    /// Four bytes, least significant first.
    pub(crate) fn u32_le(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, least significant first.
    pub(crate) fn u64_le(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Two bytes, most significant first.
    pub(crate) fn u16_be(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes, most significant first.
    pub(crate) fn u32_be(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_order_and_nothing_past_the_end() {
        let mut reader = Reader::new(&[1, 2, 3, b'a', b'b', 0, 9]);
        assert_eq!(reader.u24_le(), Some(0x03_0201));
        assert_eq!(reader.peek(), Some(b'a'));
        assert_eq!(reader.u64_le(), None);
        assert_eq!(reader.until_nul(), Some(&b"ab"[..]));
        assert_eq!(reader.until_nul(), None);
        assert_eq!(reader.len(), 1);
        assert_eq!(reader.until_nul_or_end(), [9]);
        assert!(reader.is_empty());
        assert_eq!(reader.u8(), None);
    }
}
