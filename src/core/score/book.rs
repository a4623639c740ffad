//! The scores of all symbols of one engine.
//!
//! Owns a [`SymbolScores`], a [`Ledger`] and a [`SymbolSignals`] for each symbol of the dense
//! index, what groups of symbols come to, and the scores that nobody has taken yet. Promises that a
//! score depends on its symbol's steps and forecasts alone, and that the sums over all symbols are
//! those of the symbols added up, whatever came and went. Never keeps a score unless somebody takes
//! them.

use super::recent::Recent;
use super::rival::Rivalry;
use super::symbol::SymbolScores;
use super::{
    QuantileSums, RivalScore, Score, ScorePlan, ScoreTally, Sums, SymbolQuantiles, Unscored,
};
use crate::core::baseline::{BaselineForecasts, BaselineKind};
use crate::core::domain::{
    Evidence, Forecast, Quantiles, Signal, Step, Symbol, SymbolId, UnixNanos,
};
use crate::core::forecast::Margins;
use crate::core::signal::{SignalCounts, SymbolSignals};
use crate::core::verdict::{Ledger, Pool, RivalId, RivalLedger};
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
    /// The quantiles of each symbol; empty where the output has no levels.
    quantiles: Vec<SymbolQuantiles>,
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
    /// Whether the inputs of the symbol whose step comes next are shifted.
    shifted: Option<bool>,
    /// The comparison with the live model of the seat, where this is the book of a shadow.
    rivalry: Option<Rivalry>,
    /// The scores of the newest tick that count, where this is the book of a live model with a
    /// shadow that is compared with it.
    made: Option<Vec<RivalScore>>,
    /// Whether the rival is another one than was last shown.
    has_other_rival: bool,
}

/// What one group comes to.
#[derive(Clone, Copy, Debug, Default)]
pub struct GroupSums {
    /// Over scores that count, older ones with less weight.
    pub sums: Sums,
    /// The evidence against the baseline.
    pub pool: Pool,
    /// The evidence about the rival.
    pub rivals: Pool,
    /// How signals did.
    pub signals: SignalCounts,
    /// What quantiles came to, older scores with less weight.
    pub quantiles: QuantileSums,
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
            quantiles: Vec::new(),
            groups: Vec::new(),
            listed: Vec::new(),
            sums: vec![GroupSums::default()],
            since_renewal: 0,
            recent: Recent::new(super::RECENT_SCORES),
            tally: ScoreTally::default(),
            taken: None,
            is_quiet: false,
            shifted: None,
            rivalry: None,
            made: None,
            has_other_rival: false,
        }
    }

    /// What forecasts are judged by.
    pub const fn plan(&self) -> &ScorePlan {
        &self.plan
    }

    /// Judges forecasts by another plan; to be called while there is no symbol.
    pub fn judge_by(&mut self, plan: ScorePlan) {
        self.plan = plan;
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

    /// Over the scores of all symbols that count, older ones with less weight.
    pub fn whole(&self) -> (Sums, QuantileSums) {
        let (mut sums, mut quantiles) = (Sums::default(), QuantileSums::default());
        for group in &self.sums {
            sums += group.sums;
            quantiles += group.quantiles;
        }
        (sums, quantiles)
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

    /// The evidence of all symbols together about the rival.
    pub fn rival_pool(&self) -> Pool {
        let pools = self.sums.iter().map(|group| &group.rivals);
        pools.fold(Pool::default(), Pool::merged)
    }

    /// Whether the rival is another one since [`ScoreBook::show_changed`] was last called.
    pub const fn has_other_rival(&self) -> bool {
        self.has_other_rival
    }

    /// Hands what every group that has changed since the last call comes to to `sink`, by the index
    /// of the listed symbol; the group of all others comes behind them.
    pub fn show_changed(&mut self, mut sink: impl FnMut(usize, &GroupSums)) {
        self.has_other_rival = false;
        for (index, group) in self.sums.iter_mut().enumerate() {
            if std::mem::take(&mut group.changed) {
                sink(index, group);
            }
        }
    }

    /// Compares each score from here on with that of this rival, or with none. Evidence about
    /// another one is dropped; returns whether there was any.
    pub fn face(&mut self, rival: Option<RivalId>) -> bool {
        if self.rivalry.as_ref().map(Rivalry::id) == rival {
            return false;
        }
        let next = rival.map(|id| Rivalry::new(id, self.symbols.len()));
        let before = std::mem::replace(&mut self.rivalry, next);
        self.has_other_rival = true;
        for group in &mut self.sums {
            (group.rivals, group.changed) = (Pool::default(), true);
        }
        if self.rivalry.is_some() {
            for group in &self.groups {
                self.sums[usize::from(*group)].rivals.add(&Ledger::new());
            }
        }
        before.is_some_and(|before| before.has_evidence())
    }

    /// Keeps the scores of each tick for shadows that are compared with this model, or no longer.
    pub fn keep_for_shadows(&mut self, keeps: bool) {
        self.made = keeps.then(|| self.made.take().unwrap_or_default());
    }

    /// Hands over what shadows are compared with, of the ticks since the last call.
    pub fn take_for_shadows(&mut self) -> impl Iterator<Item = RivalScore> + '_ {
        self.made.iter_mut().flat_map(|made| made.drain(..))
    }

    /// Takes a score of the rival, of the symbol of the tick that comes next.
    pub fn meet(&mut self, score: RivalScore) {
        if let Some(rivalry) = &mut self.rivalry {
            rivalry.meet(score);
        }
    }

    /// Forgets the scores of the rival that the newest tick has given no counterpart to.
    pub fn part(&mut self) {
        if let Some(rivalry) = &mut self.rivalry {
            rivalry.part();
        }
    }

    /// Makes room for one more symbol, at the end of the dense index.
    pub fn add_symbol(&mut self, name: &Symbol) {
        let signals = SymbolSignals::new(self.plan.kept_steps());
        self.add(name, SymbolScores::new(&self.plan), Ledger::new(), None, signals);
    }

    /// As [`ScoreBook::add_symbol`], from rest; all of it must fit. Evidence about another rival
    /// than the one of now is dropped. What was stored without signals begins without one, and the
    /// forecasts that wait have those of the thresholds.
    pub fn restore_symbol(
        &mut self,
        name: &Symbol,
        scores: &SymbolScores,
        ledger: &Ledger,
        rival: Option<&RivalLedger>,
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
        self.add(name, restored, *ledger, rival, kept);
        let group = self.groups.last().map_or(0, |group| usize::from(*group));
        self.sums[group].sums += sums;
        self.sums[group].changed = true;
    }

    /// Takes the quantiles of the symbol that was restored last over from rest; they must fit.
    pub fn restore_quantiles(&mut self, quantiles: &SymbolQuantiles) {
        let (Some(fresh), Some(group)) = (self.quantiles.last_mut(), self.groups.last()) else {
            return;
        };
        fresh.clone_from_rest(quantiles);
        self.sums[usize::from(*group)].quantiles += fresh.sums();
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
        rival: Option<&RivalLedger>,
        signals: Option<&SymbolSignals>,
    ) -> bool {
        let mut ledgers = std::iter::once(ledger).chain(rival.map(RivalLedger::ledger));
        scores.fits(&self.plan)
            && ledgers.all(|ledger| ledger.is_possible(&self.plan.verdict))
            && signals.is_none_or(|signals| signals.fits(scores.step_count()))
    }

    /// Whether quantiles from rest are of this model, beside scores from rest.
    pub fn fits_quantiles(
        &self,
        scores: &SymbolScores,
        quantiles: Option<&SymbolQuantiles>,
    ) -> bool {
        let levels = &self.plan.levels;
        match quantiles {
            Some(quantiles) => quantiles.fits(levels, scores.step_count()),
            None => levels.levels.is_empty(),
        }
    }

    /// A symbol's scores, for rest.
    pub fn symbol(&self, id: SymbolId) -> &SymbolScores {
        &self.symbols[id.index()]
    }

    /// A symbol's evidence, for rest.
    pub fn ledger(&self, id: SymbolId) -> &Ledger {
        &self.ledgers[id.index()]
    }

    /// A symbol's evidence about the rival, for rest; `None` where there is none.
    pub fn rival(&self, id: SymbolId) -> Option<RivalLedger> {
        self.rivalry.as_ref().and_then(|rivalry| rivalry.at_rest(id))
    }

    /// A symbol's signals, for rest.
    pub fn signals(&self, id: SymbolId) -> &SymbolSignals {
        &self.signals[id.index()]
    }

    /// A symbol's quantiles, for rest; `None` where the output has no levels.
    pub fn quantiles(&self, id: SymbolId) -> Option<&SymbolQuantiles> {
        self.quantiles.get(id.index())
    }

    /// Forgets a symbol; the last one of the dense index takes its place.
    pub fn swap_remove(&mut self, id: SymbolId) {
        let mut scores = self.symbols.swap_remove(id.index());
        let group = usize::from(self.groups.swap_remove(id.index()));
        self.sums[group].sums -= scores.sums();
        self.sums[group].pool.remove(&self.ledgers.swap_remove(id.index()));
        if let Some(rivalry) = &mut self.rivalry {
            self.sums[group].rivals.remove(&rivalry.swap_remove(id));
        }
        self.sums[group].signals -= *self.signals.swap_remove(id.index()).counts();
        if id.index() < self.quantiles.len() {
            self.sums[group].quantiles -= self.quantiles.swap_remove(id.index()).sums();
        }
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

    /// Says whether the inputs of the symbol whose step comes next are shifted, where that is
    /// judged.
    pub fn set_shifted(&mut self, shifted: Option<bool>) {
        self.shifted = shifted;
    }

    /// Takes a step of a symbol, and scores the forecast that it is the truth of.
    pub fn step(&mut self, id: SymbolId, step: &Step) -> Option<Score> {
        let symbol = &mut self.symbols[id.index()];
        let before = symbol.sums();
        let signals = &mut self.signals[id.index()];
        if step.after_gap {
            signals.forget();
        }
        let signal = signals.step(self.plan.kept_steps());
        let mut quantiles = self.quantiles.get_mut(id.index());
        let published = quantiles.as_mut().and_then(|quantiles| {
            if step.after_gap {
                quantiles.forget();
            }
            quantiles.step(self.plan.kept_steps())
        });
        let mut score = symbol.step(&self.plan, id, step, &mut self.tally)?;
        let group = &mut self.sums[usize::from(self.groups[id.index()])];
        group.sums -= before;
        group.sums += symbol.sums();
        group.changed = true;
        let plan = &self.plan.signals;
        score.signal = signal.unwrap_or(Signal::Hold);
        if let (Some(quantiles), Some(published)) = (quantiles, published) {
            let rules = (self.plan.adapts(), score.evidence.counts());
            group.quantiles -= quantiles.sums();
            quantiles.hear(&self.plan.levels, &published, score.truth, rules);
            group.quantiles += quantiles.sums();
            (score.quantiles, score.quantile_sums) = (published, quantiles.sums());
        }
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
            let taken = self.rivalry.as_mut().and_then(|rivalry| rivalry.take(rule, &score));
            if let Some((before, ledger)) = taken {
                group.rivals.remove(&before);
                group.rivals.add(ledger);
            }
            if let Some(made) = &mut self.made {
                made.extend(RivalScore::of(&score));
            }
        }
        let rule = &self.plan.verdict;
        score.signals = *signals.counts();
        score.verdict = self.ledgers[id.index()].verdict(rule);
        score.shifted = self.shifted;
        score.rival = self.rivalry.as_ref().map(|rivalry| rivalry.verdict(rule, id));
        self.since_renewal += 1;
        if self.since_renewal >= RENEWAL_SCORES_MIN.max(self.symbols.len() as u64) {
            self.renew();
        }
        if let Some(taken) = self.taken.as_mut().filter(|_| !self.is_quiet) {
            taken.push(score);
        }
        Some(score)
    }

    /// What the baselines forecast at a symbol's newest step, with the window behind it.
    pub fn baselines(&self, id: SymbolId, window: &Window) -> BaselineForecasts {
        self.symbols[id.index()].baseline_forecasts(&self.plan, window)
    }

    /// Gives up on the forecasts of a symbol that wait, and on what its baselines remember: its
    /// next step has nothing to do with the steps before.
    pub fn break_off(&mut self, id: SymbolId) {
        self.symbols[id.index()].begin_cold(&mut self.tally);
        self.signals[id.index()].begin_cold();
        if let Some(quantiles) = self.quantiles.get_mut(id.index()) {
            quantiles.forget();
        }
    }

    /// How many times as far from the median each quantile of a symbol's next forecast is
    /// published; none where they are published as they are.
    pub fn stretches(&self, id: SymbolId) -> Quantiles {
        let quantiles = self.quantiles.get(id.index()).filter(|_| self.plan.adapts());
        quantiles.map_or(Quantiles::NONE, SymbolQuantiles::stretches)
    }

    /// The margins of a symbol's next forecast.
    pub fn margins(&self, id: SymbolId) -> Margins {
        self.symbols[id.index()].margins(&self.plan)
    }

    /// Whether the errors of a symbol are larger than they were.
    pub fn is_drifting(&self, id: SymbolId) -> bool {
        self.symbols[id.index()].is_drifting()
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
        let Self { plan, symbols, signals, quantiles, tally, .. } = self;
        signals[forecast.symbol.index()].wait(forecast.signal);
        if let Some(quantiles) = quantiles.get_mut(forecast.symbol.index()) {
            quantiles.wait(forecast.quantiles);
        }
        symbols[forecast.symbol.index()].wait(plan, forecast, window, tally);
    }

    /// Hands over the scores made since the last call, in the order of their steps; none unless
    /// [`ScoreBook::keep`] was called.
    pub fn take(&mut self) -> impl Iterator<Item = Score> + '_ {
        self.taken.iter_mut().flat_map(|taken| taken.drain(..))
    }

    /// Takes in a score of another output of the model, to be handed over with those of this book.
    pub fn take_in(&mut self, score: Score) {
        if let Some(taken) = self.taken.as_mut().filter(|_| !self.is_quiet) {
            taken.push(score);
        }
    }

    /// Whether there are scores that nobody has taken yet.
    pub fn has_untaken(&self) -> bool {
        self.taken.as_ref().is_some_and(|taken| !taken.is_empty())
    }

    fn add(
        &mut self,
        name: &Symbol,
        scores: SymbolScores,
        ledger: Ledger,
        rival: Option<&RivalLedger>,
        signals: SymbolSignals,
    ) {
        let group = self.listed.binary_search(name).unwrap_or(self.listed.len());
        // The configuration lists far fewer.
        self.groups.push(u16::try_from(group).unwrap_or(u16::MAX));
        self.symbols.push(scores);
        self.sums[group].pool.add(&ledger);
        if let Some(rivalry) = &mut self.rivalry {
            self.sums[group].rivals.add(rivalry.add(rival));
        }
        self.sums[group].changed = true;
        self.ledgers.push(ledger);
        self.sums[group].signals += *signals.counts();
        self.signals.push(signals);
        if !self.plan.levels.levels.is_empty() {
            let quantiles = SymbolQuantiles::new(&self.plan.levels, self.plan.kept_steps());
            self.quantiles.push(quantiles);
        }
    }

    /// Adds the symbols of every group up anew.
    fn renew(&mut self) {
        self.since_renewal = 0;
        for group in &mut self.sums {
            (group.sums, group.quantiles) = (Sums::default(), QuantileSums::default());
        }
        for (symbol, group) in self.symbols.iter().zip(&self.groups) {
            self.sums[usize::from(*group)].sums += symbol.sums();
        }
        for (quantiles, group) in self.quantiles.iter().zip(&self.groups) {
            self.sums[usize::from(*group)].quantiles += quantiles.sums();
        }
    }
}
