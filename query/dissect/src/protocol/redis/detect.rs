//! Telling Redis by its bytes.

use super::super::parser::{Detection, Sample};

/// The longest first line of a message that is expected: `*` or `$` and a number.
const COUNT_LENGTH_MAX: usize = 20;

/// What some bytes may be the beginning of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    No,
    /// As far as they go.
    Begin,
    Yes,
}

/// Takes `kind`, digits and the end of the line off the bytes; gives the number.
fn count_line<'a>(bytes: &'a [u8], kinds: &[u8]) -> Result<(u64, &'a [u8]), Match> {
    let Some((first, rest)) = bytes.split_first() else { return Err(Match::Begin) };
    if !kinds.contains(first) {
        return Err(Match::No);
    }
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, end) = rest.split_at(digits);
    if digits > COUNT_LENGTH_MAX {
        return Err(Match::No);
    }
    match end {
        [] | [b'\r'] => Err(Match::Begin),
        [b'\r', b'\n', after @ ..] if digits > 0 => {
            let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
            number.map(|number| (number, after)).ok_or(Match::No)
        }
        _ => Err(Match::No),
    }
}

/// The first string of an array: its text as far as it is here, and whether that is all of it.
fn first_string<'a>(bytes: &'a [u8], kinds: &[u8]) -> Result<(&'a [u8], bool), Match> {
    let (count, rest) = count_line(bytes, kinds)?;
    let (length, rest) = count_line(rest, b"$")?;
    if count == 0 {
        return Err(Match::No);
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let (text, after) = rest.split_at(length.min(rest.len()));
    if after.first().is_some_and(|&byte| byte != b'\r') {
        return Err(Match::No);
    }
    Ok((text, text.len() == length))
}

fn command_match(bytes: &[u8]) -> Match {
    match first_string(bytes, b"*") {
        Err(found) => found,
        Ok((name, is_whole)) => {
            let is_name = name.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"._-|".contains(&byte));
            match (is_name, is_whole && !name.is_empty()) {
                (false, _) => Match::No,
                (true, false) => Match::Begin,
                (true, true) => Match::Yes,
            }
        }
    }
}

/// Whether a command begins here, in the form that clients send.
pub(super) fn is_command(bytes: &[u8]) -> bool {
    command_match(bytes) == Match::Yes
}

/// Whether something begins here that servers send without being asked.
pub(super) fn is_push(bytes: &[u8]) -> bool {
    let is_message = |name: &[u8]| matches!(name, b"message" | b"pmessage" | b"smessage" | b"invalidate");
    first_string(bytes, b"*>").is_ok_and(|(name, is_whole)| is_whole && is_message(name))
}

/// Whether a reply begins here.
pub(super) fn is_reply(bytes: &[u8]) -> bool {
    let Some(end) = bytes.iter().take(512).position(|&byte| byte == b'\n') else { return false };
    let Some(line) = bytes[..end].strip_suffix(b"\r") else { return false };
    let Some((kind, rest)) = line.split_first() else { return false };
    let is_number = |digits: &[u8]| {
        let digits = digits.strip_prefix(b"-").unwrap_or(digits);
        !digits.is_empty() && digits.len() <= COUNT_LENGTH_MAX && digits.iter().all(u8::is_ascii_digit)
    };
    match kind {
        b'+' => rest.iter().all(|byte| (0x20..0x7f).contains(byte)),
        b'-' => rest.first().is_some_and(u8::is_ascii_uppercase),
        b':' | b'$' | b'*' | b'%' | b'~' | b'>' | b'!' | b'=' | b'|' => is_number(rest),
        b'_' => rest.is_empty(),
        b'#' => matches!(rest, b"t" | b"f"),
        b',' | b'(' => !rest.is_empty() && rest.is_ascii(),
        _ => false,
    }
}

/// Whether a command on a line of its own is here.
fn is_inline(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let mut words = bytes[..end].split(u8::is_ascii_whitespace);
    let is_word =
        words.next().is_some_and(|word| word.len() >= 2 && word.iter().all(u8::is_ascii_alphabetic));
    is_word && end < bytes.len() && !bytes[..end].windows(5).any(|window| window == b"HTTP/")
}

/// How sure these bytes make it.
pub(super) fn detect(sample: &Sample<'_>) -> Detection {
    let first = sample.of(sample.first);
    let other = sample.of(sample.first.other());
    if is_command(first) || is_command(other) {
        return Detection::Certain;
    }
    if is_push(first) || is_push(other) {
        return Detection::Likely;
    }
    if sample.from_start[sample.first.index()] {
        return match command_match(first) {
            Match::Begin => Detection::More,
            // Typed by hand, or by a script: the answer tells.
            _ if is_inline(first) && other.is_empty() => Detection::More,
            _ if is_inline(first) && is_reply(other) => Detection::Likely,
            _ if is_inline(first) => Detection::Port,
            _ => Detection::No,
        };
    }
    Detection::Port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_their_beginnings() {
        let command = b"*2\r\n$4\r\nLLEN\r\n$1\r\nk\r\n";
        assert!(is_command(command));
        for end in 0..12 {
            assert_eq!(command_match(&command[..end]), Match::Begin, "{end}");
        }
        for other in [
            &b"*2\r\n+OK\r\n"[..],
            b"*x",
            b"* LIST",
            b"* OK IMAP4rev1 ready\r\n",
            b"*1\r\n$2\r\n\0\0\r\n",
            b"GET /",
        ] {
            assert_eq!(command_match(other), Match::No);
        }
    }

    #[test]
    fn pushes_and_replies() {
        assert!(is_push(b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n"));
        assert!(is_push(b">2\r\n$10\r\ninvalidate\r\n"));
        assert!(!is_push(b"*3\r\n$7\r\nmessages\r\n"));
        for reply in [&b"+OK\r\n"[..], b"-ERR x\r\n", b":1\r\n", b"$-1\r\n", b"*2\r\n", b"_\r\n", b"#t\r\n"] {
            assert!(is_reply(reply));
        }
        for other in [&b"HTTP/1.1 200 OK\r\n"[..], b"+OK", b":x\r\n", b"", b"\r\n"] {
            assert!(!is_reply(other));
        }
    }
}
