//! Tests of rows that go without inference: what they leave behind in the state of their symbol.

use super::super::tests::{Driven, LIMITS, UNFORECAST, place, served};
use crate::core::domain::{DurationNanos, PartitionId};
use crate::core::features::{ColumnRange, Scaler};
use crate::core::history::{Origin, Seam};
use crate::engine::model::manifest::Mode;
use crate::engine::model::{Bundle, Heritage};
use crate::engine::symbols::{Haste, Pushed, Withheld};
use crate::engine::test_support::{Weights, bundle, draft, manifest, price, tick};

/// A model whose features are ready at the first step.
fn ready_at_once() -> Bundle {
    let mut manifest = manifest(&[Mode::Full, Mode::Sliding]);
    manifest.features = ["close", "log(close)"].map(str::to_owned).into();
    let range = |feature: &str, min, max| ColumnRange { feature: feature.to_owned(), min, max };
    let columns = vec![range("close", 0.0, 200.0), range("log(close)", 0.0, 6.0)];
    manifest.scaler = Scaler::Minmax { low: -1.0, high: 1.0, columns };
    draft(manifest, Weights::default()).into_bundle().unwrap()
}

fn sliding(bundle: &Bundle) -> Driven {
    Driven::of(bundle, Mode::Sliding, LIMITS)
}

/// The counts of steps that were shed in the forecasts of a symbol.
fn shed_steps(driven: &Driven, symbol: &str) -> Vec<u64> {
    driven.of_symbol(symbol).iter().map(|forecast| forecast.shed_steps).collect()
}

/// Runs minutes with the inference of some left out.
fn shedding(driven: &mut Driven, symbol: &str, minutes: std::ops::Range<i64>) {
    driven.engine.shed_rows(true);
    driven.run(symbol, minutes);
    driven.engine.shed_rows(false);
}

#[test]
fn a_row_of_history_is_never_left_out() {
    for mode in [Mode::Full, Mode::Sliding] {
        let bundle = bundle(&served(mode));
        let mut whole = Driven::of(&bundle, mode, LIMITS);
        whole.run("A", 0..14);
        let whole = whole.of_symbol("A");
        let mut driven = Driven::of(&bundle, mode, LIMITS);
        driven.engine.allow_shedding(true);
        driven.engine.publish_history(true);
        driven.engine.shed_rows(true);
        let rows = Origin::History(Seam { is_joined: true, covers: DurationNanos::ZERO });
        driven.engine.set_origin(rows);
        for minute in 0..10 {
            assert_eq!(driven.push(&tick("A", minute, price("A", minute))), Pushed::Taken);
            // A batch that gets late sheds what waits.
            driven.engine.shed_rows(true);
            driven.flush(Haste::Latency);
        }
        assert_eq!(driven.of_symbol("A"), whole[..10 - UNFORECAST], "{mode:?}");
        driven.engine.set_origin(Origin::Live);
        driven.run("A", 10..12);
        assert_eq!(driven.engine.tally().withheld.get(Withheld::Shed), 2, "{mode:?}");
        driven.engine.set_origin(rows);
        driven.run("A", 12..14);
        let last: Vec<_> = driven.of_symbol("A").iter().map(|said| said.value).rev().collect();
        let expected: Vec<_> = whole.iter().map(|said| said.value).rev().collect();
        assert_eq!(last[..2], expected[..2], "{mode:?}: they rest on all rows");
        assert_eq!(shed_steps(&driven, "A")[10 - UNFORECAST..], [2, 2]);
    }
}

#[test]
fn a_symbol_that_begins_cold_while_it_sleeps_is_woken_once_and_says_what_a_new_one_says() {
    let bundle = ready_at_once();
    let mut old = sliding(&bundle);
    ["A", "B"].into_iter().for_each(|symbol| old.run(symbol, 0..6));
    let mut driven = sliding(&bundle);
    driven.engine.allow_shedding(true);
    driven.engine.inherit(&old.engine, &Heritage::Rows).unwrap();
    driven.engine.expect_gap(DurationNanos::from_seconds(60).unwrap());
    assert_eq!(driven.engine.asleep_count(), 2);
    driven.engine.shed_rows(true);
    for symbol in ["A", "B"] {
        // Its first tick comes too late for the window, in a batch that is late as well.
        let pushed = driven.engine.push(&tick(symbol, 100, price(symbol, 100)), None);
        assert_eq!(pushed, Pushed::Taken);
    }
    assert_eq!((driven.engine.stale_count(), driven.engine.asleep_count()), (2, 2));
    driven.engine.shed_rows(false);
    driven.engine.wake(8).unwrap();
    assert_eq!(driven.engine.asleep_count(), 0);
    let mut alone = sliding(&bundle);
    for symbol in ["A", "B"] {
        driven.run(symbol, 101..106);
        alone.run(symbol, 100..106);
        let values = |driven: &Driven| {
            let forecasts = driven.of_symbol(symbol);
            forecasts.iter().map(|forecast| forecast.value.to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(values(&driven), values(&alone), "{symbol}");
        assert_eq!(values(&alone).len(), 4);
    }
}

#[test]
fn a_tick_of_a_symbol_that_sleeps_in_a_batch_that_becomes_late_is_shed() {
    let mut driven = sliding(&bundle(&served(Mode::Sliding)));
    driven.engine.allow_shedding(true);
    driven.run("A", 0..6);
    shedding(&mut driven, "A", 6..7);
    let tick = tick("A", 7, price("A", 7));
    assert_eq!(driven.engine.push(&tick, None), Pushed::Taken);
    driven.engine.shed_rows(true);
    driven.flush(Haste::Throughput);
    assert_eq!(driven.engine.asleep_count(), 1, "nothing was computed");
    driven.engine.shed_rows(false);
    driven.run("A", 8..9);
    assert_eq!(shed_steps(&driven, "A"), [0, 0, 0, 2]);
}

#[test]
fn the_count_of_shed_steps_is_part_of_the_state_of_the_symbol() {
    for mode in [Mode::Full, Mode::Sliding] {
        let bundle = bundle(&served(mode));
        let new = || {
            let mut driven = Driven::of(&bundle, mode, LIMITS);
            driven.engine.allow_shedding(true);
            driven
        };
        let mut driven = new();
        // What is shed while the window fills would have had no forecast.
        shedding(&mut driven, "A", 0..2);
        driven.run("A", 2..5);
        shedding(&mut driven, "A", 5..9);
        driven.run("A", 9..11);
        driven.run("B", 0..4);
        assert_eq!(shed_steps(&driven, "A"), [0, 0, 4, 4], "{mode}");
        assert_eq!(shed_steps(&driven, "B"), [0], "{mode}");
        assert_eq!(UNFORECAST, 3);

        let states = driven.engine.snapshot();
        let mut restored = new();
        let partition = Some(PartitionId(3));
        assert!(restored.engine.restore(&states, partition).unwrap().is_empty());
        // A window that begins cold is still one whose scores lack what was shed before.
        restored.engine.expect_gap(DurationNanos::from_seconds(60).unwrap());
        for minute in 100..104 {
            let tick = tick("A", minute, price("A", minute));
            restored.push_at(&tick, place(minute), Haste::Latency);
        }
        restored.flush(Haste::Latency);
        assert_eq!((shed_steps(&restored, "A"), restored.engine.stale_count()), (vec![4], 1));

        // Another version has scores of its own, which lack nothing.
        let translated = states.into_iter();
        let translated: Vec<_> = translated
            .filter_map(|state| driven.engine.translate(state, &Heritage::Rows))
            .collect();
        let mut next = new();
        assert!(next.engine.restore_translated(&translated, partition).unwrap().is_empty());
        next.run("A", 11..12);
        let mut swapped = new();
        swapped.engine.inherit(&driven.engine, &Heritage::Rows).unwrap();
        swapped.run("A", 11..12);
        assert_eq!((shed_steps(&next, "A"), shed_steps(&swapped, "A")), (vec![0], vec![0]));
    }
}
