//! Words, numbers, addresses and signs of an expression.

use crate::FilterError;
use crate::program::EXPRESSION_LEN_MAX;

/// A part of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) position: usize,
    /// A keyword's backslash makes a name of it.
    pub(super) escaped: bool,
}

/// Signs, longest first.
const SIGNS: [&str; 26] = [
    "&&", "||", "==", "!=", ">=", "<=", "<<", ">>", "(", ")", "[", "]", "!", "=", ">", "<", "+", "*", "%",
    "&", "|", "^", ":", "/", "-", ",",
];

/// Cuts an expression into its parts. Addresses are one part: colons, dots and dashes belong to them.
pub(super) fn tokens(expression: &str) -> Result<Vec<Token<'_>>, FilterError> {
    if expression.len() > EXPRESSION_LEN_MAX {
        return Err(FilterError {
            message: format!("the expression has more than {EXPRESSION_LEN_MAX} bytes"),
            position: EXPRESSION_LEN_MAX,
        });
    }
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut brackets = 0_usize;
    let mut run = Run { end: 0, has_address: false };
    while let Some(first) = expression[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let escaped = first == '\\';
        let begin = at + usize::from(escaped);
        let rest = &expression[begin..];
        // Within brackets, a colon and a minus are signs; elsewhere they belong to addresses and names.
        if begin >= run.end {
            run = Run::at(expression, begin);
        }
        let len = word_len(rest, &rest[..run.end - begin], run.has_address, brackets > 0);
        let len = match len {
            0 if escaped => 0,
            0 => SIGNS.iter().find(|sign| rest.starts_with(**sign)).map_or(0, |sign| sign.len()),
            len => len,
        };
        if len == 0 {
            return Err(FilterError { message: format!("'{first}' has no meaning here"), position: at });
        }
        let text = &rest[..len];
        match text {
            "[" => brackets += 1,
            "]" => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        tokens.push(Token { text, position: at, escaped });
        at = begin + len;
    }
    Ok(tokens)
}

/// Characters behind each other that may belong to one address or name. It is looked at once and not again for each part that it is
/// cut into: there can be as many of these as it has bytes.
struct Run {
    /// Where it ends in the expression.
    end: usize,
    /// Whether it has as many colons as an address. What remains of one that has not, has not either.
    has_address: bool,
}

impl Run {
    fn at(expression: &str, begin: usize) -> Self {
        let text = &expression[begin..];
        let text = &text[..text.find(|character| !is_wide(character)).unwrap_or(text.len())];
        let has_address = text.bytes().filter(|byte| *byte == b':').nth(1).is_some();
        Self { end: begin + text.len(), has_address }
    }
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_')
}

fn is_wide(character: char) -> bool {
    is_plain(character) || matches!(character, ':' | '-')
}

/// Bytes of the word that a text begins with. `run` is as much of it as may belong to an address or name.
fn word_len(text: &str, run: &str, has_address: bool, in_brackets: bool) -> usize {
    let word = || text.find(|character| !is_plain(character)).unwrap_or(text.len());
    // Within brackets, only names of values have dashes.
    let is_joined = crate::names::constant(run).is_some()
        || !in_brackets && (has_address || is_dashed_mac(run) || is_port_range(run));
    if is_joined { run.len() } else { word() }
}

/// Six numbers with dashes between them.
fn is_dashed_mac(text: &str) -> bool {
    const LEN_MAX: usize = 6 * 2 + 5;
    text.len() <= LEN_MAX && text.split('-').count() == 6 && text.split('-').all(|part| part.len() <= 2)
}

fn is_port_range(text: &str) -> bool {
    text.split_once('-').is_some_and(|(first, last)| is_port(first) && is_port(last))
}

fn is_port(text: &str) -> bool {
    !text.is_empty()
        && (text.bytes().all(|byte| byte.is_ascii_digit()) || crate::names::service(text).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the word that a text begins with, from a look at all of it.
    fn plain_word_len(text: &str, in_brackets: bool) -> usize {
        let word = text.find(|character| !is_plain(character)).unwrap_or(text.len());
        let address = text.find(|character| !is_wide(character)).unwrap_or(text.len());
        let candidate = &text[..address];
        if in_brackets {
            return if crate::names::constant(candidate).is_some() { address } else { word };
        }
        let is_joined = candidate.contains("::")
            || candidate.bytes().filter(|byte| *byte == b':').count() >= 2
            || candidate.split('-').count() == 6 && candidate.split('-').all(|part| part.len() <= 2)
            || crate::names::constant(candidate).is_some()
            || candidate
                .split_once('-')
                .is_some_and(|(first, last)| !candidate.contains(':') && is_port(first) && is_port(last));
        if is_joined { address } else { word }
    }

    #[test]
    fn words_are_those_that_a_look_at_all_of_the_rest_finds() {
        const PARTS: [&str; 18] = [
            "-",
            "-",
            ":",
            ":",
            "::",
            "1",
            "0a",
            "ff02",
            "http",
            "ftp-data",
            "tcp-syn",
            "icmp6-echo",
            ".",
            "_",
            "[",
            "]",
            " ",
            "\\",
        ];
        let mut random = 1_u64;
        for _ in 0..20_000 {
            let mut expression = String::new();
            for _ in 0..12 {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                expression.push_str(PARTS[(random >> 33) as usize % PARTS.len()]);
            }
            let Ok(tokens) = tokens(&expression) else { continue };
            let mut brackets = 0_usize;
            for token in tokens {
                let begin = token.position + usize::from(token.escaped);
                let len = plain_word_len(&expression[begin..], brackets > 0);
                let is_sign = len == 0 && SIGNS.contains(&token.text);
                assert!(is_sign || len == token.text.len(), "{expression}: {token:?}");
                match token.text {
                    "[" => brackets += 1,
                    "]" => brackets = brackets.saturating_sub(1),
                    _ => {}
                }
            }
        }
    }

    /// Each part once took a look at all that follows: some seconds for these.
    #[test]
    fn parts_without_end_take_one_look() {
        for (repeated, parts) in [("-", 1), ("1-", 2), ("1-1-1-", 6), (" -", 1), ("[-]", 3), ("a:-b ", 4)] {
            let expression = repeated.repeat(EXPRESSION_LEN_MAX / repeated.len());
            let expected = expression.len() / repeated.len() * parts;
            // The last ones may be joined, as the six numbers of an address are.
            let count = tokens(&expression).unwrap().len();
            assert!((expected - 11..=expected).contains(&count), "{repeated}: {count} of {expected}");
        }
        let address = "1:".repeat(EXPRESSION_LEN_MAX / 2);
        assert_eq!(tokens(&address).unwrap().len(), 1);
    }
}
