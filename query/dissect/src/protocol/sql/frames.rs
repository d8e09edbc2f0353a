//! Cutting a stream into messages that begin with a header of fixed size, which tells how long the body is.

use super::super::{Message, Moment};

/// The longest header of any format.
const HEADER_LENGTH_MAX: usize = 8;

/// How messages look at this point of a stream.
#[derive(Clone, Copy)]
pub(crate) struct Format {
    /// Bytes of the header, 1 to [`HEADER_LENGTH_MAX`].
    pub(crate) header_length: usize,
    /// The length of the body, from the header. `None` for a header that can't be one.
    pub(crate) body_length: fn(&[u8]) -> Option<u64>,
    /// How many bytes of a body are kept; the rest is passed over.
    pub(crate) kept_max: usize,
}

/// One message.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    /// All of the header.
    pub(crate) header: &'a [u8],
    /// The body, up to what is kept of it and, if bytes are missing, up to the first missing one.
    pub(crate) body: &'a [u8],
    /// Length of the body on the wire.
    pub(crate) body_length: u64,
    /// Where it was; the header counts.
    pub(crate) place: Message,
    /// Bytes of it are missing in the capture.
    pub(crate) has_gap: bool,
}

impl Frame<'_> {
    /// Whether the body is here as a whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.body.len() as u64 == self.body_length
    }
}

/// A header that can't be one: the bytes are not, or no longer, of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAHeader;

/// The message that is being gathered.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    header: [u8; HEADER_LENGTH_MAX],
    /// Bytes of the header that are here.
    header_filled: usize,
    body: Vec<u8>,
    /// Bytes of the body that were passed, kept or not, missing or not. `None` while in the header.
    passed: Option<u64>,
    body_length: u64,
    place: Option<Message>,
    has_gap: bool,
    /// The last message was given out: its bytes go when the next one begins.
    given: bool,
}

impl Frames {
    /// Takes bytes off `input` until a message is whole, or the input is empty.
    pub(crate) fn next<'a, 'input: 'a>(
        &'a mut self,
        input: &mut &'input [u8],
        at: Moment,
        format: Format,
    ) -> Result<Option<Frame<'a>>, NotAHeader> {
        if self.given {
            self.reset();
        }
        if self.passed.is_none() {
            if input.is_empty() {
                return Ok(None);
            }
            self.fill_header(input, at, format.header_length);
            if self.header_filled < format.header_length {
                return Ok(None);
            }
            self.body_length = (format.body_length)(&self.header[..self.header_filled]).ok_or(NotAHeader)?;
            self.passed = Some(0);
        }
        let passed = self.passed.unwrap_or_default();
        let available = usize::try_from(self.body_length - passed).unwrap_or(usize::MAX).min(input.len());
        let (bytes, rest) = input.split_at(available);
        *input = rest;
        self.advance(at, available as u64);
        let whole = passed + available as u64 == self.body_length;
        if passed == 0 && whole {
            // All of it lies in the input: nothing is copied.
            self.given = true;
            return Ok(Some(self.frame(Some(&bytes[..bytes.len().min(format.kept_max)]))));
        }
        if !self.has_gap {
            let room = format.kept_max.saturating_sub(self.body.len()).min(bytes.len());
            self.body.extend_from_slice(&bytes[..room]);
        }
        self.given = whole;
        Ok(whole.then(|| self.frame(None)))
    }

    /// Goes on after missing bytes, if they all belong to the body of the message that is being gathered. When they don't,
    /// it isn't known where the next message begins, and the answer is false.
    pub(crate) fn gap(&mut self, at: Moment, length: u64) -> bool {
        match self.passed {
            Some(passed) if !self.given && length <= self.body_length - passed => {
                self.has_gap = true;
                self.advance(at, length);
                true
            }
            _ => false,
        }
    }

    /// Forgets the message that is being gathered; gives where it was.
    pub(crate) fn abandon(&mut self) -> Option<Message> {
        let place = if self.given { None } else { self.place };
        self.reset();
        place
    }

    fn reset(&mut self) {
        // What one large message needed isn't held for the rest of the connection.
        if self.body.capacity() > 4096 {
            self.body = Vec::new();
        }
        self.body.clear();
        self.header_filled = 0;
        self.passed = None;
        self.place = None;
        self.has_gap = false;
        self.given = false;
    }

    fn fill_header(&mut self, input: &mut &[u8], at: Moment, length: usize) {
        let length = length.min(HEADER_LENGTH_MAX);
        let count = length.saturating_sub(self.header_filled).min(input.len());
        let (bytes, rest) = input.split_at(count);
        self.header[self.header_filled..][..count].copy_from_slice(bytes);
        self.header_filled += count;
        *input = rest;
        match &mut self.place {
            Some(place) => place.extend(at, count),
            None => self.place = Some(Message::at(at, count)),
        }
    }

    fn advance(&mut self, at: Moment, count: u64) {
        self.passed = Some(self.passed.unwrap_or_default() + count);
        if let (Some(place), true) = (&mut self.place, count > 0) {
            place.last = at;
            place.bytes += count;
        }
    }

    fn frame<'a>(&'a self, in_place: Option<&'a [u8]>) -> Frame<'a> {
        Frame {
            header: &self.header[..self.header_filled],
            body: in_place.unwrap_or(&self.body),
            body_length: self.body_length,
            place: self.place.unwrap_or(Message::at(Moment::default(), 0)),
            has_gap: self.has_gap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format {
        header_length: 2,
        body_length: |header| (header[0] == b'#').then(|| u64::from(header[1])),
        kept_max: 4,
    };

    fn at(ts_ns: i64) -> Moment {
        Moment { ts_ns, packet_id: 0 }
    }

    /// The bodies that come out of these pieces, with lengths.
    fn cut(pieces: &[&[u8]]) -> Vec<(Vec<u8>, u64, i64, i64)> {
        let mut frames = Frames::default();
        let mut found = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let mut input = *piece;
            while let Some(frame) = frames.next(&mut input, at(index as i64), FORMAT).unwrap() {
                let place = frame.place;
                assert_eq!(place.bytes, frame.body_length + 2);
                found.push((frame.body.to_vec(), frame.body_length, place.first.ts_ns, place.last.ts_ns));
            }
        }
        found
    }

    #[test]
    fn however_it_is_cut() {
        let stream = b"#\x03abc#\x00#\x06defghi";
        let whole = cut(&[stream]);
        assert_eq!(
            whole.iter().map(|frame| (&frame.0[..], frame.1)).collect::<Vec<_>>(),
            [(&b"abc"[..], 3), (b"", 0), (b"defg", 6)]
        );
        for at in 1..stream.len() {
            let pieces = cut(&[&stream[..at], &stream[at..]]);
            let same = pieces.iter().map(|frame| (&frame.0, frame.1));
            assert!(same.eq(whole.iter().map(|frame| (&frame.0, frame.1))), "cut at {at}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        let single = cut(&bytes);
        assert_eq!((single[2].2, single[2].3), (7, 14));
    }

    #[test]
    fn a_gap_inside_a_body_is_survived_and_no_other() {
        let mut frames = Frames::default();
        let mut input = &b"#\x06d"[..];
        assert!(frames.next(&mut input, at(0), FORMAT).unwrap().is_none());
        assert!(!frames.gap(at(1), 6), "this one ends inside the next header, or later");
        assert!(frames.gap(at(1), 3));
        let mut input = &b"hi#\x01x"[..];
        let frame = frames.next(&mut input, at(2), FORMAT).unwrap().unwrap();
        assert!(frame.has_gap && !frame.is_whole());
        assert_eq!((frame.body, frame.body_length, frame.place.bytes), (&b"d"[..], 6, 8));
        let frame = frames.next(&mut input, at(3), FORMAT).unwrap().unwrap();
        assert!(!frame.has_gap && frame.is_whole());
        assert!(!frames.gap(at(3), 1));
    }

    #[test]
    fn what_is_no_header() {
        let mut frames = Frames::default();
        let mut input = &b"??"[..];
        assert_eq!(frames.next(&mut input, at(0), FORMAT).unwrap_err(), NotAHeader);
        assert_eq!(frames.abandon().map(|place| place.bytes), Some(2));
        assert_eq!(frames.abandon(), None);
    }
}
