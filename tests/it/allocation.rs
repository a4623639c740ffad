//! No allocation per step, from a record's bytes to a forecast's bytes, counted; and what a fit of
//! a long history takes at its peak.
//!
//! The counts are per thread, because the other tests of this binary run beside these. ONNX
//! Runtime's own memory is its own affair: it does not come from Rust's allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
#[cfg(feature = "train")]
use std::ops::ControlFlow;
use std::sync::Arc;

use tickcast::adapters::websocket::WebSocketSettings;
use tickcast::app::config;
use tickcast::core::domain::SymbolPatterns;
use tickcast::core::venue::Mapper;
use tickcast::engine::inference::{NativeRuntime, Runtime};
use tickcast::engine::model::Draft;
use tickcast::engine::model::manifest::{Exactness, Mode, Rows};
use tickcast::engine::pipeline::{
    BlendMembers, Pipeline, PipelineSettings, Pipelines, Role, StreamModel,
};
use tickcast::engine::symbols::Haste;
#[cfg(feature = "train")]
use tickcast::train::job::Job;

use crate::support::bundle::{SealedBundle, distribution, sealed_with};
use crate::support::{repository, runtime};

thread_local! {
    // Constant and without a destructor, so that reading it never allocates.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// Bytes that this thread allocated and did not free, and the most that they ever were. A
    /// thread that frees what another one allocated goes below zero.
    static BYTES: Cell<isize> = const { Cell::new(0) };
    static BYTES_PEAK: Cell<isize> = const { Cell::new(0) };
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
        change(0, layout.size());
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        change(0, layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        change(layout.size(), size);
        // SAFETY: as above; `memory` came from `System`, as all memory here does.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        change(layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn count() {
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

/// So many bytes become so many others.
fn change(from: usize, to: usize) {
    // No object is larger than the largest `isize`.
    let _ = BYTES.try_with(|bytes| {
        let now = bytes.get() + to as isize - from as isize;
        bytes.set(now);
        let _ = BYTES_PEAK.try_with(|peak| peak.set(peak.get().max(now)));
    });
}

/// The most bytes that `work` had at once on this thread, beside what was there before.
#[cfg(feature = "train")]
fn peak_bytes(work: impl FnOnce()) -> usize {
    let before = BYTES.get();
    BYTES_PEAK.set(before);
    work();
    usize::try_from(BYTES_PEAK.get() - before).unwrap()
}

/// A bundle that serves one mode alone, with rows that run so.
fn bundle(mode: Mode, rows: Rows) -> SealedBundle {
    sealed_with(3, 4, &[8, 4], |draft: &mut Draft| {
        draft.manifest.modes = vec![mode];
        // Every price is in one bin, so forecasts say which feature is shifted.
        draft.manifest.distribution = Some(distribution());
        draft.manifest.exactness = Some(Exactness { rows, windows: 1, largest_difference: 0.0 });
    })
}

/// What the daemon has.
struct Whole {
    pipelines: Pipelines,
    emitted: usize,
    scored: usize,
}

impl Whole {
    fn settings() -> PipelineSettings {
        let settings = "source.url = 'ws://127.0.0.1:1'\nsource.time_unit = 'ns'\n\
                        source.accept_times = true\nmodel.cadence = 'as_it_comes'\n\
                        model.name = 'random'\nengine.batch_rows_max = 16\n";
        let settings = config::parse(settings).unwrap().pipeline();
        PipelineSettings { keeps_scores: true, ..settings }
    }

    fn new(mode: Mode, rows: Rows, runtime: &dyn Runtime) -> Self {
        let settings = Self::settings();
        let sealed = bundle(mode, rows);
        let pipeline = Pipeline::build(&sealed.bundle, runtime, &settings).unwrap();
        Self { pipelines: Pipelines::new(pipeline, &settings), emitted: 0, scored: 0 }
    }

    /// One record of each symbol, then their forecasts and scores.
    fn step(&mut self, records: &[String], hurried: bool) {
        let Self { pipelines, emitted, scored } = self;
        for record in records {
            let flush = |_: &mut Pipeline| Err("every symbol comes once");
            let taken = pipelines.take(record.as_bytes(), None, None, || {}, flush);
            assert_eq!(taken, Ok(None));
        }
        let count = |counter: &mut usize| {
            *counter += 1;
            Ok::<_, Infallible>(())
        };
        let mut flush = |pipeline: &mut Pipeline| {
            pipeline.infer(if hurried { Haste::Throughput } else { Haste::Latency }).unwrap();
            pipeline.emit(|_, _| count(emitted)).unwrap();
            pipeline.emit_scores(|_, _| count(scored)).unwrap();
            pipeline.engine_mut().advance().unwrap();
            Ok::<_, Infallible>(())
        };
        flush(pipelines.live_mut()).unwrap();
        pipelines.take_blends(flush).unwrap();
    }

    /// The same model beside a blend of it.
    fn blended(runtime: &dyn Runtime) -> Self {
        let whole = Self::new(Mode::Sliding, Rows::Batched, runtime);
        let settings = Self::settings();
        let sealed = bundle(Mode::Sliding, Rows::Batched);
        let built = || Pipeline::build(&sealed.bundle, runtime, &settings).unwrap();
        let (member, mut mix, name) = (built(), built(), Arc::from("random"));
        mix.blend("mix", BlendMembers::of([(&name, &member)].into_iter()));
        let symbols = SymbolPatterns::default();
        let model = |name: &str, seat, role, pipeline| StreamModel {
            name: name.into(),
            symbols: symbols.clone(),
            seat,
            role,
            pipeline,
        };
        let models =
            vec![model("random", 0, Role::Live, member), model("mix", 1, Role::Blend, mix)];
        Self { pipelines: Pipelines::of(models, &settings).unwrap(), ..whole }
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

fn assert_no_step_allocates(runtime: &dyn Runtime) {
    const WARM_UP: usize = 12;
    let steps: Vec<_> = (0..WARM_UP + 100).map(records).collect();
    let (warm_up, counted) = steps.split_at(WARM_UP);
    let modes = [Mode::Full, Mode::Sliding, Mode::Carried];
    let cases = modes.into_iter().flat_map(|mode| [(mode, Rows::Batched), (mode, Rows::Alone)]);
    for (mode, rows) in cases {
        let mut whole = Whole::new(mode, rows, runtime);
        for (index, records) in warm_up.iter().enumerate() {
            whole.step(records, index % 2 == 0);
        }
        (whole.emitted, whole.scored) = (0, 0);
        let before = COUNT.get();
        for (index, records) in counted.iter().enumerate() {
            whole.step(records, index % 2 == 0);
        }
        let count = COUNT.get() - before;
        assert_eq!(whole.emitted, 700, "every record has its forecast");
        assert_eq!(whole.scored, 700, "and is the truth of the one before");
        assert_eq!(count, 0, "{mode}, {rows}");
        let inputs = whole.pipelines.live().engine().inputs().unwrap().tally();
        assert_eq!((inputs.judged, inputs.shifted), (7, 7), "{mode}, {rows}");
    }
}

#[test]
fn no_step_of_a_blend_allocates_once_warm() {
    const WARM_UP: usize = 12;
    let steps: Vec<_> = (0..WARM_UP + 100).map(records).collect();
    let mut whole = Whole::blended(runtime());
    let (warm_up, counted) = steps.split_at(WARM_UP);
    warm_up.iter().for_each(|records| whole.step(records, true));
    (whole.emitted, whole.scored) = (0, 0);
    let before = COUNT.get();
    counted.iter().for_each(|records| whole.step(records, true));
    let count = COUNT.get() - before;
    assert_eq!((whole.emitted, whole.scored), (1400, 1400), "of the model and of the blend");
    assert_eq!(count, 0);
}

#[test]
fn no_step_allocates_once_warm() {
    assert_no_step_allocates(runtime());
}

#[test]
fn no_step_of_the_native_runtime_allocates_once_warm() {
    assert_no_step_allocates(&NativeRuntime::new());
}

/// Bytes are counted on this thread, so the fit runs on it alone. What is made of the examples
/// takes memory, and the steps and rows of a history in files take none.
#[cfg(feature = "train")]
#[test]
fn a_fit_of_a_long_history_takes_few_bytes_for_each_row_where_it_is_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let peak = |rows: usize, memory_bytes_max: usize| {
        let mut history = "symbol,time,close,volume\n".to_owned();
        for at in 0..rows {
            let close = 100.0 + (at as f64 * 0.37).sin() + (at as f64 * 1e-3).sin();
            let time = 1_362_148_200_000 + at * 60_000;
            history += &format!("A,{time},{close:.4},{}\n", 1000 + at * 37 % 400);
        }
        std::fs::write(folder.path().join("minutes.csv"), history).unwrap();
        let text = format!(
            "model.name = 'long'\nmodel.root = 'models'\ndata.path = 'minutes.csv'\n\
             data.memory_bytes_max = {memory_bytes_max}\nstep.interval_seconds = 60\n\
             window.steps = 3\nwindow.features = ['change', 'absolute_return', 'volume_change']\n\
             network.lstm = [{{ units = 2 }}]\n\
             network.dense = [{{ units = 1, activation = 'tanh' }}]\n\
             fit.epochs_max = 1\nfit.examples_per_epoch_max = 1000\nfit.work = 'work'\n"
        );
        let path = folder.path().join("train.toml");
        std::fs::write(&path, text).unwrap();
        let config = tickcast::train::config::load(&path).unwrap();
        peak_bytes(|| {
            let job = Job::prepare(config).unwrap();
            let trained = job.run_once(1, &mut |_| ControlFlow::Continue(())).unwrap();
            let learned = trained.draft.manifest.training.known().unwrap().windows;
            assert!(learned as usize > rows / 2, "{learned} windows");
        })
    };
    // 50 were measured in files, and 300 in memory.
    let (files, memory) = (peak(200_000, 0), peak(20_000, 1 << 40));
    assert!(files < 60 * 200_000, "{files} bytes");
    assert!(memory > 200 * 20_000, "{memory} bytes: the count sees what is in memory");
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
