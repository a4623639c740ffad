//! Text for people: log lines, messages and terminals.
//!
//! Owns which characters show as themselves, and how a foreign text is cut and escaped. Promises
//! that an excerpt is short and cannot control a terminal, whatever it is made of. Never decides
//! what is worth showing.

/// Whether a character shows as itself: no control, no invisible and no direction mark, which
/// could make a log line say something else. The standard library knows which those are, because
/// it escapes them; of ASCII it escapes quotes as well, for another reason.
pub fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        // Nearly every one is; the same answer without the tables.
        return !character.is_ascii_control();
    }
    character.escape_debug().count() == 1
}

/// The beginning of a foreign text: at most so many characters of it, those escaped that are not
/// printable, and an ellipsis where there are more.
pub fn excerpt(text: &str, chars_max: usize) -> String {
    let mut excerpt = String::new();
    let mut characters = text.chars();
    for character in characters.by_ref().take(chars_max) {
        if is_printable(character) {
            excerpt.push(character);
        } else {
            excerpt.extend(character.escape_debug());
        }
    }
    if characters.next().is_some() {
        excerpt.push('…');
    }
    excerpt
}

/// As [`excerpt`], of bytes that may be no text. Does not look at bytes far behind the cut, so a
/// large record costs no more than a small one.
pub fn excerpt_of_bytes(bytes: &[u8], chars_max: usize) -> String {
    // A character has at most four bytes; one character more shows that there are more.
    let bytes_max = chars_max.saturating_add(1).saturating_mul(4);
    excerpt(&String::from_utf8_lossy(&bytes[..bytes.len().min(bytes_max)]), chars_max)
}

/// A list of problems below the sentence that they explain: one a line, indented.
pub fn indented_lines(problems: &[String]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// How alike a word and a known one are, at most 1; `None` where they are too different for the one
/// to be meant by the other. A long word costs no more than a short one.
pub fn similarity(word: &str, known: &str) -> Option<f64> {
    /// Two typing errors or a swapped pair in a word of usual length.
    const SIMILARITY_MIN: f64 = 0.6;
    // Each character beyond those of the known word is a difference, so a longer word is below the
    // least similarity.
    let chars_max = (known.chars().count() as f64 / SIMILARITY_MIN).ceil() as usize;
    if word.chars().nth(chars_max).is_some() {
        return None;
    }
    let similarity = strsim::normalized_damerau_levenshtein(word, known);
    (similarity >= SIMILARITY_MIN).then_some(similarity)
}

/// `, did you mean ...?` where a known word is close.
pub fn suggestion<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> String {
    known
        .filter_map(|known| Some((similarity(word, known)?, known)))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, known)| format!(", did you mean `{known}`?"))
}

/// What serde says of an unknown field, with the known one that is similar in place of the list of
/// all.
pub fn with_suggestion(words: &str) -> String {
    const UNKNOWN: &str = "unknown field `";
    let Some((before, rest)) = words.split_once(UNKNOWN) else { return words.to_owned() };
    let mut names = rest.split('`').step_by(2);
    let unknown = names.next().unwrap_or_default();
    let similar = suggestion(unknown, names);
    if similar.is_empty() {
        return words.to_owned();
    }
    let place = rest.rfind(" at line ").map_or("", |at| &rest[at..]);
    format!("{before}{UNKNOWN}{unknown}`{place}{similar}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_escapes_what_could_control_a_terminal() {
        for (text, expected) in [
            ("", ""),
            ("Zürich \"a\" 'b' \\", "Zürich \"a\" 'b' \\"),
            ("a\x1b[2J", "a\\u{1b}[2J"),
            ("a\r\n\t\0", "a\\r\\n\\t\\0"),
            ("a\u{202e}b\u{200b}c\u{7f}", "a\\u{202e}b\\u{200b}c\\u{7f}"),
        ] {
            assert_eq!(excerpt(text, 64), expected, "{text:?}");
        }
    }

    #[test]
    fn every_ascii_character_is_judged_as_the_library_escapes_it() {
        for character in (0..=0x7f_u8).map(char::from) {
            let is_quote = ['"', '\'', '\\'].contains(&character);
            let is_itself = character.escape_debug().count() == 1;
            assert_eq!(is_printable(character), is_quote || is_itself, "{character:?}");
        }
    }

    #[test]
    fn an_excerpt_ends_with_an_ellipsis_where_it_is_cut() {
        assert_eq!(excerpt("äöü", 3), "äöü");
        assert_eq!(excerpt("äöüß", 3), "äöü…");
        assert_eq!(excerpt("\n\n\n", 2), "\\n\\n…");
        assert_eq!(excerpt("a", 0), "…");
    }

    #[test]
    fn an_excerpt_of_bytes_is_a_text() {
        assert_eq!(excerpt_of_bytes(b"a\x1b\xff", 64), "a\\u{1b}\u{fffd}");
        assert_eq!(excerpt_of_bytes(&[b'x'; 1000], 3), "xxx…");
        assert_eq!(excerpt_of_bytes("😀😀😀".as_bytes(), 3), "😀😀😀");
        assert_eq!(excerpt_of_bytes("😀😀😀😀😀".as_bytes(), 3), "😀😀😀…");
        assert_eq!(excerpt_of_bytes(&[0xff; 1000], 2), "\u{fffd}\u{fffd}…");
    }

    #[test]
    fn a_word_is_compared_with_known_ones_of_like_length_alone() {
        for (word, known, expected) in [
            ("bynance", "binance", Some(1.0 - 1.0 / 7.0)),
            ("close", "close", Some(1.0)),
            // As different as a word may be, by what it has more and by what it lacks.
            ("abc..", "abc", Some(0.6)),
            ("abcabc....", "abcabc", Some(0.6)),
            ("abc", "abc..", Some(0.6)),
            ("abc...", "abc", None),
            ("ab", "abc..", None),
            ("", "a", None),
            ("a", "", None),
            ("äöü", "äöu", Some(1.0 - 1.0 / 3.0)),
        ] {
            assert_eq!(similarity(word, known), expected, "{word} {known}");
        }
        // Each cell of a table of 16 million by 5 would take a time that no refusal is worth.
        assert_eq!(similarity(&"x".repeat(16 << 20), "close"), None);
    }

    #[test]
    fn an_unknown_field_has_a_hint() {
        let words =
            "unknown field `featurs`, expected one of `features`, `step` at line 3 column 5";
        let hint = "unknown field `featurs` at line 3 column 5, did you mean `features`?";
        assert_eq!(with_suggestion(words), hint);
        let words = "unknown field `x`, expected `step` at line 1 column 1";
        assert_eq!(with_suggestion(words), words);
        assert_eq!(with_suggestion("missing field `step`"), "missing field `step`");
    }

    #[test]
    fn problems_stand_one_a_line() {
        assert_eq!(indented_lines(&[]), "");
        assert_eq!(indented_lines(&["a: b".to_owned(), "c".to_owned()]), "\n  a: b\n  c");
    }
}
