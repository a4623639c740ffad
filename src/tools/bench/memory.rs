//! The resident set per symbol.
//!
//! Owns what is in the difference: all that a pipeline keeps for a symbol. Promises that the ticks
//! themselves are not counted. Never to be run twice in a process: freed memory would be taken
//! again and not be seen.

use serde::{Deserialize, Serialize};

use super::machine::resident_bytes;
use super::models::Subject;
use super::parts::{Feed, config};
use super::pipeline::Driven;
use super::{BenchError, Runtimes};
use crate::engine::model::manifest::Mode;

/// One row of the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryRow {
    /// The model's name.
    pub model: String,
    /// How the model is driven.
    pub mode: Mode,
    /// How many symbols were filled.
    pub symbols: usize,
    /// Growth of the resident set for each symbol.
    pub resident_bytes_per_symbol: f64,
    /// The recurrent states of a symbol alone.
    pub state_bytes_per_symbol: usize,
    /// The rows of its window alone.
    pub window_bytes_per_symbol: usize,
}

/// Fills a pipeline with symbols until every window is full.
///
/// # Errors
/// [`BenchError`] where the runtime fails or the system does not tell the resident set.
pub fn row(
    subject: &Subject,
    runtimes: &Runtimes,
    mode: Mode,
    symbols: usize,
) -> Result<MemoryRow, BenchError> {
    let bundle = subject.bundle(mode)?;
    let config = config(mode, symbols).map_err(|error| BenchError::Machine(error.to_string()))?;
    let mut feed = Feed::new(bundle, symbols, 1);
    let mut driven = Driven::build(bundle, runtimes, &config)?;
    let before = resident_bytes()?;
    // The states of a window take memory when it begins, so all of them must have.
    driven.warm(bundle, &mut feed)?;
    let after = resident_bytes()?;
    let plans = bundle.plans();
    let numbers: usize = bundle.signature().states.iter().map(|state| state.width).sum();
    let states = match mode {
        Mode::Full => 0,
        Mode::Sliding => plans.window_steps - 1,
        Mode::Carried => 1,
    };
    Ok(MemoryRow {
        model: subject.name().to_owned(),
        mode,
        symbols,
        resident_bytes_per_symbol: after.saturating_sub(before) as f64 / symbols as f64,
        state_bytes_per_symbol: states * numbers * size_of::<f32>(),
        window_bytes_per_symbol: plans.window_steps * plans.features.width() * size_of::<f32>(),
    })
}
