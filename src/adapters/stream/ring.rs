//! What the stream remembers: the newest records of all symbols, and the newest of each.
//!
//! Owns the numbers of records. Promises that numbers rise by one from 1, that memory is bounded
//! by two limits, and that no call looks at more than its caller asked for, because publishers wait
//! meanwhile. Never waits, and never looks into a record: a score that no subscriber has asked for
//! is encoded by the code that encodes all of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio_tungstenite::tungstenite::Message;

use super::{SymbolFilter, message_of};
use crate::core::domain::Symbol;
use crate::engine::wire::score::UnencodedScore;

/// A record with its number in the stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Numbered {
    /// The first record of a stream has number 1.
    pub(super) seq: u64,
    /// What is sent.
    pub(super) message: Message,
}

/// A record as it is remembered.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    /// As it is sent.
    Message(Message),
    /// A score that came without a subscriber to scores: it is encoded on request.
    Score(Arc<UnencodedScore>),
}

impl Kept {
    /// What is sent.
    pub(super) fn message(&self) -> Message {
        match self {
            Self::Message(message) => message.clone(),
            Self::Score(score) => {
                let mut bytes = Vec::new();
                score.encode(&mut bytes);
                message_of(bytes.into())
            }
        }
    }
}

impl From<Message> for Kept {
    fn from(message: Message) -> Self {
        Self::Message(message)
    }
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The number of the newest record; 0 before the first.
    pub(super) newest: u64,
    /// Nothing follows.
    pub(super) finished: bool,
}

/// What follows a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Following {
    /// Everything up to this number was looked at.
    UpTo(u64),
    /// So many records are no longer remembered.
    Forgotten(u64),
    /// Nothing yet.
    Nothing,
    /// Nothing, for ever.
    End,
}

/// The memory of a stream.
pub(super) struct Ring {
    /// The newest records, the oldest first.
    records: VecDeque<(Symbol, Kept)>,
    records_max: usize,
    progress: Progress,
    /// The newest record of each symbol in each rank with its number, and its place in the list.
    latest: Vec<(Symbol, Rank, u64, Kept)>,
    index: HashMap<(Symbol, Rank), usize>,
    /// How many ranks there may be: one more than the last that was used.
    ranks: Rank,
    symbols_max: usize,
}

/// What tells the newest record of a symbol from that of another model.
pub(super) type Rank = u16;

impl Ring {
    pub(super) fn new(records_max: usize, symbols_max: usize) -> Self {
        Self {
            records: VecDeque::new(),
            records_max: records_max.max(1),
            progress: Progress::default(),
            latest: Vec::new(),
            index: HashMap::new(),
            ranks: 0,
            symbols_max,
        }
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// The newest record of a symbol in a rank, or in the first that has one.
    pub(super) fn newest_of(&self, symbol: &Symbol, rank: Option<Rank>) -> Option<&Kept> {
        let ranks = rank.map_or(0..self.ranks, |rank| rank..rank.saturating_add(1));
        let mut places = ranks.filter_map(|rank| self.index.get(&(symbol.clone(), rank)));
        places.next().map(|place| &self.latest[*place].3)
    }

    fn has(&self, symbol: &Symbol, rank: Rank) -> bool {
        self.index.contains_key(&(symbol.clone(), rank))
    }

    /// Hands the newest records of the symbols `place..place + symbols_max` to `look`: those in a
    /// rank, or of each symbol that in the first rank that has one. Returns the
    /// place to go on from, or `None` at the end of all symbols.
    pub(super) fn each_newest(
        &self,
        place: usize,
        symbols_max: usize,
        wanted: Option<Rank>,
        mut look: impl FnMut(&Symbol, &Kept),
    ) -> Option<usize> {
        let end = self.latest.len().min(place + symbols_max);
        for (symbol, rank, _, newest) in self.latest.get(place..end).unwrap_or_default() {
            let has_before = || (0..*rank).any(|rank| self.has(symbol, rank));
            if wanted.map_or_else(|| !has_before(), |wanted| wanted == *rank) {
                look(symbol, newest);
            }
        }
        (end < self.latest.len()).then_some(end)
    }

    /// Takes the next record in; tells whether it is remembered as the newest of its symbol, for
    /// which there may be no room.
    pub(super) fn push(&mut self, symbol: &Symbol, rank: Rank, record: impl Into<Kept>) -> bool {
        let kept = record.into();
        self.progress.newest += 1;
        let (seq, newest) = (self.progress.newest, kept.clone());
        if self.records.len() >= self.records_max {
            self.records.pop_front();
        }
        self.records.push_back((symbol.clone(), kept));
        let key = (symbol.clone(), rank);
        if let Some(place) = self.index.get(&key) {
            let (_, _, before, record) = &mut self.latest[*place];
            (*before, *record) = (seq, newest);
        } else if self.latest.len() < self.symbols_max {
            self.index.insert(key, self.latest.len());
            self.ranks = self.ranks.max(rank.saturating_add(1));
            self.latest.push((symbol.clone(), rank, seq, newest));
        } else {
            return false;
        }
        true
    }

    /// Nothing is pushed any more.
    pub(super) fn finish(&mut self) {
        self.progress.finished = true;
    }

    /// Appends the records behind number `after` that a filter wants; looks at `records_max` at
    /// most.
    pub(super) fn follow(
        &self,
        after: u64,
        filter: &SymbolFilter,
        records_max: usize,
        into: &mut Vec<Numbered>,
    ) -> Following {
        let Progress { newest, finished } = self.progress;
        let oldest = newest + 1 - self.records.len() as u64;
        if after >= newest {
            return if finished { Following::End } else { Following::Nothing };
        }
        if after + 1 < oldest {
            return Following::Forgotten(oldest - after - 1);
        }
        // Below the length of the ring, which fits.
        let begin = (after + 1 - oldest) as usize;
        let end = self.records.len().min(begin + records_max);
        for ((symbol, kept), seq) in self.records.range(begin..end).zip(after + 1..) {
            if filter.wants(symbol) {
                into.push(Numbered { seq, message: kept.message() });
            }
        }
        Following::UpTo(after + (end - begin) as u64)
    }

    /// Appends the newest records of wanted symbols whose numbers lie behind `after` and not
    /// behind `up_to`, out of the symbols `place..place + symbols_max`. Returns the place to go on
    /// from, or `None` at the end of all symbols.
    pub(super) fn latest(
        &self,
        place: usize,
        symbols_max: usize,
        (after, up_to): (u64, u64),
        filter: &SymbolFilter,
        into: &mut Vec<Numbered>,
    ) -> Option<usize> {
        let end = self.latest.len().min(place + symbols_max);
        for (symbol, _, seq, newest) in self.latest.get(place..end).unwrap_or_default() {
            if *seq > after && *seq <= up_to && filter.wants(symbol) {
                into.push(Numbered { seq: *seq, message: newest.message() });
            }
        }
        (end < self.latest.len()).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn symbol(index: u8) -> Symbol {
        Symbol::new(&format!("S{index}")).unwrap()
    }

    fn text(kept: &Kept) -> String {
        kept.message().to_string()
    }

    fn numbers(records: &[Numbered]) -> Vec<u64> {
        records.iter().map(|record| record.seq).collect()
    }

    #[test]
    fn what_is_forgotten_is_told_by_its_count() {
        let mut ring = Ring::new(3, 10);
        let mut records = Vec::new();
        let mut follow = |ring: &Ring, after| {
            records.clear();
            let following = ring.follow(after, &SymbolFilter::All, 2, &mut records);
            (following, numbers(&records))
        };
        assert_eq!(follow(&ring, 0), (Following::Nothing, vec![]));
        for _ in 0..5 {
            assert!(ring.push(&symbol(0), 0, Message::text("x")));
        }
        assert_eq!(follow(&ring, 0), (Following::Forgotten(2), vec![]));
        assert_eq!(follow(&ring, 2), (Following::UpTo(4), vec![3, 4]));
        assert_eq!(follow(&ring, 4), (Following::UpTo(5), vec![5]));
        assert_eq!(follow(&ring, 5), (Following::Nothing, vec![]));
        ring.finish();
        assert_eq!(follow(&ring, 4), (Following::UpTo(5), vec![5]));
        assert_eq!(follow(&ring, 5), (Following::End, vec![]));
    }

    #[test]
    fn symbols_beyond_the_limit_have_no_newest_record() {
        let mut ring = Ring::new(10, 2);
        let records = [(0, "1"), (1, "2"), (2, "3"), (0, "4")];
        let kept = records.map(|(index, text)| ring.push(&symbol(index), 0, Message::text(text)));
        assert_eq!(kept, [true, true, false, true]);
        let seq = |symbol: &Symbol, rank| ring.newest_of(symbol, rank).map(text);
        assert_eq!(seq(&symbol(0), None), Some("4".to_owned()));
        assert_eq!(seq(&symbol(2), None), None);
        let of_ranks = (seq(&symbol(0), Some(0)), seq(&symbol(0), Some(1)));
        assert_eq!(of_ranks, (Some("4".to_owned()), None));
    }

    #[test]
    fn each_model_has_its_newest_record_of_a_symbol() {
        let mut ring = Ring::new(10, 10);
        for (name, rank, text) in [(0, 1, "b"), (0, 0, "a"), (1, 1, "c"), (0, 1, "d")] {
            assert!(ring.push(&symbol(name), rank, Message::text(text)));
        }
        let each = |rank| {
            let mut found = Vec::new();
            let look = |symbol: &Symbol, kept: &Kept| {
                found.push(format!("{symbol} {}", text(kept)));
            };
            assert_eq!(ring.each_newest(0, 10, rank, look), None);
            found
        };
        assert_eq!(each(None), ["S0 a", "S1 c"], "the first model that has one");
        assert_eq!(
            (each(Some(0)), each(Some(1))),
            (vec!["S0 a".to_owned()], vec!["S0 d".to_owned(), "S1 c".to_owned()])
        );
        let newest = |rank| ring.newest_of(&symbol(0), rank).map(text);
        assert_eq!(
            [None, Some(0), Some(1), Some(7)].map(newest),
            [Some("a".into()), Some("a".into()), Some("d".into()), None]
        );
        let mut records = Vec::new();
        assert_eq!(ring.latest(0, 10, (0, 4), &SymbolFilter::All, &mut records), None);
        assert_eq!(records.len(), 3, "a subscriber gets the newest of each model");
    }

    proptest! {
        /// Whoever follows gets exactly what an endless memory would give, whatever the sizes; and
        /// the newest of each symbol, taken in slices, is what the last records say.
        #[test]
        fn following_is_complete_and_in_order(
            symbols in proptest::collection::vec(0u8..5, 1..200),
            after in 0u64..200,
            step in 1usize..40,
            wanted in 0u8..6,
        ) {
            let mut ring = Ring::new(1000, 5);
            for (index, name) in symbols.iter().enumerate() {
                ring.push(&symbol(*name), 0, Message::text(index.to_string()));
            }
            ring.finish();
            let filter = match wanted {
                5 => SymbolFilter::All,
                one => SymbolFilter::Only([symbol(one)].into()),
            };
            let expected: Vec<u64> = (1..)
                .zip(&symbols)
                .filter(|(seq, name)| *seq > after && filter.wants(&symbol(**name)))
                .map(|(seq, _)| seq)
                .collect();
            let (mut records, mut cursor) = (Vec::new(), after);
            while let Following::UpTo(seq) = ring.follow(cursor, &filter, step, &mut records) {
                prop_assert!(seq > cursor && seq <= cursor + step as u64);
                cursor = seq;
            }
            prop_assert_eq!(numbers(&records), &*expected);
            for record in &records {
                prop_assert_eq!(&record.message, &Message::text((record.seq - 1).to_string()));
            }

            let up_to = symbols.len() as u64;
            let mut newest: Vec<u64> = (0..5u8)
                .filter(|name| filter.wants(&symbol(*name)))
                .filter_map(|name| symbols.iter().rposition(|other| *other == name))
                .map(|place| place as u64 + 1)
                .filter(|seq| *seq > after)
                .collect();
            newest.sort_unstable();
            let (mut records, mut place) = (Vec::new(), Some(0));
            while let Some(from) = place {
                place = ring.latest(from, step, (after, up_to), &filter, &mut records);
            }
            records.sort_by_key(|record| record.seq);
            prop_assert_eq!(numbers(&records), newest);
        }
    }
}
