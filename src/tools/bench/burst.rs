//! Bursts: every symbol's tick at the same instant, so that nothing can be done in between.
//!
//! Owns the instants that are measured. Promises that a burst begins when everything behind the
//! last one is done. Never waits.

use std::time::Duration;

use serde::Serialize;

use super::models::Subject;
use super::parts::{Feed, config};
use super::pipeline::Driven;
use super::{BenchError, Quantiles, Runtimes, expect_forecasts};
use crate::engine::model::manifest::Mode;
use crate::ops::clock::Stopwatch;

/// One row of the result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BurstRow {
    /// The model's name.
    pub model: String,
    /// How the model is driven.
    pub mode: Mode,
    /// Symbols that tick at the same instant.
    pub symbols: usize,
    /// From the burst to the first forecasts as JSON.
    pub first: Quantiles,
    /// From the burst to the last forecast as JSON.
    pub last: Quantiles,
    /// Bursts per second that can go on, the advance included; the mean.
    pub bursts_per_second: f64,
    /// Forecasts per second at that rate.
    pub forecasts_per_second: f64,
}

/// Measures one row for about `budget`.
///
/// # Errors
/// [`BenchError`] where the runtime fails or the model does not serve the mode.
pub fn row(
    subject: &Subject,
    runtimes: &Runtimes,
    mode: Mode,
    symbols: usize,
    budget: Duration,
) -> Result<BurstRow, BenchError> {
    let bundle = subject.bundle(mode)?;
    let config = config(mode, symbols).map_err(|error| BenchError::Machine(error.to_string()))?;
    let mut feed = Feed::new(bundle, symbols, 1);
    let mut driven = Driven::build(bundle, runtimes, &config)?;
    driven.warm(bundle, &mut feed)?;
    let (mut first, mut last, mut whole) = (Vec::new(), Vec::new(), Duration::ZERO);
    let total = Stopwatch::start();
    while last.is_empty() || total.elapsed() < budget {
        let (mut first_at, mut last_at) = (None, Duration::ZERO);
        let watch = Stopwatch::start();
        let forecasts = driven.run(feed.records(), |count| {
            if count > 0 {
                last_at = watch.elapsed();
                first_at.get_or_insert(last_at);
            }
        })?;
        whole += watch.elapsed();
        expect_forecasts(forecasts, symbols)?;
        first.push(first_at.unwrap_or_default());
        last.push(last_at);
        feed.renew();
    }
    let bursts_per_second = last.len() as f64 / whole.as_secs_f64();
    Ok(BurstRow {
        model: subject.name().to_owned(),
        mode,
        symbols,
        first: Quantiles::of(first),
        last: Quantiles::of(last),
        bursts_per_second,
        forecasts_per_second: bursts_per_second * symbols as f64,
    })
}
