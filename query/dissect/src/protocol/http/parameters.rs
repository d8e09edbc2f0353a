//! Parameters of queries and forms (WHATWG URL, section 5; in the form in which Go's `net/url` has them, as Packetbeat's are).

/// What a hidden value becomes.
const HIDDEN: &[u8] = b"xxxxx";

/// Names and values, in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters(Vec<(Vec<u8>, Vec<u8>)>);

impl Parameters {
    /// Adds those of a query or form. Later ones of a form take the place of those of the query with the same name.
    pub(super) fn add(&mut self, encoded: &[u8]) {
        let added: Vec<_> = encoded
            .split(|&byte| byte == b'&')
            .filter(|part| !part.is_empty())
            .map(|part| {
                let at = part.iter().position(|&byte| byte == b'=').unwrap_or(part.len());
                (decode(&part[..at], true), decode(part.get(at + 1..).unwrap_or_default(), true))
            })
            .collect();
        let mut names: Vec<_> = added.iter().map(|(name, _)| name.as_slice()).collect();
        names.sort_unstable();
        self.0.retain(|(name, _)| names.binary_search(&name.as_slice()).is_err());
        self.0.extend(added);
        self.0.sort_by(|one, other| one.0.cmp(&other.0));
    }

    /// Hides the values of these.
    pub(super) fn hide(&mut self, keywords: &[String]) {
        for (name, value) in &mut self.0 {
            if keywords.iter().any(|keyword| keyword.as_bytes() == name.as_slice()) {
                *value = HIDDEN.to_vec();
            }
        }
    }

    /// As one text, encoded again.
    pub(super) fn encode(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.0 {
            if !text.is_empty() {
                text.push('&');
            }
            encode(name, &mut text);
            text.push('=');
            encode(value, &mut text);
        }
        text
    }
}

/// Hides the values of these parameters in a query or form, and leaves the rest of it as it is.
pub(super) fn hide_in_place(encoded: &str, keywords: &[String]) -> String {
    let hide = |part: &str| {
        let name = part.split_once('=').map_or(part, |(name, _)| name);
        let decoded = decode(name.as_bytes(), true);
        match keywords.iter().any(|keyword| keyword.as_bytes() == decoded.as_slice()) {
            true => format!("{name}={}", String::from_utf8_lossy(HIDDEN)),
            false => part.to_owned(),
        }
    };
    encoded.split('&').map(hide).collect::<Vec<_>>().join("&")
}

/// Undoes percent-encoding, and `+` for a space where that is used. What is no encoding stays.
pub(super) fn decode(encoded: &[u8], plus_is_space: bool) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'%', &[high, low, ref after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte| char::from(byte).to_digit(16).unwrap_or_default() as u8;
                decoded.push(digit(high) << 4 | digit(low));
                rest = after;
            }
            (b'+', _) if plus_is_space => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    decoded
}

fn encode(bytes: &[u8], text: &mut String) {
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte));
            }
            b' ' => text.push('+'),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                text.push('%');
                text.push(char::from(DIGITS[usize::from(byte >> 4)]));
                text.push(char::from(DIGITS[usize::from(byte & 0xf)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keywords(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn sorted_hidden_and_encoded_again() {
        let mut parameters = Parameters::default();
        parameters.add(b"user=monica&pass=a%20b&address=anklamerstr.14b&x&user=2");
        parameters.hide(&keywords(&["pass", "nothing"]));
        assert_eq!(parameters.encode(), "address=anklamerstr.14b&pass=xxxxx&user=monica&user=2&x=");
    }

    #[test]
    fn forms_take_the_place_of_queries() {
        let mut parameters = Parameters::default();
        parameters.add(b"a=1&b=2");
        parameters.add(b"b=3&c=%2B+");
        assert_eq!(parameters.encode(), "a=1&b=3&c=%2B+");
    }

    #[test]
    fn json_that_was_sent_as_a_form() {
        let mut parameters = Parameters::default();
        parameters.add(b"{ \"query\": 1}\n");
        assert_eq!(parameters.encode(), "%7B+%22query%22%3A+1%7D%0A=");
    }

    #[test]
    fn what_is_no_encoding_stays() {
        assert_eq!(decode(b"100%+%4 %zz%41", false), b"100%+%4 %zzA");
        assert_eq!(decode(b"%ff+", true), b"\xff ");
    }

    #[test]
    fn hiding_in_place() {
        assert_eq!(
            hide_in_place("b=2&p%61ss=x&a&pass", &keywords(&["pass"])),
            "b=2&p%61ss=xxxxx&a&pass=xxxxx"
        );
    }
}
