//! Every feature against values worked out by hand, and what must hold for all of them together.

mod reference;

use proptest::prelude::*;

use super::names::ENTRIES;
use super::*;
use crate::core::domain::{Field, Fields, Reject, Step, UnixNanos};

const HOUR: i64 = 3_600_000_000_000;

fn bar(time: i64, [high, low, close, volume]: [f64; 4]) -> Step {
    let mut fields = Fields::EMPTY;
    for (field, value) in
        [(Field::HIGH, high), (Field::LOW, low), (Field::CLOSE, close), (Field::VOLUME, volume)]
    {
        fields.set(field, value);
    }
    Step { time: UnixNanos::from_nanos(time), fields, after_gap: false, patched: false }
}

/// One step per hour with these closes; high, low and volume follow from them.
fn hours(closes: &[f64]) -> Vec<Step> {
    let bar = |(at, close): (usize, &f64)| {
        bar(at as i64 * HOUR, [close * 1.25, close * 0.75, *close, close * 10.0])
    };
    closes.iter().enumerate().map(bar).collect()
}

fn features(names: &[&str]) -> RawFeatures {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    RawFeatures::new(&names, &[], "next_return").unwrap()
}

/// The rows of all steps, the warm ones alone.
fn rows(features: &RawFeatures, steps: &[Step]) -> Vec<Vec<f64>> {
    let (mut state, mut scratch) = (features.initial_state(), features.scratch());
    let mut rows = Vec::new();
    for step in steps {
        if features.row(&state, step, &mut scratch).unwrap() {
            rows.push(scratch.raw().to_vec());
        }
        state.absorb(&scratch);
    }
    rows
}

/// The values of one feature from its first warm step on.
fn values(name: &str, steps: &[Step]) -> Vec<f64> {
    rows(&features(&[name]), steps).concat()
}

#[track_caller]
fn assert_close(values: &[f64], expected: &[f64]) {
    assert_eq!(values.len(), expected.len(), "{values:?}");
    for (value, expected) in values.iter().zip(expected) {
        assert!((value - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{values:?}");
    }
}

#[test]
fn changes_have_their_hand_computed_values() {
    let steps = hours(&[4.0, 5.0, 4.0, 4.0]);
    assert_eq!(values("change", &steps), [0.25, 4.0 / 5.0 - 1.0, 0.0]);
    assert_eq!(values("absolute_return", &steps), [0.25, 1.0 - 4.0 / 5.0, 0.0]);
    let rise = 1.25_f64.ln();
    assert_close(&values("log_return", &steps), &[rise, -rise, 0.0]);
    let volume = (51.0_f64 / 41.0).ln();
    assert_close(&values("volume_change", &steps), &[volume, -volume, 0.0]);
    assert_close(&values("log_range", &steps), &[(5.0_f64 / 3.0).ln(); 4]);
}

#[test]
fn a_step_without_trades_has_a_volume_change() {
    let steps = [bar(0, [1.0, 1.0, 1.0, 0.0]), bar(1, [1.0, 1.0, 1.0, 0.0])];
    assert_eq!(values("volume_change", &steps), [0.0]);
}

#[test]
fn lags_and_logarithms_have_their_hand_computed_values() {
    let steps = hours(&[4.0, 5.0, 8.0, 1.0]);
    assert_eq!(values("lag(close,1)", &steps), [4.0, 5.0, 8.0]);
    assert_eq!(values("lag(volume,3)", &steps), [40.0]);
    assert_eq!(values("lag(close,4)", &steps), [0.0; 0], "no step has one");
    assert_close(&values("log(close)", &steps), &[4.0_f64.ln(), 5.0_f64.ln(), 8.0_f64.ln(), 0.0]);
    assert_close(&values("log(high)", &steps)[3..], &[1.25_f64.ln()]);
    let both = features(&["lag(close,2)", "close"]);
    assert_eq!(rows(&both, &steps), [[4.0, 8.0], [5.0, 1.0]]);
}

#[test]
fn a_lag_keeps_as_many_values_as_it_goes_back() {
    for steps in [1_usize, 7, 10_000] {
        let lag = features(&[&format!("lag(close,{steps})")]);
        let (mut state, mut scratch) = (lag.initial_state(), lag.scratch());
        assert_eq!((state.slots.len(), lag.warm_up_steps()), (steps, steps as u64));
        for step in hours(&[1.0, 2.0, 3.0]) {
            lag.row(&state, &step, &mut scratch).unwrap();
            assert_eq!(scratch.writes.len(), 1, "the work is the same for every lag");
            state.absorb(&scratch);
        }
    }
}

#[test]
fn a_step_without_a_logarithm_is_refused_from_the_first_one_on() {
    let schema = crate::core::domain::Schema::new(["wind"]).unwrap();
    let wind = schema.field("wind").unwrap();
    let names = ["log(wind)", "volatility(3)"].map(str::to_owned);
    let features = RawFeatures::new(&names, &["wind".to_owned()], "next_return").unwrap();
    let (mut state, mut scratch) = (features.initial_state(), features.scratch());
    for (at, mut step) in hours(&[4.0, 5.0, 4.0, 8.0, 9.0]).into_iter().enumerate() {
        let before = state.clone();
        for bad in [0.0, -0.5] {
            step.fields.set(wind, bad);
            let refused = features.row(&state, &step, &mut scratch);
            assert_eq!(refused, Err(Reject::NotFinite), "{bad} at step {at}");
            assert_eq!(state, before);
        }
        step.fields.set(wind, 0.25);
        assert_eq!(features.row(&state, &step, &mut scratch), Ok(at >= 3));
        assert_eq!(scratch.raw()[0], libm::log(0.25));
        state.absorb(&scratch);
    }
}

#[test]
fn averages_begin_with_the_first_close() {
    // A span of 3 weighs the newest close by half, and its warm-up is 12.
    let mut closes = vec![8.0];
    closes.resize(14, 0.5);
    let average = |step: i32| 0.5 + 7.5 * 0.5_f64.powi(step);
    assert_close(&values("ema(3)", &hours(&closes)), &[average(12), average(13)]);
    let gap = |step| 0.5 / average(step) - 1.0;
    assert_close(&values("ema_gap(3)", &hours(&closes)), &[gap(12), gap(13)]);
    assert_eq!(values("ema(7)", &hours(&[0.1; 31])), [0.1; 3], "a constant is its own average");
}

#[test]
fn the_lines_of_macd_have_their_hand_computed_values() {
    // Weights: 1 for the fast average, 1/2 for the slow one and the signal.
    let mut closes = vec![8.0];
    closes.resize(26, 16.0);
    let steps = hours(&closes);
    // After k steps the slow average is 16 - 8 / 2^k, so the difference is 8 / 2^k. To the signal
    // the difference of step j gives half of itself, which is halved in each of the k - j steps
    // since: 4 / 2^k, whatever j, and so k / 2 times the newest difference in all.
    let difference = |k: i32| 8.0 * 0.5_f64.powi(k);
    let signal = |k: i32| f64::from(k) * difference(k) / 2.0;
    let from = |first: i32, value: &dyn Fn(i32) -> f64| (first..26).map(value).collect::<Vec<_>>();
    let tight = |name: &str, expected: Vec<f64>| {
        let values = values(name, &steps);
        assert_eq!(values.len(), expected.len(), "{name}");
        for (value, expected) in values.iter().zip(&expected) {
            // Absolute, since the differences are what is left of closes of 16.
            assert!((value - expected).abs() < 1e-14, "{name}: {value}, expected {expected}");
        }
    };
    tight("macd(1,3)", from(12, &difference));
    let percentage = |k: i32| 100.0 * difference(k) / (16.0 - difference(k));
    tight("ppo(1,3)", from(12, &percentage));
    tight("macd_signal(1,3,3)", from(24, &signal));
    tight("macd(1,3,3)", from(24, &|k| difference(k) - signal(k)));
    tight("macd_histogram(1,3,3)", from(24, &|k| difference(k) - signal(k)));
}

#[test]
fn the_relative_strength_index_has_its_hand_computed_values() {
    // Period 2 halves the means at every step. The first move is a rise of 2; what follows rises
    // by 1 and falls by 1 in turn, the last of 18 moves being a fall.
    let mut closes = vec![10.0];
    let (mut gain, mut loss) = (2.0, 0.0);
    closes.push(12.0);
    for at in 2..19 {
        let move_by = if at % 2 == 0 { -1.0 } else { 1.0 };
        closes.push(closes[at - 1] + move_by);
        gain = (gain + f64::max(move_by, 0.0)) / 2.0;
        loss = (loss + f64::max(-move_by, 0.0)) / 2.0;
    }
    let warm = values("rsi(2)", &hours(&closes));
    assert_eq!(warm.len(), 2, "8 periods and the close before the first move");
    assert_close(&warm[1..], &[100.0 * gain / (gain + loss)]);

    let rising: Vec<f64> = (1..19).map(f64::from).collect();
    assert_eq!(values("rsi(2)", &hours(&rising)), [100.0]);
    let falling: Vec<f64> = rising.iter().rev().copied().collect();
    assert_eq!(values("rsi(2)", &hours(&falling)), [0.0]);
    assert_eq!(values("rsi(2)", &hours(&[5.0; 18])), [50.0], "nothing moved");
}

#[test]
fn volatility_is_the_sample_deviation_of_the_last_returns_alone() {
    // Log returns 2, 1, 3, 5, 0; the first leaves the window of 3 before the second row.
    let mut closes = vec![1.0_f64];
    for log_return in [2.0, 1.0, 3.0, 5.0, 0.0] {
        closes.push(closes[closes.len() - 1] * f64::exp(log_return));
    }
    let expected = [1.0, 2.0, (19.0_f64 / 3.0).sqrt()];
    assert_close(&values("volatility(3)", &hours(&closes)), &expected);
    assert_eq!(values("volatility(3)", &hours(&[7.0; 4])), [0.0]);
}

#[test]
fn volatility_forgets_to_the_last_bit() {
    let closes: Vec<f64> = (0..200).map(|at| 50.0 + (f64::from(at) * 0.7).sin() * 9.0).collect();
    let all = values("volatility(7)", &hours(&closes));
    for start in [1, 2, 5, 50, 180] {
        let late = values("volatility(7)", &hours(&closes[start..]));
        assert_eq!(late, all[start..], "begun at {start}");
    }
}

#[test]
fn the_calendar_follows_from_the_time_alone() {
    let all = [
        "time_of_day",
        "time_of_day_sin",
        "time_of_day_cos",
        "day_of_week",
        "day_of_week_sin",
        "day_of_week_cos",
        "time_of_year",
        "time_of_year_sin",
        "time_of_year_cos",
    ];
    let at = |text: &str| {
        let time = UnixNanos::parse(text).unwrap().as_nanos();
        rows(&features(&all), &[bar(time, [1.0; 4])]).concat()
    };
    // A Friday at six in the evening.
    let row = at("2013-03-01T18:00:00Z");
    assert_close(&row[..4], &[0.75, -1.0, 0.0, 4.0]);
    let friday = std::f64::consts::TAU * 4.0 / 7.0;
    assert_close(&row[4..6], &[friday.sin(), friday.cos()]);
    // 15,765 days after 1970 are 43 mean years and a sixth.
    let year = (15_765.75 / 365.2425_f64).fract();
    assert!((0.16..0.17).contains(&year), "the first of March");
    let angle = std::f64::consts::TAU * year;
    assert!((row[6] - year).abs() < 1e-12 && (row[7] - angle.sin()).abs() < 1e-11);
    assert!((row[8] - angle.cos()).abs() < 1e-11);
    // Sunday ends a week, also before 1970.
    assert_eq!(at("2013-03-03T23:59:59Z")[3], 6.0);
    assert_eq!(at("2013-03-04")[3], 0.0);
    assert_eq!(at("1969-12-29")[3], 0.0);
    assert_eq!(at("1969-12-28T23:59:59.999999999Z")[3], 6.0);
    for time in [i64::MIN, -1, 0, i64::MAX] {
        let row = rows(&features(&all), &[bar(time, [1.0; 4])]).concat();
        let bounds = [1.0, 1.0, 1.0, 6.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        assert!(row.iter().zip(bounds).all(|(value, bound)| value.abs() <= bound), "{row:?}");
    }
}

#[test]
fn a_warm_up_ends_when_the_first_close_has_faded() {
    // The first close stands alone; a warm value must not show more than exp(-8) of it.
    for name in ["ema(1)", "ema(2)", "ema(100)", "macd_signal(1,100,100)", "macd_signal(9,10,90)"] {
        let warm_up = usize::try_from(features(&[name]).warm_up_steps()).unwrap();
        let mut closes = vec![1.0; warm_up + 1];
        let steady = values(name, &hours(&closes))[0];
        closes[0] = 2.0;
        let first = values(name, &hours(&closes))[0];
        assert!((first - steady).abs() <= f64::exp(-8.0), "{name}: {first}");
    }
}

/// Small instances of every feature there is, and every field.
fn all() -> RawFeatures {
    let mut names: Vec<String> = ["high", "low", "close", "volume"].map(str::to_owned).into();
    for entry in ENTRIES.iter().filter(|entry| entry.name != "macd_histogram") {
        names.push(entry.with("close", &["2", "3", "2"][..entry.parameters.len()]));
    }
    names.extend(["volatility(5)", "lag(volume,1)", "lag(low,7)"].map(str::to_owned));
    RawFeatures::new(&names, &[], "next_return").unwrap()
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let price = prop_oneof![8 => 1.0..2.0, 1 => 1e-3..1e6, 1 => Just(1.0)];
    let any_bar = (1..100_000_000_000_000_i64, price, 1.0..1.5, prop_oneof![Just(0.0), 0.0..1e9]);
    prop::collection::vec(any_bar, 1..80).prop_map(|bars| {
        let mut time = -50 * HOUR;
        let step = |(pause, close, spread, volume): (i64, f64, f64, f64)| {
            time += pause;
            bar(time, [close * spread, close / spread, close, volume])
        };
        bars.into_iter().map(step).collect()
    })
}

fn bits(rows: &[Vec<f64>]) -> Vec<Vec<u64>> {
    rows.iter().map(|row| row.iter().map(|value| value.to_bits()).collect()).collect()
}

proptest! {
    /// A row that could see the future would differ where the future is cut off or another one.
    #[test]
    fn the_future_changes_no_row(steps in any_steps(), cut in 0..80_usize, other in any_steps()) {
        let features = all();
        let cut = cut.min(steps.len());
        let full = bits(&rows(&features, &steps));
        let past = bits(&rows(&features, &steps[..cut]));
        prop_assert_eq!(&full[..past.len()], &past[..]);
        let otherwise = [&steps[..cut], &other].concat();
        prop_assert_eq!(&bits(&rows(&features, &otherwise))[..past.len()], &past[..]);
    }

    #[test]
    fn a_restart_changes_no_bit(steps in any_steps(), every in 1..9_usize) {
        let features = all();
        let (mut state, mut scratch) = (features.initial_state(), features.scratch());
        let mut restarted = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            if at % every == 0 {
                let text = serde_json::to_string(&state).unwrap();
                state = serde_json::from_str(&text).unwrap();
                prop_assert!(features.fits(&state));
                scratch = features.scratch();
            }
            if features.row(&state, step, &mut scratch).unwrap() {
                restarted.push(scratch.raw().to_vec());
            }
            state.absorb(&scratch);
        }
        prop_assert_eq!(bits(&restarted), bits(&rows(&features, &steps)));
    }

    /// A step that lacks a field or leaves the finite numbers is as if it had never come.
    #[test]
    fn a_refused_step_changes_no_later_row(steps in any_steps(), every in 1..9_usize) {
        let features = all();
        let (mut state, mut scratch) = (features.initial_state(), features.scratch());
        let mut disturbed = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            if at % every == 0 {
                let before = state.clone();
                let empty = Step { fields: Fields::EMPTY, ..*step };
                let refused = features.row(&state, &empty, &mut scratch);
                prop_assert_eq!(refused, Err(Reject::MissingField));
                if at > 0 {
                    let vanished = bar(0, [1.0, 1.0, f64::from_bits(1), 1.0]);
                    let mut huge = vanished;
                    huge.fields.set(Field::CLOSE, f64::MAX);
                    for far in [vanished, huge] {
                        // Refused or not, it is not absorbed.
                        let _ = features.row(&state, &far, &mut scratch);
                    }
                }
                prop_assert_eq!(&state, &before);
            }
            if features.row(&state, step, &mut scratch).unwrap() {
                disturbed.push(scratch.raw().to_vec());
            }
            state.absorb(&scratch);
        }
        prop_assert_eq!(bits(&disturbed), bits(&rows(&features, &steps)));
    }

    #[test]
    fn rows_and_states_are_finite(steps in any_steps()) {
        let features = all();
        let (mut state, mut scratch) = (features.initial_state(), features.scratch());
        for step in &steps {
            if features.row(&state, step, &mut scratch).unwrap() {
                prop_assert!(scratch.raw().iter().all(|value| value.is_finite()));
            }
            state.absorb(&scratch);
            prop_assert!(state.slots.iter().all(|slot| slot.is_finite()));
        }
    }
}

#[test]
fn what_would_poison_a_state_is_refused_before_it_is_warm() {
    let features = features(&["volatility(5)"]);
    let (mut state, mut scratch) = (features.initial_state(), features.scratch());
    assert_eq!(features.row(&state, &hours(&[1e-300])[0], &mut scratch), Ok(false));
    state.absorb(&scratch);
    let far = features.row(&state, &hours(&[1e300])[0], &mut scratch);
    assert_eq!(far, Err(Reject::NotFinite), "an endless return would stay for five rows");
}

#[test]
fn a_state_of_another_plan_does_not_fit() {
    let state = features(&["volatility(5)"]).initial_state();
    assert!(!features(&["volatility(6)"]).fits(&state));
    assert!(features(&["volatility(5)", "close"]).fits(&state));
}
