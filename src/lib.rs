//! tickcast turns a live stream of ticks into a live stream of forecasts.
//!
//! The path, in the order of the data:
//!
//! | module | from | to |
//! |---|---|---|
//! | [`source`] | a socket or a file | records, and gaps between them |
//! | [`decode`] | a record's bytes | a tick, or one reason why not |
//! | [`step`] | ticks of one symbol | steps: records or closed bars |
//! | [`features`] | steps | feature rows, the one implementation |
//! | [`window`] | rows | the last W rows |
//! | [`engine`] | ticks of all symbols | forecasts, in modes `full`, `sliding`, `carried` |
//! | [`inference`] | tensors | tensors, through ONNX Runtime |
//! | [`forecast`] | a model's output | value, price, interval, signal |
//! | [`score`] | forecasts, and steps that are their truths | scores, and how wide intervals are |
//! | [`publish`] | forecasts | bytes on the stream and in files |
//!
//! [`domain`] holds the shared words as types, [`venue`] what a feed's frames mean and what it asks
//! of a connection, as data, [`health`] says how symbols are, [`model`] holds the sealed bundles,
//! [`pipeline`] the path as one value, [`shard`] the thread that drives it, [`app`] the
//! composition.
//!
//! Architecture invariants: the modules from `decode` to `forecast`, but for `engine` and
//! `inference`, name no clock, socket, file or runtime; each external crate of weight is named in
//! one place (`ort` in `inference/ort.rs`, `hyper` in `http`); a test holds both. What is absent on
//! purpose: global state, locks around the state of symbols, and any way for wall time to reach a
//! forecast.
#![forbid(unsafe_code)]

pub mod affinity;
pub mod app;
pub mod bench;
pub mod bridge;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decode;
pub mod dial;
pub mod domain;
pub mod engine;
pub mod exit;
pub mod features;
pub mod feed;
pub mod forecast;
pub mod health;
pub mod http;
pub mod inference;
pub mod kafka;
pub mod logging;
pub mod meter;
pub mod model;
pub mod pipeline;
pub mod process;
pub mod publish;
pub mod reload;
pub mod score;
pub mod shard;
pub mod shutdown;
pub mod snapshot;
pub mod source;
pub mod state;
pub mod step;
pub mod supervise;
#[cfg(feature = "train")]
pub mod train;
pub mod venue;
pub mod watch;
pub mod window;
