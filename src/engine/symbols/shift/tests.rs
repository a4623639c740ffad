//! Tests of inputs in the engine: which rows count, and what survives rest and company.

use proptest::prelude::*;

use super::super::tests::{Driven, LIMITS, MODES, UNFORECAST, place, served};
use crate::core::domain::{DurationNanos, Forecast, InputShift, Step, SymbolId};
use crate::core::features::RowStatus;
use crate::core::history::{Missing, Origin, Seam};
use crate::core::shift::{DistributionSpec, ShiftBook, ShiftState, ShiftTally, fit};
use crate::engine::model::manifest::Mode;
use crate::engine::model::{Bundle, Heritage};
use crate::engine::symbols::{EnginePolicy, Haste, Pushed, SymbolSnapshot, WhenShifted, Withheld};
use crate::engine::test_support::{Weights, bundle, draft, manifest, price, tick, time};

/// The rows of minutes of symbol A as training data.
fn distribution() -> DistributionSpec {
    let plain = bundle(&[Mode::Full]);
    let features = &plain.plans().features;
    let (mut state, mut scratch) = (features.raw().initial_state(), features.raw().scratch());
    let mut rows = Vec::new();
    for minute in 0..600 {
        let fields = tick("A", minute, price("A", minute)).fields;
        let step = Step { time: time(minute), fields, after_gap: false, patched: false };
        let status = features.row(&state, &step, &mut scratch).unwrap();
        state.absorb(&scratch);
        if status != RowStatus::Warming {
            rows.extend_from_slice(scratch.row());
        }
    }
    fit(features.width(), &[&rows], [time(0), time(599)]).unwrap()
}

/// The bundle of these modes with that distribution.
fn judging(mode: Mode) -> Bundle {
    let mut manifest = manifest(&served(mode));
    manifest.distribution = Some(distribution());
    draft(manifest, Weights::default()).into_bundle().unwrap()
}

fn driven(mode: Mode) -> Driven {
    Driven::of(&judging(mode), mode, LIMITS)
}

/// Pushes the price of every minute `factor` times.
fn run(driven: &mut Driven, minutes: std::ops::Range<i64>, factor: f64) {
    for minute in minutes {
        let pushed = driven.push(&tick("A", minute, factor * price("A", minute)));
        assert_eq!(pushed, Pushed::Taken);
        driven.flush(Haste::Latency);
    }
}

fn id() -> SymbolId {
    SymbolId::from_index(0).unwrap()
}

fn counts(driven: &Driven) -> ShiftState {
    driven.engine.inputs().unwrap().rest(id())
}

fn shifts(driven: &Driven) -> Vec<InputShift> {
    driven.of_symbol("A").iter().map(|forecast| forecast.shift).collect()
}

#[test]
fn inputs_are_marked_while_they_are_not_those_of_the_training() {
    let mut driven = driven(Mode::Sliding);
    driven.engine.scores_mut().keep();
    run(&mut driven, 0..100, 1.0);
    let early = shifts(&driven);
    assert!(early.iter().all(|shift| *shift == InputShift::Within));
    assert_eq!(early.len(), 100 - UNFORECAST);
    run(&mut driven, 100..200, 1.5);
    let marked = shifts(&driven)[early.len()..].to_vec();
    let first = marked.iter().position(|shift| *shift != InputShift::Within).unwrap();
    assert!((1..40).contains(&first), "{first}");
    for shift in &marked[first..] {
        let InputShift::Shifted { feature: 0, psi } = shift else { panic!("{shift:?}") };
        assert!(*psi > 0.15, "{psi}");
    }
    assert_eq!(driven.engine.tally().shifts, 1);
    let ShiftTally { judged, shifted, beyond, .. } = driven.engine.inputs().unwrap().tally();
    assert_eq!((*judged, *shifted, &beyond[..]), (1, 1, &[1, 0][..]));
    // The memory forgets, and what the scores say is what was known before the truth.
    run(&mut driven, 200..600, 1.0);
    assert_eq!(shifts(&driven).last(), Some(&InputShift::Within));
    let scores: Vec<_> = driven.engine.scores_mut().take().collect();
    let forecasts = driven.of_symbol("A");
    assert_eq!(scores.len(), forecasts.len() - 1);
    for (score, forecast) in scores.iter().zip(&forecasts) {
        assert_eq!(score.as_of, forecast.as_of);
        assert_eq!(score.shifted, forecast.shift.is_shifted(), "a horizon of one step");
    }
    driven.assert_adds_up();
}

#[test]
fn nothing_is_judged_without_a_distribution() {
    let mut driven = Driven::of(&bundle(&served(Mode::Full)), Mode::Full, LIMITS);
    run(&mut driven, 0..100, 1.5);
    assert!(driven.engine.inputs().is_none());
    assert!(shifts(&driven).iter().all(|shift| *shift == InputShift::Unknown));
}

#[test]
fn shifted_forecasts_are_withheld_and_never_scored_where_that_is_asked_for() {
    let mut marking = driven(Mode::Full);
    run(&mut marking, 0..200, 1.5);
    let bundle = judging(Mode::Full);
    let when_shifted = WhenShifted::Withhold;
    let policy = EnginePolicy { when_shifted, ..EnginePolicy::default() };
    let mut withholding = Driven::of(&bundle, Mode::Full, LIMITS);
    withholding.engine = withholding.engine.with_policy(policy);
    run(&mut withholding, 0..200, 1.5);
    let is_shifted = |forecast: &&Forecast| forecast.shift.is_shifted() == Some(true);
    let marked = marking.of_symbol("A");
    let shifted = marked.iter().filter(is_shifted).count();
    assert!(shifted > 100, "{shifted}");
    let said = withholding.of_symbol("A");
    assert_eq!(said.len(), marked.len() - shifted);
    assert!(said.iter().all(|forecast| forecast.shift.is_shifted() != Some(true)));
    let withheld = withholding.engine.tally().withheld;
    assert_eq!(withheld.get(Withheld::Shifted), shifted as u64);
    assert_eq!(withholding.engine.scores().tally().scores, said.len() as u64);
    withholding.assert_adds_up();
}

#[test]
fn a_window_that_comes_again_from_history_is_counted_once() {
    let mut driven = driven(Mode::Sliding);
    run(&mut driven, 0..60, 1.0);
    let before = counts(&driven);
    driven.engine.begin_history("A", Missing::Warm).unwrap();
    let minute = DurationNanos::from_seconds(60).unwrap();
    driven.engine.set_origin(Origin::History(Seam { is_joined: true, covers: minute }));
    run(&mut driven, 50..60, 1.0);
    driven.engine.set_origin(Origin::Live);
    driven.engine.end_history("A", Missing::Warm, false);
    assert_eq!(counts(&driven), before);
    driven.engine.meet_live("A", time(60));
    run(&mut driven, 60..61, 1.0);
    assert_ne!(counts(&driven), before);
}

#[test]
fn a_symbol_that_leaves_takes_its_part_along() {
    let mut driven = driven(Mode::Full);
    for minute in 0..60 {
        for symbol in ["A", "B"] {
            let tick = tick(symbol, minute, 1.5 * price(symbol, minute));
            driven.push_at(&tick, place(2 * minute + i64::from(symbol == "B")), Haste::Latency);
        }
        driven.flush(Haste::Latency);
    }
    assert_eq!(driven.engine.inputs().unwrap().tally().judged, 2);
    driven.engine.clear();
    let ShiftTally { judged, shifted, sums, beyond } = driven.engine.inputs().unwrap().tally();
    assert_eq!((*judged, *shifted), (0, 0));
    assert!(sums.iter().chain(beyond).all(|sum| *sum == 0));
}

/// What is known of a symbol's inputs in another model, or in a state of an older layout, are the
/// rows of its window.
#[test]
fn another_version_begins_with_the_rows_of_the_window() {
    let mut old = driven(Mode::Sliding);
    run(&mut old, 0..100, 1.5);
    let snapshot = old.engine.snapshot().remove(0);
    let of_window = |driven: &Driven| {
        let window = driven.engine.symbols[0].window.rows();
        let mut book = ShiftBook::new(driven.engine.inputs().unwrap().plan().clone());
        book.restore_symbol(None, window);
        book.rest(id())
    };
    let restored = |snapshot: SymbolSnapshot| {
        let mut driven = driven(Mode::Sliding);
        assert!(driven.engine.restore(&[snapshot], None).unwrap().is_empty());
        driven
    };
    assert_eq!(counts(&restored(snapshot.clone())), counts(&old));
    let of_layout_5 = restored(snapshot.without_shift());
    assert_eq!(counts(&of_layout_5), of_window(&old));
    let mut new = driven(Mode::Sliding);
    new.engine.inherit(&old.engine, &Heritage::Rows).unwrap();
    assert_eq!(counts(&new), of_window(&old));
    // A bundle without a distribution keeps nothing.
    let mut plain = Driven::of(&bundle(&served(Mode::Sliding)), Mode::Sliding, LIMITS);
    assert!(plain.engine.restore(&old.engine.snapshot(), None).unwrap().is_empty());
    assert!(plain.engine.inputs().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Restarts at any place change no judgement, in any mode, beside another symbol or alone.
    #[test]
    fn a_restart_changes_no_judgement(
        factors in prop::collection::vec(prop::sample::select(vec![1.0, 1.0, 1.5, 0.5]), 3..6),
        stops in prop::collection::vec(0..300i64, 0..4),
        mode in prop::sample::select(MODES.to_vec()),
        haste in prop::sample::select(vec![Haste::Latency, Haste::Throughput]),
    ) {
        let bundle = judging(mode);
        let close = |symbol: &str, minute: i64| {
            let factor = factors[usize::try_from(minute / 60).unwrap() % factors.len()];
            factor * price(symbol, minute)
        };
        let mut alone = Driven::of(&bundle, mode, LIMITS);
        let mut said = Vec::new();
        let mut driven = Driven::of(&bundle, mode, LIMITS);
        for minute in 0..300 {
            alone.push(&tick("A", minute, close("A", minute)));
            alone.flush(Haste::Latency);
            for symbol in ["B", "A"] {
                driven.push_at(&tick(symbol, minute, close(symbol, minute)), None, haste);
            }
            driven.flush(haste);
            if stops.contains(&minute) {
                said.extend(driven.of_symbol("A"));
                let states = driven.engine.snapshot();
                driven = Driven::of(&bundle, mode, LIMITS);
                prop_assert!(driven.engine.restore(&states, None).unwrap().is_empty());
            }
        }
        said.extend(driven.of_symbol("A"));
        prop_assert_eq!(said, alone.of_symbol("A"));
        let judged = driven.engine.inputs().unwrap().tally().judged;
        prop_assert_eq!(judged, 2);
    }
}
