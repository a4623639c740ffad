//! The need of models by their steps.

use super::*;
use crate::engine::model::manifest::{CalendarSpec, Manifest, StepKind, StepSpec, Weekday};

const WINDOW_STEPS: u32 = 3;

/// Steps of a symbol before its first row: a change needs two prices.
const WARM_UP_STEPS: u32 = 1;

const STEPS: u32 = WINDOW_STEPS + WARM_UP_STEPS + 1;

/// The plans of a model that reads the price and its change.
fn plans(step: StepSpec) -> Plans {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/aapl-daily/1/manifest.json");
    let mut manifest: Manifest = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    (manifest.window_steps, manifest.step) = (WINDOW_STEPS, step);
    // Its baselines are of its own window.
    manifest.baselines = None;
    let plans = manifest.plans().unwrap();
    assert_eq!(plans.features.raw().warm_up_steps(), u64::from(WARM_UP_STEPS));
    plans
}

fn bars(seconds: u32, offset_seconds: u32) -> Plans {
    let record = StepSpec::record(seconds);
    plans(StepSpec { kind: StepKind::Time, offset_seconds, ..record })
}

fn rows(models: &[Plans], delivers_trades: bool) -> Option<RowKind> {
    history_need(models, delivers_trades).rows
}

fn of_seconds(seconds: i64) -> Option<RowKind> {
    Some(RowKind::Bars(DurationNanos::from_seconds(seconds).unwrap()))
}

#[test]
fn a_model_needs_its_window_its_warm_up_and_one_step_more() {
    let need = history_need(&[plans(StepSpec::record(60))], false);
    let span = DurationNanos::from_seconds(i64::from(STEPS + 1) * 60).unwrap();
    let rows = of_seconds(60);
    assert_eq!(need, HistoryNeed { steps: STEPS, span, rows });
    let several = history_need(&[bars(60, 0), bars(3600, 0)], false);
    assert_eq!(several.span, DurationNanos::from_seconds(i64::from(STEPS + 1) * 3600).unwrap());
}

#[test]
fn bars_that_wait_for_late_ticks_are_no_steps_yet() {
    for (lateness_ms, more) in [(1, 1), (60_000, 1), (90_000, 2)] {
        let need = history_need(&[plans(StepSpec { lateness_ms, ..StepSpec::time(60) })], false);
        assert_eq!(need.steps, STEPS + more, "{lateness_ms} ms");
    }
}

#[test]
fn closed_days_lengthen_the_stretch() {
    let weekdays = vec![Weekday::Monday];
    let holidays = vec!["2024-01-01".to_owned(), "2024-01-08".to_owned()];
    let calendar = Some(CalendarSpec { weekdays, holidays });
    let need = history_need(&[plans(StepSpec { calendar, ..StepSpec::record(86_400) })], false);
    // A week for each Monday, open or a holiday, one for where the stretch begins, and a day.
    let days = i64::from(STEPS + 2 + 1) * 7 + 1;
    assert_eq!(need.span, DurationNanos::from_seconds(days * 86_400).unwrap());
}

#[test]
fn the_longest_bars_that_make_up_all_others_serve() {
    assert_eq!(rows(&[bars(60, 0), bars(300, 0)], false), of_seconds(60));
    assert_eq!(rows(&[bars(600, 0), bars(900, 0)], true), of_seconds(300));
    assert_eq!(rows(&[bars(3600, 900)], false), of_seconds(900), "where the bars begin");
    let record = |seconds| plans(StepSpec::record(seconds));
    assert_eq!(rows(&[record(60), bars(300, 0)], false), of_seconds(60));
    assert_eq!(rows(&[record(300), bars(60, 0)], false), None, "a record is a row as it is");
    assert_eq!(rows(&[record(60), record(300)], false), None);
    assert_eq!(rows(&[], false), None);
}

#[test]
fn steps_of_trades_need_trades() {
    let ticks = || {
        let step = StepSpec { kind: StepKind::Ticks, ticks_per_step: 5, ..StepSpec::record(60) };
        plans(step)
    };
    assert_eq!(rows(&[ticks()], true), Some(RowKind::Trades));
    assert_eq!(rows(&[ticks()], false), None);
    assert_eq!(rows(&[plans(StepSpec::record(60)), bars(60, 0)], true), Some(RowKind::Trades));
}

#[test]
fn rows_that_are_asked_for_make_the_steps_of_some_versions() {
    let of = |length: i64, beside_trades, plans: &Plans| {
        makes_steps(of_seconds(length).unwrap(), beside_trades, plans)
    };
    for beside_trades in [false, true] {
        assert!(of(60, beside_trades, &bars(60, 0)) && of(60, beside_trades, &bars(300, 120)));
        assert!(!of(60, beside_trades, &bars(90, 0)) && !of(60, beside_trades, &bars(300, 30)));
        assert!(!of(300, beside_trades, &bars(60, 0)));
        let ticks = StepSpec { kind: StepKind::Ticks, ticks_per_step: 10, ..StepSpec::record(60) };
        assert!(!of(60, beside_trades, &plans(ticks)));
        assert_eq!(of(60, beside_trades, &plans(StepSpec::record(60))), !beside_trades);
        assert!(!of(60, beside_trades, &plans(StepSpec::record(300))));
    }
}
