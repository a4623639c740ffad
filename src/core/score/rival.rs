//! A shadow beside its rival, the live model of its seat: the scores that both have of the same
//! forecast time and truth, and nothing else.
//!
//! Owns what a shadow knows of its rival's scores, and the evidence of each symbol. Promises that
//! a score which only one of the two has is left out, that a score counts only where it counts for
//! both, and that evidence begins again with another rival. Never waits for a score: those of the
//! live model come first, and are forgotten with the tick that made them.

use std::collections::VecDeque;

use super::Score;
use crate::core::domain::{SymbolId, UnixNanos};
use crate::core::verdict::{Ledger, LedgerRule, RivalId, RivalLedger, Verdict};

/// A score of a live model that counts, as its shadows need it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RivalScore {
    as_of: UnixNanos,
    target_time: UnixNanos,
    truth_time: UnixNanos,
    error: f64,
}

/// The comparison of a shadow with its rival, of all symbols of an engine.
#[derive(Debug)]
pub(super) struct Rivalry {
    id: RivalId,
    /// The evidence of each symbol.
    ledgers: Vec<Ledger>,
    /// Scores of the rival that the tick to come may give a counterpart to, oldest first.
    met: VecDeque<RivalScore>,
}

impl RivalScore {
    /// A score of a live model; `None` where it does not count.
    pub(super) fn of(score: &Score) -> Option<Self> {
        let Score { as_of, target_time, truth_time, .. } = *score;
        let error = score.error();
        score.evidence.counts().then_some(Self { as_of, target_time, truth_time, error })
    }

    /// Whether a score is of the same forecast time and the same truth.
    fn is_beside(&self, score: &Score) -> bool {
        (self.as_of, self.target_time, self.truth_time)
            == (score.as_of, score.target_time, score.truth_time)
    }
}

impl Rivalry {
    /// No evidence about a rival, of so many symbols.
    pub(super) fn new(id: RivalId, symbols: usize) -> Self {
        Self { id, ledgers: vec![Ledger::new(); symbols], met: VecDeque::new() }
    }

    /// Which one it is.
    pub(super) const fn id(&self) -> RivalId {
        self.id
    }

    /// Whether anything is known.
    pub(super) fn has_evidence(&self) -> bool {
        self.ledgers.iter().any(|ledger| *ledger != Ledger::new())
    }

    /// Makes room for one more symbol, with what was stored of it.
    pub(super) fn add(&mut self, stored: Option<&RivalLedger>) -> &Ledger {
        let ledger = stored.and_then(|stored| stored.about(self.id)).copied().unwrap_or_default();
        self.ledgers.push(ledger);
        &self.ledgers[self.ledgers.len() - 1]
    }

    /// Forgets a symbol; the last one takes its place.
    pub(super) fn swap_remove(&mut self, id: SymbolId) -> Ledger {
        self.ledgers.swap_remove(id.index())
    }

    /// What is stored of a symbol.
    pub(super) fn at_rest(&self, id: SymbolId) -> Option<RivalLedger> {
        RivalLedger::new(self.id, &self.ledgers[id.index()])
    }

    /// Takes a score of the rival, of the symbol of the tick that comes next.
    pub(super) fn meet(&mut self, score: RivalScore) {
        self.met.push_back(score);
    }

    /// Forgets the scores that have found no counterpart.
    pub(super) fn part(&mut self) {
        self.met.clear();
    }

    /// Takes a score of the shadow; returns the ledger before and after a block that it completes.
    pub(super) fn take(&mut self, rule: &LedgerRule, score: &Score) -> Option<(Ledger, &Ledger)> {
        while self.met.front().is_some_and(|met| met.as_of < score.as_of) {
            self.met.pop_front();
        }
        let met = self.met.front().filter(|met| met.is_beside(score))?;
        let ledger = &mut self.ledgers[score.symbol.index()];
        let before = *ledger;
        let is_whole = ledger.take(rule, score.loss_below(met.error), score.truth_time);
        is_whole.then_some((before, &*ledger))
    }

    /// What the evidence of a symbol has come to.
    pub(super) fn verdict(&self, rule: &LedgerRule, id: SymbolId) -> Verdict {
        self.ledgers[id.index()].verdict(rule)
    }
}
