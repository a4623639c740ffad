//! Parts, labels and scalers of histories that are made up.

use super::super::config;
use super::super::rows::scaled_rows;
use super::*;
use crate::core::domain::{Field, Fields, Step};
use crate::core::features::ScalerKind;

/// A series of daily closes and volumes, one day in `gap` days.
fn series(symbol: &str, days: usize, gap: i64, close: impl Fn(usize) -> f64) -> Series {
    let step = |day: usize| {
        let mut fields = Fields::EMPTY;
        fields.set_checked(Field::CLOSE, close(day)).unwrap();
        fields.set_checked(Field::VOLUME, 1000.0 + (day % 7) as f64).unwrap();
        let time = UnixNanos::from_nanos(day as i64 * gap * 86_400_000_000_000);
        Step { time, fields, after_gap: false, patched: false }
    };
    Series { symbol: symbol.to_owned(), steps: (0..days).map(step).collect() }
}

fn history(series: Vec<Series>) -> History {
    History { series, data_sha256: String::new() }
}

/// With the tutorial's features, unless the text names others.
fn config(text: &str) -> TrainConfig {
    let features = "[window]\nfeatures = ['close', 'volume', 'change']\n";
    let text = match text {
        text if text.contains("features") => text.to_owned(),
        text if text.contains("[window]\n") => text.replace("[window]\n", features),
        text => format!("{text}{features}"),
    };
    config::read(&format!("[model]\nname = 'm'\n[data]\npath = 'x.csv'\n{text}")).unwrap()
}

fn wavy(day: usize) -> f64 {
    100.0 + day as f64 * 0.1 + (day as f64 * 0.9).sin()
}

#[test]
fn windows_and_labels_are_those_of_the_steps() {
    let config = config("[window]\nsteps = 4\n");
    let history = history(vec![series("A", 101, 1, wavy)]);
    let dataset = Dataset::new(&history, &config).unwrap();
    // 100 rows behind the warm-up of one: 64 for training, 16 for validation, 20 for the test,
    // and each part loses W - 1 rows at its beginning and the horizon at its end.
    let counts = [&dataset.training, &dataset.validation, &dataset.test];
    assert_eq!(counts.map(|part| part.examples.len()), [60, 12, 16]);
    assert_eq!(counts.map(|part| part.windows.len()), [60, 12, 16]);

    let first = dataset.training.examples.at(0);
    assert_eq!(first.step, 4, "the fifth step is the fourth row");
    assert_eq!(first.truth, wavy(5) / wavy(4) - 1.0);
    assert_eq!(first.persistence, 0.0, "no change");
    let scale = |value: f64, low: f64, high: f64| 2.0 * (value - low) / (high - low) - 1.0;
    let closes: Vec<f64> = (1..65).map(wavy).collect();
    let low = closes.iter().copied().fold(f64::INFINITY, f64::min);
    let high = closes.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for (at, example) in dataset.test.examples.iter().enumerate() {
        let window = dataset.test.windows.window(at);
        for (row, values) in window.chunks(3).enumerate() {
            let expected = scale(wavy(example.step + row - 3), low, high);
            assert!((f64::from(values[0]) - expected).abs() < 1e-6, "{values:?}");
        }
    }
}

#[test]
fn a_history_without_a_test_part_has_the_parts_before_it() {
    let config = config("[window]\nsteps = 4\n");
    let whole = history(vec![series("A", 101, 1, wavy)]);
    let day = |day: i64| UnixNanos::from_nanos(day * 86_400_000_000_000);
    let beginning = UnixNanos::from_nanos(i64::MIN);
    let tested = Dataset::new(&whole, &config).unwrap();
    // The test part has the rows from day 81 on.
    let before = whole.before(day(81));
    let untested = Dataset::without_test(&before, &config, beginning).unwrap();
    for (one, other) in
        [(&untested.training, &tested.training), (&untested.validation, &tested.validation)]
    {
        assert_eq!(one.windows, other.windows);
        assert_eq!(one.examples.len(), other.examples.len());
    }
    assert_eq!((untested.test.examples.len(), untested.test.windows.len()), (0, 0));
    assert_eq!(untested.scaler, tested.scaler);
    // Of the 50 rows from day 31 on, 40 are for training. Each part loses W - 1 rows and the
    // horizon.
    let rolling = Dataset::without_test(&before, &config, day(31)).unwrap();
    let counts = [&rolling.training, &rolling.validation].map(|part| part.examples.len());
    assert_eq!(counts, [36, 6]);
    assert_eq!(rolling.training.examples.at(0).as_of, day(34));
    assert_eq!(rolling.training_span, (day(31), day(70)));
}

#[test]
fn the_newest_rows_alone_are_divided_and_the_test_part_may_have_a_date() {
    let day = |day: i64| UnixNanos::from_nanos(day * 86_400_000_000_000);
    let whole = history(vec![series("A", 101, 1, wavy)]);
    let of = |split: &str| {
        let config = config(&format!("[window]\nsteps = 4\n[split]\n{split}\n"));
        Dataset::new(&whole, &config).unwrap()
    };
    let counts = |dataset: &Dataset| {
        let parts = [&dataset.training, &dataset.validation, &dataset.test];
        parts.map(|part| part.examples.len())
    };
    // Of 50 rows 32, 8 and 10; each part loses W - 1 rows and the horizon.
    let newest = of("newest = '50'");
    assert_eq!((counts(&newest), newest.training_span), ([28, 4, 6], (day(51), day(82))));
    assert_eq!(newest.training.examples.at(0).as_of, day(54));
    // Of 30 days 19, 5 and 6.
    assert_eq!(of("newest = '30d'").training_span, (day(71), day(89)));
    assert_eq!(counts(&of("newest = '5y'")), counts(&of("")), "there are no more");
    // 1970-03-12 is day 70: 69 rows before it, of which 55 are for training.
    let dated = of("test_from = '1970-03-12'");
    assert_eq!((counts(&dated), dated.training_span), ([51, 10, 27], (day(1), day(55))));
    assert_eq!(dated.test.examples.at(0).as_of, day(73));
}

#[test]
fn shuffled_labels_leave_rows_and_truths_as_they_are() {
    let config = config("[window]\nsteps = 4\n");
    let honest = Dataset::new(&history(vec![series("A", 201, 1, wavy)]), &config).unwrap();
    let shuffled = |seed| {
        let mut dataset = honest.clone();
        dataset.shuffle_labels(seed);
        dataset
    };
    let (one, again, other) = (shuffled(1), shuffled(1), shuffled(2));
    let parts = |dataset: &Dataset| [dataset.training.clone(), dataset.validation.clone()];
    for at in 0..2 {
        let [honest, one, again, other] =
            [&honest, &one, &again, &other].map(|dataset| parts(dataset)[at].clone());
        assert_ne!(one.windows.labels(), honest.windows.labels());
        assert_ne!(one.windows.labels(), other.windows.labels());
        assert_eq!(one.windows, again.windows);
        let sorted = |part: &Part| {
            let mut labels = part.windows.labels().to_vec();
            labels.sort_unstable_by(f32::total_cmp);
            labels
        };
        assert_eq!(sorted(&one), sorted(&honest));
        for window in 0..honest.windows.len() {
            assert_eq!(one.windows.window(window), honest.windows.window(window));
            assert_eq!(one.examples.at(window).truth, honest.examples.at(window).truth);
        }
    }
    assert_eq!(one.test.windows, honest.test.windows);
}

#[test]
fn the_training_part_is_weighed_and_a_shuffled_label_keeps_its_weight() {
    let plain = config("[window]\nsteps = 4\n");
    let weighted = config("[window]\nsteps = 4\n[fit.weights]\nhalf_life_days = 10\n");
    let history = history(vec![series("A", 201, 1, wavy)]);
    let plain = Dataset::new(&history, &plain).unwrap();
    assert!(plain.training.windows.weights().is_empty());
    let mut weighted = Dataset::new(&history, &weighted).unwrap();
    assert_eq!(weighted.training.windows.labels(), plain.training.windows.labels());
    let weights = weighted.training.windows.weights().to_vec();
    let mean = weights.iter().sum::<f32>() / weights.len() as f32;
    assert!((mean - 1.0).abs() < 1e-5, "{mean}");
    let ratio = weights[weights.len() - 1] / weights[weights.len() - 11];
    assert!((ratio - 2.0).abs() < 1e-5, "ten days make {ratio}");
    assert!(weighted.validation.windows.weights().is_empty());

    let pairs = |dataset: &Dataset| {
        let windows = &dataset.training.windows;
        let pairs = windows.labels().iter().zip(windows.weights());
        let mut pairs: Vec<_> = pairs.map(|(l, w)| (l.to_bits(), w.to_bits())).collect();
        pairs.sort_unstable();
        pairs
    };
    let before = pairs(&weighted);
    let mut unweighted = plain.clone();
    unweighted.shuffle_labels(1);
    weighted.shuffle_labels(1);
    assert_eq!(pairs(&weighted), before);
    assert_ne!(weighted.training.windows.weights(), weights);
    for [one, other] in
        [[&weighted.training, &unweighted.training], [&weighted.validation, &unweighted.validation]]
    {
        assert_eq!(one.windows.labels(), other.windows.labels(), "the order is the same");
    }
}

#[test]
fn every_target_labels_what_came_true_beside_what_was() {
    let rises = |step: usize| if wavy(step + 2) > wavy(step) { 1.0 } else { 0.0 };
    let size = |step: usize| (wavy(step + 2) / wavy(step) - 1.0).abs();
    let volume = |step: usize| 1000.0 + (step % 7) as f64;
    let busy = |step: usize| if volume(step) > 1003.5 { 1.0 } else { 0.0 };
    let log = |step: usize| libm::log(wavy(step + 2) / wavy(step));
    type Check<'a> = (&'a str, &'a dyn Fn(usize) -> f64, &'a dyn Fn(usize) -> f64);
    let checks: [Check; 5] = [
        ("kind = 'next_log_return'", &log, &|_| 0.0),
        ("kind = 'next_direction'", &rises, &|step| rises(step - 2)),
        ("kind = 'next_volatility'", &size, &|step| size(step - 2)),
        ("kind = 'next_value'\nfield = 'volume'", &|step| volume(step + 2), &volume),
        ("kind = 'next_event'\nfield = 'volume'\nabove = 1003.5", &|step| busy(step + 2), &busy),
    ];
    for (text, truth, persistence) in checks {
        let probability = text.contains("direction") || text.contains("event");
        let network = "[network]\ndense = [{ units = 1, activation = 'sigmoid' }]\n";
        let config = config(&format!(
            "[window]\nsteps = 1\n{}[target]\nhorizon_steps = 2\n{text}\n\
             [forecast]\nbuy_above = 1\nsell_below = 0\n",
            if probability { network } else { "" }
        ));
        let dataset = Dataset::new(&history(vec![series("A", 100, 1, wavy)]), &config).unwrap();
        // The first row is of step 1, and the naive forecast begins with step 2.
        assert_eq!(dataset.training.examples.at(0).step, 2, "{text}");
        for example in dataset.training.examples.iter() {
            assert_eq!(example.truth, truth(example.step), "{text}: {example:?}");
            assert_eq!(example.persistence, persistence(example.step), "{text}: {example:?}");
        }
        let labels = dataset.training.windows.labels().iter().map(|l| f64::from(*l));
        let truths = dataset.training.examples.truths();
        let unscaled = labels.zip(truths).all(|(label, truth)| label == truth);
        assert_eq!(unscaled, probability, "{text}: a probability is its own model unit");
    }
}

#[test]
fn an_event_that_never_comes_is_refused() {
    let config = config(
        "[target]\nkind = 'next_event'\nfield = 'volume'\nabove = 1e6\n\
         [network]\ndense = [{ units = 1, activation = 'sigmoid' }]\n",
    );
    let error = Dataset::new(&history(vec![series("A", 500, 1, wavy)]), &config).unwrap_err();
    let expected = "the scaler's column `next_event` has no finite, positive spread";
    assert_eq!(error.to_string(), format!("the training part: {expected}"));
}

#[test]
fn a_stride_thins_the_training_part_alone() {
    let both = history(vec![series("A", 201, 1, wavy), series("B", 101, 2, wavy)]);
    let dataset = |stride: usize| {
        let text = format!("[window]\nsteps = 4\nstride = {stride}\n");
        Dataset::new(&both, &config(&text)).unwrap()
    };
    let (all, thinned) = (dataset(1), dataset(3));
    for at in [0, 1] {
        let of = |dataset: &Dataset| -> Vec<Example> {
            let examples = dataset.training.examples.iter();
            examples.filter(|example| example.series == at).collect()
        };
        let expected: Vec<_> = of(&all).into_iter().step_by(3).collect();
        assert!(expected.len() > 15, "{}", expected.len());
        assert_eq!(of(&thinned), expected);
    }
    let third = all.training.examples.iter().position(|e| e == thinned.training.examples.at(1));
    assert_eq!(third, Some(3));
    assert_eq!(thinned.training.windows.window(1), all.training.windows.window(3));
    let label =
        thinned.target_scaler.single().unwrap().apply(thinned.training.examples.at(1).truth);
    assert_eq!(thinned.training.windows.labels()[1], label as f32);
    assert_eq!(thinned.validation.examples, all.validation.examples);
    assert_eq!(thinned.test.examples, all.test.examples);
    assert_eq!(thinned.scaler, all.scaler, "fitted on all rows");
    assert_eq!(thinned.out_of_range, all.out_of_range);
}

#[test]
fn prices_of_a_growing_series_leave_their_range_and_changes_do_not() {
    let config = config("[window]\nsteps = 4\n");
    let growing = |day: usize| 100.0 * 1.01_f64.powi(day as i32) + (day as f64 * 0.9).sin();
    let history = history(vec![series("A", 400, 1, growing)]);
    let found = Dataset::new(&history, &config).unwrap().out_of_range;
    let shares =
        |feature: usize| (&*found.features[feature].feature, found.features[feature].shares);
    assert_eq!(shares(0), ("close", [Some(0.0), Some(1.0), Some(1.0)]));
    assert_eq!(shares(1), ("volume", [Some(0.0); 3]));
    assert_eq!(shares(2), ("change", [Some(0.0); 3]));
    assert_eq!(found.any, [Some(0.0), Some(1.0), Some(1.0)]);
}

#[test]
fn parts_share_no_row_and_lie_an_embargo_apart() {
    let config = config("[window]\nsteps = 5\n[target]\nhorizon_steps = 3\n");
    let dataset = Dataset::new(&history(vec![series("A", 200, 1, wavy)]), &config).unwrap();
    let parts = [&dataset.training, &dataset.validation, &dataset.test];
    for pair in parts.windows(2) {
        let last = pair[0].examples.at(pair[0].examples.len() - 1).step;
        let first = pair[1].examples.at(0).step;
        assert_eq!(first - last, 5 + 3);
        assert!(first + 1 - 5 > last + 3, "the label's row is before the next window");
    }
}

#[test]
fn the_future_changes_nothing_in_the_training_part() {
    let config = config("[window]\nsteps = 4\n");
    for (name, scaler) in ScalerKind::CHOICES {
        let config = TrainConfig { scaler, ..config.clone() };
        let tame = Dataset::new(&history(vec![series("A", 101, 1, wavy)]), &config).unwrap();
        let wild = |day| if day < 65 { wavy(day) } else { 1e6 };
        let wild = Dataset::new(&history(vec![series("A", 101, 1, wild)]), &config).unwrap();
        assert_eq!(wild.training.windows, tame.training.windows, "{name}");
        assert_eq!(wild.scaler, tame.scaler, "{name}");
        assert_eq!(wild.target_scaler, tame.target_scaler, "{name}");
        assert_ne!(wild.validation.windows, tame.validation.windows, "{name}");
    }
}

#[test]
fn the_distribution_is_that_of_the_training_rows() {
    let config = config("[window]\nsteps = 4\n");
    let both = history(vec![series("A", 701, 1, wavy), series("B", 351, 2, wavy)]);
    let dataset = Dataset::new(&both, &config).unwrap();
    let found = dataset.distribution.clone().unwrap();
    // Of 1,050 rows 64 of 100 are for training.
    assert_eq!((found.rows, found.features.len()), (672, 3));
    assert_eq!((found.from, found.to), dataset.training_span);
    assert_eq!(found.problems(3), Vec::<String>::new());
    assert_eq!([found.features[0].min, found.features[0].max], [-1.0, 1.0], "scaled");
    let wild = |day| if day < 449 { wavy(day) } else { 1e6 };
    let other = history(vec![series("A", 701, 1, wild), series("B", 351, 2, wavy)]);
    let other = Dataset::new(&other, &config).unwrap();
    assert_eq!(other.training_span.1, dataset.training_span.1);
    assert_eq!(other.distribution, Some(found), "the future changes nothing");
    let short = Dataset::new(&history(vec![series("A", 301, 1, wavy)]), &config).unwrap();
    assert_eq!(short.distribution, None);
}

#[test]
fn features_are_scaled_by_the_training_part_as_was_asked() {
    let text = "[window]\nsteps = 4\nfeatures = ['lag(close,1)', 'log(volume)']\n";
    let config = config(text);
    let rows: Vec<f64> = (1..65).map(|day| wavy(day - 1)).collect();
    let mean = rows.iter().sum::<f64>() / 64.0;
    let squares = rows.iter().map(|row| (row - mean) * (row - mean)).sum::<f64>();
    let mut sorted = rows.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let median = f64::midpoint(sorted[31], sorted[32]);
    // The quartiles of 64 values lie a quarter behind one of them.
    let quartile = |at: usize, share: f64| sorted[at] * (1.0 - share) + sorted[at + 1] * share;
    let between = quartile(47, 0.25) - quartile(15, 0.75);
    let (low, high) = (sorted[0], sorted[63]);
    for (name, scaler, expected) in [
        ("minmax", ScalerKind::Minmax, (rows[3] - low) / (high - low) * 2.0 - 1.0),
        ("standard", ScalerKind::Standard, (rows[3] - mean) / (squares / 64.0).sqrt()),
        ("robust", ScalerKind::Robust, (rows[3] - median) / between),
        ("none", ScalerKind::None, rows[3]),
    ] {
        let config = TrainConfig { scaler, ..config.clone() };
        let data = Dataset::new(&history(vec![series("A", 101, 1, wavy)]), &config).unwrap();
        let newest = data.training.windows.window(0)[3 * 2];
        assert!((f64::from(newest) - expected).abs() < 2e-5, "{name}: {newest}, {expected}");
        assert_eq!(data.scaler.ranges()[0], [low, high], "{name}");
    }
}

#[test]
fn all_symbols_are_cut_at_the_same_instant() {
    let config = config("[window]\nsteps = 4\n");
    let both = history(vec![series("A", 200, 1, wavy), series("B", 100, 2, wavy)]);
    let dataset = Dataset::new(&both, &config).unwrap();
    let newest = |part: &Part| part.examples.iter().map(|e| e.as_of).max().unwrap();
    let oldest = |part: &Part| part.examples.iter().map(|e| e.as_of).min().unwrap();
    assert!(newest(&dataset.training) < oldest(&dataset.validation));
    assert!(newest(&dataset.validation) < oldest(&dataset.test));
    for part in [&dataset.training, &dataset.validation, &dataset.test] {
        assert!(part.examples.iter().any(|e| e.series == 0));
        assert!(part.examples.iter().any(|e| e.series == 1));
    }
    // The window of a symbol holds rows of that symbol alone.
    let b = dataset.test.examples.iter().position(|e| e.series == 1).unwrap();
    let mut alone = both.clone();
    alone.series.remove(0);
    let rows = scaled_rows(
        "B",
        &alone.series[0].steps,
        &FeaturePlan::new(&config.features, &[], "next_return", &dataset.scaler).unwrap(),
    )
    .unwrap();
    let newest = dataset.test.examples.at(b).step - 1;
    assert_eq!(dataset.test.windows.window(b), &rows[(newest - 3) * 3..(newest + 1) * 3]);
}

#[test]
fn short_and_constant_histories_are_refused_by_name() {
    let config = config("");
    let short = Dataset::new(&history(vec![series("A", 150, 1, wavy)]), &config);
    let error = short.unwrap_err().to_string();
    assert!(error.starts_with("the validation part has 24 rows and no window: 31 "), "{error}");
    for (name, scaler) in ScalerKind::CHOICES {
        let config = TrainConfig { scaler, ..config.clone() };
        let flat = Dataset::new(&history(vec![series("A", 500, 1, |_| 5.0)]), &config);
        let error = flat.unwrap_err().to_string();
        assert_eq!(
            error, "the training part: the scaler's column `close` has no finite, positive spread",
            "{name}"
        );
    }
}
