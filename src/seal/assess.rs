//! How a foreign model does on the history, beside simple forecasts.
//!
//! Owns which windows judge it: those after `data.trained_until`, the first half of which makes the
//! interval where there are enough. Promises that figures of data that the model may have learned
//! are called so. Never fits the model.

use super::config::{PartConfig, SealConfig};
use super::data::{End, Material};
use super::judge::baseline::{BaselineForecasts, Courses, FittedBaselines};
use super::judge::evaluate::{Against, Outcomes, TargetKind, Terms, evaluate, interval, verdict};
use super::judge::{Example, ExampleList};
use crate::core::baseline::{BaselineKind, BaselineSpec};
use crate::core::features::{Scaler, SingleScaler};
use crate::core::forecast::{Interval, Margins, TargetError, Truth};
use crate::engine::model::manifest::Evaluation;

/// With fewer untouched forecasts in either part the interval and the figures are of the same ones.
const PART_MIN: usize = 100;

/// With fewer windows before `data.trained_until` no baseline is fitted.
const FITTED_MIN: usize = 50;

/// How a model does over one horizon.
#[derive(Clone, Debug)]
pub(super) struct Assessment {
    /// Around each value.
    pub(super) interval: Interval,
    /// What the manifest says of the baselines; `None` where none could be fitted.
    pub(super) baselines: Option<BaselineSpec>,
    /// The figures of each part.
    pub(super) evaluation: Vec<Evaluation>,
    /// The evaluation in plain words.
    pub(super) verdict: String,
}

/// A window with a known truth: its place in [`Material::ends`].
type Known = (usize, Example);

/// What judges a model over one horizon.
struct Judge<'j> {
    material: &'j Material,
    config: &'j SealConfig,
    part: PartConfig,
    scaler: SingleScaler,
    kind: TargetKind,
    /// One row `[K]` for each of [`Material::ends`], in model units.
    outputs: &'j [Vec<f32>],
    courses: Courses,
    baselines: Option<FittedBaselines>,
}

/// What came true after each window, where it is known.
fn known(material: &Material, truth: Truth, horizon: usize) -> Vec<Known> {
    let ends = material.ends.iter().enumerate();
    ends.filter_map(|(at, end)| Some((at, material.example(*end, truth, horizon)?))).collect()
}

/// The smallest and largest truth that training saw; of unknown range where there is none, or where
/// it is not known what training saw.
///
/// # Errors
/// [`TargetError`] where the history has no such field.
pub(super) fn truth_range(
    material: &Material,
    config: &SealConfig,
    part: PartConfig,
) -> Result<[f64; 2], TargetError> {
    let truth = config.target.truth(material.plan.raw().schema())?;
    let mut range = [f64::INFINITY, f64::NEG_INFINITY];
    for (_, example) in known(material, truth, part.horizon_steps) {
        let seen = config
            .trained_until
            .is_some_and(|until| material.known_at(&example, part.horizon_steps) <= until);
        if seen {
            range = [range[0].min(example.truth), range[1].max(example.truth)];
        }
    }
    let [min, max] = range;
    Ok(if min <= max { range } else { [f64::NEG_INFINITY, f64::INFINITY] })
}

/// Judges a model by its outputs for all windows of the history.
///
/// # Errors
/// One line where the target or its scaler cannot be used.
pub(super) fn assess(
    material: &Material,
    config: &SealConfig,
    part: PartConfig,
    target_scaler: &Scaler,
    outputs: &[Vec<f32>],
) -> Result<Assessment, String> {
    let truth = config.target.truth(material.plan.raw().schema()).map_err(|e| e.to_string())?;
    let scaler = target_scaler.single().map_err(|error| format!("target.scaler: {error}"))?;
    let known = known(material, truth, part.horizon_steps);
    let kind = TargetKind::of(&config.target);
    let steps = material.history.series.iter().map(|series| series.steps.clone());
    let courses = Courses::new(steps, truth, kind, part.horizon_steps);
    let mut judge =
        Judge { material, config, part, scaler, kind, outputs, courses, baselines: None };
    Ok(match config.trained_until {
        None => judge.of_unknown(&known),
        Some(until) => {
            let horizon = part.horizon_steps;
            let learned = |(_, example): &&Known| material.known_at(example, horizon) <= until;
            let before: Vec<Known> = known.iter().filter(learned).copied().collect();
            let mut after: Vec<Known> =
                known.iter().filter(|(_, example)| example.as_of > until).copied().collect();
            after.sort_by_key(|(_, example)| example.as_of);
            judge.baselines = judge.fit(&before);
            if after.is_empty() { judge.of_seen(&known) } else { judge.of_untouched(&after) }
        }
    })
}

impl Judge<'_> {
    fn fit(&self, known: &[Known]) -> Option<FittedBaselines> {
        let period_steps = self.material.step.period_steps(self.config.period_steps);
        (known.len() >= FITTED_MIN).then(|| {
            let (windows, examples) = self.windows(known);
            FittedBaselines::fit(&self.courses, &windows, &examples, period_steps)
        })
    }

    /// What the manifest says of the baselines, with this one as the one to beat.
    fn spec(&self, against: BaselineKind) -> Option<BaselineSpec> {
        self.baselines.as_ref().map(|baselines| baselines.spec(against))
    }

    /// The best baseline on these forecasts, which are called `part`.
    fn best(&self, known: &[Known], part: &'static str) -> Against {
        let outcomes = self.outcomes(known);
        match self.baselines {
            Some(_) => Against::best_on(outcomes.baselines.best(&outcomes.truths), part),
            None => Against::PERSISTENCE,
        }
    }

    fn windows(&self, known: &[Known]) -> (super::judge::windows::Windows, ExampleList) {
        let ends: Vec<End> = known.iter().map(|(at, _)| self.material.ends[*at]).collect();
        let examples = known.iter().map(|(_, example)| *example).collect();
        (self.material.windows(&ends), examples)
    }

    /// It is not known what the model learned, so nothing is untouched.
    fn of_unknown(&self, known: &[Known]) -> Assessment {
        let (interval, figures) = self.of_one_part("history", known);
        let verdict = figures.as_ref().map_or_else(no_truth, |figures| {
            format!(
                "It is unknown what the model was trained on (data.trained_until), so it may have \
                 learned these forecasts: on {} of them its mean absolute error is {:.6}, that of \
                 \"no change\" {:.6} (skill {:+.3}).{}",
                figures.forecasts,
                figures.mean_absolute_error,
                figures.persistence_mean_absolute_error,
                figures.skill,
                self.interval_words("the same forecasts"),
            )
        });
        let evaluation = figures.into_iter().collect();
        Assessment { interval, baselines: None, evaluation, verdict }
    }

    /// The history ends with the training.
    fn of_seen(&self, known: &[Known]) -> Assessment {
        let (interval, figures) = self.of_one_part("training", known);
        let verdict = figures.as_ref().map_or_else(no_truth, |figures| {
            format!(
                "The history has nothing after data.trained_until, so the model was not judged on \
                 untouched forecasts: on {} that it may have learned its mean absolute error is \
                 {:.6}, that of \"no change\" {:.6}.{}",
                figures.forecasts,
                figures.mean_absolute_error,
                figures.persistence_mean_absolute_error,
                self.interval_words("the same forecasts"),
            )
        });
        // Which one is the best on what it was fitted to says nothing.
        let baselines = self.spec(BaselineKind::Persistence);
        Assessment { interval, baselines, evaluation: figures.into_iter().collect(), verdict }
    }

    /// Forecasts that training did not see.
    fn of_untouched(&self, after: &[Known]) -> Assessment {
        let coverage = self.config.coverage;
        // What one moment has belongs to one part.
        let middle = after[after.len() / 2].1.as_of;
        let (first, second) = after.split_at(after.partition_point(|(_, e)| e.as_of < middle));
        if first.len().min(second.len()) < PART_MIN {
            let (interval, figures) = self.of_one_part("test", after);
            let against = self.best(after, "the same forecasts");
            let verdict = figures.as_ref().map_or_else(no_truth, |figures| {
                let words = verdict(figures, self.kind, coverage, against);
                format!("{words}{}", self.interval_words("the same forecasts"))
            });
            let baselines = self.spec(against.kind);
            let evaluation = figures.into_iter().collect();
            return Assessment { interval, baselines, evaluation, verdict };
        }
        let against = self.best(first, "the validation part");
        let interval = self.interval(first);
        let figures = [("validation", first), ("test", second)]
            .map(|(name, known)| self.figures(name, known, interval));
        let made_of = format!("{} before them", first.len());
        let words = verdict(&figures[1], self.kind, coverage, against);
        let verdict = words + &self.interval_words(&made_of);
        let baselines = self.spec(against.kind);
        Assessment { interval, baselines, evaluation: figures.to_vec(), verdict }
    }

    /// An interval and the figures of the forecasts that it was made of.
    fn of_one_part(&self, name: &str, known: &[Known]) -> (Interval, Option<Evaluation>) {
        let interval = self.interval(known);
        let figures = (!known.is_empty()).then(|| self.figures(name, known, interval));
        (interval, figures)
    }

    /// A sentence on what the interval was made of; a model with its own has nothing made.
    fn interval_words(&self, made_of: &str) -> String {
        match self.config.ends {
            Some(_) => " The interval is the model's own.".to_owned(),
            None => format!(" The interval was made of {made_of}."),
        }
    }

    fn interval(&self, known: &[Known]) -> Interval {
        let coverage = self.config.coverage;
        match self.config.ends {
            Some(_) => Interval { coverage, lower: 0.0, upper: 0.0 },
            None => interval(&self.outcomes(known), coverage),
        }
    }

    fn outcomes(&self, known: &[Known]) -> Outcomes {
        let persistence = || known.iter().map(|(_, example)| example.persistence).collect();
        let baselines = match &self.baselines {
            Some(baselines) => {
                let (windows, examples) = self.windows(known);
                baselines.forecast(&self.courses, &windows, &examples)
            }
            None => {
                BaselineForecasts { persistence: persistence(), ..BaselineForecasts::default() }
            }
        };
        Outcomes {
            values: known.iter().map(|(at, _)| self.value(*at, self.part.value)).collect(),
            truths: known.iter().map(|(_, example)| example.truth).collect(),
            times: known.iter().map(|(_, example)| example.as_of).collect(),
            baselines,
        }
    }

    /// An output in the target's unit.
    fn value(&self, at: usize, column: usize) -> f64 {
        self.scaler.invert(f64::from(self.outputs[at][column]))
    }

    fn figures(&self, name: &str, known: &[Known], interval: Interval) -> Evaluation {
        let terms = Terms {
            kind: self.kind,
            horizon_steps: self.part.horizon_steps,
            interval,
            possible: self.config.target.possible(),
            signal: self.config.signal,
        };
        let mut figures = evaluate(name, &self.outcomes(known), &terms);
        if let Some([lower, upper]) = self.config.ends {
            let margins = Margins { lower: interval.lower, upper: interval.upper };
            // What cannot come true is not published, so it does not count.
            let held = known.iter().filter_map(|(at, example)| {
                let ends = [lower, upper].map(|column| self.value(*at, column));
                let value = self.value(*at, self.part.value);
                let limits = terms.possible.interval_of(value, ends, margins)?;
                Some(limits.hold(example.truth))
            });
            let held: Vec<bool> = held.collect();
            let count = held.iter().filter(|held| **held).count();
            figures.interval_coverage = count as f64 / held.len().max(1) as f64;
        }
        figures
    }
}

fn no_truth() -> String {
    "The history has no window with a known truth, so the model was not judged.".to_owned()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::super::config::read_in;
    use super::*;

    const CONFIG: &str = r#"
model = "model.onnx"
name = "judged"

[window]
steps = 2
features = ["close"]

[scaler]
kind = "none"

[target]
kind = "next_return"

[target.scaler]
kind = "none"

[data]
path = "history.csv"
"#;

    /// A history of so many symbols and days, in which every close is 1 % above the one before, and
    /// the configuration with these lines more.
    fn material(symbols: usize, days: usize, more: &str) -> (SealConfig, Material) {
        let folder = tempfile::tempdir().unwrap();
        let mut history = "symbol,time,close\n".to_owned();
        for symbol in 0..symbols {
            for day in 1..=days {
                let close = 100.0 * 1.01_f64.powi(i32::try_from(day).unwrap());
                writeln!(history, "S{symbol},1970-01-{day:02},{close}").unwrap();
            }
        }
        std::fs::write(folder.path().join("history.csv"), history).unwrap();
        let config = read_in(&format!("{CONFIG}{more}"), Some(folder.path().to_owned())).unwrap();
        let material = Material::read(&config).unwrap();
        (config, material)
    }

    fn assessed(config: &SealConfig, material: &Material, outputs: &[f32]) -> Assessment {
        let outputs = vec![outputs.to_vec(); material.ends.len()];
        assess(material, config, config.parts[0], &config.target_scaler, &outputs).unwrap()
    }

    #[test]
    fn untouched_forecasts_are_divided_only_where_both_parts_have_enough() {
        // Windows end on days 2 to 3 with a known truth, or 2 to 4.
        for (symbols, days, until, parts) in [
            // All of one moment.
            (300, 4, "1970-01-02", &["test"][..]),
            // Two moments of 300, two of 99.
            (300, 5, "1970-01-02", &["validation", "test"]),
            (99, 5, "1970-01-02", &["test"]),
        ] {
            let (config, material) =
                material(symbols, days, &format!("trained_until = \"{until}\"\n"));
            let assessment = assessed(&config, &material, &[0.0]);
            let names: Vec<&str> =
                assessment.evaluation.iter().map(|part| part.part.as_str()).collect();
            assert_eq!(names, parts, "{symbols} symbols, {days} days");
            assert!((assessment.interval.upper - 0.01).abs() < 1e-9, "{:?}", assessment.interval);
            assert!(assessment.evaluation.iter().all(|part| part.forecasts >= 99));
            let made_of = if parts.len() == 1 { "the same forecasts" } else { "300 before them" };
            let end = format!("The interval was made of {made_of}.");
            assert!(assessment.verdict.ends_with(&end), "{}", assessment.verdict);
        }
    }

    #[test]
    fn an_interval_of_the_model_is_judged_as_it_is_published() {
        let output = "\n[output]\nvalue = 1\nlower = 0\nupper = 2\n";
        for until in ["", "trained_until = \"1970-01-02\"\n", "trained_until = \"1970-01-09\"\n"] {
            let (config, material) = material(3, 6, &format!("{until}{output}"));
            // The truth is 0.01, beside the ends and within what holds the value as well.
            let assessment = assessed(&config, &material, &[0.02, 0.0, 0.03]);
            assert_eq!(assessment.evaluation[0].interval_coverage, 1.0, "{until}");
            assert!(assessment.verdict.contains("is the model's own"), "{}", assessment.verdict);
            assert!(!assessment.verdict.contains("was made of"), "{}", assessment.verdict);
            let assessment = assessed(&config, &material, &[0.02, 0.025, 0.03]);
            assert_eq!(assessment.evaluation[0].interval_coverage, 0.0, "{until}");
        }
    }

    #[test]
    fn a_range_of_training_is_known_only_where_the_end_of_training_is() {
        let unknown = [f64::NEG_INFINITY, f64::INFINITY];
        for (until, is_known) in [("", false), ("trained_until = \"1970-01-03\"\n", true)] {
            let (config, material) = material(2, 6, until);
            let close = material.scaler.ranges()[0];
            let truth = truth_range(&material, &config, config.parts[0]).unwrap();
            assert_eq!((close != unknown, truth != unknown), (is_known, is_known), "{until}");
            if is_known {
                assert!((close[1] - 100.0 * 1.01_f64.powi(3)).abs() < 1e-9, "{close:?}");
            }
        }
    }
}
