//! JA4: a fingerprint of a client's hello that stays the same when the client shuffles its extensions (FoxIO, JA4 technical
//! details, "TLS client fingerprinting").

use sha2::{Digest, Sha256};

use super::hello::ClientHello;
use super::hex::lower_hex;
use super::names;

/// Hexadecimal digits of each hash.
const HASH_DIGITS: usize = 12;

/// The JA4 of a client over TCP.
pub(super) fn client(hello: &ClientHello<'_>) -> String {
    let version = version(hello.version_max());
    let domain = if hello.extensions.find(names::SERVER_NAME).is_some() { 'd' } else { 'i' };
    let suites = hello.cipher_suites().count().min(99);
    let extensions = hello.extensions.iter().count().min(99);
    let protocol = application_protocol(hello);
    format!(
        "t{version}{domain}{suites:02}{extensions:02}{protocol}_{}_{}",
        hash(&suites_text(hello)),
        hash(&extensions_text(hello))
    )
}

fn version(version: u16) -> &'static str {
    match version {
        0x0304 | 0x7f00..=0x7fff => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        _ => "00",
    }
}

/// The first and the last character of the first protocol; of their hexadecimal digits, if they are not both alphanumeric.
fn application_protocol(hello: &ClientHello<'_>) -> String {
    let protocols = hello.extensions.application_protocols().unwrap_or_default();
    match protocols.first().copied() {
        Some(&[first, .., last]) | Some(&[first @ last])
            if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() =>
        {
            [char::from(first), char::from(last)].into_iter().collect()
        }
        Some(&[first, .., last]) | Some(&[first @ last]) => format!("{:x}{:x}", first >> 4, last & 0xf),
        _ => "00".to_owned(),
    }
}

fn suites_text(hello: &ClientHello<'_>) -> String {
    let mut suites: Vec<_> = hello.cipher_suites().collect();
    suites.sort_unstable();
    hex_list(suites.into_iter())
}

/// Sorted extensions without those that differ between destinations, then signature algorithms in the client's order.
fn extensions_text(hello: &ClientHello<'_>) -> String {
    let kinds = hello.extensions.iter().map(|(kind, _)| kind);
    let mut kinds: Vec<_> = kinds.filter(|kind| ![names::SERVER_NAME, names::ALPN].contains(kind)).collect();
    kinds.sort_unstable();
    let mut text = hex_list(kinds.into_iter());
    let algorithms = hello.extensions.signature_algorithms().map(hex_list).unwrap_or_default();
    if !algorithms.is_empty() {
        text.push('_');
        text.push_str(&algorithms);
    }
    text
}

fn hex_list(numbers: impl Iterator<Item = u16>) -> String {
    numbers.map(|number| format!("{number:04x}")).collect::<Vec<_>>().join(",")
}

fn hash(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(HASH_DIGITS);
    }
    let mut digits = lower_hex(&Sha256::digest(text));
    digits.truncate(HASH_DIGITS);
    digits
}

#[cfg(test)]
mod tests {
    use super::super::samples::client_hello;
    use super::*;

    /// The example of the technical details: a Chrome.
    #[test]
    fn the_published_example() {
        let suites = [
            0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
            0x009d, 0x002f, 0x0035,
        ];
        let algorithms = [0, 16, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1];
        let body = client_hello(
            &suites,
            &[
                (0x001b, &[]),
                (0x0000, b"\0\x04\0\0\x01a"),
                (0x0033, &[]),
                (0x0010, b"\0\x03\x02h2"),
                (0x4469, &[]),
                (0x0017, &[]),
                (0x002d, &[]),
                (0x000d, &algorithms),
                (0x0005, &[]),
                (0x0023, &[]),
                (0x0012, &[]),
                (0x002b, &[2, 3, 4]),
                (0xff01, &[]),
                (0x000b, &[]),
                (0x000a, &[]),
                (0x0015, &[]),
            ],
        );
        let hello = ClientHello::parse(&body).unwrap();
        assert_eq!(client(&hello), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn without_what_may_be_absent() {
        let body = client_hello(&[], &[]);
        assert_eq!(client(&ClientHello::parse(&body).unwrap()), "t12i000000_000000000000_000000000000");
    }

    #[test]
    fn protocols_with_other_characters() {
        for (name, expected) in
            [(&b"h2"[..], "h2"), (b"http/1.1", "h1"), (b"x", "xx"), (&[0xab], "ab"), (&[0x30, 0xab], "3b")]
        {
            let data = [&[0, name.len() as u8 + 1, name.len() as u8][..], name].concat();
            let body = client_hello(&[1], &[(16, &data)]);
            assert_eq!(application_protocol(&ClientHello::parse(&body).unwrap()), expected);
        }
    }
}
