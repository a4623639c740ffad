//! Tests of the engine over a runtime that computes in plain Rust.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::{
    Engine, EngineLimits, EnginePolicy, EngineTally, Haste, Inherited, Pushed, RestoreError,
    Withheld, Withhold,
};
use crate::core::domain::{
    Forecast, PartitionId, Position, Quality, Reject, SymbolId, Tick, UnixNanos,
};
use crate::core::features::{ColumnRange, Scaler};
use crate::engine::inference::{Backend, InferenceError, Lane, Shape};
use crate::engine::model::manifest::{EmptySteps, Manifest, Mode, StepSpec};
use crate::engine::model::{Bundle, Heritage};
use crate::engine::test_support::{
    NullRuntime, WARM_UP_STEPS, WINDOW_STEPS, Weights, bundle, draft, manifest, price, tick, time,
};

/// Steps of a symbol that have no forecast.
pub(super) const UNFORECAST: usize = WARM_UP_STEPS + WINDOW_STEPS - 1;

pub(super) const MODES: [Mode; 3] = [Mode::Full, Mode::Sliding, Mode::Carried];
const BOTH: [Haste; 2] = [Haste::Latency, Haste::Throughput];
pub(super) const LIMITS: EngineLimits = EngineLimits { symbols_max: 9, batch_rows_max: 4 };
pub(super) const PARTITION: PartitionId = PartitionId(3);

/// An engine, and every forecast that it has made.
pub(super) struct Driven {
    pub(super) engine: Engine,
    forecasts: Vec<(String, Forecast)>,
}

/// The modes that the bundle serves beside a mode.
pub(super) fn served(mode: Mode) -> Vec<Mode> {
    if mode == Mode::Carried { vec![mode] } else { vec![Mode::Full, Mode::Sliding] }
}

pub(super) fn place(offset: i64) -> Option<Position> {
    Some(Position { partition: PARTITION, offset })
}

impl Driven {
    fn new(mode: Mode) -> Self {
        Self::of(&bundle(&served(mode)), mode, LIMITS)
    }

    pub(super) fn of(bundle: &Bundle, mode: Mode, limits: EngineLimits) -> Self {
        let backend = bundle.open(&NullRuntime).unwrap();
        let plans = bundle.plans().clone();
        let engine = Engine::new(plans, mode, bundle.signature(), backend, limits).unwrap();
        Self { engine, forecasts: Vec::new() }
    }

    fn with(mode: Mode, change: impl FnOnce(&mut Manifest)) -> Self {
        let mut manifest = manifest(&served(mode));
        change(&mut manifest);
        let bundle = draft(manifest, Weights::default()).into_bundle().unwrap();
        Self::of(&bundle, mode, LIMITS)
    }

    fn withholding(mode: Mode, withhold: Withhold) -> Self {
        let Self { engine, forecasts } = Self::new(mode);
        let policy = EnginePolicy { withhold, ..EnginePolicy::default() };
        Self { engine: engine.with_policy(policy), forecasts }
    }

    pub(super) fn push_at(
        &mut self,
        tick: &Tick<'_>,
        position: Option<Position>,
        haste: Haste,
    ) -> Pushed {
        let pushed = loop {
            match self.engine.push(tick, position) {
                Pushed::Waiting => self.flush(haste),
                pushed => break pushed,
            }
        };
        while self.engine.has_due() {
            self.flush(haste);
        }
        pushed
    }

    pub(super) fn push(&mut self, tick: &Tick<'_>) -> Pushed {
        self.push_at(tick, None, Haste::Latency)
    }

    /// Pushes the price of every minute.
    pub(super) fn run(&mut self, symbol: &str, minutes: impl IntoIterator<Item = i64>) {
        for minute in minutes {
            let pushed = self.push(&tick(symbol, minute, price(symbol, minute)));
            assert_eq!(pushed, Pushed::Taken, "{symbol} at minute {minute}");
        }
        self.flush(Haste::Latency);
    }

    pub(super) fn flush(&mut self, haste: Haste) {
        let mut forecasts = Vec::new();
        self.engine.infer(haste, &mut forecasts).unwrap();
        for forecast in forecasts {
            let symbol = self.engine.symbol(forecast.symbol).as_str().to_owned();
            self.forecasts.push((symbol, forecast));
        }
        self.engine.advance().unwrap();
    }

    /// The forecasts of a symbol, whatever its number is.
    pub(super) fn of_symbol(&self, symbol: &str) -> Vec<Forecast> {
        let of_it = self.forecasts.iter().filter(|(name, _)| name == symbol);
        let id = SymbolId::from_index(0).unwrap();
        of_it.map(|(_, forecast)| Forecast { symbol: id, ..*forecast }).collect()
    }

    fn qualities(&self, symbol: &str) -> Vec<Quality> {
        self.of_symbol(symbol).iter().map(|forecast| forecast.quality).collect()
    }

    pub(super) fn assert_adds_up(&self) {
        let tally = self.engine.tally();
        let EngineTally { ticks, further, absorbed, steps, rejects, repeats, .. } = tally;
        let became = absorbed + steps + rejects.total() + repeats;
        assert_eq!(ticks + further, became, "{tally:?}");
        let EngineTally { warming, forecasts, withheld, .. } = tally;
        let pending = self.engine.pending.len() as u64;
        let became = warming + forecasts + withheld.total() + pending;
        assert_eq!(*steps, became, "{tally:?}, {pending} pending");
    }
}

/// What a symbol says that is alone in its engine.
pub(super) fn alone(
    mode: Mode,
    symbol: &str,
    minutes: impl IntoIterator<Item = i64>,
) -> Vec<Forecast> {
    let mut driven = Driven::new(mode);
    driven.run(symbol, minutes);
    driven.of_symbol(symbol)
}

/// The output of the model for these rows, computed independently of the runtime.
fn output(rows: &[[f32; 2]]) -> f32 {
    let (mut h, mut c) = ([0.0; 2], [0.0; 2]);
    for [close, change] in rows {
        let mean = (close + change) / 2.0;
        h = [0.5 * h[0] + mean, 0.5 * h[1] + 2.0 * mean];
        c = [0.25 * c[0] + mean, 0.25 * c[1] + 2.0 * mean];
    }
    0.05 + 0.01 * (h[0] + 2.0 * h[1] + 3.0 * c[0] + 4.0 * c[1])
}

#[test]
fn a_forecast_is_what_the_model_says_about_the_rows_of_the_window() {
    let prices: Vec<_> = (0..9).map(|minute| price("A", minute)).collect();
    let row = |pair: &[f64]| {
        let change = pair[1] / pair[0] - 1.0;
        [(pair[1] / 100.0 - 1.0) as f32, (change / 0.5) as f32]
    };
    let rows: Vec<[f32; 2]> = prices.windows(2).map(row).collect();
    for mode in MODES {
        let forecasts = alone(mode, "A", 0..9);
        assert_eq!(forecasts.len(), 9 - UNFORECAST, "{mode}");
        for (at, forecast) in forecasts.iter().enumerate() {
            let first = if mode == Mode::Carried { 0 } else { at };
            let expected = 0.2 * f64::from(output(&rows[first..at + WINDOW_STEPS]));
            let off = (forecast.value - expected).abs();
            assert!(off < 1e-6, "{mode}: {forecast:?}, expected {expected}");
            let minute = (at + UNFORECAST) as i64;
            assert_eq!((forecast.as_of, forecast.target_time), (time(minute), time(minute + 1)));
            assert_eq!(forecast.last_price, Some(price("A", minute)));
            assert_eq!(forecast.quality, Quality::Full);
        }
    }
    assert_eq!(alone(Mode::Full, "A", 0..9), alone(Mode::Sliding, "A", 0..9), "bit for bit");
    assert_ne!(alone(Mode::Full, "A", 0..9), alone(Mode::Carried, "A", 0..9));
}

#[test]
fn interleaved_symbols_say_what_each_says_alone() {
    for mode in MODES {
        let mut together = Driven::new(mode);
        // B comes later, and two ticks of A come for each of its own.
        for minute in 0..20 {
            together.push(&tick("A", minute, price("A", minute)));
            if minute % 2 == 1 {
                together.push(&tick("B", minute, price("B", minute)));
            }
        }
        together.flush(Haste::Latency);
        assert_eq!(together.of_symbol("A"), alone(mode, "A", 0..20), "{mode}");
        let odd = (0..20).filter(|minute| minute % 2 == 1);
        assert_eq!(together.of_symbol("B"), alone(mode, "B", odd), "{mode}");
        assert_eq!(together.of_symbol("B").len(), 10 - UNFORECAST);
    }
}

#[test]
fn forecasts_have_the_order_of_the_ticks_that_made_them() {
    for mode in MODES {
        let mut driven = Driven::new(mode);
        for minute in 0..6 {
            // The order within a batch turns from minute to minute.
            for at in 0..3 {
                let symbol = ["A", "B", "C"][(at + minute as usize) % 3];
                driven.push(&tick(symbol, minute, price(symbol, minute)));
            }
            driven.flush(Haste::Throughput);
        }
        let order: String = driven.forecasts.iter().map(|(symbol, _)| symbol.as_str()).collect();
        assert_eq!(order, "ABCBCACAB", "{mode}");
    }
}

#[test]
fn haste_changes_no_forecast() {
    for mode in MODES {
        let said = BOTH.map(|haste| {
            let mut driven = Driven::new(mode);
            for minute in 0..12 {
                for symbol in ["A", "B", "C"] {
                    let tick = tick(symbol, minute, price(symbol, minute));
                    driven.push_at(&tick, None, haste);
                }
            }
            driven.flush(haste);
            driven.forecasts
        });
        assert_eq!(said[0].len(), 3 * (12 - UNFORECAST), "{mode}");
        assert_eq!(said[0], said[1], "{mode}");
    }
}

/// A backend that notes every shape it is asked for.
struct Noting {
    inner: Box<dyn Backend>,
    shapes: Arc<Mutex<HashSet<Shape>>>,
}

impl Backend for Noting {
    fn lane(&mut self, shape: Shape) -> Result<Lane, InferenceError> {
        self.shapes.lock().unwrap().insert(shape);
        self.inner.lane(shape)
    }

    fn rows_mut(&mut self, lane: Lane) -> &mut [f32] {
        self.inner.rows_mut(lane)
    }

    fn state_mut(&mut self, lane: Lane, index: usize) -> &mut [f32] {
        self.inner.state_mut(lane, index)
    }

    fn run(&mut self, lane: Lane) -> Result<(), InferenceError> {
        self.inner.run(lane)
    }

    fn output(&self, lane: Lane) -> &[f32] {
        self.inner.output(lane)
    }

    fn next_state(&self, lane: Lane, index: usize) -> &[f32] {
        self.inner.next_state(lane, index)
    }
}

#[test]
fn prepared_runs_are_all_that_there_are() {
    let limits = EngineLimits { symbols_max: 40, batch_rows_max: 21 };
    for mode in MODES {
        let bundle = bundle(&served(mode));
        let shapes = Arc::default();
        let inner = bundle.open(&NullRuntime).unwrap();
        let backend = Box::new(Noting { inner, shapes: Arc::clone(&shapes) });
        let plans = bundle.plans().clone();
        let engine = Engine::new(plans, mode, bundle.signature(), backend, limits).unwrap();
        let mut driven = Driven { engine, forecasts: Vec::new() };
        driven.engine.prepare_runs().unwrap();
        let prepared = shapes.lock().unwrap().clone();
        // Batches of every number of symbols, as a quiet stream and a full queue have them.
        let batches = (1..=40).flat_map(|count| BOTH.map(|haste| (count, haste)));
        for (minute, (count, haste)) in (0..).zip(batches) {
            for name in (0..count).map(|index| format!("S{index}")) {
                driven.push_at(&tick(&name, minute, price(&name, minute)), None, haste);
            }
            driven.flush(haste);
        }
        assert!(driven.forecasts.len() > 1_000, "{mode}");
        let used = shapes.lock().unwrap().clone();
        assert_eq!(used.difference(&prepared).next(), None, "{mode}");
    }
}

#[test]
fn the_tally_of_bars_says_what_became_of_each_tick() {
    let bars = |manifest: &mut Manifest| {
        manifest.step = StepSpec {
            empty: EmptySteps::Carry,
            carry_steps_max: 2,
            ..StepSpec::time(manifest.step.interval_seconds)
        };
    };
    for mode in MODES {
        let mut driven = Driven::with(mode, bars);
        let seconds = |seconds: i64, close: f64| {
            let nanos = seconds * 1_000_000_000;
            Tick { time: UnixNanos::from_nanos(nanos), ..tick("A", 0, close) }
        };
        let ticks = [
            // Two ticks in the first bar, and one that closes it.
            (0, Pushed::Taken),
            (10, Pushed::Taken),
            (60, Pushed::Taken),
            // Closes its bar and two empty ones, which are carried.
            (240, Pushed::Taken),
            // Its bar is closed.
            (230, Pushed::Refused(Reject::Late)),
            (300, Pushed::Taken),
        ];
        for (offset, (second, became)) in (0..).zip(ticks) {
            let tick = seconds(second, 100.0 + second as f64 / 10.0);
            assert_eq!(driven.push_at(&tick, place(offset), Haste::Latency), became, "{second}");
            driven.assert_adds_up();
        }
        assert_eq!(driven.engine.tally().forecasts, 1, "the last step waits");
        let again = driven.push_at(&seconds(300, 1.0), place(5), Haste::Latency);
        assert_eq!(again, Pushed::Repeated);
        driven.engine.refuse(Reject::MissingField);
        driven.assert_adds_up();
        let tally = driven.engine.tally();
        let EngineTally { ticks, absorbed, steps, further, patched, .. } = *tally;
        assert_eq!((ticks, absorbed, steps, further, patched), (8, 2, 5, 2, 2), "{mode}");
        let EngineTally { warming, forecasts, repeats, resets, .. } = *tally;
        assert_eq!((warming, forecasts, repeats, resets), (3, 2, 1, 0), "{mode}");
        assert_eq!((tally.rejects.total(), tally.rejects.get(Reject::Late)), (2, 1));
        // Nobody knows what came before the first tick: its bar makes no row and hands this on.
        assert_eq!(driven.qualities("A"), [Quality::Gapped, Quality::Patched]);
    }
}

#[test]
fn a_symbol_too_many_is_refused_and_counted_and_the_others_go_on() {
    for mode in MODES {
        let limits = EngineLimits { symbols_max: 2, ..LIMITS };
        let mut driven = Driven::of(&bundle(&served(mode)), mode, limits);
        for minute in 0..8 {
            for symbol in ["A", "B", "C"] {
                let pushed = driven.push(&tick(symbol, minute, price(symbol, minute)));
                let refused = Pushed::Refused(Reject::TooManySymbols);
                assert_eq!(pushed, if symbol == "C" { refused } else { Pushed::Taken });
            }
        }
        driven.flush(Haste::Latency);
        driven.assert_adds_up();
        let tally = driven.engine.tally();
        assert_eq!(tally.rejects.get(Reject::TooManySymbols), 8);
        assert_eq!((tally.ticks, tally.steps), (24, 16));
        assert_eq!((driven.engine.symbol_count(), driven.engine.has_symbol("C")), (2, false));
        for symbol in ["A", "B"] {
            assert_eq!(driven.of_symbol(symbol), alone(mode, symbol, 0..8), "{mode}");
        }
        driven.engine.clear();
        assert_eq!(driven.push(&tick("C", 9, 1.0)), Pushed::Taken, "there is room again");
    }
}

#[test]
fn a_gap_marks_exactly_the_windows_that_hold_it() {
    let last = 12;
    for (mode, before) in MODES.into_iter().flat_map(|mode| (1..last).map(move |at| (mode, at))) {
        for every in [true, false] {
            let mut driven = Driven::new(mode);
            driven.run("A", 0..before);
            driven.run("B", 0..before);
            match every {
                true => driven.engine.mark_gap(),
                false => driven.engine.mark_gap_before("A", None),
            }
            driven.run("A", before..last);
            driven.run("B", before..last);
            let holds = |end: i64| (end - WINDOW_STEPS as i64 + 1..=end).contains(&before);
            let quality = |end| if holds(end) { Quality::Gapped } else { Quality::Full };
            let expected: Vec<_> = (UNFORECAST as i64..last).map(quality).collect();
            assert_eq!(driven.qualities("A"), expected, "{mode}, before {before}");
            let untouched = vec![Quality::Full; expected.len()];
            let of_other = if every { expected } else { untouched };
            assert_eq!(driven.qualities("B"), of_other, "{mode}, before {before}");
        }
    }
}

#[test]
fn what_the_policy_withholds_is_counted_and_changes_no_other_forecast() {
    for mode in MODES {
        let mut driven =
            Driven::withholding(mode, Withhold { gapped: true, ..Withhold::default() });
        driven.run("A", 0..6);
        driven.engine.mark_gap();
        driven.run("A", 6..12);
        driven.assert_adds_up();
        let tally = driven.engine.tally();
        assert_eq!(tally.withheld.get(Withheld::Gapped), WINDOW_STEPS as u64, "{mode}");
        let spoken = |forecast: &Forecast| !(time(6)..=time(8)).contains(&forecast.as_of);
        let values = |forecasts: Vec<Forecast>| -> Vec<_> {
            forecasts.iter().map(|forecast| (forecast.as_of, forecast.value)).collect()
        };
        let mut expected = alone(mode, "A", 0..12);
        expected.retain(spoken);
        assert_eq!(values(driven.of_symbol("A")), values(expected), "{mode}");
    }
}

#[test]
fn what_is_not_finite_is_withheld() {
    for mode in MODES {
        // It leaves the finite numbers at high prices.
        let weights = Weights { gain: 1e38, ..Weights::default() };
        let bundle = draft(manifest(&served(mode)), weights).into_bundle().unwrap();
        let mut driven = Driven::of(&bundle, mode, LIMITS);
        for minute in 0..6 {
            driven.push(&tick("high", minute, 180.0));
            driven.push(&tick("middle", minute, 100.0));
        }
        driven.flush(Haste::Latency);
        driven.assert_adds_up();
        let withheld = driven.engine.tally().withheld;
        assert_eq!(withheld.get(Withheld::Impossible), 6 - UNFORECAST as u64, "{mode}");
        let count = |symbol| driven.of_symbol(symbol).len();
        assert_eq!((count("high"), count("middle")), (0, 6 - UNFORECAST), "{mode}");
    }
}

#[test]
fn a_step_that_is_far_away_begins_a_cold_window() {
    for mode in MODES {
        let near = |manifest: &mut Manifest| manifest.step.gap_steps_max = Some(5);
        let mut driven = Driven::with(mode, near);
        // Five minutes between two steps are near, six are far.
        driven.run("A", (0..5).chain(9..12));
        assert_eq!(driven.engine.tally().resets, 0, "{mode}");
        driven.run("A", 17..23);
        driven.assert_adds_up();
        assert_eq!(driven.engine.tally().resets, 1, "{mode}");
        let start = driven.engine.newest_cold_start().unwrap();
        assert_eq!((start.before, start.after), (time(11), time(17)));
        let value = |forecast: &Forecast| (forecast.as_of, forecast.value);
        let all: Vec<_> = driven.of_symbol("A").iter().map(value).collect();
        let cold: Vec<_> = alone(mode, "A", 17..23).iter().map(value).collect();
        assert_eq!(all[all.len() - cold.len()..], cold, "{mode}");
        assert_eq!(all.len(), 8 - UNFORECAST + cold.len(), "{mode}");
    }
}

#[test]
fn a_symbol_that_comes_back_from_rest_goes_on_as_if_it_had_stayed() {
    let last = 12;
    for (mode, cut) in MODES.into_iter().flat_map(|mode| (0..last).map(move |at| (mode, at))) {
        let symbols = ["A", "B"];
        let push = |driven: &mut Driven, minutes: std::ops::Range<i64>| {
            for minute in minutes {
                for (symbol, of_symbol) in symbols.into_iter().zip([0, 1]) {
                    let (tick, place) = (
                        tick(symbol, minute, price(symbol, minute)),
                        place(2 * minute + of_symbol),
                    );
                    if minute == 5 {
                        driven.engine.mark_gap_before(symbol, place);
                    }
                    driven.push_at(&tick, place, Haste::Latency);
                }
            }
            driven.flush(Haste::Latency);
        };
        let mut stayed = Driven::new(mode);
        let end = last.max(cut + 2);
        push(&mut stayed, 0..end);
        let mut before = Driven::new(mode);
        push(&mut before, 0..cut);
        let at_rest = before.engine.snapshot();
        let mut after = Driven::new(mode);
        let refused = after.engine.restore(&at_rest, Some(PARTITION)).unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        // A restore computes nothing, and forecasts need no states. Every third time they are there
        // for one of the symbols, in the middle for both.
        let asleep = if mode == Mode::Sliding { at_rest.len() } else { 0 };
        assert_eq!(after.engine.asleep_count(), asleep, "{mode}, cut at {cut}");
        after.engine.wake(usize::from(cut % 3 == 0)).unwrap();
        // What the states hold is read again, and left out.
        push(&mut after, 0..cut + 2);
        if cut % 2 == 0 {
            after.engine.wake(usize::MAX).unwrap();
            assert_eq!(after.engine.asleep_count(), 0);
        }
        push(&mut after, cut + 2..end);
        let repeats = after.engine.tally().repeats;
        assert_eq!(repeats, 2 * cut as u64, "{mode}, cut at {cut}");
        for symbol in symbols {
            let mut said = before.of_symbol(symbol);
            said.extend(after.of_symbol(symbol));
            assert_eq!(said, stayed.of_symbol(symbol), "{mode}, cut at {cut}");
        }
        assert_eq!(after.engine.snapshot(), stayed.engine.snapshot(), "{mode}, cut at {cut}");
    }
}

#[test]
fn a_symbol_stays_with_its_partition_and_is_restored_once() {
    let mut driven = Driven::new(Mode::Sliding);
    let first = driven.push_at(&tick("A", 0, 1.0), place(7), Haste::Latency);
    assert_eq!(first, Pushed::Taken);
    let elsewhere = Some(Position { partition: PartitionId(4), offset: 8 });
    let other = driven.push_at(&tick("A", 1, 1.0), elsewhere, Haste::Latency);
    assert_eq!(other, Pushed::Refused(Reject::OtherPartition));
    let at_rest = driven.engine.snapshot();
    let refused = driven.engine.restore(&at_rest, Some(PARTITION)).unwrap();
    assert!(matches!(&refused[..], [RestoreError::Symbol(name)] if name == "A"), "{refused:?}");
    driven.engine.evict(PartitionId(4));
    assert!(driven.engine.has_symbol("A"), "it belongs to another partition");
    driven.engine.evict(PARTITION);
    assert_eq!(driven.engine.symbol_count(), 0);
}

#[test]
fn symbols_of_a_partition_whose_states_are_lost_begin_behind_the_loss_and_forecast_the_same() {
    let push = |driven: &mut Driven, minutes: std::ops::Range<i64>| {
        for minute in minutes {
            let tick = tick("A", minute, price("A", minute));
            driven.push_at(&tick, place(minute), Haste::Latency);
        }
        driven.flush(Haste::Latency);
    };
    let facts = |driven: &Driven| {
        let facts = driven.engine.symbol_facts(0).unwrap();
        (facts.last_gap, facts.newest_tick)
    };
    let mut plain = Driven::new(Mode::Sliding);
    let mut after_loss = Driven::new(Mode::Sliding);
    after_loss.engine.expect_loss(PARTITION);
    push(&mut plain, 0..2);
    push(&mut after_loss, 0..2);
    let (plain_gap, newest) = facts(&plain);
    assert_eq!(plain_gap, None);
    let (first, _) = facts(&after_loss);
    assert!(first.is_some() && first <= newest, "{first:?}");
    push(&mut plain, 2..12);
    push(&mut after_loss, 2..12);
    assert_eq!(facts(&after_loss).0, first, "told once");
    assert_eq!(after_loss.of_symbol("A"), plain.of_symbol("A"), "forecasts are not touched");
    // Who takes the partition over next knows nothing of it.
    after_loss.engine.evict(PARTITION);
    push(&mut after_loss, 12..14);
    assert_eq!(facts(&after_loss).0, None);
}

#[test]
fn every_state_can_be_handed_over_again() {
    let mut driven = Driven::new(Mode::Sliding);
    for symbol in ["A", "B"] {
        driven.push_at(&tick(symbol, 0, 1.0), place(1), Haste::Latency);
    }
    driven.flush(Haste::Latency);
    let take = |driven: &mut Driven| {
        let mut taken = Vec::new();
        driven.engine.take_changed(9, |_, state| taken.push(state.symbol().to_owned()));
        taken
    };
    assert_eq!(take(&mut driven), ["A", "B"]);
    assert_eq!(take(&mut driven), [""; 0]);
    driven.engine.note_all_changed();
    driven.engine.note_all_changed();
    assert_eq!(take(&mut driven), ["A", "B"], "each once");
}

#[test]
fn a_tick_waits_for_the_row_of_its_own_symbol_alone() {
    let mut driven = Driven::new(Mode::Sliding);
    driven.run("A", 0..6);
    let push =
        |driven: &mut Driven, symbol, minute| driven.engine.push(&tick(symbol, minute, 10.0), None);
    assert_eq!(push(&mut driven, "A", 6), Pushed::Taken);
    assert_eq!(push(&mut driven, "A", 7), Pushed::Waiting);
    assert_eq!(push(&mut driven, "B", 6), Pushed::Taken);
    let mut forecasts = Vec::new();
    driven.engine.infer(Haste::Latency, &mut forecasts).unwrap();
    assert_eq!(forecasts.len(), 1);
    assert_eq!(push(&mut driven, "A", 7), Pushed::Waiting, "its states have not moved on");
    driven.engine.advance().unwrap();
    assert_eq!(push(&mut driven, "A", 7), Pushed::Taken);
    assert_eq!(driven.engine.tally().ticks, 9, "ticks that wait are not counted");
}

#[test]
fn an_engine_that_takes_over_says_what_the_other_version_would_have_said() {
    for mode in MODES {
        let mut old = Driven::new(mode);
        for symbol in ["A", "B"] {
            old.run(symbol, 0..7);
        }
        let weights = Weights { bias: 0.5, ..Weights::default() };
        let other = draft(manifest(&served(mode)), weights).into_bundle().unwrap();
        let mut new = Driven::of(&other, mode, LIMITS);
        let inherited = new.engine.inherit(&old.engine, &Heritage::Rows).unwrap();
        assert_eq!(inherited, Inherited { kept: 2, rescaled: 0, cold: 0 });
        assert_eq!(new.engine.tally(), old.engine.tally());
        let asleep = if mode == Mode::Sliding { 2 } else { 0 };
        assert_eq!(new.engine.asleep_count(), asleep, "{mode}");
        for symbol in ["A", "B"] {
            new.run(symbol, 7..8);
            let forecasts = new.of_symbol(symbol);
            assert_eq!(forecasts.len(), 1, "{mode}");
            // In mode `carried` the states follow from the rows of the window alone.
            let mut fresh = Driven::of(&other, mode, LIMITS);
            let first = 7 - WINDOW_STEPS as i64 - WARM_UP_STEPS as i64;
            fresh.run(symbol, first..8);
            let expected = fresh.of_symbol(symbol).last().unwrap().value;
            assert_eq!(forecasts[0].value, expected, "{mode}");
        }
        assert_eq!(new.engine.asleep_count(), asleep, "no forecast needed states");
    }
}

#[test]
fn forecasts_keep_the_order_of_their_ticks_whoever_sleeps() {
    for haste in BOTH {
        let mut old = Driven::new(Mode::Sliding);
        let symbols = ["A", "B", "C", "D"];
        symbols.into_iter().for_each(|symbol| old.run(symbol, 0..6));
        let mut new = Driven::new(Mode::Sliding);
        new.engine.inherit(&old.engine, &Heritage::Rows).unwrap();
        // The last ones are woken first.
        new.engine.wake(2).unwrap();
        let mut said = Vec::new();
        for minute in 6..9 {
            for symbol in ["D", "A", "C", "B"] {
                let tick = tick(symbol, minute, price(symbol, minute));
                assert_eq!(new.engine.push(&tick, None), Pushed::Taken);
            }
            // A row in inference keeps its symbol asleep.
            new.engine.wake(1).unwrap();
            assert_eq!(new.engine.asleep_count(), 2);
            let mut forecasts = Vec::new();
            new.engine.infer(haste, &mut forecasts).unwrap();
            new.engine.advance().unwrap();
            let name = |forecast: &Forecast| new.engine.symbol(forecast.symbol).as_str().to_owned();
            said.extend(
                forecasts.iter().map(|forecast| (name(forecast), forecast.value.to_bits())),
            );
        }
        let mut whole = Driven::new(Mode::Sliding);
        symbols.into_iter().for_each(|symbol| whole.run(symbol, 0..9));
        let expected: Vec<_> = (3..6)
            .flat_map(|place| ["D", "A", "C", "B"].map(|symbol| (symbol.to_owned(), place)))
            .map(|(symbol, place)| {
                let value = whole.of_symbol(&symbol)[place].value.to_bits();
                (symbol, value)
            })
            .collect();
        assert_eq!(said, expected, "{haste:?}");
    }
}

#[test]
fn scores_wait_for_the_steps_that_are_their_truths() {
    let mut driven = Driven::new(Mode::Full);
    driven.engine.scores_mut().keep();
    driven.run("A", 0..8);
    let count = driven.forecasts.len() as u64;
    let tally = *driven.engine.scores().tally();
    assert_eq!((tally.scores, tally.waiting), (count - 1, 1), "the newest has no truth yet");
    assert_eq!(driven.engine.scores_mut().take().count() as u64, count - 1);
}

/// What happens to an engine.
#[derive(Clone, Debug)]
enum Event {
    /// A tick of a symbol, so many seconds after its newest one.
    Tick {
        symbol: usize,
        seconds: i64,
    },
    Flush(Haste),
}

fn event() -> impl Strategy<Value = Event> {
    let tick = (0..3usize, -60..400i64);
    prop_oneof![
        8 => tick.prop_map(|(symbol, seconds)| Event::Tick { symbol, seconds }),
        1 => Just(Event::Flush(Haste::Latency)),
        1 => Just(Event::Flush(Haste::Throughput)),
    ]
}

/// Bars of a minute that carry, and whose windows begin cold behind seven minutes.
fn bars(mode: Mode) -> Driven {
    Driven::with(mode, |manifest| {
        manifest.step = StepSpec {
            empty: EmptySteps::Carry,
            carry_steps_max: 3,
            gap_steps_max: Some(7),
            ..StepSpec::time(manifest.step.interval_seconds)
        };
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_adds_up_and_keeps_symbols_apart(
        events in proptest::collection::vec(event(), 0..120),
    ) {
        const SYMBOLS: [&str; 3] = ["A", "B", "C"];
        for mode in MODES {
            let mut together = bars(mode);
            let mut apart = SYMBOLS.map(|_| bars(mode));
            let mut newest = [0; SYMBOLS.len()];
            let mut haste = Haste::Latency;
            for event in &events {
                match *event {
                    Event::Tick { symbol, seconds } => {
                        let second = (newest[symbol] + seconds).max(0);
                        newest[symbol] = second.max(newest[symbol]);
                        let close = 40.0 + (second % 97) as f64;
                        let time = UnixNanos::from_nanos(second * 1_000_000_000);
                        let tick = Tick { time, ..tick(SYMBOLS[symbol], 0, close) };
                        let pushed = together.push_at(&tick, None, haste);
                        let alone = apart[symbol].push(&tick);
                        prop_assert_eq!(pushed, alone);
                    }
                    Event::Flush(next) => {
                        haste = next;
                        together.flush(haste);
                    }
                }
                together.assert_adds_up();
            }
            together.flush(haste);
            together.assert_adds_up();
            let mut sum = EngineTally::default();
            for (symbol, alone) in SYMBOLS.into_iter().zip(&mut apart) {
                alone.flush(Haste::Latency);
                prop_assert_eq!(together.of_symbol(symbol), alone.of_symbol(symbol));
                sum.merge(alone.engine.tally());
            }
            prop_assert_eq!(together.engine.tally(), &sum);
        }
    }
}

#[test]
fn rows_are_scaled_over_unless_they_were_cut_off() {
    let with = |clips| {
        let mut manifest = manifest(&[Mode::Full]);
        let ranges = manifest.scaler.ranges();
        let columns = manifest.features.iter().zip(ranges);
        let column = |(feature, [min, max]): (&String, [f64; 2])| ColumnRange {
            feature: feature.clone(),
            min,
            max,
        };
        manifest.scaler = Scaler::scikit_minmax([0.0, 1.0], clips, columns.map(column).collect());
        manifest
    };
    let between = |old: &Manifest, new: &Manifest| {
        Heritage::between(old, new, &old.plans().unwrap().features)
    };
    let plain = manifest(&[Mode::Full]);
    assert!(matches!(between(&with(true), &with(true)), Heritage::Rows));
    assert!(matches!(between(&with(false), &plain), Heritage::Rescaled { .. }));
    assert!(matches!(between(&plain, &with(true)), Heritage::Rescaled { .. }));
    let Heritage::Nothing { because } = between(&with(true), &plain) else {
        panic!("what was cut off was scaled back")
    };
    assert_eq!(because, "the clipping scaler");
}
