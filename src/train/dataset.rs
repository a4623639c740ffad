//! From steps to examples: features, labels, the split in time and the scalers.
//!
//! Owns what an example is: the window of the W rows up to a step, and the label that becomes known
//! `horizon` steps later. Rows come from the `features` that the daemon runs. The examples are the
//! same where the state is carried: what is then read beside the window is all that was before it.
//!
//! Promises: the parts follow each other in time, and no row of a window and no row behind a label
//! belongs to two parts, so the newest step of the last example of one part and that of the first
//! of the next lie W + horizon rows apart (the embargo). The scalers are fitted on the training
//! part alone, rows and labels.
//!
//! Never: shuffles rows or windows, or lets a row see a later one.

use std::ops::Range;

use thiserror::Error;

use super::baseline::{Courses, FittedBaselines};
use super::config::schedule::newest;
use super::config::{Split, StateRule, TrainConfig};
use super::fit::carried;
use super::fit::{Examples, Labelled, predict};
use super::history::{History, Series};
use super::look_ahead::{self, LookAheadError};
use super::network::Network;
use super::random::{Purpose, Random};
use super::sequences::{Place, Sequences};
use super::windows::Windows;
use crate::core::domain::{Reject, Step, UnixNanos};
use crate::core::features::{
    ColumnRange, FeatureError, FeaturePlan, RawFeatures, RowStatus, Scaler, ScalerError,
    SingleScaler,
};
use crate::core::forecast::{Target, TargetError, TargetKind, Truth};
use crate::core::shift::{self, DistributionSpec};

pub use crate::seal::judge::Example;

/// The history in its three parts, scaled.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Raw features to model units.
    pub scaler: Scaler,
    /// Labels to model units.
    pub target_scaler: Scaler,
    /// What the network is fitted to.
    pub training: Part,
    /// What decides when to stop, and the width of the interval.
    pub validation: Part,
    /// What nothing but the last evaluation sees.
    pub test: Part,
    /// What baselines read of the steps of every series.
    pub courses: Courses,
    /// The rows of every series from the beginning of its history on, where the state is carried
    /// through them; `None` where every window begins with a fresh one.
    pub sequences: Option<Sequences>,
    /// Event time of the first and the last row of the training part.
    pub training_span: (UnixNanos, UnixNanos),
    /// The distribution of its rows; `None` where they are too few.
    pub distribution: Option<DistributionSpec>,
}

/// One part of the history.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Windows and scaled labels, in the order of `examples`.
    pub windows: Windows,
    /// Where each window comes from.
    pub examples: Vec<Example>,
    /// The place of each window's newest row among those of its whole history.
    pub places: Vec<Place>,
}

/// Why a history gives no dataset.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// The features cannot be resolved.
    #[error("window.features: {0}")]
    Features(#[from] FeatureError),
    /// The stream has no such target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A feature or the label does not vary, or is not finite.
    #[error("the training part: {0}")]
    Scaler(#[from] ScalerError),
    /// A step that gives no row or no label.
    #[error("`{symbol}` at {time}: the step is of no use: {reason}")]
    Row {
        /// The symbol.
        symbol: String,
        /// The step's time.
        time: UnixNanos,
        /// Why.
        reason: &'static str,
    },
    /// A row that depends on later steps.
    #[error(transparent)]
    LookAhead(#[from] LookAheadError),
    /// A part without a single window.
    #[error(
        "the {part} part has {rows} rows and no window: {needed} rows in a row of one symbol are \
         needed for a window of {window} steps and a label {horizon} later"
    )]
    TooShort {
        /// Which part.
        part: &'static str,
        /// Rows of all symbols in it.
        rows: usize,
        /// Rows needed.
        needed: usize,
        /// W.
        window: usize,
        /// How many steps later the label is known.
        horizon: usize,
    },
}

/// Behind every step.
const END: UnixNanos = UnixNanos::from_nanos(i64::MAX);

/// The names of the parts, in time.
const PARTS: [&str; 3] = ["training", "validation", "test"];

/// The rows of one series: those of its steps behind the warm-up.
struct Rows {
    /// Index of the step of the first row.
    first_step: usize,
    count: usize,
    /// Unscaled, `[count][F]` without gaps.
    raw: Vec<f64>,
}

impl Dataset {
    /// Divides and scales a history.
    ///
    /// # Errors
    /// [`DatasetError`], naming the feature, the step or the part at fault.
    pub fn new(history: &History, config: &TrainConfig) -> Result<Self, DatasetError> {
        Self::divided(history, config, PARTS.len(), |times| cuts(times, config.split))
    }

    /// The same of a history that ends with its validation part: the test part is empty. The
    /// training part begins at `from`; features see the rows before it.
    ///
    /// # Errors
    /// As [`Dataset::new`].
    pub fn without_test(
        history: &History,
        config: &TrainConfig,
        from: UnixNanos,
    ) -> Result<Self, DatasetError> {
        Self::divided(history, config, PARTS.len() - 1, |times| {
            let times = &times[times.partition_point(|time| *time < from)..];
            let split = Split { test: 0.0, test_from: None, newest: None, ..config.split };
            let [_, validation, ..] = cuts(times, split);
            [from, validation, END, END]
        })
    }

    /// Puts the labels of the training part into a random order, and those of the validation part,
    /// so that rows say nothing about them. The examples keep their truths, by which baselines are
    /// fitted and intervals are judged.
    pub fn shuffle_labels(&mut self, seed: u64) {
        let mut random = Random::new(seed, Purpose::Labels);
        for part in [&mut self.training, &mut self.validation] {
            random.shuffle(part.windows.labels_mut());
        }
    }

    /// Divides a history at the instants that `cuts` gives for the times of all rows, in order.
    /// The first `parts_needed` parts may not be empty.
    fn divided(
        history: &History,
        config: &TrainConfig,
        parts_needed: usize,
        cuts: impl FnOnce(&[UnixNanos]) -> [UnixNanos; 4],
    ) -> Result<Self, DatasetError> {
        let label = config.target.label();
        let raw = RawFeatures::new(&config.features, &config.extra_fields, label)?;
        let truth = config.target.truth(raw.schema())?;
        let rows: Vec<Rows> =
            history.series.iter().map(|s| raw_rows(s, &raw)).collect::<Result<_, _>>()?;
        let cuts = cuts(&times(history, &rows));
        let parts = |at: usize| -> Vec<Range<usize>> {
            let series = history.series.iter().zip(&rows);
            series
                .map(|(series, rows)| rows_between(series, rows, cuts[at]..cuts[at + 1]))
                .collect()
        };
        let parts = [parts(0), parts(1), parts(2)];

        let examples = |at: usize| examples(history, &rows, &parts[at], truth, config);
        let examples = [examples(0)?, examples(1)?, examples(2)?];
        for (at, examples) in examples.iter().take(parts_needed).enumerate() {
            if examples.is_empty() {
                return Err(DatasetError::TooShort {
                    part: PARTS[at],
                    rows: parts[at].iter().map(Range::len).sum(),
                    needed: config.window_steps + config.horizon_steps,
                    window: config.window_steps,
                    horizon: config.horizon_steps,
                });
            }
        }
        let (scaler, target_scaler) = match config.scalers.as_deref() {
            Some([rows, target]) => (rows.clone(), target.clone()),
            None => {
                let truths = examples[0].iter().map(|example| example.truth).collect();
                let scaler = fit_scaler(config, &rows, &parts[0])?;
                (scaler, fit_target_scaler(&config.target, truths)?)
            }
        };

        let plan = FeaturePlan::new(&config.features, &config.extra_fields, label, &scaler)?;
        let scaled: Vec<Vec<f32>> = history
            .series
            .iter()
            .map(|s| scaled_rows(&s.symbol, &s.steps, &plan))
            .collect::<Result<_, _>>()?;
        for (series, whole) in history.series.iter().zip(&scaled) {
            let rows = |steps: &[Step]| scaled_rows(&series.symbol, steps, &plan);
            look_ahead::check(&series.symbol, &series.steps, &config.features, whole, rows)?;
        }
        let single = target_scaler.single()?;
        let [training, validation, test] = examples;
        let part = |at: usize, examples: Vec<Example>| {
            let windows = windows(&rows, &scaled, &parts[at], &examples, single, config);
            let place = |Example { series, step, .. }: &Example| Place {
                sequence: *series,
                row: step - rows[*series].first_step,
            };
            Part { windows, places: examples.iter().map(place).collect(), examples }
        };
        let training_span = span(history, &rows, &parts[0]);
        let distribution = distribution(&scaled, &parts[0], config.features.len(), training_span);
        let parts = [part(0, training), part(1, validation), part(2, test)];
        let sequences = (config.state == StateRule::Carried).then(|| {
            let mut sequences = Sequences::new(config.features.len());
            scaled.into_iter().for_each(|rows| sequences.push(rows));
            sequences
        });
        let [training, validation, test] = parts;
        let steps = history.series.iter().map(|series| series.steps.as_slice());
        let kind = TargetKind::of(&config.target);
        let courses = Courses::new(steps, truth, kind, config.horizon_steps);
        Ok(Self {
            scaler,
            target_scaler,
            training,
            validation,
            test,
            courses,
            sequences,
            training_span,
            distribution,
        })
    }

    /// The baselines, fitted to the training part.
    pub fn fit_baselines(&self, config: &TrainConfig) -> FittedBaselines {
        let Part { windows, examples, .. } = &self.training;
        let period_steps = config.step.period_steps(config.period_steps);
        FittedBaselines::fit(&self.courses, windows, examples, period_steps)
    }

    /// What a network is fitted to.
    pub fn examples(&self) -> Examples<'_> {
        let (training, validation) = (&self.training, &self.validation);
        match &self.sequences {
            None => {
                Examples::Windows { training: &training.windows, validation: &validation.windows }
            }
            Some(sequences) => Examples::Carried {
                sequences,
                steps: training.windows.steps(),
                training: training.labelled(),
                validation: validation.labelled(),
            },
        }
    }

    /// The network's values for the examples of one part: of their windows, or at their rows with
    /// the state to which the whole history before them leads. `lanes` divide the work.
    pub fn predict(
        &self,
        network: &Network,
        parameters: &[f32],
        part: &Part,
        lanes: usize,
    ) -> Vec<f32> {
        match &self.sequences {
            None => predict(network, parameters, &part.windows),
            Some(sequences) => {
                let steps = part.windows.steps();
                carried::predict(network, parameters, sequences, &part.places, steps, lanes)
            }
        }
    }
}

impl Part {
    fn labelled(&self) -> Labelled<'_> {
        Labelled { places: &self.places, labels: self.windows.labels() }
    }
}

/// Runs the steps of one series through the features.
fn raw_rows(series: &Series, features: &RawFeatures) -> Result<Rows, DatasetError> {
    let (mut state, mut scratch) = (features.initial_state(), features.scratch());
    let mut rows = Rows { first_step: 0, count: 0, raw: Vec::new() };
    for (at, step) in series.steps.iter().enumerate() {
        let warm = features
            .row(&state, step, &mut scratch)
            .map_err(|reason| refused(&series.symbol, step, reason))?;
        state.absorb(&scratch);
        if warm {
            rows.count += 1;
            rows.raw.extend_from_slice(scratch.raw());
        } else {
            rows.first_step = at + 1;
        }
    }
    Ok(rows)
}

/// The same with the scaler, `[rows, F]`: what a daemon that begins with these steps hands to the
/// model.
pub(super) fn scaled_rows(
    symbol: &str,
    steps: &[Step],
    plan: &FeaturePlan,
) -> Result<Vec<f32>, DatasetError> {
    let (mut state, mut scratch) = (plan.raw().initial_state(), plan.raw().scratch());
    let mut scaled = Vec::new();
    for step in steps {
        let status =
            plan.row(&state, step, &mut scratch).map_err(|reason| refused(symbol, step, reason))?;
        state.absorb(&scratch);
        if let RowStatus::Ready { .. } = status {
            scaled.extend_from_slice(scratch.row());
        }
    }
    Ok(scaled)
}

fn refused(symbol: &str, step: &Step, reason: Reject) -> DatasetError {
    let (symbol, reason) = (symbol.to_owned(), reason.label());
    DatasetError::Row { symbol, time: step.time, reason }
}

/// The times of the rows of all series, in order.
fn times(history: &History, rows: &[Rows]) -> Vec<UnixNanos> {
    let mut times: Vec<UnixNanos> = Vec::new();
    for (series, rows) in history.series.iter().zip(rows) {
        times.extend(series.steps[rows.first_step..].iter().map(|step| step.time));
    }
    times.sort_unstable();
    times
}

/// The instants at which the parts begin, and one after the end: the rows of all series in order
/// of time are divided by count, so that every series is cut at the same instant.
fn cuts(times: &[UnixNanos], split: Split) -> [UnixNanos; 4] {
    let beginning = UnixNanos::from_nanos(i64::MIN);
    let from = split.newest.and_then(|length| newest(times, length)).unwrap_or(beginning);
    let times = &times[times.partition_point(|time| *time < from)..];
    let at = |index: usize| times.get(index).copied().unwrap_or(END);
    let part = |count: usize, share: f64| ((count as f64) * (1.0 - share)) as usize;
    let test = match split.test_from {
        Some(start) => times.partition_point(|time| *time < start),
        None => part(times.len(), split.test),
    };
    let validation = part(test, split.validation);
    [from, at(validation), at(test), END]
}

/// The rows of one series between two instants.
fn rows_between(series: &Series, rows: &Rows, between: Range<UnixNanos>) -> Range<usize> {
    let steps = &series.steps[rows.first_step..];
    let before = |instant: UnixNanos| steps.partition_point(|step| step.time < instant);
    before(between.start)..before(between.end)
}

/// All examples of one part whose window and label lie inside it.
fn examples(
    history: &History,
    rows: &[Rows],
    part: &[Range<usize>],
    truth: Truth,
    config: &TrainConfig,
) -> Result<Vec<Example>, DatasetError> {
    let (window, horizon) = (config.window_steps, config.horizon_steps);
    let mut examples = Vec::new();
    for (index, series) in history.series.iter().enumerate() {
        let Range { start, end } = part[index];
        let first_step = rows[index].first_step;
        // The naive forecast looks back as far as the label looks ahead.
        let first = (start + window - 1).max(horizon.saturating_sub(first_step));
        for row in first..end.saturating_sub(horizon) {
            let step = first_step + row;
            let fields = |step: usize| &series.steps[step].fields;
            let later = &series.steps[step + horizon];
            let at_fault = |reason| refused(&series.symbol, later, reason);
            let known = |value: Option<f64>| match value {
                Some(value) if value.is_finite() => Ok(value),
                Some(_) => Err(at_fault(Reject::NotFinite)),
                None => Err(at_fault(Reject::MissingField)),
            };
            examples.push(Example {
                series: index,
                step,
                as_of: series.steps[step].time,
                truth: known(truth.between(fields(step), fields(step + horizon)))?,
                persistence: known(truth.persistence(fields(step - horizon), fields(step)))?,
            });
        }
    }
    Ok(examples)
}

/// Probabilities are their own model units; anything else becomes -1 to 1.
fn fit_target_scaler(target: &Target, truths: Vec<f64>) -> Result<Scaler, ScalerError> {
    let feature = target.label().to_owned();
    if !target.is_probability() {
        return Scaler::fit_minmax(&[(feature, truths)]);
    }
    let min = truths.iter().copied().fold(f64::INFINITY, f64::min);
    let max = truths.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Refuses a history in which the event came always or never.
    if min >= max {
        return Err(ScalerError::Spread(feature));
    }
    Ok(Scaler::None { columns: vec![ColumnRange { feature, min, max }] })
}

fn fit_scaler(
    config: &TrainConfig,
    rows: &[Rows],
    part: &[Range<usize>],
) -> Result<Scaler, ScalerError> {
    let features = &config.features;
    let width = features.len();
    let column = |feature: usize| -> Vec<f64> {
        let series = rows.iter().zip(part);
        let values = series.flat_map(|(rows, range)| {
            rows.raw[range.start * width..range.end * width].iter().skip(feature).step_by(width)
        });
        values.copied().collect()
    };
    let columns: Vec<_> =
        features.iter().enumerate().map(|(at, name)| (name.clone(), column(at))).collect();
    let scaler = Scaler::fit(config.scaler, &columns)?;
    // Nothing can be learned from a constant, and the first other value would be out of range.
    match scaler.ranges().iter().position(|[min, max]| min >= max) {
        Some(constant) => Err(ScalerError::Spread(features[constant].clone())),
        None => Ok(scaler),
    }
}

/// The windows of one part, in the order of its examples.
fn windows(
    rows: &[Rows],
    scaled: &[Vec<f32>],
    part: &[Range<usize>],
    examples: &[Example],
    target: SingleScaler,
    config: &TrainConfig,
) -> Windows {
    let width = config.features.len();
    let mut windows = Windows::new(config.window_steps, width, 1);
    let firsts: Vec<usize> = part
        .iter()
        .zip(scaled)
        .map(|(range, scaled)| windows.push_rows(&scaled[range.start * width..range.end * width]))
        .collect();
    for example in examples {
        let series = example.series;
        let row = example.step - rows[series].first_step - part[series].start;
        let start = firsts[series] + row + 1 - config.window_steps;
        windows.push_window(start, &[target.apply(example.truth) as f32]);
    }
    windows
}

/// The distribution of the rows of one part.
fn distribution(
    scaled: &[Vec<f32>],
    part: &[Range<usize>],
    width: usize,
    (from, to): (UnixNanos, UnixNanos),
) -> Option<DistributionSpec> {
    let rows = scaled.iter().zip(part);
    let rows = rows.map(|(scaled, range)| &scaled[range.start * width..range.end * width]);
    let series: Vec<&[f32]> = rows.collect();
    shift::fit(width, &series, [from, to])
}

/// Event time of the first and the last row of a part.
fn span(history: &History, rows: &[Rows], part: &[Range<usize>]) -> (UnixNanos, UnixNanos) {
    let times = || {
        history.series.iter().zip(rows).zip(part).flat_map(|((series, rows), range)| {
            series.steps[rows.first_step..][range.clone()].iter().map(|step| step.time)
        })
    };
    let epoch = UnixNanos::from_nanos(0);
    (times().min().unwrap_or(epoch), times().max().unwrap_or(epoch))
}

#[cfg(test)]
mod tests {
    use super::super::config;
    use super::*;
    use crate::core::domain::{Field, Fields};
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

    fn config(text: &str) -> TrainConfig {
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

        let first = dataset.training.examples[0];
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
        assert_eq!(rolling.training.examples[0].as_of, day(34));
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
        assert_eq!(newest.training.examples[0].as_of, day(54));
        // Of 30 days 19, 5 and 6.
        assert_eq!(of("newest = '30d'").training_span, (day(71), day(89)));
        assert_eq!(counts(&of("newest = '5y'")), counts(&of("")), "there are no more");
        // 1970-03-12 is day 70: 69 rows before it, of which 55 are for training.
        let dated = of("test_from = '1970-03-12'");
        assert_eq!((counts(&dated), dated.training_span), ([51, 10, 27], (day(1), day(55))));
        assert_eq!(dated.test.examples[0].as_of, day(73));
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
                assert_eq!(one.examples[window].truth, honest.examples[window].truth);
            }
        }
        assert_eq!(one.test.windows, honest.test.windows);
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
            (
                "kind = 'next_event'\nfield = 'volume'\nabove = 1003.5",
                &|step| busy(step + 2),
                &busy,
            ),
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
            assert_eq!(dataset.training.examples[0].step, 2, "{text}");
            for example in &dataset.training.examples {
                assert_eq!(example.truth, truth(example.step), "{text}: {example:?}");
                assert_eq!(example.persistence, persistence(example.step), "{text}: {example:?}");
            }
            let labels = dataset.training.windows.labels().iter().map(|l| f64::from(*l));
            let truths = dataset.training.examples.iter().map(|example| example.truth);
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
    fn parts_share_no_row_and_lie_an_embargo_apart() {
        let config = config("[window]\nsteps = 5\n[target]\nhorizon_steps = 3\n");
        let dataset = Dataset::new(&history(vec![series("A", 200, 1, wavy)]), &config).unwrap();
        let parts = [&dataset.training, &dataset.validation, &dataset.test];
        for pair in parts.windows(2) {
            let last = pair[0].examples.last().unwrap().step;
            let first = pair[1].examples[0].step;
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
        let newest = dataset.test.examples[b].step - 1;
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
                error,
                "the training part: the scaler's column `close` has no finite, positive spread",
                "{name}"
            );
        }
    }
}
