//! The outputs of a model behind the first: what their forecasts are worth.
//!
//! Owns a book of scores for each, and what of them a state at rest holds. Promises that an output
//! is scored as the only one of a model would be, and that its scores come before those of the
//! first output at the same step. Never infers.

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::core::domain::{Step, Symbol, SymbolId};
use crate::core::score::{ScoreBook, ScorePlan, SymbolQuantiles, SymbolScores};
use crate::core::signal::SymbolSignals;
use crate::core::verdict::Ledger;

/// One output of a symbol at rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputAtRest {
    /// Of an output behind the first: its scores. Those of the first are in the state itself.
    further: Option<FurtherScores>,
    /// The quantiles of an output that has levels.
    quantiles: Option<SymbolQuantiles>,
}

/// The scores of an output behind the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FurtherScores {
    scores: SymbolScores,
    ledger: Ledger,
    signals: SymbolSignals,
}

/// The books of the outputs behind the first.
#[derive(Debug)]
pub(super) struct OutputBooks {
    /// Whether the model lists outputs at all.
    are_listed: bool,
    pub(super) books: Vec<ScoreBook>,
}

impl OutputBooks {
    /// Empty books by these plans. `are_listed` says whether the model lists outputs.
    pub(super) fn new(are_listed: bool, plans: &[ScorePlan]) -> Self {
        Self { are_listed, books: plans.iter().cloned().map(ScoreBook::new).collect() }
    }

    /// Makes room for one more symbol, at the end of the dense index.
    pub(super) fn add_symbol(&mut self, name: &Symbol) {
        self.books.iter_mut().for_each(|book| book.add_symbol(name));
    }

    /// Whether outputs at rest are of this model, beside the scores of the first one.
    pub(super) fn fit(
        &self,
        first: &ScoreBook,
        scores: &SymbolScores,
        stored: &[OutputAtRest],
    ) -> bool {
        let Some((of_first, others)) = stored.split_first() else {
            return !self.are_listed && first.fits_quantiles(scores, None);
        };
        let fits = |(book, stored): (&ScoreBook, &OutputAtRest)| {
            let Some(FurtherScores { scores, ledger, signals }) = &stored.further else {
                return false;
            };
            book.fits(scores, ledger, None, Some(signals))
                && book.fits_quantiles(scores, stored.quantiles.as_ref())
        };
        self.are_listed
            && of_first.further.is_none()
            && first.fits_quantiles(scores, of_first.quantiles.as_ref())
            && others.len() == self.books.len()
            && self.books.iter().zip(others).all(fits)
    }

    /// Takes the outputs of the symbol that the first book restored last over from rest; they must
    /// fit.
    pub(super) fn restore(
        &mut self,
        first: &mut ScoreBook,
        name: &Symbol,
        stored: &[OutputAtRest],
    ) {
        let Some((of_first, others)) = stored.split_first() else { return };
        if let Some(quantiles) = &of_first.quantiles {
            first.restore_quantiles(quantiles);
        }
        for (book, OutputAtRest { further, quantiles }) in self.books.iter_mut().zip(others) {
            match further {
                Some(FurtherScores { scores, ledger, signals }) => {
                    book.restore_symbol(name, scores, ledger, None, Some(signals));
                }
                None => book.add_symbol(name),
            }
            if let Some(quantiles) = quantiles {
                book.restore_quantiles(quantiles);
            }
        }
    }

    /// The outputs of a symbol, for rest; empty where the model lists none.
    pub(super) fn at_rest(&self, first: &ScoreBook, id: SymbolId) -> Vec<OutputAtRest> {
        if !self.are_listed {
            return Vec::new();
        }
        let further = |book: &ScoreBook| FurtherScores {
            scores: book.symbol(id).clone(),
            ledger: *book.ledger(id),
            signals: book.signals(id).clone(),
        };
        let of_first = OutputAtRest { further: None, quantiles: first.quantiles(id).cloned() };
        let others = self.books.iter().map(|book| OutputAtRest {
            further: Some(further(book)),
            quantiles: book.quantiles(id).cloned(),
        });
        std::iter::once(of_first).chain(others).collect()
    }

    /// Forgets a symbol; the last one of the dense index takes its place.
    pub(super) fn swap_remove(&mut self, id: SymbolId) {
        self.books.iter_mut().for_each(|book| book.swap_remove(id));
    }

    /// Gives up on what waits of a symbol: its next step has nothing to do with those before.
    pub(super) fn break_off(&mut self, id: SymbolId) {
        self.books.iter_mut().for_each(|book| book.break_off(id));
    }

    /// Takes a step of a symbol. Scores are handed to the first book, which hands out those of all.
    pub(super) fn step(
        &mut self,
        first: &mut ScoreBook,
        id: SymbolId,
        step: &Step,
        shifted: Option<bool>,
    ) {
        for book in &mut self.books {
            book.set_shifted(shifted);
            if let Some(score) = book.step(id, step) {
                first.take_in(score);
            }
        }
    }

    /// Goes on with the counts of the outputs of another engine, where they look as far ahead.
    pub(super) fn follow(&mut self, before: &Self) {
        for book in &mut self.books {
            let horizon = book.horizon_steps();
            let same = before.books.iter().find(|before| before.horizon_steps() == horizon);
            if let Some(before) = same {
                book.follow(before);
            }
        }
    }
}

impl Engine {
    /// Whether the model lists outputs.
    pub fn lists_outputs(&self) -> bool {
        self.outputs.are_listed
    }

    /// The scores of the outputs behind the first.
    pub fn further_scores(&self) -> &[ScoreBook] {
        &self.outputs.books
    }
}
