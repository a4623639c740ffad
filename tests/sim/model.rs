//! Models that cost next to nothing, and what they say of every tick: the crash-free run that all
//! others are compared with.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;
use tickcast::core::baseline::{
    AverageSpec, BaselineKind, BaselineSpec, LinearModel, SeasonalSpec,
};
use tickcast::core::domain::{DurationNanos, TimeFormat, TimeUnit, UnixNanos};
use tickcast::core::features::{ColumnRange, FeaturePlan, RowStatus, Scaler};
use tickcast::core::forecast::{Interval, Intervals, SignalThresholds, Target};
use tickcast::core::history::HistoryNeed;
use tickcast::core::signal::SignalRule;
use tickcast::engine::inference::{Backend, HostBackend, InferenceError, Runtime, Signature};
use tickcast::engine::model::golden::{GOLDEN_SCHEMA, Golden, GoldenCase, GoldenStep};
use tickcast::engine::model::manifest::{
    Known, MANIFEST_SCHEMA, Manifest, Mode, StepSpec, TargetSpec, TrainingSpec,
};
use tickcast::engine::model::writer::{DenseWeights, GraphWriter, LstmWeights, WrittenGraph};
use tickcast::engine::model::{Bundle, Draft, ModelChoice, history_need};
use tickcast::engine::onnx::ModelProto;
use tickcast::engine::pipeline::{Pipeline, PipelineSettings, Pipelines};
use tickcast::engine::symbols::{CadencePolicy, EngineLimits, EnginePolicy, Haste};

/// The symbols of every input.
pub(crate) const SYMBOLS: [&str; 3] = ["AAA", "BBB", "CCC"];

/// W, and the steps before a symbol's first row.
const WINDOW: usize = 3;
const WARM_UP: usize = 1;

/// Ticks of each symbol that there are at most.
pub(crate) const TICKS_MAX: i64 = 150;

/// The event time of tick 0; one tick a second.
pub(crate) const BASE_MS: i64 = 1_700_000_000_000;

const UNITS: usize = 2;
const DECAYS: [f32; 2] = [0.5, 0.25];

/// The price of a symbol at a tick.
pub(crate) fn price(symbol: usize, tick: i64) -> f64 {
    60.0 + (symbol * 3) as f64 + ((tick * 29 + symbol as i64 * 7) % 17) as f64
}

/// The tick as JSON.
pub(crate) fn line(symbol: usize, tick: i64) -> String {
    let (time, close) = (BASE_MS + tick * 1000, price(symbol, tick));
    format!(r#"{{"symbol":"{}","time":{time},"close":{close}}}"#, SYMBOLS[symbol])
}

/// What a model computes.
#[derive(Clone, Copy)]
struct Weights {
    gain: f32,
    bias: f32,
    /// Rows whose first number is below this give no number.
    least: f32,
}

impl Weights {
    fn graph(self) -> WrittenGraph {
        let mut writer = GraphWriter::new("micro", 2, 1, true);
        let mut bias = [0.0; 4 * UNITS];
        bias[0] = self.least;
        writer.lstm(
            &LstmWeights {
                inputs: 2,
                units: UNITS,
                kernel: &[0.0; 8 * UNITS],
                recurrent: &[0.0; 4 * UNITS * UNITS],
                bias: &bias,
            },
            true,
        );
        let dense = DenseWeights {
            shape: [UNITS, 1],
            weight: &[self.gain; UNITS],
            bias: &[self.bias],
            function: None,
        };
        writer.dense(&dense, true);
        writer.finish()
    }

    fn read(onnx: &[u8]) -> Option<Self> {
        let graph = ModelProto::from_bytes(onnx).ok()?.graph?;
        let first = |name: &str| {
            let tensor = graph.initializer.iter().find(|tensor| tensor.name == name)?;
            tensor.read_floats()?.first().copied()
        };
        Some(Self { gain: first("dense0_w")?, bias: first("dense0_b")?, least: first("lstm0_b")? })
    }

    fn step(self, row: &[f32], states: &mut [Vec<f32>]) -> f32 {
        let mean = row.iter().sum::<f32>() / row.len() as f32;
        let mut sum = 0.0;
        for (state, decay) in states.iter_mut().zip(DECAYS) {
            for (place, number) in (1u8..).zip(state) {
                *number = decay * *number + f32::from(place) * mean;
                sum += *number;
            }
        }
        if row[0] < self.least { f32::NAN } else { self.bias + self.gain * sum }
    }

    fn forward(self, rows: &[Vec<f32>]) -> f32 {
        let mut states = vec![vec![0.0; UNITS]; DECAYS.len()];
        rows.iter().map(|row| self.step(row, &mut states)).last().expect("a window has rows")
    }
}

/// The two entries of a configuration with a shadow: the live one, and the shadow at first.
pub(crate) const NOW: &str = "now";
pub(crate) const NEXT: &str = "next";

/// The version that `next` runs, in every folder of models: lower than all that `now` may take.
pub(crate) const NEXT_VERSION: &str = "0";

/// The entry that runs a version.
pub(crate) fn entry_of(version: &str) -> &'static str {
    if version == NEXT_VERSION { NEXT } else { NOW }
}

/// The runtime of all of them.
pub(crate) struct Micro;

impl Runtime for Micro {
    fn name(&self) -> &'static str {
        "micro"
    }

    fn build(&self) -> String {
        "simulated".to_owned()
    }

    fn open(&self, onnx: &[u8], signature: &Signature) -> Result<Box<dyn Backend>, InferenceError> {
        let weights = Weights::read(onnx).ok_or_else(|| InferenceError::Runtime {
            context: "open the model",
            message: "no weights".to_owned(),
        })?;
        Ok(Box::new(HostBackend::new(signature, move |tensors| {
            tensors.run_by_row(|row, states| weights.step(row, states));
        })))
    }
}

fn minmax(close_max: f64) -> Scaler {
    let range = |feature: &str, min, max| ColumnRange { feature: feature.to_owned(), min, max };
    let columns = vec![range("close", 0.0, close_max), range("change", -0.5, 0.5)];
    Scaler::Minmax { low: -1.0, high: 1.0, columns }
}

fn draft(version: &str, weights: Weights, scaler: Scaler) -> Draft {
    let epoch = UnixNanos::from_nanos(0);
    let target = Scaler::Minmax {
        low: -1.0,
        high: 1.0,
        columns: vec![ColumnRange { feature: "next_return".to_owned(), min: -0.2, max: 0.2 }],
    };
    let features = ["close", "change"].map(str::to_owned).to_vec();
    let plan = FeaturePlan::new(&features, &[], "next_return", &scaler).unwrap();
    let (mut state, mut scratch) = (plan.raw().initial_state(), plan.raw().scratch());
    let (mut steps, mut window) = (Vec::new(), Vec::new());
    for index in 0..WARM_UP + WINDOW {
        let time = DurationNanos::from_seconds(index as i64).unwrap();
        let close = 105.0 + (7 * index % 5) as f64;
        let fields = BTreeMap::from([("close".to_owned(), close)]);
        let step = GoldenStep { time: epoch.checked_add(time).unwrap(), fields };
        let raw = step.step(plan.raw().schema()).unwrap();
        let status = plan.row(&state, &raw, &mut scratch).unwrap();
        state.absorb(&scratch);
        if status != RowStatus::Warming {
            window.push(scratch.row().to_vec());
        }
        steps.push(step);
    }
    let output = vec![weights.forward(&window)];
    let WrittenGraph { onnx, graph } = weights.graph();
    let manifest = Manifest {
        schema: MANIFEST_SCHEMA.to_owned(),
        name: "micro".to_owned(),
        version: version.to_owned(),
        onnx_sha256: String::new(),
        golden_sha256: String::new(),
        window_steps: WINDOW as u32,
        horizon_steps: 1,
        step: StepSpec::record(1),
        features,
        extra_fields: Vec::new(),
        scaler,
        symbols: None,
        target: TargetSpec { kind: Target::NextReturn, scaler: target },
        modes: vec![Mode::Full, Mode::Sliding],
        graph,
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
            linear: Some(LinearModel { rows: 2, intercept: 0.01, weights: vec![0.02; 4] }),
        }),
        distribution: None,
        evaluation: Vec::new(),
        repeats: Vec::new(),
        verdict: "a sum forecasts nothing".to_owned(),
    };
    let cases = vec![GoldenCase { steps, window, output, ..GoldenCase::default() }];
    let golden = Golden { schema: GOLDEN_SCHEMA.to_owned(), tolerance: 0.0, cases };
    Draft { manifest, onnx, golden, symbols: None }
}

/// What an operator may have put into the folder of models: version 1, and what is beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deployed {
    /// Nothing else.
    First,
    /// Version 2: other weights.
    Second,
    /// Version 2, and a version 3 whose file was damaged.
    Damaged,
    /// Version 2, and a version 4 that says nothing usable of live windows.
    Useless,
    /// Versions 2 and 5, which scales differently.
    Rescaled,
}

impl Deployed {
    pub(crate) const ALL: [Self; 5] =
        [Self::First, Self::Second, Self::Damaged, Self::Useless, Self::Rescaled];

    /// The version that a reload or a start has to give.
    pub(crate) fn best(self) -> &'static str {
        match self {
            Self::First => "1",
            Self::Second | Self::Damaged | Self::Useless => "2",
            Self::Rescaled => "5",
        }
    }
}

/// Forecasts and scores of one version in one mode, by symbol and event time.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) forecasts: HashMap<(String, i64), Vec<u8>>,
    pub(crate) scores: HashMap<Vec<u8>, (String, i64)>,
}

/// All models on a real disk, and what they say.
pub(crate) struct Models {
    root: TempDir,
    said: HashMap<(&'static str, bool), Said>,
    /// The recording of all ticks, with lines that are none.
    pub(crate) recording: PathBuf,
    /// How much history they need.
    pub(crate) need: HistoryNeed,
}

/// The models; made once, and never changed.
pub(crate) fn models() -> &'static Models {
    static MODELS: OnceLock<Models> = OnceLock::new();
    MODELS.get_or_init(Models::make)
}

/// Lines of a recording that are no ticks.
const BROKEN: [&str; 3] = [
    "{\"symbol\":\"AAA\",\"time\":",
    "{\"symbol\":\"BBB\",\"time\":1700000001000,\"close\":-3}",
    "no JSON",
];

/// Whether a record is one of them.
pub(crate) fn is_broken(record: &[u8]) -> bool {
    BROKEN.iter().any(|line| line.as_bytes() == record)
}

/// How many ticks of each symbol a recording has.
pub(crate) const RECORDED: i64 = 40;

impl Models {
    fn make() -> Self {
        let root = tempfile::tempdir().unwrap();
        let first = || draft("1", Weights { gain: 0.01, bias: 0.05, least: -9.0 }, minmax(200.0));
        let second = || draft("2", Weights { gain: 0.02, bias: -0.03, least: -9.0 }, minmax(200.0));
        let useless = || draft("4", Weights { gain: 0.02, bias: 0.01, least: 0.0 }, minmax(200.0));
        let scaled = || draft("5", Weights { gain: 0.01, bias: 0.02, least: -9.0 }, minmax(180.0));
        let next = || {
            let weights = Weights { gain: 0.015, bias: 0.015, least: -9.0 };
            draft(NEXT_VERSION, weights, minmax(220.0))
        };
        for deployed in Deployed::ALL {
            let seal = |draft: Draft| draft.seal(&root.path().join(deployed.name()), &Micro);
            seal(next()).unwrap();
            seal(first()).unwrap();
            if deployed != Deployed::First {
                seal(second()).unwrap();
            }
            match deployed {
                Deployed::Damaged => {
                    let mut damaged = second();
                    damaged.manifest.version = "3".to_owned();
                    let onnx = seal(damaged).unwrap().join("model.onnx");
                    let mut bytes = fs::read(&onnx).unwrap();
                    bytes[40] ^= 1;
                    fs::write(&onnx, bytes).unwrap();
                }
                Deployed::Useless => drop(seal(useless()).unwrap()),
                Deployed::Rescaled => drop(seal(scaled()).unwrap()),
                Deployed::First | Deployed::Second => {}
            }
        }
        let recording = root.path().join("ticks.jsonl");
        fs::write(&recording, recorded().join("\n") + "\n").unwrap();
        let need = history_need([first().into_bundle().unwrap().plans()], false);
        let mut models = Self { root, said: HashMap::new(), recording, need };
        for (version, draft) in
            [(NEXT_VERSION, next()), ("1", first()), ("2", second()), ("5", scaled())]
        {
            let bundle = draft.into_bundle().unwrap();
            for mode in [Mode::Full, Mode::Sliding] {
                let said = said_by(&bundle, &models.settings(Deployed::First, mode));
                models.said.insert((version, mode == Mode::Full), said);
            }
        }
        models
    }

    pub(crate) fn root(&self, deployed: Deployed) -> PathBuf {
        self.root.path().join(deployed.name())
    }

    pub(crate) fn choice(&self, deployed: Deployed, mode: Mode) -> ModelChoice {
        ModelChoice {
            root: self.root(deployed),
            name: "micro".to_owned(),
            version: "latest".to_owned(),
            mode: Some(mode),
            watch: false,
        }
    }

    /// The choice of `next`.
    pub(crate) fn next_choice(&self, deployed: Deployed, mode: Mode) -> ModelChoice {
        ModelChoice { version: NEXT_VERSION.to_owned(), ..self.choice(deployed, mode) }
    }

    pub(crate) fn settings(&self, deployed: Deployed, mode: Mode) -> PipelineSettings {
        settings(&self.root(deployed), mode)
    }

    /// What a version says of the whole input, in one life.
    pub(crate) fn said(&self, version: &str, mode: Mode) -> Option<&Said> {
        let version = [NEXT_VERSION, "1", "2", "5"].into_iter().find(|known| *known == version)?;
        self.said.get(&(version, mode == Mode::Full))
    }
}

impl Deployed {
    fn name(self) -> String {
        format!("{self:?}")
    }
}

/// The lines of a recording.
pub(crate) fn recorded() -> Vec<String> {
    let mut lines = Vec::new();
    for tick in 0..RECORDED {
        lines.extend((0..SYMBOLS.len()).map(|symbol| line(symbol, tick)));
        lines.extend((tick % 10 == 7).then(|| BROKEN[(tick / 10) as usize % 3].to_owned()));
    }
    lines
}

fn settings(models: &Path, mode: Mode) -> PipelineSettings {
    PipelineSettings {
        models: models.to_owned(),
        mode: Some(mode),
        time_unit: TimeUnit::Milliseconds,
        time_format: TimeFormat::default(),
        accepts_times: false,
        record_bytes_max: 1000,
        future_seconds_max: Some(5),
        limits: EngineLimits { symbols_max: 100, batch_rows_max: 64 },
        prepares_runs: false,
        policy: EnginePolicy {
            gap_steps_max: Some(0),
            cadence: CadencePolicy::AsItComes,
            ..EnginePolicy::default()
        },
        intervals: Intervals::Bundle,
        signals: SignalRule::default(),
        listed_symbols: Vec::new(),
        recent_scores: 10,
        keeps_scores: true,
        publishes_history: false,
    }
}

/// What a model says of all ticks: the shortest way through the pipeline, without a shard.
fn said_by(bundle: &Bundle, settings: &PipelineSettings) -> Said {
    let live = Pipeline::build(bundle, &Micro, settings).unwrap();
    let (mut pipelines, mut said) = (Pipelines::new(live, settings), Said::default());
    let never = |_: &mut Pipeline| Ok::<_, Infallible>(());
    for tick in 0..TICKS_MAX {
        for (symbol, name) in SYMBOLS.iter().enumerate() {
            let line = line(symbol, tick);
            let Ok(refused) = pipelines.take(line.as_bytes(), None, None, || {}, never);
            assert_eq!(refused, None);
            let live = pipelines.live_mut();
            live.infer(Haste::Latency).unwrap();
            let place = ((*name).to_owned(), tick);
            let Ok(_) = live.emit(|_, bytes| {
                said.forecasts.insert(place.clone(), bytes.to_vec());
                Ok::<_, Infallible>(())
            });
            let Ok(()) = live.emit_scores(|_, bytes| {
                said.scores.insert(bytes.to_vec(), place.clone());
                Ok::<_, Infallible>(())
            });
            live.engine_mut().advance().unwrap();
        }
    }
    said
}

/// The text of a member of a record.
pub(crate) fn member<'r>(record: &'r [u8], name: &str) -> &'r str {
    let record = std::str::from_utf8(record).expect("records are texts");
    let key = format!("\"{name}\":\"");
    let start = record.find(&key).expect("every record has it") + key.len();
    let length = record[start..].find('"').expect("texts end");
    &record[start..start + length]
}

/// The number of the tick at an event time.
pub(crate) fn tick_of(time: &str) -> i64 {
    let time = UnixNanos::parse(time).expect("records have times").as_nanos() / 1_000_000;
    (time - BASE_MS) / 1000
}
