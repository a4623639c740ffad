//! Every kind of scaler by hand, and against scikit-learn.
//!
//! `tests/reference/scalers.py` writes what scikit-learn makes of rows, and says how to run it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

fn range(feature: &str, min: f64, max: f64) -> ColumnRange {
    ColumnRange { feature: feature.to_owned(), min, max }
}

#[test]
fn minmax_maps_the_training_range_onto_its_bounds_and_back() {
    let columns = [("close".to_owned(), vec![20.0, 10.0, 14.0])];
    let scaler = Scaler::fit_minmax(&columns).unwrap().single().unwrap();
    assert_eq!(scaler.apply(10.0), -1.0);
    assert_eq!(scaler.apply(20.0), 1.0);
    assert_eq!(scaler.apply(15.0), 0.0);
    assert_eq!(scaler.invert(0.5), 17.5);
    assert_eq!(scaler.apply(25.0), 2.0, "outside the range is not clamped");
}

#[test]
fn standard_centers_and_divides() {
    let columns = vec![ColumnMoments {
        feature: "close".into(),
        mean: 10.0,
        deviation: 4.0,
        min: 0.0,
        max: 30.0,
    }];
    let scaler = Scaler::Standard { precision: Precision::Double, columns }.single().unwrap();
    assert_eq!(scaler.apply(18.0), 2.0);
    assert_eq!(scaler.invert(-1.0), 6.0);
}

#[test]
fn refuses_columns_that_do_not_fit_the_features_and_names_them() {
    let features = vec!["close".to_owned(), "volume".to_owned()];
    let scaler = |columns: Vec<ColumnRange>| Scaler::Minmax { low: -1.0, high: 1.0, columns };
    let cases = [
        (vec![range("close", 0.0, 1.0)], ScalerError::Missing("volume".into())),
        (
            vec![range("close", 0.0, 1.0), range("volume", 0.0, 1.0), range("x", 0.0, 1.0)],
            ScalerError::Surplus("x".into()),
        ),
        (
            vec![range("volume", 0.0, 1.0), range("close", 0.0, 1.0)],
            ScalerError::Order { index: 0, expected: "close".into(), found: "volume".into() },
        ),
        (
            vec![range("close", 0.0, 1.0), range("volume", 5.0, 5.0)],
            ScalerError::Spread("volume".into()),
        ),
        (
            vec![range("close", f64::NAN, 1.0), range("volume", 0.0, 1.0)],
            ScalerError::Spread("close".into()),
        ),
    ];
    for (columns, expected) in cases {
        assert_eq!(scaler(columns).check(&features), Err(expected));
    }
}

#[test]
fn robust_centers_on_the_median_and_divides_by_the_quartiles() {
    // Of 1, 2, 3, 4, 100 the quartiles are 2 and 4; of four values they lie between two of them.
    let columns = [("a".to_owned(), vec![3.0, 100.0, 1.0, 4.0, 2.0])];
    let scaler = Scaler::fit(ScalerKind::Robust, &columns).unwrap();
    assert_eq!(scaler.ranges(), [[1.0, 100.0]]);
    let scaler = scaler.single().unwrap();
    assert_eq!((scaler.apply(3.0), scaler.apply(7.0), scaler.invert(-1.5)), (0.0, 2.0, 0.0));
    let columns = [("a".to_owned(), vec![0.0, 8.0, 4.0, 2.0])];
    let Scaler::Robust { columns, .. } = Scaler::fit(ScalerKind::Robust, &columns).unwrap() else {
        unreachable!()
    };
    assert_eq!((columns[0].center, columns[0].scale), (3.0, 5.0 - 1.5));
}

#[test]
fn a_line_multiplies_adds_and_clips() {
    let columns = || vec![range("close", 10.0, 20.0)];
    let scaler = Scaler::scikit_minmax([0.0, 1.0], false, columns()).single().unwrap();
    assert_eq!((scaler.apply(12.5), scaler.apply(30.0), scaler.invert(0.5)), (0.25, 2.0, 15.0));
    let scaler = Scaler::scikit_minmax([0.0, 1.0], true, columns()).single().unwrap();
    assert_eq!((scaler.apply(12.5), scaler.apply(30.0), scaler.apply(-1.0)), (0.25, 1.0, 0.0));
}

/// A scaler of each kind as it is on disk.
fn texts() -> Vec<String> {
    let columns = [
        // The kinds of every version, as bundles have them.
        (r#""minmax","low":-1.0,"high":1.0"#, r#""min":0.25,"max":3.0"#),
        (r#""standard""#, r#""mean":1.5,"deviation":2.0,"min":0.5,"max":9.0"#),
        (r#""none""#, r#""min":0.0,"max":1.0"#),
        // Forms that earlier versions do not know.
        (r#""standard","precision":"float32""#, r#""mean":1.5,"deviation":2.0"#),
        (r#""robust""#, r#""center":1.5,"scale":2.0"#),
        (r#""robust","precision":"float32""#, r#""center":1.5,"scale":2.0,"min":-1.0,"max":4.0"#),
        (r#""linear""#, r#""factor":0.5,"offset":-1.0,"min":-1.0,"max":4.0"#),
        (r#""linear","clip":[0.0,1.0]"#, r#""factor":0.5,"offset":-1.0"#),
        (r#""none""#, ""),
        (r#""none""#, r#""min":0.0"#),
    ];
    let text = |(kind, numbers): (&str, &str)| {
        let comma = if numbers.is_empty() { "" } else { "," };
        format!(r#"{{"kind":{kind},"columns":[{{"feature":"a"{comma}{numbers}}}]}}"#)
    };
    columns.map(text).into()
}

#[test]
fn every_scaler_is_written_as_it_was_read() {
    for text in texts() {
        let scaler: Scaler = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&scaler).unwrap(), text);
        assert_eq!(scaler.check(&["a".to_owned()]), Ok(()), "{text}");
        assert_eq!(scaler.names(), ["a"]);
    }
}

#[test]
fn a_value_is_out_of_a_range_only_where_the_range_is_known() {
    let covers = |text: &str, raw: f64| {
        let scaler: Scaler = serde_json::from_str(text).unwrap();
        scaler.affine().unwrap()[0].covers(raw)
    };
    let far = [-1e300, -2.0, 0.75, 1e300];
    let seen = texts().into_iter().map(|text| far.map(|raw| covers(&text, raw)));
    let (t, f) = (true, false);
    let expected = [
        [f, f, t, f],
        [f, f, t, f],
        [f, f, t, f],
        [t, t, t, t],
        [t, t, t, t],
        [f, f, t, f],
        [f, f, t, f],
        [t, t, t, t],
        [t, t, t, t],
        [f, f, t, t],
    ];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
}

#[test]
fn ranges_can_be_set_where_they_scale_nothing() {
    for text in texts() {
        let scaler: Scaler = serde_json::from_str(&text).unwrap();
        let ranged = scaler.clone().with_ranges(&[[-7.0, 7.0], [0.0, 0.0]]);
        match scaler {
            Scaler::Minmax { .. } => assert_eq!(ranged, scaler),
            _ => assert_eq!(ranged.ranges(), [[-7.0, 7.0]], "{text}"),
        }
    }
}

#[test]
fn refuses_numbers_that_scale_nothing_and_says_which() {
    let check = |change: &dyn Fn(&mut Value), at: usize| {
        let mut value: Value = serde_json::from_str(&texts()[at]).unwrap();
        change(&mut value);
        let scaler: Scaler = serde_json::from_value(value).unwrap();
        scaler.check(&["a".to_owned()]).unwrap_err().to_string()
    };
    let spread = "the scaler's column `a` has no finite, positive spread";
    let set = |pointer: &'static str, to: Value| {
        move |value: &mut Value| *value.pointer_mut(pointer).unwrap() = to.clone()
    };
    assert_eq!(check(&set("/columns/0/deviation", json!(0.0)), 1), spread);
    assert_eq!(check(&set("/columns/0/deviation", json!(1e-320)), 1), spread);
    assert_eq!(check(&set("/columns/0/scale", json!(-1.0)), 4), spread);
    assert_eq!(check(&set("/columns/0/factor", json!(0.0)), 6), spread);
    // Beyond single precision.
    assert_eq!(check(&set("/columns/0/mean", json!(1e60)), 3), spread);
    let range = "the scaler's column `a` has a `min` above its `max`";
    assert_eq!(check(&set("/columns/0/min", json!(5.0)), 5), range);
    assert_eq!(check(&set("/columns/0/min", json!(5.0)), 2), range);
    let clip = "the scaler's `clip` is not two finite numbers, the lower one first";
    assert_eq!(check(&set("/clip", json!([1.0, 1.0])), 7), clip);
    let bounds = "the scaler's `low` is not below its `high`";
    assert_eq!(check(&set("/low", json!(1.0)), 0), bounds);
    let remove = |value: &mut Value| {
        value.pointer_mut("/columns/0").unwrap().as_object_mut().unwrap().remove("max");
    };
    assert_eq!(check(&remove, 0), "the scaler's column `a` needs `min` and `max`");
}

#[test]
fn constants_are_fitted_but_for_min_max() {
    let columns = [("a".to_owned(), vec![0.1; 7])];
    for kind in [ScalerKind::Standard, ScalerKind::Robust, ScalerKind::None] {
        let scaler = Scaler::fit(kind, &columns).unwrap();
        let single = scaler.single().unwrap();
        let origin = if kind == ScalerKind::None { 0.0 } else { 0.1 };
        // The mean of seven tenths is a tenth but for the last bit.
        assert!((single.apply(2.1) - (2.1 - origin)).abs() < 1e-15, "{kind:?}: the scale is 1");
        assert_eq!(scaler.ranges(), [[0.1, 0.1]]);
    }
    let spread = Err(ScalerError::Spread("a".to_owned()));
    assert_eq!(Scaler::fit(ScalerKind::Minmax, &columns), spread);
    for (_, kind) in ScalerKind::CHOICES {
        for values in [vec![], vec![1.0, f64::NAN], vec![1.0, f64::INFINITY]] {
            assert_eq!(Scaler::fit(kind, &[("a".to_owned(), values)]), spread);
        }
    }
}

/// What the script wrote.
#[derive(Deserialize)]
struct Reference {
    features: Vec<String>,
    fitted: Vec<Vec<f64>>,
    rows: Vec<Vec<f64>>,
    scalers: Vec<Fitted>,
}

#[derive(Deserialize)]
struct Fitted {
    name: String,
    dtype: String,
    attributes: Value,
    scaled: Vec<Vec<f64>>,
    back: Vec<Vec<f64>>,
}

fn reference() -> Reference {
    let text = include_str!("../../../../tests/data/scalers_reference.json");
    serde_json::from_str(text).unwrap()
}

#[test]
fn rows_are_those_of_scikit_learn_bit_for_bit() {
    let Reference { features, rows, scalers, .. } = reference();
    let mut compared = 0;
    for Fitted { name, dtype, attributes, scaled, back } in scalers {
        let precision = if dtype == "float32" { Precision::Single } else { Precision::Double };
        let scikit = Scikit::read(&attributes.to_string()).unwrap();
        let affine = scikit.scaler(&features, precision).unwrap().affine().unwrap();
        for ((raw, expected), back) in rows.iter().zip(&scaled).zip(&back) {
            for (column, affine) in affine.iter().enumerate() {
                let value = affine.apply(raw[column]);
                let at = format!("{name}, {dtype}, {} of column {column}", raw[column]);
                assert_eq!(value.to_bits(), expected[column].to_bits(), "{at}: {value}");
                // Back is in double precision for either, as it is there for such an array.
                if precision == Precision::Double {
                    let inverse = affine.invert(value);
                    assert_eq!(inverse.to_bits(), back[column].to_bits(), "{at}: back {inverse}");
                }
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 2 * 11 * 24 * 5);
}

#[test]
fn fits_are_those_of_scikit_learn() {
    let Reference { features, fitted, scalers, .. } = reference();
    let column = |at: usize| fitted.iter().map(|row| row[at]).collect();
    let columns: Vec<(String, Vec<f64>)> =
        features.iter().enumerate().map(|(at, name)| (name.clone(), column(at))).collect();
    let ranges = Scaler::fit(ScalerKind::None, &columns).unwrap().ranges();
    let lines = || {
        let columns = features.iter().zip(&ranges);
        columns.map(|(name, [min, max])| range(name, *min, *max)).collect()
    };
    let mut compared = 0;
    for Fitted { name, dtype, attributes, .. } in scalers {
        let ours = match name.as_str() {
            _ if dtype == "float32" => continue,
            "StandardScaler()" => Scaler::fit(ScalerKind::Standard, &columns).unwrap(),
            "RobustScaler()" => Scaler::fit(ScalerKind::Robust, &columns).unwrap(),
            "MinMaxScaler((-1, 1))" => Scaler::scikit_minmax([-1.0, 1.0], false, lines()),
            "MinMaxScaler((0.1, 0.9), clip=True)" => {
                Scaler::scikit_minmax([0.1, 0.9], true, lines())
            }
            _ => continue,
        };
        let scikit = Scikit::read(&attributes.to_string()).unwrap();
        let theirs = scikit.scaler(&features, Precision::Double).unwrap();
        for raw in &fitted {
            let pair = ours.affine().unwrap().into_iter().zip(theirs.affine().unwrap());
            for ((ours, theirs), raw) in pair.zip(raw) {
                let (ours, theirs) = (ours.apply(*raw), theirs.apply(*raw));
                assert!((ours - theirs).abs() < 1e-12, "{name}: {ours}, not {theirs}");
            }
        }
        if let Scaler::Linear { .. } = ours {
            assert_eq!(ours, theirs, "a line has no sums, so it is the same to the last bit");
        }
        compared += 1;
    }
    assert_eq!(compared, 4);
}

fn attributes(name: &str) -> Value {
    let scaler = reference().scalers.into_iter().find(|scaler| scaler.name == name);
    scaler.unwrap().attributes
}

#[test]
fn a_column_of_a_scaler_serves_a_target() {
    let scikit = Scikit::read(&attributes("MinMaxScaler((-1, 1))").to_string()).unwrap();
    assert_eq!(scikit.width(), 5);
    let target = scikit.column(0, "next_value", Precision::Double).unwrap();
    let features = reference().features;
    let all = scikit.scaler(&features, Precision::Double).unwrap();
    assert_eq!(target.names(), ["next_value"]);
    assert_eq!(target.ranges()[0], all.ranges()[0]);
    assert_eq!(target.single().unwrap().0, all.affine().unwrap()[0]);
    let none = scikit.column(5, "next_value", Precision::Double).unwrap_err();
    assert_eq!(none, ["the scaler has 5 columns and no column 5"]);
}

#[test]
fn features_in_another_order_than_the_scaler_are_refused() {
    let scikit = Scikit::read(&attributes("StandardScaler()").to_string()).unwrap();
    let mut features = reference().features;
    let read = |features: &[String]| scikit.scaler(features, Precision::Double);
    assert!(read(&features).is_ok());
    features.swap(0, 1);
    let order = "the features need the order of the scaler";
    let expected = [
        format!(
            "feature_names_in_[0]: is `close`, and feature 0 of the model is `volume`: {order}"
        ),
        format!(
            "feature_names_in_[1]: is `volume`, and feature 1 of the model is `close`: {order}"
        ),
    ];
    assert_eq!(read(&features).unwrap_err(), expected);
    // Names of its own say nothing about the order.
    features[0] = "log(volume)".to_owned();
    assert!(read(&features).is_ok());
    let expected = "the scaler has 5 columns, the model has 4 features";
    assert_eq!(read(&features[..4]).unwrap_err(), [expected]);
}

#[test]
fn attributes_alone_are_enough() {
    let read = |value: Value| {
        let scikit = Scikit::read(&value.to_string()).unwrap();
        scikit.scaler(&["a".to_owned()], Precision::Double).unwrap().single().unwrap()
    };
    let range = json!({"data_min_": [10], "data_max_": [20], "feature_range": [0, 1]});
    assert_eq!(read(range).apply(12.5), 0.25);
    assert_eq!(read(json!({"scale_": [0.5], "min_": [-1.0]})).apply(4.0), 1.0);
    assert_eq!(read(json!({"mean_": [2.0], "scale_": [4.0]})).apply(4.0), 0.5);
    assert_eq!(read(json!({"center_": [2.0], "scale_": null})).apply(4.0), 2.0);
    assert_eq!(read(json!({"max_abs_": [8.0], "scale_": [8.0]})).apply(4.0), 0.5);
}

#[test]
fn attributes_that_are_wrong_are_all_named() {
    let problems = |text: &str| Scikit::read(text).unwrap_err();
    let cases: [(Value, &[&str]); 15] = [
        (json!([]), &["the attributes of a scaler are one JSON object"]),
        (
            json!({"lambdas_": [1.0]}),
            &["these are the attributes of no fitted scaler that is known: a MinMaxScaler has \
               `data_min_`, `data_max_` and `feature_range`, a StandardScaler `mean_` and \
               `scale_`, a RobustScaler `center_` and `scale_`, a MaxAbsScaler `max_abs_`"],
        ),
        (json!({"mean_": [1.0]}), &["scale_: is missing"]),
        (
            json!({"mean_": ["x"], "scale_": 2.0}),
            &[
                "mean_: has `\"x\"` at 0, which is not a finite number",
                "scale_: must be a list of numbers, one for each column",
            ],
        ),
        (json!({"mean_": [1, 2], "scale_": [1]}), &["scale_: has 1 numbers, and `mean_` has 2"]),
        (
            json!({"mean_": [1, 2], "scale_": [0, -1]}),
            &[
                "scale_[0]: is 0, and a scale is above 0",
                "scale_[1]: is -1, and a scale is above 0",
            ],
        ),
        (json!({"mean_": [], "scale_": []}), &["mean_: has no columns", "scale_: has no columns"]),
        (
            json!({"mean_": [1], "scale_": [1], "with_mean": 1}),
            &["with_mean: must be true or false"],
        ),
        (
            json!({"mean_": null, "scale_": null, "n_features_in_": 1e18}),
            &["the scaler has no numbers in `mean_` and `scale_`: it changes nothing"],
        ),
        (
            json!({"mean_": [1], "scale_": [1], "n_features_in_": 2, "feature_names_in_": [3]}),
            &[
                "feature_names_in_: must be a list of names, one for each column",
                "n_features_in_: is 2, and the scaler has 1 columns",
            ],
        ),
        (
            json!({"data_min_": [1], "data_max_": [2]}),
            &["a MinMaxScaler needs `scale_` and `min_`, or `data_min_`, `data_max_` and \
               `feature_range`"],
        ),
        (
            json!({"data_min_": [3], "data_max_": [2], "feature_range": [0, 1]}),
            &["data_min_[0]: is 3, above `data_max_[0]`, 2"],
        ),
        (
            json!({"scale_": [1], "min_": [0], "feature_range": [1, 1], "clip": true}),
            &[
                "feature_range: must be two numbers, the lower one first",
                "clip: needs `feature_range`",
            ],
        ),
        (
            json!({"scale_": [0.2], "min_": [0], "feature_range": [0, 1],
                   "data_min_": [0], "data_max_": [10]}),
            &["scale_[0]: with `min_[0]` does not map `data_min_[0]` and `data_max_[0]` onto \
               `feature_range`: are these the attributes of one scaler?"],
        ),
        (
            json!({"max_abs_": [1], "scale_": [1], "clip": true}),
            &["clip: of a MaxAbsScaler cannot be taken over; it must be false"],
        ),
    ];
    for (value, expected) in cases {
        assert_eq!(problems(&value.to_string()), expected, "{value}");
    }
    let not_json = problems("{\"mean_\": [NaN]}");
    assert!(not_json[0].starts_with("the attributes of a scaler are not JSON: "), "{not_json:?}");
    let hint = "; Python writes NaN and Infinity, which are not JSON";
    assert!(not_json[0].ends_with(hint), "{not_json:?}");
}
