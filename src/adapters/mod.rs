//! The adapters: every source, every sink and the HTTP server, one folder each.
//!
//! Owns the list of what exists ([`all`]). Promises that an adapter's settings, the reader of them,
//! its metrics and its code lie in its own folder, so that to add one is that folder and one line
//! here. Never computes.
//!
//! A kind that a cargo feature brings has a second entry for builds without the feature
//! ([`Absent`](crate::ports::source::Absent)), which takes the same keys.
//!
//! | folder | kind | promises |
//! |---|---|---|
//! | `websocket` | source | at most once, every loss declared as a gap |
//! | `file` | source | every record, again after a restart |
//! | `kafka` | source and sink | at least once, or exactly once; both ends are joined by the commit |
//! | `kafka_config` | neither | settings and addresses of Kafka, read alike in every build |
//! | `lines` | sink | records in order; blocks; what cannot be written fails or is counted |
//! | `stream` | sink | at most once to each subscriber; slow ones are cut or conflated |
//! | `http` | neither | probes, metrics, and the door to the stream |
//! | `rest` | neither | the history of a venue, for the source that is its stream |
//!
//! The stream is no entry of the list, because the HTTP server needs it by name: there is one, and
//! the app opens it.

pub mod file;
pub mod http;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod kafka_config;
pub mod lines;
pub mod rest;
pub mod stream;
pub mod websocket;

#[cfg(feature = "kafka")]
use self::kafka::KIND as KAFKA;
#[cfg(not(feature = "kafka"))]
use self::kafka_config::ABSENT as KAFKA;
use crate::ports::sink::SinkKind;
use crate::ports::source::SourceKind;
use crate::shard::command::Command;

/// The kinds of sources and sinks that a configuration can name.
#[derive(Clone)]
pub struct Adapters {
    /// In the order in which `source.kind` lists them; the first is the default.
    pub sources: Vec<SourceKind<Command>>,
    /// In the order in which they get a record.
    pub sinks: Vec<SinkKind>,
}

/// Everything that this build has, and the kinds that it knows by name only.
pub fn all() -> Adapters {
    Adapters { sources: vec![websocket::kind(), file::kind(), KAFKA], sinks: vec![lines::KIND] }
}
