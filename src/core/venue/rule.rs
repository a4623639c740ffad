//! Which frames and elements are meant: conditions on fields.
//!
//! Owns the patterns. A value is compared by its text: what a JSON text says, or how a number,
//! `true`, `false` or `null` is written. Never compares numbers as numbers.

use super::json::{Found, Json};
use super::pointer::{Each, Place, PointerError, Under};

/// One condition: what stands there must fit one of the patterns, and none that begins with `!`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    place: Place,
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    negated: bool,
    text: Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    Exactly(String),
    Begins(String),
    Ends(String),
    Contains(String),
    /// Anything at all, arrays and objects too.
    Anything,
}

impl Pattern {
    fn parse(text: &str) -> Self {
        let (negated, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let text = match (text.strip_prefix('*'), text.strip_suffix('*')) {
            _ if text == "*" => Text::Anything,
            (Some(end), None) => Text::Ends(end.to_owned()),
            (None, Some(beginning)) => Text::Begins(beginning.to_owned()),
            (Some(_), Some(_)) => Text::Contains(text.trim_matches('*').to_owned()),
            (None, None) => Text::Exactly(text.to_owned()),
        };
        Self { negated, text }
    }

    /// Whether what was found fits, but for the negation.
    fn fits(&self, json: Json<'_>, found: Found) -> bool {
        let at = match found {
            Found::Nothing => return false,
            Found::Once(at) | Found::Twice(at) => at,
        };
        match &self.text {
            Text::Anything => true,
            Text::Exactly(text) => json.scalar(at).is_some_and(|value| value == text.as_str()),
            Text::Begins(text) => json.scalar(at).is_some_and(|value| value.starts_with(text)),
            Text::Ends(text) => json.scalar(at).is_some_and(|value| value.ends_with(text)),
            Text::Contains(text) => json.scalar(at).is_some_and(|value| value.contains(text)),
        }
    }
}

impl Condition {
    pub(super) fn parse(
        pointer: &str,
        patterns: &[String],
        each: &Each,
    ) -> Result<Self, PointerError> {
        let place = Place::parse(pointer, each)?;
        Ok(Self { place, patterns: patterns.iter().map(|text| Pattern::parse(text)).collect() })
    }

    /// As [`Condition::parse`], of a frame as a whole.
    pub(super) fn of_frame(pointer: &str, patterns: &[String]) -> Result<Self, PointerError> {
        let place = Place::of_frame(pointer)?;
        Ok(Self { place, patterns: patterns.iter().map(|text| Pattern::parse(text)).collect() })
    }

    pub(super) fn is_of_frame(&self) -> bool {
        self.place.is_of_frame()
    }

    pub(super) fn holds_in_frame(&self, json: Json<'_>) -> bool {
        self.holds(json, self.place.in_frame(json))
    }

    pub(super) fn holds_under(&self, json: Json<'_>, under: &Under) -> bool {
        self.holds(json, self.place.under(json, under))
    }

    fn holds(&self, json: Json<'_>, found: Found) -> bool {
        let mut wanted = self.patterns.iter().filter(|pattern| !pattern.negated).peekable();
        let mut unwanted = self.patterns.iter().filter(|pattern| pattern.negated);
        let fits = wanted.peek().is_none() || wanted.any(|pattern| pattern.fits(json, found));
        fits && !unwanted.any(|pattern| pattern.fits(json, found))
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::Tape;
    use super::*;

    #[test]
    fn patterns_are_words_beginnings_and_presence() {
        let frame = br#"{"e":"trade","ok":true,"code":429,"topic":"trade.BTC","data":[],
                         "result":null,"esc":"tr\u0061de"}"#;
        let mut tape = Tape::default();
        let json = tape.read(frame, &[]).unwrap();
        let cases: [(&str, &[&str], bool); 23] = [
            ("/e", &["trade"], true),
            ("/e", &["Trade"], false),
            ("/e", &["kline", "trade"], true),
            ("/e", &["!trade"], false),
            ("/e", &["!kline"], true),
            ("/e", &["tr*", "!trade"], false),
            ("/ok", &["true"], true),
            ("/code", &["429"], true),
            ("/code", &["4*"], true),
            ("/topic", &["trade.*"], true),
            ("/topic", &["kline.*"], false),
            ("/topic", &["*.BTC"], true),
            ("/topic", &["*.ETH"], false),
            ("/topic", &["*de.B*"], true),
            ("/topic", &["*DE*"], false),
            ("/data", &["*"], true),
            ("/data", &["trade"], false),
            ("/result", &["null"], true),
            ("/esc", &["trade"], true),
            ("/none", &["*"], false),
            ("/none", &["!*"], true),
            ("/none", &["!x"], true),
            ("/none", &[], true),
        ];
        for (pointer, patterns, holds) in cases {
            let patterns: Vec<_> = patterns.iter().map(|text| (*text).to_owned()).collect();
            let condition = Condition::of_frame(pointer, &patterns).unwrap();
            assert_eq!(condition.holds_in_frame(json), holds, "{pointer} {patterns:?}");
        }
    }
}
