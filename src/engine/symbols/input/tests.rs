//! Models that read columns of the symbol, through the life of an engine.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::tests::{Driven, LIMITS, MODES, PARTITION, place, served};
use super::super::{Haste, Inherited, Pushed};
use super::*;
use crate::core::domain::{Forecast, Quality};
use crate::core::features::{ColumnRange, RowStatus, Scaler, SymbolTable};
use crate::core::window::RowFacts;
use crate::engine::model::manifest::Mode;
use crate::engine::model::{Bundle, Heritage};
use crate::engine::test_support::{
    WARM_UP_STEPS, WINDOW_STEPS, Weights, draft_for, manifest, price, tick,
};

/// A table of `A` and `B`, and of every other symbol.
fn table([a, b, unknown]: [f32; 3]) -> SymbolTable {
    let columns = |value: f32| vec![value, -3.0 * value];
    let symbols = BTreeMap::from([("A".to_owned(), columns(a)), ("B".to_owned(), columns(b))]);
    SymbolTable::new(vec!["size".to_owned()], 1, symbols, columns(unknown))
}

/// A model that tells symbols apart.
fn bundle(mode: Mode, version: &str, columns: [f32; 3]) -> Bundle {
    let mut manifest = manifest(&served(mode));
    manifest.version = version.to_owned();
    draft_for(manifest, Weights::default(), Some(table(columns))).into_bundle().unwrap()
}

/// What a model says of a symbol that begins with these minutes, computed from its rows.
fn expected(bundle: &Bundle, mode: Mode, symbol: &str, minutes: Range<i64>) -> Vec<f64> {
    let features = &bundle.plans().features;
    let entry = features.entry(symbol);
    let (mut state, mut scratch) = (features.raw().initial_state(), features.raw().scratch());
    let mut rows = Vec::new();
    for minute in minutes {
        let tick = tick(symbol, minute, price(symbol, minute));
        let (time, fields) = (tick.time, tick.fields);
        let step = crate::core::domain::Step { time, fields, after_gap: false, patched: false };
        let status = features.row_of(entry, &state, &step, &mut scratch).unwrap();
        state.absorb(&scratch);
        if status != RowStatus::Warming {
            rows.push(features.input_row(entry, scratch.row()));
        }
    }
    let scaler = bundle.manifest().target.scaler.single().unwrap();
    let first = |end: usize| if mode == Mode::Carried { 0 } else { end - WINDOW_STEPS };
    let value = |end: usize| Weights::default().forward(&rows[first(end)..end]);
    (WINDOW_STEPS..=rows.len()).map(|end| scaler.invert(f64::from(value(end)))).collect()
}

fn values(forecasts: &[Forecast]) -> Vec<f64> {
    forecasts.iter().map(|forecast| forecast.value).collect()
}

#[test]
fn the_columns_of_the_symbol_follow_the_features_of_every_row() {
    let mut window = Window::new(2, 2);
    window.push(&[1.0, 2.0], RowFacts::default());
    window.push(&[3.0, 4.0], RowFacts::default());
    let input = InputWindow { window: &window, symbol: &[9.0] };
    let mut room = [0.0; 3];
    let rows: Vec<f32> = input.rows().flat_map(|row| row.joined(&mut room).to_vec()).collect();
    assert_eq!((rows, input.len()), (vec![1.0, 2.0, 9.0, 3.0, 4.0, 9.0], 2));
}

#[test]
fn each_symbol_is_forecast_from_its_columns_and_an_unknown_one_from_those_of_the_table() {
    for mode in MODES {
        for haste in [Haste::Latency, Haste::Throughput] {
            let bundle = bundle(mode, "1", [0.5, -0.25, 0.125]);
            let mut driven = Driven::of(&bundle, mode, LIMITS);
            for minute in 0..12 {
                for symbol in ["A", "B", "C"] {
                    let tick = tick(symbol, minute, price(symbol, minute));
                    assert_eq!(driven.push_at(&tick, None, haste), Pushed::Taken);
                }
            }
            driven.flush(haste);
            for symbol in ["A", "B", "C"] {
                let expected = expected(&bundle, mode, symbol, 0..12);
                assert_eq!(values(&driven.of_symbol(symbol)), expected, "{mode} {symbol}");
                assert_eq!(expected.len(), 12 - WARM_UP_STEPS - WINDOW_STEPS + 1);
            }
            assert_eq!(driven.engine.unknown_count(), 1, "C");
        }
    }
}

#[test]
fn a_symbol_keeps_its_columns_over_rest_a_removal_of_others_and_a_cold_start() {
    for mode in MODES {
        let bundle = bundle(mode, "1", [0.5, -0.25, 0.125]);
        let mut driven = Driven::of(&bundle, mode, LIMITS);
        for (symbol, partition) in [("C", 0), ("A", 1), ("B", 0)] {
            for minute in 0..8 {
                let mut position = place(minute).unwrap();
                position.partition.0 += partition;
                let tick = tick(symbol, minute, price(symbol, minute));
                driven.push_at(&tick, Some(position), Haste::Latency);
            }
        }
        driven.flush(Haste::Latency);
        let stored = driven.engine.snapshot();
        // B takes the place of C in the dense index, and then that of A.
        let mut other = PARTITION;
        other.0 += 1;
        assert_eq!(driven.engine.unknown_count(), 1);
        driven.engine.evict(other);
        driven.engine.evict(PARTITION);
        assert_eq!((driven.engine.symbol_count(), driven.engine.unknown_count()), (0, 0));
        let mut again = Driven::of(&bundle, mode, LIMITS);
        assert!(again.engine.restore(&stored, None).unwrap().is_empty());
        assert_eq!(again.engine.unknown_count(), 1);
        again.engine.wake(2).unwrap();
        for symbol in ["A", "B", "C"] {
            again.run(symbol, 8..14);
            let expected = expected(&bundle, mode, symbol, 0..14);
            let known = expected.len() - 6;
            assert_eq!(values(&again.of_symbol(symbol)), expected[known..], "{mode} {symbol}");
        }
        again.engine.clear();
        again.run("A", 20..30);
        let of_a = values(&again.of_symbol("A"));
        assert_eq!(of_a[6..], expected(&bundle, mode, "A", 20..30), "{mode}");
    }
}

#[test]
fn windows_go_over_to_a_version_with_another_table_exactly() {
    for mode in MODES {
        let old = bundle(mode, "1", [0.5, -0.25, 0.125]);
        let new = bundle(mode, "2", [-1.0, 0.75, 0.0]);
        assert_ne!(old.manifest().symbols, new.manifest().symbols);
        let features = &old.plans().features;
        let heritage = Heritage::between(old.manifest(), new.manifest(), features);
        assert!(matches!(heritage, Heritage::Rows), "rows hold no column of a symbol");
        let mut before = Driven::of(&old, mode, LIMITS);
        before.run("A", 0..9);
        before.run("C", 0..9);
        let mut after = Driven::of(&new, mode, LIMITS);
        let inherited = after.engine.inherit(&before.engine, &heritage).unwrap();
        assert_eq!(inherited, Inherited { kept: 2, rescaled: 0, cold: 0 });
        let sample = before.engine.snapshot().swap_remove(0);
        assert_eq!(after.engine.try_window(&sample).unwrap(), Some(true));
        for symbol in ["A", "C"] {
            after.run(symbol, 9..12);
            // A carried state begins with the first row of the window that was taken over.
            let first = 9 - (WARM_UP_STEPS + WINDOW_STEPS) as i64;
            let expected = expected(&new, mode, symbol, first..12);
            assert_eq!(values(&after.of_symbol(symbol)), expected[1..], "{mode} {symbol}");
        }
    }
}

#[test]
fn only_symbols_with_another_scaler_are_scaled_over() {
    let minmax = |most: f64| {
        let range = |feature: &str, min, max| ColumnRange { feature: feature.into(), min, max };
        let columns = vec![range("close", 0.0, most), range("change", -0.5, 0.5)];
        Scaler::Minmax { low: -1.0, high: 1.0, columns }
    };
    let with = |version: &str, of_b: f64| {
        let mut manifest = manifest(&[Mode::Full, Mode::Sliding]);
        manifest.version = version.to_owned();
        let own = [("A", 100.0), ("B", of_b)].map(|(name, most)| (name.to_owned(), minmax(most)));
        let table = table([0.5, -0.25, 0.125]).with_scalers(BTreeMap::from(own));
        draft_for(manifest, Weights::default(), Some(table)).into_bundle().unwrap()
    };
    let (old, new) = (with("1", 100.0), with("2", 400.0));
    let features = &old.plans().features;
    let heritage = Heritage::between(old.manifest(), new.manifest(), features);
    assert!(matches!(heritage, Heritage::Rescaled { .. }));
    assert!(matches!(Heritage::between(old.manifest(), old.manifest(), features), Heritage::Rows));
    // Without its table, nothing is known of how the rows of the old version were scaled.
    let blind = old.manifest().plans().unwrap().features;
    let nothing = Heritage::between(old.manifest(), new.manifest(), &blind);
    assert!(matches!(nothing, Heritage::Nothing { because: "the scalers of symbols" }));
    let mode = Mode::Sliding;
    let mut before = Driven::of(&old, mode, LIMITS);
    ["A", "B", "C"].iter().for_each(|symbol| before.run(symbol, 0..9));
    let mut after = Driven::of(&new, mode, LIMITS);
    after.engine.inherit(&before.engine, &heritage).unwrap();
    for (symbol, quality) in [("A", Quality::Full), ("B", Quality::Patched), ("C", Quality::Full)] {
        after.run(symbol, 9..10);
        let forecast = after.of_symbol(symbol)[0];
        assert_eq!(forecast.quality, quality, "{symbol}");
        let first = 9 - (WARM_UP_STEPS + WINDOW_STEPS - 1) as i64;
        let expected = expected(&new, mode, symbol, first..10)[0];
        assert!((forecast.value - expected).abs() < 1e-6, "{symbol}");
        if quality == Quality::Full {
            assert_eq!(forecast.value.to_bits(), expected.to_bits(), "{symbol}");
        }
    }
}

#[test]
fn a_golden_case_with_the_columns_of_another_symbol_is_refused() {
    let draft = || draft_for(manifest(&[Mode::Full]), Weights::default(), Some(table([0.5; 3])));
    draft().into_bundle().unwrap();
    let mut other = draft();
    other.golden.cases[0].window[0][2] = 0.25;
    let refused = other.into_bundle().unwrap_err().to_string();
    assert!(refused.contains("window[0] `size`: 0.25, steps make 0.5"), "{refused}");
    let mut without = draft();
    without.symbols = None;
    let refused = without.into_bundle().unwrap_err().to_string();
    assert!(refused.contains("model.onnx"), "{refused}");
    let mut broken = draft();
    broken.symbols.as_mut().unwrap().unknown.clear();
    let refused = broken.into_bundle().unwrap_err().to_string();
    assert!(refused.contains("symbols.json: `unknown`: 0 columns, not 2"), "{refused}");
}
