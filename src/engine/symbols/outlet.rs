//! What becomes of a forecast between inference and the wire.
//!
//! Owns the order: judged by the policy, kept for its truth, passed on to blends, published.
//! Promises that each forecast is published or withheld for one counted reason. Never infers.

use std::cmp::Ordering;

use super::symbol::SymbolState;
use super::{EnginePolicy, EngineTally, Pending, Withheld, quality_of, shift};
use crate::core::domain::{Forecast, Symbol, UnixNanos};
use crate::core::forecast::{Finished, OutputPlan, WindowFacts};
use crate::core::score::ScoreBook;
use crate::core::shift::ShiftBook;

/// A forecast on its way to blends.
#[derive(Clone, Debug)]
pub struct Heard {
    pub(super) symbol: Symbol,
    pub(super) as_of: UnixNanos,
    /// The place of its model in the blend.
    pub(super) member: usize,
    pub(super) value: f64,
}

/// Takes the forecasts of one run of inference.
pub(super) struct Outlet<'e> {
    pub(super) symbols: &'e [SymbolState],
    /// How their inputs compare with those of the training.
    pub(super) inputs: Option<&'e ShiftBook>,
    pub(super) scores: &'e mut ScoreBook,
    pub(super) policy: &'e EnginePolicy,
    pub(super) tally: &'e mut EngineTally,
    /// Whether the spacing of steps counts.
    pub(super) has_cadence: bool,
    /// Where blends get them from, where one of them listens.
    pub(super) heard: Option<&'e mut Vec<Heard>>,
    pub(super) forecasts: &'e mut Vec<Forecast>,
}

impl Heard {
    /// A forecast of a symbol.
    fn new(symbol: &Symbol, forecast: &Forecast) -> Self {
        let Forecast { as_of, value, .. } = *forecast;
        Self { symbol: symbol.clone(), as_of, member: 0, value }
    }

    /// By symbol and step.
    pub(super) fn order(&self, symbol: &Symbol, as_of: UnixNanos) -> Ordering {
        self.symbol.cmp(symbol).then(self.as_of.cmp(&as_of))
    }
}

impl Outlet<'_> {
    /// The facts of the window behind a forecast.
    pub(super) fn facts(&self, pending: &Pending) -> WindowFacts {
        let state = &self.symbols[pending.symbol.index()];
        WindowFacts {
            symbol: pending.symbol,
            as_of: pending.as_of,
            last_price: pending.last_price,
            quality: quality_of(state, self.has_cadence),
            out_of_range: state.window.out_of_range(),
            margins: self.scores.margins(pending.symbol),
        }
    }

    /// Takes what was made of a row: `None` where that cannot be published. Returns whether it is.
    pub(super) fn take(&mut self, pending: &Pending, forecast: Option<Forecast>) -> bool {
        self.admit(pending, forecast).is_some_and(|forecast| self.publish(pending, forecast))
    }

    /// Takes what the outputs of a model say of a row, by their plans; `books` are those of the
    /// outputs behind the first. Where the first has no forecast, none has. The first comes last,
    /// so that the newest record of a symbol is its own.
    pub(super) fn take_all(
        &mut self,
        pending: &Pending,
        row: &[f32],
        plans: &[OutputPlan],
        books: &mut [ScoreBook],
    ) {
        let Some((plan, others)) = plans.split_first() else { return };
        let facts = self.facts(pending);
        let stretches = self.scores.stretches(pending.symbol);
        let Finished { forecast, crossed } = plan.finish(row, &facts, &stretches);
        self.tally.crossed += u64::from(crossed);
        let Some(first) = self.admit(pending, forecast) else { return };
        for (plan, book) in others.iter().zip(books) {
            let facts = WindowFacts { margins: book.margins(pending.symbol), ..facts };
            let stretches = book.stretches(pending.symbol);
            let Finished { forecast, crossed } = plan.finish(row, &facts, &stretches);
            self.tally.crossed += u64::from(crossed);
            match forecast {
                Some(forecast) => self.publish_further(pending, forecast, book),
                None => self.tally.further_withheld += 1,
            }
        }
        self.publish(pending, first);
    }

    /// A forecast that may be published.
    fn admit(&mut self, pending: &Pending, forecast: Option<Forecast>) -> Option<Forecast> {
        let Some(forecast) = forecast else {
            self.tally.withheld.add(Withheld::Impossible);
            return None;
        };
        let shift = shift::of(self.inputs, pending.symbol);
        if let Some(reason) = self.policy.reason(forecast.quality, shift) {
            self.tally.withheld.add(reason);
            return None;
        }
        Some(Forecast { shift, ..forecast })
    }

    /// Takes the forecast of an output behind the first.
    fn publish_further(&mut self, pending: &Pending, forecast: Forecast, book: &mut ScoreBook) {
        let state = &self.symbols[pending.symbol.index()];
        let forecast = Forecast {
            signal: book.decide(pending.symbol, forecast.value),
            evidence: book.evidence(forecast.as_of),
            drift: book.is_drifting(pending.symbol),
            shift: shift::of(self.inputs, pending.symbol),
            shed_steps: state.shed_steps,
            ..forecast
        };
        book.wait(&forecast, &state.window);
        if !pending.is_quiet {
            self.tally.further_forecasts += 1;
            self.forecasts.push(forecast);
        }
    }

    /// Takes the forecast of the only output, or of the first. Returns whether it is published.
    fn publish(&mut self, pending: &Pending, forecast: Forecast) -> bool {
        let state = &self.symbols[pending.symbol.index()];
        let evidence = self.scores.evidence(forecast.as_of);
        let (drift, shed_steps) = (self.scores.is_drifting(pending.symbol), state.shed_steps);
        let signal = self.scores.decide(pending.symbol, forecast.value);
        let forecast = Forecast { signal, evidence, drift, shed_steps, ..forecast };
        self.scores.wait(&forecast, &state.window);
        if let Some(heard) = &mut self.heard {
            heard.push(Heard::new(&state.name, &forecast));
        }
        if pending.is_quiet {
            self.tally.withheld.add(Withheld::History);
        } else {
            self.tally.forecasts += 1;
            self.forecasts.push(forecast);
        }
        !pending.is_quiet
    }
}
