//! Configuration: from a file and the environment to checked values.
//!
//! Owns every setting, its unit and its limits. Promises that all problems are reported at once,
//! each with its key, and that a [`Config`] that exists is usable. Never opens a port or a model.

mod bridge;
mod checkpoint;
mod cluster;
mod describe;
mod dial;
mod health;
mod http;
mod kafka;
mod life;
mod load;
mod policy;
mod scores;
mod url;
mod venue;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use bridge::BridgeConfig;
pub use checkpoint::CheckpointConfig;
pub use cluster::{ClusterConfig, KafkaOption, KafkaOptionError, TopicPlace, TopicPlaceError};
pub use describe::{reference, schema, show};
pub use dial::{Header, Secret};
pub use health::HealthConfig;
pub use kafka::{
    Delivery, KafkaConfig, LostOffset, StartAt, TOKEN_FILE, is_secret, secret_file_of,
};
pub use load::{
    AnyConfig, ConfigError, DEFAULTS, load, load_any, load_bridge, load_feed, parse, venue_feed,
};
pub use scores::{ForecastConfig, MetricsConfig};
pub use url::{Endpoint, FeedUrl, FeedUrlError, KafkaUrl, KafkaUrlError};
pub use venue::{FeedConnection, VENUES};

use crate::adapters::file::ColumnMap;
use crate::adapters::http::access::Access;
use crate::adapters::websocket::FeedSettings;
use crate::core::domain::TimeUnit;
use crate::core::venue::Venue;
use crate::engine::model::manifest::Mode;
use crate::engine::symbols::{EngineLimits, EnginePolicy};
use crate::net::dial::DialOptions;

/// The checked configuration of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where ticks come from.
    pub source: SourceConfig,
    /// Which model runs, and how.
    pub model: ModelConfig,
    /// Path of ONNX Runtime's library, where one is named.
    pub onnxruntime_library: Option<PathBuf>,
    /// What the engines of all shards together may use.
    pub engine: EngineLimits,
    /// Which windows may forecast.
    pub policy: EnginePolicy,
    /// When the silence of a symbol means something.
    pub health: HealthConfig,
    /// The threads that forecast.
    pub shards: ShardConfig,
    /// How forecasts are made of what the model says.
    pub forecast: ForecastConfig,
    /// Where forecasts go.
    pub publish: PublishConfig,
    /// Where states are kept on this machine.
    pub checkpoint: CheckpointConfig,
    /// What the metrics tell apart.
    pub metrics: MetricsConfig,
    /// Probes, metrics and the stream.
    pub http: HttpConfig,
    /// How the process speaks of itself.
    pub log: LogConfig,
    /// The time in which everything read is published after a stop signal.
    pub shutdown_deadline: Duration,
    /// How long a stage of the data path may have work and not come on.
    pub stall_timeout: Duration,
}

impl Config {
    /// Whether scores have a way out.
    pub fn publishes_scores(&self) -> bool {
        let by_topic = match &self.source.kind {
            SourceKind::Kafka(kafka) => kafka.scores.is_some(),
            SourceKind::WebSocket(_) | SourceKind::File(_) => false,
        };
        by_topic || self.publish.scores != LinesTarget::Off
    }
}

/// Where ticks come from.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceConfig {
    /// The kind of source and its own settings.
    pub kind: SourceKind,
    /// The unit of event times that come as numbers.
    pub time_unit: TimeUnit,
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

/// The kinds of sources.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceKind {
    /// A live feed.
    WebSocket(Box<WebSocketConfig>),
    /// A recording.
    File(FileConfig),
    /// Topics of a Kafka cluster, which forecasts go back to.
    Kafka(Box<KafkaConfig>),
}

/// A live feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketConfig {
    /// What its frames mean, and what it allows.
    pub venue: Arc<Venue>,
    /// Where to connect to, and what to subscribe to there; at least one.
    pub connections: Vec<FeedConnection>,
    /// How it is reached.
    pub dial: DialOptions,
    /// How its connections live.
    pub life: FeedSettings,
}

/// A recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileConfig {
    /// JSON lines or CSV.
    pub path: PathBuf,
    /// The columns of a CSV file; `None` for those that its header names.
    pub columns: Option<ColumnMap>,
    /// The symbol of a recording that has no column for it.
    pub symbol: Option<String>,
}

/// What a full queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Stops the source until there is room.
    Block,
    /// Drops the oldest record, counts it and marks the gap.
    DropOldest,
}

/// Which model runs, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelConfig {
    /// The folder of models.
    pub root: PathBuf,
    /// The model's name.
    pub name: String,
    /// A version or `latest`.
    pub version: String,
    /// How it is driven; `None` chooses `sliding` where the model serves it.
    pub mode: Option<Mode>,
    /// Whether another version in the folder is taken over unasked.
    pub watch: bool,
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
}

/// Where forecasts go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishConfig {
    /// Forecasts as JSON lines.
    pub lines: LinesTarget,
    /// Scores as JSON lines.
    pub scores: LinesTarget,
    /// The most subscribers of the stream.
    pub subscribers_max: usize,
    /// The most of them from one address.
    pub subscribers_per_address_max: usize,
    /// How far a subscriber may fall behind, in records.
    pub subscriber_records_max: usize,
}

/// Where JSON lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinesTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    StandardOutput,
    /// Appended to a file.
    File(PathBuf),
}

/// Probes, metrics and the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// The address to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Who may use it.
    pub access: Access,
}

/// How the process speaks of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// For people or for machines.
    pub format: LogFormat,
    /// The least severe level that is written.
    pub level: LogLevel,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The levels of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
