//! Bundles made in a moment: a random network with everything a manifest needs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;
use tickcast::core::baseline::{
    AverageSpec, BaselineKind, BaselineSpec, LinearModel, SeasonalSpec,
};
use tickcast::core::domain::{DurationNanos, UnixNanos};
use tickcast::core::features::{ColumnRange, FeaturePlan, RowStatus, Scaler};
use tickcast::core::forecast::{Interval, SignalThresholds, Target};
use tickcast::core::shift::{DistributionSpec, FeatureDistribution};
use tickcast::engine::inference::Runtime;
use tickcast::engine::model::golden::{GOLDEN_SCHEMA, Golden, GoldenCase, GoldenStep};
use tickcast::engine::model::manifest::{
    GraphSpec, Known, MANIFEST_SCHEMA, Manifest, Mode, StateSpec, StepSpec, TargetSpec,
    TrainingSpec,
};
use tickcast::engine::model::{Bundle, Draft};

use super::network::Network;
use super::runtime;

/// A sealed bundle in a folder that is removed at the end.
pub(crate) struct SealedBundle {
    /// Keeps the folder.
    pub(crate) root: TempDir,
    /// The bundle's own folder.
    pub(crate) folder: PathBuf,
    /// The bundle as it was read back.
    pub(crate) bundle: Bundle,
    /// The network in it.
    pub(crate) network: Network,
}

/// A column onto `[-1, 1]`.
pub(crate) fn range(feature: &str, min: f64, max: f64) -> ColumnRange {
    ColumnRange { feature: feature.to_owned(), min, max }
}

/// Every baseline, persistence being the one to beat; the linear model reads one row of the three
/// features.
fn baselines() -> BaselineSpec {
    BaselineSpec {
        against: BaselineKind::Persistence,
        drift: Some(0.001),
        average: Some(AverageSpec { half_life_steps: 3 }),
        seasonal: Some(SeasonalSpec { period_steps: 4 }),
        linear: Some(LinearModel { rows: 1, intercept: 0.01, weights: vec![0.02, -0.01, 0.03] }),
    }
}

/// Prices of 65 to 135, evenly in three bins; volume and change have a limit that nothing reaches.
pub(crate) fn distribution() -> DistributionSpec {
    let feature = |min: f32, edges: [f32; 2], max: f32, limit: f64| FeatureDistribution {
        min,
        edges: edges.to_vec(),
        max,
        counts: vec![100; 3],
        largest: 0.5,
        limit,
    };
    let anything = || feature(-9.0, [0.0, 1.0], 9.0, 99.0);
    DistributionSpec {
        from: UnixNanos::from_nanos(0),
        to: UnixNanos::from_nanos(1),
        rows: 300,
        memory_rows: 64,
        features: vec![feature(-0.35, [-0.15, 0.15], 0.35, 1.0), anything(), anything()],
    }
}

/// The manifest of a model of `close`, `volume` and `change` that forecasts the next return.
pub(crate) fn manifest(window_steps: u32, network: &Network) -> Manifest {
    let state = |(name, width): (String, usize)| StateSpec {
        output: format!("{name}_out"),
        input: name,
        width: width as u32,
    };
    let minmax = |columns| Scaler::Minmax { low: -1.0, high: 1.0, columns };
    Manifest {
        schema: MANIFEST_SCHEMA.into(),
        name: "random".into(),
        version: "1".into(),
        onnx_sha256: String::new(),
        golden_sha256: String::new(),
        window_steps,
        horizon_steps: 1,
        step: StepSpec::record(86_400),
        features: ["close", "volume", "change"].map(str::to_owned).to_vec(),
        extra_fields: vec![],
        scaler: minmax(vec![
            range("close", 0.0, 200.0),
            range("volume", 0.0, 1000.0),
            range("change", -0.5, 0.5),
        ]),
        symbols: None,
        target: TargetSpec {
            kind: Target::NextReturn,
            scaler: minmax(vec![range("next_return", -0.2, 0.2)]),
        },
        modes: vec![Mode::Full, Mode::Sliding],
        graph: GraphSpec {
            input: "x".into(),
            output: "y".into(),
            states: network.states().map(state).collect(),
            columns: None,
        },
        signal: SignalThresholds { buy_above: 0.02, sell_below: -0.02 },
        interval: Interval { coverage: 0.9, lower: -0.05, upper: 0.05 },
        outputs: Vec::new(),
        exactness: None,
        origin: None,
        training: Known::Is(TrainingSpec {
            data_sha256: String::new(),
            symbols: vec![],
            from: UnixNanos::from_nanos(0),
            to: UnixNanos::from_nanos(0),
            windows: 0,
            epochs: 0,
            best_epoch: 0,
            seed: 0,
        }),
        baselines: Some(baselines()),
        distribution: None,
        evaluation: vec![],
        repeats: vec![],
        verdict: "random weights forecast nothing".into(),
    }
}

/// A draft with one golden case, computed by the network itself.
pub(crate) fn draft(window_steps: u32, network: &Network) -> Draft {
    draft_of(manifest(window_steps, network), network)
}

/// As [`draft`], for mode `carried`, with a golden case of `rows` rows.
pub(crate) fn carried_draft(window_steps: u32, rows: u32, network: &Network) -> Draft {
    let modes = vec![Mode::Carried];
    draft_over(rows, Manifest { modes, ..manifest(window_steps, network) }, network)
}

/// As [`draft`], with this manifest.
pub(crate) fn draft_of(manifest: Manifest, network: &Network) -> Draft {
    draft_over(manifest.window_steps, manifest, network)
}

/// As [`draft`], with this manifest and a golden case of `rows` rows.
fn draft_over(rows: u32, manifest: Manifest, network: &Network) -> Draft {
    let (steps, window) = rows_of(rows, &manifest);
    let full = manifest.window_steps as usize..=window.len();
    let output = full.map(|rows| network.forward(&window[..rows]) as f32).collect();
    let golden = Golden {
        schema: GOLDEN_SCHEMA.into(),
        tolerance: 1e-5,
        cases: vec![GoldenCase { steps, window, output, ..GoldenCase::default() }],
    };
    Draft { manifest, onnx: network.to_onnx(), golden, symbols: None }
}

/// Steps of a wave, and the rows that the features of the manifest make of them.
pub(crate) fn rows_of(rows: u32, manifest: &Manifest) -> (Vec<GoldenStep>, Vec<Vec<f32>>) {
    let label = manifest.target.kind.label();
    let features = FeaturePlan::new(&manifest.features, &[], label, &manifest.scaler).unwrap();
    let day = DurationNanos::from_seconds(86_400).unwrap();
    let (mut state, mut scratch) = (features.raw().initial_state(), features.raw().scratch());
    let (mut steps, mut window) = (Vec::new(), Vec::new());
    let warm_up_steps = u32::try_from(features.raw().warm_up_steps()).unwrap();
    for index in 0..warm_up_steps + rows {
        let close = 100.0 + 10.0 * f64::from(index).sin();
        let fields = BTreeMap::from([
            ("close".to_owned(), close),
            ("volume".to_owned(), 500.0 + f64::from(index)),
        ]);
        let time = UnixNanos::from_nanos(0).checked_add(day.times(index).unwrap()).unwrap();
        let step = GoldenStep { time, fields };
        let row = step.step(features.raw().schema()).unwrap();
        let status = features.row(&state, &row, &mut scratch).unwrap();
        state.absorb(&scratch);
        if status != RowStatus::Warming {
            window.push(scratch.row().to_vec());
        }
        steps.push(step);
    }
    (steps, window)
}

/// Seals a random network and reads it back.
pub(crate) fn sealed(seed: u64, window_steps: u32, hidden: &[usize]) -> SealedBundle {
    sealed_with(seed, window_steps, hidden, |_| {})
}

/// As [`sealed`], with a change to the draft.
pub(crate) fn sealed_with(
    seed: u64,
    window_steps: u32,
    hidden: &[usize],
    change: impl FnOnce(&mut Draft),
) -> SealedBundle {
    let network = Network::random(seed, 3, hidden);
    let root = tempfile::tempdir().unwrap();
    let mut draft = draft(window_steps, &network);
    change(&mut draft);
    seal(draft, root, network)
}

/// As [`sealed`], of three other features, each with its range.
pub(crate) fn sealed_of(
    columns: [ColumnRange; 3],
    seed: u64,
    window_steps: u32,
    hidden: &[usize],
) -> SealedBundle {
    let network = Network::random(seed, 3, hidden);
    let mut manifest = manifest(window_steps, &network);
    manifest.features = columns.iter().map(|column| column.feature.clone()).collect();
    manifest.scaler = Scaler::Minmax { low: -1.0, high: 1.0, columns: columns.into() };
    seal(draft_of(manifest, &network), tempfile::tempdir().unwrap(), network)
}

fn seal(draft: Draft, root: TempDir, network: Network) -> SealedBundle {
    seal_by(runtime(), draft, root, network)
}

/// As [`sealed`], proved by another runtime than ONNX Runtime.
pub(crate) fn sealed_by(
    runtime: &dyn Runtime,
    network: Network,
    window_steps: u32,
) -> SealedBundle {
    let draft = draft(window_steps, &network);
    seal_by(runtime, draft, tempfile::tempdir().unwrap(), network)
}

fn seal_by(runtime: &dyn Runtime, draft: Draft, root: TempDir, network: Network) -> SealedBundle {
    let folder = draft.seal(root.path(), runtime).unwrap();
    let bundle = Bundle::read(&folder).unwrap();
    SealedBundle { root, folder, bundle, network }
}
