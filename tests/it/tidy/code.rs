//! A reader of Rust source that is just good enough for the rules: it tells code from comments and
//! literals, and finds words in it.

use std::collections::BTreeSet;

pub(super) fn lines_naming_word(code: &str, name: &str) -> BTreeSet<usize> {
    words(code, name).into_iter().map(|at| line_of(code, at)).collect()
}

/// Where a name occurs as a whole word.
fn words(code: &str, name: &str) -> Vec<usize> {
    code.match_indices(name)
        .map(|(at, _)| at)
        .filter(|at| !code[..*at].ends_with(is_word))
        .filter(|at| !name.ends_with(is_word) || !code[at + name.len()..].starts_with(is_word))
        .collect()
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Rust source with comments and the contents of literals replaced by spaces, line by line.
pub(super) fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = at + literal_or_comment(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
            continue;
        }
        let end = end.min(chars.len());
        code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    code
}

/// How many characters the comment or literal that begins here takes; 0 when none begins.
fn literal_or_comment(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let after_word = at > 0 && is_word(chars[at - 1]);
    match rest {
        ['/', '/', ..] => rest.iter().take_while(|c| **c != '\n').count(),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => quoted(rest, '"'),
        ['r', '"' | '#', ..] if !after_word => raw_string(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] if !after_word => raw_string(rest, 2),
        // Anything else after a single quote is a lifetime.
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => quoted(rest, '\''),
        _ => 0,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `hash` is where the `#`s or the quote begin; 0 for a raw identifier such as `r#type`.
fn raw_string(rest: &[char], hash: usize) -> usize {
    let hashes = rest[hash..].iter().take_while(|c| **c == '#').count();
    let open = hash + hashes;
    if rest.get(open) != Some(&'"') {
        return 0;
    }
    let is_close = |at: usize| {
        rest[at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes
    };
    let close = (open + 1..rest.len()).find(|at| is_close(*at));
    close.map_or(rest.len(), |at| at + 1 + hashes)
}

#[test]
fn comments_and_literals_are_not_code() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        ("f(\"a\\\"b\") g", "f(      ) g"),
        ("r#\"a\"b\"# c", "         c"),
        ("br\"a\\\" c", "       c"),
        ("r#type + 'x' + '\\'' + &'a str", "r#type +     +      + &'a str"),
        ("\"a\nb\" c", "  \n   c"),
        ("\"open", "     "),
        ("/* open", "       "),
    ] {
        assert_eq!(code_of(text), code, "for {text:?}");
    }
}
