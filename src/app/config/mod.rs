//! Configuration: from a file and the environment to checked values.
//!
//! Owns every setting, its unit and its limits. Promises that all problems are reported at once,
//! each with its key, and that a [`Config`] that exists is usable. Never opens a port or a model.

mod bridge;
mod describe;
mod engine;
mod health;
mod history;
mod layers;
mod load;
mod log;
mod model;
mod policy;
mod publish;
mod scores;
mod snapshot;
mod source;
mod venue;

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use bridge::BridgeConfig;
pub use describe::{reference, schema, show};
pub use health::HealthConfig;
pub use history::{AskAt, BackfillConfig, HistoryConfig};
pub use layers::DEFAULTS;
pub use load::{
    AnyConfig, ConfigError, load, load_any, load_bridge, load_feed, load_with, parse, venue_feed,
};
pub use model::{ModelConfig, Turns};
pub use scores::{ForecastConfig, MetricsConfig};
pub use snapshot::SnapshotConfig;
pub use venue::VENUES;

use crate::adapters::http::HttpConfig;
use crate::adapters::stream::StreamSettings;
use crate::core::decode::JsonDecoder;
use crate::core::domain::{Schema, TimeFormat, TimeUnit};
use crate::core::score::RECENT_SCORES;
use crate::engine::inference::RuntimeChoice;
use crate::engine::model::manifest::{StepKind, StepSpec};
use crate::engine::pipeline::{
    BlendMembers, Pipeline, PipelineSettings, Pipelines, Role, StreamModel,
};
use crate::engine::symbols::{CadencePolicy, EngineLimits, EnginePolicy};
use crate::intake::{IntakeLimits, WhenFull};
use crate::keep::prove::ProofLimits;
use crate::ops::exit::{Exit, Failure};
use crate::ops::logging::LogConfig;
use crate::ports::sink::SinkSettings;
use crate::ports::source::SourceSettings;
use crate::shard::command::Command;

/// The checked configuration of the daemon.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where ticks come from.
    pub source: SourceConfig,
    /// Which models run, and how; never empty.
    pub models: Vec<ModelConfig>,
    /// What the proof of a model may take.
    pub proof: ProofLimits,
    /// How old the data behind a live model may be before the daemon says so, in days; `None`
    /// where it never does.
    pub model_age_days_max: Option<u32>,
    /// Path of ONNX Runtime's library, where one is named.
    pub onnxruntime_library: Option<PathBuf>,
    /// What computes the models.
    pub runtime: RuntimeChoice,
    /// What the engines of all shards together may use.
    pub engine: EngineLimits,
    /// Whether the tensors of every run of the model are made at the start.
    pub prepares_runs: bool,
    /// Which windows may forecast.
    pub policy: EnginePolicy,
    /// When the silence of a symbol means something.
    pub health: HealthConfig,
    /// The threads that forecast.
    pub shards: ShardConfig,
    /// How forecasts are made of what the model says.
    pub forecast: ForecastConfig,
    /// Where forecasts and scores go, beside the stream.
    pub sinks: Vec<Arc<dyn SinkSettings>>,
    /// How much the stream may take.
    pub stream: StreamSettings,
    /// Where states are kept on this machine.
    pub snapshot: SnapshotConfig,
    /// How a symbol gets its window before its live ticks fill it.
    pub history: HistoryConfig,
    /// How steps are filled that an outage took.
    pub backfill: BackfillConfig,
    /// What the metrics tell apart.
    pub metrics: MetricsConfig,
    /// Probes, metrics and the stream.
    pub http: HttpConfig,
    /// How the process speaks of itself.
    pub log: LogConfig,
    /// The time in which everything read is published after a stop signal.
    pub shutdown_deadline: Duration,
    /// How long a stage of the data path may have work and make no progress.
    pub stall_timeout: Duration,
    /// What does no harm and should be known.
    pub warnings: Vec<String>,
}

impl Config {
    /// Whether any sink takes scores.
    pub fn publishes_scores(&self) -> bool {
        let by_source = self.source.settings.facts().delivers_scores;
        by_source || self.sinks.iter().any(|sink| sink.takes_scores())
    }

    /// Checks that the feed can have the steps of a model.
    ///
    /// # Errors
    /// [`Exit`] with code 78 for a model of whole records on a feed of trades.
    pub fn check_cadence(&self, model: &ModelConfig, step: &StepSpec) -> Result<(), Exit> {
        let is_judged = model.cadence == CadencePolicy::AsTrained;
        let has_trades = self.source.settings.delivers_trades();
        if !(is_judged && has_trades && step.kind == StepKind::Record) {
            return Ok(());
        }
        // Of several models, the one at fault.
        let whose = match model.is_listed {
            true => format!(" `{}`", model.name),
            false => String::new(),
        };
        Err(Exit::new(
            Failure::Configuration,
            format_args!(
                "model.cadence: the feed has trades, which come at any time, and the model{whose} \
                 was trained on ticks at an interval ({}); use a model of bars (step.kind = \
                 \"time\"), or set model.cadence = \"as_it_comes\" where that is meant",
                step.words()
            ),
        ))
    }

    /// What the pipeline of the first model is built by, where one engine has all symbols.
    pub fn pipeline(&self) -> PipelineSettings {
        self.pipeline_of(&self.models[0])
    }

    /// The models of a stream out of their pipelines, which are in the same order.
    ///
    /// # Errors
    /// [`Exit`] with code 78 where all of them together read too many fields.
    pub fn pipelines(
        &self,
        pipelines: Vec<Pipeline>,
        settings: &PipelineSettings,
    ) -> Result<Pipelines, Exit> {
        if let ([ModelConfig { is_listed: false, .. }], 1) = (&*self.models, pipelines.len()) {
            let mut pipelines = pipelines;
            return Ok(Pipelines::new(pipelines.remove(0), settings));
        }
        let mut pipelines = pipelines;
        self.blend(&mut pipelines);
        let models = self.models.iter().zip(pipelines).map(|(model, pipeline)| StreamModel {
            name: Arc::clone(&model.name),
            symbols: model.symbols.clone(),
            seat: model.seat,
            role: model.role,
            pipeline,
        });
        Pipelines::of(models.collect(), settings)
            .map_err(Exit::while_doing(Failure::Configuration, "models"))
    }

    /// Makes blends of the pipelines that are to be blends, which are in the order of the models.
    pub fn blend(&self, pipelines: &mut [Pipeline]) {
        let place = |name: &Arc<str>| self.models.iter().position(|model| model.name == *name);
        for (blend, model) in self.models.iter().enumerate() {
            if model.role != Role::Blend {
                continue;
            }
            let places = model.blends.iter().filter_map(|name| Some((name, place(name)?)));
            let members = places.map(|(name, place)| (name, &pipelines[place]));
            let members = BlendMembers::of(members);
            pipelines[blend].blend(&model.name, members);
        }
    }

    /// What the pipeline of a model is built by, where one engine has all symbols.
    pub fn pipeline_of(&self, model: &ModelConfig) -> PipelineSettings {
        PipelineSettings {
            models: model.choice.root.clone(),
            mode: model.choice.mode,
            time_unit: self.source.time_unit,
            time_format: self.source.time_format.clone(),
            accepts_times: self.source.accepts_times,
            record_bytes_max: self.source.record_bytes_max,
            future_seconds_max: self.source.future_seconds_max,
            limits: self.engine,
            prepares_runs: self.prepares_runs,
            policy: EnginePolicy {
                cadence: model.cadence,
                when_shifted: self.forecast.when_shifted,
                ..self.policy
            },
            intervals: self.forecast.intervals,
            signals: self.forecast.signals,
            listed_symbols: self.metrics.symbols.clone(),
            recent_scores: RECENT_SCORES.div_ceil(self.shards.count),
            keeps_scores: self.publishes_scores(),
            publishes_history: self.history.publishes,
        }
    }
}

/// Where ticks come from.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// The word for its kind, as `source.kind` has it.
    pub kind: &'static str,
    /// The settings of the kind that is chosen.
    pub settings: Arc<dyn SourceSettings<Command>>,
    /// The unit of event times that come as numbers.
    pub time_unit: TimeUnit,
    /// How event times are read that come as texts.
    pub time_format: TimeFormat,
    /// Whether event times are taken for right that look like those of a wrong unit.
    pub accepts_times: bool,
    /// The largest record that is decoded, in bytes.
    pub record_bytes_max: usize,
    /// The most records in the queue between the source and the engine.
    pub queue_records_max: usize,
    /// The most bytes in that queue.
    pub queue_bytes_max: usize,
    /// What happens when that queue is full.
    pub when_full: WhenFull,
    /// How far the event time of a record may lie ahead of its reception; 0 for any distance,
    /// `None` for the longer of a minute and a step.
    pub future_seconds_max: Option<u32>,
}

impl SourceConfig {
    /// The settings of the source where it is of this kind.
    pub fn of<T: Any>(&self) -> Option<&T> {
        let settings: &dyn Any = &*self.settings;
        settings.downcast_ref()
    }

    /// What decodes its records, as the models of the stream read them together.
    pub fn decoder(&self, schema: Schema) -> JsonDecoder {
        JsonDecoder::new(schema, &[], self.time_unit, self.record_bytes_max)
            .with_time_format(self.time_format.clone())
    }

    /// The bounds of a shard's queue.
    pub fn intake(&self) -> IntakeLimits {
        IntakeLimits {
            records_max: self.queue_records_max,
            bytes_max: self.queue_bytes_max,
            record_bytes_max: self.record_bytes_max,
            when_full: self.when_full,
        }
    }
}

/// The threads that forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardConfig {
    /// How many.
    pub count: usize,
    /// Whether each stays on one processor.
    pub pin_threads: bool,
    /// Records that one takes from its queue at once.
    pub drain_records_max: usize,
    /// How old the oldest record of a batch may be for the shadows to run on it; `None` for any
    /// age.
    pub shadow_age_max: Option<Duration>,
}
