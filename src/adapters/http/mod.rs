//! The http thread: probes, metrics, version and the door to the stream.
//!
//! Owns the listener and the only mention of hyper. Promises to answer from a thread and a runtime
//! of its own, so that a probe and the metrics are there when the data path is stuck and when other
//! clients hold connections, and to hold only so many of them, each only so long. Never reads a
//! request's body, never lets a foreign web page read anything, also not under a name of its own,
//! and answers nothing but probes without the token, where there is one.

mod accepting;
pub mod access;
mod connections;
mod cors;
mod documents;
#[cfg(feature = "echo")]
pub mod echo;
mod forecasts;
pub mod host;
mod metrics;
mod models;
pub mod origin;
mod paging;
mod problem;
mod query;
mod routes;
mod server;
mod settings;
mod stream;
mod symbols;
mod turns;
mod watched;

#[cfg(test)]
mod tests;

use prometheus::Registry;
use serde::Serialize;
use tokio::sync::watch;

pub use server::{HttpError, HttpServer};
pub use settings::{HttpConfig, read};

use self::access::Access;
use crate::adapters::stream::StreamHub;
use crate::keep::reload::ReloadHandle;
use crate::ops::readiness::Readiness;
use crate::shard::{RivalBoard, SymbolBoard};

/// What the routes answer from.
pub struct HttpState {
    /// What `/metrics` shows.
    pub registry: Registry,
    /// What `/readyz` shows.
    pub readiness: Readiness,
    /// What `/livez` shows: whether the process is worth keeping.
    pub liveness: Readiness,
    /// What `/v1/stream` sends, where there are forecasts.
    pub stream: Option<StreamHub>,
    /// The same of scores.
    pub scores: Option<StreamHub>,
    /// What `/v1/symbols` shows, where there are any.
    pub symbols: Option<SymbolBoard>,
    /// What `/version` shows beside the program's own, where a model runs.
    pub version: Option<VersionInfo>,
    /// Who may ask for what.
    pub access: Access,
    /// The models that run and how to change them, where any run.
    pub models: Option<Models>,
}

/// The models that run, and how to change them.
pub struct Models {
    /// Which ones they are now.
    pub running: watch::Receiver<crate::keep::reload::Models>,
    /// Takes requests to reload and to promote.
    pub reloads: ReloadHandle,
    /// What `/v1/stream` sends of the shadows, where there are any.
    pub shadows: Option<StreamHub>,
    /// What becomes of shadows beside the live models of their seats.
    pub rivals: RivalBoard,
}

/// Which build runs which model.
#[derive(Clone, Debug, Serialize)]
pub struct VersionInfo {
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub model_version: String,
    /// How the model is driven.
    pub mode: String,
    /// What computes the model.
    pub runtime: &'static str,
    /// The runtime's build, in its own words.
    pub runtime_build: String,
}
