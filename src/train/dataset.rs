//! From steps to examples: features, labels, the split in time and the scalers.
//!
//! Owns what an example is: the window of the W rows up to a step, and the label that becomes known
//! `horizon` steps later. Rows come from the `features` that the daemon runs. The examples are the
//! same where the state is carried: what is then read beside the window is all that was before it.
//!
//! Promises: the parts follow each other in time, and no row of a window and no row behind a label
//! belongs to two parts, so the newest step of the last example of one part and that of the first
//! of the next lie W + horizon rows apart (the embargo). The scalers are fitted on the training
//! part alone, rows and labels. What is made of a history that is kept in files is kept in files.
//!
//! Never: shuffles rows or windows, or lets a row see a later one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;

use super::baseline::{Courses, FittedBaselines};
use super::config::schedule::newest;
use super::config::{ScalerPer, Split, StateRule, TrainConfig};
use super::fit::carried;
use super::fit::weights::Weighed;
use super::fit::{Examples, Labelled, WeightRule, predict};
use super::history::{History, Series, Steps};
use super::look_ahead::{self, LookAheadError};
use super::network::{ArchitectureError, Network};
use super::out_of_range::{OutOfRange, PARTS, Tally};
use super::random::{Purpose, Random};
use super::rows::{Rows, each_row, raw_rows, refused};
use super::sequences::{Place, Sequences};
use super::symbols::{self, SymbolsError};
use super::windows::Windows;
use crate::core::domain::{Reject, UnixNanos};
use crate::core::features::{
    ColumnRange, FeatureError, FeaturePlan, RawFeatures, Scaler, ScalerError, SingleScaler,
};
use crate::core::forecast::{Target, TargetError, TargetKind, Truth};
use crate::core::shift::{self, DistributionSpec};
use crate::seal::judge::symbols::SymbolInputs;
use crate::seal::matrix::Matrix;
use crate::seal::spill::{Spill, SpillError};

pub use crate::seal::judge::{Example, ExampleList};

/// The history in its three parts, scaled.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Raw features to model units.
    pub scaler: Scaler,
    /// The same of symbols that have one of their own.
    pub symbol_scalers: BTreeMap<String, Scaler>,
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
    /// What the network reads of the symbol of each series; `None` where it tells none apart.
    pub symbols: Option<Arc<SymbolInputs>>,
    /// Event time of the first and the last row of the training part.
    pub training_span: (UnixNanos, UnixNanos),
    /// The distribution of its rows; `None` where they are too few.
    pub distribution: Option<DistributionSpec>,
    /// What the outputs behind the first forecast.
    pub further: Vec<FurtherTarget>,
    /// How many windows of each part have a value outside the range of the training part.
    pub out_of_range: OutOfRange,
    /// The step of the first row of each series.
    first_steps: Vec<usize>,
    /// Where the files are that hold it, if any do.
    spill: Option<Spill>,
}

/// What an output behind the first forecasts: the target over another horizon.
#[derive(Clone, Debug)]
pub struct FurtherTarget {
    /// How many steps ahead.
    pub horizon_steps: usize,
    /// Labels to model units.
    pub target_scaler: Scaler,
    /// What baselines read of the steps of every series.
    pub courses: Courses,
    /// What came true after the windows of the training, the validation and the test part.
    pub examples: [ExampleList; 3],
}

/// One part of the history.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Windows and scaled labels, in the order of `examples`.
    pub windows: Windows,
    /// Where each window comes from.
    pub examples: ExampleList,
    /// The place of each window's newest row among those of its whole history, where the state is
    /// carried.
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
    /// What is kept in files could not be written or read.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// The table of static numbers does not fit the history.
    #[error(transparent)]
    Symbols(#[from] SymbolsError),
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
    /// so that rows say nothing about them; a label keeps its weight. The examples keep their
    /// truths, by which baselines are fitted and intervals are judged.
    pub fn shuffle_labels(&mut self, seed: u64) {
        let mut random = Random::new(seed, Purpose::Labels);
        for part in [&mut self.training, &mut self.validation] {
            let mut order: Vec<usize> = (0..part.windows.len()).collect();
            random.shuffle(&mut order);
            part.windows.reorder_labels(&order);
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
        let made = Self::made(history, config, parts_needed, cuts, &raw, truth);
        // What could not be read is the reason for whatever else went wrong.
        history.intact()?;
        made
    }

    fn made(
        history: &History,
        config: &TrainConfig,
        parts_needed: usize,
        cuts: impl FnOnce(&[UnixNanos]) -> [UnixNanos; 4],
        raw: &RawFeatures,
        truth: Truth,
    ) -> Result<Self, DatasetError> {
        let label = config.target.label();
        let (rows, raw_rows) = raw_rows(history, raw)?;
        let cuts = cuts(&times(history, &rows));
        let parts = |at: usize| -> Vec<Range<usize>> {
            let series = history.series.iter().zip(&rows);
            series
                .map(|(series, rows)| rows_between(series, rows, cuts[at]..cuts[at + 1]))
                .collect()
        };
        let parts = [parts(0), parts(1), parts(2)];

        let of = |horizon: usize| {
            let examples = |at: usize| {
                let stride = if at == 0 { config.window_stride } else { 1 };
                examples(history, &rows, &parts[at], truth, config, (horizon, stride))
            };
            Ok::<_, DatasetError>([examples(0)?, examples(1)?, examples(2)?])
        };
        let examples = of(config.horizon_steps)?;
        for (at, examples) in examples.iter().take(parts_needed).enumerate() {
            if examples.is_empty() {
                return Err(DatasetError::TooShort {
                    part: PARTS[at],
                    rows: parts[at].iter().map(Range::len).sum(),
                    needed: config.window_steps + config.longest_horizon(),
                    window: config.window_steps,
                    horizon: config.longest_horizon(),
                });
            }
        }
        let (scaler, target_scaler) = match config.scalers.as_deref() {
            Some([rows, target]) => (rows.clone(), target.clone()),
            None => {
                let truths = examples[0].truths().collect();
                let scaler = fit_scaler(config, &raw_rows, &rows, &parts[0])?;
                (scaler, fit_target_scaler(&config.target, truths)?)
            }
        };
        let symbol_scalers = fit_symbol_scalers(history, config, (&raw_rows, &rows), &parts[0]);
        drop(raw_rows);

        let mut plan = FeaturePlan::new(&config.features, &config.extra_fields, label, &scaler)?;
        if !symbol_scalers.is_empty() {
            let table = symbols::scalers_alone(&symbol_scalers);
            plan = plan.with_symbols(&table, &config.features)?;
        }
        let mut tally = Tally::new(&scaler, config.window_steps, config.longest_horizon());
        let mut writer = Matrix::writer(plan.width(), history.spill());
        for (at, series) in history.series.iter().enumerate() {
            tally.begin([&parts[0][at], &parts[1][at], &parts[2][at]].map(Range::clone));
            each_row(&series.symbol, &series.steps, &plan, |raw, row| {
                tally.take(raw);
                writer.push(row);
            })?;
        }
        let scaled = Arc::new(writer.finish());
        for (series, rows) in history.series.iter().zip(&rows) {
            let whole = |range: Range<usize>| scaled.read(rows.among_all(&range));
            let again = |steps: &Steps, see: &mut dyn FnMut(&[f32])| {
                each_row(&series.symbol, steps, &plan, |_, row| see(row))
            };
            let (symbol, features) = (&series.symbol, &config.features);
            look_ahead::check(symbol, &series.steps, features, rows.count, whole, again)?;
        }
        let single = target_scaler.single()?;
        let kind = TargetKind::of(&config.target);
        let courses = |horizon: usize| {
            let steps = history.series.iter().map(|series| series.steps.clone());
            Courses::new(steps, truth, kind, horizon)
        };
        let further = config.outputs.further_horizons.iter().map(|horizon| {
            let (horizon_steps, examples) = (*horizon, of(*horizon)?);
            let truths = examples[0].truths().collect();
            let target_scaler = fit_target_scaler(&config.target, truths)?;
            let courses = courses(horizon_steps);
            Ok(FurtherTarget { horizon_steps, target_scaler, courses, examples })
        });
        let further: Vec<FurtherTarget> = further.collect::<Result<_, DatasetError>>()?;
        let symbols = symbols::inputs(history, &examples[0], config)?;
        let is_carried = config.state == StateRule::Carried;
        let part = |at: usize, examples: ExampleList| {
            let windows =
                windows(&rows, &scaled, &examples, single, config).with_symbols(symbols.clone());
            let windows = with_further_labels(windows, &further, at)?;
            let place = |Example { series, step, .. }: Example| Place {
                sequence: series,
                row: step - rows[series].first_step,
            };
            let places = examples.iter().filter(|_| is_carried).map(place).collect();
            Ok::<_, ScalerError>(Part { windows, places, examples })
        };
        let training_span = span(history, &rows, &parts[0]);
        let distribution = distribution(&scaled, &rows, &parts[0], training_span);
        let [training, validation, test] = examples;
        let mut training = part(0, training)?;
        let (validation, test) = (part(1, validation)?, part(2, test)?);
        training.weigh(history, &config.recipe.weights);
        let sequences = is_carried.then(|| {
            let mut sequences = Sequences::new(plan.width()).with_symbols(symbols.clone());
            let all = |rows: &Rows| rows.among_all(&(0..rows.count));
            for (series, rows) in rows.iter().enumerate() {
                sequences.push_shared(series, &scaled, all(rows));
            }
            sequences
        });
        let courses = courses(config.horizon_steps);
        Ok(Self {
            scaler,
            symbol_scalers,
            target_scaler,
            training,
            validation,
            test,
            courses,
            sequences,
            symbols,
            training_span,
            distribution,
            out_of_range: tally.finish(),
            first_steps: rows.iter().map(|rows| rows.first_step).collect(),
            spill: history.spill().cloned(),
            further,
        })
    }

    /// Whether everything could be read that was read so far. Where a row could not, the network
    /// saw no numbers in its place.
    ///
    /// # Errors
    /// [`SpillError`] where the dataset is kept in files and one failed.
    pub fn intact(&self) -> Result<(), SpillError> {
        self.spill.as_ref().map_or(Ok(()), Spill::intact)
    }

    /// How many rows of its series come before the newest row of an example's window.
    pub fn row_of(&self, example: &Example) -> usize {
        example.step - self.first_steps[example.series]
    }

    /// The network of the configuration for this history.
    ///
    /// # Errors
    /// [`ArchitectureError`] where no network has the shape.
    pub fn network(&self, config: &TrainConfig) -> Result<Network, ArchitectureError> {
        symbols::plan(config, self.symbols.as_deref())
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
    /// Says how much each example counts in a fit.
    fn weigh(&mut self, history: &History, rule: &WeightRule) {
        if rule.is_even() {
            return;
        }
        // A window has a label for each horizon; the first one is that of the example.
        let labels = self.windows.labels();
        let each = (labels.len() / self.windows.len().max(1)).max(1);
        let examples = self.examples.iter().zip(labels.iter().step_by(each));
        let weighed: Vec<_> = examples
            .map(|(example, label)| Weighed {
                symbol: &history.series[example.series].symbol,
                as_of: example.as_of,
                label: *label,
            })
            .collect();
        self.windows.set_weights(rule.of(&weighed));
    }

    /// When the first and the last of its forecasts are made; `None` without any.
    pub fn span(&self) -> Option<(UnixNanos, UnixNanos)> {
        let mut times = self.examples.iter().map(|example| example.as_of);
        let first = times.next()?;
        Some(times.fold((first, first), |(from, to), time| (from.min(time), to.max(time))))
    }

    fn labelled(&self) -> Labelled<'_> {
        let Self { windows, places, .. } = self;
        Labelled { places, labels: windows.labels(), weights: windows.weights() }
    }
}

/// The times of the rows of all series, in order.
fn times(history: &History, rows: &[Rows]) -> Vec<UnixNanos> {
    let mut times: Vec<UnixNanos> = Vec::new();
    for (series, rows) in history.series.iter().zip(rows) {
        times.extend(series.steps.slice(rows.first_step..).iter().map(|step| step.time));
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
    let steps = series.steps.slice(rows.first_step..);
    steps.before(between.start)..steps.before(between.end)
}

/// All examples of one part whose window and labels lie inside it, with what came true over one of
/// the horizons; of each series every `stride`-th. They are of the same windows for each horizon.
fn examples(
    history: &History,
    rows: &[Rows],
    part: &[Range<usize>],
    truth: Truth,
    config: &TrainConfig,
    (horizon, stride): (usize, usize),
) -> Result<ExampleList, DatasetError> {
    let (window, longest) = (config.window_steps, config.longest_horizon());
    let mut examples = ExampleList::writer(history.spill());
    for (index, Series { symbol, steps }) in history.series.iter().enumerate() {
        let Range { start, end } = part[index];
        let first_step = rows[index].first_step;
        // The naive forecast looks back as far as the label looks ahead.
        let first = first_step + (start + window - 1).max(longest.saturating_sub(first_step));
        let newest = first..(first_step + end).saturating_sub(longest);
        if newest.is_empty() {
            continue;
        }
        let before = steps.slice(newest.start - horizon..newest.end - horizon);
        let later = steps.slice(newest.start + horizon..newest.end + horizon);
        let steps = before.iter().zip(&steps.slice(newest.clone())).zip(&later);
        for (step, ((before, now), later)) in newest.zip(steps).step_by(stride) {
            let at_fault = |reason| refused(symbol, &later, reason);
            let known = |value: Option<f64>| match value {
                Some(value) if value.is_finite() => Ok(value),
                Some(_) => Err(at_fault(Reject::NotFinite)),
                None => Err(at_fault(Reject::MissingField)),
            };
            examples.push(Example {
                series: index,
                step,
                as_of: now.time,
                truth: known(truth.between(&now.fields, &later.fields))?,
                persistence: known(truth.persistence(&before.fields, &now.fields))?,
            });
        }
    }
    Ok(examples.finish())
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

/// `raw` are the rows of all series.
fn fit_scaler(
    config: &TrainConfig,
    raw: &Matrix<f64>,
    rows: &[Rows],
    part: &[Range<usize>],
) -> Result<Scaler, ScalerError> {
    let features = &config.features;
    // One column is in memory at a time.
    let columns = features.iter().enumerate().map(|(at, name)| {
        let mut values = Vec::with_capacity(part.iter().map(Range::len).sum());
        for (rows, range) in rows.iter().zip(part) {
            for block in raw.blocks(rows.among_all(range)) {
                values.extend(block.iter().skip(at).step_by(features.len()));
            }
        }
        (name.clone(), values)
    });
    let scaler = Scaler::fit(config.scaler, columns)?;
    // Nothing can be learned from a constant, and the first other value would be out of range.
    match scaler.ranges().iter().position(|[min, max]| min >= max) {
        Some(constant) => Err(ScalerError::Spread(features[constant].clone())),
        None => Ok(scaler),
    }
}

/// The scaler of each symbol, fitted to its rows in the training part, where every symbol has its
/// own. A symbol whose rows there are too few or do not vary has the scaler of all symbols.
fn fit_symbol_scalers(
    history: &History,
    config: &TrainConfig,
    (raw, rows): (&Matrix<f64>, &[Rows]),
    part: &[Range<usize>],
) -> BTreeMap<String, Scaler> {
    if config.scaler_per == ScalerPer::Model {
        return BTreeMap::new();
    }
    let mut series_of: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, series) in history.series.iter().enumerate() {
        series_of.entry(&series.symbol).or_default().push(index);
    }
    let fit = |(symbol, series): (&str, Vec<usize>)| {
        let of = |index: &usize| part[*index].clone();
        let mut alone: Vec<Range<usize>> = part.iter().map(|range| range.end..range.end).collect();
        let count: usize = series.iter().map(|index| of(index).len()).sum();
        series.iter().for_each(|index| alone[*index] = of(index));
        let scaler =
            (count >= config.window_steps).then(|| fit_scaler(config, raw, rows, &alone))?;
        Some((symbol.to_owned(), scaler.ok()?))
    };
    series_of.into_iter().filter_map(fit).collect()
}

/// The windows of examples, in their order. `scaled` are the rows of all series.
fn windows(
    rows: &[Rows],
    scaled: &Arc<Matrix<f32>>,
    examples: &ExampleList,
    target: SingleScaler,
    config: &TrainConfig,
) -> Windows {
    let mut windows = Windows::over(scaled.clone(), config.window_steps, 1);
    for (series, rows) in rows.iter().enumerate() {
        windows.mark_series(rows.first, series);
    }
    for Example { series, step, truth, .. } in examples.iter() {
        let Rows { first_step, first, .. } = rows[series];
        let start = first + step - first_step + 1 - config.window_steps;
        windows.push_window(start, &[target.apply(truth) as f32]);
    }
    windows
}

/// The windows of the part at a place with a label for each horizon.
fn with_further_labels(
    windows: Windows,
    further: &[FurtherTarget],
    part: usize,
) -> Result<Windows, ScalerError> {
    if further.is_empty() {
        return Ok(windows);
    }
    let mut columns = vec![windows.labels().to_vec()];
    for target in further {
        let scaler = target.target_scaler.single()?;
        let label = |truth| scaler.apply(truth) as f32;
        columns.push(target.examples[part].truths().map(label).collect());
    }
    let each = (0..windows.len()).flat_map(|at| columns.iter().map(move |labels| labels[at]));
    let labels = each.collect();
    Ok(windows.with_labels(columns.len(), labels))
}

/// The distribution of the rows of one part.
fn distribution(
    scaled: &Matrix<f32>,
    rows: &[Rows],
    part: &[Range<usize>],
    (from, to): (UnixNanos, UnixNanos),
) -> Option<DistributionSpec> {
    let lengths: Vec<usize> = part.iter().map(Range::len).collect();
    let blocks = |at: usize| scaled.blocks(rows[at].among_all(&part[at]));
    shift::fit_blocks(scaled.width(), &lengths, blocks, [from, to])
}

/// Event time of the first and the last row of a part.
fn span(history: &History, rows: &[Rows], part: &[Range<usize>]) -> (UnixNanos, UnixNanos) {
    let mut span: Option<(UnixNanos, UnixNanos)> = None;
    for ((series, rows), range) in history.series.iter().zip(rows).zip(part) {
        let steps = series.steps.slice(rows.first_step..).slice(range.clone());
        if let (Some(first), Some(last)) = (steps.first(), steps.last()) {
            let (from, to) = span.unwrap_or((first.time, last.time));
            span = Some((from.min(first.time), to.max(last.time)));
        }
    }
    let epoch = UnixNanos::from_nanos(0);
    span.unwrap_or((epoch, epoch))
}

#[cfg(test)]
mod tests;
