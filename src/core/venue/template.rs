//! Messages and addresses as templates over symbols.
//!
//! Owns the placeholders: `{symbols}`, `{symbol}`, `{symbol:lower}`, `{symbol:upper}`, `{id}`; and
//! those that are known only when a message is sent and stay in the text until then:
//! `{secret:NAME}`, `{time}` and `{time:ms}`. All other braces are what they are, so that JSON
//! needs no escapes. The addresses that history is asked at have placeholders of their own. Never
//! checks a symbol, and never sees a secret.

use std::fmt::Write as _;

/// How the placeholder of a secret begins.
const SECRET: &str = "secret:";

/// A text with places to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// All symbols of the message, each as the venue writes it, joined.
    Symbols,
    Symbol(Case),
    /// The message's number on its connection, from 1.
    Id,
    /// A secret's name; the placeholder stays.
    Secret(String),
    /// The time of sending; the placeholder stays.
    Time(&'static str),
}

/// The letters of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Case {
    /// As they are.
    #[default]
    AsIs,
    /// `btcusdt`.
    Lower,
    /// `BTCUSDT`.
    Upper,
}

/// Why a text is no template: a placeholder that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{{{0}}}` is no placeholder; those are {{symbols}}, {{symbol}}, {{symbol:lower}}, \
     {{symbol:upper}}, {{id}}, {{secret:NAME}}, {{time}} and {{time:ms}}"
)]
pub(super) struct TemplateError(String);

impl Case {
    /// Adds a symbol with these letters. Letters outside of ASCII stay as they are.
    pub(super) fn push(self, symbol: &str, to: &mut String) {
        let start = to.len();
        to.push_str(symbol);
        match self {
            Self::AsIs => {}
            Self::Lower => to[start..].make_ascii_lowercase(),
            Self::Upper => to[start..].make_ascii_uppercase(),
        }
    }
}

/// The parts of a text: those that `part` makes of words in braces, and what lies between them.
///
/// # Errors
/// The first word of the form of a placeholder that `part` does not know.
fn parts_of<P>(
    text: &str,
    literal: impl Fn(String) -> P,
    part: impl Fn(&str) -> Option<P>,
) -> Result<Vec<P>, String> {
    let mut parts = Vec::new();
    let mut between = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, behind) = rest.split_at(open);
        between.push_str(before);
        let is_secret = behind[1..].starts_with(SECRET);
        let belongs = |c: char| match is_secret {
            true => c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-'),
            false => c.is_ascii_lowercase() || c == ':',
        };
        let end = behind[1..].find(|c: char| !belongs(c));
        let word = end.map_or("", |end| &behind[1..=end]);
        if word.is_empty() || !behind[1 + word.len()..].starts_with('}') {
            between.push('{');
            rest = &behind[1..];
            continue;
        }
        let part = part(word).ok_or_else(|| word.to_owned())?;
        if !between.is_empty() {
            parts.push(literal(std::mem::take(&mut between)));
        }
        parts.push(part);
        rest = &behind[word.len() + 2..];
    }
    between.push_str(rest);
    if !between.is_empty() {
        parts.push(literal(between));
    }
    Ok(parts)
}

/// The name of the secret that a word in braces asks for.
fn secret_of(word: &str) -> Option<String> {
    let name = word.strip_prefix(SECRET).filter(|name| !name.is_empty());
    name.map(str::to_owned)
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let part = |word: &str| {
            Some(match word {
                "symbols" => Part::Symbols,
                "symbol" => Part::Symbol(Case::AsIs),
                "symbol:lower" => Part::Symbol(Case::Lower),
                "symbol:upper" => Part::Symbol(Case::Upper),
                "id" => Part::Id,
                "time" => Part::Time("{time}"),
                "time:ms" => Part::Time("{time:ms}"),
                other => Part::Secret(secret_of(other)?),
            })
        };
        parts_of(text, Part::Literal, part).map(Self).map_err(TemplateError)
    }

    /// Whether it holds `{symbol}` in one of its forms.
    pub(super) fn names_one_symbol(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Symbol(_)))
    }

    /// Whether it holds `{symbols}`.
    pub(super) fn names_symbols(&self) -> bool {
        self.0.contains(&Part::Symbols)
    }

    /// Whether it holds no placeholder.
    pub(super) fn is_plain(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Literal(_)))
    }

    /// The names of the secrets in it.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Secret(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether it holds the time of sending.
    pub(super) fn has_time(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Time(_)))
    }

    /// Whether it holds `{id}`.
    pub(super) fn has_id(&self) -> bool {
        self.0.contains(&Part::Id)
    }

    /// The text for these symbols, the first of which is `{symbol}`.
    pub(super) fn fill(&self, symbols: &[String], joined: &str, id: u64) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Symbols => text.push_str(joined),
                Part::Symbol(case) => {
                    case.push(symbols.first().map_or("", String::as_str), &mut text);
                }
                // Writing to a string does not fail.
                Part::Id => _ = write!(text, "{id}"),
                Part::Secret(name) => _ = write!(text, "{{{SECRET}{name}}}"),
                Part::Time(placeholder) => text.push_str(placeholder),
            }
        }
        text
    }
}

/// The address of a question for history, with places to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AddressTemplate(Vec<AddressPart>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum AddressPart {
    Literal(String),
    Blank(Blank),
    /// A secret's name; the placeholder stays.
    Secret(String),
}

/// A place in an address that each question fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blank {
    /// The symbol as the venue writes it.
    Symbol(Case),
    /// The venue's word for the length of a bar.
    Interval,
    /// Where the rows begin.
    From,
    /// Where they end.
    To,
    /// How many rows an answer has at most.
    Limit,
    /// What the answer before gave for the next page.
    Cursor,
}

/// Why a text is no address of questions: a placeholder that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{{{0}}}` is no placeholder; those are {{symbol}}, {{symbol:lower}}, {{symbol:upper}}, \
     {{interval}}, {{from}}, {{to}}, {{limit}}, {{cursor}} and {{secret:NAME}}"
)]
pub(super) struct AddressError(String);

impl AddressTemplate {
    pub(super) fn parse(text: &str) -> Result<Self, AddressError> {
        let part = |word: &str| {
            let blank = match word {
                "symbol" => Blank::Symbol(Case::AsIs),
                "symbol:lower" => Blank::Symbol(Case::Lower),
                "symbol:upper" => Blank::Symbol(Case::Upper),
                "interval" => Blank::Interval,
                "from" => Blank::From,
                "to" => Blank::To,
                "limit" => Blank::Limit,
                "cursor" => Blank::Cursor,
                other => return secret_of(other).map(AddressPart::Secret),
            };
            Some(AddressPart::Blank(blank))
        };
        parts_of(text, AddressPart::Literal, part).map(Self).map_err(AddressError)
    }

    /// Whether it has such a place.
    pub(super) fn holds(&self, is_it: impl Fn(Blank) -> bool) -> bool {
        self.0.iter().any(|part| matches!(part, AddressPart::Blank(blank) if is_it(*blank)))
    }

    /// The text before the first placeholder.
    pub(super) fn beginning(&self) -> &str {
        match self.0.first() {
            Some(AddressPart::Literal(literal)) => literal,
            _ => "",
        }
    }

    /// The names of the secrets in it.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            AddressPart::Secret(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The text with what `value` writes at each place.
    pub(super) fn fill(&self, value: impl Fn(Blank) -> String) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                AddressPart::Literal(literal) => text.push_str(literal),
                AddressPart::Blank(blank) => text.push_str(&value(*blank)),
                // Writing to a string does not fail.
                AddressPart::Secret(name) => _ = write!(text, "{{{SECRET}{name}}}"),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        Template::parse(text).unwrap().fill(&["Btc-Usd".to_owned()], "A,B", 7)
    }

    #[test]
    fn fills_placeholders_and_leaves_json_alone() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            (r#"{"op":"x","args":[{symbols}],"id":{id}}"#, r#"{"op":"x","args":[A,B],"id":7}"#),
            (r#"{"a":{"b":"{symbol}"}}"#, r#"{"a":{"b":"Btc-Usd"}}"#),
            ("{symbol:lower}@trade/{symbol:upper}", "btc-usd@trade/BTC-USD"),
            ("{} {x {1} { symbol } {", "{} {x {1} { symbol } {"),
            ("{{id}}", "{7}"),
            (r#"{"t":{time},"k":"{secret:Key_2-a}"}"#, r#"{"t":{time},"k":"{secret:Key_2-a}"}"#),
            ("{time:ms}", "{time:ms}"),
        ] {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_placeholder_is_told() {
        for text in ["{sym}", "x{symbol:title}y", "{ids}", "{secret:}", "{time:us}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
