//! Bars of time against pandas' resample of the same ticks.
//!
//! `tests/reference/bars.py` writes the data and says how to run it.

use serde::Deserialize;

use super::*;
use crate::core::domain::Schema;

/// What the script wrote.
#[derive(Deserialize)]
struct Reference {
    ticks: Ticks,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Ticks {
    milliseconds: Vec<i64>,
    price: Vec<f64>,
    volume: Vec<f64>,
    sentiment: Vec<Option<f64>>,
}

/// One rule, and its bars in the order of time.
#[derive(Deserialize)]
struct Case {
    interval_seconds: i64,
    offset_seconds: i64,
    carry_steps_max: u32,
    end: Vec<i64>,
    open: Vec<f64>,
    high: Vec<f64>,
    low: Vec<f64>,
    close: Vec<f64>,
    volume: Vec<f64>,
    sentiment: Vec<Option<f64>>,
    patched: Vec<bool>,
}

#[test]
fn bars_of_time_are_those_of_pandas() {
    let text = include_str!("../../../../tests/data/bars_reference.json");
    let Reference { ticks, cases } = serde_json::from_str(text).unwrap();
    let schema = Schema::new(["sentiment"]).unwrap();
    let sentiment = schema.field("sentiment").unwrap();
    let (mut compared, mut patched) = (0, 0);
    for case in &cases {
        let rule = StepRule::Time(TimeBars {
            offset: span(case.offset_seconds),
            empty: match case.carry_steps_max {
                0 => EmptyRule::Skip,
                steps_max => EmptyRule::Carry { steps_max },
            },
            ..TimeBars::of(span(case.interval_seconds))
        });
        let (mut state, mut steps) = (StepState::default(), Vec::new());
        for (index, milliseconds) in ticks.milliseconds.iter().enumerate() {
            let mut fields = trade(ticks.price[index], ticks.volume[index]);
            if let Some(value) = ticks.sentiment[index] {
                fields.set_checked(sentiment, value).unwrap();
            }
            let time = UnixNanos::from_nanos(milliseconds * 1_000_000);
            steps.extend(state.push(&rule, time, &fields).unwrap());
            steps.extend(std::iter::from_fn(|| state.pop(&rule)));
        }
        let name = format!("{} s + {} s", case.interval_seconds, case.offset_seconds);
        // The last bar is still open here and closed in pandas, which sees the end of the file.
        assert_eq!(steps.len() + 1, case.end.len(), "{name}");
        for (index, step) in steps.iter().enumerate() {
            let place = format!("{name}: bar {index} at {}", step.time);
            assert_eq!(step.time, at(case.end[index]), "{place}");
            assert_eq!(step.patched, case.patched[index], "{place}");
            for (field, expected) in [
                (Field::OPEN, &case.open),
                (Field::HIGH, &case.high),
                (Field::LOW, &case.low),
                (Field::CLOSE, &case.close),
            ] {
                assert_eq!(step.fields.get(field), Some(expected[index]), "{place}");
            }
            let volume = step.fields.get(Field::VOLUME).unwrap();
            let tolerance = 1e-9 * case.volume[index].max(1.0);
            assert!((volume - case.volume[index]).abs() <= tolerance, "{place}: {volume}");
            assert_eq!(step.fields.get(sentiment), case.sentiment[index], "{place}");
            compared += 1;
            patched += usize::from(step.patched);
        }
    }
    assert!(cases.len() >= 5 && compared > 500, "{} cases, {compared} bars", cases.len());
    assert!(patched > 20, "only {patched} carried bars compared");
}
