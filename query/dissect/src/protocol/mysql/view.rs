//! Packets of a server and of a login, field by field. What isn't there is `None`; nothing is guessed.

use super::super::sql::Reader;
use super::constants::{capability, marker};

/// A number of 1, 3, 4 or 9 bytes (`int<lenenc>`).
pub(super) fn length_encoded(reader: &mut Reader<'_>) -> Option<u64> {
    match reader.u8()? {
        byte @ 0..=0xfa => Some(byte.into()),
        0xfc => reader.u16_le().map(u64::from),
        0xfd => reader.u24_le().map(u64::from),
        0xfe => reader.u64_le(),
        _ => None,
    }
}

/// Bytes after their length (`string<lenenc>`).
pub(super) fn length_encoded_bytes<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = length_encoded(reader)?;
    reader.take(usize::try_from(length).ok()?)
}

/// The first packet of a server: version 10 of the handshake.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Greeting<'a> {
    pub(super) server_version: &'a [u8],
    pub(super) connection_id: u32,
    pub(super) capabilities: u64,
    pub(super) auth_plugin: Option<&'a [u8]>,
}

impl<'a> Greeting<'a> {
    /// The version of the handshake that is in use since 1998.
    pub(super) const VERSION: u8 = 10;

    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        if reader.u8()? != Self::VERSION {
            return None;
        }
        let server_version = reader.until_nul()?;
        let connection_id = reader.u32_le()?;
        reader.take(8 + 1)?; // first part of the challenge, filler
        let mut capabilities = u64::from(reader.u16_le()?);
        let mut auth_plugin = None;
        if let Some([_charset, _status_low, _status_high, high0, high1, challenge_length]) = reader.array() {
            capabilities |= u64::from(u16::from_le_bytes([high0, high1])) << 16;
            // Reserved; MariaDB has further capabilities in the last four.
            let reserved: [u8; 10] = reader.array().unwrap_or_default();
            let mariadb = u32::from_le_bytes([reserved[6], reserved[7], reserved[8], reserved[9]]);
            capabilities |= u64::from(mariadb) << 32;
            reader.take(usize::from(challenge_length).saturating_sub(8).max(13));
            if capabilities & capability::PLUGIN_AUTH != 0 && !reader.is_empty() {
                auth_plugin = Some(reader.until_nul_or_end());
            }
        }
        Some(Self { server_version, connection_id, capabilities, auth_plugin })
    }
}

/// The first packet of a client (`HandshakeResponse41`, `HandshakeResponse320`, `SSLRequest`).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Login<'a> {
    pub(super) capabilities: u64,
    /// `None` where the client asks for TLS before it tells more.
    pub(super) user: Option<&'a [u8]>,
    pub(super) database: Option<&'a [u8]>,
    pub(super) auth_plugin: Option<&'a [u8]>,
    /// Names and values.
    pub(super) attributes: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Login<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let low = u64::from(reader.u16_le()?);
        if low & capability::PROTOCOL_41 == 0 {
            reader.take(3)?; // largest packet
            let user = reader.until_nul_or_end();
            let database = (low & capability::CONNECT_WITH_DB != 0).then(|| {
                reader.until_nul();
                reader.until_nul_or_end()
            });
            return Some(Self { capabilities: low, user: Some(user), database, ..Self::default() });
        }
        let high = u64::from(reader.u16_le()?);
        reader.take(4 + 1)?; // largest packet, character set
        let reserved: [u8; 23] = reader.array()?;
        let mariadb = u32::from_le_bytes([reserved[19], reserved[20], reserved[21], reserved[22]]);
        let capabilities = low | high << 16 | u64::from(mariadb) << 32;
        let mut login = Self { capabilities, ..Self::default() };
        if reader.is_empty() && capabilities & capability::SSL != 0 {
            return Some(login);
        }
        login.user = Some(reader.until_nul()?);
        login.parse_rest(&mut reader);
        Some(login)
    }

    /// What follows the user's name, as far as it is there.
    fn parse_rest(&mut self, reader: &mut Reader<'a>) -> Option<()> {
        if self.capabilities & capability::PLUGIN_AUTH_LENENC != 0 {
            length_encoded_bytes(reader)?;
        } else if self.capabilities & capability::SECURE_CONNECTION != 0 {
            let length = reader.u8()?;
            reader.take(length.into())?;
        } else {
            reader.until_nul()?;
        }
        if self.capabilities & capability::CONNECT_WITH_DB != 0 {
            self.database = Some(reader.until_nul()?);
        }
        if self.capabilities & capability::PLUGIN_AUTH != 0 {
            self.auth_plugin = Some(reader.until_nul()?);
        }
        if self.capabilities & capability::CONNECT_ATTRS != 0 {
            let mut attributes = Reader::new(length_encoded_bytes(reader)?);
            while !attributes.is_empty() {
                let name = length_encoded_bytes(&mut attributes)?;
                self.attributes.push((name, length_encoded_bytes(&mut attributes)?));
            }
        }
        Some(())
    }
}

/// It was done (`OK_Packet`); also as the end of rows where clients deprecate EOF packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) affected_rows: u64,
    pub(super) insert_id: u64,
    pub(super) status: u16,
    pub(super) warnings: u16,
}

impl Done {
    /// An OK packet, after either of its markers. Servers before 4.1 tell no state.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        reader.u8()?;
        Some(Self {
            affected_rows: length_encoded(&mut reader)?,
            insert_id: length_encoded(&mut reader)?,
            status: reader.u16_le().unwrap_or(0),
            warnings: reader.u16_le().unwrap_or(0),
        })
    }

    /// An `EOF_Packet`: warnings first, and nothing of rows.
    pub(super) fn parse_eof(body: &[u8]) -> Self {
        let mut reader = Reader::new(body);
        reader.u8();
        let warnings = reader.u16_le().unwrap_or(0);
        Self { warnings, status: reader.u16_le().unwrap_or(0), ..Self::default() }
    }
}

/// Whether a packet is an `EOF_Packet`: 5 bytes, or 1 before version 4.1.
pub(super) fn is_eof(body: &[u8], length: u64) -> bool {
    body.first() == Some(&marker::EOF) && length < 6
}

/// It failed (`ERR_Packet`).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure<'a> {
    pub(super) code: u16,
    pub(super) sql_state: Option<&'a [u8]>,
    pub(super) message: &'a [u8],
}

impl<'a> Failure<'a> {
    /// With this code MariaDB reports progress: nothing failed.
    pub(super) const PROGRESS: u16 = 0xffff;

    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        reader.u8()?;
        let code = reader.u16_le()?;
        let mut sql_state = None;
        if reader.peek() == Some(b'#') && reader.len() >= 6 {
            sql_state = reader.take(6).map(|state| &state[1..]);
        }
        Some(Self { code, sql_state, message: reader.rest() })
    }
}

/// A column of a result (`ColumnDefinition41`).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Column<'a> {
    pub(super) schema: &'a [u8],
    pub(super) table: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) field_type: u8,
    pub(super) is_unsigned: bool,
}

impl<'a> Column<'a> {
    const UNSIGNED_FLAG: u16 = 1 << 5;

    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        length_encoded_bytes(&mut reader)?; // catalog
        let schema = length_encoded_bytes(&mut reader)?;
        let alias = length_encoded_bytes(&mut reader)?;
        let table = length_encoded_bytes(&mut reader)?;
        let name = length_encoded_bytes(&mut reader)?;
        length_encoded_bytes(&mut reader)?; // name in the table
        // MariaDB may have more about the type before the numbers of fixed size: these are the last, save defaults.
        let mut fixed = reader;
        if fixed.peek() != Some(0x0c) {
            length_encoded_bytes(&mut fixed)?;
        }
        fixed.take(1 + 2 + 4)?; // length of what follows, character set, width
        let field_type = fixed.u8()?;
        let is_unsigned = fixed.u16_le()? & Self::UNSIGNED_FLAG != 0;
        let table = if table.is_empty() { alias } else { table };
        Some(Self { schema, table, name, field_type, is_unsigned })
    }
}

/// The answer to a statement's preparation (`COM_STMT_PREPARE_OK`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) statement_id: u32,
    pub(super) columns: u16,
    pub(super) parameters: u16,
}

impl Prepared {
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        if reader.u8()? != marker::OK {
            return None;
        }
        Some(Self { statement_id: reader.u32_le()?, columns: reader.u16_le()?, parameters: reader.u16_le()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_sizes() {
        for (bytes, number) in [
            (&[0xfa][..], Some(250)),
            (&[0xfc, 1, 2], Some(0x0201)),
            (&[0xfd, 1, 2, 3], Some(0x03_0201)),
            (&[0xfe, 1, 0, 0, 0, 0, 0, 0, 1], Some(0x0100_0000_0000_0001)),
            (&[0xfb], None),
            (&[0xff], None),
            (&[0xfc, 1], None),
        ] {
            assert_eq!(length_encoded(&mut Reader::new(bytes)), number, "{bytes:?}");
        }
        assert_eq!(
            length_encoded_bytes(&mut Reader::new(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
            None
        );
    }

    #[test]
    fn a_greeting_of_mariadb() {
        let mut body =
            b"\x0a5.5.5-10.11.6-MariaDB\0\x1f\0\0\0abcdefgh\0\xfe\xf7\x2d\x02\0\xff\x81\x15".to_vec();
        body.extend([0, 0, 0, 0, 0, 0, 0x1d, 0, 0, 0]);
        body.extend(b"123456789012\0mysql_native_password\0");
        let greeting = Greeting::parse(&body).unwrap();
        assert_eq!(greeting.server_version, b"5.5.5-10.11.6-MariaDB");
        assert_eq!(greeting.connection_id, 31);
        assert_eq!(greeting.auth_plugin, Some(&b"mysql_native_password"[..]));
        assert_eq!(greeting.capabilities, 0x1d_81ff_f7fe);
        for end in 0..body.len() {
            Greeting::parse(&body[..end]);
        }
        assert_eq!(Greeting::parse(b"\x09old\0"), None);
    }

    #[test]
    fn a_login_with_everything() {
        let mut body = vec![0x8d, 0xa6, 0x3f, 0x00, 0, 0, 0, 1, 33];
        body.extend([0; 23]);
        body.extend(b"app\0\x03xyzshop\0mysql_native_password\0\x0b\x04name\x05value");
        let login = Login::parse(&body).unwrap();
        assert_eq!(login.user, Some(&b"app"[..]));
        assert_eq!(login.database, Some(&b"shop"[..]));
        assert_eq!(login.auth_plugin, Some(&b"mysql_native_password"[..]));
        assert_eq!(login.attributes, [(&b"name"[..], &b"value"[..])]);
        for end in 0..body.len() {
            Login::parse(&body[..end]);
        }
    }

    #[test]
    fn a_request_for_tls_has_no_user() {
        let mut body = vec![0x8d, 0xae, 0x3f, 0x00, 0, 0, 0, 1, 33];
        body.extend([0; 23]);
        let login = Login::parse(&body).unwrap();
        assert_eq!(login.user, None);
        assert_ne!(login.capabilities & capability::SSL, 0);
    }

    #[test]
    fn a_login_before_41() {
        let login = Login::parse(b"\x8d\x00\0\0\0app\0pw\0shop").unwrap();
        assert_eq!((login.user, login.database), (Some(&b"app"[..]), Some(&b"shop"[..])));
    }

    #[test]
    fn errors_with_and_without_a_state() {
        let failure = Failure::parse(b"\xff\x7a\x04#42S02Table 'a.b' doesn't exist").unwrap();
        assert_eq!((failure.code, failure.sql_state), (1146, Some(&b"42S02"[..])));
        assert_eq!(failure.message, b"Table 'a.b' doesn't exist");
        let failure = Failure::parse(b"\xff\x10\x04Too many connections").unwrap();
        assert_eq!((failure.code, failure.sql_state), (1040, None));
        assert_eq!(Failure::parse(b"\xff\x10"), None);
    }

    #[test]
    fn a_column() {
        let body = b"\x03def\x04shop\x01p\x08products\x02id\x02id\x0c\x3f\0\x0b\0\0\0\x03\x23\x42\0\0\0";
        let column = Column::parse(body).unwrap();
        assert_eq!((column.schema, column.table, column.name), (&b"shop"[..], &b"products"[..], &b"id"[..]));
        assert_eq!((column.field_type, column.is_unsigned), (3, true));
        for end in 0..body.len() {
            Column::parse(&body[..end]);
        }
    }
}
