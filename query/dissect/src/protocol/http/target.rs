//! What a request asks for: its target and host (RFC 9112, section 3.2; RFC 3986).

use std::net::{IpAddr, Ipv6Addr};

/// The parts of a request target with the host that it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Name or address, without brackets.
    pub(super) host: Option<&'a str>,
    pub(super) port: Option<u16>,
    /// Encoded as it was sent.
    pub(super) path: &'a str,
    /// Encoded as it was sent, without the question mark.
    pub(super) query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// The target of a request with this method; `host_field` is its header field `Host`.
    pub(super) fn parse(method: &str, target: &'a str, host_field: Option<&'a str>) -> Self {
        let host_field = host_field.map(str::trim).filter(|host| !host.is_empty());
        // Only CONNECT has an authority alone, only proxies get one before the path; then it counts, and not the header field.
        let (authority, rest) = match scheme_end(target) {
            _ if method == "CONNECT" => (Some(target), ""),
            Some(at) => {
                let after = &target[at..];
                let (authority, rest) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
                (Some(authority), rest)
            }
            None => (None, target),
        };
        let (host, port) = host_and_port(authority.or(host_field).unwrap_or_default());
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        Self { host, port, path, query }
    }

    /// What follows the last dot of the last part of the path.
    pub(super) fn extension(&self) -> Option<&'a str> {
        let name = self.path.rsplit('/').next()?;
        name.rsplit_once('.').map(|(_, extension)| extension).filter(|extension| !extension.is_empty())
    }

    /// The host as an address, if it is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host?.parse().ok()
    }
}

/// Where the authority begins behind `http://` or another scheme.
fn scheme_end(target: &str) -> Option<usize> {
    let at = target.find("://")?;
    let scheme = &target[..at];
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    is_scheme.then_some(at + 3)
}

/// `user@host:port`, `[address]:port`; the user is left out.
fn host_and_port(authority: &str) -> (Option<&str>, Option<u16>) {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, after)| after);
    let bracketed = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        // Without brackets, an IPv6 address has colons of its own.
        None if authority.parse::<Ipv6Addr>().is_ok() => (authority, None),
        None => authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = port.and_then(|port| port.parse().ok()).filter(|&port| port != 0);
    ((!host.is_empty()).then_some(host), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<'a>(target: &'a str, host: &'a str) -> Target<'a> {
        Target::parse("GET", target, Some(host))
    }

    #[test]
    fn forms_of_targets() {
        let origin = parse("/a/b.tar.gz?c=d#e", "a.test:8080");
        let expected =
            Target { host: Some("a.test"), port: Some(8080), path: "/a/b.tar.gz", query: Some("c=d") };
        assert_eq!(origin, expected);
        assert_eq!(origin.extension(), Some("gz"));
        let absolute = parse("http://u:p@b.test:81?x", "a.test");
        assert_eq!(absolute, Target { host: Some("b.test"), port: Some(81), path: "", query: Some("x") });
        let asterisk = parse("*", "a.test");
        assert_eq!((asterisk.path, asterisk.host), ("*", Some("a.test")));
        let authority = Target::parse("CONNECT", "c.test:443", Some("a.test"));
        assert_eq!((authority.host, authority.port, authority.path), (Some("c.test"), Some(443), ""));
        assert_eq!(
            parse("/redirect?to=http://b.test/", "a.test").host,
            Some("a.test"),
            "a scheme is at the begin"
        );
    }

    #[test]
    fn hosts() {
        assert_eq!(parse("/", "[2001:db8::1]:80").address(), "2001:db8::1".parse().ok());
        assert_eq!(parse("/", "2001:db8::1").address(), "2001:db8::1".parse().ok());
        assert_eq!(parse("/", "192.0.2.1:0").port, None);
        assert_eq!(parse("/", " ").host, None);
        assert_eq!(parse("/", "a.test:x"), Target { host: Some("a.test"), path: "/", ..Target::default() });
    }

    #[test]
    fn extensions() {
        assert_eq!(parse("/a.b/c", "h").extension(), None);
        assert_eq!(parse("/c.", "h").extension(), None);
    }
}
