//! What the evidence of many symbols says together, whatever they have to do with each other.
//!
//! Owns the sum of their e-values. The mean of e-values is an e-value under any dependence (Vovk
//! and Wang, 2021, doi:10.1214/20-AOS2020), here against "equal in every symbol". It is split by
//! the sign of the difference: `worse` says that the symbols in which the model was worse reject
//! equality by themselves, and those in which it was better do not.
//!
//! Promises: sums are whole numbers, so a pool of parts is the pool of the whole, in any order, and
//! what is taken out leaves nothing behind. Never needs a symbol's scores: its ledger is enough.

use super::{Ledger, Word};
use crate::core::domain::UnixNanos;

/// How many numbers a [`Pool`] holds.
pub const POOL_LENGTH: usize = 8;

/// E-values are summed in such fractions of 1.
const FRACTIONS: f64 = 256.0;

/// The logarithm of the largest e-value that is summed, 2^32: more from one symbol counts as this,
/// which can only delay a word.
const LOG_E_VALUE_MAX: f64 = 32.0 * std::f64::consts::LN_2;

/// "Never" among the times of a pool.
const NEVER: u64 = u64::MAX;

/// The evidence of many symbols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Symbols by their own word.
    symbols: [u64; Word::ALL.len()],
    /// The e-values of symbols in which the model was better, in fractions.
    better: u64,
    /// The same where it was worse.
    worse: u64,
    /// Since when a symbol has been `better` without a break, as far as this pool has seen.
    better_since: Option<UnixNanos>,
    /// The same of `worse`.
    worse_since: Option<UnixNanos>,
}

/// What one ledger adds.
struct Share {
    word: Word,
    better: u64,
    worse: u64,
    since: Option<UnixNanos>,
}

impl Share {
    fn of(ledger: &Ledger) -> Self {
        let word = ledger.word();
        let value = match word {
            // Nothing is claimed of it.
            Word::TooEarly => 0,
            _ => {
                let value = libm::exp(ledger.log_e_value().min(LOG_E_VALUE_MAX));
                // Between 0 and 2^40; what is cut off can only delay a word.
                (value * FRACTIONS) as u64
            }
        };
        let is_better = ledger.mean_difference() > 0.0;
        let (better, worse) = if is_better { (value, 0) } else { (0, value) };
        Self { word, better, worse, since: ledger.since() }
    }
}

impl Pool {
    /// Takes a symbol in.
    pub fn add(&mut self, ledger: &Ledger) {
        let Share { word, better, worse, since } = Share::of(ledger);
        self.symbols[word as usize] += 1;
        self.better += better;
        self.worse += worse;
        match word {
            Word::Better => self.better_since = earlier(self.better_since, since),
            Word::Worse => self.worse_since = earlier(self.worse_since, since),
            Word::TooEarly | Word::Undecided => {}
        }
    }

    /// Takes a symbol out, which was taken in as it is.
    pub fn remove(&mut self, ledger: &Ledger) {
        let Share { word, better, worse, .. } = Share::of(ledger);
        self.symbols[word as usize] -= 1;
        self.better -= better;
        self.worse -= worse;
        if self.symbols[Word::Better as usize] == 0 {
            self.better_since = None;
        }
        if self.symbols[Word::Worse as usize] == 0 {
            self.worse_since = None;
        }
    }

    /// Symbols whose own word this is.
    pub const fn symbols(&self, word: Word) -> u64 {
        self.symbols[word as usize]
    }

    /// What the symbols say together at a level. Of a single symbol it is its own word.
    pub fn word(&self, level: f64) -> Word {
        let count: u64 = self.symbols.iter().sum();
        if count == self.symbols(Word::TooEarly) {
            return Word::TooEarly;
        }
        let bound = count as f64 * FRACTIONS / level;
        // A symbol with such an e-value has this word, unless rounding has moved it by a fraction.
        let rejects = |sum: u64, word| (sum + 1) as f64 >= bound && self.symbols(word) > 0;
        let is_better = rejects(self.better, Word::Better);
        match (is_better, rejects(self.worse, Word::Worse)) {
            (true, false) => Word::Better,
            (false, true) => Word::Worse,
            // Better in some and worse in others is no word about the model.
            (true, true) | (false, false) => Word::Undecided,
        }
    }

    /// Since when a symbol has had this word without a break; `None` for words that claim nothing.
    pub const fn since(&self, word: Word) -> Option<UnixNanos> {
        match word {
            Word::Better => self.better_since,
            Word::Worse => self.worse_since,
            Word::TooEarly | Word::Undecided => None,
        }
    }

    /// This and another one together.
    #[must_use]
    pub fn merged(mut self, other: &Self) -> Self {
        for (count, more) in self.symbols.iter_mut().zip(other.symbols) {
            *count += more;
        }
        self.better += other.better;
        self.worse += other.worse;
        self.better_since = earlier(self.better_since, other.better_since);
        self.worse_since = earlier(self.worse_since, other.worse_since);
        self
    }

    /// The numbers in a fixed order.
    pub fn to_array(self) -> [u64; POOL_LENGTH] {
        let [early, undecided, better_symbols, worse_symbols] = self.symbols;
        let time = |time: Option<UnixNanos>| time.map_or(NEVER, |time| time.as_nanos() as u64);
        [
            early,
            undecided,
            better_symbols,
            worse_symbols,
            self.better,
            self.worse,
            time(self.better_since),
            time(self.worse_since),
        ]
    }

    /// Back from [`Pool::to_array`].
    pub fn from_array(numbers: [u64; POOL_LENGTH]) -> Self {
        let [early, undecided, better_symbols, worse_symbols, better, worse, better_at, worse_at] =
            numbers;
        let time = |time: u64| (time != NEVER).then(|| UnixNanos::from_nanos(time as i64));
        Self {
            symbols: [early, undecided, better_symbols, worse_symbols],
            better,
            worse,
            better_since: time(better_at),
            worse_since: time(worse_at),
        }
    }
}

fn earlier(one: Option<UnixNanos>, other: Option<UnixNanos>) -> Option<UnixNanos> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
