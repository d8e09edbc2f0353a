//! Views of the hello messages (RFC 8446, section 4.1; RFC 5246, section 7.4.1).

use super::extension::Extensions;
use super::names;
use super::reader::{Reader, u16_list};

/// `random` of a server's hello that asks for another hello of the client (RFC 8446, section 4.1.3).
const HELLO_RETRY_REQUEST: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What a client offers.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientHello<'a> {
    /// `legacy_version`.
    pub(super) version: u16,
    pub(super) random: &'a [u8; 32],
    pub(super) session_id: &'a [u8],
    cipher_suites: &'a [u8],
    pub(super) compression_methods: &'a [u8],
    pub(super) extensions: Extensions<'a>,
}

impl<'a> ClientHello<'a> {
    /// `body` is what follows the handshake header.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        Some(Self {
            version: reader.u16().filter(|version| version >> 8 == 3)?,
            random: reader.array()?,
            session_id: session_id(&mut reader)?,
            cipher_suites: reader.vector16()?,
            compression_methods: reader.vector8()?,
            extensions: Extensions::read(reader),
        })
    }

    /// Cipher suites in the client's order, without GREASE.
    pub(super) fn cipher_suites(&self) -> impl Iterator<Item = u16> + Clone + 'a {
        u16_list(self.cipher_suites).filter(|&suite| !names::is_grease(suite))
    }

    /// The highest version that it offers.
    pub(super) fn version_max(&self) -> u16 {
        self.extensions.client_versions().into_iter().flatten().max().unwrap_or(self.version)
    }
}

/// What a server chose.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerHello<'a> {
    /// `legacy_version`.
    pub(super) version: u16,
    pub(super) random: &'a [u8; 32],
    pub(super) session_id: &'a [u8],
    pub(super) cipher_suite: u16,
    pub(super) compression_method: u8,
    pub(super) extensions: Extensions<'a>,
}

impl<'a> ServerHello<'a> {
    /// `body` is what follows the handshake header.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        const COMPRESSION_NULL: u8 = 0;
        let mut reader = Reader::new(body);
        let version = reader.u16()?;
        let random = reader.array()?;
        // The drafts of TLS 1.3 up to 21 had their own version here, and neither session id nor compression method.
        let is_draft = version >> 8 == 0x7f;
        if version >> 8 != 3 && !is_draft {
            return None;
        }
        let session_id = if is_draft { &[] } else { session_id(&mut reader)? };
        Some(Self {
            version,
            random,
            session_id,
            cipher_suite: reader.u16()?,
            compression_method: if is_draft { COMPRESSION_NULL } else { reader.u8()? },
            extensions: Extensions::read(reader),
        })
    }

    /// The version that both use.
    pub(super) fn negotiated_version(&self) -> u16 {
        self.extensions.server_version().unwrap_or(self.version)
    }

    /// Drafts of TLS 1.3 count as TLS 1.3.
    pub(super) fn is_tls_1_3(&self) -> bool {
        matches!(self.negotiated_version(), names::TLS_1_3 | 0x7f00..=0x7fff)
    }

    /// The server chose nothing yet: it asks the client to say hello again.
    pub(super) fn is_retry_request(&self) -> bool {
        *self.random == HELLO_RETRY_REQUEST
    }
}

fn session_id<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    const SESSION_ID_LEN_MAX: usize = 32;
    reader.vector8().filter(|session_id| session_id.len() <= SESSION_ID_LEN_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{client_hello, server_hello};
    use super::*;

    #[test]
    fn a_clients_hello() {
        let body = client_hello(&[0x1301, 0x0a0a, 0xc02f], &[(43, &[4, 0x7a, 0x7a, 3, 4]), (35, &[])]);
        let hello = ClientHello::parse(&body).unwrap();
        assert_eq!(hello.version, 0x0303);
        assert_eq!(hello.random, &[7; 32]);
        assert_eq!(hello.session_id, [1; 32]);
        assert_eq!(hello.cipher_suites().collect::<Vec<_>>(), [0x1301, 0xc02f], "without GREASE");
        assert_eq!(hello.version_max(), 0x0304);
        assert!(hello.extensions.is_whole());
    }

    #[test]
    fn a_servers_hello() {
        let body = server_hello(0x1301, &[(43, &[3, 4])]);
        let hello = ServerHello::parse(&body).unwrap();
        assert_eq!((hello.version, hello.negotiated_version(), hello.cipher_suite), (0x0303, 0x0304, 0x1301));
        assert!(hello.is_tls_1_3() && !hello.is_retry_request());
        let old = server_hello(0xc02f, &[]);
        let old = ServerHello::parse(&old).unwrap();
        assert_eq!(old.negotiated_version(), 0x0303);
        assert!(!old.is_tls_1_3());
    }

    #[test]
    fn a_server_of_a_draft() {
        let body = [&[0x7f, 0x12][..], &[8; 32], &[0x13, 0x01], &[0, 4, 0, 40, 0, 0]].concat();
        let hello = ServerHello::parse(&body).unwrap();
        assert_eq!((hello.cipher_suite, hello.extensions.iter().count()), (0x1301, 1));
        assert!(hello.is_tls_1_3());
    }

    #[test]
    fn hellos_of_old_clients_end_before_the_extensions() {
        let mut body = client_hello(&[0x002f], &[]);
        body.truncate(body.len() - 2);
        let hello = ClientHello::parse(&body).unwrap();
        assert_eq!(hello.extensions.iter().count(), 0);
        assert!(hello.extensions.is_whole());
    }

    #[test]
    fn every_truncation() {
        let body = client_hello(&[0x1301], &[(0, b"\0\x06\0\0\x03abc"), (16, b"\0\x03\x02h2")]);
        let without_extensions = client_hello(&[0x1301], &[]).len() - 2;
        for len in 0..body.len() {
            match ClientHello::parse(&body[..len]) {
                None => assert!(len < without_extensions, "{len}"),
                Some(hello) => assert_eq!(hello.extensions.is_whole(), len == without_extensions, "{len}"),
            }
        }
        assert!(ClientHello::parse(&body).unwrap().extensions.is_whole());
    }
}
