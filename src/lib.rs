//! tickcast turns a live stream of ticks into a live stream of forecasts.
#![forbid(unsafe_code)]

pub mod app;
pub mod bench;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decode;
pub mod domain;
pub mod engine;
pub mod exit;
pub mod features;
pub mod feed;
pub mod forecast;
pub mod http;
pub mod inference;
pub mod logging;
pub mod meter;
pub mod model;
pub mod pipeline;
pub mod publish;
pub mod shard;
pub mod shutdown;
pub mod source;
pub mod step;
#[cfg(feature = "train")]
pub mod train;
pub mod window;
