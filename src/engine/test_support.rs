//! What tests drive instead of ONNX Runtime.
//!
//! Owns a runtime that computes in plain Rust, and the bundles that it runs. Promises what a real
//! model promises: rows of a run do not influence each other, and single steps give the bits of a
//! whole window, so its bundles are proved like any other. It exists in tests alone.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::core::baseline::{AverageSpec, BaselineKind, BaselineSpec, SeasonalSpec};
use crate::core::domain::{DurationNanos, Field, Fields, Tick, UnixNanos};
use crate::core::features::{ColumnRange, FeaturePlan, RowStatus, Scaler, SymbolTable};
use crate::core::forecast::{Interval, SignalThresholds, Target};
use crate::engine::inference::{Backend, HostBackend, InferenceError, Runtime, Signature};
use crate::engine::model::golden::{GOLDEN_SCHEMA, Golden, GoldenCase, GoldenStep};
use crate::engine::model::manifest::{
    Known, MANIFEST_SCHEMA, Manifest, Mode, StepSpec, TargetSpec, TrainingSpec,
};
use crate::engine::model::writer::{DenseWeights, GraphWriter, LstmWeights, WrittenGraph};
use crate::engine::model::{Bundle, Draft};
use crate::engine::onnx::ModelProto;

pub(crate) use crate::engine::inference::test_support::onnxruntime;

/// W of [`manifest`].
pub(crate) const WINDOW_STEPS: usize = 3;

/// Steps of a symbol before its first row: `change` needs two prices.
pub(crate) const WARM_UP_STEPS: usize = 1;

/// The seconds of a step of [`manifest`].
pub(crate) const STEP_SECONDS: u32 = 60;

/// The features of [`manifest`].
const FEATURES: [&str; 2] = ["close", "change"];

/// H of both states of the graph.
const UNITS: usize = 2;

/// How much of each recurrent state is left after a step, in the order of the states.
const DECAYS: [f32; 2] = [0.5, 0.25];

/// Rows of a golden case of mode `carried` beyond the first full window.
const GOLDEN_ROWS_MORE: usize = 2;

/// A runtime without a library. What its models compute follows from two weights of their graphs,
/// whatever else is in these; see [`Weights`].
pub(crate) struct NullRuntime;

/// A model. Each number of a state decays and grows by the mean of the row, and the output is a
/// weighted sum of all of them: every row of the window and every state has a part in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Weights {
    /// By what the weighted sum is multiplied.
    pub(crate) gain: f32,
    /// What the output is for states of zero.
    pub(crate) bias: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { gain: 0.01, bias: 0.05 }
    }
}

impl Weights {
    /// A graph that holds the weights and reads so many columns. Its layers fit the manifest and
    /// are never run.
    fn graph(self, inputs: usize) -> WrittenGraph {
        let mut writer = GraphWriter::new("null", inputs, 1, true);
        let lstm = LstmWeights {
            inputs,
            units: UNITS,
            kernel: &vec![0.0; 4 * UNITS * inputs],
            recurrent: &[0.0; 4 * UNITS * UNITS],
            bias: &[0.0; 4 * UNITS],
        };
        writer.lstm(&lstm, true);
        let (weight, bias) = ([self.gain; UNITS], [self.bias]);
        let shape = [UNITS, 1];
        writer.dense(&DenseWeights { shape, weight: &weight, bias: &bias, function: None }, true);
        writer.finish()
    }

    fn of_graph(onnx: &[u8]) -> Option<Self> {
        let graph = ModelProto::from_bytes(onnx).ok()?.graph?;
        let first = |name: &str| {
            let tensor = graph.initializer.iter().find(|tensor| tensor.name == name)?;
            tensor.read_floats()?.first().copied()
        };
        Some(Self { gain: first("dense0_w")?, bias: first("dense0_b")? })
    }

    /// Moves states on by a row.
    fn step(row: &[f32], states: &mut [Vec<f32>]) {
        let mean = row.iter().sum::<f32>() / row.len() as f32;
        for (state, decay) in states.iter_mut().zip(DECAYS) {
            for (place, number) in (1u8..).zip(state) {
                *number = decay * *number + f32::from(place) * mean;
            }
        }
    }

    /// The output at these states.
    fn output(self, states: &[Vec<f32>]) -> f32 {
        let numbers = states.iter().flatten();
        let sum: f32 = (1u8..).zip(numbers).map(|(place, number)| f32::from(place) * number).sum();
        self.bias + self.gain * sum
    }

    /// The output for rows from zero state.
    pub(crate) fn forward(self, rows: &[Vec<f32>]) -> f32 {
        let mut states = vec![vec![0.0; UNITS]; DECAYS.len()];
        rows.iter().for_each(|row| Self::step(row, &mut states));
        self.output(&states)
    }
}

impl Runtime for NullRuntime {
    fn name(&self) -> &'static str {
        "null"
    }

    fn build(&self) -> String {
        "none".to_owned()
    }

    fn open(&self, onnx: &[u8], signature: &Signature) -> Result<Box<dyn Backend>, InferenceError> {
        let weights = Weights::of_graph(onnx).ok_or_else(|| InferenceError::Runtime {
            context: "open the model",
            message: "it has no weights of a null model".to_owned(),
        })?;
        Ok(Box::new(HostBackend::new(signature, move |tensors| {
            tensors.run_by_row(|row, states| {
                Weights::step(row, states);
                weights.output(states)
            });
        })))
    }
}

/// The manifest of a model that serves these modes: it reads `close` and `change` and forecasts the
/// next return, a fifth of its output.
pub(crate) fn manifest(modes: &[Mode]) -> Manifest {
    let range = |feature: &str, min, max| ColumnRange { feature: feature.to_owned(), min, max };
    let minmax = |columns| Scaler::Minmax { low: -1.0, high: 1.0, columns };
    let epoch = UnixNanos::from_nanos(0);
    Manifest {
        schema: MANIFEST_SCHEMA.to_owned(),
        name: "null".to_owned(),
        version: "1".to_owned(),
        onnx_sha256: String::new(),
        golden_sha256: String::new(),
        window_steps: WINDOW_STEPS as u32,
        horizon_steps: 1,
        step: StepSpec::record(STEP_SECONDS),
        features: FEATURES.map(str::to_owned).to_vec(),
        extra_fields: Vec::new(),
        scaler: minmax(vec![range("close", 0.0, 200.0), range("change", -0.5, 0.5)]),
        symbols: None,
        target: TargetSpec {
            kind: Target::NextReturn,
            scaler: minmax(vec![range("next_return", -0.2, 0.2)]),
        },
        modes: modes.to_vec(),
        graph: Weights::default().graph(FEATURES.len()).graph,
        signal: SignalThresholds { buy_above: 0.02, sell_below: -0.02 },
        interval: Interval { coverage: 0.9, lower: -0.05, upper: 0.05 },
        outputs: Vec::new(),
        exactness: None,
        origin: None,
        training: Known::Is(TrainingSpec {
            data_sha256: String::new(),
            symbols: Vec::new(),
            from: epoch,
            to: epoch,
            windows: 0,
            epochs: 0,
            best_epoch: 0,
            seed: 0,
        }),
        baselines: Some(BaselineSpec {
            against: BaselineKind::Average,
            drift: Some(0.001),
            average: Some(AverageSpec { half_life_steps: 3 }),
            seasonal: Some(SeasonalSpec { period_steps: 4 }),
            linear: None,
        }),
        distribution: None,
        evaluation: Vec::new(),
        repeats: Vec::new(),
        verdict: "a sum forecasts nothing".to_owned(),
    }
}

/// A draft of a bundle, with one golden case.
pub(crate) fn draft(manifest: Manifest, weights: Weights) -> Draft {
    draft_for(manifest, weights, None)
}

/// The same of a model that reads the columns of a table. Its golden case is of the first symbol.
pub(crate) fn draft_for(
    manifest: Manifest,
    weights: Weights,
    symbols: Option<SymbolTable>,
) -> Draft {
    let (label, window_steps) = (manifest.target.kind.label(), manifest.window_steps as usize);
    let (extra, scaler) = (&manifest.extra_fields, &manifest.scaler);
    let mut features = FeaturePlan::new(&manifest.features, extra, label, scaler).unwrap();
    if let Some(table) = &symbols {
        features = features.with_symbols(table, &manifest.features).unwrap();
    }
    let symbol = symbols.as_ref().and_then(|table| table.symbols.keys().next().cloned());
    let entry = features.entry(symbol.as_deref().unwrap_or_default());
    let carried = manifest.modes == [Mode::Carried];
    let rows = window_steps + if carried { GOLDEN_ROWS_MORE } else { 0 };
    let (mut state, mut scratch) = (features.raw().initial_state(), features.raw().scratch());
    let (mut steps, mut window) = (Vec::new(), Vec::new());
    let warm_up_steps = features.raw().warm_up_steps() as usize;
    for minute in (0u32..).take(warm_up_steps + rows) {
        let mut fields = BTreeMap::from([("close".to_owned(), f64::from(100 + 7 * minute % 11))]);
        fields.extend(extra.iter().map(|name| (name.clone(), f64::from(minute))));
        let step = GoldenStep { time: time(i64::from(minute)), fields };
        let raw = step.step(features.raw().schema()).unwrap();
        let status = features.row_of(entry, &state, &raw, &mut scratch).unwrap();
        state.absorb(&scratch);
        if status != RowStatus::Warming {
            window.push(features.input_row(entry, scratch.row()));
        }
        steps.push(step);
    }
    let output = (window_steps..=window.len()).map(|rows| weights.forward(&window[..rows]));
    let output = output.collect();
    let cases = vec![GoldenCase { symbol, steps, window, output, ..GoldenCase::default() }];
    let golden = Golden { schema: GOLDEN_SCHEMA.to_owned(), tolerance: 0.0, cases };
    Draft { manifest, onnx: weights.graph(features.inputs()).onnx, golden, symbols }
}

/// A bundle of these modes, in memory.
pub(crate) fn bundle(modes: &[Mode]) -> Bundle {
    draft(manifest(modes), Weights::default()).into_bundle().unwrap()
}

/// Event time, in minutes since the epoch.
pub(crate) fn time(minute: i64) -> UnixNanos {
    let step = DurationNanos::from_seconds(i64::from(STEP_SECONDS)).unwrap();
    UnixNanos::from_nanos(minute * step.as_nanos())
}

/// A tick of one price.
pub(crate) fn tick(symbol: &str, minute: i64, close: f64) -> Tick<'_> {
    let mut fields = Fields::EMPTY;
    fields.set_checked(Field::CLOSE, close).unwrap();
    Tick { symbol: Cow::Borrowed(symbol), time: time(minute), fields }
}

/// A price of a symbol at a minute, another for each of both.
pub(crate) fn price(symbol: &str, minute: i64) -> f64 {
    let of_symbol: u32 = symbol.bytes().map(u32::from).sum();
    50.0 + f64::from(of_symbol % 37) + ((minute * 29 + i64::from(of_symbol)) % 17) as f64
}

mod tests {
    use super::*;

    #[test]
    fn its_bundles_are_proved_in_every_mode() {
        for modes in [&[Mode::Full][..], &[Mode::Full, Mode::Sliding], &[Mode::Carried]] {
            bundle(modes).open(&NullRuntime).unwrap();
        }
    }

    #[test]
    fn a_golden_output_that_the_model_does_not_give_is_refused() {
        let mut draft = draft(manifest(&[Mode::Full, Mode::Sliding]), Weights::default());
        draft.golden.cases[0].output[0] += 1e-3;
        let refused = draft.into_bundle().unwrap().open(&NullRuntime).err().unwrap();
        assert!(refused.problems[0].contains("golden.json: cases[0]: output[0]"), "{refused}");
    }
}
