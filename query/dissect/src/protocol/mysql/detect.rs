//! Telling MySQL by its bytes.

use super::super::parser::{Detection, Sample};
use super::command::Command;
use super::constants::marker;
use super::view::{Greeting, Login};

/// Bytes of a packet's header: three of length, one of sequence.
const HEADER_LENGTH: usize = 4;

/// The longest greeting, login or first command that is expected to tell MySQL from other protocols.
const FIRST_PACKET_LENGTH_MAX: usize = 64 * 1024;

/// Length and sequence of the packet that begins here, and what is here of its body.
fn packet(bytes: &[u8]) -> Option<(usize, u8, &[u8])> {
    let (header, body) = bytes.split_first_chunk::<HEADER_LENGTH>()?;
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
    Some((length, header[3], &body[..body.len().min(length)]))
}

/// Whether a server's first packet is here.
pub(super) fn is_greeting(bytes: &[u8]) -> bool {
    packet(bytes).is_some_and(|(length, sequence, body)| {
        sequence == 0
            && body.len() == length
            && Greeting::parse(body).is_some_and(|greeting| is_version(greeting.server_version))
    })
}

/// Whether the server refuses the connection with its first packet.
pub(super) fn is_refusal(bytes: &[u8]) -> bool {
    packet(bytes).is_some_and(|(length, sequence, body)| {
        sequence == 0 && body.len() == length && length > 3 && body[0] == marker::ERR && is_text(&body[3..])
    })
}

fn is_version(version: &[u8]) -> bool {
    version.first().is_some_and(u8::is_ascii_digit) && version.contains(&b'.') && is_text(version)
}

fn is_text(bytes: &[u8]) -> bool {
    let end = bytes.len().min(256);
    bytes[..end].iter().all(|&byte| byte >= 0x20 || matches!(byte, b'\t' | b'\n' | b'\r'))
}

/// Whether the first packet of a client is here: one that tells its user.
fn is_login(bytes: &[u8]) -> bool {
    packet(bytes).is_some_and(|(length, sequence, body)| {
        sequence == 1
            && body.len() == length
            && length >= 32
            && Login::parse(body).is_some_and(|login| login.user.is_none_or(is_text))
    })
}

/// Whether commands begin here: the packets of these bytes are commands, one after the other, as far as they are here.
pub(super) fn is_command(mut bytes: &[u8]) -> bool {
    let mut any = false;
    while let Some((length, sequence, body)) = packet(bytes) {
        let Some(&first) = body.first() else { return any && length > 0 };
        let command = Command(first);
        let is_likely = match command {
            Command::QUERY | Command::STMT_PREPARE => {
                // Attributes of a query come before its text, and begin with a NUL.
                length > 1 && body.get(1).is_none_or(|&byte| byte == 0 || is_text(&[byte]))
            }
            Command::STMT_EXECUTE => length >= 10,
            Command::STMT_CLOSE | Command::STMT_RESET => length == 5,
            Command::QUIT | Command::RESET_CONNECTION => length == 1,
            _ => command.is_known(),
        };
        if sequence != 0 || !is_likely {
            return false;
        }
        any = true;
        match bytes.get(HEADER_LENGTH + length..) {
            Some(rest) => bytes = rest,
            None => return true,
        }
    }
    any && bytes.is_empty()
}

/// How sure these bytes make it.
pub(super) fn detect(sample: &Sample<'_>) -> Detection {
    let first = sample.of(sample.first);
    let other = sample.of(sample.first.other());
    if is_greeting(first) || is_greeting(other) {
        return Detection::Certain;
    }
    if is_login(first) || is_login(other) {
        return Detection::Likely;
    }
    let Some((length, sequence, body)) = packet(first) else { return Detection::More };
    let is_begin = sample.from_start[sample.first.index()];
    if is_begin {
        // A server that greets speaks first, with version 10, or refuses.
        let is_possible = sequence == 0
            && length <= FIRST_PACKET_LENGTH_MAX
            && matches!(body.first(), None | Some(&Greeting::VERSION | &marker::ERR));
        return match (is_possible, is_refusal(first)) {
            (true, true) => Detection::Port,
            (true, false) if body.len() < length => Detection::More,
            _ => Detection::No,
        };
    }
    let joined = [first, other].into_iter().any(is_command);
    if joined && [first, other].into_iter().any(is_long_query) { Detection::Likely } else { Detection::Port }
}

/// Whether a query of some words begins here: too long to be there by chance.
fn is_long_query(bytes: &[u8]) -> bool {
    const LONG: usize = 8;
    is_command(bytes)
        && packet(bytes).is_some_and(|(_, _, body)| {
            matches!(Command(body[0]), Command::QUERY | Command::STMT_PREPARE)
                && body.len() > LONG
                && body[1].is_ascii_alphabetic()
                && is_text(&body[1..])
        })
}
