//! The parts of the pipeline one by one, without ONNX Runtime: what of a regression is whose.
//!
//! `make bench-parts` measures, `cargo test --bench parts` runs each part once. What the whole does
//! is the business of `tickcast bench`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tickcast::core::baseline::{
    AverageSpec, BaselineKind, BaselineSpec, LinearModel, SeasonalSpec,
};
use tickcast::core::domain::{Field, Fields, Forecast, Step, Symbol, SymbolId, Tick, UnixNanos};
use tickcast::core::features::RowStatus;
use tickcast::core::score::ScoreBook;
use tickcast::core::shift::ShiftBook;
use tickcast::core::window::{RowFacts, Window};
use tickcast::engine::model::manifest::Mode;
use tickcast::engine::model::{Bundle, Heritage};
use tickcast::engine::pipeline::Post;
use tickcast::engine::state::StateCodec;
use tickcast::engine::symbols::{Engine, Haste, Pushed};
use tickcast::ops::supervise::Pulse;
use tickcast::ports::sink::{Outgoing, Sink, SinkClosed};
use tickcast::shard::{Origin, Publisher};
use tickcast::tools::bench::null_backend;
use tickcast::tools::bench::parts::{Feed, config, decoder, encoder};

/// Symbols of a batch, as many as one run takes.
const SYMBOLS: usize = 512;

/// The model that the demo runs: 30 x 3, LSTM 64, LSTM 32.
fn bundle() -> Bundle {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models/aapl-daily/1");
    Bundle::read(folder.as_ref()).expect("the bundle that ships is whole")
}

fn decode(criterion: &mut Criterion) {
    let bundle = bundle();
    let config = config(Mode::Sliding, SYMBOLS).expect("the defaults are a configuration");
    let decoder = decoder(&bundle, &config);
    let feed = Feed::new(&bundle, SYMBOLS, SYMBOLS);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(SYMBOLS as u64));
    group.bench_function("json", |bencher| {
        bencher.iter(|| {
            for record in feed.records() {
                black_box(decoder.decode(record).expect("a tick of our own"));
            }
        });
    });
}

/// Messages of exchanges to native ticks: each is one tick, and one is a batch of a hundred.
fn venue(criterion: &mut Criterion) {
    let kraken_row = r#"{"symbol":"MATIC/USD","side":"sell","price":0.5117,"qty":40.0,
        "ord_type":"market","trade_id":4665906,"timestamp":"2023-09-25T07:49:37.708706Z"}"#;
    let batch = vec![kraken_row; 100].join(",");
    let batch = format!(r#"{{"channel":"trade","type":"update","data":[{batch}]}}"#);
    let read = |path: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/venues/");
        std::fs::read_to_string(format!("{folder}{path}")).expect("a message that ships")
    };
    let mut group = criterion.benchmark_group("venue");
    for (name, venue, frame, ticks) in [
        ("binance", "binance", read("binance/trade.json"), 1),
        ("okx", "okx", read("okx/trade.json"), 1),
        ("kraken_batch", "kraken", batch, 100),
    ] {
        let config = tickcast::app::config::venue_feed(venue).expect("a venue that ships");
        let feed = config.of::<tickcast::adapters::websocket::WebSocketSettings>();
        let venue = std::sync::Arc::clone(&feed.expect("a venue is a live feed").venue);
        let mut mapper = tickcast::core::venue::Mapper::new(venue);
        group.throughput(Throughput::Elements(ticks));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut seen = 0;
                mapper.classify(black_box(frame.as_bytes()), |mapped| {
                    black_box(mapped.record);
                    seen += 1;
                });
                assert_eq!(seen, ticks);
            });
        });
    }
}

/// One symbol's features and its window, step after step.
fn features_and_window(criterion: &mut Criterion) {
    let bundle = bundle();
    let plans = bundle.plans();
    let case = bundle.golden().cases.first().expect("a bundle has a case");
    let schema = plans.features.raw().schema();
    let step = |step: &tickcast::engine::model::golden::GoldenStep| step.step(schema);
    let steps: Vec<_> =
        case.steps.iter().map(|s| step(s).expect("a case that was proved")).collect();
    let mut group = criterion.benchmark_group("features");
    group.throughput(Throughput::Elements(steps.len() as u64));
    group.bench_function("row", |bencher| {
        let raw = plans.features.raw();
        bencher.iter_batched_ref(
            || (raw.initial_state(), raw.scratch()),
            |(state, scratch)| {
                let mut ready = 0;
                for step in &steps {
                    let status = plans.features.row(state, step, scratch);
                    ready += usize::from(matches!(status, Ok(RowStatus::Ready { .. })));
                    state.absorb(scratch);
                }
                assert_eq!(ready, plans.window_steps, "the case is one window");
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();

    let mut group = criterion.benchmark_group("window");
    group.throughput(Throughput::Elements(1));
    group.bench_function("push", |bencher| {
        let row = vec![0.5; plans.features.width()];
        let mut window = Window::new(plans.window_steps, plans.features.width());
        bencher.iter(|| window.push(black_box(&row), RowFacts::default()));
    });
}

/// A row of each symbol compared with the distribution of the training.
fn shift(criterion: &mut Criterion) {
    let bundle = bundle();
    let plan = bundle.plans().shift.clone().expect("the bundle that ships has a distribution");
    let case = bundle.golden().cases.first().expect("a bundle has a case");
    let ids: Vec<SymbolId> = (0..SYMBOLS).filter_map(SymbolId::from_index).collect();
    let mut book = ShiftBook::new(plan);
    ids.iter().for_each(|_| book.add_symbol());
    let mut rows = case.window.iter().cycle();
    let mut group = criterion.benchmark_group("shift");
    group.throughput(Throughput::Elements(SYMBOLS as u64));
    group.bench_function("row", |bencher| {
        bencher.iter(|| {
            for (id, row) in ids.iter().zip(&mut rows) {
                black_box(book.take(*id, row));
            }
        });
    });
}

/// An engine over a model that computes nothing, its windows full; and what it forecasts.
struct Warm {
    engine: Engine,
    feed: Feed,
    decoder: tickcast::core::decode::JsonDecoder,
    forecasts: Vec<Forecast>,
}

/// An engine of a model that computes nothing, without symbols.
fn null_engine(bundle: &Bundle, mode: Mode) -> Engine {
    let limits = config(mode, SYMBOLS).expect("the defaults are a configuration").engine;
    let backend = Box::new(null_backend(bundle.signature()));
    Engine::new(bundle.plans().clone(), mode, bundle.signature(), backend, limits)
        .expect("a model that computes nothing takes any shape")
}

impl Warm {
    fn new(bundle: &Bundle, mode: Mode) -> Self {
        let config = config(mode, SYMBOLS).expect("the defaults are a configuration");
        let plans = bundle.plans();
        let steps = plans.window_steps as u64 + plans.features.raw().warm_up_steps();
        let engine = null_engine(bundle, mode);
        let feed = Feed::new(bundle, SYMBOLS, SYMBOLS);
        let mut warm =
            Self { engine, feed, decoder: decoder(bundle, &config), forecasts: Vec::new() };
        for _ in 0..steps {
            warm.round();
        }
        assert_eq!(warm.round(), SYMBOLS, "every symbol has a forecast");
        warm
    }

    /// The next tick of every symbol through the engine.
    fn round(&mut self) -> usize {
        self.feed.renew();
        let Self { engine, feed, decoder, forecasts } = self;
        let decoded = feed.records().iter().map(|record| decoder.decode(record));
        let ticks: Vec<Tick<'_>> = decoded.map(|tick| tick.expect("a tick of our own")).collect();
        push_and_infer(engine, &ticks, forecasts)
    }
}

fn push_and_infer(engine: &mut Engine, ticks: &[Tick<'_>], forecasts: &mut Vec<Forecast>) -> usize {
    forecasts.clear();
    for tick in ticks {
        assert_eq!(engine.push(tick, None), Pushed::Taken);
    }
    engine.infer(Haste::Latency, forecasts).expect("a model that computes nothing does not fail");
    engine.advance().expect("a model that computes nothing does not fail");
    forecasts.len()
}

fn engine(criterion: &mut Criterion) {
    let bundle = bundle();
    let mut group = criterion.benchmark_group("engine_without_inference");
    group.throughput(Throughput::Elements(SYMBOLS as u64));
    for mode in [Mode::Full, Mode::Sliding, Mode::Carried] {
        let mut warm = Warm::new(&bundle, mode);
        // With decoding, because event time must go on; `decode` tells its share.
        group.bench_function(mode.to_string(), |bencher| bencher.iter(|| warm.round()));
    }
}

/// The encoder, and `serde_json` on the same forecasts, which it is held to.
fn encode(criterion: &mut Criterion) {
    let bundle = bundle();
    let warm = Warm::new(&bundle, Mode::Sliding);
    let encoder = encoder(&bundle, Mode::Sliding);
    let named = |forecast: &Forecast| warm.engine.symbol(forecast.symbol).as_str();
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(warm.forecasts.len() as u64));
    group.bench_function("json", |bencher| {
        let mut buffer = Vec::new();
        bencher.iter(|| {
            for forecast in &warm.forecasts {
                buffer.clear();
                encoder.encode(named(forecast), forecast, &mut buffer);
                black_box(&buffer);
            }
        });
    });
    group.bench_function("serde_json", |bencher| {
        let mut buffer = Vec::new();
        bencher.iter(|| {
            for forecast in &warm.forecasts {
                buffer.clear();
                let record = encoder.template().record(named(forecast), forecast);
                serde_json::to_writer(&mut buffer, &record).expect("a record always encodes");
                black_box(&buffer);
            }
        });
    });
}

/// What a snapshot costs a shard: every symbol's state to rest and into its stored form.
fn store(criterion: &mut Criterion) {
    let bundle = bundle();
    let mut group = criterion.benchmark_group("store");
    group.throughput(Throughput::Elements(SYMBOLS as u64));
    for mode in [Mode::Sliding, Mode::Carried] {
        let warm = Warm::new(&bundle, mode);
        let codec = StateCodec::new(bundle.manifest(), mode);
        group.bench_function(mode.to_string(), |bencher| {
            bencher.iter(|| {
                for state in warm.engine.snapshot() {
                    black_box(codec.encode(&state));
                }
            });
        });
    }
}

/// What a step of every symbol costs on top: its score, and its forecast put down to wait.
fn score(criterion: &mut Criterion) {
    let bundle = bundle();
    let warm = Warm::new(&bundle, Mode::Sliding);
    let encoder = encoder(&bundle, Mode::Sliding);
    let plan = &bundle.plans().score;
    let mut fields = Fields::EMPTY;
    fields.set_checked(Field::CLOSE, 100.0).expect("a price");
    let step = |at: i64| {
        let time = UnixNanos::from_nanos(at);
        Step { time, fields, after_gap: false, patched: false }
    };
    let mut group = criterion.benchmark_group("score");
    group.throughput(Throughput::Elements(warm.forecasts.len() as u64));
    // The widest linear model that there can be, and the longest period.
    let linear = LinearModel { rows: 200, intercept: 0.5, weights: vec![0.001; 600] };
    let all = BaselineSpec {
        against: BaselineKind::Average,
        drift: Some(0.001),
        average: Some(AverageSpec { half_life_steps: 32 }),
        seasonal: Some(SeasonalSpec { period_steps: 1024 }),
        linear: Some(linear),
    };
    let mut window = Window::new(200, 3);
    (0..300).for_each(|_| window.push(&[0.25, -0.5, 0.75], RowFacts::default()));
    let (plain, widest) = (plan.clone(), plan.clone().with_baselines(&all));
    for (name, plan, encoded, beside) in [
        ("step", &plain, false, false),
        ("step_and_json", &plain, true, false),
        ("step_beside_a_rival", &plain, false, true),
        ("step_beside_a_rival_and_json", &plain, true, true),
        ("step_with_widest_baselines", &widest, false, false),
        ("step_with_widest_baselines_and_json", &widest, true, false),
    ] {
        let mut book = ScoreBook::new(plan.clone());
        let mut live = ScoreBook::new(plan.clone());
        if beside {
            book.face(Some([1; 16]));
            live.keep_for_shadows(true);
        }
        for index in 0..SYMBOLS {
            let name = Symbol::new(&format!("S{index:06}")).expect("a name");
            book.add_symbol(&name);
            live.add_symbol(&name);
        }
        if encoded {
            book.keep();
        }
        let (mut at, mut buffer) = (0, Vec::new());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                at += 1;
                for forecast in &warm.forecasts {
                    if beside {
                        // The live model has its own costs; what they share is what comes here.
                        live.step(forecast.symbol, &step(at));
                        live.wait(forecast, &window);
                        live.take_for_shadows().for_each(|score| book.meet(score));
                    }
                    book.step(forecast.symbol, &step(at));
                    book.part();
                    black_box(book.margins(forecast.symbol));
                    book.wait(forecast, &window);
                }
                for score in book.take() {
                    buffer.clear();
                    let symbol = warm.engine.symbol(score.symbol);
                    let (template, symbol) = (encoder.template(), symbol.as_str());
                    template.encode_score(
                        symbol,
                        &score,
                        beside.then_some(("now", "1")),
                        &mut buffer,
                    );
                    black_box(&buffer);
                }
            });
        });
        // A filter may leave this bench out.
        if at > 0 {
            assert_eq!(book.tally().waiting, SYMBOLS as u64, "every symbol has one");
        }
    }
}

/// What a change of the model costs a shard: every symbol out of one engine into another.
fn hand_over(criterion: &mut Criterion) {
    let bundle = bundle();
    let warm = Warm::new(&bundle, Mode::Sliding);
    let mut group = criterion.benchmark_group("hand_over");
    group.throughput(Throughput::Elements(SYMBOLS as u64));
    group.bench_function("sliding", |bencher| {
        bencher.iter_batched_ref(
            || null_engine(&bundle, Mode::Sliding),
            |next| next.inherit(&warm.engine, &Heritage::Rows).expect("nothing is inferred"),
            BatchSize::LargeInput,
        );
    });
}

/// A sink that takes a record and does nothing with it.
#[derive(Clone)]
struct NullSink;

impl Sink for NullSink {
    fn another(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    #[inline(never)]
    fn publish(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        black_box(forecast.bytes);
        Ok(())
    }

    fn publish_score(&mut self, score: &Outgoing<'_>) -> Result<(), SinkClosed> {
        black_box(score.bytes);
        Ok(())
    }

    fn settle(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a forecast costs on its way to the sinks: by a call that the compiler knows, and by the
/// trait, to one sink and to three.
fn publish(criterion: &mut Criterion) {
    let symbol = Symbol::new("AAPL").expect("a symbol of our own");
    let (record, pulse) = ([b'x'; 500], Pulse::new());
    let mut group = criterion.benchmark_group("publish");
    group.throughput(Throughput::Elements(SYMBOLS as u64));
    group.bench_function("direct", |bencher| {
        let mut sink = NullSink;
        bencher.iter(|| {
            for _ in 0..SYMBOLS {
                let record = Outgoing::new(&symbol, &record, "", None, &pulse);
                sink.publish(black_box(&record)).expect("it never closes");
                pulse.work();
            }
        });
    });
    for count in [1, 3] {
        group.bench_function(format!("sinks_{count}"), |bencher| {
            let sinks = (0..count).map(|_| NullSink.another()).collect();
            let mut publisher = Publisher::new(sinks);
            let origin = Origin { model_sha256: "".into(), post: Post::default() };
            bencher.iter(|| {
                for _ in 0..SYMBOLS {
                    publisher
                        .publish(&origin, &symbol, black_box(&record), None)
                        .expect("none closes");
                }
            });
        });
    }
}

criterion_group!(
    parts,
    venue,
    decode,
    features_and_window,
    shift,
    engine,
    encode,
    publish,
    store,
    score,
    hand_over
);
criterion_main!(parts);
