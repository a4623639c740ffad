//! Several models of one stream beside one: the rate, and the memory of each model and symbol.
//!
//! Owns the sets of models that are compared. Promises that the sets alternate in blocks, so that a
//! noisy machine disturbs all of them, and that all of them stay in memory, so that none takes what
//! another has freed. Never to be run twice in a process, for the same reason.

use std::time::Duration;

use serde::Serialize;

use super::machine::resident_bytes;
use super::models::Subject;
use super::parts::{Feed, config};
use super::pipeline::Driven;
use super::{BenchError, Quantiles, Runtimes, expect_forecasts};
use crate::engine::model::manifest::Mode;
use crate::engine::pipeline::Role;
use crate::ops::clock::{ProcessorWatch, Stopwatch};

/// What is compared; the first is what the others are held against.
const SETS: [&[Role]; 4] = [
    &[Role::Live],
    &[Role::Live, Role::Live],
    &[Role::Live, Role::Live, Role::Live],
    &[Role::Live, Role::Shadow],
];

/// Records of one block before the next set has its turn; a round of all symbols where that is
/// more.
const BLOCK_RECORDS: usize = 2048;

/// One row of the result: a set of models, all of the same shape.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeveralRow {
    /// The name of the model.
    pub model: String,
    /// How the models are driven.
    pub mode: Mode,
    /// How many symbols tick in turn; every model wants all of them.
    pub symbols: usize,
    /// Live models.
    pub live: usize,
    /// Shadows.
    pub shadows: usize,
    /// JSON in to the JSON of all models out, on one core, by the median over blocks.
    pub records_per_second: f64,
    /// The same in forecasts.
    pub forecasts_per_second: f64,
    /// The rate of records beside that of one model.
    pub ratio: f64,
    /// Growth of the resident set for each model before its first symbol.
    pub resident_bytes_per_model: f64,
    /// Growth of the resident set for each symbol, of all models together.
    pub resident_bytes_per_symbol: f64,
}

/// A set of models that is ready.
struct Set {
    roles: &'static [Role],
    driven: Driven,
    feed: Feed,
    model_bytes: u64,
    symbol_bytes: u64,
    times: Vec<Duration>,
}

/// Measures every set for about `budget` together.
///
/// # Errors
/// [`BenchError`] where the runtime fails or the system does not tell the resident set.
pub fn rows(
    subject: &Subject,
    runtimes: &Runtimes,
    mode: Mode,
    symbols: usize,
    budget: Duration,
) -> Result<Vec<SeveralRow>, BenchError> {
    // What only the first model of a process takes is part of none.
    let _first = Set::prepare(subject, runtimes, mode, 1, SETS[0])?;
    let sets = SETS.iter().map(|roles| Set::prepare(subject, runtimes, mode, symbols, roles));
    let mut sets = sets.collect::<Result<Vec<_>, _>>()?;
    let total = Stopwatch::start();
    let mut is_measured = false;
    while !is_measured || total.elapsed() < budget {
        sets.iter_mut().try_for_each(Set::block)?;
        is_measured = true;
    }
    let count = sets.first().map_or(1, |set| set.feed.records().len());
    let rates = sets.iter_mut().map(|set| {
        let times = std::mem::take(&mut set.times);
        Quantiles::of(times).per_second(count)
    });
    let rates: Vec<_> = rates.collect();
    let row = |(set, rate): (&Set, &f64)| {
        let models = set.roles.len();
        let shadows = set.roles.iter().filter(|role| **role == Role::Shadow).count();
        SeveralRow {
            model: subject.name().to_owned(),
            mode,
            symbols,
            live: models - shadows,
            shadows,
            records_per_second: *rate,
            forecasts_per_second: rate * models as f64,
            ratio: rate / rates[0],
            resident_bytes_per_model: set.model_bytes as f64 / models as f64,
            resident_bytes_per_symbol: set.symbol_bytes as f64 / symbols as f64,
        }
    };
    Ok(sets.iter().zip(&rates).map(row).collect())
}

impl Set {
    /// Models with full windows of every symbol.
    fn prepare(
        subject: &Subject,
        runtimes: &Runtimes,
        mode: Mode,
        symbols: usize,
        roles: &'static [Role],
    ) -> Result<Self, BenchError> {
        let bundle = subject.bundle(mode)?;
        let config = config(mode, symbols);
        let config = config.map_err(|error| BenchError::Machine(error.to_string()))?;
        let mut feed = Feed::new(bundle, symbols, BLOCK_RECORDS);
        let before = resident_bytes()?;
        let mut driven = Driven::of(bundle, runtimes, &config, roles)?;
        let built = resident_bytes()?;
        driven.warm(bundle, &mut feed)?;
        let warm = resident_bytes()?;
        let (model_bytes, symbol_bytes) =
            (built.saturating_sub(before), warm.saturating_sub(built));
        Ok(Self { roles, driven, feed, model_bytes, symbol_bytes, times: Vec::new() })
    }

    /// Takes one block.
    fn block(&mut self) -> Result<(), BenchError> {
        let watch = ProcessorWatch::start();
        let forecasts = self.driven.run(self.feed.records(), |_| ())?;
        self.times.push(watch.elapsed());
        expect_forecasts(forecasts, self.feed.records().len() * self.roles.len())?;
        self.feed.renew();
        Ok(())
    }
}
