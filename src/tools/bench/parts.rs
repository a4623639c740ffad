//! The parts of the pipeline as they are measured one by one, and the ticks they are fed with.
//!
//! Owns JSON ticks in memory. Promises that a feed can go on without making new records: event time
//! is written over in place. Never infers.

use crate::app::config::{Config, ConfigError};
use crate::core::decode::JsonDecoder;
use crate::core::domain::Schema;
use crate::engine::model::Bundle;
use crate::engine::model::manifest::Mode;
use crate::engine::wire::encoder::RecordEncoder;
use crate::engine::wire::forecast::{OutputTemplate, RecordTemplate};

/// Event time of the first tick in milliseconds; it has as many digits as all that follow.
const FIRST_TIME_MS: u64 = 1_000_000_000_000;

/// Event time between two ticks of a symbol.
const TIME_STEP_MS: u64 = 1000;

/// JSON ticks in memory: some rounds, in each of which every symbol has one.
pub struct Feed {
    records: Vec<Vec<u8>>,
    symbols: usize,
    time_ms: u64,
}

impl Feed {
    /// Ticks for `symbols` symbols of the fields that a model reads, in rounds that make at least
    /// `records_min` records together.
    pub fn new(bundle: &Bundle, symbols: usize, records_min: usize) -> Self {
        let features = bundle.plans().features.raw();
        let schema: &Schema = features.schema();
        let rounds = records_min.div_ceil(symbols).max(1);
        let mut records = Vec::with_capacity(rounds * symbols);
        for index in 0..rounds * symbols {
            let symbol = index % symbols;
            let mut record = format!("{{\"time\":{FIRST_TIME_MS},\"symbol\":\"S{symbol:06}\"");
            for field in features.required() {
                let value = 100.0 + (index % 977) as f64 / 16.0;
                record += &format!(",\"{}\":{value}", schema.name(*field));
            }
            record.push('}');
            records.push(record.into_bytes());
        }
        let mut feed = Self { records, symbols, time_ms: FIRST_TIME_MS };
        feed.renew();
        feed
    }

    /// Moves every record on to the next event times of its symbol.
    pub fn renew(&mut self) {
        let start = b"{\"time\":".len();
        for round in self.records.chunks_mut(self.symbols) {
            let digits = self.time_ms.to_string();
            for record in round {
                record[start..start + digits.len()].copy_from_slice(digits.as_bytes());
            }
            self.time_ms += TIME_STEP_MS;
        }
    }

    /// The records, round after round.
    pub fn records(&self) -> &[Vec<u8>] {
        &self.records
    }

    /// How many symbols there are.
    pub fn symbols(&self) -> usize {
        self.symbols
    }
}

/// The daemon's defaults, for so many symbols in one mode.
///
/// # Errors
/// [`ConfigError`] where the defaults are none, which a test rules out.
pub fn config(mode: Mode, symbols: usize) -> Result<Config, ConfigError> {
    let text = "source.url = 'ws://127.0.0.1:1'\nmodel.name = 'bench'\n";
    let mut config = crate::app::config::parse(text)?;
    config.models[0].choice.mode = Some(mode);
    config.engine.symbols_max = symbols;
    Ok(config)
}

/// The decoder of a model's ticks, as the pipeline builds it.
pub fn decoder(bundle: &Bundle, config: &Config) -> JsonDecoder {
    let features = bundle.plans().features.raw();
    let required = bundle.plans().step_rule.required(features.required());
    let (unit, bytes_max) = (config.source.time_unit, config.source.record_bytes_max);
    JsonDecoder::new(features.schema().clone(), &required, unit, bytes_max)
}

/// The encoder of a model's forecasts, as the pipeline builds it.
pub fn encoder(bundle: &Bundle, mode: Mode) -> RecordEncoder {
    let manifest = bundle.manifest();
    RecordEncoder::new(RecordTemplate {
        model: manifest.name.clone(),
        model_version: manifest.version.clone(),
        mode,
        horizon_steps: manifest.horizon_steps,
        coverage: bundle.plans().forecast.coverage(),
        features: manifest.features.clone(),
        outputs: OutputTemplate::of(bundle.plans()),
    })
}
