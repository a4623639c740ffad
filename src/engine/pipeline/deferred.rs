//! Ticks that shadows take once the live models are done with a batch, and blends once the shadows
//! are.
//!
//! Owns the ticks of one batch, and the scores of live models that they have led to. Promises their
//! order, and that taking a tick down allocates nothing once the longest batch has come. Never
//! decodes one.

use std::borrow::Cow;

use crate::core::domain::{Fields, Position, Tick, TimeDoubt, UnixNanos};
use crate::core::history::Origin;
use crate::core::score::RivalScore;

/// The ticks of a batch, in their order.
#[derive(Default)]
pub(super) struct Deferred {
    /// The first `len` are in use; the others keep their memory.
    entries: Vec<Entry>,
    len: usize,
    /// How many of these the shadows have taken, and the blends have not.
    taken: usize,
    /// Whether one of them says that data may be missing.
    has_gap: bool,
}

/// Something that shadows have still to take.
struct Entry {
    symbol: String,
    position: Option<Position>,
    received: Option<UnixNanos>,
    what: What,
}

enum What {
    /// Data of the symbol may be missing here.
    Gap,
    /// The tick behind it has led to this score of the live model of a seat.
    Score {
        seat: usize,
        score: RivalScore,
    },
    Tick {
        time: UnixNanos,
        fields: Fields,
        doubt: Option<TimeDoubt>,
        late: bool,
        origin: Origin,
    },
}

/// The next of them.
pub(super) enum Next<'d> {
    /// Data of the symbol may be missing before the record at this place.
    Gap(&'d str, Option<Position>),
    /// A score of the live model of a seat, which the next tick has led to.
    Score { seat: usize, score: RivalScore },
    /// A tick.
    Tick(DeferredTick<'d>),
}

/// A tick with all that comes with it.
pub(super) struct DeferredTick<'d> {
    pub(super) tick: Tick<'d>,
    pub(super) doubt: Option<TimeDoubt>,
    pub(super) position: Option<Position>,
    pub(super) received: Option<UnixNanos>,
    /// Whether it came behind ticks that it belongs before.
    pub(super) late: bool,
    pub(super) origin: Origin,
}

impl Deferred {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the shadows have still to take some.
    pub(super) fn has_untaken(&self) -> bool {
        self.taken < self.len
    }

    /// Whether one of them says that data may be missing.
    pub(super) fn has_gap(&self) -> bool {
        self.has_gap
    }

    pub(super) fn gap(&mut self, symbol: &str, position: Option<Position>) {
        self.has_gap = true;
        self.push(symbol, position, None, What::Gap);
    }

    /// Takes down a score of the live model of a seat, before the tick that has led to it.
    pub(super) fn score(&mut self, seat: usize, score: RivalScore) {
        self.push("", None, None, What::Score { seat, score });
    }

    pub(super) fn tick(&mut self, next: &DeferredTick<'_>) {
        let DeferredTick { tick, doubt, position, received, late, origin } = next;
        let (Tick { symbol, time, fields }, late, origin) = (tick, *late, *origin);
        let what = What::Tick { time: *time, fields: *fields, doubt: *doubt, late, origin };
        self.push(symbol, *position, *received, what);
    }

    fn push(
        &mut self,
        symbol: &str,
        position: Option<Position>,
        received: Option<UnixNanos>,
        what: What,
    ) {
        match self.entries.get_mut(self.len) {
            Some(entry) => {
                entry.symbol.clear();
                entry.symbol.push_str(symbol);
                (entry.position, entry.received, entry.what) = (position, received, what);
            }
            None => {
                let symbol = symbol.to_owned();
                self.entries.push(Entry { symbol, position, received, what });
            }
        }
        self.len += 1;
    }

    /// What waits, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Next<'_>> {
        self.since(0)
    }

    /// What waits for the shadows, the oldest first.
    pub(super) fn untaken(&self) -> impl Iterator<Item = Next<'_>> {
        self.since(self.taken)
    }

    /// The shadows have taken what waits.
    pub(super) fn note_taken(&mut self) {
        self.taken = self.len;
        self.has_gap = false;
    }

    fn since(&self, first: usize) -> impl Iterator<Item = Next<'_>> {
        self.entries[first..self.len].iter().map(|Entry { symbol, position, received, what }| {
            let (position, received) = (*position, *received);
            match what {
                What::Gap => Next::Gap(symbol, position),
                What::Score { seat, score } => Next::Score { seat: *seat, score: *score },
                What::Tick { time, fields, doubt, late, origin } => {
                    let symbol = Cow::Borrowed(&**symbol);
                    let tick = Tick { symbol, time: *time, fields: *fields };
                    let (doubt, late, origin) = (*doubt, *late, *origin);
                    Next::Tick(DeferredTick { tick, doubt, position, received, late, origin })
                }
            }
        })
    }

    /// Nothing waits any more.
    pub(super) fn clear(&mut self) {
        (self.len, self.taken) = (0, 0);
        self.has_gap = false;
    }
}
