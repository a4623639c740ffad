//! The files of a bundle, and the states that its model stores.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use tickcast::core::domain::{Fields, PartitionId, Tick, UnixNanos};
use tickcast::core::text::is_printable;
use tickcast::engine::inference::{HostBackend, NativeRuntime, Runtime, Shape};
use tickcast::engine::model::golden::Golden;
use tickcast::engine::model::manifest::{Manifest, Mode};
use tickcast::engine::model::{Bundle, BundleError, Draft};
use tickcast::engine::onnx::{AttributeProto, DATA_LOCATION_EXTERNAL, GraphProto};
use tickcast::engine::onnx::{ModelProto, TensorProto};
use tickcast::engine::state::{StateCodec, StateError};
use tickcast::engine::symbols::{Engine, EngineLimits, Haste, Pushed};

use super::{choice, headed};

/// The files of a bundle that ships, by its name.
macro_rules! shipped {
    ($name:literal) => {
        Shipped {
            manifest: include_bytes!(concat!("../../models/", $name, "/1/manifest.json")),
            golden: include_bytes!(concat!("../../models/", $name, "/1/golden.json")),
            onnx: include_bytes!(concat!("../../models/", $name, "/1/model.onnx")),
        }
    };
}

struct Shipped {
    manifest: &'static [u8],
    golden: &'static [u8],
    onnx: &'static [u8],
}

impl Shipped {
    fn draft(&self) -> Draft {
        Draft {
            manifest: serde_json::from_slice(self.manifest).expect("it ships"),
            onnx: self.onnx.to_vec(),
            golden: serde_json::from_slice(self.golden).expect("it ships"),
            symbols: None,
        }
    }
}

/// The smallest one, whose other files stand beside the one that is fuzzed.
static SMALL: LazyLock<Draft> = LazyLock::new(|| shipped!("seattle-rain").draft());

/// One whose states hold recurrent states.
static CARRIED: LazyLock<Draft> = LazyLock::new(|| shipped!("stocks-volatility-carried").draft());

/// The models whose states are fuzzed, each with its mode.
static MODELS: LazyLock<[(Bundle, Mode); 3]> = LazyLock::new(|| {
    let bundle = |draft: &Draft| draft.clone().into_bundle().expect("it ships");
    [
        (bundle(&SMALL), Mode::Sliding),
        (bundle(&SMALL), Mode::Full),
        (bundle(&CARRIED), Mode::Carried),
    ]
});

/// Symbols of an engine, few enough that states are refused for their number.
const LIMITS: EngineLimits = EngineLimits { symbols_max: 4, batch_rows_max: 4 };

/// The most lines of a refusal: ten problems, and how many more there are.
const PROBLEMS_MAX: usize = 11;

/// The most characters of a line: 300 of the problem, each of them escaped, and a mark behind.
const PROBLEM_CHARS_MAX: usize = 3001;

fn is_bundle(draft: Draft) -> Option<Bundle> {
    match draft.into_bundle() {
        Ok(bundle) => Some(bundle),
        Err(BundleError { problems, .. }) => {
            assert!(!problems.is_empty(), "a refusal says why");
            assert!(problems.len() <= PROBLEMS_MAX, "{} problems", problems.len());
            for problem in &problems {
                let length = problem.chars().count();
                assert!((1..=PROBLEM_CHARS_MAX).contains(&length), "{length} characters");
                assert!(problem.chars().all(is_printable), "{problem:?}");
            }
            None
        }
    }
}

/// `manifest.json` beside the graph and the golden vectors of a bundle that ships.
pub(super) fn manifest(data: &[u8]) -> bool {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(data) else { return false };
    let written = serde_json::to_vec(&manifest).expect("what was JSON is JSON");
    let again: Manifest = serde_json::from_slice(&written).expect("what is written is read");
    // Compared as text, because a value that is no number equals nothing.
    assert_eq!(serde_json::to_vec(&again).expect("as before"), written, "there and back");
    if let Ok(plans) = manifest.plans() {
        assert!((1..=4096).contains(&plans.window_steps));
        assert_eq!(plans.features.width(), manifest.features.len());
        let mut engine = engine_of(&plans, &manifest);
        drive(&mut engine, "A", 0);
    }
    is_bundle(Draft { manifest, ..SMALL.clone() }).is_some()
}

/// `golden.json` likewise.
pub(super) fn golden(data: &[u8]) -> bool {
    let Ok(golden) = serde_json::from_slice::<Golden>(data) else { return false };
    let Some(bundle) = is_bundle(Draft { golden, ..SMALL.clone() }) else { return false };
    let steps = bundle.plans().window_steps;
    for case in &bundle.golden().cases {
        assert_eq!((case.window.len(), case.output.len()), (steps, 1));
        assert!(case.check_output(&case.output, 0.0).is_ok() || case.output[0].is_nan());
    }
    true
}

/// `model.onnx` likewise. ONNX Runtime itself is not fuzzed: what this lets pass is what it sees,
/// and what the native runtime reads.
pub(super) fn graph(data: &[u8]) -> bool {
    let onnx = data.to_vec();
    let Some(bundle) = is_bundle(Draft { onnx, ..SMALL.clone() }) else { return false };
    let model = ModelProto::from_bytes(bundle.onnx()).expect("a graph that passes is a model");
    let written = model.to_bytes();
    assert_eq!(ModelProto::from_bytes(&written).map(|model| model.to_bytes()), Ok(written));
    assert!(model.functions.is_empty() && model.training_info.is_empty(), "code of its own");
    let graph = model.graph.as_ref().expect("a graph that passes is there");
    assert_harmless(graph, 0);
    assert_runs_natively(&bundle);
    true
}

/// Where the native runtime takes a graph, a run of it gives the bits of its parts.
fn assert_runs_natively(bundle: &Bundle) {
    let signature = bundle.signature();
    let mut backend = match NativeRuntime::new().open(bundle.onnx(), signature) {
        Ok(backend) => backend,
        Err(error) => {
            let said = error.to_string();
            assert!(
                said.starts_with("read the graph natively: ") && said.chars().all(is_printable)
            );
            return;
        }
    };
    let lane = backend.lane(Shape { steps: 2, batch: 1 }).expect("kernels take any shape");
    let rows = backend.rows_mut(lane);
    for (index, number) in rows.iter_mut().enumerate() {
        *number = (index % 7) as f32 - 3.0;
    }
    let rows = rows.to_vec();
    backend.run(lane).expect("nothing in a run fails");
    let output = backend.output(lane).to_vec();
    let parts = backend.parts().expect("every native model has parts");
    let (mut state, mut half) = (vec![0.0; parts.state_width()], vec![0.0; parts.half_width()]);
    let (first, second) = rows.split_at(signature.features);
    parts.advance(first, &mut state);
    parts.fetch();
    parts.ahead(&state, &mut half);
    let mut of_parts = vec![0.0; output.len()];
    parts.finish(second, &state, &half, &mut of_parts);
    for (one, other) in output.iter().zip(&of_parts) {
        assert!(one.to_bits() == other.to_bits() || (one.is_nan() && other.is_nan()));
    }
}

/// Nothing in a graph leads out of it, and it is not deeper than anybody nests.
fn assert_harmless(graph: &GraphProto, depth: usize) {
    assert!(depth <= 8, "subgraphs in subgraphs");
    assert!(graph.sparse_initializer.is_empty(), "sparse tensors");
    graph.initializer.iter().for_each(assert_inside);
    for node in &graph.node {
        assert!(["", "ai.onnx"].contains(&&*node.domain), "domain {}", node.domain);
        for name in ["Random", "Sequence", "String", "Custom", "Optional", "Multinomial"] {
            assert!(!node.op_type.starts_with(name), "operator {}", node.op_type);
        }
        for AttributeProto { t, g, tensors, graphs, .. } in &node.attribute {
            t.iter().chain(tensors).for_each(assert_inside);
            g.iter().chain(graphs).for_each(|graph| assert_harmless(graph, depth + 1));
        }
    }
}

/// The values of a tensor are in the file itself.
fn assert_inside(tensor: &TensorProto) {
    assert_ne!(tensor.data_location, DATA_LOCATION_EXTERNAL, "values from another file");
    assert!(tensor.external_data.is_empty(), "values from another file");
}

/// An engine whose model gives the mean of a row.
fn engine_of(plans: &tickcast::engine::model::manifest::Plans, manifest: &Manifest) -> Engine {
    let draft = &MODELS[0].0;
    let mut signature = draft.signature().clone();
    signature.features = plans.features.width();
    let backend = mean(&signature);
    let mode = if manifest.modes.contains(&Mode::Full) { Mode::Full } else { Mode::Sliding };
    Engine::new(plans.clone(), mode, &signature, Box::new(backend), LIMITS).expect("it computes")
}

fn mean(signature: &tickcast::engine::inference::Signature) -> HostBackend {
    HostBackend::new(signature, |tensors| {
        tensors.run_by_row(|row, states| {
            let mean = row.iter().sum::<f32>() / row.len().max(1) as f32;
            for value in states.iter_mut().flatten() {
                *value = 0.5 * *value + mean;
            }
            mean
        });
    })
}

/// Gives a symbol a few ticks and runs the model: nothing may panic, and everything is counted.
fn drive(engine: &mut Engine, symbol: &str, from: i64) {
    let ticks = engine.tally().ticks;
    let mut sent = 0;
    let schema = engine.features().raw().schema().clone();
    for index in 0..12_i64 {
        let mut fields = Fields::EMPTY;
        for field in schema.fields() {
            fields.set_checked(field, 1.0 + index as f64).expect("a value of every field");
        }
        let Some(time) = from.checked_add(index * 3_600_000_000_000) else { break };
        let time = UnixNanos::from_nanos(time);
        let tick = Tick { symbol: symbol.into(), time, fields };
        let mut forecasts = Vec::new();
        while engine.push(&tick, None) == Pushed::Waiting {
            engine.infer(Haste::Throughput, &mut forecasts).expect("it computes");
        }
        sent += 1;
        engine.infer(Haste::Throughput, &mut forecasts).expect("it computes");
    }
    let tally = engine.tally();
    assert_eq!(tally.ticks - ticks, sent, "every tick is taken in once");
    let became = tally.absorbed + tally.steps + tally.rejects.total() + tally.repeats;
    assert_eq!(tally.ticks + tally.further, became, "every tick became one thing");
    let became = tally.warming + tally.forecasts + tally.withheld.total();
    assert_eq!(tally.steps, became, "every step became one thing");
}

/// A value of a changelog: which model's state it is, then the stored bytes, or a payload whose
/// header is made to fit.
pub(super) fn state(data: &[u8]) -> bool {
    let (head, rest) = headed(data);
    let (bundle, mode) = &MODELS[choice(head, MODELS.len())];
    let codec = StateCodec::new(bundle.manifest(), *mode);
    let mut taken = is_state(&codec, bundle, *mode, rest);
    for version in 2..=6 {
        taken |= is_state(&codec, bundle, *mode, &headed_state(&codec, version, rest));
    }
    taken
}

/// The bytes of a state with this payload: magic, layout, model and checksum as they should be.
fn headed_state(codec: &StateCodec, version: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [b"tcst", &version.to_le_bytes()[..], &codec.identity().0].concat();
    let checksum = Sha256::new().chain_update(&bytes).chain_update(payload).finalize();
    bytes.extend_from_slice(&checksum[..8]);
    bytes.extend_from_slice(payload);
    bytes
}

fn is_state(codec: &StateCodec, bundle: &Bundle, mode: Mode, bytes: &[u8]) -> bool {
    let state = match codec.decode(bytes) {
        Ok(state) => state,
        Err(error) => {
            let is_layout = matches!(error, StateError::Version(2..=6));
            assert!(!is_layout, "a layout that is read");
            return false;
        }
    };
    let encoded = codec.encode(&state);
    let again = codec.decode(&encoded).expect("what is encoded is decoded");
    assert_eq!(codec.encode(&again), encoded, "there and back");
    let sum = encoded.iter().fold(0, |sum: usize, byte| sum.wrapping_mul(31) + usize::from(*byte));
    let (at, bit) = (sum / 8 % encoded.len(), sum % 8);
    let mut damaged = encoded.clone();
    damaged[at] ^= 1 << bit;
    assert!(codec.decode(&damaged).is_err(), "bit {bit} of byte {at}");
    let signature = bundle.signature();
    let backend = Box::new(mean(signature));
    let plans = bundle.plans().clone();
    let mut engine = Engine::new(plans, mode, signature, backend, LIMITS).expect("it computes");
    let refused = engine.restore(&[state], Some(PartitionId(1))).expect("it computes");
    assert_eq!(engine.symbol_count() + refused.len(), 1, "taken over or refused");
    let Some(symbol) = engine.snapshot().first().map(|state| state.symbol().to_owned()) else {
        return false;
    };
    // What is stored of inputs may be of another distribution, and is then made of the window.
    let at_rest = engine.snapshot().remove(0).without_shift().with_signals_as(&again);
    assert_eq!(codec.encode(&at_rest), codec.encode(&again.without_shift()), "as it was stored");
    drive(&mut engine, &symbol, 1_700_000_000_000_000_000);
    true
}

/// A state of each model after some ticks, as seeds.
pub(crate) fn states() -> Vec<Vec<u8>> {
    let stored = |index: usize| {
        let (bundle, mode) = &MODELS[index];
        let codec = StateCodec::new(bundle.manifest(), *mode);
        let backend = Box::new(mean(bundle.signature()));
        let plans = bundle.plans().clone();
        let mut engine =
            Engine::new(plans, *mode, bundle.signature(), backend, LIMITS).expect("it computes");
        drive(&mut engine, "AAPL", 1_600_000_000_000_000_000);
        let bytes = codec.encode(&engine.snapshot()[0]);
        let head = format!("{index}\n");
        [[head.as_bytes(), &bytes].concat(), [head.as_bytes(), &bytes[30..]].concat()]
    };
    (0..MODELS.len()).flat_map(stored).collect()
}
