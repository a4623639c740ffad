//! The header that says: records of this symbol may be missing right before this one.
//!
//! Owns its name, and who carries it. Promises that after a gap the next record of every symbol
//! carries it once. Never looks into a record.

use std::collections::HashMap;

use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};

/// The header's name; its value is `1`, and a reader need not look at it.
const GAP_HEADER: &str = "tickcast-gap";

/// Whether a record carries the header.
pub(super) fn is_marked(message: &BorrowedMessage<'_>) -> bool {
    message.headers().is_some_and(|headers| headers.iter().any(|header| header.key == GAP_HEADER))
}

/// The header itself.
pub(super) fn mark() -> OwnedHeaders {
    OwnedHeaders::new_with_capacity(1).insert(Header { key: GAP_HEADER, value: Some("1") })
}

/// Which symbols have still to be marked.
#[derive(Debug)]
pub(super) struct GapMarks {
    /// How many gaps there were.
    gaps: u64,
    /// The symbols that were marked, with the gap that they were marked for.
    marked: HashMap<Box<str>, u64>,
    symbols_max: usize,
}

impl GapMarks {
    /// Begins with a gap: what the topic holds of a symbol, if anything, ended before this process
    /// began. Remembers `symbols_max` symbols; further ones are marked each time.
    pub(super) fn new(symbols_max: usize) -> Self {
        Self { gaps: 1, marked: HashMap::new(), symbols_max }
    }

    /// Records of any symbol may be missing here.
    pub(super) fn gap(&mut self) {
        self.gaps += 1;
    }

    /// Whether the record of this symbol that comes now is to be marked. To be asked once for each.
    pub(super) fn takes_mark(&mut self, symbol: &str) -> bool {
        if let Some(marked) = self.marked.get_mut(symbol) {
            return std::mem::replace(marked, self.gaps) != self.gaps;
        }
        if self.marked.len() < self.symbols_max {
            self.marked.insert(symbol.into(), self.gaps);
        }
        true
    }

    /// As [`GapMarks::takes_mark`], of a record that came late: it is marked, and so is the next
    /// one, because what is missing may lie behind it.
    pub(super) fn has_mark(&self, symbol: &str) -> bool {
        self.marked.get(symbol) != Some(&self.gaps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symbol_is_marked_once_after_each_gap() {
        let mut marks = GapMarks::new(2);
        let ask = |marks: &mut GapMarks| ["A", "B", "A", "B"].map(|s| marks.takes_mark(s));
        assert_eq!(ask(&mut marks), [true, true, false, false], "the beginning is a gap");
        assert_eq!(ask(&mut marks), [false; 4]);
        marks.gap();
        marks.gap();
        assert_eq!(ask(&mut marks), [true, true, false, false]);
        marks.gap();
        assert!(marks.has_mark("A") && marks.has_mark("A"), "a late record leaves the mark");
        assert_eq!(ask(&mut marks), [true, true, false, false]);
        assert!(!marks.has_mark("A"));
        assert!(marks.takes_mark("C") && marks.takes_mark("C"), "not remembered: always marked");
        assert_eq!(ask(&mut marks), [false; 4]);
    }
}
