//! What a pipeline is built by, beside its bundle.

use std::path::PathBuf;

use crate::core::domain::{Symbol, TimeFormat, TimeUnit};
use crate::core::forecast::Intervals;
use crate::core::signal::SignalRule;
use crate::engine::model::manifest::Mode;
use crate::engine::symbols::{EngineLimits, EnginePolicy};

/// What an operator chooses about a model's pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineSettings {
    /// The folder of models, in which other versions lie whose states can be read.
    pub models: PathBuf,
    /// How the model is driven; `None` chooses `sliding` where the model serves it.
    pub mode: Option<Mode>,
    /// The unit of event times that come as numbers.
    pub time_unit: TimeUnit,
    /// How event times are read that come as texts.
    pub time_format: TimeFormat,
    /// Whether event times are taken for right that look like those of a wrong unit.
    pub accepts_times: bool,
    /// The largest record that is decoded, in bytes.
    pub record_bytes_max: usize,
    /// How far the event time of a record may lie ahead of its reception, in seconds; 0 for any
    /// distance, `None` for the longer of a minute and a step.
    pub future_seconds_max: Option<u32>,
    /// What the engine may use.
    pub limits: EngineLimits,
    /// Whether the tensors of every run are made at once, and not as runs of a size come.
    pub prepares_runs: bool,
    /// Which windows may forecast.
    pub policy: EnginePolicy,
    /// Where intervals come from.
    pub intervals: Intervals,
    /// What is added to the bundle's thresholds of signals.
    pub signals: SignalRule,
    /// Symbols whose scores are shown apart, in order.
    pub listed_symbols: Vec<Symbol>,
    /// How many recent scores are kept for the skill over all symbols.
    pub recent_scores: usize,
    /// Whether scores are kept for [`super::Pipeline::emit_scores`].
    pub keeps_scores: bool,
    /// Whether forecasts of history are published like those of the stream.
    pub publishes_history: bool,
}

impl PipelineSettings {
    /// What a proof needs: how the model is driven, and in runs of how many rows.
    pub fn of_proof(mode: Option<Mode>, batch_rows_max: usize) -> Self {
        Self {
            // No folder, so other versions are not looked for.
            models: PathBuf::from("/dev/null"),
            mode,
            time_unit: TimeUnit::Milliseconds,
            time_format: TimeFormat::default(),
            accepts_times: false,
            record_bytes_max: 0,
            future_seconds_max: None,
            limits: EngineLimits { symbols_max: 1, batch_rows_max },
            prepares_runs: false,
            policy: EnginePolicy::default(),
            intervals: Intervals::Bundle,
            signals: SignalRule::default(),
            listed_symbols: Vec::new(),
            recent_scores: 0,
            keeps_scores: false,
            publishes_history: false,
        }
    }

    /// The same for one of `count` shards, which share the symbols.
    #[must_use]
    pub fn of_shard(mut self, count: usize) -> Self {
        self.limits.symbols_max = self.limits.symbols_max.div_ceil(count);
        self
    }
}

#[cfg(test)]
impl PipelineSettings {
    /// Those of most tests.
    pub(crate) fn of_tests() -> Self {
        Self {
            models: PathBuf::new(),
            mode: None,
            time_unit: TimeUnit::Milliseconds,
            time_format: TimeFormat::default(),
            // Tests begin in 1970.
            accepts_times: true,
            record_bytes_max: 1000,
            future_seconds_max: None,
            limits: EngineLimits { symbols_max: 1000, batch_rows_max: 64 },
            prepares_runs: false,
            policy: EnginePolicy::default(),
            intervals: Intervals::Bundle,
            signals: SignalRule::default(),
            listed_symbols: Vec::new(),
            recent_scores: 10,
            keeps_scores: false,
            publishes_history: false,
        }
    }
}
