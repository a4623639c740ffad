//! A model that is a blend of others: its forecasts are made of theirs.
//!
//! Owns the blend of each symbol and what the members said since the last batch. The steps, the
//! features and the window are those of the first member, and no backend runs. Promises that a
//! forecast follows from the symbol's steps and what the members said of the same step, whatever
//! the batches were; that a symbol taken to rest and back goes on bit for bit; and that a step
//! allocates nothing once the largest batch has come. Never runs a member.

use super::outlet::{Heard, Outlet};
use super::outputs::OutputBooks;
use super::{Driver, Engine};
use crate::core::baseline::BaselineForecasts;
use crate::core::blend::{BlendPlan, Expert, MEMBERS_MAX, SymbolBlend, WEIGHT_PARTS};
use crate::core::domain::{EvidenceRanges, Forecast, Symbol, SymbolId, UnixNanos};
use crate::core::score::Score;
use crate::engine::model::manifest::Outputs;

/// The blends of all symbols.
pub(super) struct BlendStates {
    plan: BlendPlan,
    symbols: Vec<SymbolBlend>,
    /// What the members said since the last batch, by symbol and step.
    inbox: Vec<Heard>,
    /// The weights of forecasts that are not handed out yet, those of one behind those of another.
    published: Vec<u16>,
    /// Of each expert, the sum of its newest weights over all symbols.
    totals: Vec<u64>,
    /// How many symbols have weights.
    weighed: u64,
}

impl BlendStates {
    fn new(plan: BlendPlan) -> Self {
        let totals = vec![0; plan.experts()];
        let (symbols, inbox, published) = (Vec::new(), Vec::new(), Vec::new());
        Self { plan, symbols, inbox, published, totals, weighed: 0 }
    }

    /// Makes room for one more symbol, at the end of the dense index.
    pub(super) fn add_symbol(&mut self) {
        self.symbols.push(SymbolBlend::new(&self.plan));
    }

    /// A symbol's blend at rest.
    pub(super) fn snapshot(&self, symbol: SymbolId) -> SymbolBlend {
        self.symbols[symbol.index()].clone()
    }

    /// Whether a blend at rest is of this model.
    pub(super) fn fits(&self, blend: &SymbolBlend) -> bool {
        blend.fits(&self.plan)
    }

    /// Takes a symbol's blend over from rest; it must fit.
    pub(super) fn restore(&mut self, symbol: SymbolId, blend: &SymbolBlend) {
        self.symbols[symbol.index()].clone_from_rest(blend);
        self.count_in(symbol);
    }

    /// Forgets the steps of a symbol that wait for their truth; what was learned stays.
    pub(super) fn reset(&mut self, symbol: SymbolId) {
        self.symbols[symbol.index()].forget_rounds();
    }

    /// Forgets a symbol; the last one of the dense index takes its place.
    pub(super) fn swap_remove(&mut self, symbol: SymbolId) {
        self.count_out(symbol);
        self.symbols.swap_remove(symbol.index());
    }

    /// Learns from a score of a symbol.
    pub(super) fn learn(&mut self, symbol: SymbolId, score: &Score) {
        self.symbols[symbol.index()].learn(&self.plan, score);
    }

    /// The forecast of a symbol at its newest step; `None` where no expert has one.
    fn forecast(
        &mut self,
        symbol: SymbolId,
        name: &Symbol,
        as_of: UnixNanos,
        baselines: &BaselineForecasts,
    ) -> Option<f64> {
        let first = self.inbox.partition_point(|heard| heard.order(name, as_of).is_lt());
        let of_step = self.inbox[first..].iter();
        let mut members = [None; MEMBERS_MAX];
        for heard in of_step.take_while(|heard| heard.order(name, as_of).is_eq()) {
            members[heard.member] = Some(heard.value);
        }
        self.count_out(symbol);
        let blend = &mut self.symbols[symbol.index()];
        let members = &members[..self.plan.members()];
        let blended = blend.forecast(&self.plan, as_of, members, baselines);
        self.count_in(symbol);
        blended.map(|blended| blended.value)
    }

    /// Keeps the weights of a forecast that is published.
    fn publish(&mut self, symbol: SymbolId) {
        self.published.extend(self.symbols[symbol.index()].newest());
    }

    fn count_in(&mut self, symbol: SymbolId) {
        let newest = self.symbols[symbol.index()].newest();
        self.weighed += u64::from(newest.iter().any(|parts| *parts > 0));
        for (total, parts) in self.totals.iter_mut().zip(newest) {
            *total += u64::from(*parts);
        }
    }

    fn count_out(&mut self, symbol: SymbolId) {
        let newest = self.symbols[symbol.index()].newest();
        self.weighed -= u64::from(newest.iter().any(|parts| *parts > 0));
        for (total, parts) in self.totals.iter_mut().zip(newest) {
            *total -= u64::from(*parts);
        }
    }
}

impl Engine {
    /// Makes forecasts of those of other models from here on; to be called while there is no
    /// symbol. `evidence` says what any of them was trained on.
    pub fn blend(&mut self, members: usize, evidence: EvidenceRanges) {
        let forecast = self.plans.forecast.clone().without_ends();
        let score = self.scores.plan().clone().without_ends().with_evidence(evidence);
        let (baselines, possible) = (score.baselines(), forecast.target().possible());
        let (has, against) = (baselines.has(), baselines.against());
        let plan = BlendPlan::new(members, has, against, possible, score.kept_steps());
        self.scores.judge_by(score.clone());
        (self.plans.forecast, self.plans.score) = (forecast, score);
        // A blend is of the first outputs of its members.
        (self.plans.outputs, self.outputs) = (Outputs::default(), OutputBooks::new(false, &[]));
        self.driver = Driver::Blended(BlendStates::new(plan));
    }

    /// The experts of the blend, in the order of their weights; none for another model.
    pub fn experts(&self) -> Vec<Expert> {
        self.blended().map(|blended| blended.plan.each().collect()).unwrap_or_default()
    }

    /// Passes the forecasts of this model on to blends from here on.
    pub fn pass_on(&mut self) {
        self.heard.get_or_insert_default();
    }

    /// The forecasts since the last call that are passed on, to be given back for their memory
    /// ([`Engine::give_back`]).
    pub fn take_heard(&mut self) -> Vec<Heard> {
        self.heard.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes the memory of forecasts back that were passed on.
    pub fn give_back(&mut self, mut heard: Vec<Heard>) {
        heard.clear();
        if let Some(place) = &mut self.heard {
            *place = heard;
        }
    }

    /// Hears what members say, each by its place in the blend.
    pub fn hear_members<'h>(&mut self, members: impl Iterator<Item = (usize, &'h [Heard])>) {
        let Driver::Blended(blended) = &mut self.driver else { return };
        for (member, heard) in members {
            let of_member = |heard: &Heard| Heard { member, ..heard.clone() };
            blended.inbox.extend(heard.iter().map(of_member));
        }
        blended.inbox.sort_unstable_by(|one, other| one.order(&other.symbol, other.as_of));
    }

    /// Forgets what members have said, and what this model has not passed on.
    pub fn forget_heard(&mut self) {
        if let Some(heard) = &mut self.heard {
            heard.clear();
        }
        if let Driver::Blended(blended) = &mut self.driver {
            blended.inbox.clear();
        }
    }

    /// The weights of the forecasts that were published since they were cleared, in the order of
    /// the forecasts: a chunk of parts of [`WEIGHT_PARTS`] for each. Empty for another model.
    pub fn published_weights(&self) -> impl Iterator<Item = &[u16]> {
        let (experts, published) = match self.blended() {
            Some(blended) => (blended.plan.experts(), &*blended.published),
            None => (1, &[][..]),
        };
        published.chunks_exact(experts)
    }

    /// Clears the weights of the forecasts that were handed out.
    pub fn clear_published_weights(&mut self) {
        if let Driver::Blended(blended) = &mut self.driver {
            blended.published.clear();
        }
    }

    /// The sum of the newest weights of each expert over all symbols, in parts of [`WEIGHT_PARTS`],
    /// and how many symbols have any; `None` for another model.
    pub fn blend_totals(&self) -> Option<(&[u64], u64)> {
        self.blended().map(|blended| (&*blended.totals, blended.weighed))
    }

    /// The newest weights of a symbol, as parts of 1; none before its first forecast.
    pub fn weights_of(&self, symbol: &str) -> Vec<f64> {
        let blended = self.blended().zip(self.index.get(symbol));
        let newest = blended.map(|(blended, id)| blended.symbols[id.index()].newest());
        let part = |parts: &u16| f64::from(*parts) / f64::from(WEIGHT_PARTS);
        newest.map(|newest| newest.iter().map(part).collect()).unwrap_or_default()
    }

    fn blended(&self) -> Option<&BlendStates> {
        match &self.driver {
            Driver::Blended(blended) => Some(blended),
            Driver::Full(_) | Driver::Sliding(_) | Driver::Carried(_) => None,
        }
    }

    /// Makes the forecasts of the rows that wait, out of those of the members.
    pub(super) fn run_blended(&mut self, forecasts: &mut Vec<Forecast>) {
        let has_cadence = self.cadence.is_some();
        let Self { symbols, scores, plans, policy, tally, inferred, driver, .. } = self;
        let Driver::Blended(blended) = driver else { return };
        let (symbols, heard, inputs) = (&*symbols, self.heard.as_mut(), self.shift.as_ref());
        let mut outlet =
            Outlet { symbols, inputs, scores, policy, tally, has_cadence, heard, forecasts };
        for pending in inferred.iter() {
            let state = &outlet.symbols[pending.symbol.index()];
            if !state.window.is_full() {
                continue;
            }
            let baselines = outlet.scores.baselines(pending.symbol, &state.window);
            let value = blended.forecast(pending.symbol, &state.name, pending.as_of, &baselines);
            let facts = outlet.facts(pending);
            let forecast = value.and_then(|value| plans.forecast.finish_value(value, &facts));
            if outlet.take(pending, forecast) {
                blended.publish(pending.symbol);
            }
        }
    }
}
