//! tickcast turns a live stream of ticks into a live stream of forecasts.
//!
//! The crate is layered; a module names only modules of its own layer or of those above it in this
//! table, and a test holds that line.
//!
//! | layer | owns |
//! |---|---|
//! | [`core`] | ticks, steps, features, windows, forecasts, scores: pure |
//! | [`engine`] | the inference seam, sealed models, the state of all symbols, the wire forms |
//! | [`ops`] | clock, exit codes, signals, logging, readiness, supervision |
//! | [`intake`] | the bounded queues between a source and the shards |
//! | [`ports`] | the traits at which sources and sinks attach |
//! | [`net`] | outgoing connections |
//! | [`shard`] | the thread that owns all state of its symbols |
//! | [`keep`] | snapshots, and the change of the model |
//! | [`adapters`] | every source, every sink, HTTP |
//! | [`app`] | configuration, composition, run and stop |
//! | [`seal`] | histories, figures, and other frameworks' models made into bundles |
//! | [`report`] | pages that open from disk, and the report of a replay |
//! | `train` | the offline trainer (cargo feature `train`) |
//! | [`tools`] | feed, bridge, watch, bench |
//! | [`cli`] | the command line |
//!
//! What is absent on purpose: global state, locks around the state of symbols, and any way for wall
//! time to reach a forecast. ARCHITECTURE.md has the whole picture.
//!
//! Unsafe code is denied in `Cargo.toml`; `adapters/kafka/describe` and `main` say why each has
//! some.

pub mod adapters;
pub mod app;
pub mod cli;
pub mod core;
pub mod engine;
pub mod intake;
pub mod keep;
pub mod net;
pub mod ops;
pub mod ports;
pub mod report;
pub mod seal;
pub mod shard;
pub mod tools;
#[cfg(feature = "train")]
pub mod train;
