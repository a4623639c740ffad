//! What is promised of baselines, by hand and by looking back over whole series.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::core::domain::Schema;
use crate::core::forecast::Target;

const NO_ROWS: [&[f32]; 2] = [&[], &[]];

fn schema() -> Schema {
    Schema::new(["rain"]).unwrap()
}

fn baselines(target: &Target, horizon_steps: u32, spec: &BaselineSpec) -> Baselines {
    let truth = target.truth(&schema()).unwrap();
    Baselines::new(truth, TargetKind::of(target), Some(horizon_steps)).with(spec)
}

fn spec(half_life_steps: u32, period_steps: u32) -> BaselineSpec {
    BaselineSpec {
        against: BaselineKind::Average,
        drift: Some(0.125),
        average: Some(AverageSpec { half_life_steps }),
        seasonal: Some(SeasonalSpec { period_steps }),
        linear: None,
    }
}

fn reading(value: f64) -> Reading {
    Reading { value: Some(value), after_gap: false, patched: false }
}

/// The forecasts at each of these steps.
fn run(baselines: &Baselines, readings: &[Reading]) -> Vec<BaselineForecasts> {
    let mut state = BaselineState::new(baselines);
    let forecasts = readings.iter().map(|reading| {
        state.step(baselines, *reading);
        state.forecasts(baselines, NO_ROWS)
    });
    forecasts.collect()
}

#[test]
fn the_places_are_those_of_the_list() {
    for (place, kind) in BaselineKind::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, place);
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.label()));
    }
}

/// Prices 100, 110, 99, 99, 198: changes +0.1, -0.1, 0, +1. A half-life of one step gives the
/// weights 1, 1/2, 1/4, 1/8.
#[test]
fn each_target_has_its_hand_computed_forecasts() {
    let prices = [100.0, 110.0, 99.0, 99.0, 198.0].map(reading);
    let last = |target: &Target| *run(&baselines(target, 1, &spec(1, 2)), &prices).last().unwrap();
    let close = |found: BaselineForecasts, expected: [f64; 4]| {
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?} is not {expected}");
        }
        assert_eq!(found[4], None, "there is no linear model");
    };
    let [change, log_change, direction, size, value, event] = Target::all("rain", 100.0);
    // (1 + 0/2 - 0.1/4 + 0.1/8) / (15/8); two steps earlier than the next change was none.
    close(last(&change), [0.0, 0.125, 0.9875 / 1.875, 0.0]);
    let logs = [1.1_f64.ln(), 0.9_f64.ln(), 0.0, 2.0_f64.ln()];
    let mean = (logs[3] + logs[2] / 2.0 + logs[1] / 4.0 + logs[0] / 8.0) / 1.875;
    close(last(&log_change), [0.0, 0.125, mean, 0.0]);
    close(last(&direction), [1.0, 0.125, 1.125 / 1.875, 0.0]);
    close(last(&size), [1.0, 0.125, (1.0 + 0.025 + 0.0125) / 1.875, 0.0]);
    // Of a value, every step is a truth: 198, 99, 99, 110, 100 with weights 1 to 1/16.
    let mean = (198.0 + 49.5 + 24.75 + 13.75 + 6.25) / 1.9375;
    close(last(&value), [198.0, 198.125, mean, 99.0]);
    close(last(&event), [1.0, 0.125, (1.0 + 0.125) / 1.9375, 0.0]);
}

#[test]
fn the_season_is_the_fewest_whole_periods_back_that_is_known() {
    let lags = [(5, 1), (5, 4), (5, 5), (5, 6), (5, 12), (1, 1), (1, 3), (1024, 1)];
    let lags = lags.map(|(period, horizon)| lag(period, horizon));
    assert_eq!(lags, [4, 1, 0, 4, 3, 0, 0, 1023]);
    // Values that say which step they are of: the truth of step t + h is t + h.
    let steps: Vec<Reading> = (0..40).map(f64::from).map(reading).collect();
    let value = Target::NextValue { field: "rain".into() };
    for (period, horizon) in [(5, 1), (5, 5), (5, 7), (3, 10)] {
        let all = run(&baselines(&value, horizon, &spec(1, period)), &steps);
        let found = all[39][BaselineKind::Seasonal as usize].unwrap();
        let target = f64::from(39 + horizon);
        let back = target - found;
        assert_eq!(back % f64::from(period), 0.0, "{period} {horizon}: {back}");
        assert!(found <= 39.0 && found + f64::from(period) > 39.0, "{found} is not the newest");
    }
}

/// What is said of one symbol, step by step, and by looking back.
fn moments(count: usize) -> impl Strategy<Value = Vec<Reading>> {
    let value = prop_oneof![8 => (50.0..150.0).prop_map(Some), 1 => Just(None)];
    let moment = (value, 0..12).prop_map(|(value, mark)| Reading {
        value,
        after_gap: mark == 0,
        patched: mark == 1,
    });
    proptest::collection::vec(moment, count)
}

/// The forecasts at step `at`, computed from all steps up to it.
fn by_looking_back(
    target: &Target,
    (horizon, half_life, period): (usize, f64, usize),
    readings: &[Reading],
    at: usize,
) -> Option<[f64; 4]> {
    let truth = target.truth(&schema()).unwrap();
    let whole = |from: usize, to: usize| !readings[from + 1..=to].iter().any(|r| r.after_gap);
    let before = |step: usize| {
        let before = step.checked_sub(horizon).filter(|before| whole(*before, step))?;
        readings[before].value
    };
    let persistence = truth.persistence_of_readings(before(at), readings[at].value)?;
    let came = |step: usize| {
        let known = !readings[step].patched;
        truth.between_readings(before(step), readings[step].value).filter(|_| known)
    };
    let known: Vec<f64> = (0..=at).filter_map(came).collect();
    let weights = (0..known.len()).rev().map(|age| 0.5_f64.powf(age as f64 / half_life));
    let (mut sum, mut weight) = (0.0, 0.0);
    for (truth, w) in known.iter().zip(weights) {
        (sum, weight) = (sum + w * truth, weight + w);
    }
    let average = if weight > 0.0 { sum / weight } else { persistence };
    let mut step = Some(at + horizon);
    while step.is_some_and(|step| step > at) {
        step = step.and_then(|step| step.checked_sub(period));
    }
    let seasonal = step.filter(|step| whole(*step, at)).and_then(came);
    let base = if TargetKind::of(target) == TargetKind::Level { persistence } else { 0.0 };
    Some([persistence, base + 0.125, average, seasonal.unwrap_or(persistence)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn forecasts_are_what_looking_back_gives(
        target in 0usize..6,
        horizon in 1u32..6,
        half_life in 1u32..20,
        period in 1u32..8,
        readings in moments(50),
    ) {
        let target = &Target::all("rain", 100.0)[target];
        let baselines = baselines(target, horizon, &spec(half_life, period));
        let found = run(&baselines, &readings);
        let terms = (horizon as usize, f64::from(half_life), period as usize);
        for (at, found) in found.into_iter().enumerate() {
            let Some(expected) = by_looking_back(target, terms, &readings, at) else {
                prop_assert_eq!(found, [None; BASELINES]);
                continue;
            };
            for (found, expected) in found.into_iter().zip(expected) {
                let found = found.unwrap();
                let size = expected.abs().max(1.0);
                prop_assert!((found - expected).abs() < 1e-9 * size, "{at}: {found} {expected}");
            }
        }
    }

    #[test]
    fn rest_and_back_changes_no_bit(
        target in 0usize..6,
        horizon in 1u32..6,
        period in 1u32..8,
        cut in 0usize..50,
        readings in moments(50),
    ) {
        let baselines = baselines(&Target::all("rain", 100.0)[target], horizon, &spec(3, period));
        let whole = run(&baselines, &readings);
        let mut before = BaselineState::new(&baselines);
        for reading in &readings[..cut] {
            before.step(&baselines, *reading);
        }
        let stored = serde_json::to_string(&before).unwrap();
        let stored: BaselineState = serde_json::from_str(&stored).unwrap();
        prop_assert!(stored.fits(&baselines));
        let mut after = BaselineState::new(&baselines);
        after.clone_from_rest(&stored);
        prop_assert_eq!(&after, &before);
        for (at, reading) in readings.iter().enumerate().skip(cut) {
            after.step(&baselines, *reading);
            prop_assert_eq!(after.forecasts(&baselines, NO_ROWS), whole[at]);
        }
    }

    /// A ring cuts its rows in two, anywhere; a trainer does not.
    #[test]
    fn the_pieces_of_a_window_change_no_bit_of_the_line(
        rows in proptest::collection::vec((-1.0f32..1.0, -1.0f64..1.0), 0..40),
    ) {
        let (values, weights): (Vec<f32>, Vec<f64>) = rows.into_iter().unzip();
        let line = LinearModel { rows: 1, intercept: 0.25, weights };
        let whole = line.predict([&values, &[]]);
        let terms = values.iter().zip(&line.weights).map(|(x, w)| f64::from(*x) * w);
        prop_assert!((whole - 0.25 - terms.sum::<f64>()).abs() < 1e-12);
        for cut in 0..=values.len() {
            let (first, second) = values.split_at(cut);
            prop_assert_eq!(line.predict([first, second]).to_bits(), whole.to_bits());
        }
    }
}

#[test]
fn states_of_other_baselines_do_not_fit() {
    let [change, ..] = Target::all("rain", 100.0);
    let (near, far) = (baselines(&change, 1, &spec(1, 2)), baselines(&change, 4, &spec(1, 9)));
    let mut state = BaselineState::new(&far);
    (0..20).for_each(|at| {
        state.step(&far, reading(100.0 + f64::from(at)));
    });
    assert!(state.fits(&far) && !state.fits(&near));
}

#[test]
fn a_line_does_not_leave_what_is_possible_and_no_forecast_leaves_the_finite_numbers() {
    let linear = |intercept| BaselineSpec {
        linear: Some(LinearModel { rows: 1, intercept, weights: vec![f64::MAX] }),
        ..BaselineSpec::default()
    };
    let [_, _, direction, size, value, _] = Target::all("rain", 100.0);
    for (target, row, expected) in [
        (&direction, 0.0, 1.0),
        (&size, 0.0, 7.0),
        (&value, 0.0, 7.0),
        (&size, -1e-30, 0.0),
        (&value, 1e30, 102.0),
    ] {
        let baselines = baselines(target, 1, &linear(7.0));
        let mut state = BaselineState::new(&baselines);
        for price in [100.0, 101.0, 102.0] {
            state.step(&baselines, reading(price));
        }
        let found = state.forecasts(&baselines, [&[row], &[]])[BaselineKind::Linear as usize];
        assert_eq!(found, Some(expected), "{}", target.label());
    }
}

/// What `tests/reference/baselines.py` has computed with numpy and pandas.
#[derive(Deserialize)]
struct Reference {
    closes: Vec<f64>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    target: String,
    above: Option<f64>,
    horizon_steps: u32,
    half_life_steps: u32,
    period_steps: u32,
    drift: f64,
    linear: LinearModel,
    /// Step by step; `None` where nothing can be said yet.
    persistence: Vec<Option<f64>>,
    drifts: Vec<Option<f64>>,
    average: Vec<Option<f64>>,
    seasonal: Vec<Option<f64>>,
    line: Vec<Option<f64>>,
}

#[test]
fn forecasts_are_those_of_the_reference() {
    let text = include_str!("../../../tests/data/baselines_reference.json");
    let reference: Reference = serde_json::from_str(text).unwrap();
    let mut compared = 0;
    for case in &reference.cases {
        let field = case.target.ends_with("value") || case.target.ends_with("event");
        let field = field.then(|| "close".to_owned());
        let target = Target::from_parts(&case.target, field, case.above).unwrap();
        let spec = BaselineSpec {
            drift: Some(case.drift),
            linear: Some(case.linear.clone()),
            ..spec(case.half_life_steps, case.period_steps)
        };
        let baselines = baselines(&target, case.horizon_steps, &spec);
        let mut state = BaselineState::new(&baselines);
        let mut closes = vec![0.0f32; case.linear.weights.len()];
        for (at, close) in reference.closes.iter().enumerate() {
            state.step(&baselines, reading(*close));
            // A window of one feature: the change of the price in percent.
            let before = reference.closes[at.saturating_sub(1)];
            closes.rotate_left(1);
            *closes.last_mut().unwrap() = (100.0 * (close / before - 1.0)) as f32;
            let found = state.forecasts(&baselines, [&closes, &[]]);
            let expected =
                [&case.persistence, &case.drifts, &case.average, &case.seasonal, &case.line];
            for (kind, (found, expected)) in found.into_iter().zip(expected).enumerate() {
                let Some(expected) = expected[at] else { continue };
                let found = found.unwrap();
                let size = expected.abs().max(1e-3);
                let place = (&case.target, case.horizon_steps, BaselineKind::ALL[kind].label(), at);
                assert!((found - expected).abs() < 1e-9 * size, "{place:?}: {found} {expected}");
                compared += 1;
            }
        }
    }
    assert!(compared > 5_000, "{compared} forecasts compared");
}
