//! SQL texts: where one statement ends, and what its verb is.

use std::borrow::Cow;

/// The first words of nearly all statements, which need no memory of their own.
const COMMON_VERBS: [&str; 12] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "BEGIN", "COMMIT", "SET", "SHOW", "START", "ROLLBACK", "CREATE",
    "DROP",
];

/// Bytes of a verb that are kept: more than any has. A text without white space would be a verb as a whole.
const VERB_LENGTH_MAX: usize = 32;

/// The first word in upper case: `SELECT`. Comments before it are no word.
pub(crate) fn method(statement: &str) -> Cow<'static, str> {
    let text = skip_comments(statement);
    let end = text.find(|c: char| c.is_ascii_whitespace() || c == ';' || c == '(').unwrap_or(text.len());
    let verb = &text[..text.floor_char_boundary(end.min(VERB_LENGTH_MAX))];
    match COMMON_VERBS.iter().find(|common| common.eq_ignore_ascii_case(verb)) {
        Some(common) => Cow::Borrowed(common),
        None => Cow::Owned(verb.to_ascii_uppercase()),
    }
}

fn skip_comments(mut text: &str) -> &str {
    loop {
        text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '(');
        let rest = if text.starts_with("--") {
            text.find('\n').map(|at| &text[at + 1..])
        } else if text.starts_with("/*") && !text.starts_with("/*!") {
            text.find("*/").map(|at| &text[at + 2..])
        } else {
            None
        };
        match rest {
            Some(rest) => text = rest,
            None => return text,
        }
    }
}

/// The statements of a text of PostgreSQL (PostgreSQL manual, section 4.1, Lexical Structure): separated by semicolons that
/// are in no string, quoted name, dollar-quoted body or comment. Without the white space around them; empty ones are left out.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let mut statements = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while at < bytes.len() {
        at = match bytes[at] {
            b';' => {
                statements.push(text[begin..at].trim());
                begin = at + 1;
                begin
            }
            b'\'' => end_of_string(bytes, at, is_escape_string(bytes, at)),
            b'"' => end_of_quoted(bytes, at, b'"'),
            b'-' if bytes[at..].starts_with(b"--") => end_of_line(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => end_of_comment(bytes, at),
            b'$' if at == 0 || !is_name_byte(bytes[at - 1]) => end_of_dollar_quoted(bytes, at),
            _ => at + 1,
        };
    }
    statements.push(text[begin..].trim());
    statements.retain(|statement| !statement.is_empty());
    statements
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Whether the string at `at` is one with backslash escapes: `E'…'`.
fn is_escape_string(bytes: &[u8], at: usize) -> bool {
    let escape = at > 0 && matches!(bytes[at - 1], b'E' | b'e');
    escape && (at < 2 || !is_name_byte(bytes[at - 2]))
}

fn end_of_quoted(bytes: &[u8], at: usize, quote: u8) -> usize {
    bytes[at + 1..].iter().position(|&byte| byte == quote).map_or(bytes.len(), |length| at + length + 2)
}

fn end_of_string(bytes: &[u8], at: usize, escapes: bool) -> usize {
    let mut end = at + 1;
    while end < bytes.len() {
        match bytes[end] {
            b'\\' if escapes => end += 2,
            b'\'' => return end + 1,
            _ => end += 1,
        }
    }
    bytes.len()
}

fn end_of_line(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |length| at + length + 1)
}

/// Comments nest.
fn end_of_comment(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut end) = (0_usize, at);
    while end < bytes.len() {
        if bytes[end..].starts_with(b"/*") {
            depth += 1;
            end += 2;
        } else if bytes[end..].starts_with(b"*/") {
            depth -= 1;
            end += 2;
            if depth == 0 {
                return end;
            }
        } else {
            end += 1;
        }
    }
    bytes.len()
}

/// `$tag$ … $tag$`; a `$` that begins no such tag (`$1`) is an ordinary character.
fn end_of_dollar_quoted(bytes: &[u8], at: usize) -> usize {
    let tag_end = bytes[at + 1..].iter().position(|&byte| !is_name_byte(byte)).map(|length| at + 1 + length);
    let tag = match tag_end {
        Some(end) if bytes[end] == b'$' && !bytes[at + 1].is_ascii_digit() => &bytes[at..=end],
        _ => return at + 1,
    };
    let body = at + tag.len();
    bytes[body..]
        .windows(tag.len())
        .position(|window| window == tag)
        .map_or(bytes.len(), |length| body + length + tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_the_method() {
        for (statement, word) in [
            ("select 1", "SELECT"),
            ("  Insert\n into t", "INSERT"),
            ("/* by app */ -- really\n update t", "UPDATE"),
            ("(SELECT 1) UNION (SELECT 2)", "SELECT"),
            ("begin;", "BEGIN"),
            ("/*!40101 SET x */", "/*!40101"),
            ("-- nothing", "--"),
            ("", ""),
            (&"é".repeat(100_000), &"é".repeat(16)),
        ] {
            assert_eq!(method(statement), word, "{statement}");
        }
    }

    #[test]
    fn semicolons_inside_are_no_end() {
        let text = "select ';', \"a;b\", E'\\';' ; /* ; /* ; */ ; */ select $$;$$, $f$ ; $$ ; $f$, $1;; -- ;\n select 'it''s;' ";
        let expected = [
            "select ';', \"a;b\", E'\\';'",
            "/* ; /* ; */ ; */ select $$;$$, $f$ ; $$ ; $f$, $1",
            "-- ;\n select 'it''s;'",
        ];
        assert_eq!(split(text), expected);
    }

    #[test]
    fn what_is_never_closed_goes_to_the_end() {
        for text in
            ["select 'a;", "select \"a;", "select $x$;", "select /* ;", "select E'\\", "$", "select 1 -- ;"]
        {
            assert_eq!(split(text), [text], "{text}");
        }
        assert!(split(" ; ;\n").is_empty());
    }
}
