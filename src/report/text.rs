//! Text on a page.
//!
//! Owns escaping, the units of figures and the spaces inside them. Promises that text from data
//! cannot become markup. Never decides what is said.

use crate::core::forecast::TargetKind;

/// Text for HTML and XML, in elements and in attributes. Control characters, which XML does not
/// have, become U+FFFD.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            '\n' | '\t' => escaped.push(letter),
            letter if letter.is_control() => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// Escaped text in which a number stays with its unit and sign, and a minus is one.
pub fn prose(text: &str) -> String {
    let mut prose = escape(text);
    for (loose, fast) in
        [(" %", "\u{a0}%"), ("p &lt; ", "p\u{a0}&lt;\u{a0}"), ("p = ", "p\u{a0}=\u{a0}")]
    {
        prose = prose.replace(loose, fast);
    }
    let mut result = String::with_capacity(prose.len());
    let mut before = ' ';
    let mut letters = prose.chars().peekable();
    while let Some(letter) = letters.next() {
        let number_follows = letters.peek().is_some_and(char::is_ascii_digit);
        // A hyphen inside a word or a date is none.
        let is_minus = letter == '-' && number_follows && !before.is_alphanumeric();
        result.push(if is_minus { '−' } else { letter });
        before = letter;
    }
    result
}

/// With a capital letter at the beginning.
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// A fraction as percent.
pub fn percent(share: f64, decimals: usize) -> String {
    format!("{:.decimals$} %", 100.0 * share)
}

/// A value or an error of a kind of target, in its unit.
pub fn in_unit(kind: TargetKind, value: f64) -> String {
    match kind {
        TargetKind::Change | TargetKind::Amount => percent(value, 3),
        TargetKind::LogChange | TargetKind::Level | TargetKind::Probability => {
            format!("{value:.4}")
        }
    }
}

/// A count with thin spaces between groups of three digits.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && digits.len() > 4 {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let prose = prose("p < 0.01 at -5 % since 2001-02-03 (-1 to <2)");
        assert_eq!(prose, "p\u{a0}&lt;\u{a0}0.01 at −5\u{a0}% since 2001-02-03 (−1 to &lt;2)");
        assert_eq!(
            escape("<a href=\"x\">'&\u{0}\n"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\u{fffd}\n"
        );
    }

    #[test]
    fn figures_have_units_and_groups() {
        assert_eq!(in_unit(TargetKind::Change, 0.0123), "1.230 %");
        assert_eq!(in_unit(TargetKind::Level, 0.0123), "0.0123");
        assert_eq!([7, 1234].map(count), ["7", "1234"]);
        assert_eq!([12345, 1_234_567].map(count), ["12\u{2009}345", "1\u{2009}234\u{2009}567"]);
    }
}
