//! Symbols that have been silent for too long make room for others.
//!
//! Owns the clock of each stream of records, and who leaves by it. Promises that symbols leave by
//! event time alone, so that the same records give the same forecasts whenever they come; that a
//! symbol which leaves takes everything with it, so that nothing of it reaches the one that gets
//! its place; and that none leaves while rows are in inference. Never reads a clock.
//!
//! The clock of a stream is the time of its newest tick; a partition is a stream of its own, and so
//! is an input without partitions. A symbol leaves when
//!
//! * its own next tick comes more than the limit after its newest one: it begins cold with it,
//! * room is needed for a new symbol and its stream is more than the limit ahead of it; or, where
//!   that makes no room, any stream of the engine, since a partition can end for good, or
//! * the clock enters another turn, an eighth of the limit, whose beginning is more than the limit
//!   ahead.
//!
//! What the first does follows from the ticks of the symbol alone. The others make a difference to
//! a symbol only if it goes on behind the clock of its stream. A tick that is no later than the
//! newest one of a symbol that has left is refused as out of order where it would begin a symbol:
//! it may be of that one.
//!
//! Where states are stored, whoever takes them also hears of the symbols that have left. A symbol
//! that left with a state that was not taken yet is heard of in two steps: its last state now, and
//! that it is gone with the next taking. An input that is read again from the place of the first
//! taking then meets a state that knows its records.

use std::collections::HashMap;

use super::symbol::SymbolState;
use super::{Driver, Engine, SymbolSnapshot};
use crate::core::domain::{
    DurationNanos, PartitionId, Position, Symbol, SymbolId, Tick, UnixNanos,
};

/// How often in the time of one limit silent symbols are looked for.
const TURNS: i64 = 8;

/// A symbol that has left because it was silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Whose name it was.
    pub symbol: Symbol,
    /// Event time of its newest tick.
    pub newest_tick: Option<UnixNanos>,
}

/// What is told of a symbol that has left.
#[derive(Clone, Debug, PartialEq)]
pub enum Departure {
    /// Its last state, which nobody has taken yet.
    LastState(Box<SymbolSnapshot>),
    /// It is gone, and what is stored of it is of no use.
    Gone(Symbol),
}

/// What an engine knows of silent symbols.
#[derive(Clone, Debug, Default)]
pub(super) struct Expiry {
    streams: HashMap<Option<PartitionId>, StreamClock>,
    /// Whether the clock of a stream has entered another turn since silent symbols were looked for.
    due: bool,
    newest: Option<Expired>,
    /// Whether anybody stores states.
    keeps: bool,
    /// The last states of symbols that have left and had moved since they were taken.
    parting: Vec<(Option<Position>, SymbolSnapshot)>,
    /// Symbols that have left since the last taking began.
    gone: Vec<(Option<Position>, Symbol)>,
    /// Those that the taking under way tells of.
    told: Vec<(Option<Position>, Symbol)>,
}

/// The clock of one stream.
#[derive(Clone, Copy, Debug)]
struct StreamClock {
    /// The time of its newest tick.
    newest: UnixNanos,
    /// No symbol of the stream has a newest tick before this.
    least: UnixNanos,
    /// The newest tick of all symbols of the stream that have left.
    forgotten: Option<UnixNanos>,
}

impl Expiry {
    /// Forgets what is known of one stream, or of all.
    fn forget(&mut self, partition: Option<PartitionId>) {
        let stays = |of: &Option<PartitionId>| partition.is_some() && *of != partition;
        self.streams.retain(|of, _| stays(of));
        self.parting.retain(|(applied, _)| stays(&stream_of(*applied)));
        self.gone.retain(|(applied, _)| stays(&stream_of(*applied)));
        self.told.retain(|(applied, _)| stays(&stream_of(*applied)));
    }
}

impl SymbolState {
    /// The stream that it belongs to.
    fn stream(&self) -> Option<PartitionId> {
        stream_of(self.applied)
    }
}

/// The stream that a record at this place is of.
fn stream_of(applied: Option<Position>) -> Option<PartitionId> {
    applied.map(|position| position.partition)
}

impl Engine {
    /// Keeps what is to be told of symbols that leave, for somebody who takes it with the states.
    pub fn keep_departures(&mut self) {
        self.expiry.keeps = true;
    }

    /// The newest of the symbols that have left because they were silent.
    pub fn newest_expired(&self) -> Option<&Expired> {
        self.expiry.newest.as_ref()
    }

    /// Has symbols leave that a tick finds silent for too long. Returns whether the tick can be
    /// taken now: `false` where rows in inference have to move on, or scores to be taken, first.
    pub(super) fn make_room(&mut self, tick: &Tick<'_>, position: Option<Position>) -> bool {
        let Some(ttl) = self.policy.symbol_ttl else { return true };
        let stream = position.map(|position| position.partition);
        let leaves = match self.index.get(&*tick.symbol) {
            Some(id) => self.is_outlived(*id, tick, position, ttl),
            None => self.symbols.len() >= self.limits.symbols_max && self.has_silent(tick, ttl),
        };
        if !leaves && !self.expiry.due {
            return true;
        }
        if !self.is_idle() {
            return false;
        }
        self.look_for_silent();
        match self.index.get(&*tick.symbol).copied() {
            Some(id) if self.is_outlived(id, tick, position, ttl) => {
                let name = self.symbols[id.index()].name.clone();
                self.expire(|state| state.name == name, true);
            }
            None if self.symbols.len() >= self.limits.symbols_max => {
                let own = |of: Option<PartitionId>, newest: UnixNanos| {
                    if of == stream { newest.max(tick.time) } else { newest }
                };
                self.expire_silent(own, ttl, true);
                if self.symbols.len() >= self.limits.symbols_max {
                    let newest = self.newest_of_all(tick);
                    self.expire_silent(|_, _| newest, ttl, false);
                }
            }
            _ => {}
        }
        true
    }

    /// The newest time of all streams, were this tick taken.
    fn newest_of_all(&self, tick: &Tick<'_>) -> UnixNanos {
        let clocks = self.expiry.streams.values().map(|clock| clock.newest);
        clocks.fold(tick.time, UnixNanos::max)
    }

    /// Whether nothing is under way that knows a symbol by its place.
    fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.inferred.is_empty() && !self.scores.has_untaken()
    }

    /// Whether a tick comes so late after the newest one of its symbol that the symbol begins cold.
    fn is_outlived(
        &self,
        id: SymbolId,
        tick: &Tick<'_>,
        position: Option<Position>,
        ttl: DurationNanos,
    ) -> bool {
        let state = &self.symbols[id.index()];
        // Neither a repeat nor a tick of another partition says anything of the symbol.
        let goes_on = match (state.applied, position) {
            (Some(applied), Some(position)) => {
                applied.partition == position.partition && applied.offset < position.offset
            }
            _ => true,
        };
        goes_on && state.step.head().is_some_and(|head| is_beyond(tick.time, head, ttl))
    }

    /// Whether a symbol may be found that has been silent for too long, were this tick taken.
    fn has_silent(&self, tick: &Tick<'_>, ttl: DurationNanos) -> bool {
        let newest = self.newest_of_all(tick);
        self.expiry.streams.values().any(|clock| is_beyond(newest, clock.least, ttl))
    }

    /// Whether a tick may be one that a symbol had taken before it left: were it the first of a new
    /// symbol, forecasts would be made a second time and out of order.
    pub(super) fn is_forgotten(&self, tick: &Tick<'_>, position: Option<Position>) -> bool {
        let stream = position.map(|position| position.partition);
        let clock = self.expiry.streams.get(&stream);
        clock.and_then(|clock| clock.forgotten).is_some_and(|newest| tick.time <= newest)
            && !self.index.contains_key(&*tick.symbol)
    }

    /// Notes the time of a tick that was taken.
    pub(super) fn hear(&mut self, id: SymbolId, time: UnixNanos) {
        let Some(ttl) = self.policy.symbol_ttl else { return };
        let stream = self.symbols[id.index()].stream();
        let Some(clock) = self.expiry.streams.get_mut(&stream) else {
            self.expiry
                .streams
                .insert(stream, StreamClock { newest: time, least: time, forgotten: None });
            return;
        };
        clock.least = clock.least.min(time);
        if time > clock.newest {
            self.expiry.due |= turn(time, ttl) != turn(clock.newest, ttl);
            clock.newest = time;
        }
    }

    /// Has the symbols leave that are silent at the beginning of the turn of their stream's clock,
    /// if a turn has begun. Nothing is done while rows are in inference.
    pub(super) fn look_for_silent(&mut self) {
        let is_idle = self.is_idle() && self.due.is_none();
        let Some(ttl) = self.policy.symbol_ttl.filter(|_| self.expiry.due && is_idle) else {
            return;
        };
        self.expiry.due = false;
        self.expire_silent(|_, newest| turn_start(newest, ttl), ttl, true);
    }

    /// Takes up the clocks of symbols that were restored, the first of them at this place of the
    /// dense index. Those that had left before leave.
    pub(super) fn resume_clocks(&mut self, first: usize) {
        if self.policy.symbol_ttl.is_none() {
            return;
        }
        for id in (first..self.symbols.len()).filter_map(SymbolId::from_index) {
            if let Some(head) = self.symbols[id.index()].step.head() {
                self.hear(id, head);
            }
        }
        self.expiry.due = true;
        self.look_for_silent();
    }

    /// Has every symbol leave that the clock of its stream, as `now` gives it, is too far ahead of;
    /// see [`Engine::expire`] for `is_over`.
    fn expire_silent(
        &mut self,
        now: impl Fn(Option<PartitionId>, UnixNanos) -> UnixNanos,
        ttl: DurationNanos,
        is_over: bool,
    ) {
        let streams = self.expiry.streams.clone();
        let is_silent = |state: &SymbolState| {
            let stream = state.stream();
            // A symbol without a tick that was taken holds nothing.
            let Some(head) = state.step.head() else { return true };
            streams
                .get(&stream)
                .is_some_and(|clock| is_beyond(now(stream, clock.newest), head, ttl))
        };
        self.expire(is_silent, is_over);
        for clock in self.expiry.streams.values_mut() {
            clock.least = clock.newest;
        }
        for state in &self.symbols {
            if let Some(head) = state.step.head()
                && let Some(clock) = self.expiry.streams.get_mut(&state.stream())
            {
                clock.least = clock.least.min(head);
            }
        }
    }

    /// Has symbols leave, counts them, and keeps what is to be told of them. `is_over` says that
    /// their streams have gone on without them, so that a tick from before is a late one.
    fn expire(&mut self, leaves: impl Fn(&SymbolState) -> bool, is_over: bool) {
        for id in (0..self.symbols.len()).filter_map(SymbolId::from_index) {
            let state = &self.symbols[id.index()];
            if !leaves(state) {
                continue;
            }
            self.tally.expired += 1;
            let (symbol, newest_tick) = (state.name.clone(), state.step.head());
            if is_over && let Some(clock) = self.expiry.streams.get_mut(&state.stream()) {
                clock.forgotten = clock.forgotten.max(newest_tick);
            }
            if self.expiry.keeps && newest_tick.is_some() {
                self.expiry.gone.push((state.applied, symbol.clone()));
                if state.changed {
                    self.expiry.parting.push((state.applied, self.at_rest(id)));
                }
            }
            self.expiry.newest = Some(Expired { symbol, newest_tick });
        }
        self.retain(|state| !leaves(state));
    }

    /// Begins a taking of states: what has left until now is told with them. Returns how many
    /// symbols have moved since they were last taken.
    pub fn begin_taking(&mut self) -> usize {
        let with_states = |(_, symbol): &(_, Symbol), expiry: &Expiry| {
            expiry.parting.iter().any(|(_, state)| state.symbol() == symbol.as_str())
        };
        let gone = std::mem::take(&mut self.expiry.gone);
        let (later, now): (Vec<_>, Vec<_>) =
            gone.into_iter().partition(|gone| with_states(gone, &self.expiry));
        self.expiry.gone = later;
        self.expiry.told.extend(now);
        self.changed_count()
    }

    /// Hands the departures of symbols that have left to `sink`, with the place of the newest
    /// record that they held. Must be called before [`Engine::take_changed`]: a symbol that is back
    /// has a state that takes the place of the one before.
    pub fn take_departures(&mut self, mut sink: impl FnMut(Option<Position>, Departure)) {
        for (applied, symbol) in std::mem::take(&mut self.expiry.told) {
            let stream = stream_of(applied);
            let is_back = self.index.get(&symbol).is_some_and(|id| {
                let state = &self.symbols[id.index()];
                state.stream() == stream && state.step.head().is_some()
            });
            if !is_back {
                sink(applied, Departure::Gone(symbol));
            }
        }
        for (applied, state) in std::mem::take(&mut self.expiry.parting) {
            sink(applied, Departure::LastState(Box::new(state)));
        }
    }

    /// Goes on with what another engine knows of silent symbols.
    pub(super) fn follow_clocks(&mut self, old: &Self) {
        self.expiry = old.expiry.clone();
        // Their states are of the other version. What is stored of them stays until they are gone.
        self.expiry.parting.clear();
    }

    /// Forgets what is known of the symbols of a partition, or of all.
    pub(super) fn forget_clocks(&mut self, partition: Option<PartitionId>) {
        self.expiry.forget(partition);
    }

    /// Forgets symbols; nothing of them is left.
    pub(super) fn retain(&mut self, keep: impl Fn(&SymbolState) -> bool) {
        debug_assert!(self.pending.is_empty() && self.inferred.is_empty(), "rows in inference");
        // Which symbol each place had before.
        let mut places: Vec<usize> = (0..self.symbols.len()).collect();
        // From the end, so that the symbol that fills a hole has been judged already.
        for index in (0..self.symbols.len()).rev() {
            let Some(id) = SymbolId::from_index(index) else { continue };
            if keep(&self.symbols[index]) {
                continue;
            }
            let forgotten = self.symbols.swap_remove(index);
            places.swap_remove(index);
            self.index.remove(&forgotten.name);
            let is_unknown = self.plans.features.is_unknown(forgotten.entry);
            self.unknown -= usize::from(is_unknown);
            self.scores.swap_remove(id);
            self.outputs.swap_remove(id);
            self.shift.iter_mut().for_each(|book| book.swap_remove(id));
            if let Some(moved) = self.symbols.get(index) {
                self.index.insert(moved.name.clone(), id);
            }
            match &mut self.driver {
                Driver::Full(_) => {}
                Driver::Sliding(sliding) => sliding.swap_remove(id),
                Driver::Carried(carried) => carried.swap_remove(id),
                Driver::Blended(blended) => blended.swap_remove(id),
            }
        }
        let moved: HashMap<usize, SymbolId> = (0..)
            .zip(places)
            .filter_map(|(now, before)| Some((before, SymbolId::from_index(now)?)))
            .collect();
        // In the same order: the longest waiting stays first.
        let follow = |id: &mut SymbolId| moved.get(&id.index()).map(|now| *id = *now).is_some();
        self.changed.retain_mut(follow);
        self.asleep.retain_mut(follow);
    }
}

/// Whether `later` is more than the limit after `earlier`; a span that overflows is.
fn is_beyond(later: UnixNanos, earlier: UnixNanos, ttl: DurationNanos) -> bool {
    later > earlier && later.since(earlier).is_none_or(|span| span > ttl)
}

/// The turn that a time lies in.
fn turn(time: UnixNanos, ttl: DurationNanos) -> i64 {
    time.as_nanos().div_euclid(turn_nanos(ttl))
}

/// The beginning of the turn that a time lies in.
fn turn_start(time: UnixNanos, ttl: DurationNanos) -> UnixNanos {
    UnixNanos::from_nanos(turn(time, ttl).saturating_mul(turn_nanos(ttl)))
}

fn turn_nanos(ttl: DurationNanos) -> i64 {
    (ttl.as_nanos() / TURNS).max(1)
}

#[cfg(test)]
mod tests;
