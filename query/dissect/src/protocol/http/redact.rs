//! Hiding what should not leave the recording: options `redact_headers` and `redact_authorization`.

use super::head::Head;
use super::options::Options;

/// What the values of `redact_headers` become.
const REDACTED: &[u8] = b"REDACTED";

/// What the values of `redact_authorization` become.
const AUTHORIZATION: &[u8] = b"*";

/// Hides values of header fields, also in the text of the head.
pub(super) fn redact(head: &mut Head, options: &Options) {
    let replacement = |name: &str| -> Option<&'static [u8]> {
        let is_authorization = matches!(name, "authorization" | "proxy-authorization");
        if options.redact_headers.iter().any(|redacted| redacted == name) {
            Some(REDACTED)
        } else {
            (options.redact_authorization && is_authorization).then_some(AUTHORIZATION)
        }
    };
    let mut found = false;
    for (name, value) in &mut head.headers {
        if let Some(replacement) = replacement(name) {
            *value = replacement.to_vec();
            found = true;
        }
    }
    if found {
        head.raw = redacted_text(&head.raw, replacement);
    }
}

/// The head with other values in some lines. Lines that continue a hidden one are left out.
fn redacted_text(raw: &[u8], replacement: impl Fn(&str) -> Option<&'static [u8]>) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    let mut hides = false;
    for line in raw.split_inclusive(|&byte| byte == b'\n') {
        if matches!(line, [b' ' | b'\t', ..]) && hides {
            continue;
        }
        let colon = line.iter().position(|&byte| byte == b':');
        let name = colon.map(|at| String::from_utf8_lossy(line[..at].trim_ascii()).to_ascii_lowercase());
        let hidden = name.as_deref().and_then(&replacement);
        hides = hidden.is_some();
        match (hidden, colon) {
            (Some(replacement), Some(colon)) => {
                text.extend_from_slice(&line[..=colon]);
                text.push(b' ');
                text.extend_from_slice(replacement);
                let value_len = line.trim_ascii_end().len();
                text.extend_from_slice(&line[value_len..]);
            }
            _ => text.extend_from_slice(line),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CommonOptions, OptionTable};

    fn redacted(options: &str, text: &str) -> Head {
        let mut table = OptionTable::new("http", options.parse().unwrap());
        let options = Options::read(&CommonOptions::with_ports(&[80]), &mut table).unwrap();
        let mut head = Head::parse(text.as_bytes().to_vec()).unwrap();
        redact(&mut head, &options);
        head
    }

    const REQUEST: &str =
        "GET / HTTP/1.1\r\nAuthorization: Basic dTpw\r\nPROXY-Authorization:x\r\nX-Key: k\r\nHost: a\r\n\r\n";

    #[test]
    fn authorization() {
        let head = redacted("redact_authorization = true", REQUEST);
        assert_eq!(head.value("authorization"), Some(&b"*"[..]));
        let text =
            "GET / HTTP/1.1\r\nAuthorization: *\r\nPROXY-Authorization: *\r\nX-Key: k\r\nHost: a\r\n\r\n";
        assert_eq!(String::from_utf8(head.raw).unwrap(), text);
    }

    #[test]
    fn others() {
        let head = redacted("redact_headers = [\"x-KEY\"]", REQUEST);
        assert_eq!(head.value("x-key"), Some(&b"REDACTED"[..]));
        assert_eq!(head.value("authorization"), Some(&b"Basic dTpw"[..]));
        assert!(String::from_utf8(head.raw).unwrap().contains("X-Key: REDACTED\r\nHost: a\r\n"));
        let folded =
            redacted("redact_headers = [\"a\"]", "HTTP/1.1 200 OK\r\nA: b\r\n secret\r\nC: d\r\n\r\n");
        assert_eq!(folded.raw, b"HTTP/1.1 200 OK\r\nA: REDACTED\r\nC: d\r\n\r\n");
    }

    #[test]
    fn nothing_without_options() {
        let head = redacted("", REQUEST);
        assert_eq!(head.raw, REQUEST.as_bytes());
    }
}
