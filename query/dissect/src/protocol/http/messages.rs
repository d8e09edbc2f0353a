//! One direction of a connection, from bytes to messages.

use super::chunked::{Chunked, Piece};
use super::head::{HEAD_LEN_MAX, Head, may_begin_message};

/// How the end of a body is known (RFC 9112, section 6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    Empty,
    /// It has this many bytes.
    Length(u64),
    Chunked(Chunked),
    /// It ends with the connection.
    UntilClose,
}

/// What comes next in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// The begin of a message; [`Messages::expect_body`] is to be called before anything else.
    Head(Head),
    /// Part of its body.
    Body(&'a [u8]),
    /// It is over.
    End,
    /// Not a message; this many bytes of it were kept until then. Nothing is read until a chunk begins with a message.
    Malformed { what: &'static str, len: usize },
}

/// What a gap did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// It was between messages, or where none were understood.
    Between,
    /// The end of a head is missing; this is what came of it. Whether there was a body isn't known then.
    InHead(Vec<u8>),
    /// Part of the body is missing; it goes on.
    InBody,
    /// The end of the body is missing.
    PastEnd,
}

/// The reader of one direction.
#[derive(Debug)]
pub(super) struct Messages {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Bytes of a head, up to where its end was looked for.
    Head(Vec<u8>),
    Body(Framing),
    /// No message is known to begin: after a gap, in a stream that was joined late, after something malformed.
    Lost,
}

impl Messages {
    /// `from_start`: whether the stream begins with a message.
    pub(super) fn new(from_start: bool) -> Self {
        Self { state: if from_start { State::Head(Vec::new()) } else { State::Lost } }
    }

    /// Says how long the body is of the message whose head was just read.
    pub(super) fn expect_body(&mut self, framing: Framing) {
        self.state = State::Body(framing);
    }

    /// To be called at the begin of each chunk, before [`Self::next`].
    pub(super) fn begin_chunk(&mut self, bytes: &[u8]) {
        if matches!(self.state, State::Lost) && may_begin_message(bytes) {
            self.state = State::Head(Vec::new());
        }
    }

    /// Reads on; `bytes` loses what was used. `None` when all was.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Event<'a>> {
        match &mut self.state {
            State::Lost => {
                *bytes = &[];
                None
            }
            State::Head(_) => self.head(bytes),
            State::Body(Framing::Empty | Framing::Length(0)) => Some(self.end()),
            State::Body(framing) => match framing {
                Framing::Length(left) => {
                    let len = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    *left -= len as u64;
                    Self::body(bytes, len)
                }
                Framing::Chunked(chunked) => match chunked.next(bytes) {
                    Piece::Data(data) => Some(Event::Body(data)),
                    Piece::End => Some(self.end()),
                    Piece::More => None,
                    Piece::Malformed => Some(self.malformed("invalid chunk", 0)),
                },
                Framing::UntilClose | Framing::Empty => {
                    let len = bytes.len();
                    Self::body(bytes, len)
                }
            },
        }
    }

    /// Part of a head was read.
    pub(super) fn is_in_head(&self) -> bool {
        matches!(&self.state, State::Head(head) if !head.is_empty())
    }

    /// Bytes are missing.
    pub(super) fn gap(&mut self, len: u64) -> Gap {
        let gap = match &mut self.state {
            State::Lost => Gap::Between,
            State::Head(head) if head.is_empty() => Gap::Between,
            State::Head(head) => Gap::InHead(std::mem::take(head)),
            State::Body(framing) => match framing {
                Framing::Length(left) if len <= *left => {
                    *left -= len;
                    return Gap::InBody;
                }
                Framing::Chunked(chunked) => {
                    if chunked.gap(len) {
                        return Gap::InBody;
                    }
                    Gap::PastEnd
                }
                Framing::UntilClose => return Gap::InBody,
                Framing::Length(_) | Framing::Empty => Gap::PastEnd,
            },
        };
        self.state = State::Lost;
        gap
    }

    /// What came of a head whose end won't come.
    pub(super) fn take_partial_head(&mut self) -> Option<Vec<u8>> {
        match &mut self.state {
            State::Head(head) if !head.is_empty() => Some(std::mem::take(head)),
            _ => None,
        }
    }

    /// The stream was closed: true when that is the end of a body that lasts until then.
    pub(super) fn close(&mut self) -> bool {
        let ends = matches!(self.state, State::Body(Framing::UntilClose | Framing::Length(0)));
        self.state = State::Lost;
        ends
    }

    fn head<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Event<'a>> {
        let State::Head(head) = &mut self.state else { return None };
        if head.is_empty() {
            // RFC 9112, section 2.2: empty lines before a request are to be ignored.
            let empty = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            *bytes = &bytes[empty..];
        }
        if bytes.is_empty() {
            return None;
        }
        let room = HEAD_LEN_MAX - head.len();
        let within = &bytes[..bytes.len().min(room)];
        let end = end_of_head(head, within);
        // Only what is of this head is copied: others may follow it in the same bytes.
        let (part, rest) = bytes.split_at(end.unwrap_or(within.len()));
        head.extend_from_slice(part);
        *bytes = rest;
        let len = head.len();
        if end.is_none() {
            return (len >= HEAD_LEN_MAX).then(|| self.malformed("head too long", len));
        }
        match Head::parse(std::mem::take(head)) {
            Ok(head) => Some(Event::Head(head)),
            Err(what) => Some(self.malformed(what, len)),
        }
    }

    fn body<'a>(bytes: &mut &'a [u8], len: usize) -> Option<Event<'a>> {
        let (data, rest) = bytes.split_at(len);
        *bytes = rest;
        (!data.is_empty()).then_some(Event::Body(data))
    }

    fn end<'a>(&mut self) -> Event<'a> {
        self.state = State::Head(Vec::new());
        Event::End
    }

    fn malformed<'a>(&mut self, what: &'static str, len: usize) -> Event<'a> {
        self.state = State::Lost;
        Event::Malformed { what, len }
    }
}

/// Where the empty line ends, in bytes that follow others: it may have begun in those.
fn end_of_head(before: &[u8], bytes: &[u8]) -> Option<usize> {
    let ends_line = |at: usize| {
        let mut earlier = bytes[..at].iter().rev().chain(before.iter().rev());
        match earlier.next() {
            Some(b'\n') => true,
            Some(b'\r') => earlier.next() == Some(&b'\n'),
            _ => false,
        }
    };
    (0..bytes.len()).find(|&at| bytes[at] == b'\n' && ends_line(at)).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a list of events is about.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Seen {
        heads: Vec<usize>,
        body: Vec<u8>,
        ends: usize,
        malformed: Vec<&'static str>,
    }

    fn read(messages: &mut Messages, bytes: &[u8], seen: &mut Seen) {
        let mut rest = bytes;
        messages.begin_chunk(rest);
        while let Some(event) = messages.next(&mut rest) {
            match event {
                Event::Head(head) => {
                    seen.heads.push(head.raw.len());
                    let chunked = head.value("transfer-encoding").is_some();
                    let framing = match head.content_length() {
                        _ if chunked => Framing::Chunked(Chunked::new()),
                        Some(len) => Framing::Length(len),
                        None => Framing::Empty,
                    };
                    messages.expect_body(framing);
                }
                Event::Body(data) => seen.body.extend(data),
                Event::End => seen.ends += 1,
                Event::Malformed { what, .. } => seen.malformed.push(what),
            }
        }
        assert!(rest.is_empty());
    }

    const PIPELINED: &[u8] =
        b"\r\nPOST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\n\nPUT /3 HTTP/1.1\r\n\
        Transfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\nGET /4 HTTP/1.1\r\n\r\n";

    #[test]
    fn the_same_however_the_bytes_come() {
        let expected =
            Seen { heads: vec![38, 17, 47, 19], body: b"abcde".to_vec(), ends: 4, malformed: vec![] };
        for size in 1..=PIPELINED.len() {
            let (mut messages, mut seen) = (Messages::new(true), Seen::default());
            for part in PIPELINED.chunks(size) {
                read(&mut messages, part, &mut seen);
            }
            assert_eq!(seen, expected, "chunks of {size}");
        }
    }

    #[test]
    fn heads_hold_no_more_than_they_have() {
        let segment = b"GET / HTTP/1.1\n\n".repeat(4096);
        let (mut messages, mut rest, mut heads) = (Messages::new(true), segment.as_slice(), 0);
        while let Some(event) = messages.next(&mut rest) {
            let Event::Head(head) = event else { continue };
            heads += 1;
            assert!(head.raw.capacity() < 64, "{} bytes for {}", head.raw.capacity(), head.raw.len());
            messages.expect_body(Framing::Empty);
        }
        assert_eq!(heads, 4096);
    }

    #[test]
    fn a_head_without_an_end_is_given_up() {
        let (mut messages, mut seen) = (Messages::new(true), Seen::default());
        read(&mut messages, b"GET / HTTP/1.1\r\nA: ", &mut seen);
        for _ in 0..200 {
            read(&mut messages, &[b'a'; 1000], &mut seen);
        }
        assert_eq!(seen.malformed, ["head too long"]);
        read(&mut messages, b"GET / HTTP/1.1\r\n\r\n", &mut seen);
        assert_eq!(seen.ends, 1, "and the next message is found again");
    }

    #[test]
    fn gaps() {
        let (mut messages, mut seen) = (Messages::new(true), Seen::default());
        let head = b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n";
        read(&mut messages, &[&head[..], b"ab"].concat(), &mut seen);
        assert_eq!(messages.gap(6), Gap::InBody);
        read(&mut messages, b"xy", &mut seen);
        assert_eq!((seen.ends, seen.body.len()), (1, 4));
        assert_eq!(messages.gap(5), Gap::Between);
        read(&mut messages, b"garbage", &mut seen);
        read(&mut messages, &[&head[..], b"ab"].concat(), &mut seen);
        assert_eq!(messages.gap(9), Gap::PastEnd);
        read(&mut messages, &head[..20], &mut seen);
        assert_eq!(messages.gap(1), Gap::InHead(head[..20].to_vec()));
        assert_eq!(seen.malformed, Vec::<&str>::new());
    }

    #[test]
    fn joined_late() {
        let (mut messages, mut seen) = (Messages::new(false), Seen::default());
        read(&mut messages, b"rest of a body\r\n\r\n", &mut seen);
        read(&mut messages, b"GET / HTTP/1.1\r\n\r\n", &mut seen);
        assert_eq!((seen.heads.len(), seen.ends), (1, 1));
    }
}
