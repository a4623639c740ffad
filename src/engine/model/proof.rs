//! The proof that a row has the same bits alone and in every run that the engine may make.
//!
//! Owns the measurement: which windows, which neighbors, which sizes of runs. Promises that every
//! window is compared with itself alone in runs of every size, beside others that differ from it,
//! at other places of the run; and that the measurement is bounded, however many windows there are.
//! Never says what a model should give: the golden vectors do.

use super::manifest::{Exactness, Rows};
use crate::engine::inference::{Backend, InferenceError, Lane, Shape, Signature};

/// The sizes of runs that are measured; the largest where there are windows enough to fill it with
/// few repeats.
const BATCHES: [usize; 5] = [2, 3, 8, 64, 256];
const LARGEST_FROM: usize = 64;

/// The most windows that are measured, spread evenly over those that there are.
const WINDOWS_MAX: usize = 256;

/// The most rows of all windows together, so that a long window takes no minutes.
const ROWS_MAX: usize = 1 << 17;

/// So many windows are measured however long they are.
const WINDOWS_MIN: usize = 16;

/// The most rows of one run of whole windows: the values between two operators stay within the
/// memory of a proof.
const RUN_ROWS_MAX: usize = 1 << 14;

/// The engine runs so many whole windows at once, however long they are.
const RUN_WINDOWS_MIN: usize = 32;

/// What is left of an output by rounding: a share of the largest output, or of one where outputs
/// are small. What differs by more is mixed.
const ROUNDING_SHARE: f32 = 1e-4;
const ROUNDING: f32 = 1e-6;

/// How a model is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driven {
    /// In whole windows, mode `full`.
    pub whole: bool,
    /// Step by step with states, modes `sliding` and `carried`.
    pub stepped: bool,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// For the manifest.
    pub exactness: Exactness,
    /// Where the largest difference is among windows that were given; beside others where there is
    /// none.
    pub worst: Option<Difference>,
    /// The largest difference beside rows that no data has: windows that were made of the first
    /// one, else NaN. It says that rows meet, and is no part of the figure, which depends on them.
    pub leak: Option<Difference>,
    /// The largest difference that rounding explains.
    pub rounding: f32,
}

/// A window that has other bits in a run than alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The output of the window alone.
    pub alone: f32,
    /// Its output in the run.
    pub among: f32,
    /// How many rows the run has.
    pub batch: usize,
    /// By how much they differ; infinite where one is not a number.
    pub size: f32,
    /// Whether the other rows of the run are NaN.
    pub beside_nan: bool,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { alone, among, batch, beside_nan, .. } = *self;
        let others = if beside_nan { ", whose others are NaN," } else { "" };
        write!(formatter, "a window alone gives {alone}, in a run of {batch} rows{others} {among}")
    }
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum Unmeasured {
    /// The runtime fails.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// Single steps give other bits than the whole window.
    #[error(
        "states are not exact in this model: after {steps} rows single steps give {stepped}, one \
         run {whole}"
    )]
    States {
        /// W.
        steps: usize,
        /// The output after single steps.
        stepped: f32,
        /// The output of one run.
        whole: f32,
    },
    /// There is no window to measure with.
    #[error("there is no window to measure with")]
    NoWindows,
}

impl Measured {
    /// Whether rows change one another by more than rounding.
    pub fn mixes(&self) -> bool {
        self.mixing().is_some()
    }

    /// A difference that rounding does not explain: among windows that were given where there is
    /// one, else beside rows that no data has.
    pub fn mixing(&self) -> Option<Difference> {
        let is_mixing = |difference: &Difference| difference.size > self.rounding;
        self.worst.filter(is_mixing).or_else(|| self.leak.filter(is_mixing))
    }

    /// Any difference at all, that of [`Self::mixing`] first.
    pub fn difference(&self) -> Option<Difference> {
        self.mixing().or(self.worst).or(self.leak)
    }
}

/// The outcome of one window.
#[derive(Clone, Debug)]
struct Outcome {
    /// All columns.
    outputs: Vec<f32>,
    /// The states after the last row; empty where a model is driven in whole windows alone.
    states: Vec<f32>,
}

impl Outcome {
    fn has_bits_of(&self, other: &Self) -> bool {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        bits(&self.outputs) == bits(&other.outputs) && bits(&self.states) == bits(&other.states)
    }

    /// The column that differs the most from that of another outcome: this, the other, and by how
    /// much.
    fn difference(&self, other: &Self) -> (f32, f32, f32) {
        let pairs = self.outputs.iter().zip(&other.outputs).map(|(a, b)| {
            // Of two numbers that are both none, neither differs.
            let size = if a.to_bits() == b.to_bits() { 0.0 } else { (a - b).abs() };
            (*a, *b, if size.is_nan() { f32::INFINITY } else { size })
        });
        pairs.max_by(|a, b| a.2.total_cmp(&b.2)).unwrap_or_default()
    }
}

/// The largest difference that was seen.
struct Worst<'a> {
    alone: &'a [Outcome],
    found: Option<Difference>,
    beside_nan: bool,
}

impl Worst<'_> {
    /// Compares what window `index` gave in a run with what it gives alone.
    fn note(&mut self, batch: usize, outcome: &Outcome, index: usize) {
        let alone = &self.alone[index];
        let outcome = outcome.comparable(alone);
        if outcome.has_bits_of(alone) {
            return;
        }
        let (alone, among, size) = alone.difference(&outcome);
        if self.found.is_none_or(|found| size > found.size) {
            let beside_nan = self.beside_nan;
            self.found = Some(Difference { alone, among, batch, size, beside_nan });
        }
    }
}

/// A model that is measured.
struct Bench<'b> {
    backend: &'b mut dyn Backend,
    signature: &'b Signature,
}

/// Measures a model by windows of rows, each `[W][F]` and all equally long.
///
/// Each window runs alone and in runs of several sizes, in an order in which neighbors are far
/// apart, and in the reverse of it; step by step as well where the model is driven so. Behind the
/// windows come some that no data has, made of the first: negated, reversed and doubled, so that a
/// single window has neighbors too and no window is always the extreme one. Then each of a few
/// windows runs among rows of NaN: what a run is padded with may hold anything.
///
/// # Errors
/// [`Unmeasured`]: the runtime fails, or single steps give other bits than the whole window.
pub fn measure(
    backend: &mut dyn Backend,
    signature: &Signature,
    driven: Driven,
    windows: &[&[Vec<f32>]],
) -> Result<Measured, Unmeasured> {
    let windows = bounded(windows);
    let first = *windows.first().ok_or(Unmeasured::NoWindows)?;
    let steps = first.len();
    let mut bench = Bench { backend, signature };
    let alone = windows.iter().map(|window| bench.alone(window, driven));
    let alone = alone.collect::<Result<Vec<_>, _>>()?;
    let strangers = strangers(first);
    let mut pool: Vec<_> =
        apart(windows.len()).map(|index| (windows[index], Some(index))).collect();
    pool.extend(strangers.iter().map(|window| (window.as_slice(), None)));
    let worst = |beside_nan| Worst { alone: &alone, found: None, beside_nan };
    let (mut real, mut made, mut nan) = (worst(false), worst(false), worst(true));
    let shapes = shapes(steps, windows.len(), driven);
    for _ in 0..2 {
        for (form, batch) in shapes.iter().copied() {
            for start in (0..pool.len()).step_by(batch) {
                let members = pool.iter().cycle().skip(start).take(batch);
                let rows: Vec<_> = members.clone().map(|(rows, _)| Some(*rows)).collect();
                let is_real = members.clone().all(|(_, index)| index.is_some());
                let outcomes = bench.run(&rows, form)?;
                for ((_, index), outcome) in members.zip(&outcomes) {
                    if let Some(index) = *index {
                        let worst = if is_real { &mut real } else { &mut made };
                        worst.note(batch, outcome, index);
                    }
                }
            }
        }
        pool.reverse();
    }
    for (form, batch) in shapes {
        for index in [0, windows.len() - 1] {
            let mut members = vec![None; batch];
            let place = if index == 0 { batch - 1 } else { batch / 2 };
            members[place] = Some(windows[index]);
            let outcome = bench.run(&members, form)?.swap_remove(place);
            nan.note(batch, &outcome, index);
        }
    }
    let largest = alone.iter().flat_map(|outcome| &outcome.outputs);
    let largest = largest.filter(|value| value.is_finite()).fold(0.0_f32, |a, b| a.max(b.abs()));
    let worst = real.found.or(made.found);
    let rounding = (ROUNDING_SHARE * largest).max(ROUNDING);
    let is_mixing = |difference: &Difference| difference.size > rounding;
    let leak = made.found.filter(is_mixing).or(nan.found).or(made.found);
    let size = worst.map_or(0.0, |worst| worst.size.min(f32::MAX));
    let is_exact = worst.is_none() && leak.is_none();
    let exactness = Exactness {
        rows: if is_exact { Rows::Batched } else { Rows::Alone },
        windows: u32::try_from(windows.len()).unwrap_or(u32::MAX),
        largest_difference: size,
    };
    Ok(Measured { exactness, worst, leak, rounding })
}

/// As [`measure`], of windows alone: whether single steps give the bits of the whole window.
///
/// # Errors
/// As [`measure`].
pub fn measure_alone(
    backend: &mut dyn Backend,
    signature: &Signature,
    driven: Driven,
    windows: &[&[Vec<f32>]],
) -> Result<Measured, Unmeasured> {
    let windows = bounded(windows);
    let mut bench = Bench { backend, signature };
    if driven.stepped {
        for window in &windows {
            bench.alone(window, driven)?;
        }
    }
    let windows = u32::try_from(windows.len()).unwrap_or(u32::MAX);
    let exactness = Exactness { rows: Rows::Alone, windows, largest_difference: 0.0 };
    Ok(Measured { exactness, worst: None, leak: None, rounding: ROUNDING })
}

/// How windows go through a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Whole,
    Stepped,
}

/// The runs that are measured: how, and of how many rows.
fn shapes(steps: usize, windows: usize, driven: Driven) -> Vec<(Form, usize)> {
    let mut shapes = Vec::new();
    let count = if windows < LARGEST_FROM { BATCHES.len() - 1 } else { BATCHES.len() };
    let batches = BATCHES.into_iter().take(count);
    if driven.whole {
        let limit = (RUN_ROWS_MAX / steps.max(1)).max(RUN_WINDOWS_MIN);
        shapes.extend(batches.clone().map(|batch| (Form::Whole, batch.min(limit))));
    }
    if driven.stepped {
        // All windows of a symbol go on in one run: W-1 rows, or W with the one that is ready.
        let of_symbol = [steps.saturating_sub(1), steps].into_iter().filter(|batch| *batch > 1);
        shapes.extend(batches.chain(of_symbol).map(|batch| (Form::Stepped, batch)));
    }
    shapes.dedup();
    shapes
}

/// At most so many windows as a measurement may have.
fn bounded<'w>(windows: &[&'w [Vec<f32>]]) -> Vec<&'w [Vec<f32>]> {
    let steps = windows.first().map_or(1, |window| window.len().max(1));
    spread(windows, (ROWS_MAX / steps).clamp(WINDOWS_MIN, WINDOWS_MAX))
}

/// At most so many windows, spread evenly over those that there are.
pub fn spread<'w>(windows: &[&'w [Vec<f32>]], count_max: usize) -> Vec<&'w [Vec<f32>]> {
    let count = windows.len().min(count_max);
    (0..count).map(|index| windows[index * windows.len() / count]).collect()
}

/// The numbers below `count` in an order in which neighbors are far apart: windows that follow one
/// another have nearly all rows in common.
fn apart(count: usize) -> impl Iterator<Item = usize> {
    let divides = |a: usize, b: usize| {
        let (mut a, mut b) = (a, b);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a > 1
    };
    // The golden section of the count, or the next number without a divisor in common.
    let stride = (count * 13 / 21).max(1);
    let stride = (stride..).find(|stride| !divides(*stride, count)).unwrap_or(1);
    (0..count).map(move |index| index * stride % count)
}

/// Windows that no data has.
fn strangers(window: &[Vec<f32>]) -> [Vec<Vec<f32>>; 3] {
    let scaled = |factor: f32| {
        let row = |row: &Vec<f32>| row.iter().map(|value| factor * value).collect();
        window.iter().map(row).collect()
    };
    [scaled(-1.0), window.iter().rev().cloned().collect(), scaled(2.0)]
}

impl Outcome {
    /// This outcome, with the other's states where it has none: they are not compared then.
    fn comparable(&self, other: &Self) -> Self {
        let states = if self.states.is_empty() { &other.states } else { &self.states };
        Self { outputs: self.outputs.clone(), states: states.clone() }
    }
}

impl Bench<'_> {
    /// A window alone; step by step and in one run it must have the same bits.
    fn alone(&mut self, window: &[Vec<f32>], driven: Driven) -> Result<Outcome, Unmeasured> {
        let members = [Some(window)];
        if !driven.stepped {
            return Ok(self.run(&members, Form::Whole)?.swap_remove(0));
        }
        let stepped = self.run(&members, Form::Stepped)?.swap_remove(0);
        let whole = self.run_whole(&members, true)?.swap_remove(0);
        if stepped.has_bits_of(&whole) {
            return Ok(stepped);
        }
        let (stepped, whole, _) = stepped.difference(&whole);
        Err(Unmeasured::States { steps: window.len(), stepped, whole })
    }

    /// Runs windows beside one another from zero state; `None` is a window of NaN.
    fn run(
        &mut self,
        members: &[Option<&[Vec<f32>]>],
        form: Form,
    ) -> Result<Vec<Outcome>, InferenceError> {
        match form {
            Form::Whole => self.run_whole(members, false),
            Form::Stepped => self.run_steps(members),
        }
    }

    fn run_whole(
        &mut self,
        members: &[Option<&[Vec<f32>]>],
        with_states: bool,
    ) -> Result<Vec<Outcome>, InferenceError> {
        let (batch, width) = (members.len(), self.signature.features);
        let steps = members.iter().flatten().map(|window| window.len()).max().unwrap_or(1);
        let lane = self.backend.lane(Shape { steps, batch })?;
        self.begin(lane, members);
        for (step, rows) in self.backend.rows_mut(lane).chunks_exact_mut(batch * width).enumerate()
        {
            fill(rows, members, step, width);
        }
        self.backend.run(lane)?;
        Ok(self.outcomes(lane, batch, with_states))
    }

    fn run_steps(
        &mut self,
        members: &[Option<&[Vec<f32>]>],
    ) -> Result<Vec<Outcome>, InferenceError> {
        let (batch, width) = (members.len(), self.signature.features);
        let steps = members.iter().flatten().map(|window| window.len()).max().unwrap_or(1);
        let lane = self.backend.lane(Shape { steps: 1, batch })?;
        self.begin(lane, members);
        for step in 0..steps {
            fill(self.backend.rows_mut(lane), members, step, width);
            if step > 0 {
                for index in 0..self.signature.states.len() {
                    let next = self.backend.next_state(lane, index).to_vec();
                    self.backend.state_mut(lane, index).copy_from_slice(&next);
                }
            }
            self.backend.run(lane)?;
        }
        Ok(self.outcomes(lane, batch, true))
    }

    /// Zero state for each window, NaN for what is none.
    fn begin(&mut self, lane: Lane, members: &[Option<&[Vec<f32>]>]) {
        for (index, state) in self.signature.states.iter().enumerate() {
            let states = self.backend.state_mut(lane, index).chunks_exact_mut(state.width);
            for (state, member) in states.zip(members) {
                state.fill(if member.is_some() { 0.0 } else { f32::NAN });
            }
        }
    }

    fn outcomes(&self, lane: Lane, batch: usize, with_states: bool) -> Vec<Outcome> {
        let output = self.backend.output(lane);
        let columns = output.len() / batch;
        let states = |at: usize| {
            let states = self.signature.states.iter().enumerate();
            states.flat_map(move |(index, state)| {
                &self.backend.next_state(lane, index)[at * state.width..][..state.width]
            })
        };
        let outcome = |(at, outputs): (usize, &[f32])| Outcome {
            outputs: outputs.to_vec(),
            states: if with_states { states(at).copied().collect() } else { Vec::new() },
        };
        output.chunks_exact(columns).enumerate().map(outcome).collect()
    }
}

/// Lays the rows of one step beside one another.
fn fill(rows: &mut [f32], members: &[Option<&[Vec<f32>]>], step: usize, width: usize) {
    for (row, member) in rows.chunks_exact_mut(width).zip(members) {
        match member {
            Some(window) => row.copy_from_slice(&window[step]),
            None => row.fill(f32::NAN),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::engine::inference::{Columns, HostBackend, HostTensors, StateSignature};

    const STEPS: usize = 4;
    const WHOLE: Driven = Driven { whole: true, stepped: false };
    const BOTH: Driven = Driven { whole: true, stepped: true };

    fn signature() -> Signature {
        Signature {
            input: "x".to_owned(),
            features: 1,
            output: "y".to_owned(),
            columns: Columns::default(),
            states: vec![StateSignature { input: "s".into(), output: "t".into(), width: 1 }],
        }
    }

    /// Sums of the rows, changed by what `mix` makes of all sums of the run.
    fn backend(mix: impl Fn(&mut [f32]) + Send + 'static) -> HostBackend {
        HostBackend::new(&signature(), move |tensors: &mut HostTensors| {
            tensors.run_by_row(|row, states| {
                states[0][0] += row[0];
                states[0][0]
            });
            mix(&mut tensors.output);
        })
    }

    fn rows(count: usize) -> Vec<Vec<f32>> {
        (0..count).map(|index| vec![(index as f32 * 0.7).sin()]).collect()
    }

    fn measured(
        driven: Driven,
        count: usize,
        mix: impl Fn(&mut [f32]) + Send + 'static,
    ) -> Measured {
        let rows = rows(count + STEPS - 1);
        let windows: Vec<_> = rows.windows(STEPS).collect();
        measure(&mut backend(mix), &signature(), driven, &windows).unwrap()
    }

    fn maximum(outputs: &[f32]) -> f32 {
        outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    #[test]
    fn rows_that_do_not_meet_are_batched() {
        for (driven, count) in [(WHOLE, 1), (BOTH, 1), (BOTH, 300), (WHOLE, 2000)] {
            let measured = measured(driven, count, |_| {});
            assert_eq!(measured.worst, None);
            assert_eq!(measured.exactness.rows, Rows::Batched);
            assert_eq!(measured.exactness.windows as usize, count.min(WINDOWS_MAX));
        }
    }

    /// Each of these is caught with a single window, however that lies among others.
    #[test]
    fn every_way_in_which_rows_meet_is_found() {
        type Mix = fn(&mut [f32]);
        let mixes: [(&str, Mix); 4] = [
            ("the largest", |outputs| {
                let largest = maximum(outputs);
                outputs.iter_mut().for_each(|output| *output += 0.1 * largest);
            }),
            ("the mean", |outputs| {
                let mean = outputs.iter().sum::<f32>() / outputs.len() as f32;
                outputs.iter_mut().for_each(|output| *output = mean);
            }),
            ("the first", |outputs| outputs[0] += 0.1 * (outputs.len() - 1) as f32),
            ("the one before", |outputs| {
                for at in (1..outputs.len()).rev() {
                    outputs[at] += 0.5 * outputs[at - 1];
                }
            }),
        ];
        for (name, mix) in mixes {
            for driven in [WHOLE, BOTH] {
                for count in [1, 300] {
                    let measured = measured(driven, count, mix);
                    assert!(measured.mixes(), "{name} of {count}: {measured:?}");
                    assert_eq!(measured.exactness.rows, Rows::Alone);
                    assert!(measured.exactness.largest_difference > 0.0);
                }
            }
        }
    }

    #[test]
    fn rows_that_meet_in_large_runs_alone_are_found() {
        for driven in [WHOLE, BOTH] {
            let measured = measured(driven, 300, |outputs| {
                if outputs.len() > 200 {
                    outputs[131] += 1.0;
                }
            });
            assert!(measured.mixes(), "{measured:?}");
            assert_eq!(measured.worst.map(|worst| worst.batch), Some(256));
        }
    }

    /// The window of the golden vectors may be the largest of all: beside any real neighbor it
    /// hides the operator that the others do not.
    #[test]
    fn a_window_that_is_the_extreme_one_hides_nothing() {
        let mut rows = vec![vec![0.1]; STEPS];
        rows[0] = vec![1e3];
        let largest = |outputs: &mut [f32]| {
            let largest = maximum(outputs);
            outputs.iter_mut().for_each(|output| *output -= largest);
        };
        let windows = [rows.as_slice()];
        let measured = measure(&mut backend(largest), &signature(), WHOLE, &windows).unwrap();
        assert!(measured.mixes(), "{measured:?}");
    }

    #[test]
    fn rounding_is_told_from_mixing() {
        let rounded = measured(WHOLE, 300, |outputs| {
            if outputs.len() > 1 {
                outputs.iter_mut().for_each(|output| *output *= 1.0 + 2.0 * f32::EPSILON);
            }
        });
        assert_eq!(rounded.exactness.rows, Rows::Alone);
        assert!(!rounded.mixes() && rounded.exactness.largest_difference < 1e-6, "{rounded:?}");
    }

    #[test]
    fn rows_of_nan_that_leak_are_mixing() {
        let leaking = measured(WHOLE, 300, |outputs| {
            if outputs.iter().any(|output| output.is_nan()) {
                outputs.fill(f32::NAN);
            }
        });
        assert!(leaking.mixes() && leaking.exactness.rows == Rows::Alone, "{leaking:?}");
        let said = leaking.mixing().unwrap().to_string();
        assert!(said.contains(", whose others are NaN, NaN"), "{said}");
    }

    /// A window that no data has may be twice as large as any of them.
    #[test]
    fn windows_that_no_data_has_are_no_part_of_the_figure() {
        let among_all = |outputs: &mut [f32]| {
            let largest = maximum(outputs).max(-outputs.iter().copied().fold(0.0, f32::min));
            outputs.iter_mut().for_each(|output| *output += 0.01 * largest);
        };
        let rows: Vec<_> = (0..303).map(|at| vec![1.0 + 0.001 * at as f32]).collect();
        let windows: Vec<_> = rows.windows(STEPS).collect();
        let measured = measure(&mut backend(among_all), &signature(), WHOLE, &windows).unwrap();
        // Sums of four rows up to 1.302 among themselves; the first window doubled is 8.
        let largest_sum = 4.0 * 1.302;
        let figure = measured.exactness.largest_difference;
        assert!(figure > 0.0 && figure <= 0.01 * largest_sum, "{measured:?}");
        assert!(measured.leak.unwrap().size > figure, "{measured:?}");
    }

    /// What dynamic quantization does: the range of all rows is in each, and rows of NaN spoil it.
    #[test]
    fn rows_of_nan_are_no_part_of_the_figure() {
        let range = |outputs: &mut [f32]| {
            let largest = if outputs.iter().any(|output| output.is_nan()) {
                f32::NAN
            } else {
                maximum(outputs)
            };
            outputs.iter_mut().for_each(|output| *output += 0.01 * largest);
        };
        for driven in [WHOLE, BOTH] {
            let mixing = measured(driven, 300, range);
            let figure = mixing.exactness.largest_difference;
            assert!(mixing.mixes() && figure > 1e-3 && figure < 0.2, "{mixing:?}");
            let said = mixing.mixing().unwrap();
            assert_eq!(said.size, figure);
            assert!(!said.to_string().contains("NaN"), "{said}");
        }
    }

    #[test]
    fn states_that_are_not_exact_are_refused() {
        let rows = rows(STEPS);
        let windows = [rows.as_slice()];
        let mut backend = HostBackend::new(&signature(), |tensors: &mut HostTensors| {
            let whole = tensors.shape.steps > 1;
            tensors.run_by_row(|row, states| {
                states[0][0] += row[0];
                states[0][0] + if whole { 1e-6 } else { 0.0 }
            });
        });
        let refused = measure(&mut backend, &signature(), BOTH, &windows).unwrap_err();
        assert!(refused.to_string().starts_with("states are not exact"), "{refused}");
        assert!(measure(&mut backend, &signature(), WHOLE, &windows).is_ok());
        let none = measure(&mut backend, &signature(), WHOLE, &[]).unwrap_err();
        assert!(matches!(none, Unmeasured::NoWindows), "{none}");
    }

    #[test]
    fn every_window_has_its_turn_and_neighbors_are_far_apart() {
        for count in [1, 2, 3, 7, 42, 256, 300] {
            let order: Vec<_> = apart(count).collect();
            assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), count);
            if count > 40 {
                let near = order.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < count / 4);
                assert_eq!(near.count(), 0, "{count}");
            }
        }
    }
}
