//! The models that are measured: of known shapes with random weights, or a bundle from a folder.
//!
//! Owns the shapes. Promises the same weights in every run, and that each model went through the
//! checks of a sealed bundle. Never writes a file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::BenchError;
use crate::core::domain::{Schema, UnixNanos};
use crate::core::features::{ColumnRange, FeaturePlan, RowStatus, Scaler};
use crate::core::forecast::{Interval, SignalThresholds, Target};
use crate::engine::inference::{Backend, OnnxRuntime, Shape};
use crate::engine::model::golden::{GOLDEN_SCHEMA, Golden, GoldenCase, GoldenStep};
use crate::engine::model::manifest::{
    self, MANIFEST_SCHEMA, Manifest, Mode, StepKind, StepSpec, TargetSpec,
};
use crate::engine::model::writer::{DenseWeights, GraphWriter, LstmWeights, WrittenGraph};
use crate::engine::model::{Bundle, Draft};
use crate::engine::onnx::{ModelProto, NodeProto, TensorProto};

/// The shapes with random weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The Keras tutorial's: a window of 30 x 3, LSTM 64, LSTM 32, Dense 16 relu, Dense 1 tanh.
    Seed,
    /// Shaped like `LSTM_A` of STAC-ML Markets: a window of 50 x 100, LSTM 2 x 100, Dense 1.
    LstmA,
    /// Shaped like `LSTM_B` of STAC-ML Markets: a window of 100 x 250, LSTM 3 x 200, Dense 1.
    LstmB,
}

/// A model to measure, with a bundle for the modes that cannot stand in one.
pub struct Subject {
    name: String,
    bundles: Vec<Bundle>,
    work: Work,
}

/// The multiplications with an addition that a model asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Of the recurrent layers, for each step.
    pub step_multiply_adds: usize,
    /// Of the dense layers, for each forecast.
    pub head_multiply_adds: usize,
}

impl fmt::Display for Known {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Seed => "seed",
            Self::LstmA => "lstm-a",
            Self::LstmB => "lstm-b",
        })
    }
}

impl Known {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Seed, Self::LstmA, Self::LstmB];

    fn window_steps(self) -> u32 {
        match self {
            Self::Seed => 30,
            Self::LstmA => 50,
            Self::LstmB => 100,
        }
    }

    fn lstm_units(self) -> &'static [usize] {
        match self {
            Self::Seed => &[64, 32],
            Self::LstmA => &[100, 100],
            Self::LstmB => &[200, 200, 200],
        }
    }

    fn dense(self) -> &'static [(usize, Option<&'static str>)] {
        match self {
            Self::Seed => &[(16, Some("Relu")), (1, Some("Tanh"))],
            Self::LstmA | Self::LstmB => &[(1, None)],
        }
    }

    /// The features by name, each with the range that its scaler takes for the training's.
    fn features(self) -> Vec<ColumnRange> {
        let column = |feature: &str, min, max| ColumnRange { feature: feature.into(), min, max };
        // Averages of many spans: as many different numbers as wanted out of one price.
        let averages = |count: u32| {
            (2..2 + count / 2).flat_map(move |span| {
                [
                    column(&format!("ema({span})"), 0.0, 200.0),
                    column(&format!("ema_gap({span})"), -0.5, 0.5),
                ]
            })
        };
        match self {
            Self::Seed => vec![
                column("close", 0.0, 200.0),
                column("volume", 0.0, 1000.0),
                column("change", -0.5, 0.5),
            ],
            Self::LstmA => averages(100).collect(),
            Self::LstmB => averages(250).collect(),
        }
    }

    /// The graph with weights that are the same in every run.
    fn graph(self) -> WrittenGraph {
        let mut random = SplitMix64(1);
        let mut inputs = self.features().len();
        let mut writer = GraphWriter::new(&self.to_string(), inputs, 1, true);
        let (lstm, dense) = (self.lstm_units(), self.dense());
        for (at, &units) in lstm.iter().enumerate() {
            let scale = 1.0 / (units as f32).sqrt();
            let kernel = random.weights(4 * units * inputs, scale);
            let recurrent = random.weights(4 * units * units, scale);
            let bias = random.weights(4 * units, scale);
            let (kernel, recurrent, bias) = (&kernel[..], &recurrent[..], &bias[..]);
            let weights = LstmWeights { inputs, units, kernel, recurrent, bias };
            writer.lstm(&weights, at + 1 == lstm.len());
            inputs = units;
        }
        for (at, &(units, function)) in dense.iter().enumerate() {
            // Small enough that a forecast of the next return stays possible.
            let scale = 0.5 / inputs as f32;
            let weight = random.weights(inputs * units, scale);
            let bias = random.weights(units, scale);
            let (shape, weight, bias) = ([inputs, units], &weight[..], &bias[..]);
            writer.dense(&DenseWeights { shape, weight, bias, function }, at + 1 == dense.len());
            inputs = units;
        }
        writer.finish()
    }

    /// A bundle of the shape that serves `modes`.
    fn bundle(self, modes: &[Mode], runtime: &OnnxRuntime) -> Result<Bundle, BenchError> {
        let WrittenGraph { onnx, graph } = self.graph();
        let columns = self.features();
        let minmax = |columns| Scaler::Minmax { low: -1.0, high: 1.0, columns };
        let target = ColumnRange { feature: "next_return".into(), min: -0.2, max: 0.2 };
        let manifest = Manifest {
            schema: MANIFEST_SCHEMA.into(),
            name: self.to_string(),
            version: "1".into(),
            onnx_sha256: String::new(),
            golden_sha256: String::new(),
            window_steps: self.window_steps(),
            horizon_steps: 1,
            step: StepSpec::record(1),
            features: columns.iter().map(|column| column.feature.clone()).collect(),
            extra_fields: Vec::new(),
            scaler: minmax(columns),
            symbols: None,
            target: TargetSpec { kind: Target::NextReturn, scaler: minmax(vec![target]) },
            modes: modes.to_vec(),
            graph,
            signal: SignalThresholds { buy_above: 0.02, sell_below: -0.02 },
            interval: Interval { coverage: 0.9, lower: -0.05, upper: 0.05 },
            outputs: Vec::new(),
            exactness: None,
            origin: None,
            training: manifest::Known::Unknown,
            baselines: None,
            distribution: None,
            evaluation: Vec::new(),
            repeats: Vec::new(),
            verdict: "random weights forecast nothing".into(),
        };
        let case = golden_case(&manifest, &onnx, runtime)?;
        let golden = Golden { schema: GOLDEN_SCHEMA.into(), tolerance: 1e-5, cases: vec![case] };
        let bundle = Draft { manifest, onnx, golden, symbols: None }.into_bundle()?;
        // Not exact in single steps: not to be measured.
        bundle.open(runtime)?;
        Ok(bundle)
    }
}

/// A window that the features make of a wave, and what ONNX Runtime says of it.
fn golden_case(
    manifest: &Manifest,
    onnx: &[u8],
    runtime: &OnnxRuntime,
) -> Result<GoldenCase, BenchError> {
    let wrong = |text: String| BenchError::Machine(format!("model `{}`: {text}", manifest.name));
    let label = manifest.target.kind.label();
    let features = FeaturePlan::new(&manifest.features, &[], label, &manifest.scaler)
        .map_err(|error| wrong(error.to_string()))?;
    let raw = features.raw();
    let (mut state, mut scratch) = (raw.initial_state(), raw.scratch());
    let (mut steps, mut window) = (Vec::new(), Vec::new());
    for index in 0..raw.warm_up_steps() + u64::from(manifest.window_steps) {
        let fields = wave(raw.schema(), index);
        let time = UnixNanos::from_nanos(1_000_000_000 * index as i64);
        let golden = GoldenStep { time, fields };
        let step = golden.step(raw.schema()).map_err(wrong)?;
        let status = features.row(&state, &step, &mut scratch);
        let status = status.map_err(|reason| wrong(reason.label().to_owned()))?;
        state.absorb(&scratch);
        if status != RowStatus::Warming {
            window.push(scratch.row().to_vec());
        }
        steps.push(golden);
    }
    let signature = manifest.graph.signature(features.width());
    let mut backend = runtime.session(onnx, &signature)?;
    let lane = backend.lane(Shape { steps: window.len(), batch: 1 })?;
    let rows = backend.rows_mut(lane).chunks_exact_mut(features.width());
    rows.zip(&window).for_each(|(target, row)| target.copy_from_slice(row));
    backend.run(lane)?;
    Ok(GoldenCase { steps, window, output: backend.output(lane).to_vec(), ..GoldenCase::default() })
}

/// Close and volume of a step.
fn wave(schema: &Schema, index: u64) -> BTreeMap<String, f64> {
    let phase = (index % 360) as f64;
    let close = 100.0 + 10.0 * libm::sin(phase);
    let names = ["close", "volume"].into_iter().filter(|name| schema.field(name).is_some());
    names.map(str::to_owned).zip([close, 500.0 + phase]).collect()
}

impl Subject {
    /// A known shape.
    ///
    /// # Errors
    /// [`BenchError`] where ONNX Runtime does not give it the promised exactness.
    pub fn known(known: Known, runtime: &OnnxRuntime) -> Result<Self, BenchError> {
        let windows = known.bundle(&[Mode::Full, Mode::Sliding], runtime)?;
        // A bundle that serves `carried` serves nothing else.
        let carried = known.bundle(&[Mode::Carried], runtime)?;
        let work = Work::of(windows.onnx())?;
        Ok(Self { name: known.to_string(), bundles: vec![windows, carried], work })
    }

    /// A bundle from a folder, opened once so that its golden vectors are proved.
    ///
    /// # Errors
    /// [`BenchError`] where it is refused, or its steps are bars.
    pub fn read(folder: &Path, runtime: &OnnxRuntime) -> Result<Self, BenchError> {
        let bundle = Bundle::read(folder)?;
        bundle.open(runtime)?;
        let name = bundle.manifest().name.clone();
        if bundle.manifest().step.kind != StepKind::Record {
            return Err(BenchError::Bars(name));
        }
        let work = Work::of(bundle.onnx())?;
        Ok(Self { name, bundles: vec![bundle], work })
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it asks of the processor.
    pub fn work(&self) -> Work {
        self.work
    }

    /// The modes that it serves.
    pub fn modes(&self) -> impl Iterator<Item = Mode> + '_ {
        self.bundles.iter().flat_map(|bundle| bundle.manifest().modes.iter().copied())
    }

    /// The bundle that serves a mode.
    ///
    /// # Errors
    /// [`BenchError::Mode`] where none does.
    pub fn bundle(&self, mode: Mode) -> Result<&Bundle, BenchError> {
        let serves = |bundle: &&Bundle| bundle.manifest().modes.contains(&mode);
        let model = || self.name.clone();
        self.bundles.iter().find(serves).ok_or_else(|| BenchError::Mode { model: model(), mode })
    }
}

impl Work {
    /// Counts the weights that a graph multiplies with.
    fn of(onnx: &[u8]) -> Result<Self, BenchError> {
        let model = ModelProto::from_bytes(onnx).map_err(BenchError::Machine)?;
        let graph = model.graph.unwrap_or_default();
        let count = |node: &NodeProto, inputs: &[usize]| -> usize {
            let names = inputs.iter().filter_map(|input| node.input.get(*input));
            names
                .filter_map(|name| graph.initializer.iter().find(|tensor| tensor.name == *name))
                .filter_map(TensorProto::element_count)
                .sum()
        };
        let (mut step_multiply_adds, mut head_multiply_adds) = (0, 0);
        for node in &graph.node {
            match node.op_type.as_str() {
                "LSTM" | "GRU" | "RNN" => step_multiply_adds += count(node, &[1, 2]),
                "Gemm" | "MatMul" => head_multiply_adds += count(node, &[1]),
                _ => {}
            }
        }
        Ok(Self { step_multiply_adds, head_multiply_adds })
    }

    /// For a forecast that takes so many steps.
    pub fn multiply_adds(self, steps: usize) -> usize {
        steps * self.step_multiply_adds + self.head_multiply_adds
    }
}

/// The generator that fills weights: SplitMix64 of Steele, Lea and Flood.
pub(super) struct SplitMix64(pub(super) u64);

impl SplitMix64 {
    /// Numbers in `[-scale, scale)`.
    pub(super) fn weights(&mut self, count: usize, scale: f32) -> Vec<f32> {
        let mut next = || {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = self.0;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^= bits >> 31;
            ((bits >> 40) as f32 / 8_388_608.0 - 1.0) * scale
        };
        (0..count).map(|_| next()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_of_a_shape_is_what_its_layers_multiply() {
        // An LSTM of H units on I inputs multiplies 4H(I + H) weights a step.
        for (known, step, head) in [
            (Known::Seed, 4 * 64 * (3 + 64) + 4 * 32 * (64 + 32), 32 * 16 + 16),
            (Known::LstmA, 4 * 100 * (100 + 100) + 4 * 100 * (100 + 100), 100),
            (Known::LstmB, 4 * 200 * (250 + 200) + 2 * 4 * 200 * (200 + 200), 200),
        ] {
            let work = Work::of(&known.graph().onnx).unwrap();
            assert_eq!((work.step_multiply_adds, work.head_multiply_adds), (step, head), "{known}");
            assert_eq!(work.multiply_adds(30), 30 * step + head);
        }
    }

    #[test]
    fn weights_are_the_same_in_every_run() {
        assert_eq!(Known::Seed.graph(), Known::Seed.graph());
        let weights = SplitMix64(1).weights(1000, 0.5);
        assert!(weights.iter().all(|w| (-0.5..0.5).contains(w)));
        assert!(weights.iter().any(|w| *w > 0.4) && weights.iter().any(|w| *w < -0.4));
    }
}
