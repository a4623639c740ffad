//! No allocation per step, from a record's bytes to a forecast's bytes, counted.
//!
//! The counts are per thread, because the other tests of this binary run beside these. What happens
//! inside a run of the backend is counted apart: the crate `ort` makes a value for each bound
//! output of each run, and has no way to be told not to. ONNX Runtime's own memory is its own
//! affair. The native runtime allocates nothing, in runs and in parts of steps.
//!
//! A [`Pipeline`] opens its own backend, so its runs cannot be counted apart. [`Parts`] puts the
//! same parts together over a backend that is, and the pipeline may allocate as much as those runs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;

use tickcast::adapters::websocket::WebSocketSettings;
use tickcast::app::config;
use tickcast::core::decode::JsonDecoder;
use tickcast::core::domain::{Forecast, TimeUnit};
use tickcast::core::venue::Mapper;
use tickcast::engine::inference::{Backend, InferenceError, Lane, NativeRuntime, Runtime, Shape};
use tickcast::engine::model::Draft;
use tickcast::engine::model::manifest::{Exactness, Mode, Rows};
use tickcast::engine::pipeline::{Pipeline, Pipelines};
use tickcast::engine::symbols::{Engine, EngineLimits, Haste, Pushed};
use tickcast::engine::wire::encoder::RecordEncoder;
use tickcast::engine::wire::forecast::RecordTemplate;

use crate::support::bundle::{SealedBundle, sealed_with};
use crate::support::{repository, runtime};

thread_local! {
    // Constant and without a destructor, so that reading it never allocates.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static COUNT_IN_RUNS: Cell<u64> = const { Cell::new(0) };
    static RUNS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting on the thread that asks.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged and its answer comes back unchanged,
// so its promises are ours. Counting touches a thread-local number and neither allocates nor
// unwinds: where the thread is ending and the number is gone, `try_with` leaves it out.
#[allow(
    unsafe_code,
    reason = "a global allocator is unsafe by its trait; it exists in tests alone"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above; `memory` came from `System`, as all memory here does.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn count() {
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

/// Counts what happens inside a run apart.
struct Apart(Box<dyn Backend>);

impl Backend for Apart {
    fn lane(&mut self, shape: Shape) -> Result<Lane, InferenceError> {
        self.0.lane(shape)
    }

    fn rows_mut(&mut self, lane: Lane) -> &mut [f32] {
        self.0.rows_mut(lane)
    }

    fn state_mut(&mut self, lane: Lane, index: usize) -> &mut [f32] {
        self.0.state_mut(lane, index)
    }

    fn run(&mut self, lane: Lane) -> Result<(), InferenceError> {
        let before = COUNT.get();
        let outcome = self.0.run(lane);
        COUNT_IN_RUNS.set(COUNT_IN_RUNS.get() + COUNT.get() - before);
        RUNS.set(RUNS.get() + 1);
        outcome
    }

    fn output(&self, lane: Lane) -> &[f32] {
        self.0.output(lane)
    }

    fn next_state(&self, lane: Lane, index: usize) -> &[f32] {
        self.0.next_state(lane, index)
    }
}

/// Decoder, engine and wire form, as a pipeline has them.
struct Parts {
    decoder: JsonDecoder,
    engine: Engine,
    encoder: RecordEncoder,
    forecasts: Vec<Forecast>,
    buffer: Vec<u8>,
    encoded: usize,
    scored: usize,
}

/// A bundle that serves one mode alone, with rows that run so.
fn bundle(mode: Mode, rows: Rows) -> SealedBundle {
    sealed_with(3, 4, &[8, 4], |draft: &mut Draft| {
        draft.manifest.modes = vec![mode];
        draft.manifest.exactness = Some(Exactness { rows, windows: 1, largest_difference: 0.0 });
    })
}

impl Parts {
    fn new(mode: Mode, rows: Rows, runtime: &dyn Runtime) -> Self {
        let sealed = bundle(mode, rows);
        let plans = sealed.bundle.plans();
        let features = plans.features.raw();
        let schema = features.schema().clone();
        let decoder = JsonDecoder::new(schema, features.required(), TimeUnit::Nanoseconds, 1024);
        let encoder = RecordEncoder::new(RecordTemplate {
            model: "random".into(),
            model_version: "1".into(),
            mode,
            horizon_steps: 1,
            coverage: plans.forecast.coverage(),
        });
        let backend = Box::new(Apart(sealed.bundle.open(runtime).unwrap()));
        let limits = EngineLimits { symbols_max: 9, batch_rows_max: 16 };
        let signature = sealed.bundle.signature();
        let mut engine = Engine::new(plans.clone(), mode, signature, backend, limits).unwrap();
        engine.scores_mut().keep();
        let (forecasts, buffer) = (Vec::new(), Vec::new());
        Self { decoder, engine, encoder, forecasts, buffer, encoded: 0, scored: 0 }
    }

    /// One record of each symbol, then their forecasts.
    fn step(&mut self, records: &[String], hurried: bool) {
        for record in records {
            let tick = self.decoder.decode(record.as_bytes()).unwrap();
            assert_eq!(self.engine.push(&tick, None), Pushed::Taken);
        }
        if hurried {
            self.engine.infer(Haste::Throughput, &mut self.forecasts).unwrap();
        } else {
            self.engine.infer(Haste::Latency, &mut self.forecasts).unwrap();
        }
        for forecast in self.forecasts.drain(..) {
            self.buffer.clear();
            let symbol = self.engine.symbol(forecast.symbol).as_str();
            self.encoder.encode(symbol, &forecast, &mut self.buffer);
            self.encoded += 1;
        }
        let (book, names) = self.engine.scores_and_names();
        for score in book.take() {
            self.buffer.clear();
            let template = self.encoder.template();
            template.encode_score(names.of(score.symbol).as_str(), &score, &mut self.buffer);
            self.scored += 1;
        }
        self.engine.advance().unwrap();
    }
}

/// What the daemon has.
struct Whole {
    pipelines: Pipelines,
    emitted: usize,
    scored: usize,
}

impl Whole {
    fn new(mode: Mode, rows: Rows, runtime: &dyn Runtime) -> Self {
        let settings = "source.url = 'ws://127.0.0.1:1'\nsource.time_unit = 'ns'\n\
                        source.accept_times = true\nmodel.cadence = 'as_it_comes'\n\
                        model.name = 'random'\nengine.batch_rows_max = 16\n";
        let mut settings = config::parse(settings).unwrap().pipeline();
        settings.keeps_scores = true;
        let sealed = bundle(mode, rows);
        let pipeline = Pipeline::build(&sealed.bundle, runtime, &settings).unwrap();
        Self { pipelines: Pipelines::new(pipeline, &settings), emitted: 0, scored: 0 }
    }

    /// As [`Parts::step`].
    fn step(&mut self, records: &[String], hurried: bool) {
        let Self { pipelines, emitted, scored } = self;
        for record in records {
            let flush = |_: &mut Pipeline| Err("every symbol comes once");
            let taken = pipelines.take(record.as_bytes(), None, None, || {}, flush);
            assert_eq!(taken, Ok(None));
        }
        let pipeline = pipelines.live_mut();
        pipeline.infer(if hurried { Haste::Throughput } else { Haste::Latency }).unwrap();
        let count = |counter: &mut usize| {
            *counter += 1;
            Ok::<_, Infallible>(())
        };
        pipeline.emit(|_, _| count(emitted)).unwrap();
        pipeline.emit_scores(|_, _| count(scored)).unwrap();
        pipeline.engine_mut().advance().unwrap();
    }
}

/// Records of seven symbols at one step; times as text and as numbers.
fn records(step: usize) -> Vec<String> {
    let record = |symbol: usize| {
        let close = 100.0 + ((step * 7 + symbol) as f64).sin();
        let time = match symbol % 2 {
            0 => format!("\"2013-03-01T14:{:02}:{:02}.250Z\"", step / 60, step % 60),
            _ => (1_362_148_200_000_000_000 + step as u64).to_string(),
        };
        format!(
            r#"{{"symbol":"S{symbol}","time":{time},"close":{close},"volume":{step},"venue":"X"}}"#
        )
    };
    (0..7).map(record).collect()
}

/// What was allocated in a hundred steps of seven symbols, once warm.
struct Allocated {
    /// By the parts, outside of runs.
    outside_of_runs: u64,
    in_runs: u64,
    runs: u64,
    /// By the pipeline, everywhere.
    by_pipeline: u64,
}

fn allocated(mode: Mode, rows: Rows, runtime: &dyn Runtime) -> Allocated {
    const WARM_UP: usize = 12;
    let steps: Vec<_> = (0..WARM_UP + 100).map(records).collect();
    let (warm_up, counted) = steps.split_at(WARM_UP);
    let (mut parts, mut whole) = (Parts::new(mode, rows, runtime), Whole::new(mode, rows, runtime));
    for (index, records) in warm_up.iter().enumerate() {
        parts.step(records, index % 2 == 0);
        whole.step(records, index % 2 == 0);
    }
    (parts.encoded, parts.scored) = (0, 0);
    (whole.emitted, whole.scored) = (0, 0);
    let before = (COUNT.get(), COUNT_IN_RUNS.get(), RUNS.get());
    for (index, records) in counted.iter().enumerate() {
        parts.step(records, index % 2 == 0);
    }
    let in_runs = COUNT_IN_RUNS.get() - before.1;
    let runs = RUNS.get() - before.2;
    let outside_of_runs = COUNT.get() - before.0 - in_runs;
    assert_eq!(parts.encoded, 700, "every record has its forecast");
    assert_eq!(parts.scored, 700, "and is the truth of the one before");
    let before = COUNT.get();
    for (index, records) in counted.iter().enumerate() {
        whole.step(records, index % 2 == 0);
    }
    let by_pipeline = COUNT.get() - before;
    assert_eq!((whole.emitted, whole.scored), (700, 700), "{mode}, {rows}");
    Allocated { outside_of_runs, in_runs, runs, by_pipeline }
}

/// Every mode, with rows that run together and alone.
fn cases() -> impl Iterator<Item = (Mode, Rows)> {
    let modes = [Mode::Full, Mode::Sliding, Mode::Carried];
    modes.into_iter().flat_map(|mode| [(mode, Rows::Batched), (mode, Rows::Alone)])
}

#[test]
fn no_step_allocates_once_warm() {
    for (mode, rows) in cases() {
        let Allocated { outside_of_runs, in_runs, runs, by_pipeline } =
            allocated(mode, rows, runtime());
        assert_eq!(outside_of_runs, 0, "{mode}, {rows}: outside of runs");
        assert_eq!(in_runs, runs * ALLOCATIONS_PER_RUN, "{mode}, {rows}: by the crate `ort`");
        assert_eq!(by_pipeline, in_runs, "{mode}, {rows}: the pipeline allocates in runs alone");
    }
}

/// The pipeline takes steps in parts, and [`Apart`] hides these, so both ways are counted.
#[test]
fn no_step_of_the_native_runtime_allocates_once_warm() {
    for (mode, rows) in cases() {
        let Allocated { outside_of_runs, in_runs, runs, by_pipeline } =
            allocated(mode, rows, &NativeRuntime::new());
        assert!(runs >= 100, "{mode}, {rows}: {runs} runs");
        let all = [outside_of_runs, in_runs, by_pipeline];
        assert_eq!(all, [0; 3], "{mode}, {rows}: outside of runs, in runs, in the pipeline");
    }
}

#[test]
fn no_message_of_a_venue_allocates_once_warm() {
    for (venue, file, ticks) in [
        ("binance", "trade.json", 1),
        ("bybit", "trades.json", 2),
        ("coinbase", "update.json", 3),
        ("coinbase", "heartbeat.json", 0),
        ("kraken", "snapshot.json", 2),
        ("okx", "trade.json", 1),
    ] {
        let path = repository().join("tests/data/venues").join(venue).join(file);
        let frame = std::fs::read(path).unwrap();
        let config = config::venue_feed(venue).unwrap();
        let feed = config.of::<WebSocketSettings>().unwrap();
        let mut mapper = Mapper::new(Arc::clone(&feed.venue));
        let mut seen = 0;
        for round in 0..100 {
            let before = COUNT.get();
            let _ = mapper.classify(&frame, |mapped| seen += usize::from(mapped.symbol.is_some()));
            assert!(round == 0 || COUNT.get() == before, "{venue}/{file} in round {round}");
        }
        assert_eq!(seen, 100 * ticks, "{venue}/{file}");
    }
}

/// What version 2.0.0-rc.15 of the crate `ort` allocates in a run with five bound outputs: an
/// allocator's handle and a value for each, and two lists too long for the stack.
const ALLOCATIONS_PER_RUN: u64 = 12;
