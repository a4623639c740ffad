//! The scores of all symbols of one engine.
//!
//! Owns a [`SymbolScores`], a [`Ledger`] and a [`SymbolSignals`] for each symbol of the dense
//! index, what groups of symbols come to, and the scores that nobody has taken yet. Promises that a
//! score depends on its symbol's steps and forecasts alone, and that the sums over all symbols are
//! those of the symbols added up, whatever came and went. Never keeps a score unless somebody takes
//! them.

use super::recent::Recent;
use super::symbol::SymbolScores;
use super::{Score, ScorePlan, ScoreTally, Sums, Unscored};
use crate::core::baseline::BaselineKind;
use crate::core::domain::{Evidence, Forecast, Signal, Step, Symbol, SymbolId, UnixNanos};
use crate::core::forecast::Margins;
use crate::core::signal::{SignalCounts, SymbolSignals};
use crate::core::verdict::{Ledger, Pool};
use crate::core::window::Window;

/// Groups' sums are added up anew after as many scores as there are symbols, but not more often
/// than this: what rounding leaves behind when an outlier goes is then gone, too.
const RENEWAL_SCORES_MIN: u64 = 4096;

/// The scores of all symbols of one engine.
#[derive(Debug)]
pub struct ScoreBook {
    plan: ScorePlan,
    symbols: Vec<SymbolScores>,
    /// The evidence of each symbol.
    ledgers: Vec<Ledger>,
    /// The signals of each symbol.
    signals: Vec<SymbolSignals>,
    /// Which group each symbol is in.
    groups: Vec<u16>,
    /// Symbols that are a group of their own, sorted; the last group is that of all others.
    listed: Vec<Symbol>,
    sums: Vec<GroupSums>,
    since_renewal: u64,
    recent: Recent,
    tally: ScoreTally,
    taken: Option<Vec<Score>>,
    /// Whether the steps that come are history, whose scores are not handed over.
    is_quiet: bool,
}

/// What one group comes to.
#[derive(Clone, Copy, Debug, Default)]
struct GroupSums {
    sums: Sums,
    pool: Pool,
    signals: SignalCounts,
    /// Whether they have changed since they were last shown.
    changed: bool,
}

impl ScoreBook {
    /// An empty book.
    pub fn new(plan: ScorePlan) -> Self {
        Self {
            plan,
            symbols: Vec::new(),
            ledgers: Vec::new(),
            signals: Vec::new(),
            groups: Vec::new(),
            listed: Vec::new(),
            sums: vec![GroupSums::default()],
            since_renewal: 0,
            recent: Recent::new(super::RECENT_SCORES),
            tally: ScoreTally::default(),
            taken: None,
            is_quiet: false,
        }
    }

    /// Makes each of these symbols a group of its own; to be called while there is no symbol. Sums
    /// over the last scores then are over `recent` of them.
    pub fn list(&mut self, symbols: &[Symbol], recent_scores: usize) {
        self.listed = symbols.to_vec();
        self.listed.sort_unstable();
        self.listed.dedup();
        self.sums = vec![GroupSums::default(); self.listed.len() + 1];
        self.recent = Recent::new(recent_scores);
    }

    /// Keeps scores from here on, for somebody who takes them after every inference.
    pub fn keep(&mut self) {
        self.taken.get_or_insert_default();
    }

    /// What became of forecasts.
    pub const fn tally(&self) -> &ScoreTally {
        &self.tally
    }

    /// The symbols that are groups of their own, in order.
    pub fn listed(&self) -> &[Symbol] {
        &self.listed
    }

    /// Over about the last scores.
    pub fn recent(&self) -> Sums {
        self.recent.sums()
    }

    /// The baseline that skill and verdicts are against.
    pub const fn against(&self) -> BaselineKind {
        self.plan.against()
    }

    /// How many steps ahead the forecasts look.
    pub const fn horizon_steps(&self) -> u32 {
        self.plan.horizon_steps
    }

    /// The evidence of all symbols together.
    pub fn pool(&self) -> Pool {
        let pools = self.sums.iter().map(|group| &group.pool);
        pools.fold(Pool::default(), Pool::merged)
    }

    /// Hands the sums, the evidence and the signals of every group that have changed since the last
    /// call to `sink`, by the index of the listed symbol; the group of all others comes behind
    /// them.
    pub fn show_changed(&mut self, mut sink: impl FnMut(usize, &Sums, &Pool, &SignalCounts)) {
        for (index, group) in self.sums.iter_mut().enumerate() {
            if std::mem::take(&mut group.changed) {
                sink(index, &group.sums, &group.pool, &group.signals);
            }
        }
    }

    /// Makes room for one more symbol, at the end of the dense index.
    pub fn add_symbol(&mut self, name: &Symbol) {
        let signals = SymbolSignals::new(self.plan.kept_steps());
        self.add(name, SymbolScores::new(&self.plan), Ledger::new(), signals);
    }

    /// As [`ScoreBook::add_symbol`], from rest; all of it must fit. What was stored without signals
    /// begins without one, and the forecasts that wait have those of the thresholds.
    pub fn restore_symbol(
        &mut self,
        name: &Symbol,
        scores: &SymbolScores,
        ledger: &Ledger,
        signals: Option<&SymbolSignals>,
    ) {
        // The capacity of what comes from rest is not that of a fresh one.
        let mut restored = SymbolScores::new(&self.plan);
        restored.clone_from_rest(scores);
        self.tally.waiting += restored.waiting();
        self.tally.drifting += u64::from(restored.is_drifting());
        let sums = restored.sums();
        let mut kept = SymbolSignals::new(self.plan.kept_steps());
        match signals {
            Some(signals) => kept.clone_from_rest(signals),
            None => {
                let rest = SymbolSignals::of_waiting(&self.plan.signals, scores.values());
                kept.clone_from_rest(&rest);
            }
        }
        self.add(name, restored, *ledger, kept);
        let group = self.groups.last().map_or(0, |group| usize::from(*group));
        self.sums[group].sums += sums;
        self.sums[group].changed = true;
    }

    /// Goes on with the counts of the book of another model, which this one follows. The forecasts
    /// that wait there are given up: their truth would be measured against another model's.
    pub fn follow(&mut self, before: &Self) {
        let ScoreTally { waiting, drifting, .. } = self.tally;
        self.tally = before.tally;
        let given_up = std::mem::replace(&mut self.tally.waiting, waiting);
        self.tally.add(Unscored::Left, given_up);
        self.tally.drifting = drifting;
        self.sums.iter_mut().for_each(|group| group.changed = true);
    }

    /// Whether scores, evidence and signals from rest are of this model.
    pub fn fits(
        &self,
        scores: &SymbolScores,
        ledger: &Ledger,
        signals: Option<&SymbolSignals>,
    ) -> bool {
        scores.fits(&self.plan)
            && ledger.is_possible(&self.plan.verdict)
            && signals.is_none_or(|signals| signals.fits(scores.step_count()))
    }

    /// A symbol's scores, for rest.
    pub fn symbol(&self, id: SymbolId) -> &SymbolScores {
        &self.symbols[id.index()]
    }

    /// A symbol's evidence, for rest.
    pub fn ledger(&self, id: SymbolId) -> &Ledger {
        &self.ledgers[id.index()]
    }

    /// A symbol's signals, for rest.
    pub fn signals(&self, id: SymbolId) -> &SymbolSignals {
        &self.signals[id.index()]
    }

    /// Forgets a symbol; the last one of the dense index takes its place.
    pub fn swap_remove(&mut self, id: SymbolId) {
        let mut scores = self.symbols.swap_remove(id.index());
        let group = usize::from(self.groups.swap_remove(id.index()));
        self.sums[group].sums -= scores.sums();
        self.sums[group].pool.remove(&self.ledgers.swap_remove(id.index()));
        self.sums[group].signals -= *self.signals.swap_remove(id.index()).counts();
        self.sums[group].changed = true;
        self.tally.drifting -= u64::from(scores.is_drifting());
        scores.forget(&mut self.tally, Unscored::Left);
        if self.symbols.is_empty() {
            self.renew();
        }
    }

    /// Says whether the steps that come are history: they are scored like any other, and their
    /// scores are not handed over.
    pub fn set_quiet(&mut self, is_quiet: bool) {
        self.is_quiet = is_quiet;
    }

    /// Takes a step of a symbol, and scores the forecast that it is the truth of.
    pub fn step(&mut self, id: SymbolId, step: &Step) {
        let symbol = &mut self.symbols[id.index()];
        let before = symbol.sums();
        let signals = &mut self.signals[id.index()];
        if step.after_gap {
            signals.forget();
        }
        let signal = signals.step(self.plan.kept_steps());
        let Some(mut score) = symbol.step(&self.plan, id, step, &mut self.tally) else { return };
        let group = &mut self.sums[usize::from(self.groups[id.index()])];
        group.sums -= before;
        group.sums += symbol.sums();
        group.changed = true;
        let plan = &self.plan.signals;
        score.signal = signal.unwrap_or(Signal::Hold);
        if score.evidence.counts() {
            let mut counts = SignalCounts::default();
            let origin = score.origin(plan.kind());
            counts.note(plan.thresholds(), score.signal, score.truth, origin);
            *signals.counts_mut() += counts;
            group.signals += counts;
            let (ledger, rule) = (&mut self.ledgers[id.index()], &self.plan.verdict);
            let before = *ledger;
            if ledger.take(rule, score.loss_difference(), score.truth_time) {
                group.pool.remove(&before);
                group.pool.add(ledger);
            }
            self.recent.add(&score);
        }
        score.signals = *signals.counts();
        score.verdict = self.ledgers[id.index()].verdict(&self.plan.verdict);
        self.since_renewal += 1;
        if self.since_renewal >= RENEWAL_SCORES_MIN.max(self.symbols.len() as u64) {
            self.renew();
        }
        if let Some(taken) = self.taken.as_mut().filter(|_| !self.is_quiet) {
            taken.push(score);
        }
    }

    /// Gives up on the forecasts of a symbol that wait, and on what its baselines remember: its
    /// next step has nothing to do with the steps before.
    pub fn break_off(&mut self, id: SymbolId) {
        self.symbols[id.index()].begin_cold(&mut self.tally);
        self.signals[id.index()].begin_cold();
    }

    /// The margins of a symbol's next forecast.
    pub fn margins(&self, id: SymbolId) -> Margins {
        self.symbols[id.index()].margins(&self.plan)
    }

    /// The signal of a symbol's next forecast, of this value.
    pub fn decide(&mut self, id: SymbolId, value: f64) -> Signal {
        self.signals[id.index()].decide(&self.plan.signals, value)
    }

    /// Whether the model was trained on a time.
    pub fn evidence(&self, as_of: UnixNanos) -> Evidence {
        self.plan.evidence.of(as_of)
    }

    /// Takes the forecast of a symbol's newest step, with the window behind it.
    pub fn wait(&mut self, forecast: &Forecast, window: &Window) {
        let Self { plan, symbols, signals, tally, .. } = self;
        signals[forecast.symbol.index()].wait(forecast.signal);
        symbols[forecast.symbol.index()].wait(plan, forecast, window, tally);
    }

    /// Hands over the scores made since the last call, in the order of their steps; none unless
    /// [`ScoreBook::keep`] was called.
    pub fn take(&mut self) -> impl Iterator<Item = Score> + '_ {
        self.taken.iter_mut().flat_map(|taken| taken.drain(..))
    }

    /// Whether there are scores that nobody has taken yet.
    pub fn has_untaken(&self) -> bool {
        self.taken.as_ref().is_some_and(|taken| !taken.is_empty())
    }

    fn add(&mut self, name: &Symbol, scores: SymbolScores, ledger: Ledger, signals: SymbolSignals) {
        let group = self.listed.binary_search(name).unwrap_or(self.listed.len());
        // The configuration lists far fewer.
        self.groups.push(u16::try_from(group).unwrap_or(u16::MAX));
        self.symbols.push(scores);
        self.sums[group].pool.add(&ledger);
        self.sums[group].changed = true;
        self.ledgers.push(ledger);
        self.sums[group].signals += *signals.counts();
        self.signals.push(signals);
    }

    /// Adds the symbols of every group up anew.
    fn renew(&mut self) {
        self.since_renewal = 0;
        for group in &mut self.sums {
            group.sums = Sums::default();
        }
        for (symbol, group) in self.symbols.iter().zip(&self.groups) {
            self.sums[usize::from(*group)].sums += symbol.sums();
        }
    }
}
