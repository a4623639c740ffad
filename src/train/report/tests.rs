//! Plots of figures that are given.

use super::*;
use crate::report::well_formed::assert_well_formed;
use crate::train::evaluate::Outcomes;
use crate::train::out_of_range::FeatureOutOfRange;

/// A run of one symbol whose truths and forecasts are given.
fn figures(kind: TargetKind, values: &[f64], truths: &[f64]) -> String {
    let outcomes = Outcomes {
        values: values.to_vec(),
        truths: truths.to_vec(),
        times: vec![UnixNanos::from_nanos(0); values.len()],
        baselines: crate::train::baseline::BaselineForecasts {
            persistence: vec![0.0; values.len()],
            ..Default::default()
        },
    };
    let mut text = plots::errors(&outcomes, kind).plot.file();
    text += &match kind {
        TargetKind::Probability => plots::calibration(&outcomes).plot.file(),
        _ => plots::scatter(&outcomes, kind).plot.file(),
    };
    assert_well_formed(&text);
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    text
}

#[test]
fn plots_of_few_or_equal_values_are_whole() {
    for kind in [
        TargetKind::Change,
        TargetKind::LogChange,
        TargetKind::Amount,
        TargetKind::Level,
        TargetKind::Probability,
    ] {
        figures(kind, &[0.5], &[0.5]);
        figures(kind, &[0.0, 0.0, 0.0], &[0.0, 0.0, 0.0]);
        figures(kind, &[f64::NAN, 1.0], &[1.0, 0.0]);
    }
}

#[test]
fn features_that_are_often_out_of_range_are_a_warning() {
    let feature = |name: &str, validation, test| FeatureOutOfRange {
        feature: name.to_owned(),
        shares: [Some(0.0), Some(validation), Some(test)],
    };
    let features = vec![feature("close", 0.051, 1.0), feature("change", 0.05, 0.02)];
    let found = OutOfRange { features, any: [Some(0.0), Some(0.06), Some(1.0)] };
    let told = out_of_range(&found);
    assert!(told.contains("close           0.0 %       5.1 %  100.0 %\n"), "{told}");
    assert!(told.contains("any feature     0.0 %       6.0 %  100.0 %\n"), "{told}");
    assert_eq!(told.matches("warning: ").count(), 2, "{told}");
    let warning = "warning: out of range in more than 5 % of the test windows: `close` 100 %. ";
    assert!(told.contains(warning) && !told.contains("`change` "), "{told}");

    let plot = plots::out_of_range(&found).plot.file();
    assert_well_formed(&plot);
    let none = OutOfRange { any: [None; 3], features: vec![feature("close", 0.0, 0.0)] };
    let told = out_of_range(&none);
    assert!(told.contains("any feature") && !told.contains("warning: "), "{told}");
}

/// By hand: the plot's inner width is 668 and its height 250; a bin of three forecasts with mean
/// 0.25, one of which came true, stands at a quarter of the width and a third of the height / 1.02.
#[test]
fn the_calibration_plot_shows_the_bins() {
    let text = figures(TargetKind::Probability, &[0.25, 0.25, 0.25, 0.9], &[1.0, 0.0, 0.0, 1.0]);
    let x = 74.0 + 668.0 * 0.25;
    let y = 308.0 - 250.0 / 1.02 / 3.0;
    let dot = format!("<circle class=\"dot model\" cx=\"{x:.1}\" cy=\"{y:.1}\"");
    assert!(text.contains(&dot), "{dot} is not in {text}");
}
