//! tickcast turns a live stream of ticks into a live stream of forecasts.

pub mod model;
#[cfg(feature = "train")]
pub mod train;
