//! Messages, field by field (PostgreSQL manual, chapter 55, "Frontend/Backend Protocol"). What isn't there is `None`.

use super::super::sql::{Format, Reader};

/// Bytes of a message that are looked at.
pub(super) const MESSAGE_KEPT_MAX: usize = 100 * 1024;

/// Messages have no more than a gigabyte: what PostgreSQL allocates at most (`MaxAllocSize`).
const MESSAGE_LENGTH_MAX: u32 = 0x3fff_ffff;

/// The longest first packet (`MAX_STARTUP_PACKET_LENGTH`).
const STARTUP_LENGTH_MAX: u32 = 10_000;

/// Every message but the first of a client: its type, then its length, which counts itself.
pub(super) const MESSAGE: Format = Format {
    header_length: 5,
    body_length: |header| {
        let [kind, length @ ..] = header else { return None };
        let length = u32::from_be_bytes(length.try_into().ok()?);
        (kind.is_ascii_alphanumeric() && (4..=MESSAGE_LENGTH_MAX).contains(&length))
            .then(|| u64::from(length - 4))
    },
    kept_max: MESSAGE_KEPT_MAX,
};

/// The first message of a client: its length only.
pub(super) const STARTUP: Format = Format {
    header_length: 4,
    body_length: |header| {
        let length = u32::from_be_bytes(header.try_into().ok()?);
        (8..=STARTUP_LENGTH_MAX).contains(&length).then(|| u64::from(length - 4))
    },
    kept_max: MESSAGE_KEPT_MAX,
};

/// The first message of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Startup<'a> {
    /// Version 3 of the protocol, with names and values.
    Session(Vec<(&'a [u8], &'a [u8])>),
    /// Cancel what this process of the server does.
    Cancel { process: u32 },
    /// Go on in TLS, if the server likes.
    Tls,
    /// Go on in GSSAPI encryption, if the server likes.
    Gss,
}

impl<'a> Startup<'a> {
    const CANCEL: u32 = 80_877_102;
    const TLS: u32 = 80_877_103;
    const GSS: u32 = 80_877_104;
    const MAJOR_VERSION: u32 = 3;

    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        match reader.u32_be()? {
            Self::CANCEL => Some(Self::Cancel { process: reader.u32_be()? }),
            Self::TLS => Some(Self::Tls),
            Self::GSS => Some(Self::Gss),
            version if version >> 16 == Self::MAJOR_VERSION => {
                let mut parameters = Vec::new();
                while let Some(name) = reader.until_nul()
                    && !name.is_empty()
                {
                    parameters.push((name, reader.until_nul()?));
                }
                Some(Self::Session(parameters))
            }
            _ => None,
        }
    }
}

/// `Parse`: a statement is prepared.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Preparation<'a> {
    /// Empty for the one without a name.
    pub(super) name: &'a [u8],
    pub(super) query: &'a [u8],
    /// Object ids of the parameters' types; 0, or none at all, where the server is to find out.
    pub(super) types: Vec<u32>,
}

impl<'a> Preparation<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let name = reader.until_nul()?;
        let query = reader.until_nul_or_end();
        Some(Self { name, query, types: type_list(&mut reader).unwrap_or_default() })
    }
}

/// A count and so many object ids of types.
pub(super) fn type_list(reader: &mut Reader<'_>) -> Option<Vec<u32>> {
    let count = usize::from(reader.u16_be()?);
    let bytes = reader.take(count * 4)?;
    Some(bytes.chunks_exact(4).map(|id| u32::from_be_bytes([id[0], id[1], id[2], id[3]])).collect())
}

/// `Bind`: a statement gets its parameters and becomes a portal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bind<'a> {
    pub(super) portal: &'a [u8],
    pub(super) statement: &'a [u8],
    /// Values with whether they are binary; `None` is NULL.
    pub(super) parameters: Vec<(Option<&'a [u8]>, bool)>,
    /// Whether results are to be binary: for all columns, or for each.
    pub(super) binary_results: Vec<bool>,
}

impl<'a> Bind<'a> {
    /// Parameters past the end of what is here are left out.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let portal = reader.until_nul()?;
        let statement = reader.until_nul()?;
        let mut bind = Self { portal, statement, parameters: Vec::new(), binary_results: Vec::new() };
        bind.parse_values(&mut reader);
        Some(bind)
    }

    fn parse_values(&mut self, reader: &mut Reader<'a>) -> Option<()> {
        let formats = format_list(reader)?;
        let count = reader.u16_be()?;
        for index in 0..usize::from(count) {
            let value = sized(reader)?;
            self.parameters.push((value, is_binary(&formats, index)));
        }
        self.binary_results = format_list(reader)?;
        Some(())
    }
}

/// A count and so many format codes: whether each is binary.
fn format_list(reader: &mut Reader<'_>) -> Option<Vec<bool>> {
    let count = usize::from(reader.u16_be()?);
    Some(reader.take(count * 2)?.chunks_exact(2).map(|code| code[1] == 1).collect())
}

/// The format of one value: none given is text for all, one given is for all.
pub(super) fn is_binary(formats: &[bool], index: usize) -> bool {
    match formats {
        [] => false,
        [one] => *one,
        each => each.get(index).copied().unwrap_or(false),
    }
}

/// Bytes after their length; -1 is NULL.
fn sized<'a>(reader: &mut Reader<'a>) -> Option<Option<&'a [u8]>> {
    match reader.u32_be()? {
        u32::MAX => Some(None),
        length => reader.take(usize::try_from(length).ok()?).map(Some),
    }
}

/// A column of a `RowDescription`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Object id of its type.
    pub(super) type_id: u32,
    pub(super) is_binary: bool,
}

/// `RowDescription`: how many columns, and those of them that are here and among the first `kept_max`.
pub(super) fn row_description(body: &[u8], kept_max: usize) -> Option<(u16, Vec<Column>)> {
    let mut reader = Reader::new(body);
    let count = reader.u16_be()?;
    let mut columns = Vec::new();
    for _ in 0..usize::from(count).min(kept_max) {
        let Some(column) = column(&mut reader) else { break };
        columns.push(column);
    }
    Some((count, columns))
}

fn column(reader: &mut Reader<'_>) -> Option<Column> {
    let name = super::super::text(reader.until_nul()?);
    reader.take(4 + 2)?; // table, number of its column
    let type_id = reader.u32_be()?;
    reader.take(2 + 4)?; // size and modifier of the type
    Some(Column { name, type_id, is_binary: reader.u16_be()? == 1 })
}

/// `DataRow`: its values one by one, after their number. `None` inside is NULL.
pub(super) fn data_row(body: &[u8]) -> Option<(u16, impl Iterator<Item = Option<&[u8]>>)> {
    let mut reader = Reader::new(body);
    let count = reader.u16_be()?;
    Some((count, (0..count).map_while(move |_| sized(&mut reader))))
}

/// `ErrorResponse` or `NoticeResponse`: the fields that are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerError {
    pub(super) severity: Option<String>,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
}

impl ServerError {
    pub(super) fn parse(body: &[u8]) -> Self {
        let mut error = Self::default();
        let mut reader = Reader::new(body);
        while let Some(kind) = reader.u8()
            && kind != 0
        {
            let value = super::super::text(reader.until_nul_or_end());
            match kind {
                b'S' => error.severity = Some(value),
                b'C' => error.code = Some(value),
                b'M' => error.message = Some(value),
                _ => {}
            }
        }
        error
    }
}

/// How many rows a `CommandComplete` tells of: the last word of `INSERT 0 5`, `SELECT 5`, `COPY 5`.
pub(super) fn affected_rows(tag: &str) -> Option<u64> {
    tag.rsplit_once(' ').and_then(|(_, count)| count.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_messages() {
        let session = b"\0\x03\0\0user\0me\0database\0db\0\0";
        assert_eq!(
            Startup::parse(session),
            Some(Startup::Session(vec![(b"user", b"me"), (b"database", b"db")]))
        );
        assert_eq!(Startup::parse(&[4, 210, 22, 47]), Some(Startup::Tls));
        assert_eq!(Startup::parse(&[4, 210, 22, 48]), Some(Startup::Gss));
        assert_eq!(
            Startup::parse(&[4, 210, 22, 46, 0, 0, 0, 7, 0, 0, 0, 9]),
            Some(Startup::Cancel { process: 7 })
        );
        assert_eq!(Startup::parse(&[4, 210, 22, 46]), None);
        assert_eq!(Startup::parse(b"\0\x02\0\0user\0me\0\0"), None);
        for end in 0..session.len() {
            Startup::parse(&session[..end]);
        }
    }

    #[test]
    fn binding_parameters() {
        let body = b"p\0s\0\0\x02\0\0\0\x01\0\x03\0\0\0\x01a\xff\xff\xff\xff\0\0\0\x01b\0\x01\0\x01";
        let bind = Bind::parse(body).unwrap();
        assert_eq!((bind.portal, bind.statement), (&b"p"[..], &b"s"[..]));
        assert_eq!(bind.parameters, [(Some(&b"a"[..]), false), (None, true), (Some(b"b"), false)]);
        assert_eq!(bind.binary_results, [true]);
        assert!(is_binary(&bind.binary_results, 7));
        for end in 0..body.len() {
            Bind::parse(&body[..end]);
        }
        assert_eq!(Bind::parse(b"p\0s\0\0\0\0\x01\x7f\xff\xff\xffx").unwrap().parameters, []);
    }

    #[test]
    fn rows_and_their_description() {
        let body = b"\0\x02id\0\0\0\x40\0\0\x01\0\0\0\x17\0\x04\xff\xff\xff\xff\0\x01name\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
        let (count, columns) = row_description(body, 100).unwrap();
        assert_eq!((count, columns.len()), (2, 2));
        assert_eq!((columns[0].name.as_str(), columns[0].type_id, columns[0].is_binary), ("id", 23, true));
        assert_eq!(row_description(body, 1).unwrap().1.len(), 1);
        let (count, values) = data_row(b"\0\x03\0\0\0\x01x\xff\xff\xff\xff\0\0\0\x09y").unwrap();
        assert_eq!(count, 3);
        assert_eq!(values.collect::<Vec<_>>(), [Some(&b"x"[..]), None], "the third is cut");
    }

    #[test]
    fn errors_and_tags() {
        let error = ServerError::parse(b"SERROR\0VERROR\0C42P01\0Mrelation \"x\" does not exist\0P15\0\0");
        assert_eq!(error.severity.as_deref(), Some("ERROR"));
        assert_eq!(error.code.as_deref(), Some("42P01"));
        assert_eq!(error.message.as_deref(), Some("relation \"x\" does not exist"));
        for (tag, rows) in
            [("INSERT 0 5", Some(5)), ("COPY 7", Some(7)), ("CREATE TABLE", None), ("BEGIN", None)]
        {
            assert_eq!(affected_rows(tag), rows);
        }
    }
}
