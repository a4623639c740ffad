//! Measuring in process, beside the ceiling: raw ONNX Runtime with bound buffers on the same model
//! and shapes, in the same run.
//!
//! | module | measures |
//! |---|---|
//! | [`inference`] | one step or window, from decoded ticks to forecasts: latency |
//! | [`throughput`] | many symbols at once: forecasts and steps per second |
//! | [`pipeline`] | JSON ticks to JSON forecasts: records per second |
//! | [`memory`] | the resident set per symbol |
//! | [`several`] | two and three models of one stream, and one with a shadow, beside one |
//! | [`burst`] | every symbol's tick at the same instant: the first and the last forecast |
//! | [`machine`] | what the processor can do at most |
//!
//! Owns what is compared and the statistics. Promises that ours and the ceiling alternate in
//! blocks, so that a noisy machine disturbs both, and that a model that computes nothing shows the
//! cost of everything else. Never prints.

mod backend;
mod bound;
pub mod burst;
mod ceiling;
pub mod inference;
pub mod machine;
pub mod marks;
pub mod memory;
pub mod models;
pub mod parts;
pub mod pipeline;
mod quantiles;
pub mod several;
mod stream;
pub mod throughput;

pub use backend::null_backend;
pub use bound::Bound;
pub use quantiles::Quantiles;

use crate::engine::inference::{ChosenRuntime, InferenceError, OnnxRuntime};
use crate::engine::model::BundleError;
use crate::engine::model::manifest::Mode;
use crate::engine::pipeline::PipelineError;

/// The largest run that the raw side is given, as the daemon's default.
const RAW_BATCH_MAX: usize = 512;

/// The two sides of a row.
#[derive(Clone)]
pub struct Runtimes {
    /// The ceiling.
    pub raw: OnnxRuntime,
    /// What computes ours.
    pub ours: ChosenRuntime,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The runtime failed.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The model is refused.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// There is no pipeline of the model.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The model cannot be driven so.
    #[error("model `{model}` does not serve mode `{mode}`")]
    Mode {
        /// The model's name.
        model: String,
        /// What was asked for.
        mode: Mode,
    },
    /// Bars would need several ticks for each step.
    #[error("model `{0}` gathers ticks into bars; a bench gives every symbol one tick a step")]
    Bars(String),
    /// A run that forecasts less than it should would be quick and worthless.
    #[error("{have} forecasts of {want}: the figures would be worthless")]
    Silent {
        /// Forecasts made.
        have: usize,
        /// Forecasts due.
        want: usize,
    },
    /// A fact of the machine or a process cannot be had.
    #[error("{0}")]
    Machine(String),
}

/// That every forecast due was made.
fn expect_forecasts(have: usize, want: usize) -> Result<(), BenchError> {
    if have == want { Ok(()) } else { Err(BenchError::Silent { have, want }) }
}
