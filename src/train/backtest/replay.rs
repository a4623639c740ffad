//! The forecasts of a fold's model for its test span.
//!
//! Owns the way from the records of the history through the daemon's pipeline. The model is run
//! over the whole history before its test span, as a daemon that has been running would have been,
//! and a few steps beyond it, which are the truths of the last forecasts. Promises that the lines
//! it writes are those that `tickcast replay` writes of the same bundle and file for the same
//! times. Never fits, and never lets a forecast see a later record.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::error::BacktestError;
use crate::adapters::file::{FileRecords, RECORD_BYTES_MAX};
use crate::core::decode::JsonDecoder;
use crate::core::domain::{Schema, UnixNanos};
use crate::core::forecast::Intervals;
use crate::core::score::{RECENT_SCORES, Score, Sums};
use crate::engine::inference::Runtime;
use crate::engine::model::Bundle;
use crate::engine::pipeline::{Pipeline, PipelineSettings, Pipelines};
use crate::engine::symbols::{CadencePolicy, EngineLimits, EnginePolicy, Haste};
use crate::seal::sections::DataConfig;
use crate::train::config::schedule::Fold;

/// Records between two looks at whether to go on; no result depends on it.
const BATCH_RECORDS: usize = 1024;

/// Rows of one inference, as in `config/default.toml`; no result depends on it.
const BATCH_ROWS_MAX: usize = 512;

/// What is read, and how far.
#[derive(Clone, Copy)]
pub(super) struct Input<'r> {
    /// The file.
    pub(super) data: &'r DataConfig,
    /// The fields of its records.
    pub(super) schema: &'r Schema,
    /// The fold, whose test span counts.
    pub(super) fold: &'r Fold,
    /// For each symbol, the instant before which its records are read.
    pub(super) ends: &'r BTreeMap<String, UnixNanos>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Replayed {
    /// Forecasts in the test span.
    pub(super) forecasts: u64,
    /// `as_of` of the first and the last of them.
    pub(super) span: Option<[UnixNanos; 2]>,
    /// Records that the engine refused.
    pub(super) refused: u64,
    /// Over the scores of each symbol.
    pub(super) sums: BTreeMap<String, Sums>,
}

/// Runs a model over the history and writes the forecasts of the test span and their scores.
/// `goes_on` is asked now and then.
pub(super) fn replay(
    bundle: &Bundle,
    runtime: &dyn Runtime,
    input: Input<'_>,
    [forecasts, scores]: [&Path; 2],
    goes_on: &dyn Fn() -> bool,
) -> Result<Replayed, BacktestError> {
    let Input { data, schema, fold, ends } = input;
    let settings = settings(data, ends.len());
    let pipeline = Pipeline::build(bundle, runtime, &settings)?;
    let mut output = Output {
        forecasts: Lines::create(forecasts)?,
        scores: Lines::create(scores)?,
        fold: *fold,
        replayed: Replayed::default(),
    };
    let mut pipelines = Pipelines::new(pipeline, &settings);
    let decoder = JsonDecoder::new(schema.clone(), &[], data.time_unit, RECORD_BYTES_MAX)
        .with_time_format(settings.time_format.clone());
    let mut waiting = 0;
    for record in FileRecords::open(&data.path, data.file.clone())? {
        let record = record?;
        // What is no tick was refused when the history was read.
        let Ok(tick) = decoder.decode(&record.bytes) else { continue };
        if ends.get(&*tick.symbol).is_none_or(|end| tick.time >= *end) {
            continue;
        }
        let flush = |pipeline: &mut Pipeline| output.flush(pipeline);
        let rejection = pipelines.take(&record.bytes, None, None, || {}, flush)?;
        output.replayed.refused += u64::from(rejection.is_some());
        waiting += 1;
        if waiting == BATCH_RECORDS {
            waiting = 0;
            output.flush(pipelines.live_mut())?;
            if !goes_on() {
                return Err(BacktestError::Stopped);
            }
        }
    }
    output.flush(pipelines.live_mut())?;
    output.forecasts.finish()?;
    output.scores.finish()?;
    Ok(output.replayed)
}

/// Those of a daemon that nothing else is said to.
fn settings(data: &DataConfig, symbols: usize) -> PipelineSettings {
    let cadence =
        if data.accepts_times { CadencePolicy::AsItComes } else { CadencePolicy::AsTrained };
    PipelineSettings {
        time_unit: data.time_unit,
        time_format: data.file.dialect.times.clone(),
        accepts_times: data.accepts_times,
        record_bytes_max: RECORD_BYTES_MAX,
        limits: EngineLimits { symbols_max: symbols.max(1), batch_rows_max: BATCH_ROWS_MAX },
        policy: EnginePolicy { cadence, ..EnginePolicy::default() },
        intervals: Intervals::Adaptive,
        recent_scores: RECENT_SCORES,
        keeps_scores: true,
        ..PipelineSettings::of_proof(None, BATCH_ROWS_MAX)
    }
}

/// Where the lines of the test span go.
struct Output {
    forecasts: Lines,
    scores: Lines,
    fold: Fold,
    replayed: Replayed,
}

impl Output {
    /// Infers what waits and writes what belongs to the test span.
    fn flush(&mut self, pipeline: &mut Pipeline) -> Result<(), BacktestError> {
        let Self { forecasts, scores, fold, replayed } = self;
        pipeline.infer(Haste::Throughput)?;
        pipeline.emit_values(|_, forecast, line| {
            if !fold.tests(forecast.as_of) {
                return Ok(());
            }
            replayed.forecast(forecast.as_of);
            forecasts.write(line)
        })?;
        pipeline.emit_score_values(|symbol, score, line| {
            if !(fold.tests(score.as_of) && score.evidence.counts()) {
                return Ok(());
            }
            replayed.score(symbol.as_str(), score);
            scores.write(line)
        })?;
        Ok(pipeline.engine_mut().advance()?)
    }
}

impl Replayed {
    fn forecast(&mut self, as_of: UnixNanos) {
        self.forecasts += 1;
        let [first, last] = self.span.unwrap_or([as_of; 2]);
        self.span = Some([first.min(as_of), last.max(as_of)]);
    }

    fn score(&mut self, symbol: &str, score: &Score) {
        if !self.sums.contains_key(symbol) {
            self.sums.insert(symbol.to_owned(), Sums::default());
        }
        if let Some(sums) = self.sums.get_mut(symbol) {
            *sums += Sums::of(score);
        }
    }
}

/// A file of JSON lines under way.
struct Lines {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Lines {
    fn create(path: &Path) -> Result<Self, BacktestError> {
        let file = File::create(path).map_err(BacktestError::of(path, "create"))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    fn write(&mut self, record: &[u8]) -> Result<(), BacktestError> {
        let written = self.file.write_all(record).and_then(|()| self.file.write_all(b"\n"));
        written.map_err(BacktestError::of(&self.path, "write"))
    }

    fn finish(self) -> Result<(), BacktestError> {
        let Self { path, file } = self;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all()).map_err(BacktestError::of(&path, "write"))
    }
}
