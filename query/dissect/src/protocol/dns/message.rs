//! The view of a DNS message (RFC 1035, section 4): sections, records and names, checked, without their meaning.

use std::fmt::{self, Write as _};

/// Bytes of the header.
pub const HEADER_LEN: usize = 12;

/// Bytes of a name in a message, lengths included (RFC 1035, section 2.3.4).
const NAME_LEN_MAX: usize = 255;

/// Bytes of text that most names have no more of.
const NAME_LEN_USUAL: usize = 32;

/// Compression pointers in one name: as many as labels fit in.
const POINTERS_MAX: usize = 127;

/// The twelve bytes that every message begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Chosen by the client, repeated by the server.
    pub id: u16,
    /// Response, opcode, flags and response code.
    pub flags: u16,
    /// Number of questions, answers, authority and additional records that the message says it has.
    pub counts: [u16; 4],
}

impl Header {
    /// Reads the header; `None` when it is cut.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let field = |at| u16_at(bytes, at);
        Some(Self { id: field(0)?, flags: field(2)?, counts: [field(4)?, field(6)?, field(8)?, field(10)?] })
    }

    /// QR: true for responses.
    #[must_use]
    pub fn is_response(self) -> bool {
        self.flags & 0x8000 != 0
    }

    /// OPCODE.
    #[must_use]
    pub fn opcode(self) -> u8 {
        (self.flags >> 11 & 0x0f) as u8
    }

    /// RCODE, without the bits that EDNS adds.
    #[must_use]
    pub fn response_code(self) -> u8 {
        (self.flags & 0x0f) as u8
    }

    /// One of [`flag`].
    #[must_use]
    pub fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// Bits of [`Header::flags`].
pub mod flag {
    /// AA: the server is an authority for the name.
    pub const AUTHORITATIVE: u16 = 0x0400;
    /// TC: cut; ask again over TCP.
    pub const TRUNCATED: u16 = 0x0200;
    /// RD: resolve it for me.
    pub const RECURSION_DESIRED: u16 = 0x0100;
    /// RA: the server would.
    pub const RECURSION_AVAILABLE: u16 = 0x0080;
    /// Z: must be zero.
    pub const ZERO: u16 = 0x0040;
    /// AD: the server verified signatures (RFC 4035, section 3.2.3).
    pub const AUTHENTIC_DATA: u16 = 0x0020;
    /// CD: don't verify them (RFC 4035, section 3.2.2).
    pub const CHECKING_DISABLED: u16 = 0x0010;
}

/// A name in a message. It was read once, and so can be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    message: &'a [u8],
    at: usize,
}

impl Name<'_> {
    /// The name, as in [`read_name`].
    #[must_use]
    pub fn text(self) -> String {
        read_name(self.message, self.at).map_or_else(|_| String::new(), |(name, _)| name)
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().fmt(formatter)
    }
}

/// An entry of the question section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// The name asked for.
    pub name: Name<'a>,
    /// QTYPE.
    pub kind: u16,
    /// QCLASS.
    pub class: u16,
}

/// A resource record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The name that it belongs to.
    pub name: Name<'a>,
    /// TYPE.
    pub kind: u16,
    /// CLASS; of OPT records the size of UDP payloads that the sender takes.
    pub class: u16,
    /// TTL in seconds; of OPT records extended response code, version and flags.
    pub ttl: u32,
    /// Where RDATA begins in the message.
    pub data_at: usize,
    /// RDATA.
    pub data: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8], at: usize) -> Result<(Self, usize), &'static str> {
        const CUT: &str = "a record is cut";
        let end = walk_name(bytes, at, |_| {})?;
        let kind = u16_at(bytes, end).ok_or(CUT)?;
        let class = u16_at(bytes, end + 2).ok_or(CUT)?;
        let ttl = u32_at(bytes, end + 4).ok_or(CUT)?;
        let data_len = usize::from(u16_at(bytes, end + 8).ok_or(CUT)?);
        let data_at = end + 10;
        let data = bytes.get(data_at..data_at + data_len).ok_or("the data of a record are cut")?;
        let name = Name { message: bytes, at };
        Ok((Self { name, kind, class, ttl, data_at, data }, data_at + data_len))
    }

    /// The message that it is in.
    #[must_use]
    pub fn message(&self) -> &'a [u8] {
        self.name.message
    }
}

impl<'a> Question<'a> {
    fn read(bytes: &'a [u8], at: usize) -> Result<(Self, usize), &'static str> {
        const CUT: &str = "a question is cut";
        let end = walk_name(bytes, at, |_| {})?;
        let kind = u16_at(bytes, end).ok_or(CUT)?;
        let class = u16_at(bytes, end + 2).ok_or(CUT)?;
        Ok((Self { name: Name { message: bytes, at }, kind, class }, end + 4))
    }
}

/// The sections with records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// What was asked for.
    Answers,
    /// Who is an authority for it.
    Authorities,
    /// What else may be of use.
    Additionals,
}

/// A message as far as it could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Its header.
    pub header: Header,
    /// Of each section, the questions first: where it begins, and how many of its entries could be read.
    sections: [(usize, u16); 4],
    /// Bytes that were read; more may lie behind them.
    pub len: usize,
    /// What was wrong, when not everything that the header announces could be read.
    pub error: Option<&'static str>,
}

/// Reads a message as far as possible; `None` when not even the header is whole.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Message<'_>> {
    let header = Header::read(bytes)?;
    let mut message = Message { bytes, header, sections: [(HEADER_LEN, 0); 4], len: HEADER_LEN, error: None };
    message.error = message.read_sections().err();
    Some(message)
}

impl<'a> Message<'a> {
    /// The bytes that were read.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        &self.bytes[..self.len]
    }

    /// Questions.
    pub fn questions(&self) -> impl Iterator<Item = Question<'a>> + use<'a> {
        let bytes = self.bytes;
        entries(self.sections[0], move |at| Question::read(bytes, at))
    }

    /// Records of a section.
    pub fn records(&self, section: Section) -> impl Iterator<Item = Record<'a>> + use<'a> {
        let bytes = self.bytes;
        entries(self.sections[1 + section as usize], move |at| Record::read(bytes, at))
    }

    /// Number of records of a section that could be read.
    #[must_use]
    pub fn record_count(&self, section: Section) -> usize {
        self.sections[1 + section as usize].1.into()
    }

    /// Each question and record takes bytes of the message, so that counts that lie end with the bytes.
    fn read_sections(&mut self) -> Result<(), &'static str> {
        for number in 0..4 {
            self.sections[number].0 = self.len;
            for _ in 0..self.header.counts[number] {
                self.len = match number {
                    0 => Question::read(self.bytes, self.len)?.1,
                    _ => Record::read(self.bytes, self.len)?.1,
                };
                self.sections[number].1 += 1;
            }
        }
        Ok(())
    }
}

/// The entries of a section, which were read once.
fn entries<T>(
    (mut at, count): (usize, u16),
    read: impl Fn(usize) -> Result<(T, usize), &'static str>,
) -> impl Iterator<Item = T> {
    (0..count).map_while(move |_| {
        let (entry, end) = read(at).ok()?;
        at = end;
        Some(entry)
    })
}

/// Reads a name, following compression pointers. Gives it without the dot at its end (`.` for the root), with dots and
/// bytes that aren't printable in labels written as in zone files (RFC 1035, section 5.1), and where it ends.
///
/// # Errors
/// When it is cut, too long, or never ends.
pub fn read_name(bytes: &[u8], start: usize) -> Result<(String, usize), &'static str> {
    let mut name = String::with_capacity(NAME_LEN_USUAL);
    let end = walk_name(bytes, start, |label| {
        if !name.is_empty() {
            name.push('.');
        }
        push_label(&mut name, label);
    })?;
    if name.is_empty() {
        name.push('.');
    }
    Ok((name, end))
}

/// Shows the labels of a name; gives where it ends.
fn walk_name<'a>(
    bytes: &'a [u8],
    start: usize,
    mut show: impl FnMut(&'a [u8]),
) -> Result<usize, &'static str> {
    const CUT: &str = "a name is cut";
    let (mut at, mut end) = (start, None);
    let (mut wire_len, mut pointers) = (0, 0);
    loop {
        let len = *bytes.get(at).ok_or(CUT)?;
        match len >> 6 {
            0 if len == 0 => return Ok(end.unwrap_or(at + 1)),
            0 => {
                let label = bytes.get(at + 1..at + 1 + usize::from(len)).ok_or(CUT)?;
                wire_len += label.len() + 1;
                if wire_len >= NAME_LEN_MAX {
                    return Err("a name is longer than 255 bytes");
                }
                show(label);
                at += 1 + label.len();
            }
            3 => {
                let target = usize::from(u16_at(bytes, at).ok_or(CUT)? & 0x3fff);
                end.get_or_insert(at + 2);
                pointers += 1;
                if pointers > POINTERS_MAX {
                    return Err("the pointers of a name go round in circles");
                }
                at = target;
            }
            _ => return Err("a name has a label of an unknown kind"),
        }
    }
}

fn push_label(name: &mut String, label: &[u8]) {
    for &byte in label {
        match byte {
            b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                name.push('\\');
                name.push(char::from(byte));
            }
            0x21..=0x7e => name.push(char::from(byte)),
            _ => {
                // Writing to a String can't fail.
                let _ = write!(name, "\\{byte:03}");
            }
        }
    }
}

/// The two bytes at `at`, most significant first.
#[must_use]
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The four bytes at `at`, most significant first.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::dns::samples::{QUERY_MX, RESPONSE_MX};

    #[test]
    fn a_query_and_its_response() {
        let query = read(QUERY_MX).unwrap();
        assert_eq!((query.error, query.len), (None, QUERY_MX.len()));
        assert!(!query.header.is_response() && query.header.has(flag::RECURSION_DESIRED));
        let questions: Vec<_> =
            query.questions().map(|question| (question.name.text(), question.kind, question.class)).collect();
        assert_eq!(questions, [("example.org".to_owned(), 15, 1)]);
        let response = read(RESPONSE_MX).unwrap();
        assert_eq!((response.error, response.len), (None, RESPONSE_MX.len()));
        assert!(response.header.is_response());
        let answers: Vec<_> = response.records(Section::Answers).collect();
        assert_eq!((answers[0].name.text().as_str(), answers[0].ttl), ("example.org", 300));
        assert_eq!((answers.len(), response.record_count(Section::Answers)), (1, 1));
        assert_eq!(response.records(Section::Authorities).count(), 0);
        let additional = response.records(Section::Additionals).next().unwrap();
        assert_eq!(
            (additional.name.text().as_str(), additional.data),
            ("mail.example.org", &[192, 0, 2, 25][..])
        );
    }

    #[test]
    fn every_prefix_gives_what_it_can() {
        for len in 0..RESPONSE_MX.len() {
            match read(&RESPONSE_MX[..len]) {
                None => assert!(len < HEADER_LEN),
                Some(message) => assert!(message.error.is_some() && message.len <= len, "{len}"),
            }
        }
    }

    #[test]
    fn names_that_never_end() {
        assert!(read_name(&[0xc0, 0], 0).is_err());
        assert!(read_name(&[1, b'a', 0xc0, 0], 0).is_err());
        assert!(read_name(&[0x80, 0], 0).is_err());
        let long = [[1, b'a']; 200].concat();
        assert!(read_name(&long, 0).is_err());
    }

    #[test]
    fn odd_names_are_written_as_in_zone_files() {
        assert_eq!(read_name(&[0], 0), Ok((".".into(), 1)));
        assert_eq!(read_name(b"\x03a.b\x02c\x07\x00", 0), Ok((r"a\.b.c\007".into(), 8)));
        assert_eq!(read_name(b"\x00\x01x\xc0\x00", 1), Ok(("x".into(), 5)));
    }

    #[test]
    fn counts_that_lie_cost_nothing() {
        let mut bytes = [0; HEADER_LEN + 10];
        bytes[4..12].fill(0xff);
        let message = read(&bytes).unwrap();
        assert!(message.error.is_some() && message.questions().count() <= 2);
    }
}
