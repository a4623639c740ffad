//! How good forecasts are: what the trainer and the sealer judge by.
//!
//! Owns windows with what came true, the simple forecasts that a model has to beat, the measures,
//! and the figures that a manifest carries. Promises that the trainer and the sealer judge by the
//! same code, so that their figures mean the same. Fits the baselines; never fits another model and
//! never runs one.

pub mod baseline;
pub mod evaluate;
pub mod statistics;
pub mod symbols;
pub mod windows;

mod example;
mod runs;

pub use self::example::{Example, ExampleList, ExampleWriter};
