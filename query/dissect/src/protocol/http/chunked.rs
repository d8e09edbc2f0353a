//! The chunked transfer coding (RFC 9112, section 7.1), byte by byte where it must be and by the slice where it can.

/// The longest line with a chunk's size and extensions, and the longest trailer section, in bytes.
const LINES_LEN_MAX: usize = 64 * 1024;

/// Where a reader is in a chunked body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunked {
    state: State,
    /// Bytes of the present line, or of the trailer section.
    line_len: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Digits of a size; none yet, if `None`.
    Size(Option<u64>),
    /// What follows the size on its line.
    Extension(u64),
    Data(u64),
    /// The line's end behind a chunk's data.
    DataEnd,
    /// Trailer fields; whether the present line is empty so far.
    Trailer {
        is_empty: bool,
    },
}

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Data of the body.
    Data(&'a [u8]),
    /// The body is over.
    End,
    /// More bytes are needed.
    More,
    /// This is no chunked coding.
    Malformed,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { state: State::Size(None), line_len: 0 }
    }

    /// Reads on; `bytes` loses what was used.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Piece<'a> {
        loop {
            if let State::Data(left) = &mut self.state {
                if bytes.is_empty() {
                    return Piece::More;
                }
                let len = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                let (data, rest) = bytes.split_at(len);
                *bytes = rest;
                *left -= len as u64;
                if *left == 0 {
                    self.state = State::DataEnd;
                }
                return Piece::Data(data);
            }
            let Some((&byte, rest)) = bytes.split_first() else { return Piece::More };
            *bytes = rest;
            self.line_len += 1;
            if self.line_len > LINES_LEN_MAX {
                return Piece::Malformed;
            }
            match self.step(byte) {
                None => return Piece::Malformed,
                Some(true) => return Piece::End,
                Some(false) => {}
            }
        }
    }

    /// Bytes are missing. True when that is data of one chunk, and reading can go on.
    pub(super) fn gap(&mut self, len: u64) -> bool {
        match &mut self.state {
            State::Data(left) if len <= *left => {
                *left -= len;
                if *left == 0 {
                    self.state = State::DataEnd;
                }
                true
            }
            _ => false,
        }
    }

    /// One byte outside of data: whether the body is over, or nothing when the byte can't be here.
    fn step(&mut self, byte: u8) -> Option<bool> {
        let after_size_line =
            |size| if size == 0 { State::Trailer { is_empty: true } } else { State::Data(size) };
        match self.state {
            State::Size(size) => match (byte, size) {
                (b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F', _) => {
                    let digit = char::from(byte).to_digit(16)?;
                    let size = size.unwrap_or(0).checked_mul(16)?.checked_add(u64::from(digit))?;
                    self.state = State::Size(Some(size));
                }
                (b'\n', Some(size)) => self.begin(after_size_line(size)),
                (b';' | b' ' | b'\t' | b'\r', Some(size)) => self.state = State::Extension(size),
                _ => return None,
            },
            State::Extension(size) => {
                if byte == b'\n' {
                    self.begin(after_size_line(size));
                }
            }
            State::DataEnd => match byte {
                b'\r' => {}
                b'\n' => self.begin(State::Size(None)),
                _ => return None,
            },
            State::Trailer { is_empty } => match byte {
                b'\n' if is_empty => return Some(true),
                b'\n' => self.state = State::Trailer { is_empty: true },
                b'\r' => {}
                _ => self.state = State::Trailer { is_empty: false },
            },
            State::Data(_) => {}
        }
        Some(false)
    }

    fn begin(&mut self, state: State) {
        self.state = state;
        self.line_len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body, and what came last.
    fn read(chunked: &mut Chunked, mut bytes: &[u8], body: &mut Vec<u8>) -> (bool, usize) {
        loop {
            match chunked.next(&mut bytes) {
                Piece::Data(data) => body.extend(data),
                Piece::More => return (false, bytes.len()),
                Piece::End => return (true, bytes.len()),
                Piece::Malformed => panic!("malformed at {} before the end", bytes.len()),
            }
        }
    }

    #[test]
    fn the_same_however_the_bytes_come() {
        let bytes =
            b"4\r\nWiki\r\n5;name=value\r\npedia\r\nE \n in\r\n\r\nchunks.\r\n0\r\nTrailer: x\r\n\r\nnext";
        for size in 1..bytes.len() {
            let (mut chunked, mut body, mut end) = (Chunked::new(), Vec::new(), None);
            for (number, part) in bytes.chunks(size).enumerate() {
                if let (true, left) = read(&mut chunked, part, &mut body) {
                    end = Some(number * size + part.len() - left);
                    break;
                }
            }
            assert_eq!(body, b"Wikipedia in\r\n\r\nchunks.", "{size}");
            assert_eq!(end, Some(bytes.len() - 4), "{size}");
        }
    }

    #[test]
    fn malformed_ones() {
        for bytes in [&b"x\r\n"[..], b"\r\n", b"-1\r\n", b"11111111111111111\r\n", b"1\r\nabc"] {
            let mut rest = bytes;
            let mut chunked = Chunked::new();
            let last = loop {
                match chunked.next(&mut rest) {
                    Piece::Data(_) => {}
                    other => break other,
                }
            };
            assert_eq!(last, Piece::Malformed, "{:?}", String::from_utf8_lossy(bytes));
        }
        let endless = [&b"1;"[..], &vec![b'a'; LINES_LEN_MAX]].concat();
        assert_eq!(Chunked::new().next(&mut endless.as_slice()), Piece::Malformed);
    }

    #[test]
    fn gaps() {
        let (mut chunked, mut body) = (Chunked::new(), Vec::new());
        read(&mut chunked, b"a\r\n01", &mut body);
        assert!(chunked.gap(5));
        assert_eq!(read(&mut chunked, b"789\r\n0\r\n\r\n", &mut body), (true, 0));
        assert_eq!(body, b"01789");
        let mut chunked = Chunked::new();
        read(&mut chunked, b"a\r\n01", &mut body);
        assert!(chunked.gap(8), "up to the end of the chunk");
        assert_eq!(read(&mut chunked, b"\r\n0\r\n\r\n", &mut body), (true, 0));
        let mut chunked = Chunked::new();
        read(&mut chunked, b"a\r\n01", &mut body);
        assert!(!chunked.gap(9), "past the end of the chunk");
        assert!(!Chunked::new().gap(1));
    }
}
