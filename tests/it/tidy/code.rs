//! A reader of Rust source that is just good enough for the rules: it tells code from comments and
//! literals, and finds what the code names.

use std::collections::BTreeSet;

/// Lines that name a path such as `ort` or `std::fs`, written out or inside a grouped `use`. A
/// path of one segment is a crate: `ort::Session` and `use ort` count, a variable `ort` and
/// another path's segment (`inference::ort::Session`) do not.
pub(super) fn lines_naming_path(code: &str, path: &str) -> BTreeSet<usize> {
    let is_crate = !path.contains("::");
    let written_out = words(code, path).into_iter().filter(|at| {
        let before = code[..*at].trim_end();
        let before = before.strip_suffix("::").map_or("", str::trim_end);
        let is_segment = before.ends_with(is_word) || before.ends_with('>');
        !is_segment && (!is_crate || code[at + path.len()..].trim_start().starts_with("::"))
    });
    let mut lines: BTreeSet<usize> = written_out.map(|at| line_of(code, at)).collect();
    for at in words(code, "use") {
        let rest = &code[at + "use".len()..];
        // `use<'a>` in a bound imports nothing.
        if rest.starts_with('<') {
            continue;
        }
        let tree = rest.split(';').next().unwrap_or(rest);
        let mut imported = Vec::new();
        flatten("", tree, &mut imported);
        let inside = format!("{path}::");
        if imported.iter().any(|import| import == path || import.starts_with(&inside)) {
            lines.insert(line_of(code, at));
        }
    }
    lines
}

/// The paths of a `use` tree: `std::{fs, io::Read as _}` is `std::fs` and `std::io::Read`.
fn flatten(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let mut depth = 0_usize;
    let branches = tree.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    for branch in branches {
        let branch = branch.trim();
        if let Some((head, group)) = branch.split_once('{') {
            let group = group.rsplit_once('}').map_or(group, |(inside, _)| inside);
            flatten(&format!("{prefix}{}", head.trim()), group, paths);
        } else {
            let path = branch.split_whitespace().next().unwrap_or_default();
            let path = format!("{prefix}{path}");
            let path = path.trim_start_matches("::");
            paths.push(path.strip_suffix("::self").unwrap_or(path).to_owned());
        }
    }
}

pub(super) fn lines_naming_word(code: &str, name: &str) -> BTreeSet<usize> {
    words(code, name).into_iter().map(|at| line_of(code, at)).collect()
}

/// Where a name stands as a whole word.
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
