//! Cookies as fields: option `split_cookie` (RFC 6265).

use crate::protocol::{Fields, text};

/// The most cookies of a message that become fields: browsers send 180 for a domain.
const COOKIES_MAX: usize = 500;

/// The pairs of a `Cookie` or `Set-Cookie` field, names in lower case; attributes without a value are left out, as Packetbeat does.
pub(super) fn split(value: &[u8], cookies: &mut Fields) {
    for pair in value.split(|&byte| byte == b';') {
        let Some(at) = pair.iter().position(|&byte| byte == b'=') else { continue };
        let name = text(pair[..at].trim_ascii()).to_lowercase();
        let value = pair[at + 1..].trim_ascii();
        if cookies.len() >= COOKIES_MAX {
            return;
        }
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        cookies.set_key(&name, text(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Value;

    #[test]
    fn pairs() {
        let mut cookies = Fields::new();
        split(b"csrftoken=S9Zu=; Path=/; HttpOnly;empty=; Quoted=\"a b\";\"", &mut cookies);
        let list: Vec<_> = cookies.iter().map(|(name, value)| (name, value.as_text().unwrap())).collect();
        assert_eq!(list, [("csrftoken", "S9Zu="), ("path", "/"), ("empty", ""), ("quoted", "a b")]);
        assert_eq!(cookies.value("httponly"), None::<&Value>);
        let many: String = (0..COOKIES_MAX * 2).map(|number| format!("{number}=x;")).collect();
        split(many.as_bytes(), &mut cookies);
        assert_eq!(cookies.len(), COOKIES_MAX);
    }
}
