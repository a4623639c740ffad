//! Another version of the model, without a stop.
//!
//! Owns the way from a request to an outcome. Promises that the model that runs goes on until
//! another one is loaded, verified, proved by its golden vectors, prepared for every shard, and
//! tried on windows of this very moment; that all shards change over, or none; that every request
//! is answered with what became of it; and that a refusal names its reason. A model comes in the
//! same way as at the start
//! ([`Pipeline::build`](crate::engine::pipeline::Pipeline::build)). Never holds a shard for longer
//! than it takes to hand the windows over.
//!
//! Requests come from SIGHUP, from `POST /v1/reload`, and from the watch over the folder of models.
//! One reload is under way at a time: requests that come meanwhile are answered together by the
//! next one.

mod handle;
mod metrics;
mod outcome;
mod watch;
mod worker;

pub use handle::{Asked, Busy, ReloadHandle, ReloadThread, Unanswered};
pub use metrics::ReloadMetrics;
pub use outcome::{ModelStatus, Outcome, RunningModel};
pub use worker::{ReloadWork, Reloader};
