//! Every feature against pandas, over a few hundred made-up bars, and against its documentation.
//!
//! `tests/reference/features.py` writes the data and says how to run it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

/// What the script wrote.
#[derive(Deserialize)]
struct Reference {
    bars: Bars,
    features: BTreeMap<String, Vec<Option<f64>>>,
}

#[derive(Deserialize)]
struct Bars {
    time: Vec<UnixNanos>,
    high: Vec<f64>,
    low: Vec<f64>,
    close: Vec<f64>,
    volume: Vec<f64>,
}

fn reference() -> (Vec<Step>, BTreeMap<String, Vec<Option<f64>>>) {
    let text = include_str!("../../../../tests/data/features_reference.json");
    let Reference { bars, features } = serde_json::from_str(text).unwrap();
    let step = |at: usize| {
        let fields = [bars.high[at], bars.low[at], bars.close[at], bars.volume[at]];
        bar(bars.time[at].as_nanos(), fields)
    };
    ((0..bars.time.len()).map(step).collect(), features)
}

/// The name of a feature without its parameters.
fn plain(name: &str) -> &str {
    name.split('(').next().unwrap_or(name)
}

#[test]
fn every_feature_agrees_with_pandas() {
    let (steps, expected) = reference();
    let mut compared = 0;
    for (name, expected) in &expected {
        let values = values(name, &steps);
        let warm_up = usize::try_from(features(&[name]).warm_up_steps()).unwrap();
        assert_eq!(values.len() + warm_up, steps.len(), "{name}");
        for (at, value) in (warm_up..).zip(values) {
            let expected = expected[at].unwrap_or_else(|| panic!("{name}: no reference at {at}"));
            // Absolute where a difference of prices passes through zero.
            let tolerance = 1e-9 * expected.abs().max(1e-3);
            assert!(
                (value - expected).abs() <= tolerance,
                "{name} at {at}: {value}, pandas has {expected}"
            );
            compared += 1;
        }
    }
    assert!(compared > 5000, "only {compared} values compared");
    for entry in ENTRIES {
        // An alias has the reference of what it stands for; a test in `names` holds that it does.
        let alias = entry.name == "macd_histogram";
        let parameters = |name: &str| name.matches(',').count() + usize::from(name.contains('('));
        let count = entry.parameters.len() + usize::from(entry.takes_field());
        let has = |name: &String| plain(name) == entry.name && parameters(name) == count;
        assert!(alias || expected.keys().any(has), "{} has no reference", entry.usage());
    }
}

#[test]
fn every_feature_is_documented_as_it_is_written() {
    let text = include_str!("../../../../docs/features.md");
    for entry in ENTRIES {
        let usage = format!("`{}`", entry.usage());
        assert!(text.contains(&usage), "docs/features.md does not know {usage}");
    }
}
