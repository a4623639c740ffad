//! What a model has to beat: simple forecasts of the same truths.
//!
//! Owns the fit of the baselines of [`core::baseline`](crate::core::baseline), which forecast: a
//! mean, a half-life and a linear model. A forecast for an example is what the daemon would say at
//! its step, after the same steps before it.
//!
//! Promises: fitted on the training part alone, without draws or iterations, so that the same data
//! give the same bits. Never sees a validation or test truth, but to find which one is the best.

use super::example::{Example, ExampleList};
use super::statistics::{mean, squared_losses};
use super::windows::Windows;
use crate::core::baseline::{
    AverageSpec, BASELINES, BaselineKind, BaselineSpec, BaselineState, Baselines, COLUMNS_MAX,
    LinearModel, Reading, SeasonalSpec,
};
use crate::core::forecast::{TargetKind, Truth};
use crate::core::score::HORIZON_STEPS_MAX;
use crate::seal::history::Steps;

/// The ridge penalty of the linear model as a share of the mean variance of its columns: large
/// enough to solve for columns that repeat each other, too small to matter otherwise.
const PENALTY: f64 = 1e-4;

/// The half-lives, in steps, of which the best on the training part is taken.
const HALF_LIVES: [u32; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/// The steps of every series, of which baselines read what truths are made of, and what is
/// forecast.
#[derive(Clone, Debug)]
pub struct Courses {
    baselines: Baselines,
    kind: TargetKind,
    series: Vec<Steps>,
}

/// The baselines, fitted.
#[derive(Clone, Debug)]
pub struct FittedBaselines {
    baselines: Baselines,
    spec: BaselineSpec,
}

/// What they forecast for one part, in the target's unit and in the order of its examples. A
/// baseline that was not fitted has no forecasts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BaselineForecasts {
    /// Nothing changes.
    pub persistence: Vec<f64>,
    /// The mean of the training part goes on.
    pub drift: Vec<f64>,
    /// The exponentially weighted mean of the truths known so far.
    pub average: Vec<f64>,
    /// The truth of one period earlier.
    pub seasonal: Vec<f64>,
    /// The linear model.
    pub linear: Vec<f64>,
}

impl Courses {
    /// Those of series, for a target that looks `horizon_steps` steps ahead.
    pub fn new(
        series: impl Iterator<Item = Steps>,
        truth: Truth,
        kind: TargetKind,
        horizon_steps: usize,
    ) -> Self {
        let kept = u32::try_from(horizon_steps).ok().filter(|steps| *steps <= HORIZON_STEPS_MAX);
        let baselines = Baselines::new(truth, kind, kept);
        Self { baselines, kind, series: series.collect() }
    }

    /// Hands the state of the baselines at the step of each example to `see`, by the example's
    /// place, in order of the series and then of time.
    fn walk(
        &self,
        baselines: &Baselines,
        examples: &ExampleList,
        mut see: impl FnMut(usize, &BaselineState),
    ) {
        let order: Box<dyn Iterator<Item = (usize, (usize, usize))>> = if examples.are_in_order() {
            Box::new(examples.places().enumerate())
        } else {
            let mut order: Vec<usize> = (0..examples.len()).collect();
            order.sort_by_key(|at| examples.place(*at));
            Box::new(order.into_iter().map(|at| (at, examples.place(at))))
        };
        let mut order = order.peekable();
        for (series, steps) in self.series.iter().enumerate() {
            let mut state = BaselineState::new(baselines);
            for (at, step) in steps.iter().enumerate() {
                if order.peek().is_none_or(|(_, (next, _))| *next != series) {
                    break;
                }
                state.step(baselines, Reading::of(&self.baselines, &step));
                while let Some((place, _)) = order.next_if(|(_, next)| *next == (series, at)) {
                    see(place, &state);
                }
            }
        }
    }

    /// The half-life whose average was off least on these examples.
    fn half_life(&self, examples: &ExampleList) -> u32 {
        let squared = |half_life_steps: u32| {
            let average = Some(AverageSpec { half_life_steps });
            let spec = BaselineSpec { average, ..BaselineSpec::default() };
            let baselines = self.baselines.clone().with(&spec);
            let mut sum = 0.0;
            let mut in_order = examples.are_in_order().then(|| examples.iter());
            self.walk(&baselines, examples, |at, state| {
                let example = in_order.as_mut().and_then(Iterator::next);
                let Example { truth, persistence, .. } = example.unwrap_or_else(|| examples.at(at));
                let forecasts = state.forecasts(&baselines, [&[], &[]]);
                let forecast = forecasts[BaselineKind::Average as usize].unwrap_or(persistence);
                sum += (truth - forecast) * (truth - forecast);
            });
            sum
        };
        let all = HALF_LIVES.map(|half_life| (half_life, squared(half_life)));
        let best = all.iter().min_by(|(_, a), (_, b)| a.total_cmp(b));
        best.map_or(HALF_LIVES[0], |(half_life, _)| *half_life)
    }
}

impl FittedBaselines {
    /// Fits them to the windows of the training part and what came true after each.
    pub fn fit(
        courses: &Courses,
        windows: &Windows,
        examples: &ExampleList,
        period_steps: Option<u32>,
    ) -> Self {
        let truths: Vec<f64> = examples.truths().collect();
        let drift = match courses.kind {
            TargetKind::Level => {
                let changes = examples.iter().map(|e| e.truth - e.persistence);
                mean(&changes.collect::<Vec<_>>())
            }
            TargetKind::Change
            | TargetKind::LogChange
            | TargetKind::Amount
            | TargetKind::Probability => mean(&truths),
        };
        let spec = BaselineSpec {
            against: BaselineKind::Persistence,
            drift: Some(drift),
            average: Some(AverageSpec { half_life_steps: courses.half_life(examples) }),
            seasonal: period_steps.map(|period_steps| SeasonalSpec { period_steps }),
            linear: Some(fit_linear(windows, &truths)),
        };
        Self { baselines: courses.baselines.clone().with(&spec), spec }
    }

    /// What the manifest says of them, where `against` is the one to beat.
    pub fn spec(&self, against: BaselineKind) -> BaselineSpec {
        BaselineSpec { against, ..self.spec.clone() }
    }

    /// Their forecasts for a part.
    pub fn forecast(
        &self,
        courses: &Courses,
        windows: &Windows,
        examples: &ExampleList,
    ) -> BaselineForecasts {
        let columns = self.baselines.rows() * windows.features();
        let mut all = BaselineKind::ALL.map(|_| Vec::with_capacity(examples.len()));
        for (at, example) in examples.iter().enumerate() {
            let window = windows.window(at);
            let rows = [newest(&window, columns), &[]];
            let forecasts = self.baselines.without_past(example.persistence, rows);
            all.iter_mut().zip(forecasts).for_each(|(all, forecast)| all.extend(forecast));
        }
        // With a past, the same baselines have a forecast.
        courses.walk(&self.baselines, examples, |at, state| {
            let window = windows.window(at);
            let forecasts = state.forecasts(&self.baselines, [newest(&window, columns), &[]]);
            if forecasts[BaselineKind::Persistence as usize].is_some() {
                for (all, forecast) in all.iter_mut().zip(forecasts) {
                    if let (Some(place), Some(forecast)) = (all.get_mut(at), forecast) {
                        *place = forecast;
                    }
                }
            }
        });
        BaselineForecasts::from(all)
    }
}

impl From<[Vec<f64>; BASELINES]> for BaselineForecasts {
    fn from([persistence, drift, average, seasonal, linear]: [Vec<f64>; BASELINES]) -> Self {
        Self { persistence, drift, average, seasonal, linear }
    }
}

impl BaselineForecasts {
    /// The baselines that have a forecast for each of these truths.
    pub fn each(&self, truths: &[f64]) -> impl Iterator<Item = (BaselineKind, &[f64])> {
        let Self { persistence, drift, average, seasonal, linear } = self;
        let count = truths.len();
        BaselineKind::ALL
            .into_iter()
            .zip([persistence, drift, average, seasonal, linear])
            .map(|(kind, forecasts)| (kind, forecasts.as_slice()))
            .filter(move |(_, forecasts)| forecasts.len() == count)
    }

    /// The one with the smallest mean squared error; of equal ones the first.
    pub fn best(&self, truths: &[f64]) -> BaselineKind {
        let errors = self
            .each(truths)
            .map(|(kind, forecasts)| (kind, mean(&squared_losses(forecasts, truths))));
        let best = errors.min_by(|(_, a), (_, b)| a.total_cmp(b));
        best.map_or(BaselineKind::Persistence, |(kind, _)| kind)
    }
}

/// Least squares on the flattened window, with an intercept and a small penalty on the weights
/// (Hoerl and Kennard, 1970, doi:10.1080/00401706.1970.10488634): the normal equations of the
/// centred columns, in double precision. Of a long window it sees the newest rows.
fn fit_linear(windows: &Windows, truths: &[f64]) -> LinearModel {
    let rows = windows.steps().min((COLUMNS_MAX / windows.features()).max(1));
    let columns = rows * windows.features();
    let all = || (0..windows.len()).map(|at| windows.window(at));
    let count = windows.len().max(1) as f64;
    let mut means = vec![0.0; columns];
    for window in all() {
        for (mean, value) in means.iter_mut().zip(newest(&window, columns)) {
            *mean += f64::from(*value) / count;
        }
    }
    let centre = mean(truths);
    let mut gram = vec![0.0; columns * columns];
    let mut products = vec![0.0; columns];
    let mut centred = vec![0.0; columns];
    for (window, truth) in all().zip(truths) {
        let window = newest(&window, columns);
        for ((to, value), mean) in centred.iter_mut().zip(window).zip(&means) {
            *to = f64::from(*value) - mean;
        }
        for (at, value) in centred.iter().enumerate() {
            products[at] += value * (truth - centre);
            let row = &mut gram[at * columns..][..=at];
            row.iter_mut().zip(&centred).for_each(|(to, other)| *to += value * other);
        }
    }
    let diagonal = || (0..columns).map(|at| at * columns + at);
    let penalty = PENALTY * diagonal().map(|at| gram[at]).sum::<f64>() / columns as f64;
    diagonal().for_each(|at| gram[at] += penalty);
    let weights = solve(gram, products);
    let shift: f64 = weights.iter().zip(&means).map(|(weight, mean)| weight * mean).sum();
    LinearModel {
        rows: u32::try_from(rows).unwrap_or(u32::MAX),
        intercept: centre - shift,
        weights,
    }
}

/// The last `columns` values of a window, whose newest row is the last.
fn newest(window: &[f32], columns: usize) -> &[f32] {
    &window[window.len() - columns..]
}

/// Solves a symmetric positive definite system by Cholesky's decomposition; of the matrix, row by
/// row, only the lower triangle is read. Where it is not positive definite, which the penalty rules
/// out for any column that varies, the solution is zero.
fn solve(mut matrix: Vec<f64>, mut vector: Vec<f64>) -> Vec<f64> {
    let n = vector.len();
    for row in 0..n {
        for column in 0..=row {
            let (before, rest) = matrix.split_at_mut(row * n);
            let left = if column == row { &rest[..row] } else { &before[column * n..][..column] };
            let dot: f64 = left.iter().zip(&rest[..column]).map(|(a, b)| a * b).sum();
            let value = rest[column] - dot;
            if column < row {
                rest[column] = value / before[column * n + column];
            } else if value > 0.0 {
                rest[row] = value.sqrt();
            } else {
                return vec![0.0; n];
            }
        }
    }
    for row in 0..n {
        let (solved, rest) = vector.split_at_mut(row);
        let dot: f64 = matrix[row * n..][..row].iter().zip(solved).map(|(a, b)| a * *b).sum();
        rest[0] = (rest[0] - dot) / matrix[row * n + row];
    }
    for row in (0..n).rev() {
        vector[row] /= matrix[row * n + row];
        let value = vector[row];
        let factors = &matrix[row * n..][..row];
        vector[..row].iter_mut().zip(factors).for_each(|(to, factor)| *to -= factor * value);
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::domain::{Field, Fields, Schema, Step, UnixNanos};
    use crate::core::forecast::Target;
    use crate::core::random::{Purpose, Random};

    fn examples(truths: &[f64], lasts: &[f64]) -> ExampleList {
        let as_of = UnixNanos::from_nanos(0);
        let pairs = truths.iter().zip(lasts);
        let examples = pairs.map(|(&truth, &persistence)| Example {
            series: 0,
            step: 0,
            as_of,
            truth,
            persistence,
        });
        examples.collect()
    }

    /// Random windows of `steps` rows with two values.
    fn windows(count: usize, steps: usize) -> Windows {
        let mut random = Random::new(1, Purpose::Order);
        let mut windows = Windows::new(steps, 2, 1);
        let rows: Vec<f32> = (0..2 * (count + steps - 1)).map(|_| random.normal() as f32).collect();
        windows.push_rows(&rows);
        (0..count).for_each(|start| windows.push_window(start, &[0.0]));
        windows
    }

    fn steps(closes: &[f64]) -> Vec<Step> {
        let step = |(at, close): (usize, &f64)| {
            let mut fields = Fields::EMPTY;
            fields.set_checked(Field::CLOSE, *close).unwrap();
            let time = UnixNanos::from_nanos(at as i64);
            Step { time, fields, after_gap: false, patched: false }
        };
        closes.iter().enumerate().map(step).collect()
    }

    fn courses(target: &Target, kind: TargetKind, closes: &[f64], horizon: usize) -> Courses {
        let truth = target.truth(&Schema::new([]).unwrap()).unwrap();
        let steps = steps(closes);
        Courses::new([steps.into()].into_iter(), truth, kind, horizon)
    }

    /// Courses without a step, which leave persistence as the examples have it.
    fn no_courses(kind: TargetKind) -> Courses {
        courses(&Target::NextReturn, kind, &[], 1)
    }

    /// By hand: [[4, 2], [2, 3]] x = [10, 9] has x = [1.5, 2].
    #[test]
    fn the_solution_has_its_hand_computed_value() {
        let solution = solve(vec![4.0, f64::NAN, 2.0, 3.0], vec![10.0, 9.0]);
        assert!((solution[0] - 1.5).abs() < 1e-14 && (solution[1] - 2.0).abs() < 1e-14);
        assert_eq!(solve(vec![0.0], vec![1.0]), [0.0], "not positive definite");
    }

    #[test]
    fn a_linear_truth_is_found() {
        let windows = windows(300, 3);
        let truth = |at: usize| {
            let window = windows.window(at);
            7.0 + 2.0 * f64::from(window[0]) - 3.0 * f64::from(window[5])
        };
        let truths: Vec<f64> = (0..300).map(truth).collect();
        let model = fit_linear(&windows, &truths);
        for at in 0..300 {
            let forecast = model.predict([&windows.window(at), &[]]);
            assert!((forecast - truth(at)).abs() < 5e-3, "{forecast} is not {}", truth(at));
        }
    }

    #[test]
    fn a_long_window_is_seen_from_its_newest_row() {
        let windows = windows(50, 400);
        let truths: Vec<f64> = (0..50).map(|at| f64::from(windows.window(at)[799])).collect();
        let model = fit_linear(&windows, &truths);
        assert_eq!((model.weights.len(), model.rows), (COLUMNS_MAX, 300));
        assert!(model.weights.iter().all(|weight| weight.is_finite()));
        let window = windows.window(3);
        let newest = newest(&window, COLUMNS_MAX);
        assert!((model.predict([newest, &[]]) - truths[3]).abs() < 0.1);
    }

    #[test]
    fn columns_that_never_change_have_no_weight() {
        let mut windows = Windows::new(1, 2, 1);
        windows.push_rows(&[1.0, 0.5, 1.0, 0.5]);
        (0..2).for_each(|start| windows.push_window(start, &[0.0]));
        let model = fit_linear(&windows, &[4.0, 6.0]);
        assert_eq!(model.predict([&windows.window(0), &[]]), 5.0);
    }

    #[test]
    fn each_kind_has_its_naive_forecasts() {
        let (truths, lasts) = ([3.0, 5.0, 7.0], [2.0, 3.0, 5.0]);
        let (seen, training) = (windows(3, 1), examples(&truths, &lasts));
        let (new, later) = (windows(1, 1), examples(&[f64::NAN], &[10.0]));
        let forecast = |kind| {
            let courses = no_courses(kind);
            let fitted = FittedBaselines::fit(&courses, &seen, &training, None);
            fitted.forecast(&courses, &new, &later)
        };
        assert_eq!(forecast(TargetKind::Change).persistence, [10.0]);
        assert_eq!(forecast(TargetKind::Change).drift, [5.0]);
        assert_eq!(forecast(TargetKind::Change).average, [10.0], "nothing is known yet");
        assert_eq!(forecast(TargetKind::Change).seasonal, [0.0; 0], "there is no period");
        assert_eq!(forecast(TargetKind::Level).drift, [10.0 + 5.0 / 3.0]);
        assert!((0.0..=1.0).contains(&forecast(TargetKind::Probability).linear[0]));
        let sinking = examples(&[-3.0, -5.0, -7.0], &lasts);
        let courses = no_courses(TargetKind::Amount);
        let fitted = FittedBaselines::fit(&courses, &seen, &sinking, None);
        assert_eq!(fitted.forecast(&courses, &new, &later).linear, [0.0]);
    }

    /// Sizes that come in long calm and long stormy times are averaged over few steps, those
    /// without memory over many; the period and the last truth are seen from the example's step.
    #[test]
    fn the_half_life_follows_the_training_part_and_forecasts_follow_the_steps() {
        let mut random = Random::new(5, Purpose::Order);
        let mut closes = |scale: &dyn Fn(usize) -> f64| {
            let mut close = 100.0;
            let walk = (0..800).map(|at| {
                close *= 1.0 + scale(at) * random.normal().clamp(-3.0, 3.0);
                close
            });
            walk.collect::<Vec<f64>>()
        };
        let calm = closes(&|_| 0.01);
        let stormy = closes(&|at| if at / 40 % 2 == 0 { 0.002 } else { 0.03 });
        let target = Target::NextVolatility;
        let fit = |closes: &[f64]| {
            let courses = courses(&target, TargetKind::Amount, closes, 1);
            let size = |at: usize| (closes[at + 1] / closes[at] - 1.0).abs();
            let example = |step: usize| Example {
                series: 0,
                step,
                as_of: UnixNanos::from_nanos(step as i64),
                truth: size(step),
                persistence: size(step - 1),
            };
            // In another order than that of time.
            let examples: ExampleList = (1..799).rev().map(example).collect();
            let seen = windows(examples.len(), 1);
            let fitted = FittedBaselines::fit(&courses, &seen, &examples, Some(5));
            let forecasts = fitted.forecast(&courses, &seen, &examples);
            for (at, example) in examples.iter().enumerate() {
                assert_eq!(forecasts.persistence[at], example.persistence);
                let earlier = example.step.checked_sub(5).map_or(example.persistence, size);
                assert_eq!(forecasts.seasonal[at], earlier, "step {}", example.step);
            }
            let truths: Vec<f64> = examples.truths().collect();
            let best = forecasts.best(&truths);
            (fitted.spec(best).average.unwrap().half_life_steps, best)
        };
        let (calm, stormy) = (fit(&calm), fit(&stormy));
        assert!(calm.0 >= 64, "{calm:?}");
        assert!((2..=16).contains(&stormy.0), "{stormy:?}");
        assert_eq!(stormy.1, BaselineKind::Average);
    }
}
