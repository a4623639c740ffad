//! The tokens of Rust code, for rules that need more than words: where names and braces are.

use super::code::is_word;

/// A name, a number, a lifetime, the two characters `::`, or any other single character.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) line: usize,
    pub(super) text: &'a str,
}

impl Token<'_> {
    /// Whether this is an identifier or a keyword.
    pub(super) fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| is_word(c) && !c.is_ascii_digit())
    }
}

/// Splits code without comments and literals into tokens. A raw identifier loses its `r#`.
pub(super) fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\n' => {
                line += 1;
                0
            }
            _ if first.is_whitespace() => 0,
            _ if rest.starts_with("r#") => {
                rest = &rest["r#".len()..];
                continue;
            }
            _ if rest.starts_with("::") => "::".len(),
            '\'' => 1 + word_length(&rest[1..]),
            _ if is_word(first) => word_length(rest),
            _ => first.len_utf8(),
        };
        if length > 0 {
            tokens.push(Token { line, text: &rest[..length] });
        }
        rest = &rest[length.max(first.len_utf8())..];
    }
    tokens
}

fn word_length(text: &str) -> usize {
    text.find(|c| !is_word(c)).unwrap_or(text.len())
}

/// The index of the bracket that closes the one at `open`, or the number of tokens.
pub(super) fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len()
}

#[test]
fn code_splits_into_tokens() {
    let found: Vec<(usize, &str)> = tokens("use r#a::b;\nf(&'a 1, é<T>)")
        .iter()
        .map(|token| (token.line, token.text))
        .collect();
    let first = ["use", "a", "::", "b", ";"].map(|text| (1, text));
    let second = ["f", "(", "&", "'a", "1", ",", "é", "<", "T", ">", ")"].map(|text| (2, text));
    assert_eq!(found, [&first[..], &second[..]].concat());
}
