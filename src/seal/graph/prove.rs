//! The proof of a rewrite against the original's own run.
//!
//! Owns what the output of a foreign graph means: which numbers of it are the forecast of a window.
//! Promises that the original runs as it was exported, one window at a time. Never rounds: a
//! difference is the largest that there is.

use super::probe::{Drive, Given, Probe, Windows};
use super::{Foreign, Wanted};
use crate::engine::inference::Runtime;
use crate::engine::inference::trial::Tensor;

/// Where in an output the numbers of a window are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OutputForm {
    /// Axes.
    pub(super) rank: usize,
    /// The axis of the batch; `None` where the graph has no batch at all.
    pub(super) batch: Option<usize>,
    /// The axis of time, where the output has a value for each step: the last one counts.
    pub(super) time: Option<usize>,
    /// Numbers of a window: K.
    pub(super) columns: usize,
    /// How many of them there are for each column if they belong to the steps of the window, which
    /// could be and is not certain.
    pub(super) may_be_steps: Option<usize>,
}

impl OutputForm {
    /// The K numbers of row `at` of the batch.
    pub(super) fn take(&self, output: &Tensor, at: usize) -> Option<Vec<f32>> {
        let values = output.to_f32()?;
        let dims = &output.dims;
        if dims.len() != self.rank {
            return None;
        }
        let mut taken = Vec::with_capacity(self.columns);
        for (index, value) in values.iter().enumerate() {
            let mut rest = index;
            let mut is_taken = true;
            for axis in (0..dims.len()).rev() {
                let place = rest % dims[axis];
                rest /= dims[axis];
                let wanted = if Some(axis) == self.batch {
                    Some(at)
                } else if Some(axis) == self.time {
                    Some(dims[axis] - 1)
                } else {
                    None
                };
                is_taken &= wanted.is_none_or(|wanted| wanted == place);
            }
            if is_taken {
                taken.push(*value);
            }
        }
        (taken.len() == self.columns).then_some(taken)
    }
}

/// How a graph was compared with another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Windows.
    pub windows: usize,
    /// Whether every number has the same bits.
    pub is_bit_equal: bool,
    /// The largest absolute difference; infinite where one of the two is not a number.
    pub largest_difference: f32,
    /// The largest difference relative to the largest number of its column, where that is above 1.
    pub largest_share: f32,
}

/// The largest share that is rounding: other kernels may sum in another order.
const ROUNDING_SHARE: f32 = 1e-5;

impl Comparison {
    /// Compares results of the same windows.
    pub fn of(one: &[Vec<f32>], other: &[Vec<f32>]) -> Self {
        let mut comparison = Self {
            windows: one.len(),
            is_bit_equal: true,
            largest_difference: 0.0,
            largest_share: 0.0,
        };
        let same_shape = one.len() == other.len()
            && one.iter().zip(other).all(|(one, other)| one.len() == other.len());
        if !same_shape {
            let (largest_difference, largest_share) = (f32::INFINITY, f32::INFINITY);
            return Self { is_bit_equal: false, largest_difference, largest_share, ..comparison };
        }
        let columns = one.iter().map(Vec::len).max().unwrap_or(0);
        for column in 0..columns {
            let of_column = |row: &Vec<f32>| row.get(column).copied();
            let (one, other) =
                (one.iter().filter_map(of_column), other.iter().filter_map(of_column));
            let finite = one.clone().filter(|value| value.is_finite());
            let size = finite.fold(1.0_f32, |size, value| size.max(value.abs()));
            for (a, b) in one.zip(other) {
                if a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan()) {
                    comparison.is_bit_equal = false;
                    let difference = (a - b).abs();
                    let difference = if difference.is_nan() { f32::INFINITY } else { difference };
                    comparison.largest_difference = comparison.largest_difference.max(difference);
                    comparison.largest_share = comparison.largest_share.max(difference / size);
                }
            }
        }
        comparison
    }

    /// Whether nothing differs by more than rounding.
    pub fn is_same(&self) -> bool {
        self.largest_share <= ROUNDING_SHARE
    }

    /// In words for people.
    pub fn words(&self) -> String {
        if self.is_bit_equal {
            format!("equal bits on {} windows", self.windows)
        } else {
            let (windows, difference) = (self.windows, self.largest_difference);
            format!("differs by at most {difference:e} on {windows} windows")
        }
    }
}

/// Runs the original on windows `[N][W*F]`, oldest row first, one at a time: the reference against
/// which a rewrite is proven. Returns `[N][K]`.
///
/// # Errors
/// What the runtime says of the graph, or of the window at fault.
pub fn run_original(
    foreign: &Foreign,
    runtime: &dyn Runtime,
    wanted: &Wanted,
    windows: &[Vec<f32>],
) -> Result<Vec<Vec<f32>>, String> {
    let drive = foreign.drive(&wanted.constants);
    let output = &foreign.facts.output.name;
    let mut probe = Probe::open(runtime, foreign.original())?;
    let batch = foreign.facts.input.batch.unwrap_or(1);
    let run = |(at, window): (usize, &Vec<f32>)| {
        let one =
            one_window(window, wanted).map_err(|problem| format!("window {at}: {problem}"))?;
        let given = probe.run(&drive, &one.row(0, batch))?;
        taken(&given, output, &foreign.form, 0)
    };
    windows.iter().enumerate().map(run).collect()
}

fn one_window(window: &[f32], wanted: &Wanted) -> Result<Windows, String> {
    let Wanted { window: steps, features, .. } = *wanted;
    if window.len() != steps * features {
        let have = window.len();
        return Err(format!("{have} numbers, {steps} steps of {features} features are expected"));
    }
    Ok(Windows { batch: 1, steps, features, values: window.to_vec() })
}

pub(super) fn taken(
    given: &Given,
    name: &str,
    form: &OutputForm,
    at: usize,
) -> Result<Vec<f32>, String> {
    let output = given.get(name).ok_or_else(|| format!("the graph gives no `{name}`"))?;
    form.take(output, at)
        .ok_or_else(|| format!("output `{name}` is {:?}, another shape than before", output.dims))
}

/// Runs a rewritten graph on windows one at a time, whole: `[N][K]`.
pub(super) fn run_whole(
    probe: &mut Probe,
    drive: &Drive,
    output: &str,
    wanted: &Wanted,
    windows: &[Vec<f32>],
) -> Result<Vec<Vec<f32>>, String> {
    windows
        .iter()
        .map(|window| {
            let given = probe.run(drive, &one_window(window, wanted)?)?;
            let output = given.get(output).and_then(Tensor::to_f32);
            output.ok_or_else(|| "the rewritten graph gives no floats".to_owned())
        })
        .collect()
}

/// Runs windows step by step, each state that is given back taken by the next step. Returns what
/// the last step gave; `states` are the inputs with their outputs.
pub(super) fn step_by_step(
    probe: &mut Probe,
    drive: &Drive,
    windows: &Windows,
    states: &[(&str, &str)],
) -> Result<Given, String> {
    let mut carried: Vec<(String, Tensor)> = Vec::new();
    let mut last = Given::new();
    for at in 0..windows.steps {
        let given = probe.run_from(drive, &windows.step(at), &carried)?;
        let next = states.iter().map(|(input, output)| {
            let tensor = given.get(*output).cloned();
            let missing = || format!("there is no state `{output}`");
            tensor.map(|tensor| ((*input).to_owned(), tensor)).ok_or_else(missing)
        });
        carried = next.collect::<Result<_, _>>()?;
        last = given;
    }
    Ok(last)
}
