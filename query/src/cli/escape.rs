//! Text of unknown origin on a terminal: a process may be named with the codes that move its cursor.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with its control characters, and those that turn the direction of writing, spelled out: `\x1b`, `\u{202e}`.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    escaped_except(text, |_| false)
}

/// As [`escaped`], but lines stay lines.
pub(super) fn escaped_lines(text: &str) -> Cow<'_, str> {
    escaped_except(text, |character| character == '\n')
}

/// Bytes as text of lines: what is neither text nor a line's end or a tab is spelled out. A carriage return before a line's end is
/// left out.
pub(super) fn escaped_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let lines = chunk.valid().replace("\r\n", "\n");
        text.push_str(&escaped_except(&lines, |character| matches!(character, '\n' | '\t')));
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

fn escaped_except(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_harmful = |character: char| !stays(character) && (character.is_control() || turns(character));
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match u32::from(character) {
            _ if !is_harmful(character) => safe.push(character),
            byte if byte < 0x80 => write!(safe, "\\x{byte:02x}").expect("a string takes every write"),
            code => write!(safe, "\\u{{{code:x}}}").expect("a string takes every write"),
        }
    }
    Cow::Owned(safe)
}

/// Characters that set the direction of what follows (Unicode Standard Annex 9, section 2).
fn turns(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(escaped("a\x1b[2J\x07\n\r\u{9b}\u{202e}ü"), "a\\x1b[2J\\x07\\x0a\\x0d\\u{9b}\\u{202e}ü");
        assert_eq!(escaped_lines("a\n\tb"), "a\n\\x09b");
        assert_eq!(escaped_text(b"GET /\r\n\ta\r\xff\x1b"), "GET /\n\ta\\x0d\\xff\\x1b");
        assert!(matches!(escaped("plain \\x1b"), Cow::Borrowed(_)));
    }
}
