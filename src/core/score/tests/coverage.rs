//! What adaptive intervals hold, and how wide they are, beside constant ones. Prints the table of
//! `docs/scores.md`.

use super::*;
use crate::core::forecast::Intervals;

/// Scores of one stream.
const SCORES: usize = 20_000;

/// What intervals hold of 90 % errors that are as in the calm part of a stream: 1.645 deviations.
const CALM_MARGIN: f64 = 1.644_853_627;

/// How errors come about.
#[derive(Clone, Copy, Debug)]
enum Regimes {
    /// Normal errors, the same all the time.
    None,
    /// Errors so many times as large in storms; calm and storm end with this probability.
    Storms { factor: f64, ends: f64 },
    /// As storms, with errors of Student's t with 3 degrees of freedom.
    HeavyStorms { factor: f64, ends: f64 },
    /// Their size has clusters: GARCH(1,1) with 0.1 and 0.88.
    Clusters,
    /// Every so many scores their size is another one, between a tenth and ten times.
    Levels { every: usize },
}

/// The errors of a stream in units of the calm deviation.
fn errors(regimes: Regimes, seed: u64) -> Vec<f64> {
    let mut draws = Draws::new(seed);
    // The first numbers of small seeds are small themselves.
    for _ in 0..64 {
        draws.unit();
    }
    let (mut is_storm, mut variance, mut size) = (false, 1.0, 1.0);
    let error = |at: usize| match regimes {
        Regimes::None => draws.normal(),
        Regimes::Storms { factor, ends } | Regimes::HeavyStorms { factor, ends } => {
            is_storm ^= draws.unit() < ends;
            let size = if is_storm { factor } else { 1.0 };
            let is_heavy = matches!(regimes, Regimes::HeavyStorms { .. });
            size * if is_heavy { draws.heavy() / 3f64.sqrt() } else { draws.normal() }
        }
        Regimes::Clusters => {
            let shock = draws.normal();
            let error = f64::sqrt(variance) * shock;
            variance = 0.02 + variance * (0.1 * shock * shock + 0.88);
            error
        }
        Regimes::Levels { every } => {
            if at.is_multiple_of(every) {
                size = 10f64.powf(2.0 * draws.unit() - 1.0);
            }
            size * draws.normal()
        }
    };
    (0..SCORES).map(error).collect()
}

/// The share of truths that the intervals of a stream hold, and their mean width.
fn held(errors: &[f64], intervals: Intervals, margin: f64) -> (f64, f64) {
    let target = Target::NextValue { field: "rain".into() };
    // Small enough for no interval to end where rain does.
    const UNIT: f64 = 1e-4;
    let forecast_plan = forecast_plan(&target, margin * UNIT);
    let mut score_plan = ScorePlan::new(target.truth(&schema()).unwrap(), 1, &forecast_plan);
    score_plan.intervals = intervals;
    let mut book = ScoreBook::new(score_plan);
    book.keep();
    book.add_symbol(&Symbol::new("A").unwrap());
    let moment = |error: &f64| Moment {
        close: 1.0,
        rain: Some(0.5 + UNIT * error),
        after_gap: false,
        patched: false,
        value: Some(0.5),
    };
    let moments: Vec<_> = errors.iter().map(moment).collect();
    let (scores, _) = live(&mut book, &forecast_plan, &moments);
    assert_eq!(scores.len(), errors.len() - 1);
    let count = scores.len() as f64;
    let covered = scores.iter().filter(|score| score.covered()).count() as f64;
    let width: f64 = scores.iter().map(|score| (score.upper - score.lower) / UNIT).sum();
    (covered / count, width / count)
}

#[test]
fn adaptive_intervals_hold_their_promise_over_regimes_and_are_no_wider_than_a_constant() {
    println!(
        "share held and mean width, of {SCORES} scores, in calm deviations: the bundle's interval; \
         the constant that holds 0.9 of this very stream; the adaptive one"
    );
    for (regimes, seed) in [
        (Regimes::None, 1),
        (Regimes::Storms { factor: 3.0, ends: 0.002 }, 2),
        (Regimes::Storms { factor: 3.0, ends: 0.01 }, 3),
        (Regimes::Storms { factor: 10.0, ends: 0.002 }, 4),
        (Regimes::HeavyStorms { factor: 3.0, ends: 0.002 }, 5),
        (Regimes::Clusters, 6),
        (Regimes::Levels { every: 1000 }, 7),
    ] {
        let errors = errors(regimes, seed);
        let (bundle, bundle_width) = held(&errors, Intervals::Bundle, CALM_MARGIN);
        let (adaptive, width) = held(&errors, Intervals::Adaptive, CALM_MARGIN);
        // Known only when all is over.
        let mut sizes: Vec<_> = errors.iter().map(|error| error.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        let (constant, constant_width) = held(&errors, Intervals::Bundle, sizes[SCORES * 9 / 10]);
        println!(
            "{regimes:?}: {bundle:.3} {bundle_width:.2}; {constant:.3} {constant_width:.2}; \
             {adaptive:.3} {width:.2}"
        );
        assert!((adaptive - 0.9).abs() < 0.02, "{regimes:?}: {adaptive}");
        assert!((constant - 0.9).abs() < 0.01, "{regimes:?}: {constant}");
        // Without regimes there is nothing to gain, and little to lose.
        assert!(width < 1.05 * constant_width, "{regimes:?}: {width} {constant_width}");
    }
}
