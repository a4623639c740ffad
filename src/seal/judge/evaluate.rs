//! How good the forecasts are, without flattery.
//!
//! Owns the figures that a manifest carries: errors of the model beside those of the baselines,
//! skill, direction, signals, calibration and whether the interval holds; and the verdict in a
//! sentence. [`super::statistics`] has what the figures are made of.
//!
//! Promises: figures are in the target's unit and made of the values that the daemon would publish.
//! The verdict claims an advantage only where the test finds it (p < 0.05, two-sided) and the whole
//! interval of the skill says so too, and it says so when there is none.
//!
//! Never: sees which part is the test part, or chooses among results.

use super::baseline::BaselineForecasts;
use super::statistics::comparison::{diebold_mariano, skill};
use super::statistics::probability::{expected_calibration_error, log_loss, reliability};
use super::statistics::proportion::{Share, share};
use super::statistics::{
    interval_coverage, mean_absolute_error, root_mean_squared_error, squared_losses, sums_by_moment,
};
use crate::core::baseline::BaselineKind;
use crate::core::domain::UnixNanos;
use crate::core::forecast::{Interval, Margins, Possible, SignalThresholds};
use crate::core::score::direction_hit;
use crate::core::signal::Detection;
use crate::engine::model::manifest::{
    BaselineFigures, Evaluation, ProbabilityFigures, SignalFigures, SignalsFigures,
};

pub use crate::core::score::TargetKind;

/// Stretches of the reliability diagram and of the calibration error.
pub const CALIBRATION_BINS: usize = 10;
/// A p-value below this is a finding.
const SIGNIFICANT: f64 = 0.05;

/// Forecasts of one part and what came true, in the target's unit and in the order of the examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcomes {
    /// The model's values.
    pub values: Vec<f64>,
    /// What came true.
    pub truths: Vec<f64>,
    /// `as_of` of each.
    pub times: Vec<UnixNanos>,
    /// The baselines' values.
    pub baselines: BaselineForecasts,
}

/// By what outcomes are judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// What the values are like.
    pub kind: TargetKind,
    /// How many steps ahead they look.
    pub horizon_steps: usize,
    /// The interval around each value.
    pub interval: Interval,
    /// What can come true.
    pub possible: Possible,
    /// When a value is a signal.
    pub signal: SignalThresholds,
}

/// The narrowest interval `value ± q` that holds `coverage` of future truths, if they behave as
/// these outcomes do: q is the absolute residual of rank ceil((n + 1) coverage), the quantile of
/// split-conformal prediction (Vovk et al., 2005). With too few outcomes for that rank, the
/// largest one.
pub fn interval(outcomes: &Outcomes, coverage: f64) -> Interval {
    let pairs = outcomes.values.iter().zip(&outcomes.truths);
    let mut residuals: Vec<f64> = pairs.map(|(value, truth)| (truth - value).abs()).collect();
    residuals.sort_unstable_by(f64::total_cmp);
    let rank = ((residuals.len() + 1) as f64 * coverage).ceil() as usize;
    let quantile = residuals.get(rank.saturating_sub(1)).or(residuals.last());
    let width = quantile.copied().unwrap_or(0.0);
    Interval { coverage, lower: -width, upper: width }
}

/// The figures of one part, which is called `part`.
pub fn evaluate(part: &str, outcomes: &Outcomes, terms: &Terms) -> Evaluation {
    let Outcomes { values, truths, times, baselines } = outcomes;
    let Terms { interval, possible, signal, .. } = *terms;
    let margins = Margins { lower: interval.lower, upper: interval.upper };
    let persistence = against("persistence", &baselines.persistence, outcomes, terms);
    let fitted = baselines.each(truths).skip(1);
    let fitted = fitted.map(|(kind, forecasts)| against(kind.label(), forecasts, outcomes, terms));
    let direction = direction(values, outcomes, terms);
    let epoch = UnixNanos::from_nanos(0);
    Evaluation {
        part: part.to_owned(),
        from: times.iter().min().copied().unwrap_or(epoch),
        to: times.iter().max().copied().unwrap_or(epoch),
        forecasts: u32::try_from(values.len()).unwrap_or(u32::MAX),
        mean_absolute_error: mean_absolute_error(values, truths),
        root_mean_squared_error: root_mean_squared_error(values, truths),
        persistence_mean_absolute_error: persistence.mean_absolute_error,
        persistence_root_mean_squared_error: persistence.root_mean_squared_error,
        skill: persistence.skill,
        directional_accuracy: direction.map_or(0.0, |share| share.value),
        directional_accuracy_95: direction.map(|share| [share.limits.low, share.limits.high]),
        interval_coverage: interval_coverage(values, truths, margins, possible),
        baselines: std::iter::once(persistence).chain(fitted).collect(),
        probability: (terms.kind == TargetKind::Probability).then(|| {
            let bins = reliability(values, truths, CALIBRATION_BINS);
            ProbabilityFigures {
                brier_score: root_mean_squared_error(values, truths).powi(2),
                log_loss: log_loss(values, truths),
                expected_calibration_error: expected_calibration_error(&bins),
            }
        }),
        signals: Some(SignalsFigures {
            buy: figures(Detection::count(values, truths, |value| value > signal.buy_above)),
            sell: figures(Detection::count(values, truths, |value| value < signal.sell_below)),
        }),
        quantiles: Vec::new(),
    }
}

/// The figures of one baseline, and the model's beside them.
fn against(name: &str, forecasts: &[f64], outcomes: &Outcomes, terms: &Terms) -> BaselineFigures {
    let Outcomes { values, truths, .. } = outcomes;
    let moments = moments(outcomes);
    let losses = |forecasts| sums_by_moment(&moments, &squared_losses(forecasts, truths));
    let (model, baseline) = (losses(values), losses(forecasts));
    let skill = skill(&model, &baseline, terms.horizon_steps);
    let comparison = diebold_mariano(&model, &baseline, terms.horizon_steps);
    let is_probability = terms.kind == TargetKind::Probability;
    BaselineFigures {
        name: name.to_owned(),
        mean_absolute_error: mean_absolute_error(forecasts, truths),
        root_mean_squared_error: root_mean_squared_error(forecasts, truths),
        directional_accuracy: direction(forecasts, outcomes, terms).map(|share| share.value),
        log_loss: is_probability.then(|| log_loss(forecasts, truths)),
        skill: skill.value,
        skill_95: [skill.limits.low, skill.limits.high],
        statistic: comparison.statistic,
        p_value: comparison.p_value,
    }
}

/// How often forecasts are on the right side of what they start from (no change, the last value, an
/// even chance), among the truths that have a side; `None` where no forecast or no truth has one.
fn direction(forecasts: &[f64], outcomes: &Outcomes, terms: &Terms) -> Option<Share> {
    let moments = moments(outcomes);
    let (mut when, mut hits, mut speaks) = (Vec::new(), Vec::new(), false);
    for (at, (forecast, truth)) in forecasts.iter().zip(&outcomes.truths).enumerate() {
        let origin = terms.kind.origin(outcomes.baselines.persistence[at]);
        speaks |= *forecast != origin;
        if let Some(hit) = direction_hit(*forecast, *truth, origin) {
            when.push(moments[at]);
            hits.push(hit);
        }
    }
    if speaks { share(&when, &hits, terms.horizon_steps) } else { None }
}

fn moments(outcomes: &Outcomes) -> Vec<i64> {
    outcomes.times.iter().map(|time| time.as_nanos()).collect()
}

fn figures(detection: Detection) -> SignalFigures {
    let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    SignalFigures {
        told: count(detection.raised),
        happened: count(detection.happened),
        hits: count(detection.hits),
        precision: detection.precision(),
        recall: detection.recall(),
    }
}

/// The baseline that the verdict is about, and where it was found to be the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Against {
    /// Which one.
    pub kind: BaselineKind,
    /// The part in which it had the smallest mean squared error of all; `None` where they were not
    /// compared.
    pub best_on: Option<&'static str>,
}

impl Against {
    /// Persistence, where baselines were not compared.
    pub const PERSISTENCE: Self = Self { kind: BaselineKind::Persistence, best_on: None };

    /// The best on a part.
    pub const fn best_on(kind: BaselineKind, part: &'static str) -> Self {
        Self { kind, best_on: Some(part) }
    }

    /// The comparisons of an evaluation, that with this baseline first.
    fn first_of<'e>(&self, test: &'e Evaluation) -> Vec<&'e BaselineFigures> {
        let is_it = |figures: &&BaselineFigures| figures.name == self.kind.label();
        let (it, others): (Vec<_>, Vec<_>) = test.baselines.iter().partition(is_it);
        [it, others].concat()
    }
}

/// The comparison in a few words: `does not beat the moving average, p = 0.41`. Where the best
/// baseline is beaten and another is not, that one is named as well:
/// `beats persistence, p < 0.001, but does not beat drift, p = 0.16`.
pub fn headline(test: &Evaluation, kind: TargetKind, against: Against) -> String {
    let say = |against: &BaselineFigures| {
        let name = spoken(&against.name, kind);
        format!("{} {name}, {}", claim(against), p_value(against.p_value))
    };
    let comparisons = against.first_of(test);
    let Some(first) = comparisons.first() else {
        return "was not compared with a baseline".to_owned();
    };
    let others = comparisons.iter().filter(|against| claim(against) != BEATS);
    let hardest = others.min_by(|a, b| a.skill.total_cmp(&b.skill));
    match hardest {
        Some(other) if claim(first) == BEATS => format!("{}, but {}", say(first), say(other)),
        _ => say(first),
    }
}

/// The test part in one sentence, the comparison with the best baseline first; `coverage` is what
/// the interval was made to hold.
pub fn verdict(test: &Evaluation, kind: TargetKind, coverage: f64, against: Against) -> String {
    let mut said = "";
    let mut comparisons = Vec::new();
    for (at, figures) in against.first_of(test).into_iter().enumerate() {
        let [low, high] = figures.skill_95;
        let claim = claim(figures);
        // The same claim is not said again: "is worse than persistence and drift".
        let verb = if claim == said { String::new() } else { format!("{claim} ") };
        said = claim;
        let best = against.best_on.filter(|_| at == 0);
        let best = best.map(|part| format!(", the best baseline on {part}"));
        comparisons.push(format!(
            "{verb}{}{} (skill {:+.3}, 95 % {low:+.3} to {high:+.3}, {})",
            spoken(&figures.name, kind),
            best.unwrap_or_default(),
            figures.skill,
            p_value(figures.p_value),
        ));
    }
    let mut text =
        format!("On {} untouched forecasts the model {}", test.forecasts, listed(&comparisons));
    // The direction of a size or of a value says little: after a large one a smaller one is likely.
    let is_informative =
        matches!(kind, TargetKind::Change | TargetKind::LogChange | TargetKind::Probability);
    if let (true, Some([low, high])) = (is_informative, test.directional_accuracy_95) {
        text += &format!(
            "; it gets the direction right in {:.1} % (95 % {:.1} to {:.1} %",
            100.0 * test.directional_accuracy,
            100.0 * low,
            100.0 * high,
        );
        let drift = test.baselines.iter().find(|against| against.name == "drift");
        if let Some((drift, share)) = drift.and_then(|d| Some((d, d.directional_accuracy?))) {
            text += &format!("; {} {:.1} %", spoken(&drift.name, kind), 100.0 * share);
        }
        text += ")";
    }
    let held = 100.0 * test.interval_coverage;
    text + &format!("; its {:.0} % interval holds {held:.1} %.", 100.0 * coverage)
}

const BEATS: &str = "beats";

/// What may be said of the model beside a baseline.
fn claim(against: &BaselineFigures) -> &'static str {
    let [low, high] = against.skill_95;
    let found = against.p_value < SIGNIFICANT;
    if found && against.statistic > 0.0 && low > 0.0 {
        BEATS
    } else if found && against.statistic < 0.0 && high < 0.0 {
        "is worse than"
    } else {
        "does not beat"
    }
}

/// The baseline's name in a sentence.
fn spoken(name: &str, kind: TargetKind) -> &str {
    match (name, kind) {
        ("linear", _) => "the linear model",
        ("average", _) => "the moving average",
        ("seasonal", _) => "the seasonal forecast",
        // The mean of truths that are 0 or 1.
        ("drift", TargetKind::Probability) => "the base rate",
        _ => name,
    }
}

/// `p = 0.41`, with as many digits as say something.
pub fn p_value(p: f64) -> String {
    match p {
        p if p < 0.001 => "p < 0.001".to_owned(),
        p if p < 0.1 => format!("p = {p:.3}"),
        p => format!("p = {p:.2}"),
    }
}

/// `a, b and c`
fn listed(items: &[String]) -> String {
    match items {
        [] => "was not compared with a baseline".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::random::{Purpose, Random};

    fn outcomes(values: &[f64], truths: &[f64]) -> Outcomes {
        let times = (0..values.len()).map(|at| UnixNanos::from_nanos(at as i64)).collect();
        let zeros = vec![0.0; values.len()];
        let baselines = BaselineForecasts {
            persistence: zeros.clone(),
            drift: zeros.clone(),
            linear: zeros,
            ..BaselineForecasts::default()
        };
        Outcomes { values: values.to_vec(), truths: truths.to_vec(), times, baselines }
    }

    fn terms(kind: TargetKind, half_width: f64) -> Terms {
        Terms {
            kind,
            horizon_steps: 1,
            interval: Interval { coverage: 0.9, lower: -half_width, upper: half_width },
            possible: Possible { least: f64::NEG_INFINITY, greatest: f64::INFINITY },
            signal: SignalThresholds { buy_above: 0.15, sell_below: -0.05 },
        }
    }

    #[track_caller]
    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn figures_have_their_hand_computed_values() {
        let mut outcomes = outcomes(&[0.1, -0.1, 0.2, 0.1], &[0.2, 0.1, 0.0, 0.1]);
        outcomes.baselines.drift = vec![0.1; 4];
        let figures = evaluate("test", &outcomes, &terms(TargetKind::Change, 0.15));
        assert_eq!((figures.part.as_str(), figures.forecasts), ("test", 4));
        // Errors 0.1, 0.2, -0.2, 0; truths 0.2, 0.1, 0, 0.1.
        close(figures.mean_absolute_error, 0.125);
        close(figures.root_mean_squared_error, (0.09_f64 / 4.0).sqrt());
        close(figures.persistence_mean_absolute_error, 0.1);
        close(figures.persistence_root_mean_squared_error, (0.06_f64 / 4.0).sqrt());
        close(figures.skill, 1.0 - 0.09 / 0.06);
        // The third truth has no direction, and "no change" tells none.
        close(figures.directional_accuracy, 2.0 / 3.0);
        let directions: Vec<_> =
            figures.baselines.iter().map(|against| against.directional_accuracy).collect();
        assert_eq!(directions, [None, Some(1.0), None]);
        close(figures.interval_coverage, 0.5);
        assert_eq!((figures.from.as_nanos(), figures.to.as_nanos()), (0, 3));
        // Drift is wrong by 0.1, 0, -0.1, 0.
        close(figures.baselines[1].root_mean_squared_error, (0.02_f64 / 4.0).sqrt());
        close(figures.baselines[1].skill, 1.0 - 0.09 / 0.02);
        let signals = figures.signals.unwrap();
        assert_eq!((signals.buy.told, signals.buy.happened, signals.buy.hits), (1, 1, 0));
        assert_eq!((signals.sell.told, signals.sell.precision), (1, Some(0.0)));
        assert_eq!(figures.probability, None);
    }

    #[test]
    fn probabilities_have_scores_of_their_own() {
        let outcomes = outcomes(&[0.9, 0.2, 0.6], &[1.0, 0.0, 0.0]);
        let figures = evaluate("test", &outcomes, &terms(TargetKind::Probability, 0.5));
        let probability = figures.probability.unwrap();
        close(probability.brier_score, (0.01 + 0.04 + 0.36) / 3.0);
        close(probability.log_loss, -(0.9_f64 * 0.8 * 0.4).ln() / 3.0);
        close(probability.expected_calibration_error, (0.1 + 0.2 + 0.6) / 3.0);
        close(figures.directional_accuracy, 2.0 / 3.0);
        // Always saying "no" is right in two of three.
        close(figures.baselines[0].directional_accuracy.unwrap(), 2.0 / 3.0);
        assert!(figures.baselines[0].log_loss.unwrap() > 10.0, "a certainty that was wrong");
    }

    #[test]
    fn the_direction_of_a_value_is_from_the_last_one() {
        let mut outcomes = outcomes(&[11.0, 9.0, 12.0], &[12.0, 8.0, 9.0]);
        outcomes.baselines.persistence = vec![10.0; 3];
        for kind in [TargetKind::Level, TargetKind::Amount] {
            let figures = evaluate("test", &outcomes, &terms(kind, 1.0));
            close(figures.directional_accuracy, 2.0 / 3.0);
        }
    }

    #[test]
    fn symbols_that_move_together_are_no_further_evidence() {
        let mut random = Random::new(3, Purpose::Order);
        let truths: Vec<f64> = (0..60).map(|_| random.normal()).collect();
        let values: Vec<f64> = truths.iter().map(|t| 0.2 * t + 0.3 * random.normal()).collect();
        let alone = outcomes(&values, &truths);
        let mut thrice = outcomes(&values.repeat(3), &truths.repeat(3));
        thrice.times = alone.times.repeat(3);
        let terms = terms(TargetKind::Change, 1.0);
        let (alone, thrice) = (evaluate("test", &alone, &terms), evaluate("test", &thrice, &terms));
        close(thrice.baselines[0].p_value, alone.baselines[0].p_value);
        close(thrice.baselines[0].skill_95[0], alone.baselines[0].skill_95[0]);
        let width = |limits: Option<[f64; 2]>| limits.map(|[low, high]| high - low).unwrap();
        close(width(thrice.directional_accuracy_95), width(alone.directional_accuracy_95));
    }

    #[test]
    fn the_interval_is_the_conformal_quantile() {
        let truths: Vec<f64> =
            (1..=19).map(f64::from).map(|k| if k > 9.0 { -k } else { k }).collect();
        let outcomes = outcomes(&[0.0; 19], &truths);
        // Rank ceil(20 * 0.9) = 18 of the absolute residuals 1 to 19.
        let interval = interval(&outcomes, 0.9);
        assert_eq!((interval.lower, interval.upper, interval.coverage), (-18.0, 18.0, 0.9));
        assert_eq!(super::interval(&outcomes, 0.99).upper, 19.0, "the largest one at most");
        // Rank ceil(20 * 0.87) = 18; without the outcome to come it would be ceil(16.53) = 17.
        assert_eq!(super::interval(&outcomes, 0.87).upper, 18.0);
    }

    #[test]
    fn the_interval_holds_its_share_of_fresh_outcomes() {
        let mut random = Random::new(1, Purpose::Order);
        let mut draw = |count: usize| -> Vec<f64> { (0..count).map(|_| random.normal()).collect() };
        let interval = interval(&outcomes(&[0.0; 500], &draw(500)), 0.9);
        let terms = Terms { interval, ..terms(TargetKind::Change, 0.0) };
        let fresh = evaluate("test", &outcomes(&[0.0; 5000], &draw(5000)), &terms);
        assert!((fresh.interval_coverage - 0.9).abs() < 0.03, "{}", fresh.interval_coverage);
    }

    #[test]
    fn the_verdict_tells_knowledge_from_noise() {
        // A seed whose noise is not of the one in twenty that chance lets through; the share of
        // those is tested below.
        let mut random = Random::new(4, Purpose::Order);
        let truths: Vec<f64> = (0..1000).map(|_| 0.01 * random.normal()).collect();
        let knowing: Vec<f64> = truths.iter().map(|t| 0.3 * t + 0.002 * random.normal()).collect();
        let noise: Vec<f64> = truths.iter().map(|_| 1e-5 * random.normal()).collect();
        let wrong: Vec<f64> = truths.iter().map(|_| 0.02).collect();
        for (values, claim, comparison) in [
            (&knowing, "beats", "persistence, p < 0.001"),
            (&noise, "does not beat", "persistence, p = 0."),
            (&wrong, "is worse than", "persistence, p < 0.001"),
        ] {
            let outcomes = outcomes(values, &truths);
            let figures = evaluate("test", &outcomes, &terms(TargetKind::Change, 0.02));
            let text = headline(&figures, TargetKind::Change, Against::PERSISTENCE);
            assert!(text.starts_with(&format!("{claim} {comparison}")), "{text}");
            let text = verdict(&figures, TargetKind::Change, 0.9, Against::PERSISTENCE);
            let start =
                format!("On 1000 untouched forecasts the model {claim} persistence (skill ");
            assert!(text.starts_with(&start), "{text}");
            assert!(text.contains(" and the linear model (skill "), "{text}");
            assert!(text.contains("; it gets the direction right in "), "{text}");
            let text = verdict(&figures, TargetKind::Amount, 0.9, Against::PERSISTENCE);
            assert!(!text.contains("direction"), "{text}");
        }
    }

    #[test]
    fn noise_rarely_passes_for_knowledge() {
        let mut random = Random::new(2, Purpose::Order);
        let mut claims = [0; 2];
        for _ in 0..400 {
            let truths: Vec<f64> = (0..300).map(|_| 0.01 * random.normal()).collect();
            let noise: Vec<f64> = (0..300).map(|_| 1e-4 * random.normal()).collect();
            let figures =
                evaluate("test", &outcomes(&noise, &truths), &terms(TargetKind::Change, 0.02));
            let text = headline(&figures, TargetKind::Change, Against::PERSISTENCE);
            claims[0] += usize::from(text.starts_with("beats"));
            claims[1] += usize::from(text.starts_with("is worse"));
        }
        // 2.5 % of 400 are 10; four standard errors more are 22.
        assert!(claims.iter().all(|count| *count > 0 && *count <= 22), "{claims:?} of 400");
    }

    #[test]
    fn an_easy_victory_is_not_the_whole_headline() {
        let mut random = Random::new(7, Purpose::Order);
        let events: Vec<f64> =
            (0..500).map(|_| f64::from(u8::from(random.unit_f64() < 0.5))).collect();
        let values: Vec<f64> = (0..500).map(|_| 0.5 + 0.01 * random.normal()).collect();
        let mut outcomes = outcomes(&values[1..], &events[1..]);
        // That of yesterday for certain is wrong every other day; the base rate is hard to beat.
        outcomes.baselines.persistence = events[..499].to_vec();
        outcomes.baselines.drift = vec![0.5; 499];
        outcomes.baselines.linear = events[..499].to_vec();
        let figures = evaluate("test", &outcomes, &terms(TargetKind::Probability, 0.5));
        let say =
            |figures: &Evaluation, against| headline(figures, TargetKind::Probability, against);
        let text = say(&figures, Against::PERSISTENCE);
        let start = "beats persistence, p < 0.001, but does not beat the base rate, p = 0.";
        assert!(text.starts_with(start), "{text}");
        // The best baseline is the one to beat.
        let drift = Against::best_on(BaselineKind::Drift, "the validation part");
        let text = say(&figures, drift);
        assert!(text.starts_with("does not beat the base rate, p = 0."), "{text}");
        let text = verdict(&figures, TargetKind::Probability, 0.9, drift);
        let start = "On 499 untouched forecasts the model does not beat the base rate, the best \
                     baseline on the validation part (skill ";
        assert!(text.starts_with(start), "{text}");
        assert!(text.contains("), beats persistence (skill "), "{text}");
        let mut figures = figures;
        figures.baselines.remove(1);
        assert_eq!(say(&figures, Against::PERSISTENCE), "beats persistence, p < 0.001");
    }

    #[test]
    fn a_claim_needs_the_test_and_the_whole_interval() {
        let outcomes = outcomes(&[0.1, 0.2], &[0.1, 0.3]);
        let figures = evaluate("test", &outcomes, &terms(TargetKind::Change, 0.1));
        let of = |p_value, statistic, skill_95| {
            let against = figures.baselines[0].clone();
            claim(&BaselineFigures { p_value, statistic, skill_95, ..against })
        };
        assert_eq!(of(0.01, 3.0, [0.1, 0.2]), "beats");
        assert_eq!(of(0.06, 3.0, [0.1, 0.2]), "does not beat");
        assert_eq!(of(0.01, 3.0, [-0.1, 0.2]), "does not beat");
        assert_eq!(of(0.01, -3.0, [-0.2, -0.1]), "is worse than");
        assert_eq!(of(0.01, -3.0, [-0.2, 0.1]), "does not beat");
    }
}
