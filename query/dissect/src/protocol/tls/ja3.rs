//! JA3 and JA3S: fingerprints of hello messages by the numbers in them (github.com/salesforce/ja3).

use std::fmt::Write as _;

use md5::{Digest, Md5};

use super::hello::{ClientHello, ServerHello};
use super::hex::lower_hex;

/// The JA3 of a client: MD5 of [`client_string`].
pub(super) fn client(hello: &ClientHello<'_>) -> String {
    lower_hex(&Md5::digest(client_string(hello)))
}

/// The JA3S of a server.
pub(super) fn server(hello: &ServerHello<'_>) -> String {
    lower_hex(&Md5::digest(server_string(hello)))
}

/// `version,cipher suites,extensions,groups,point formats`, lists joined by `-`, without GREASE.
fn client_string(hello: &ClientHello<'_>) -> String {
    let mut text = format!("{},", hello.version);
    join(&mut text, hello.cipher_suites());
    text.push(',');
    join(&mut text, hello.extensions.iter().map(|(kind, _)| kind));
    text.push(',');
    join(&mut text, hello.extensions.supported_groups().into_iter().flatten());
    text.push(',');
    join(
        &mut text,
        hello.extensions.ec_point_formats().unwrap_or_default().iter().map(|&format| u16::from(format)),
    );
    text
}

/// `version,cipher suite,extensions`.
fn server_string(hello: &ServerHello<'_>) -> String {
    let mut text = format!("{},{},", hello.version, hello.cipher_suite);
    join(&mut text, hello.extensions.iter().map(|(kind, _)| kind));
    text
}

fn join(text: &mut String, numbers: impl Iterator<Item = u16>) {
    for (at, number) in numbers.enumerate() {
        let dash = if at == 0 { "" } else { "-" };
        write!(text, "{dash}{number}").expect("writing to a string doesn't fail");
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{client_hello, server_hello};
    use super::*;

    #[test]
    fn strings() {
        let body = client_hello(
            &[0x0a0a, 4865, 49195],
            &[(0x2a2a, &[]), (0, b"\0\x04\0\0\x01a"), (10, &[0, 4, 0x3a, 0x3a, 0, 29]), (11, &[2, 0, 1])],
        );
        assert_eq!(client_string(&ClientHello::parse(&body).unwrap()), "771,4865-49195,0-10-11,29,0-1");
        let body = client_hello(&[4], &[]);
        assert_eq!(client_string(&ClientHello::parse(&body).unwrap()), "771,4,,,");
        let body = server_hello(4865, &[(51, &[0, 29]), (43, &[3, 4])]);
        assert_eq!(server_string(&ServerHello::parse(&body).unwrap()), "771,4865,51-43");
    }

    #[test]
    fn hash_of_a_published_string() {
        let published = "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0";
        assert_eq!(lower_hex(&Md5::digest(published)), "ada70206e40642a3e4461f35503241d5");
    }
}
