//! Telling PostgreSQL by its bytes.

use super::super::parser::{Detection, Sample};
use super::view::{MESSAGE, STARTUP, Startup};

const SERVER_TYPES: &[u8] = b"123ACDEGHIKNRSTVWZcdnstv";
const CLIENT_TYPES: &[u8] = b"BCDEFHPQSXcdfp";

/// Messages at the begin of some bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Chain {
    /// Those that are here as a whole.
    whole: usize,
    /// The type of the last of them.
    last: u8,
    /// The last one goes on after these bytes.
    is_cut: bool,
}

/// The messages that these bytes are. `None` when there is one that can't be.
fn chain(mut bytes: &[u8], is_possible: fn(u8, u64, &[u8]) -> bool) -> Option<Chain> {
    let mut chain = Chain::default();
    while !bytes.is_empty() {
        let Some((header, body)) = bytes.split_at_checked(MESSAGE.header_length) else {
            chain.is_cut = true;
            return Some(chain);
        };
        let length = (MESSAGE.body_length)(header)?;
        let here = usize::try_from(length).unwrap_or(usize::MAX).min(body.len());
        if !is_possible(header[0], length, &body[..here]) {
            return None;
        }
        if (here as u64) < length {
            chain.is_cut = true;
            return Some(chain);
        }
        chain = Chain { whole: chain.whole + 1, last: header[0], is_cut: false };
        bytes = &body[here..];
    }
    Some(chain)
}

fn is_server_message(kind: u8, length: u64, body: &[u8]) -> bool {
    SERVER_TYPES.contains(&kind)
        && match kind {
            b'1' | b'2' | b'3' | b'I' | b'n' | b's' | b'c' => length == 0,
            b'Z' => length == 1 && matches!(body, [] | [b'I' | b'T' | b'E']),
            b'D' | b'T' | b't' => length >= 2,
            b'C' => length >= 2 && body.iter().all(|&byte| byte == 0 || (0x20..0x7f).contains(&byte)),
            b'E' | b'N' => length >= 2 && body.first().is_none_or(u8::is_ascii_uppercase),
            b'R' => length >= 4 && body.first().is_none_or(|&byte| byte == 0),
            b'K' => length >= 8,
            _ => true,
        }
}

fn is_client_message(kind: u8, length: u64, body: &[u8]) -> bool {
    CLIENT_TYPES.contains(&kind)
        && match kind {
            b'S' | b'H' | b'X' | b'c' => length == 0,
            b'Q' => length >= 1 && (body.len() as u64) <= length && is_query(body, length),
            b'D' | b'C' => length >= 2 && matches!(body.first(), None | Some(b'S' | b'P')),
            b'E' => length >= 5,
            b'B' => length >= 8,
            b'P' => length >= 4,
            _ => true,
        }
}

/// Text that ends with its only NUL.
fn is_query(body: &[u8], length: u64) -> bool {
    match body.split_last() {
        Some((0, text)) if body.len() as u64 == length => !text.contains(&0),
        Some(_) => (body.len() as u64) < length && !body.contains(&0),
        None => true,
    }
}

/// Whether messages of a server begin here.
pub(super) fn is_server(bytes: &[u8]) -> bool {
    chain(bytes, is_server_message).is_some_and(|chain| chain.whole > 0 || chain.is_cut)
}

/// Whether messages of a client begin here.
pub(super) fn is_client(bytes: &[u8]) -> bool {
    chain(bytes, is_client_message).is_some_and(|chain| chain.whole > 0 || chain.is_cut)
}

/// Whether the first message of a client begins here.
pub(super) fn is_startup(bytes: &[u8]) -> bool {
    detect_startup(bytes) == Detection::Certain
}

/// Whether a client's messages are here that are hardly anything else: a query, or statements up to their `Sync`.
fn is_surely_client(bytes: &[u8]) -> bool {
    chain(bytes, is_client_message)
        .is_some_and(|chain| !chain.is_cut && (chain.last == b'Q' || (chain.last == b'S' && chain.whole > 1)))
}

/// Whether a server's messages are here that are hardly anything else: some, and that it is ready for more.
fn is_surely_server(bytes: &[u8]) -> bool {
    chain(bytes, is_server_message)
        .is_some_and(|chain| !chain.is_cut && chain.last == b'Z' && chain.whole > 1)
}

/// How sure these bytes make it.
pub(super) fn detect(sample: &Sample<'_>) -> Detection {
    let first = sample.of(sample.first);
    let other = sample.of(sample.first.other());
    if sample.from_start[sample.first.index()] || is_startup(first) {
        return detect_startup(first);
    }
    if [first, other].into_iter().any(|bytes| is_surely_client(bytes) || is_surely_server(bytes)) {
        return Detection::Likely;
    }
    Detection::Port
}

fn detect_startup(bytes: &[u8]) -> Detection {
    let Some((header, body)) = bytes.split_at_checked(STARTUP.header_length) else { return Detection::More };
    let Some(length) = (STARTUP.body_length)(header) else { return Detection::No };
    if body.len() < 4 {
        return Detection::More;
    }
    let body = &body[..usize::try_from(length).unwrap_or(usize::MAX).min(body.len())];
    let is_whole = body.len() as u64 == length;
    match Startup::parse(body) {
        Some(Startup::Tls | Startup::Gss) if length == 4 => Detection::Certain,
        Some(Startup::Cancel { .. }) if length >= 8 => Detection::Certain,
        Some(Startup::Session(parameters)) if parameters.iter().any(|(name, _)| *name == b"user") => {
            Detection::Certain
        }
        // A name without its value yet.
        _ if !is_whole && body.starts_with(&[0, 3, 0]) => Detection::More,
        _ => Detection::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_both_ends() {
        assert!(is_surely_client(b"Q\0\0\0\x0dselect 1\0"));
        assert!(is_client(b"Q\0\0\x01\0select 1"), "the rest of a long query comes later");
        assert!(!is_client(b"Q\0\0\0\x0dselect\x00 1\0"));
        assert!(is_surely_server(b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I"));
        assert!(!is_server(b"HTTP/1.1 200 OK\r\n"));
        assert!(!is_client(b"GET / HTTP/1.1\r\n"));
        assert!(!is_client(b"SSH-2.0-OpenSSH_9.2\r\n"));
        assert!(is_server(b"D\0\0"));
    }

    #[test]
    fn first_messages() {
        assert_eq!(detect_startup(b"\0\0\0\x08\x04\xd2\x16\x2f"), Detection::Certain);
        let startup = b"\0\0\0\x11\0\x03\0\0user\0me\0\0";
        assert_eq!(detect_startup(startup), Detection::Certain);
        for end in 0..14 {
            assert_eq!(detect_startup(&startup[..end]), Detection::More, "{end}");
        }
        assert_eq!(detect_startup(b"GET / HTTP/1.1\r\n"), Detection::No);
        assert_eq!(detect_startup(b"\0\0\0\x10SMB_________"), Detection::No);
    }
}
