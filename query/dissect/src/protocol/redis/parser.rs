//! From bytes to values (Redis documentation, "Redis serialization protocol specification"), a piece at a time.

use super::super::{Message, Moment, text};
use super::value::{Aggregate, Value};

/// How deep values may lie in others. Redis itself sends a few levels; Lua scripts can make more.
pub(super) const DEPTH_MAX: usize = 64;

/// Bytes of text that are kept of one message; further text is passed over.
pub(super) const KEPT_BYTES_MAX: usize = 100 * 1024;

/// Values that are kept of one message.
pub(super) const KEPT_ITEMS_MAX: usize = 10_000;

/// The longest line: inline commands have no more (`PROTO_INLINE_MAX_SIZE`), nor do lengths and simple strings.
pub(super) const LINE_LENGTH_MAX: usize = 64 * 1024;

/// The longest string. Servers take 512 MiB unless they are told otherwise (`proto-max-bulk-len`).
const BULK_LENGTH_MAX: u64 = 1 << 40;

/// The length of the mark that ends a database of unknown length.
const MARK_LENGTH: usize = 40;

const LINE_END_LENGTH: u64 = 2;

/// A message: a command, a reply or what is pushed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) value: Value,
    pub(super) place: Message,
    /// A command on a line of its own.
    pub(super) is_inline: bool,
    /// Not all of it was kept.
    pub(super) is_cut: bool,
    /// Bytes of it are missing in the capture.
    pub(super) has_gap: bool,
}

/// Bytes that are not RESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotResp;

/// What is being read.
#[derive(Debug, Default)]
enum State {
    /// A line, as far as it is here.
    #[default]
    Line,
    /// A string: bytes to come, the end of the line included.
    Bulk { left: u64, kept: Vec<u8>, kind: Bulk },
    /// A database of known length, which has no end of line.
    Database { left: u64 },
    /// A database up to a mark; the last bytes that were seen.
    MarkedDatabase { mark: [u8; MARK_LENGTH], tail: Vec<u8> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bulk {
    Text,
    Error,
    /// Its first four bytes are its format.
    Verbatim,
    /// A part of a string of unknown length.
    Part,
}

/// An aggregate that isn't whole.
#[derive(Debug)]
struct Open {
    kind: Aggregate,
    items: Vec<Value>,
    /// Values to come; `None` up to an end mark.
    left: Option<u64>,
}

/// Reads one direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// Lines that begin with no type are commands.
    takes_inline: bool,
    /// The next string is a database.
    expects_database: bool,
    state: State,
    line: Vec<u8>,
    stack: Vec<Open>,
    /// A string whose parts come one by one.
    parts: Option<Vec<u8>>,
    place: Option<Message>,
    kept_bytes: usize,
    kept_items: usize,
    is_cut: bool,
    has_gap: bool,
}

impl Parser {
    /// For what a client sends: commands may be on lines of their own.
    pub(super) fn of_client() -> Self {
        Self { takes_inline: true, ..Self::default() }
    }

    /// For what a server sends.
    pub(super) fn of_server() -> Self {
        Self::default()
    }

    /// The next string is a database (`SYNC`, `PSYNC`).
    pub(super) fn expect_database(&mut self) {
        self.expects_database = true;
    }

    /// Takes bytes off `input` until a message is whole, or the input is empty.
    pub(super) fn next(&mut self, input: &mut &[u8], at: Moment) -> Result<Option<Parsed>, NotResp> {
        while !input.is_empty() {
            let value = match &mut self.state {
                State::Line => self.line(input, at)?,
                State::Bulk { .. } => self.bulk(input, at)?,
                State::Database { .. } | State::MarkedDatabase { .. } => self.database(input, at),
            };
            let Some(value) = value else { continue };
            if let Some((value, is_inline)) = self.complete(value) {
                let Some(place) = self.place.take() else { continue };
                let parsed = Parsed { value, place, is_inline, is_cut: self.is_cut, has_gap: self.has_gap };
                self.begin();
                return Ok(Some(parsed));
            }
        }
        Ok(None)
    }

    /// Goes on after missing bytes, if they all belong to one string. When they don't, it isn't known what follows them, and
    /// the answer is false.
    pub(super) fn gap(&mut self, at: Moment, length: u64) -> bool {
        let left = match &mut self.state {
            State::Bulk { left, .. } if length + LINE_END_LENGTH <= *left => left,
            State::Database { left } if length < *left => left,
            _ => return false,
        };
        *left -= length;
        self.has_gap = true;
        if let Some(place) = &mut self.place {
            place.last = at;
            place.bytes += length;
        }
        true
    }

    /// Forgets the message that is being read; gives where it was.
    pub(super) fn abandon(&mut self) -> Option<Message> {
        let place = self.place.take();
        self.begin();
        self.expects_database = false;
        place
    }

    fn begin(&mut self) {
        self.state = State::Line;
        self.line = Vec::new();
        self.stack.clear();
        self.parts = None;
        self.kept_bytes = 0;
        self.kept_items = 0;
        self.is_cut = false;
        self.has_gap = false;
    }

    /// Takes bytes off the input that belong to the message.
    fn take<'a>(&mut self, input: &mut &'a [u8], count: usize, at: Moment) -> &'a [u8] {
        let (taken, rest) = input.split_at(count);
        *input = rest;
        match &mut self.place {
            Some(place) => place.extend(at, count),
            None => self.place = Some(Message::at(at, count)),
        }
        taken
    }

    fn line(&mut self, input: &mut &[u8], at: Moment) -> Result<Option<Step>, NotResp> {
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
            let count = input.len();
            if self.line.len() + count > LINE_LENGTH_MAX {
                return Err(NotResp);
            }
            let part = self.take(input, count, at);
            self.line.extend_from_slice(part);
            return self.check_type().map(|()| None);
        };
        if self.line.len() + end > LINE_LENGTH_MAX {
            return Err(NotResp);
        }
        let part = self.take(input, end + 1, at);
        if self.line.is_empty() {
            // All of it lies in the input: nothing is copied.
            return self.whole_line(&part[..end]);
        }
        self.line.extend_from_slice(&part[..end]);
        let line = std::mem::take(&mut self.line);
        self.whole_line(&line)
    }

    /// Refuses lines that can't be anything before they are whole.
    fn check_type(&self) -> Result<(), NotResp> {
        match self.line.first() {
            Some(first) if !self.takes_inline_here() && !b"+-:$*_#,(!=%~>|.;\r".contains(first) => {
                Err(NotResp)
            }
            _ => Ok(()),
        }
    }

    fn takes_inline_here(&self) -> bool {
        self.takes_inline && self.stack.is_empty()
    }

    fn whole_line(&mut self, line: &[u8]) -> Result<Option<Step>, NotResp> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some((&kind, rest)) = line.split_first() else {
            return if self.stack.is_empty() {
                // Between commands, and from a master that makes its database ready.
                self.place = None;
                Ok(None)
            } else {
                Err(NotResp)
            };
        };
        if self.takes_inline_here() && kind != b'*' {
            return Ok(Some(Step::Inline(inline(line))));
        }
        if self.expects_database && self.stack.is_empty() && kind == b'$' {
            return self.begin_database(rest).map(|()| None);
        }
        let value = match kind {
            b'+' | b',' | b'(' => Value::Text(self.kept_text(rest)),
            b'-' => Value::Error(self.kept_text(rest)),
            b':' => Value::Integer(number(rest).ok_or(NotResp)?),
            b'_' => Value::Nil,
            b'#' => Value::Bool(match rest {
                b"t" => true,
                b"f" => false,
                _ => return Err(NotResp),
            }),
            b'$' if rest == b"?" => {
                self.parts = Some(Vec::new());
                return Ok(None);
            }
            b'$' => return self.begin_bulk(rest, Bulk::Text),
            b'!' => return self.begin_bulk(rest, Bulk::Error),
            b'=' => return self.begin_bulk(rest, Bulk::Verbatim),
            b';' if self.parts.is_some() => return self.begin_bulk(rest, Bulk::Part),
            b'*' => return self.begin_items(rest, Aggregate::Array, 1),
            b'~' => return self.begin_items(rest, Aggregate::Set, 1),
            b'>' => return self.begin_items(rest, Aggregate::Push, 1),
            b'%' => return self.begin_items(rest, Aggregate::Map, 2),
            b'|' => return self.begin_items(rest, Aggregate::Attribute, 2),
            b'.' if self.stack.last().is_some_and(|open| open.left.is_none()) => {
                return Ok(Some(Step::EndOfItems));
            }
            _ => return Err(NotResp),
        };
        Ok(Some(Step::Value(value)))
    }

    fn begin_bulk(&mut self, rest: &[u8], kind: Bulk) -> Result<Option<Step>, NotResp> {
        let length = number(rest).ok_or(NotResp)?;
        if length == -1 {
            return Ok(Some(Step::Value(Value::Nil)));
        }
        let length = u64::try_from(length).ok().filter(|&length| length <= BULK_LENGTH_MAX).ok_or(NotResp)?;
        if kind == Bulk::Part && length == 0 {
            let kept = self.parts.take().unwrap_or_default();
            return Ok(Some(Step::Value(Value::Text(text(&kept)))));
        }
        self.state = State::Bulk { left: length + LINE_END_LENGTH, kept: Vec::new(), kind };
        Ok(None)
    }

    fn begin_items(
        &mut self,
        rest: &[u8],
        kind: Aggregate,
        values_each: u64,
    ) -> Result<Option<Step>, NotResp> {
        let left = if rest == b"?" {
            None
        } else {
            match number(rest).ok_or(NotResp)? {
                -1 => return Ok(Some(Step::Value(Value::Nil))),
                count => Some(
                    u64::try_from(count)
                        .ok()
                        .and_then(|count| count.checked_mul(values_each))
                        .ok_or(NotResp)?,
                ),
            }
        };
        if self.stack.len() >= DEPTH_MAX {
            return Err(NotResp);
        }
        self.stack.push(Open { kind, items: Vec::new(), left });
        Ok((left == Some(0)).then_some(Step::EndOfItems))
    }

    fn bulk(&mut self, input: &mut &[u8], at: Moment) -> Result<Option<Step>, NotResp> {
        let State::Bulk { left, .. } = &self.state else { return Ok(None) };
        let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
        let room = KEPT_BYTES_MAX.saturating_sub(self.kept_bytes);
        let part = self.take(input, count, at);
        let has_gap = self.has_gap;
        let State::Bulk { left, kept, kind } = &mut self.state else { return Ok(None) };
        let of_text = (*left).saturating_sub(LINE_END_LENGTH);
        let text_part = &part[..usize::try_from(of_text).unwrap_or(usize::MAX).min(part.len())];
        let wanted = if has_gap { 0 } else { text_part.len().min(room) };
        self.is_cut |= !has_gap && wanted < text_part.len();
        self.kept_bytes += wanted;
        *left -= count as u64;
        let is_whole = *left == 0;
        if is_whole && !part.ends_with(b"\n") {
            return Err(NotResp);
        }
        if !is_whole || !kept.is_empty() {
            kept.extend_from_slice(&text_part[..wanted]);
        }
        if !is_whole {
            return Ok(None);
        }
        let bytes = if kept.is_empty() { &text_part[..wanted] } else { &kept[..] };
        let value = match kind {
            Bulk::Text => Value::Text(text(bytes)),
            Bulk::Error => Value::Error(text(bytes)),
            Bulk::Verbatim => Value::Text(text(bytes.get(4..).unwrap_or_default())),
            Bulk::Part => {
                if let Some(parts) = &mut self.parts {
                    parts.extend_from_slice(bytes);
                }
                self.state = State::Line;
                return Ok(None);
            }
        };
        self.state = State::Line;
        Ok(Some(Step::Value(value)))
    }

    fn begin_database(&mut self, rest: &[u8]) -> Result<(), NotResp> {
        self.expects_database = false;
        self.state = match rest.strip_prefix(b"EOF:") {
            Some(mark) => {
                State::MarkedDatabase { mark: mark.try_into().map_err(|_| NotResp)?, tail: Vec::new() }
            }
            None => State::Database {
                left: number(rest).and_then(|left| u64::try_from(left).ok()).ok_or(NotResp)?,
            },
        };
        Ok(())
    }

    fn database(&mut self, input: &mut &[u8], at: Moment) -> Option<Step> {
        let (count, is_whole) = match &mut self.state {
            State::Database { left } => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= count as u64;
                (count, *left == 0)
            }
            State::MarkedDatabase { mark, tail } => {
                // The mark may begin in earlier bytes: they are looked at together with the first ones of these.
                let before = tail.len();
                tail.extend_from_slice(&input[..input.len().min(MARK_LENGTH)]);
                let across = tail.windows(MARK_LENGTH).position(|window| window == mark);
                let within = || input.windows(MARK_LENGTH).position(|window| window == mark);
                let end = match across {
                    Some(begin) => Some(begin + MARK_LENGTH - before),
                    None => within().map(|begin| begin + MARK_LENGTH),
                };
                let count = end.unwrap_or(input.len());
                if input.len() >= MARK_LENGTH {
                    *tail = input[input.len() - (MARK_LENGTH - 1)..].to_vec();
                } else {
                    tail.drain(..tail.len().saturating_sub(MARK_LENGTH - 1));
                }
                (count, end.is_some())
            }
            State::Line | State::Bulk { .. } => return None,
        };
        self.take(input, count, at);
        is_whole.then_some(Step::Value(Value::Database))
    }

    /// Puts a value where it belongs. Gives the message when it is whole, and whether it was an inline command.
    fn complete(&mut self, step: Step) -> Option<(Value, bool)> {
        let mut value = match step {
            Step::Inline(value) => return Some((value, true)),
            Step::Value(value) => value,
            Step::EndOfItems => {
                let open = self.stack.pop()?;
                if open.kind == Aggregate::Attribute {
                    return None;
                }
                Value::Items(open.kind, open.items)
            }
        };
        loop {
            let Some(open) = self.stack.last_mut() else { return Some((value, false)) };
            if self.kept_items < KEPT_ITEMS_MAX {
                self.kept_items += 1;
                open.items.push(value);
            } else {
                self.is_cut = true;
            }
            match &mut open.left {
                None => return None,
                Some(left) => {
                    *left -= 1;
                    if *left > 0 {
                        return None;
                    }
                }
            }
            let open = self.stack.pop()?;
            if open.kind == Aggregate::Attribute {
                // It is about the value that follows, and no value itself.
                return None;
            }
            value = Value::Items(open.kind, open.items);
        }
    }

    fn kept_text(&mut self, bytes: &[u8]) -> String {
        let kept = bytes.len().min(KEPT_BYTES_MAX.saturating_sub(self.kept_bytes));
        self.is_cut |= kept < bytes.len();
        self.kept_bytes += kept;
        text(&bytes[..kept])
    }
}

/// What some bytes brought.
enum Step {
    Value(Value),
    EndOfItems,
    Inline(Value),
}

/// A decimal number with a sign, as lengths and integers are.
fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The words of a line; quotes keep words together (`sdssplitargs`).
fn inline(line: &[u8]) -> Value {
    const WORDS_MAX: usize = 1024;
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(b'"'), b'\\') => {
                if let (Some(word), Some(escaped)) = (&mut word, bytes.next()) {
                    word.push(match escaped {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        other => other,
                    });
                }
            }
            (Some(open), byte) if byte == open => quote = None,
            (None, b'"' | b'\'') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (None, b' ' | b'\t' | b'\0') => words.extend(word.take()),
            (_, byte) => word.get_or_insert_default().push(byte),
        }
        if words.len() >= WORDS_MAX {
            break;
        }
    }
    words.extend(word);
    Value::Items(Aggregate::Array, words.iter().map(|word| Value::Text(text(word))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_all(mut parser: Parser, pieces: &[&[u8]]) -> Result<Vec<Parsed>, NotResp> {
        let mut found = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(parsed) = parser.next(&mut input, Moment::default())? {
                found.push(parsed);
            }
        }
        Ok(found)
    }

    /// The values as text, the same however the bytes are cut.
    fn replies(bytes: &[u8]) -> Result<Vec<String>, NotResp> {
        let whole = parse_all(Parser::of_server(), &[bytes])?;
        for at in 1..bytes.len() {
            let cut = parse_all(Parser::of_server(), &[&bytes[..at], &bytes[at..]])?;
            assert_eq!(cut, whole, "cut at {at}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(parse_all(Parser::of_server(), &single)?, whole);
        let total: u64 = whole.iter().map(|parsed| parsed.place.bytes).sum();
        assert!(total <= bytes.len() as u64);
        Ok(whole.iter().map(|parsed| parsed.value.to_string()).collect())
    }

    #[test]
    fn all_types_of_both_versions() {
        let bytes = b"+OK\r\n-ERR no\r\n:-5\r\n$5\r\nhe\r\nl\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n*1\r\n:1\r\n$0\r\n\r\n\
            _\r\n#t\r\n,1.5\r\n(123456789012345678901\r\n!5\r\nERR x\r\n=7\r\ntxt:abc\r\n%1\r\n+a\r\n:1\r\n~1\r\n+b\r\n\
            >2\r\n+invalidate\r\n*1\r\n+k\r\n|1\r\n+ttl\r\n:9\r\n+about\r\n$?\r\n;3\r\nabc\r\n;2\r\nde\r\n;0\r\n*?\r\n:1\r\n:2\r\n.\r\n";
        assert_eq!(
            replies(bytes).unwrap(),
            [
                "OK",
                "ERR no",
                "-5",
                "he\r\nl",
                "nil",
                "nil",
                "[]",
                "[[1], ]",
                "nil",
                "true",
                "1.5",
                "123456789012345678901",
                "ERR x",
                "abc",
                "[a, 1]",
                "[b]",
                "[invalidate, [k]]",
                "about",
                "abcde",
                "[1, 2]"
            ]
        );
    }

    #[test]
    fn attributes_inside() {
        assert_eq!(replies(b"*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n").unwrap(), ["[1, 2]"]);
    }

    #[test]
    fn what_is_not_resp() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\n"[..],
            b"$x\r\n",
            b"$-2\r\n",
            b":1x\r\n",
            b":\r\n",
            b"#y\r\n",
            b"*99999999999999999999\r\n",
            b"$3\r\nabcde\r\n",
            b"*1\r\n\r\n",
        ] {
            assert!(
                parse_all(Parser::of_server(), &[bytes]).is_err(),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
        assert!(parse_all(Parser::of_server(), &[&vec![b'+'; LINE_LENGTH_MAX + 1]]).is_err());
        assert!(parse_all(Parser::of_server(), &[&b"*1\r\n".repeat(DEPTH_MAX)]).is_ok());
        assert!(parse_all(Parser::of_server(), &[&b"*1\r\n".repeat(DEPTH_MAX + 1)]).is_err());
    }

    #[test]
    fn large_ones_are_followed_and_not_kept() {
        let long = [&b"$1000000\r\n"[..], &vec![b'x'; 1_000_000], b"\r\n+OK\r\n"].concat();
        let parsed = parse_all(Parser::of_server(), &long.chunks(1460).collect::<Vec<_>>()).unwrap();
        assert_eq!(parsed[0].value.as_text().unwrap().len(), KEPT_BYTES_MAX);
        assert!(parsed[0].is_cut && !parsed[1].is_cut);
        let many = [&b"*100000\r\n"[..], &b":1\r\n".repeat(100_000), b"+OK\r\n"].concat();
        let parsed = parse_all(Parser::of_server(), &[&many]).unwrap();
        assert_eq!(parsed[0].value.items().len(), KEPT_ITEMS_MAX);
        assert!(parsed[0].is_cut);
        assert_eq!(parsed[1].value.as_text(), Some("OK"));
        // A length alone takes no memory.
        assert!(
            parse_all(Parser::of_server(), &[b"*9223372036854775807\r\n$1000000000000\r\n"])
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn gaps_inside_a_string() {
        let mut parser = Parser::of_server();
        let mut input = &b"$10\r\nabc"[..];
        assert_eq!(parser.next(&mut input, Moment::default()), Ok(None));
        assert!(parser.gap(Moment::default(), 4));
        assert!(!parser.gap(Moment::default(), 4));
        let mut input = &b"hij\r\n"[..];
        let parsed = parser.next(&mut input, Moment::default()).unwrap().unwrap();
        assert!(parsed.has_gap);
        assert_eq!((parsed.value.as_text(), parsed.place.bytes), (Some("abc"), 17));
    }

    #[test]
    fn inline_commands() {
        let bytes = b"\r\nPING\r\nset  \"a b\\n\" 'c d'\n*1\r\n$4\r\nQUIT\r\n";
        let parsed = parse_all(Parser::of_client(), &[bytes]).unwrap();
        let texts: Vec<_> =
            parsed.iter().map(|parsed| (parsed.value.to_string(), parsed.is_inline)).collect();
        assert_eq!(
            texts,
            [
                ("[PING]".to_owned(), true),
                ("[set, a b\n, c d]".to_owned(), true),
                ("[QUIT]".to_owned(), false)
            ]
        );
    }

    #[test]
    fn databases_of_both_kinds() {
        let mark = "0123456789abcdef0123456789abcdef01234567";
        let marked = format!("\n$EOF:{mark}\r\nREDIS0011 012345{mark}*1\r\n$4\r\nPING\r\n");
        let sized = b"$5\r\nREDIS*1\r\n$4\r\nPING\r\n".to_vec();
        for bytes in [marked.into_bytes(), sized] {
            for size in 1..bytes.len() {
                let mut parser = Parser::of_server();
                parser.expect_database();
                let parsed = parse_all(parser, &bytes.chunks(size).collect::<Vec<_>>()).unwrap();
                let texts: Vec<_> = parsed.iter().map(|parsed| parsed.value.to_string()).collect();
                assert_eq!(texts, ["<database>", "[PING]"], "in pieces of {size}");
            }
        }
    }
}
