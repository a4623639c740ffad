//! What runs, in a few lines of the log.
//!
//! Owns the words by which a daemon introduces itself. Promises that one line says which build runs
//! which model on what, and where results go, and one line for each model what computes it. Never
//! shows a secret: it names kinds and files.

use std::path::Path;

use tracing::info;

use super::App;
use super::config::Config;
use crate::adapters::http::VersionInfo;
use crate::engine::pipeline::Pipeline;

/// What the configuration says of a daemon, for its first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Banner {
    source: &'static str,
    sinks: String,
    shards: usize,
}

impl Banner {
    /// Takes from the configuration what the line needs.
    pub fn new(config: &Config) -> Self {
        let Config { source, sinks, stream, shards, .. } = config;
        let mut places: Vec<_> = sinks.iter().flat_map(|sink| sink.places()).collect();
        if source.settings.facts().commits {
            // Such a source delivers what is made of its records as well.
            places.push(source.kind.to_owned());
        }
        if stream.subscribers_max > 0 {
            places.push("stream".to_owned());
        }
        Self { source: source.kind, sinks: places.join(" "), shards: shards.count }
    }

    /// Writes the line.
    pub fn log(&self, config: &Path, app: &App) {
        let Self { source, sinks, shards } = self;
        let (model, model_version, mode) = match &app.http_state.version {
            Some(VersionInfo { model, model_version, mode, .. }) => {
                (&**model, &**model_version, &**mode)
            }
            None => ("", "", ""),
        };
        info!(
            version = env!("CARGO_PKG_VERSION"),
            config = %config.display(),
            model,
            model_version,
            mode,
            shards,
            source,
            sinks,
            http = %format_args!("http://{}", app.address()),
            "starting"
        );
    }
}

/// Says what computes a model, and why that is not the native runtime where it was to be used if
/// possible.
pub(super) fn log_runtime(name: &str, pipeline: &Pipeline) {
    let template = pipeline.template();
    let (model, version) = (&*template.model, &*template.model_version);
    let (runtime, reason) = (pipeline.computed_by(), pipeline.passed_over());
    info!(name, model, version, runtime, reason, "the model is ready");
    if pipeline.engine().inputs().is_none() {
        info!(name, model, version, "the bundle has no distribution: inputs are not judged");
    }
}
