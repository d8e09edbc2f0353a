//! The view of a message (RFC 2131, section 2).

use crate::protocol::value::text;

/// Where the options' cookie is.
pub(super) const COOKIE_OFFSET: usize = 236;
/// What options begin with (RFC 2132, section 2).
pub(super) const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Operation of messages from clients.
pub(super) const BOOT_REQUEST: u8 = 1;

/// Bytes of the server's name, and of the boot file's.
const SERVER_NAME: std::ops::Range<usize> = 44..108;
const BOOT_FILE: std::ops::Range<usize> = 108..236;

/// Code of the option that says that the two names have options in them (RFC 2132, section 9.3).
const OPTION_OVERLOAD: u8 = 52;
const PAD: u8 = 0;
const END: u8 = 255;

/// A message of which the fixed part is whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    /// `None` when the fixed part is cut, or it is neither request nor reply.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        (bytes.len() >= COOKIE_OFFSET && matches!(bytes[0], 1 | 2)).then_some(Self(bytes))
    }

    pub(super) fn operation(&self) -> u8 {
        self.0[0]
    }

    pub(super) fn hardware_type(&self) -> u8 {
        self.0[1]
    }

    pub(super) fn hops(&self) -> u8 {
        self.0[3]
    }

    pub(super) fn transaction_id(&self) -> u32 {
        u32::from_be_bytes(self.address(4))
    }

    pub(super) fn seconds(&self) -> u16 {
        u16::from_be_bytes([self.0[8], self.0[9]])
    }

    pub(super) fn is_broadcast(&self) -> bool {
        self.0[10] & 0x80 != 0
    }

    pub(super) fn client_ip(&self) -> [u8; 4] {
        self.address(12)
    }

    pub(super) fn assigned_ip(&self) -> [u8; 4] {
        self.address(16)
    }

    pub(super) fn server_ip(&self) -> [u8; 4] {
        self.address(20)
    }

    pub(super) fn relay_ip(&self) -> [u8; 4] {
        self.address(24)
    }

    /// As long as the message says, of at most 16 bytes.
    pub(super) fn client_hardware_address(&self) -> &'a [u8] {
        let len = usize::from(self.0[2]).min(16);
        &self.0[28..28 + len]
    }

    /// Field `sname`, when it holds a name.
    pub(super) fn server_name(&self) -> Option<String> {
        (self.overload() & 2 == 0).then(|| terminated(&self.0[SERVER_NAME]))?
    }

    /// Field `file`, when it holds a name.
    pub(super) fn boot_file_name(&self) -> Option<String> {
        (self.overload() & 1 == 0).then(|| terminated(&self.0[BOOT_FILE]))?
    }

    /// All options, in the order of RFC 2131, section 4.1: those behind the cookie, then in `file`, then in `sname`.
    pub(super) fn options(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let overload = self.overload();
        let part = |wanted: bool, bytes: &'a [u8]| Options { bytes: if wanted { bytes } else { &[] } };
        Options { bytes: self.option_bytes() }
            .chain(part(overload & 1 != 0, &self.0[BOOT_FILE]))
            .chain(part(overload & 2 != 0, &self.0[SERVER_NAME]))
    }

    /// What is wrong with the options, if anything is: they must have an end.
    pub(super) fn options_error(&self) -> Option<&'static str> {
        let mut options = Options { bytes: self.option_bytes() };
        options.by_ref().for_each(drop);
        (!self.option_bytes().is_empty() && !matches!(options.bytes.first(), None | Some(&END)))
            .then_some("an option is cut")
    }

    fn overload(&self) -> u8 {
        Options { bytes: self.option_bytes() }
            .find(|(code, _)| *code == OPTION_OVERLOAD)
            .and_then(|(_, value)| value.first().copied())
            .unwrap_or_default()
    }

    fn option_bytes(&self) -> &'a [u8] {
        self.0[COOKIE_OFFSET..].strip_prefix(&COOKIE).unwrap_or_default()
    }

    fn address(&self, at: usize) -> [u8; 4] {
        std::array::from_fn(|index| self.0[at + index])
    }
}

/// Options one after another; what is left in `bytes` at the end is what could not be read.
struct Options<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((&PAD, rest)) = self.bytes.split_first() {
            self.bytes = rest;
        }
        let &[code, len, ref rest @ ..] = self.bytes else { return None };
        if code == END {
            return None;
        }
        let value = rest.get(..usize::from(len))?;
        self.bytes = &rest[usize::from(len)..];
        Some((code, value))
    }
}

fn terminated(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (end > 0).then(|| text(&bytes[..end]))
}
