//! JSON ticks in memory to JSON forecasts, through the daemon's own pipeline, on one core.
//!
//! Owns the loop that stands in for the shard. Promises the shard's order: take at most
//! `drain_records_max` records, infer, encode, move the states on, the latter together with the
//! inference while more waits. Never touches a socket.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Duration;

use serde::Serialize;

use super::ceiling::Raw;
use super::models::Subject;
use super::parts::{Feed, config, decoder, encoder};
use super::{
    BenchError, Bound, Quantiles, RAW_BATCH_MAX, Runtimes, expect_forecasts, null_backend,
};
use crate::app::config::Config;
use crate::core::decode::JsonDecoder;
use crate::core::domain::{Forecast, SymbolPatterns};
use crate::engine::inference::InferenceError;
use crate::engine::model::Bundle;
use crate::engine::model::manifest::Mode;
use crate::engine::pipeline::{Pipeline, Pipelines, Role, StreamModel};
use crate::engine::symbols::{Engine, Haste, Pushed};
use crate::engine::wire::encoder::RecordEncoder;
use crate::ops::clock::{ProcessorWatch, Stopwatch};

/// Records of one block before the next side has its turn; a round of all symbols where that is
/// more.
const BLOCK_RECORDS: usize = 4096;

/// One row of the result: records per second of one core, by medians over blocks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PipelineRow {
    /// The model's name.
    pub model: String,
    /// What computed ours: `onnxruntime` or `native`.
    pub runtime: &'static str,
    /// How the model is driven.
    pub mode: Mode,
    /// How many symbols tick in turn.
    pub symbols: usize,
    /// JSON in to JSON out, the advance included.
    pub ours_records_per_second: f64,
    /// ONNX Runtime alone on the same rows, in the batches that ours can have.
    pub raw_records_per_second: f64,
    /// As ours, without inference.
    pub null_records_per_second: f64,
    /// Decoding alone.
    pub decode_records_per_second: f64,
    /// Encoding alone.
    pub encode_records_per_second: f64,
    /// Ours / raw.
    pub ratio: f64,
    /// The share of the processor's measured matrix product.
    pub sgemm_share: f64,
    /// What bounds the row.
    pub bound: Bound,
    /// Records that ours took while being measured.
    pub records: usize,
}

/// The pipeline and how it is driven.
pub(super) struct Driven {
    pipelines: Pipelines,
    drain_records_max: usize,
}

/// The same parts in the same order, over a model that computes nothing.
struct NullPipeline {
    decoder: JsonDecoder,
    engine: Engine,
    encoder: RecordEncoder,
    forecasts: Vec<Forecast>,
    buffer: Vec<u8>,
}

impl Driven {
    /// A pipeline for so many symbols.
    pub(super) fn build(
        bundle: &Bundle,
        runtimes: &Runtimes,
        config: &Config,
    ) -> Result<Self, BenchError> {
        Self::of(bundle, runtimes, config, &[Role::Live])
    }

    /// The same model once for each role; every shadow is one of the first live model.
    pub(super) fn of(
        bundle: &Bundle,
        runtimes: &Runtimes,
        config: &Config,
        roles: &[Role],
    ) -> Result<Self, BenchError> {
        let settings = config.pipeline();
        let model = |(index, role): (usize, &Role)| -> Result<_, BenchError> {
            Ok(StreamModel {
                name: format!("{index}").into(),
                symbols: SymbolPatterns::default(),
                seat: if *role == Role::Live { index } else { 0 },
                role: *role,
                pipeline: Pipeline::build(bundle, &runtimes.ours, &settings)?,
            })
        };
        let models = roles.iter().enumerate().map(model).collect::<Result<Vec<_>, _>>()?;
        let pipelines = Pipelines::of(models, &settings)
            .map_err(|error| BenchError::Machine(error.to_string()))?;
        Ok(Self { pipelines, drain_records_max: config.shards.drain_records_max })
    }

    /// Takes records as the shard does; `emitted` hears of every batch of forecasts.
    pub(super) fn run(
        &mut self,
        records: &[Vec<u8>],
        mut emitted: impl FnMut(usize),
    ) -> Result<usize, BenchError> {
        let mut count = 0;
        let mut flush = |pipeline: &mut Pipeline, more: bool| -> Result<(), InferenceError> {
            pipeline.infer(if more { Haste::Throughput } else { Haste::Latency })?;
            let emit = pipeline.emit(|_, record| {
                black_box(record);
                Ok::<(), Infallible>(())
            });
            let forecasts = match emit {
                Ok(forecasts) => forecasts,
                Err(never) => match never {},
            };
            emitted(forecasts);
            count += forecasts;
            pipeline.engine_mut().advance()
        };
        let mut batches = records.chunks(self.drain_records_max).peekable();
        while let Some(batch) = batches.next() {
            for record in batch {
                let hurry = |pipeline: &mut Pipeline| flush(pipeline, true);
                self.pipelines.take(record, None, None, || {}, hurry)?;
            }
            let more = batches.peek().is_some();
            self.pipelines.of_role_mut(Role::Live).try_for_each(|live| flush(live, more))?;
            self.pipelines.take_deferred(|pipeline| flush(pipeline, true))?;
            self.pipelines.of_role_mut(Role::Shadow).try_for_each(|shadow| flush(shadow, true))?;
        }
        Ok(count)
    }

    /// Feeds until every window is full.
    pub(super) fn warm(&mut self, bundle: &Bundle, feed: &mut Feed) -> Result<(), BenchError> {
        let plans = bundle.plans();
        let steps = plans.window_steps as u64 + plans.features.raw().warm_up_steps();
        let mut taken = 0;
        while taken < steps as usize * feed.symbols() {
            self.run(feed.records(), |_| ())?;
            taken += feed.records().len();
            feed.renew();
        }
        Ok(())
    }
}

impl NullPipeline {
    fn build(bundle: &Bundle, mode: Mode, config: &Config) -> Result<Self, BenchError> {
        let signature = bundle.signature();
        let backend = Box::new(null_backend(signature));
        let plans = bundle.plans().clone();
        Ok(Self {
            decoder: decoder(bundle, config),
            engine: Engine::new(plans, mode, signature, backend, config.engine)?,
            encoder: encoder(bundle, mode),
            forecasts: Vec::new(),
            buffer: Vec::new(),
        })
    }

    fn run(&mut self, records: &[Vec<u8>], batch: usize) -> Result<usize, BenchError> {
        let mut count = 0;
        for batch in records.chunks(batch) {
            for record in batch {
                let Ok(tick) = self.decoder.decode(record) else { continue };
                while self.engine.push(&tick, None) == Pushed::Waiting {
                    count += self.flush()?;
                }
            }
            count += self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> Result<usize, BenchError> {
        self.forecasts.clear();
        self.engine.infer(Haste::Latency, &mut self.forecasts)?;
        for forecast in &self.forecasts {
            let symbol = self.engine.symbol(forecast.symbol);
            self.buffer.clear();
            self.encoder.encode(symbol.as_str(), forecast, &mut self.buffer);
            black_box(&self.buffer);
        }
        self.engine.advance()?;
        Ok(self.forecasts.len())
    }

    /// Encodes the last batch of forecasts until `count` are.
    fn encode(&mut self, count: usize) {
        let mut left = count;
        while left > 0 && !self.forecasts.is_empty() {
            for forecast in self.forecasts.iter().take(left) {
                let symbol = self.engine.symbol(forecast.symbol);
                self.buffer.clear();
                self.encoder.encode(symbol.as_str(), forecast, &mut self.buffer);
                black_box(&self.buffer);
            }
            left -= left.min(self.forecasts.len());
        }
    }
}

/// Measures one row for about `budget`.
///
/// # Errors
/// [`BenchError`] where the runtime fails or the model does not serve the mode.
pub fn row(
    subject: &Subject,
    runtimes: &Runtimes,
    mode: Mode,
    symbols: usize,
    sgemm_gflops: f64,
    budget: Duration,
) -> Result<PipelineRow, BenchError> {
    let bundle = subject.bundle(mode)?;
    let window_steps = bundle.plans().window_steps;
    let config = config(mode, symbols).map_err(|error| BenchError::Machine(error.to_string()))?;
    let mut feed = Feed::new(bundle, symbols, BLOCK_RECORDS);
    let count = feed.records().len();
    let mut raw = RawRows::prepare(runtimes, bundle, mode, symbols)?;
    let mut ours = Driven::build(bundle, runtimes, &config)?;
    let mut null = NullPipeline::build(bundle, mode, &config)?;
    let decoder = decoder(bundle, &config);
    ours.warm(bundle, &mut feed)?;
    let steps = window_steps + bundle.plans().features.raw().warm_up_steps() as usize;
    for _ in 0..steps.div_ceil(count / symbols) {
        null.run(feed.records(), config.shards.drain_records_max)?;
        feed.renew();
    }
    let mut times: [Vec<Duration>; 5] = Default::default();
    let total = Stopwatch::start();
    let mut records = 0;
    while records == 0 || total.elapsed() < budget {
        let [raw_times, our_times, null_times, decode_times, encode_times] = &mut times;
        raw_times.push(raw.run(count)?);
        let watch = ProcessorWatch::start();
        let forecasts = ours.run(feed.records(), |_| ())?;
        our_times.push(watch.elapsed());
        expect_forecasts(forecasts, count)?;
        let watch = ProcessorWatch::start();
        let forecasts = null.run(feed.records(), config.shards.drain_records_max)?;
        null_times.push(watch.elapsed());
        expect_forecasts(forecasts, count)?;
        let watch = ProcessorWatch::start();
        for record in feed.records() {
            let _ = black_box(decoder.decode(record));
        }
        decode_times.push(watch.elapsed());
        let watch = ProcessorWatch::start();
        null.encode(count);
        encode_times.push(watch.elapsed());
        feed.renew();
        records += count;
    }
    let [raw, ours, null, decode, encode] =
        times.map(|times| Quantiles::of(times).per_second(count));
    let steps = if mode == Mode::Carried { 1 } else { window_steps };
    let multiply_adds = subject.work().multiply_adds(steps) as f64;
    let sgemm_share = 2.0 * multiply_adds * ours / (1e9 * sgemm_gflops);
    Ok(PipelineRow {
        model: subject.name().to_owned(),
        runtime: runtimes.ours.choice().name(),
        mode,
        symbols,
        ours_records_per_second: ours,
        raw_records_per_second: raw,
        null_records_per_second: null,
        decode_records_per_second: decode,
        encode_records_per_second: encode,
        ratio: ours / raw,
        sgemm_share,
        bound: Bound::of(sgemm_share, raw / ours),
        records,
    })
}

/// Raw runs over the rows that a record costs: the whole window, or its last step and, in mode
/// `sliding`, one step of each of the other windows under way.
struct RawRows {
    raw: Raw,
    batch: usize,
    critical: crate::engine::inference::Lane,
    advance: Option<(crate::engine::inference::Lane, usize)>,
}

impl RawRows {
    fn prepare(
        runtimes: &Runtimes,
        bundle: &Bundle,
        mode: Mode,
        symbols: usize,
    ) -> Result<Self, BenchError> {
        let mut raw = Raw::open(&runtimes.raw, bundle)?;
        let window_steps = bundle.plans().window_steps;
        let batch = symbols.min(RAW_BATCH_MAX);
        let steps = if mode == Mode::Full { window_steps } else { 1 };
        let critical = raw.lane(steps, batch)?;
        let others = batch * (window_steps - 1);
        let advance = if mode == Mode::Sliding && others > 0 {
            Some((raw.lane(1, others.min(RAW_BATCH_MAX))?, others))
        } else {
            None
        };
        Ok(Self { raw, batch, critical, advance })
    }

    /// The time that `records` records take. One run in so many of the advance is measured and
    /// counted as all of them, as they are equal.
    fn run(&mut self, records: usize) -> Result<Duration, BenchError> {
        let mut time = Duration::ZERO;
        let runs = records.div_ceil(self.batch);
        for _ in 0..runs {
            time += self.raw.run_on_processor(self.critical)?;
            if let Some((lane, others)) = self.advance {
                let runs = others as f64 / others.min(RAW_BATCH_MAX) as f64;
                time += self.raw.run_on_processor(lane)?.mul_f64(runs);
            }
        }
        Ok(time.mul_f64(records as f64 / (runs * self.batch) as f64))
    }
}
