//! One page out of many symbols.
//!
//! Owns which symbols a page has: the first ones by name behind the one where the last page ended.
//! Promises that paging through symbols that stay shows each of them once, whatever comes and goes
//! between two pages, and that a page takes memory for its own entries alone.

use std::collections::BTreeMap;

use super::query::Listing;
use crate::core::domain::Symbol;

/// A page that is being filled.
pub(super) struct Page<'l, T> {
    listing: &'l Listing,
    /// Symbols that match, on every page together.
    count: usize,
    /// Those behind the end of the page before.
    behind: usize,
    entries: BTreeMap<String, T>,
}

/// A page that is full, or has all.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filled<T> {
    pub(super) count: usize,
    /// Symbols behind this page.
    pub(super) left_off: usize,
    /// What to ask for as `after` to get them; `None` where there are none.
    pub(super) next: Option<String>,
    /// By name.
    pub(super) entries: Vec<T>,
}

impl<'l, T> Page<'l, T> {
    pub(super) fn new(listing: &'l Listing) -> Self {
        Self { listing, count: 0, behind: 0, entries: BTreeMap::new() }
    }

    /// Takes a symbol in, where it belongs on the page.
    pub(super) fn offer(&mut self, symbol: &Symbol, entry: impl FnOnce() -> T) {
        let Listing { filter, after, limit } = self.listing;
        if !filter.wants(symbol) {
            return;
        }
        self.count += 1;
        let symbol = symbol.as_str();
        if after.as_deref().is_some_and(|after| symbol <= after) {
            return;
        }
        self.behind += 1;
        let is_full = self.entries.len() >= *limit;
        let last = self.entries.last_key_value();
        if is_full && last.is_some_and(|(last, _)| symbol >= last.as_str()) {
            return;
        }
        self.entries.insert(symbol.to_owned(), entry());
        if self.entries.len() > *limit {
            self.entries.pop_last();
        }
    }

    pub(super) fn fill(self) -> Filled<T> {
        let left_off = self.behind.saturating_sub(self.entries.len());
        let last = self.entries.last_key_value();
        let next = last.filter(|_| left_off > 0).map(|(symbol, _)| symbol.clone());
        let entries = self.entries.into_values().collect();
        Filled { count: self.count, left_off, next, entries }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::adapters::stream::SymbolFilter;

    proptest! {
        /// Pages one after the other show every symbol once and in order.
        #[test]
        fn pages_show_every_symbol_once(
            names in proptest::collection::hash_set("[A-Zé,]{1,3}", 0..40),
            limit in 1usize..10,
        ) {
            let symbols: Vec<_> = names.iter().map(|name| Symbol::new(name).unwrap()).collect();
            let expected: BTreeSet<_> = names.iter().cloned().collect();
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let listing = Listing { filter: SymbolFilter::All, after, limit };
                let mut page = Page::new(&listing);
                for symbol in &symbols {
                    page.offer(symbol, || symbol.as_str().to_owned());
                }
                let Filled { count, left_off, next, entries } = page.fill();
                prop_assert_eq!(count, symbols.len());
                prop_assert!(entries.len() <= limit);
                seen.extend(entries);
                prop_assert_eq!(left_off, symbols.len() - seen.len());
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            prop_assert_eq!(seen, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
