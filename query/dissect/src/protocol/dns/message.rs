//! The view of a DNS message (RFC 1035, section 4): sections, records and names, checked, without their meaning.

use std::fmt::Write as _;

/// Bytes of the header.
pub const HEADER_LEN: usize = 12;

/// Bytes of a name in a message, lengths included (RFC 1035, section 2.3.4).
const NAME_LEN_MAX: usize = 255;

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

/// An entry of the question section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name asked for, as in [`read_name`].
    pub name: String,
    /// QTYPE.
    pub kind: u16,
    /// QCLASS.
    pub class: u16,
}

/// A resource record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name that it belongs to.
    pub name: String,
    /// TYPE.
    pub kind: u16,
    /// CLASS; of OPT records the size of UDP payloads that the sender takes.
    pub class: u16,
    /// TTL in seconds; of OPT records extended response code, version and flags.
    pub ttl: u32,
    /// Where RDATA is in the message. Never beyond its end.
    pub data: std::ops::Range<usize>,
}

/// A message as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its header.
    pub header: Header,
    /// Questions.
    pub questions: Vec<Question>,
    /// Answer, authority and additional records.
    pub sections: [Vec<Record>; 3],
    /// Bytes that were read; more may lie behind them.
    pub len: usize,
    /// What was wrong, when not everything that the header announces could be read.
    pub error: Option<&'static str>,
}

/// Reads a message as far as possible; `None` when not even the header is whole.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Message> {
    let header = Header::read(bytes)?;
    let mut message =
        Message { header, questions: Vec::new(), sections: Default::default(), len: HEADER_LEN, error: None };
    message.error = read_sections(bytes, &mut message).err();
    Some(message)
}

/// Each question and record takes bytes of the message, so that counts that lie end with the bytes.
fn read_sections(bytes: &[u8], message: &mut Message) -> Result<(), &'static str> {
    for _ in 0..message.header.counts[0] {
        let (name, end) = read_name(bytes, message.len)?;
        let kind = u16_at(bytes, end).ok_or("a question is cut")?;
        let class = u16_at(bytes, end + 2).ok_or("a question is cut")?;
        message.questions.push(Question { name, kind, class });
        message.len = end + 4;
    }
    for section in 0..3 {
        for _ in 0..message.header.counts[section + 1] {
            let record = read_record(bytes, message.len)?;
            message.len = record.data.end;
            message.sections[section].push(record);
        }
    }
    Ok(())
}

fn read_record(bytes: &[u8], at: usize) -> Result<Record, &'static str> {
    const CUT: &str = "a record is cut";
    let (name, end) = read_name(bytes, at)?;
    let kind = u16_at(bytes, end).ok_or(CUT)?;
    let class = u16_at(bytes, end + 2).ok_or(CUT)?;
    let ttl = u32_at(bytes, end + 4).ok_or(CUT)?;
    let data_len = usize::from(u16_at(bytes, end + 8).ok_or(CUT)?);
    let start = end + 10;
    if bytes.len() < start + data_len {
        return Err("the data of a record are cut");
    }
    Ok(Record { name, kind, class, ttl, data: start..start + data_len })
}

/// Reads a name, following compression pointers. Gives it without the dot at its end (`.` for the root), with dots and
/// bytes that aren't printable in labels written as in zone files (RFC 1035, section 5.1), and where it ends.
///
/// # Errors
/// When it is cut, too long, or never ends.
pub fn read_name(bytes: &[u8], start: usize) -> Result<(String, usize), &'static str> {
    const CUT: &str = "a name is cut";
    let mut name = String::new();
    let (mut at, mut end) = (start, None);
    let (mut wire_len, mut pointers) = (0, 0);
    loop {
        let len = *bytes.get(at).ok_or(CUT)?;
        match len >> 6 {
            0 if len == 0 => {
                if name.is_empty() {
                    name.push('.');
                }
                return Ok((name, end.unwrap_or(at + 1)));
            }
            0 => {
                let label = bytes.get(at + 1..at + 1 + usize::from(len)).ok_or(CUT)?;
                wire_len += label.len() + 1;
                if wire_len >= NAME_LEN_MAX {
                    return Err("a name is longer than 255 bytes");
                }
                if !name.is_empty() {
                    name.push('.');
                }
                push_label(&mut name, label);
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
        assert_eq!(query.questions, [Question { name: "example.org".into(), kind: 15, class: 1 }]);
        let response = read(RESPONSE_MX).unwrap();
        assert_eq!((response.error, response.len), (None, RESPONSE_MX.len()));
        assert!(response.header.is_response());
        assert_eq!(response.sections[0][0].name, "example.org");
        assert_eq!(response.sections[0][0].ttl, 300);
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
        assert!(message.error.is_some() && message.questions.len() <= 2);
    }
}
