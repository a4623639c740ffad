//! tickcast turns a live stream of ticks into a live stream of forecasts.
#![forbid(unsafe_code)]

pub mod clock;
pub mod config;
pub mod decode;
pub mod domain;
pub mod engine;
pub mod exit;
pub mod features;
pub mod forecast;
pub mod inference;
pub mod model;
pub mod publish;
pub mod source;
pub mod step;
#[cfg(feature = "train")]
pub mod train;
pub mod window;
