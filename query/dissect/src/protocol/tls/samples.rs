//! Messages for tests, built from their parts.

/// A vector of extensions.
pub(super) fn extensions(list: &[(u16, &[u8])]) -> Vec<u8> {
    let body: Vec<u8> = list
        .iter()
        .flat_map(|(kind, data)| [&kind.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat())
        .collect();
    [&(body.len() as u16).to_be_bytes()[..], &body].concat()
}

/// The body of a client's hello with a session id of 32 ones.
pub(super) fn client_hello(cipher_suites: &[u16], list: &[(u16, &[u8])]) -> Vec<u8> {
    let suites: Vec<u8> = cipher_suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(32);
    body.extend([1; 32]);
    body.extend((suites.len() as u16).to_be_bytes());
    body.extend(suites);
    body.extend([1, 0]);
    body.extend(extensions(list));
    body
}

/// The body of a server's hello with an empty session id.
pub(super) fn server_hello(cipher_suite: u16, list: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([8; 32]);
    body.push(0);
    body.extend(cipher_suite.to_be_bytes());
    body.push(0);
    body.extend(extensions(list));
    body
}

/// A handshake message.
pub(super) fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
}

/// A record of TLS 1.2, or of what calls itself that.
pub(super) fn record(content_type: u8, fragment: &[u8]) -> Vec<u8> {
    [&[content_type, 3, 3][..], &(fragment.len() as u16).to_be_bytes(), fragment].concat()
}
