//! The head of a message: its start line and header fields (RFC 9112, sections 2 to 5).

use httparse::{EMPTY_HEADER, ParserConfig, Status};

/// The longest head, in bytes. Servers take 8 to 64 KiB.
pub(super) const HEAD_LEN_MAX: usize = 64 * 1024;

/// The most header fields. Servers take 100.
pub(super) const HEADERS_MAX: usize = 256;

/// A head with what is needed later; nothing borrowed, for requests wait long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) start: Start,
    /// The 1 of HTTP/1.1. `None` when it is missing in the capture.
    pub(super) minor_version: Option<u8>,
    /// Names in lower case, in the order sent.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// All of it as sent, with the empty line at its end.
    pub(super) raw: Vec<u8>,
}

/// A start line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Request { method: String, target: String },
    Response { status: u16, phrase: String },
}

impl Head {
    /// The head that these bytes are, from the start line to the empty line.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub(super) fn parse(raw: Vec<u8>) -> Result<Self, &'static str> {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let config = config();
        let (start, minor_version, headers) = if raw.starts_with(b"HTTP/") {
            let mut response = httparse::Response::new(&mut headers);
            check(config.parse_response(&mut response, &raw))?;
            let (Some(status), Some(minor)) = (response.code, response.version) else {
                return Err("no status line");
            };
            // RFC 9112 has only ASCII in the phrase, which is all that the parser lets through; others come as nothing.
            let phrase = response.reason.unwrap_or_default().to_owned();
            (Start::Response { status, phrase }, minor, owned(response.headers))
        } else {
            let mut request = httparse::Request::new(&mut headers);
            check(config.parse_request(&mut request, &raw))?;
            let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
            else {
                return Err("no request line");
            };
            let start = Start::Request { method: method.to_owned(), target: target.to_owned() };
            (start, minor, owned(request.headers))
        };
        Ok(Self { start, minor_version: Some(minor_version), headers, raw })
    }

    /// What can be known of a head whose end is missing in the capture: the lines that are whole; of a start line that isn't,
    /// the method and the target, or the status.
    pub(super) fn parse_partial(raw: &[u8]) -> Option<Self> {
        if let Some(end) = raw.iter().rposition(|&byte| byte == b'\n') {
            let lines = &raw[..=end];
            let mut head = Self::parse([lines, b"\r\n"].concat()).ok()?;
            head.raw.truncate(lines.len());
            return Some(head);
        }
        let line = std::str::from_utf8(raw).ok()?;
        let (first, rest) = line.split_once(' ')?;
        let start = match first.strip_prefix("HTTP/1.") {
            Some(_) => Start::Response { status: rest.get(..3)?.parse().ok()?, phrase: String::new() },
            None if looks(raw) == Looks::Unclear => {
                Start::Request { method: first.to_owned(), target: rest.split_once(' ')?.0.to_owned() }
            }
            None => return None,
        };
        let minor_version = first.strip_prefix("HTTP/1.").and_then(|minor| minor.parse().ok());
        Some(Self { start, minor_version, headers: Vec::new(), raw: raw.to_vec() })
    }

    /// Values of the header fields of this name, which is in lower case.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_slice())
    }

    /// The first value of this name.
    pub(super) fn value<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// Elements of the comma-separated lists of this name, in lower case.
    pub(super) fn list_elements<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> + 'a {
        self.values(name).flat_map(|value| value.split(|&byte| byte == b',')).filter_map(|element| {
            let element = String::from_utf8_lossy(element.trim_ascii()).to_ascii_lowercase();
            (!element.is_empty()).then_some(element)
        })
    }

    /// The method, of requests.
    pub(super) fn method(&self) -> Option<&str> {
        match &self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The status code, of responses.
    pub(super) fn status(&self) -> Option<u16> {
        match self.start {
            Start::Response { status, .. } => Some(status),
            Start::Request { .. } => None,
        }
    }

    /// The media type with its parameters.
    pub(super) fn content_type(&self) -> Option<String> {
        self.value("content-type").map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// The codings of the body, in the order in which they were applied.
    pub(super) fn codings(&self) -> Vec<String> {
        let names = ["content-encoding", "transfer-encoding"];
        names.into_iter().flat_map(|name| self.list_elements(name)).collect()
    }

    /// `Content-Length`, when it is there and makes sense. Repetitions of one number are that number (RFC 9112, section 6.3).
    pub(super) fn content_length(&self) -> Option<u64> {
        let mut lengths = self.list_elements("content-length").map(|element| {
            let is_number = element.bytes().all(|byte| byte.is_ascii_digit());
            element.parse::<u64>().ok().filter(|_| is_number)
        });
        let first = lengths.next()??;
        lengths.all(|other| other == Some(first)).then_some(first)
    }
}

/// Whether these bytes look like the begin of a message, whole or not. For finding the way back into a stream.
pub(super) fn may_begin_message(bytes: &[u8]) -> bool {
    looks(bytes) == Looks::Message
}

/// What the begin of a stream looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// A start line of HTTP/1.
    Message,
    /// The begin of one, perhaps.
    Unclear,
    /// Something else.
    Other,
}

/// Looks at the start line.
pub(super) fn looks(bytes: &[u8]) -> Looks {
    /// Longer ones are in no registry.
    const METHOD_LEN_MAX: usize = 24;
    const VERSION: &[u8] = b"HTTP/1.";
    let empty_lines = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let bytes = &bytes[empty_lines..];
    if VERSION.starts_with(&bytes[..bytes.len().min(VERSION.len())]) {
        return match bytes.get(VERSION.len()..) {
            Some([minor, b' ', status, ..]) if minor.is_ascii_digit() && status.is_ascii_digit() => {
                Looks::Message
            }
            Some([_, _, _, ..]) => Looks::Other,
            _ => Looks::Unclear,
        };
    }
    let method_len = bytes.iter().take_while(|&&byte| is_method_byte(byte)).count();
    match bytes.get(method_len) {
        None if method_len <= METHOD_LEN_MAX => return Looks::Unclear,
        Some(b' ') if (1..=METHOD_LEN_MAX).contains(&method_len) => {}
        _ => return Looks::Other,
    }
    let line = &bytes[method_len..];
    match line.iter().position(|&byte| byte == b'\n') {
        Some(end) => {
            let line = line[..end].trim_ascii_end();
            let is_http = line.len() > VERSION.len() + 1 && line[..line.len() - 1].ends_with(VERSION);
            if is_http { Looks::Message } else { Looks::Other }
        }
        None if line.iter().any(|byte| *byte < b' ' && *byte != b'\r' && *byte != b'\t') => Looks::Other,
        None if line.len() > HEAD_LEN_MAX => Looks::Other,
        None => Looks::Unclear,
    }
}

/// Methods are tokens; the registered ones, and all that were seen in use, have upper-case letters and few others.
fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_' | b'.') || byte.is_ascii_digit()
}

/// As much of the ways of real clients and servers as the parser can be told to take.
fn config() -> ParserConfig {
    let mut config = ParserConfig::default();
    config
        .allow_multiple_spaces_in_request_line_delimiters(true)
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_space_before_first_header_name(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_requests(true)
        .ignore_invalid_headers_in_responses(true);
    config
}

fn check(parsed: Result<Status<usize>, httparse::Error>) -> Result<(), &'static str> {
    match parsed {
        Ok(Status::Complete(_)) => Ok(()),
        Ok(Status::Partial) => Err("head without an end"),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => Err("invalid header field"),
        Err(httparse::Error::NewLine) => Err("invalid end of line"),
        Err(httparse::Error::Status) => Err("invalid status"),
        Err(httparse::Error::Token) => Err("invalid start line"),
        Err(httparse::Error::TooManyHeaders) => Err("too many header fields"),
        Err(httparse::Error::Version) => Err("invalid version"),
    }
}

fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Head, &'static str> {
        Head::parse(text.as_bytes().to_vec())
    }

    #[test]
    fn a_request() {
        let head = parse("GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nACCEPT: x\r\nAccept: y, Z\r\n\r\n").unwrap();
        assert_eq!(head.start, Start::Request { method: "GET".to_owned(), target: "/a?b=c".to_owned() });
        assert_eq!(head.minor_version, Some(1));
        assert_eq!(head.value("host"), Some(&b"a.test"[..]));
        assert_eq!(head.list_elements("accept").collect::<Vec<_>>(), ["x", "y", "z"]);
    }

    #[test]
    fn responses() {
        let head = parse("HTTP/1.0 404 Not Found\r\nServer: s\r\n\r\n").unwrap();
        assert_eq!(head.start, Start::Response { status: 404, phrase: "Not Found".to_owned() });
        assert_eq!(parse("HTTP/1.1 200\r\n\r\n").unwrap().status(), Some(200), "without a phrase");
    }

    #[test]
    fn what_real_peers_get_away_with() {
        assert_eq!(parse("GET / HTTP/1.1\nHost: a\n\n").unwrap().value("host"), Some(&b"a"[..]));
        let folded = parse("HTTP/1.1 200 OK\r\nA: b\r\n c\r\nD : e\r\n\r\n").unwrap();
        assert_eq!(folded.value("d"), Some(&b"e"[..]));
        let odd = parse("GET / HTTP/1.1\r\nno colon\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(odd.value("host"), Some(&b"a"[..]));
        let bytes = Head::parse(b"GET / HTTP/1.1\r\nA: \xff\xfe\r\n\r\n".to_vec()).unwrap();
        assert_eq!(bytes.value("a"), Some(&b"\xff\xfe"[..]));
    }

    #[test]
    fn what_is_no_head() {
        assert_eq!(parse("GET /\r\n\r\n"), Err("invalid start line"));
        assert_eq!(parse("GET / HTTP/2.0\r\n\r\n"), Err("invalid version"));
        assert_eq!(parse("HTTP/1.1 abc\r\n\r\n"), Err("invalid status"));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(parse(&many), Err("too many header fields"));
    }

    #[test]
    fn heads_that_are_cut() {
        let whole = "GET /a HTTP/1.1\r\nHost: a.test\r\nCookie: secret=1\r\n\r\n";
        for len in 0..whole.len() {
            let head = Head::parse_partial(&whole.as_bytes()[..len]);
            assert_eq!(head.is_some(), len >= "GET /a ".len(), "{len}");
            let Some(head) = head else { continue };
            assert_eq!(head.start, Start::Request { method: "GET".to_owned(), target: "/a".to_owned() });
            assert_eq!(head.minor_version, (len >= "GET /a HTTP/1.1\r\n".len()).then_some(1));
            assert_eq!(
                head.headers.len(),
                whole[..len].lines().count().saturating_sub(2 - usize::from(whole[..len].ends_with('\n')))
            );
        }
        let response = Head::parse_partial(b"HTTP/1.0 404 Not Fo").unwrap();
        assert_eq!(response.start, Start::Response { status: 404, phrase: String::new() });
        assert_eq!(response.minor_version, Some(0));
        for other in [&b"HTTP/1.1 40"[..], b"GET /cut", b"SSH-2.0-x y z", b"\x16\x03 a b", b""] {
            assert_eq!(Head::parse_partial(other), None);
        }
    }

    #[test]
    fn content_lengths() {
        let length =
            |lines: &str| parse(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n")).unwrap().content_length();
        assert_eq!(length("Content-Length: 12"), Some(12));
        assert_eq!(length("Content-Length: 12, 12\r\nContent-Length: 12"), Some(12));
        assert_eq!(length("Content-Length: 12, 13"), None);
        assert_eq!(length("Content-Length: -1"), None);
        assert_eq!(length("Content-Length: +1"), None);
        assert_eq!(length("Content-Length: 99999999999999999999"), None);
        assert_eq!(length("A: b"), None);
    }

    #[test]
    fn looks_of_streams() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], Looks::Message),
            (b"\r\nPOST /a b HTTP/1.0\r\nHost", Looks::Message),
            (b"M-SEARCH * HTTP/1.1\r\n", Looks::Message),
            (b"HTTP/1.1 200 OK", Looks::Message),
            (b"HTTP/1.1 2", Looks::Message),
            (b"HTTP/1.", Looks::Unclear),
            (b"GE", Looks::Unclear),
            (b"GET /long", Looks::Unclear),
            (b"", Looks::Unclear),
            (b"HTTP/2.0 200", Looks::Other),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Looks::Other),
            (b"OPTIONS sip:a SIP/2.0\r\n", Looks::Other),
            (b"GET key\r\n", Looks::Other),
            (b"\x16\x03\x01", Looks::Other),
            (b"SSH-2.0-x\r\n", Looks::Other),
            (b"GET \0", Looks::Other),
        ] {
            assert_eq!(looks(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
