//! Plots of figures that are given, and text from data.

use super::super::evaluate::Outcomes;
use super::*;

/// The tags that are open at the end of each line, and a panic where the text is not well-formed:
/// a stand-in for a parser that knows elements, quoted attributes and entities.
pub(in super::super) fn assert_well_formed(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(['<', '&']) {
        let (at, after) = rest[start..].split_at(1);
        if at == "&" {
            let entity = after.split_once(';').map(|(name, _)| name).unwrap();
            let known = ["amp", "lt", "gt", "quot", "#39"];
            assert!(known.contains(&entity), "unknown entity near {:.60}", &rest[start..]);
            rest = after;
            continue;
        }
        let (tag, after) = after.split_once('>').expect("a tag ends");
        rest = after;
        if tag.starts_with('!') || tag.starts_with('?') {
            continue;
        }
        assert!(!tag.contains('<') && tag.matches('"').count() % 2 == 0, "broken tag <{tag}>");
        let name = tag.trim_matches('/').split_whitespace().next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "before {after:.60}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "left open");
}

/// A run of one symbol whose truths and forecasts are given.
fn figures(kind: TargetKind, values: &[f64], truths: &[f64]) -> String {
    let outcomes = Outcomes {
        values: values.to_vec(),
        truths: truths.to_vec(),
        times: vec![UnixNanos::from_nanos(0); values.len()],
        baselines: super::super::baseline::BaselineForecasts {
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

#[test]
fn text_is_escaped() {
    let prose = prose("p < 0.01 at -5 % since 2001-02-03 (-1 to <2)");
    assert_eq!(prose, "p\u{a0}&lt;\u{a0}0.01 at −5\u{a0}% since 2001-02-03 (−1 to &lt;2)");
    assert_eq!(
        escape("<a href=\"x\">'&\u{0}\n"),
        "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\u{fffd}\n"
    );
}
