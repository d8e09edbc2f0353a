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
    while let Some(first) = expression[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let escaped = first == '\\';
        let begin = at + usize::from(escaped);
        let rest = &expression[begin..];
        // Within brackets, a colon and a minus are signs; elsewhere they belong to addresses and names.
        let len = word_len(rest, brackets > 0);
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

/// Bytes of the word that a text begins with.
fn word_len(text: &str, in_brackets: bool) -> usize {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_');
    let word = text.find(|character| !plain(character)).unwrap_or(text.len());
    let wide = |character: char| plain(character) || matches!(character, ':' | '-');
    let address = text.find(|character| !wide(character)).unwrap_or(text.len());
    let candidate = &text[..address];
    if in_brackets {
        // Only names of values have dashes there.
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

fn is_port(text: &str) -> bool {
    !text.is_empty()
        && (text.bytes().all(|byte| byte.is_ascii_digit()) || crate::names::service(text).is_some())
}
