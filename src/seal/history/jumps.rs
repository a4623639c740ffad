//! Jumps in the price of a symbol: bad rows, splits, and levels that simply change.
//!
//! Owns what a jump is and what it looks like, by the rows on both sides of it. Promises that a run
//! of a few rows between two stretches of one level counts as one problem, and that the same prices
//! give the same answer whatever other symbols the file has. Never changes a price, and never
//! decides that a jump is right: a person does.

use crate::core::domain::{Field, Fields};

/// As many rows in a row can be bad; a longer run is a level of its own.
const BAD_ROWS_MAX: usize = 3;

/// How far a ratio of prices may lie from that of a split, as a fraction: the price also moves on
/// the day of a split.
const SPLIT_TOLERANCE: f64 = 0.06;

/// The usual splits, as new shares for old ones. The other way round they are reverse splits.
const SPLITS: [(u32, u32); 18] = [
    (2, 1),
    (3, 1),
    (4, 1),
    (5, 1),
    (6, 1),
    (7, 1),
    (8, 1),
    (10, 1),
    (15, 1),
    (20, 1),
    (25, 1),
    (30, 1),
    (50, 1),
    (100, 1),
    (3, 2),
    (5, 2),
    (4, 3),
    (5, 4),
];

/// The prices of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quote {
    /// The line of the file, or its row.
    pub(super) line: u64,
    price: f64,
    /// What was traded beside the price; the price itself where the row has no range.
    low: f64,
    high: f64,
}

/// A jump, and what it looks like.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Jump {
    /// The line that is at fault, or at which a new level begins.
    pub(super) line: u64,
    /// The price before, and the one that it jumped to.
    pub(super) before: f64,
    pub(super) after: f64,
    pub(super) shape: Shape,
}

/// What a jump looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The price comes back on a later line, so the rows up to this one look wrong.
    Back { last: u64, back: u64 },
    /// Only one row stands before the jump, so it cannot come back: the symbol's first.
    First,
    /// No row stands behind it.
    Last,
    /// The level stays, at the ratio of a split: so many new shares for so many old ones.
    Split { new: u32, old: u32 },
    /// The level stays, at another ratio.
    Level,
}

impl Quote {
    /// The quote of a row; `None` for one without a price. A range that the price lies outside of
    /// is in other units, such as raw extremes beside an adjusted close, and says nothing.
    pub(super) fn of(line: u64, fields: &Fields) -> Option<Self> {
        let price = fields.price()?;
        let low = fields.get(Field::LOW).unwrap_or(price);
        let high = fields.get(Field::HIGH).unwrap_or(price);
        let is_range = (low..=high).contains(&price);
        let (low, high) = if is_range { (low, high) } else { (price, price) };
        Some(Self { line, price, low, high })
    }

    /// Whether the price is further from `before` than `max`, and the row did not trade its way:
    /// its low to high stays as far away.
    fn is_far(&self, before: f64, max: f64) -> bool {
        (before.clamp(self.low, self.high) / before - 1.0).abs() > max
    }

    /// Whether two prices belong to one level, whichever comes first.
    fn is_level_with(&self, other: &Self, max: f64) -> bool {
        !self.is_far(other.price, max) && !other.is_far(self.price, max)
    }
}

/// Looks for jumps in the quotes of one symbol, which come one after the other.
#[derive(Debug)]
pub(super) struct Scan {
    /// The longest change that is no jump.
    max: f64,
    /// The newest quotes. Those that no row to come is compared with are dropped.
    quotes: Vec<Quote>,
    /// How many quotes came before them.
    dropped: usize,
    /// Where the level of the row under examination began, counted from the first quote.
    level: usize,
    /// The row under examination.
    at: usize,
    found: Vec<Jump>,
}

/// So many quotes are kept before some are dropped.
const QUOTES_KEPT: usize = 64;

impl Scan {
    /// For jumps that are longer than `max`.
    pub(super) const fn new(max: f64) -> Self {
        Self { max, quotes: Vec::new(), dropped: 0, level: 0, at: 1, found: Vec::new() }
    }

    /// Takes the next quote.
    pub(super) fn push(&mut self, quote: Quote) {
        self.quotes.push(quote);
        // A row is examined once all rows are there that it may be compared with.
        while self.at + BAD_ROWS_MAX < self.end() {
            self.examine(false);
        }
        if self.quotes.len() > QUOTES_KEPT {
            let first = self.at.saturating_sub(BAD_ROWS_MAX + 1).min(self.end());
            self.quotes.drain(..first.saturating_sub(self.dropped));
            self.dropped = self.dropped.max(first);
        }
    }

    /// The jumps, in the order of their rows.
    pub(super) fn finish(mut self) -> Vec<Jump> {
        while self.at < self.end() {
            self.examine(true);
        }
        self.found
    }

    /// How many quotes came.
    fn end(&self) -> usize {
        self.dropped + self.quotes.len()
    }

    fn quote(&self, at: usize) -> Quote {
        self.quotes[at - self.dropped]
    }

    /// Examines the row `at`; `is_end` says that no other quote comes.
    fn examine(&mut self, is_end: bool) {
        let (at, max, end) = (self.at, self.max, self.end());
        let (before, quote) = (self.quote(at - 1), self.quote(at));
        if !quote.is_far(before.price, max) {
            self.at += 1;
            return;
        }
        // Rows from here on that leave the level, until one is back on it.
        let ahead = (1..=BAD_ROWS_MAX)
            .find(|count| at + count < end && self.quote(at + count).is_level_with(&before, max));
        // A move that is no jump on its way down is one on its way up, so rows before can be those
        // that left a level.
        let behind = (1..=BAD_ROWS_MAX).find(|count| {
            at.checked_sub(count + 1).is_some_and(|earlier| {
                // A row that traded its way far from the level is not bad.
                let left = self.quote(earlier + 1).price / self.quote(earlier).price - 1.0;
                earlier >= self.level
                    && left.abs() <= max
                    && quote.is_level_with(&self.quote(earlier), max)
                    && (at - count..at).all(|bad| quote.is_far(self.quote(bad).price, max))
            })
        });
        let jump = |line, before, after, shape| Jump { line, before, after, shape };
        let (found, level) = match (ahead, behind) {
            (Some(count), _) => {
                let (last, back) = (self.quote(at + count - 1).line, self.quote(at + count).line);
                let shape = Shape::Back { last, back };
                (jump(quote.line, before.price, quote.price, shape), at + count)
            }
            (None, Some(count)) => {
                let (first, sound) = (self.quote(at - count), self.quote(at - count - 1));
                let shape = Shape::Back { last: before.line, back: quote.line };
                (jump(first.line, sound.price, first.price, shape), at)
            }
            (None, None) => {
                let split = split(before.price, quote.price);
                let (line, shape) = match split {
                    Some((new, old)) => (quote.line, Shape::Split { new, old }),
                    None if at == 1 && end > 2 => (before.line, Shape::First),
                    None if is_end && at + 1 == end => (quote.line, Shape::Last),
                    None => (quote.line, Shape::Level),
                };
                (jump(line, before.price, quote.price, shape), at)
            }
        };
        self.found.push(found);
        self.level = level;
        self.at = level + 1;
    }
}

/// The split that a level's change is near, as new and old shares.
fn split(before: f64, after: f64) -> Option<(u32, u32)> {
    let near = |(new, old): &(u32, u32)| {
        let ratio = before / after * f64::from(*old) / f64::from(*new);
        (ratio - 1.0).abs() <= SPLIT_TOLERANCE
    };
    let both_ways = SPLITS.into_iter().flat_map(|(new, old)| [(new, old), (old, new)]);
    let distance =
        |(new, old): &(u32, u32)| (before / after * f64::from(*old) / f64::from(*new)).ln().abs();
    both_ways.filter(near).min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quotes of these prices without a range, from line 2 on.
    fn quotes(prices: &[f64]) -> Vec<Quote> {
        let quote = |(line, price): (u64, &f64)| {
            let mut fields = Fields::EMPTY;
            fields.set_checked(Field::CLOSE, *price).unwrap();
            Quote::of(line, &fields).unwrap()
        };
        (2..).zip(prices).map(quote).collect()
    }

    fn jumps(quotes: &[Quote], max: f64) -> Vec<Jump> {
        let mut scan = Scan::new(max);
        quotes.iter().for_each(|quote| scan.push(*quote));
        scan.finish()
    }

    /// Line and shape of the jumps beyond 40 %.
    fn shapes(prices: &[f64]) -> Vec<(u64, Shape)> {
        jumps(&quotes(prices), 0.4).into_iter().map(|jump| (jump.line, jump.shape)).collect()
    }

    #[test]
    fn a_row_that_leaves_a_level_and_comes_back_is_bad() {
        for (prices, line, last, back) in [
            (&[100.0, 101.0, 203.0, 101.5, 102.0][..], 4, 4, 5),
            // 55 % down is a jump in both directions, 35 % down only on the way up.
            (&[100.0, 101.0, 45.0, 101.5, 102.0], 4, 4, 5),
            (&[100.0, 101.0, 65.0, 101.5, 102.0], 4, 4, 5),
            (&[100.0, 300.0, 310.0, 305.0, 101.0, 102.0], 3, 5, 6),
            // Where the factor is that of a split, coming back still tells.
            (&[100.0, 50.0, 100.0, 101.0], 3, 3, 4),
            (&[100.0, 1.0, 100.0], 3, 3, 4),
            // Behind the bad row the price has moved on, as after a gap.
            (&[100.0, 101.0, 205.0, 131.0, 133.0], 4, 4, 5),
        ] {
            assert_eq!(shapes(prices), [(line, Shape::Back { last, back })], "{prices:?}");
        }
    }

    #[test]
    fn a_level_that_stays_is_a_split_where_its_ratio_is_one() {
        for (after, new, old) in [
            (50.0, 2, 1),
            (51.5, 2, 1),
            (33.0, 3, 1),
            (14.3, 7, 1),
            (10.1, 10, 1),
            (199.0, 1, 2),
            (1000.0, 1, 10),
            (40.0, 5, 2),
        ] {
            let prices = [100.0, 101.0, 100.0, after, after, after, after, after];
            assert_eq!(shapes(&prices), [(5, Shape::Split { new, old })], "{after}");
        }
        let prices = [100.0, 101.0, 100.0, 57.0, 58.0, 57.0, 58.0, 57.0];
        assert_eq!(shapes(&prices), [(5, Shape::Level)]);
        let two = [100.0, 100.0, 50.0, 50.0, 50.0, 50.0, 25.0, 25.0];
        let halved = Shape::Split { new: 2, old: 1 };
        assert_eq!(shapes(&two), [(4, halved), (8, halved)]);
    }

    #[test]
    fn the_first_and_the_last_row_have_one_side_alone() {
        assert_eq!(shapes(&[900.0, 101.0, 102.0, 101.0, 100.0]), [(2, Shape::First)]);
        assert_eq!(shapes(&[100.0, 101.0, 100.0, 900.0]), [(5, Shape::Last)]);
        assert_eq!(shapes(&[100.0, 900.0]), [(3, Shape::Last)]);
        let halved = Shape::Split { new: 2, old: 1 };
        assert_eq!(shapes(&[200.0, 101.0, 102.0, 101.0, 100.0]), [(3, halved)]);
        assert_eq!(shapes(&[200.0]), []);
        assert_eq!(shapes(&[]), []);
    }

    #[test]
    fn bad_rows_apart_are_told_apart() {
        let prices = [100.0, 201.0, 100.0, 101.0, 30.0, 101.0, 25.0, 25.5, 25.0, 25.0, 25.0];
        assert_eq!(
            shapes(&prices),
            [
                (3, Shape::Back { last: 3, back: 4 }),
                (6, Shape::Back { last: 6, back: 7 }),
                (8, Shape::Split { new: 4, old: 1 }),
            ]
        );
    }

    #[test]
    fn a_range_in_other_units_says_nothing() {
        let quote = |line, low, high, close| {
            let mut fields = Fields::EMPTY;
            for (field, value) in [(Field::LOW, low), (Field::HIGH, high), (Field::CLOSE, close)] {
                fields.set_checked(field, value).unwrap();
            }
            Quote::of(line, &fields).unwrap()
        };
        // Traded its way down.
        let traded = [quote(2, 99.0, 101.0, 100.0), quote(3, 50.0, 99.0, 55.0)];
        assert_eq!(jumps(&traded, 0.4), []);
        // The same beside a close that is adjusted and the extremes that are not.
        let raw = [quote(2, 99.0, 101.0, 25.0), quote(3, 20.0, 99.0, 10.0)];
        assert_eq!(jumps(&raw, 0.4).len(), 1);
    }
}
