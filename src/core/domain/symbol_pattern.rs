//! Which symbols somebody wants, by patterns.
//!
//! Owns the meaning of a pattern: a name, or a text in which each `*` matches any run of
//! characters. Promises that the answer for a symbol follows from the patterns alone. Never knows
//! which symbols there are.

use std::collections::HashSet;

use super::{Symbol, SymbolError};

/// Patterns of symbols; a symbol is wanted where one of them fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SymbolPatterns {
    /// `None` for every symbol.
    listed: Option<Listed>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Listed {
    names: HashSet<Symbol>,
    globs: Vec<Box<str>>,
}

impl SymbolPatterns {
    /// Those of a list; an empty list, and one with the pattern `*`, stand for every symbol.
    ///
    /// # Errors
    /// [`SymbolError`] for a pattern that no symbol can have.
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Result<Self, SymbolError> {
        let (mut listed, mut has_any, mut is_all) = (Listed::default(), false, false);
        for pattern in patterns {
            let name = Symbol::new(pattern)?;
            has_any = true;
            is_all |= pattern == "*";
            if pattern.contains('*') {
                listed.globs.push(pattern.into());
            } else {
                listed.names.insert(name);
            }
        }
        Ok(Self { listed: (has_any && !is_all).then_some(listed) })
    }

    /// Whether every symbol is wanted.
    pub fn is_all(&self) -> bool {
        self.listed.is_none()
    }

    /// Whether a symbol is wanted.
    pub fn wants(&self, symbol: &str) -> bool {
        let Some(Listed { names, globs }) = &self.listed else { return true };
        names.contains(symbol) || globs.iter().any(|glob| fits(glob, symbol))
    }

    /// Whether every symbol that the others want is wanted. It is looked for pattern by pattern:
    /// where only several of these together have all symbols of one of the others, the answer is
    /// no.
    pub fn covers(&self, others: &Self) -> bool {
        let Some(Listed { globs, .. }) = &self.listed else { return true };
        let Some(others) = &others.listed else { return false };
        // What fits a pattern as a text, with its `*` as a letter, fits it with any run in its
        // place.
        let has_glob = |other: &str| globs.iter().any(|glob| fits(glob, other));
        others.names.iter().all(|name| self.wants(name.as_str()))
            && others.globs.iter().all(|other| has_glob(other))
    }
}

/// Whether a text fits a pattern in which each `*` matches any run of characters.
fn fits(glob: &str, text: &str) -> bool {
    let Some((head, rest)) = glob.split_once('*') else { return glob == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts = rest.split('*');
    let tail = parts.next_back().unwrap_or_default();
    for part in parts {
        // The first place is as good as any later one: what follows has the most room behind it.
        let Some(place) = text.find(part) else { return false };
        text = &text[place + part.len()..];
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_symbol_is_wanted_where_a_pattern_fits() {
        let patterns = SymbolPatterns::new(["AAPL", "BTC*", "*-USD", "a*b*c"]).unwrap();
        for (symbol, is_wanted) in [
            ("AAPL", true),
            ("AAPL2", false),
            ("BTC", true),
            ("BTCUSDT", true),
            ("XBTC", false),
            ("ETH-USD", true),
            ("ETH-USDT", false),
            ("abc", true),
            ("aXbYc", true),
            ("acb", false),
            ("ab", false),
        ] {
            assert_eq!(patterns.wants(symbol), is_wanted, "{symbol}");
        }
        assert!(!patterns.is_all());
        for all in [&[][..], &["*"], &["A", "*"]] {
            let all = SymbolPatterns::new(all.iter().copied()).unwrap();
            assert!(all.is_all() && all.wants("anything"));
        }
        assert_eq!(SymbolPatterns::new([""]), Err(SymbolError));
        assert_eq!(SymbolPatterns::new(["A\tB"]), Err(SymbolError));
    }

    #[test]
    fn patterns_cover_those_that_want_nothing_else() {
        for (wide, narrow, covers) in [
            (&[][..], &["A"][..], true),
            (&["*"], &[], true),
            (&["A"], &[], false),
            (&["A", "B*"], &["B*", "A"], true),
            (&["A", "B*"], &["BRK.*", "B", "A"], true),
            (&["BRK.*"], &["B*"], false),
            (&["A"], &["A", "C"], false),
            (&["a*b*c"], &["a*c"], false),
        ] {
            let [wide, narrow] =
                [wide, narrow].map(|list| SymbolPatterns::new(list.iter().copied()).unwrap());
            assert_eq!(wide.covers(&narrow), covers, "{wide:?} {narrow:?}");
        }
    }

    /// The meaning of a pattern, without any care for time.
    fn slow(glob: &[u8], text: &[u8]) -> bool {
        match (glob.split_first(), text.split_first()) {
            (None, _) => text.is_empty(),
            (Some((b'*', rest)), None) => slow(rest, text),
            (Some((b'*', rest)), Some((_, behind))) => slow(rest, text) || slow(glob, behind),
            (Some((first, rest)), Some((letter, behind))) => first == letter && slow(rest, behind),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_fits_what_its_meaning_says(glob in "[ab*]{0,8}", text in "[ab]{0,8}") {
            prop_assert_eq!(fits(&glob, &text), slow(glob.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn what_is_covered_is_wanted(
            wide in proptest::collection::vec("[ab*]{1,4}", 1..4),
            narrow in proptest::collection::vec("[ab*]{1,4}", 1..3),
            text in "[ab]{1,6}",
        ) {
            let [wide, narrow] = [wide, narrow]
                .map(|list| SymbolPatterns::new(list.iter().map(String::as_str)).unwrap());
            prop_assert!(narrow.covers(&narrow));
            prop_assert!(!wide.covers(&narrow) || !narrow.wants(&text) || wide.wants(&text));
        }
    }
}
