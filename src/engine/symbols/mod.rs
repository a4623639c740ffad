//! The engine: all state of all symbols of one shard, from ticks to forecasts.
//!
//! Owns symbols, steps, features, windows, recurrent states and scores. Promises that what it says
//! about a symbol depends on that symbol's ticks alone, whatever the interleaving, chunking and
//! batching, and on the rows that it was asked to shed; and that `sliding` gives the bits of
//! `full`. Never reads a clock, does I/O, or spawns: its owner thread drives it.

mod batch;
mod blended;
mod block;
mod carried;
mod expiry;
mod facts;
mod full;
mod history;
mod inherit;
mod input;
mod outlet;
mod outputs;
mod policy;
mod rest;
mod shed;
mod shift;
mod sliding;
mod symbol;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use self::blended::BlendStates;
use self::carried::CarriedStates;
use self::expiry::Expiry;
use self::full::FullWindows;
use self::outlet::Outlet;
use self::outputs::OutputBooks;
use self::shed::Shedding;
use self::sliding::SlidingStates;
use self::symbol::SymbolState;
use crate::core::domain::{
    DurationNanos, Forecast, PartitionId, Position, Quality, Reject, Step, Symbol, SymbolId, Tick,
    TimeDoubt, UnixNanos,
};
use crate::core::features::{FeaturePlan, FeatureState, RowScratch, RowStatus};
use crate::core::history::Origin;
use crate::core::score::ScoreBook;
use crate::core::shift::ShiftBook;
use crate::core::step::{CadenceRule, StepRule, StepState};
use crate::core::window::{RowFacts, Window};
use crate::engine::inference::{Backend, Columns, InferenceError, Rounding, Signature};
use crate::engine::model::manifest::{Mode, Plans, Rows, StepSpec};

pub use self::expiry::{Departure, Expired};
pub use self::facts::SymbolFacts;
pub use self::inherit::Inherited;
pub use self::outlet::Heard;
pub use self::outputs::OutputAtRest;
pub use self::policy::{
    CadencePolicy, EnginePolicy, WhenShifted, Withheld, WithheldTally, Withhold,
};
pub use self::rest::{RestoreError, SnapshotBefore, SymbolSnapshot};
pub use self::symbol::{ColdStart, Mistimed, MistimedCause, Names};
pub use self::tally::EngineTally;

/// What an engine may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// The most symbols; further ones are refused and counted.
    pub symbols_max: usize,
    /// The most rows of one inference run; the W-1 rows of one symbol in mode `sliding` always go
    /// together. One where the model's rows must run alone ([`Rows::Alone`]).
    pub batch_rows_max: usize,
}

/// What became of one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is part of the state; a completed step's row waits for inference.
    Taken,
    /// It is refused and counted.
    Refused(Reject),
    /// The state holds it already: it was read again after a restart.
    Repeated,
    /// Nothing: an earlier row of its symbol must go through inference first. Push it again then.
    Waiting,
}

/// A row that waits for inference, and what its forecast will say beside the value.
#[derive(Clone, Copy)]
struct Pending {
    symbol: SymbolId,
    as_of: UnixNanos,
    last_price: Option<f64>,
    /// Its forecast is about history and is not published.
    is_quiet: bool,
    /// A row of history has completed it, or one that comes again: it goes through inference.
    is_history: bool,
}

/// What is gained by the order in which forecasts are made and states move on. The bytes are the
/// same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// Forecasts as soon as can be; the states wait for [`Engine::advance`]: the least latency.
    Latency,
    /// Both in as few runs as can be, for when more records wait: the most throughput.
    Throughput,
}

/// How the model is driven.
enum Driver {
    Full(FullWindows),
    Sliding(SlidingStates),
    Carried(CarriedStates),
    /// No backend runs: forecasts are made of those of other models.
    Blended(BlendStates),
}

/// The engine of one shard.
pub struct Engine {
    plans: Plans,
    backend: Box<dyn Backend>,
    driver: Driver,
    limits: EngineLimits,
    policy: EnginePolicy,
    /// How far apart two steps of one window may lie.
    gap_max: Option<DurationNanos>,
    /// The features of a symbol without steps.
    initial: FeatureState,
    newest_cold_start: Option<ColdStart>,
    /// How far apart steps should lie; `None` where any distance will do.
    cadence: Option<CadenceRule>,
    /// Why the event time of the tick that is pushed now may be wrong.
    doubt: Option<TimeDoubt>,
    newest_mistimed: Option<Mistimed>,
    /// Where the tick comes from that is pushed now. One that comes again is live here.
    origin: Origin,
    /// Whether it comes again.
    is_again: bool,
    publishes_history: bool,
    /// Whether rows of history have come.
    has_history: bool,
    /// Whether the rows that come were asked for.
    is_filling: bool,
    /// Whether the newest tick was taken without a forecast to be published.
    is_quiet: bool,
    /// Whether the newest tick that was taken is a row of history.
    is_history: bool,
    index: HashMap<Symbol, SymbolId>,
    symbols: Vec<SymbolState>,
    /// How many of them the model's table of symbols does not have.
    unknown: usize,
    scores: ScoreBook,
    /// Those of the outputs behind the first.
    outputs: OutputBooks,
    /// The inputs of all symbols, where the bundle says what they are compared with.
    shift: Option<ShiftBook>,
    scratch: RowScratch,
    /// Rows taken in since the last inference, at most one per symbol.
    pending: Vec<Pending>,
    /// Those of the last inference, whose states still have to move on.
    inferred: Vec<Pending>,
    /// Symbols whose state has moved since it was last taken to rest, in the order in which the
    /// first move came.
    changed: VecDeque<SymbolId>,
    /// Partitions whose symbols were known before, and what was known of them is lost.
    lost: BTreeSet<PartitionId>,
    /// Windows that began cold because the data went on too late for them.
    stale: u64,
    /// When the ticks come that are pushed now.
    now: Duration,
    /// A symbol whose newest tick has completed steps that wait for the one in inference.
    due: Option<SymbolId>,
    /// Symbols whose recurrent states are still to be computed; the next one last.
    asleep: Vec<SymbolId>,
    /// Whether rows may go without inference, and whether they do now.
    shedding: Shedding,
    /// Who has been silent for too long.
    expiry: Expiry,
    /// How many recurrent states the model has.
    state_count: usize,
    /// What its output has.
    columns: Columns,
    /// Its forecasts that blends have still to hear, where one of them listens.
    heard: Option<Vec<Heard>>,
    tally: EngineTally,
}

impl Engine {
    /// An engine without symbols. `signature` names the graph that `backend` holds.
    ///
    /// # Errors
    /// [`InferenceError`] where the backend refuses the shapes that the mode needs.
    pub fn new(
        plans: Plans,
        mode: Mode,
        signature: &Signature,
        backend: Box<dyn Backend>,
        limits: EngineLimits,
    ) -> Result<Self, InferenceError> {
        let (steps, width) = (plans.window_steps, plans.features.inputs());
        let outputs = signature.columns.count;
        let mut backend = backend;
        // Rows that round differently in a run of several have a run each, whatever was asked for.
        let limits = match plans.rows {
            Rows::Batched => limits,
            Rows::Alone => EngineLimits { batch_rows_max: 1, ..limits },
        };
        let state_widths = || signature.states.iter().map(|state| state.width).collect();
        let state_rows_max = limits.batch_rows_max.min(batch::STATE_ROWS_MAX);
        let driver = match mode {
            Mode::Full => Driver::Full(FullWindows::new(
                steps,
                width,
                signature.states.len(),
                limits.batch_rows_max,
            )),
            Mode::Sliding => {
                let (widths, sizes): (Vec<_>, _) = (state_widths(), [steps, width, outputs]);
                let (backend, rows) = (&mut *backend, plans.rows);
                Driver::Sliding(SlidingStates::new(backend, sizes, &widths, state_rows_max, rows))
            }
            Mode::Carried => {
                let (widths, sizes): (Vec<_>, _) = (state_widths(), [width, outputs]);
                let backend = &mut *backend;
                Driver::Carried(CarriedStates::new(backend, sizes, &widths, state_rows_max))
            }
        };
        // The shapes of a quiet stream are prepared now, so that its first forecast is as quick as
        // the later ones.
        match &driver {
            Driver::Full(full) => full.prepare(&mut *backend)?,
            Driver::Sliding(sliding) => sliding.prepare(&mut *backend)?,
            Driver::Carried(carried) => carried.prepare(&mut *backend)?,
            Driver::Blended(_) => {}
        }
        let scratch = plans.features.raw().scratch();
        let scores = ScoreBook::new(plans.score.clone());
        let are_listed = !plans.outputs.plans.is_empty();
        let further = OutputBooks::new(are_listed, &plans.outputs.scores);
        let shift = plans.shift.clone().map(ShiftBook::new);
        let initial = plans.features.raw().initial_state();
        let gap_max = plans.step.gap();
        let cadence = plans.cadence;
        Ok(Self {
            plans,
            backend,
            driver,
            limits,
            policy: EnginePolicy::default(),
            gap_max,
            initial,
            newest_cold_start: None,
            cadence,
            doubt: None,
            newest_mistimed: None,
            origin: Origin::Live,
            is_again: false,
            publishes_history: false,
            has_history: false,
            is_filling: false,
            is_quiet: false,
            is_history: false,
            index: HashMap::new(),
            symbols: Vec::new(),
            unknown: 0,
            scores,
            outputs: further,
            shift,
            scratch,
            pending: Vec::new(),
            inferred: Vec::new(),
            changed: VecDeque::new(),
            lost: BTreeSet::new(),
            stale: 0,
            now: Duration::ZERO,
            due: None,
            asleep: Vec::new(),
            shedding: Shedding::default(),
            expiry: Expiry::default(),
            state_count: signature.states.len(),
            columns: signature.columns,
            heard: None,
            tally: EngineTally::default(),
        })
    }

    /// The same under a policy.
    #[must_use]
    pub fn with_policy(mut self, policy: EnginePolicy) -> Self {
        let step = self.plans.step.clone();
        let gap_steps_max = policy.gap_steps_max.or(step.gap_steps_max);
        self.gap_max = StepSpec { gap_steps_max, ..step }.gap();
        self.cadence = match policy.cadence {
            CadencePolicy::AsTrained => self.plans.cadence,
            CadencePolicy::AsItComes => None,
        };
        self.policy = policy;
        self
    }

    /// Makes the tensors of every run that there can be. Without it, the tensors of a size are made
    /// when the first run of that size comes.
    ///
    /// # Errors
    /// [`InferenceError`] where the backend refuses one.
    pub fn prepare_runs(&mut self) -> Result<(), InferenceError> {
        let shapes: Vec<_> = match &self.driver {
            Driver::Full(full) => full.shapes().collect(),
            Driver::Sliding(sliding) => sliding.shapes(),
            Driver::Carried(carried) => carried.shapes(),
            Driver::Blended(_) => Vec::new(),
        };
        shapes.into_iter().try_for_each(|shape| self.backend.lane(shape).map(|_| ()))
    }

    /// Says why the event time of the tick that is pushed next may be wrong.
    pub fn set_doubt(&mut self, doubt: Option<TimeDoubt>) {
        self.doubt = doubt;
    }

    /// The newest tick or step whose time cannot be right.
    pub fn newest_mistimed(&self) -> Option<&Mistimed> {
        self.newest_mistimed.as_ref()
    }

    /// The newest window that began cold because of a distance between steps.
    pub fn newest_cold_start(&self) -> Option<&ColdStart> {
        self.newest_cold_start.as_ref()
    }

    /// Whose rounding the numbers of the model have.
    pub fn rounding(&self) -> Rounding {
        self.backend.rounding()
    }

    /// What became of everything that went in.
    pub fn tally(&self) -> &EngineTally {
        &self.tally
    }

    /// The scores of all symbols.
    pub fn scores(&self) -> &ScoreBook {
        &self.scores
    }

    /// As [`Engine::scores`], to take them.
    pub fn scores_mut(&mut self) -> &mut ScoreBook {
        &mut self.scores
    }

    /// The scores together with the names of the symbols that they are about.
    pub fn scores_and_names(&mut self) -> (&mut ScoreBook, Names<'_>) {
        (&mut self.scores, Names(&self.symbols))
    }

    /// The features of the model.
    pub fn features(&self) -> &FeaturePlan {
        &self.plans.features
    }

    /// How many symbols are known.
    pub fn symbol_count(&self) -> usize {
        self.symbols.len()
    }

    /// How many of them the model's table of symbols does not have; none where it has no table.
    pub fn unknown_count(&self) -> usize {
        self.unknown
    }

    /// Whether a symbol is known.
    pub fn has_symbol(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// The name of a symbol of this engine.
    pub fn symbol(&self, id: SymbolId) -> &Symbol {
        &self.symbols[id.index()].name
    }

    /// Counts a record that was refused before it became a tick.
    pub fn refuse(&mut self, reason: Reject) {
        self.tally.ticks += 1;
        self.tally.rejects.add(reason);
    }

    /// How many windows began cold because the data went on too late for them
    /// ([`Engine::expect_gap`]).
    pub fn stale_count(&self) -> u64 {
        self.stale
    }

    /// Notes that data of every symbol may be missing from here on.
    pub fn mark_gap(&mut self) {
        for id in (0..self.symbols.len()).filter_map(SymbolId::from_index) {
            self.symbols[id.index()].step.mark_gap();
            self.note_change(id);
        }
    }

    /// Takes one tick, or refuses it, which is counted and changes nothing but the count. A symbol
    /// has at most one row in inference: where one waits, the tick is left for after
    /// [`Engine::infer`] and [`Engine::advance`]. A tick may complete several steps; where
    /// [`Engine::has_due`] says so, the same is to be done until it does not, so that forecasts
    /// have the order of the ticks that made them. Until then every tick is left.
    ///
    /// `position` is where the tick came from, in an input that can be read again: a tick at or
    /// before the one that the symbol's state holds is a repeat, and a symbol stays with the
    /// partition that it was first seen in. Symbols that the tick finds silent for longer than
    /// [`EnginePolicy::symbol_ttl`] leave first; until they can, the tick is left as well.
    pub fn push(&mut self, tick: &Tick<'_>, position: Option<Position>) -> Pushed {
        // Rows that fill a hole are older than what is silent now, and no symbol leaves for them.
        if self.due.is_some() || (!self.is_filling && !self.make_room(tick, position)) {
            return Pushed::Waiting;
        }
        let resolved = if !self.is_filling && self.is_forgotten(tick, position) {
            Err(Reject::OutOfOrder)
        } else if self.origin == Origin::Live {
            self.resolve(&tick.symbol)
        } else {
            self.resolve_quietly(&tick.symbol)
        };
        let outcome = match resolved {
            Ok(id) if self.symbols[id.index()].pending => return Pushed::Waiting,
            Ok(id) => self.take(id, tick, position),
            Err(reason) => Pushed::Refused(reason),
        };
        self.tally.ticks += 1;
        match outcome {
            Pushed::Refused(reason) => self.tally.rejects.add(reason),
            Pushed::Repeated => self.tally.repeats += 1,
            Pushed::Taken | Pushed::Waiting => {}
        }
        outcome
    }

    /// Takes a tick of a known symbol if its place follows that of the symbol's state.
    fn take(&mut self, id: SymbolId, tick: &Tick<'_>, position: Option<Position>) -> Pushed {
        if let (Some(applied), Some(position)) = (self.symbols[id.index()].applied, position) {
            if applied.partition != position.partition {
                return Pushed::Refused(Reject::OtherPartition);
            }
            if position.offset <= applied.offset {
                return Pushed::Repeated;
            }
        }
        if self.has_in_history(id, tick.time) {
            if self.origin == Origin::Live {
                self.symbols[id.index()].arrivals.note(self.now);
            }
            return Pushed::Repeated;
        }
        let partition = position.map(|position| position.partition);
        if self.symbols[id.index()].applied.is_none()
            && partition.is_some_and(|partition| self.lost.contains(&partition))
        {
            self.symbols[id.index()].begins_after_loss = true;
        }
        let doubt = self.doubt_of(id);
        let stale = self.symbols[id.index()].stale_after.is_some_and(|limit| tick.time > limit);
        self.is_quiet = self.is_unpublished();
        self.is_history = self.origin != Origin::Live;
        let passed_over = self.passed_over(id, tick.time);
        let absorbed = if stale { self.absorb_anew(id, tick) } else { self.absorb(id, tick) };
        match (absorbed, self.origin) {
            (Ok(()), _) => {}
            // What history has before the newest row is in the state, or too late for it.
            (Err(Reject::Late | Reject::Duplicate | Reject::OutOfOrder), Origin::History(_)) => {
                return Pushed::Repeated;
            }
            (Err(reason), _) => return Pushed::Refused(reason),
        }
        let state = &mut self.symbols[id.index()];
        if let Some(span) = passed_over {
            state.past.decline(span);
        }
        state.doubt = doubt;
        state.stale_after = None;
        state.applied = position.or(state.applied);
        self.note_change(id);
        if !self.is_filling {
            self.hear(id, tick.time);
        }
        match self.origin {
            Origin::Live | Origin::Again => {
                let state = &mut self.symbols[id.index()];
                state.arrivals.note(self.now);
                state.past.is_fresh = false;
                state.past.has_met_live = true;
            }
            Origin::History(seam) => self.note_row(id, tick.time, seam),
        }
        if let Some(doubt) = doubt {
            self.tally.doubts[doubt.index()] += 1;
            let symbol = self.symbols[id.index()].name.clone();
            let cause = MistimedCause::Doubt(doubt);
            self.newest_mistimed = Some(Mistimed { symbol, time: tick.time, cause });
        }
        Pushed::Taken
    }

    /// The doubt about the tick of a symbol. A history that began before the time in doubt has come
    /// to it in order.
    fn doubt_of(&self, id: SymbolId) -> Option<TimeDoubt> {
        let head = self.symbols[id.index()].step.head();
        self.doubt.filter(|_| head.is_none_or(TimeDoubt::is_possible))
    }

    /// Notes that what is stored of a symbol is no longer its state.
    fn note_change(&mut self, id: SymbolId) {
        if !std::mem::replace(&mut self.symbols[id.index()].changed, true) {
            self.changed.push_back(id);
        }
    }

    /// Finds a symbol or takes a new one.
    fn resolve(&mut self, name: &str) -> Result<SymbolId, Reject> {
        if let Some(id) = self.index.get(name) {
            return Ok(*id);
        }
        if self.symbols.len() >= self.limits.symbols_max {
            return Err(Reject::TooManySymbols);
        }
        let name = Symbol::new(name).map_err(|_| Reject::InvalidSymbol)?;
        let window = Window::new(self.plans.window_steps, self.plans.features.width());
        let features = self.plans.features.raw().initial_state();
        let state = SymbolState::new(name, StepState::default(), features, window, self.now);
        let id = self.add(state)?;
        self.scores.add_symbol(&self.symbols[id.index()].name);
        self.outputs.add_symbol(&self.symbols[id.index()].name);
        self.shift.iter_mut().for_each(ShiftBook::add_symbol);
        Ok(id)
    }

    /// Adds a symbol at the end of the dense index. Its scores are the caller's to add.
    fn add(&mut self, mut state: SymbolState) -> Result<SymbolId, Reject> {
        let id = SymbolId::from_index(self.symbols.len()).ok_or(Reject::TooManySymbols)?;
        state.entry = self.plans.features.entry(state.name.as_str());
        self.unknown += usize::from(self.plans.features.is_unknown(state.entry));
        self.index.insert(state.name.clone(), id);
        self.symbols.push(state);
        match &mut self.driver {
            Driver::Full(_) => {}
            Driver::Sliding(sliding) => sliding.add_symbol(),
            Driver::Carried(carried) => carried.add_symbol(),
            Driver::Blended(blended) => blended.add_symbol(),
        }
        Ok(id)
    }

    /// Moves one symbol on by one tick.
    fn absorb(&mut self, id: SymbolId, tick: &Tick<'_>) -> Result<(), Reject> {
        let before = self.symbols[id.index()].step.newest();
        let of_record = if self.plans.step_rule == StepRule::Record {
            // A record is its own step: where it makes no row it is refused before any effect.
            self.symbols[id.index()].step.check_record(tick.time)?;
            let (time, fields) = (tick.time, tick.fields);
            Some(self.row(id, &Step { time, fields, after_gap: false, patched: false }, before)?)
        } else {
            None
        };
        let first = {
            let Self { plans, symbols, .. } = self;
            symbols[id.index()].step.push(&plans.step_rule, tick.time, &tick.fields)?
        };
        let Some(step) = first else {
            self.tally.absorbed += 1;
            return Ok(());
        };
        let row = of_record.map_or_else(|| self.row(id, &step, before), Ok);
        self.take_step(id, &step, before, row);
        self.take_due(id);
        Ok(())
    }

    /// Takes further steps that the newest tick of a symbol has completed, until one of them waits
    /// for inference.
    fn take_due(&mut self, id: SymbolId) {
        while !self.symbols[id.index()].pending {
            let before = self.symbols[id.index()].step.newest();
            let Self { plans, symbols, .. } = self;
            let Some(step) = symbols[id.index()].step.pop(&plans.step_rule) else { break };
            self.tally.further += 1;
            let row = self.row(id, &step, before);
            self.take_step(id, &step, before, row);
        }
        let is_due = self.symbols[id.index()].step.is_due(&self.plans.step_rule);
        self.due = is_due.then_some(id);
    }

    /// Whether as many rows wait for inference as go together in one run.
    pub fn has_full_run(&self) -> bool {
        self.pending.len() >= self.limits.batch_rows_max
    }

    /// Whether the newest tick has completed steps that wait for one in inference.
    pub fn has_due(&self) -> bool {
        self.due.is_some()
    }

    /// Whether a step lies too far behind the one before to stand in a window with it.
    fn is_far(&self, step: &Step, before: Option<UnixNanos>) -> bool {
        let (Some(gap_max), Some(before)) = (self.gap_max, before) else { return false };
        // A span that overflows is longer than any limit.
        self.span(before, step.time).is_none_or(|span| span > gap_max)
    }

    /// How far apart two steps lie, without the days that the calendar closes.
    fn span(&self, before: UnixNanos, time: UnixNanos) -> Option<DurationNanos> {
        match &self.plans.calendar {
            Some(calendar) => calendar.open_span(before, time),
            None => time.since(before),
        }
    }

    /// Computes the row of a step without any effect but on the scratch.
    fn row(
        &mut self,
        id: SymbolId,
        step: &Step,
        before: Option<UnixNanos>,
    ) -> Result<RowStatus, Reject> {
        let is_far = self.is_far(step, before);
        let Self { plans, symbols, scratch, initial, .. } = self;
        let symbol = &symbols[id.index()];
        let features = if is_far { &*initial } else { &symbol.features };
        plans.features.row_of(symbol.entry, features, step, scratch)
    }

    /// Moves one symbol on by one step, whose row was computed last: features, window.
    fn take_step(
        &mut self,
        id: SymbolId,
        step: &Step,
        before: Option<UnixNanos>,
        row: Result<RowStatus, Reject>,
    ) {
        self.tally.steps += 1;
        self.tally.patched += u64::from(step.patched);
        if self.is_far(step, before) {
            self.begin_cold(id, step, before);
        } else {
            self.note_spacing(id, step, before);
        }
        let repeats = self.repeats(id, step);
        let is_quiet = self.is_quiet || repeats;
        // What waits for a step that comes again has been scored.
        if std::mem::take(&mut self.symbols[id.index()].begins_cold) || repeats {
            self.scores.break_off(id);
            self.outputs.break_off(id);
        }
        self.scores.set_quiet(is_quiet);
        let shifted = self.shift_of(id).is_shifted();
        self.scores.set_shifted(shifted);
        // The newest score of a symbol is that of the first output.
        self.outputs.step(&mut self.scores, id, step, shifted);
        let score = self.scores.step(id, step);
        if let (Driver::Blended(blended), Some(score)) = (&mut self.driver, score) {
            blended.learn(id, &score);
        }
        self.note_filled(id, step);
        let Self { symbols, scratch, tally, .. } = self;
        let state = &mut symbols[id.index()];
        if std::mem::take(&mut state.begins_after_loss) || step.after_gap {
            state.last_gap = Some(step.time);
        }
        let Ok(status) = row else {
            // A closed bar that makes no row is lost; the tick that closed it is part of the next
            // one, which stands behind a gap.
            tally.withheld.add(Withheld::LostStep);
            state.step.mark_lost();
            return;
        };
        state.features.absorb(scratch);
        match status {
            RowStatus::Warming => {
                tally.warming += 1;
                // The features carry this step into the next row, so its marks go along.
                state.step.hand_on(step);
            }
            RowStatus::Ready { out_of_range } => {
                let Step { after_gap, patched, .. } = *step;
                state.window.push(scratch.row(), RowFacts { after_gap, patched, out_of_range });
                if !repeats {
                    self.count_row(id);
                }
                if self.sheds_rows() && !self.is_history && !self.is_again {
                    self.shed(id);
                    return;
                }
                self.symbols[id.index()].pending = true;
                let last_price = step.fields.price();
                let (as_of, is_history) = (step.time, self.is_history || self.is_again);
                self.pending.push(Pending { symbol: id, as_of, last_price, is_quiet, is_history });
            }
        }
    }

    /// Judges the distance between a step and the one before.
    fn note_spacing(&mut self, id: SymbolId, step: &Step, before: Option<UnixNanos>) {
        let Some(rule) = self.cadence else { return };
        let Some(spacing) = before.and_then(|before| self.span(before, step.time)) else { return };
        let state = &mut self.symbols[id.index()];
        state.cadence.note(&rule, spacing);
        if state.cadence.is_off() {
            self.tally.off_cadence += 1;
            let (interval, is_implausible) = (rule.interval(), rule.is_implausible(spacing));
            let cause = MistimedCause::Cadence { spacing, interval, is_implausible };
            let symbol = state.name.clone();
            self.newest_mistimed = Some(Mistimed { symbol, time: step.time, cause });
        }
    }

    /// Forgets what a symbol's steps have left behind, as if it were new.
    fn begin_cold(&mut self, id: SymbolId, step: &Step, before: Option<UnixNanos>) {
        self.tally.resets += 1;
        let state = &mut self.symbols[id.index()];
        state.note_said(before);
        state.features.clone_from(&self.initial);
        state.window.clear();
        state.begins_cold = true;
        let symbol = state.name.clone();
        self.reset_driver(id);
        if self.origin == Origin::Live {
            self.ask_again(id);
        }
        self.newest_cold_start =
            before.map(|before| ColdStart { symbol, before, after: step.time });
    }

    /// Forgets the recurrent states of a symbol.
    fn reset_driver(&mut self, id: SymbolId) {
        match &mut self.driver {
            Driver::Full(_) => {}
            Driver::Sliding(sliding) => sliding.reset(id),
            Driver::Carried(carried) => carried.reset(id),
            Driver::Blended(blended) => blended.reset(id),
        }
    }

    /// Makes the forecasts of all waiting rows whose windows are full, in the order in which the
    /// rows came. With [`Haste::Latency`] this is the critical path: follow with
    /// [`Engine::advance`] once they are out. With [`Haste::Throughput`] the states have moved on
    /// as well, with the same bits, in mode `sliding` in the same batch.
    ///
    /// # Errors
    /// [`InferenceError`] where the backend fails.
    pub fn infer(
        &mut self,
        haste: Haste,
        forecasts: &mut Vec<Forecast>,
    ) -> Result<(), InferenceError> {
        self.run(haste, forecasts)?;
        if haste == Haste::Throughput {
            self.release();
        }
        Ok(())
    }

    fn run(&mut self, haste: Haste, forecasts: &mut Vec<Forecast>) -> Result<(), InferenceError> {
        self.move_on()?;
        std::mem::swap(&mut self.pending, &mut self.inferred);
        let is_warming =
            |pending: &&Pending| !self.symbols[pending.symbol.index()].window.is_full();
        self.tally.warming += self.inferred.iter().filter(is_warming).count() as u64;
        if matches!(self.driver, Driver::Blended(_)) {
            self.run_blended(forecasts);
            return Ok(());
        }
        let (has_cadence, columns) = (self.cadence.is_some(), self.columns);
        let Self { symbols, scores, plans, policy, tally, inferred, backend, driver, .. } = self;
        let (symbols, heard, inputs) = (&*symbols, self.heard.as_mut(), self.shift.as_ref());
        let books = &mut self.outputs.books;
        let mut outlet =
            Outlet { symbols, inputs, scores, policy, tally, has_cadence, heard, forecasts };
        let ready = |pending: &&Pending| symbols[pending.symbol.index()].window.is_full();
        let mut finish = |pending: &Pending, output: &[f32]| {
            // One whose window is not full moved states on and is counted as warming.
            if symbols[pending.symbol.index()].window.is_full() {
                let outputs = &plans.outputs.plans;
                if !outputs.is_empty() {
                    outlet.take_all(pending, output, outputs, books);
                    return;
                }
                let facts = outlet.facts(pending);
                let forecast = plans.forecast.finish_output(columns.read(output), &facts);
                outlet.take(pending, forecast);
            }
        };
        let features = &plans.features;
        let rows = inferred.iter().filter_map(|pending| {
            let row = symbols[pending.symbol.index()].newest_row(features)?;
            Some((pending, pending.symbol, row))
        });
        match driver {
            Driver::Full(full) => {
                let windows = inferred
                    .iter()
                    .filter(ready)
                    .map(|pending| (pending, symbols[pending.symbol.index()].window_of(features)));
                full.infer(&mut **backend, windows, &mut finish)
            }
            Driver::Sliding(sliding) => {
                let asleep = |pending: &Pending| symbols[pending.symbol.index()].asleep;
                // Forecasts keep the order of the rows, whichever of their symbols sleep.
                for group in inferred.chunk_by(|one, next| asleep(one) == asleep(next)) {
                    if group.first().is_some_and(asleep) {
                        for pending in group.iter().filter(ready) {
                            let window = symbols[pending.symbol.index()].window_of(features);
                            let finish = |output: &[f32]| finish(pending, output);
                            sliding.infer_from_rows(&mut **backend, window, finish)?;
                        }
                        continue;
                    }
                    let rows = group.iter().filter_map(|pending| {
                        let row = symbols[pending.symbol.index()].newest_row(features)?;
                        Some((pending, pending.symbol, row))
                    });
                    match haste {
                        Haste::Latency => {
                            let rows = rows.filter(|(pending, _, _)| ready(pending));
                            sliding.infer(&mut **backend, rows, &mut finish)?;
                        }
                        // Every row moves states on, also those of symbols that are still warming.
                        Haste::Throughput => {
                            sliding.infer_and_advance(&mut **backend, rows, &mut finish)?;
                        }
                    }
                }
                Ok(())
            }
            Driver::Carried(carried) => carried.infer(&mut **backend, rows, &mut finish),
            // It has no output to read.
            Driver::Blended(_) => Ok(()),
        }
    }

    /// Moves the states behind the last forecasts on, off the critical path. Then symbols that are
    /// silent for too long may leave, so whoever has forecasts or scores asks for the names of
    /// their symbols before.
    ///
    /// # Errors
    /// [`InferenceError`] where the backend fails.
    pub fn advance(&mut self) -> Result<(), InferenceError> {
        self.move_on()?;
        self.look_for_silent();
        Ok(())
    }

    fn move_on(&mut self) -> Result<(), InferenceError> {
        if self.inferred.is_empty() {
            return Ok(());
        }
        let Self { plans, symbols, inferred, backend, driver, .. } = self;
        if let Driver::Sliding(sliding) = driver {
            // The states of symbols that sleep are computed with this row among the others.
            let rows = inferred.iter().filter_map(|pending| {
                let state = &symbols[pending.symbol.index()];
                let row = (!state.asleep).then(|| state.newest_row(&plans.features))?;
                Some((pending.symbol, row?))
            });
            sliding.advance(&mut **backend, rows)?;
        }
        self.release();
        Ok(())
    }

    /// Lets the symbols of the last inference take ticks again.
    fn release(&mut self) {
        for pending in self.inferred.drain(..) {
            self.symbols[pending.symbol.index()].pending = false;
        }
        if let Some(id) = self.due {
            self.take_due(id);
        }
    }
}

/// How whole a symbol's window is, and whether its times can be right. `judges` says whether the
/// spacing of steps counts.
fn quality_of(state: &SymbolState, judges: bool) -> Quality {
    let off = state.doubt.is_some() || (judges && state.cadence.is_off());
    if off { Quality::Mistimed } else { state.window.quality() }
}
