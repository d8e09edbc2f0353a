//! The record layer (RFC 8446, section 5): five bytes before each fragment.

/// Bytes of a record's header.
pub(super) const HEADER_LEN: usize = 5;

/// The longest fragment: `TLSCiphertext` of TLS 1.2 (RFC 5246, section 6.2.3). TLS 1.3 allows fewer.
pub(super) const FRAGMENT_LEN_MAX: usize = (1 << 14) + 2048;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentType {
    ChangeCipherSpec,
    Alert,
    Handshake,
    ApplicationData,
    Heartbeat,
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) content_type: ContentType,
    /// `legacy_record_version`.
    pub(super) version: u16,
    pub(super) len: usize,
}

impl RecordHeader {
    /// `None` for what can't be the header of a record of SSL 3.0 to TLS 1.3.
    pub(super) fn parse(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let &[content_type, major, minor, high, low] = bytes;
        let content_type = match content_type {
            20 => ContentType::ChangeCipherSpec,
            21 => ContentType::Alert,
            22 => ContentType::Handshake,
            23 => ContentType::ApplicationData,
            24 => ContentType::Heartbeat,
            _ => return None,
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        let has_content = len > 0 || content_type == ContentType::ApplicationData;
        (major == 3 && minor <= 4 && len <= FRAGMENT_LEN_MAX && has_content).then_some(Self {
            content_type,
            version: u16::from_be_bytes([major, minor]),
            len,
        })
    }

    /// The header at the begin of these bytes.
    pub(super) fn at_start(bytes: &[u8]) -> Option<Self> {
        Self::parse(bytes.first_chunk()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        assert_eq!(
            RecordHeader::parse(&[22, 3, 1, 2, 0]),
            Some(RecordHeader { content_type: ContentType::Handshake, version: 0x0301, len: 512 })
        );
        assert_eq!(
            RecordHeader::at_start(&[23, 3, 3, 0, 0, 9]).map(|header| header.len),
            Some(0),
            "empty data is allowed"
        );
    }

    #[test]
    fn what_is_no_header() {
        for bytes in [
            *b"GET /",
            [22, 2, 0, 0, 1],
            [22, 3, 5, 0, 1],
            [19, 3, 1, 0, 1],
            [22, 3, 3, 0, 0],
            [23, 3, 3, 0x48, 1],
        ] {
            assert_eq!(RecordHeader::parse(&bytes), None, "{bytes:?}");
        }
        assert_eq!(RecordHeader::at_start(&[22, 3, 1, 2]), None);
    }
}
