//! Another version of a model, or another model in its seat, without a stop.
//!
//! Owns the way from a request to an outcome. Promises that the model that runs goes on until
//! another one is loaded, verified, proved by its golden vectors, prepared for every shard, and
//! tried on windows of this very moment; that all shards change over, or none; that every request
//! is answered with what became of it; and that a refusal names its reason. A model comes in the
//! same way as at the start
//! ([`Pipeline::build`](crate::engine::pipeline::Pipeline::build)). Never holds a shard for longer
//! than it takes to hand the windows over.
//!
//! Where two entries of the configuration take turns in a seat, a new version goes into the place
//! beside the live one, with its windows, and is a shadow until it is promoted.
//!
//! A promotion has nothing to load: both models run. Each shard gives the seat over between two
//! batches, when both have said all that they have to say of what came before.
//!
//! A shadow whose entry says so gets its seat by a rule: when the verdict of all its symbols
//! against the live model is `better`. The reload thread looks for it while it has nothing else to
//! do.
//!
//! Requests come from SIGHUP, from `POST /v1/reload` and `POST /v1/models/NAME/promote`, and from
//! the watch over the folder of models. One is under way at a time, in the order in which they were
//! asked for: requests for the same that come meanwhile are answered together by the next one.

mod age;
mod handle;
mod metrics;
mod order;
mod outcome;
mod promote;
mod rule;
mod turns;
mod watch;
mod worker;

pub use age::AgeWatch;
pub use handle::{Asked, Busy, ReloadHandle, ReloadThread, Unanswered, Work};
pub use metrics::ReloadMetrics;
pub use outcome::{ListedModel, ModelStatus, Models, Outcome, Rivalry, RunningModel};
pub use rule::PromotionRule;
pub use worker::{AskedRows, ReloadModel, ReloadWork, Reloader};
