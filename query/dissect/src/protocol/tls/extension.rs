//! Views of extensions of hello messages (RFC 8446, section 4.2; RFC 6066).

use super::names;
use super::reader::{Reader, u16_list};

/// The extensions of one message, in its order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extensions<'a> {
    bytes: &'a [u8],
    whole: bool,
}

impl<'a> Extensions<'a> {
    /// What follows the other fields of a hello: nothing, or a vector of extensions.
    pub(super) fn read(mut reader: Reader<'a>) -> Self {
        if reader.is_empty() {
            return Self { bytes: &[], whole: true };
        }
        match reader.vector16() {
            Some(bytes) => Self { bytes, whole: reader.is_empty() },
            // As many as there are.
            None => Self { bytes: reader.rest().get(2..).unwrap_or_default(), whole: false },
        }
    }

    /// Number and content of each, without GREASE.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, &'a [u8])> + Clone + use<'a> {
        walk(self.bytes).map_while(|step| step).filter(|&(kind, _)| !names::is_grease(kind))
    }

    /// False when lengths don't fit: what [`Self::iter`] gives is then what came before.
    pub(super) fn is_whole(&self) -> bool {
        self.whole && walk(self.bytes).all(|step| step.is_some())
    }

    /// The content of one.
    pub(super) fn find(&self, kind: u16) -> Option<&'a [u8]> {
        self.iter().find_map(|(other, data)| (other == kind).then_some(data))
    }

    /// Host names of a client's hello.
    pub(super) fn server_names(&self) -> Option<Vec<String>> {
        server_names(self.find(names::SERVER_NAME)?)
    }

    /// Application protocols that a client offers, or the one that a server chose.
    pub(super) fn application_protocols(&self) -> Option<Vec<&'a [u8]>> {
        application_protocols(self.find(names::ALPN)?)
    }

    /// Versions of a client's hello, without GREASE.
    pub(super) fn client_versions(&self) -> Option<impl Iterator<Item = u16> + 'a> {
        client_versions(self.find(names::SUPPORTED_VERSIONS)?)
    }

    /// The version of a server's hello, from TLS 1.3 on.
    pub(super) fn server_version(&self) -> Option<u16> {
        match *self.find(names::SUPPORTED_VERSIONS)? {
            [high, low] => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }

    /// Groups of a client's hello, without GREASE.
    pub(super) fn supported_groups(&self) -> Option<impl Iterator<Item = u16> + 'a> {
        u16_vector(self.find(names::SUPPORTED_GROUPS)?)
    }

    /// Signature schemes of a client's hello, without GREASE.
    pub(super) fn signature_algorithms(&self) -> Option<impl Iterator<Item = u16> + 'a> {
        u16_vector(self.find(names::SIGNATURE_ALGORITHMS)?)
    }

    /// Point formats.
    pub(super) fn ec_point_formats(&self) -> Option<&'a [u8]> {
        Reader::new(self.find(names::EC_POINT_FORMATS)?).vector8()
    }

    /// The group of a server's key share.
    pub(super) fn server_key_share_group(&self) -> Option<u16> {
        Reader::new(self.find(names::KEY_SHARE)?).u16()
    }
}

/// Host names (RFC 6066, section 3); names of other types, which nobody defined, are left out. `None` without any: servers
/// acknowledge with an empty extension.
pub(super) fn server_names(data: &[u8]) -> Option<Vec<String>> {
    const HOST_NAME: u8 = 0;
    let mut list = Reader::new(Reader::new(data).vector16()?);
    let mut names = Vec::new();
    while let Some(kind) = list.u8() {
        let Some(name) = list.vector16() else { break };
        if kind == HOST_NAME {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    (!names.is_empty()).then_some(names)
}

/// Protocol names (RFC 7301, section 3.1).
pub(super) fn application_protocols(data: &[u8]) -> Option<Vec<&[u8]>> {
    let mut list = Reader::new(Reader::new(data).vector16()?);
    let protocols: Vec<_> = std::iter::from_fn(|| list.vector8()).collect();
    (!protocols.is_empty()).then_some(protocols)
}

/// Versions of a client's hello (RFC 8446, section 4.2.1).
pub(super) fn client_versions(data: &[u8]) -> Option<impl Iterator<Item = u16> + '_> {
    let list = Reader::new(data).vector8()?;
    Some(u16_list(list).filter(|&version| !names::is_grease(version)))
}

/// A vector of numbers of two bytes, without GREASE.
pub(super) fn u16_vector(data: &[u8]) -> Option<impl Iterator<Item = u16> + '_> {
    let list = Reader::new(data).vector16()?;
    Some(u16_list(list).filter(|&value| !names::is_grease(value)))
}

#[cfg(test)]
thread_local! {
    /// How often this thread went through extensions: there may be thousands.
    pub(super) static WALKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Each extension; a `None` as the last where lengths don't fit.
fn walk(bytes: &[u8]) -> impl Iterator<Item = Option<(u16, &[u8])>> + Clone {
    #[cfg(test)]
    WALKS.set(WALKS.get() + 1);
    let mut reader = Reader::new(bytes);
    let mut fits = true;
    std::iter::from_fn(move || {
        if reader.is_empty() || !fits {
            return None;
        }
        let extension = reader.u16().and_then(|kind| Some((kind, reader.vector16()?)));
        fits = extension.is_some();
        Some(extension)
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::extensions;
    use super::*;

    fn read(bytes: &[u8]) -> Extensions<'_> {
        Extensions::read(Reader::new(bytes))
    }

    #[test]
    fn those_that_are_read() {
        let bytes = extensions(&[
            (0x1a1a, &[]),
            (names::SERVER_NAME, b"\0\x09\0\0\x06a.test"),
            (names::SUPPORTED_GROUPS, &[0, 4, 0x0a, 0x0a, 0, 29]),
            (names::EC_POINT_FORMATS, &[1, 0]),
            (names::ALPN, b"\0\x0c\x02h2\x08http/1.1"),
            (names::SUPPORTED_VERSIONS, &[4, 3, 4, 3, 3]),
        ]);
        let extensions = read(&bytes);
        assert!(extensions.is_whole());
        assert_eq!(extensions.iter().count(), 5, "without GREASE");
        assert_eq!(extensions.server_names(), Some(vec!["a.test".to_owned()]));
        assert_eq!(extensions.supported_groups().unwrap().collect::<Vec<_>>(), [29]);
        assert_eq!(extensions.ec_point_formats(), Some(&[0][..]));
        assert_eq!(extensions.application_protocols(), Some(vec![&b"h2"[..], b"http/1.1"]));
        assert_eq!(extensions.client_versions().unwrap().collect::<Vec<_>>(), [0x0304, 0x0303]);
        assert_eq!(extensions.server_version(), None, "that's a client's list");
        assert!(extensions.signature_algorithms().is_none());
    }

    #[test]
    fn empty_and_senseless_ones() {
        let bytes = extensions(&[
            (names::SERVER_NAME, &[]),
            (names::ALPN, &[0, 9, 1]),
            (names::SUPPORTED_GROUPS, &[0]),
        ]);
        let extensions = read(&bytes);
        assert!(extensions.is_whole(), "the lengths of extensions fit; what is in them is another matter");
        assert_eq!(extensions.server_names(), None);
        assert_eq!(extensions.application_protocols(), None);
        assert!(extensions.supported_groups().is_none());
    }

    #[test]
    fn lengths_that_do_not_fit() {
        let whole = extensions(&[(35, &[]), (23, &[1, 2, 3])]);
        for len in 3..whole.len() {
            let extensions = read(&whole[..len]);
            assert!(!extensions.is_whole(), "{len}");
            assert_eq!(
                extensions.iter().count(),
                usize::from(len >= 6),
                "what came before the cut is kept: {len}"
            );
        }
        let mut more = whole;
        more.push(0);
        assert!(!read(&more).is_whole());
    }
}
