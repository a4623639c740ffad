//! The symbols of a training run: what the network reads of each, and what the bundle says of them.
//!
//! Owns the way from a history and a table of static numbers to the columns behind the features of
//! every row, and from fitted parameters to the table of the bundle.
//!
//! Promises: a symbol without a window of the training part has no row of its own in the learned
//! table, here and in the bundle. The static numbers are scaled by the symbols of the training part
//! alone. The columns in the bundle have the bits that the network read.
//!
//! Never: touches the features of a row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;

use super::config::{ScalerPer, TrainConfig};
use super::history::History;
use super::network::{ArchitectureError, Network};
use crate::core::features::{Scaler, ScalerError, SymbolTable, mean_columns};
use crate::seal::judge::symbols::SymbolInputs;
use crate::seal::judge::{Example, ExampleList};

/// Why nothing is known of the symbols.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SymbolsError {
    /// A symbol of the history that the table of static numbers does not have.
    #[error("window.statics: has no line for symbol `{0}` of the history")]
    NoStatics(String),
    /// Static numbers that cannot be scaled.
    #[error("window.statics: {0}")]
    Scaler(#[from] ScalerError),
}

/// What the network reads of the symbol of each series; `None` where it tells none apart.
/// `training` are the examples of the training part.
///
/// # Errors
/// [`SymbolsError::NoStatics`] for a symbol without static numbers.
pub(super) fn inputs(
    history: &History,
    training: &ExampleList,
    config: &TrainConfig,
) -> Result<Option<Arc<SymbolInputs>>, SymbolsError> {
    let one_scaler = config.scaler_per == ScalerPer::Model;
    if config.statics.is_none() && config.embedding == 0 && one_scaler {
        return Ok(None);
    }
    let symbol = |example: Example| history.series[example.series].symbol.as_str();
    let trained: BTreeSet<&str> = training.iter().map(symbol).collect();
    let trained: Vec<String> = trained.into_iter().map(str::to_owned).collect();
    let scaled = scaled_statics(config, &trained)?;
    let width = config.statics.as_ref().map_or(0, |statics| statics.names.len());
    let statics = |symbol: &String| match (&config.statics, scaled.get(symbol)) {
        (None, _) => Ok(Vec::new()),
        (Some(_), Some(numbers)) => Ok(numbers.clone()),
        (Some(_), None) => Err(SymbolsError::NoStatics(symbol.clone())),
    };
    let of_series = |symbol: &String| {
        let row = trained.binary_search(symbol).ok().and_then(|row| u32::try_from(row).ok());
        Ok((row, statics(symbol)?))
    };
    let series: Result<Vec<_>, SymbolsError> =
        history.series.iter().map(|series| of_series(&series.symbol)).collect();
    let rows: Vec<_> = trained.iter().map(statics).collect::<Result<_, _>>()?;
    let unknown = mean_columns(rows.iter().map(Vec::as_slice), width);
    Ok(Some(Arc::new(SymbolInputs::new(trained, series?, unknown, config.embedding))))
}

/// The network of a configuration, with a learned table of `symbols` where it has one.
///
/// # Errors
/// [`ArchitectureError`] where no network has the shape.
pub(super) fn plan(
    config: &TrainConfig,
    symbols: Option<&SymbolInputs>,
) -> Result<Network, ArchitectureError> {
    let network = Network::new(config.architecture.clone())?;
    Ok(match symbols {
        Some(symbols) if config.embedding > 0 => {
            network.with_embedding(symbols.trained().len(), config.embedding)
        }
        _ => network,
    })
}

/// A table of nothing but scalers, for the features of a history.
pub(super) fn scalers_alone(scalers: &BTreeMap<String, Scaler>) -> SymbolTable {
    let symbols = scalers.keys().map(|symbol| (symbol.clone(), Vec::new())).collect();
    SymbolTable::new(Vec::new(), 0, symbols, Vec::new()).with_scalers(scalers.clone())
}

/// The table of a bundle whose network has these parameters and whose symbols these scalers.
///
/// # Errors
/// [`SymbolsError`] where the static numbers cannot be scaled.
pub(super) fn table(
    config: &TrainConfig,
    symbols: &SymbolInputs,
    scalers: &BTreeMap<String, Scaler>,
    (network, parameters): (&Network, &[f32]),
) -> Result<SymbolTable, SymbolsError> {
    let trained = symbols.trained();
    let scaled = scaled_statics(config, trained)?;
    let (names, units) = match &config.statics {
        Some(statics) => (statics.names.clone(), config.embedding),
        None => (Vec::new(), config.embedding),
    };
    let learned = network.embedding().map_or(&[][..], |table| table.of(parameters));
    // A width of zero cuts nothing.
    let learned: Vec<&[f32]> = learned.chunks_exact(units.max(1)).collect();
    let mean = mean_columns(learned.iter().copied(), units);
    let columns = |symbol: &String| {
        let statics = scaled.get(symbol).map_or(&[][..], Vec::as_slice);
        let row = trained.binary_search(symbol).ok();
        let learned = row.and_then(|row| learned.get(row).copied()).unwrap_or(&mean);
        (symbol.clone(), [statics, learned].concat())
    };
    let all = trained.iter().chain(scaled.keys()).chain(scalers.keys());
    let all: BTreeMap<_, _> = all.map(columns).collect();
    let of_trained = trained.iter().map(|symbol| all[symbol].as_slice());
    let unknown = mean_columns(of_trained, names.len() + units);
    let embedding = u32::try_from(units).unwrap_or(u32::MAX);
    Ok(SymbolTable::new(names, embedding, all, unknown).with_scalers(scalers.clone()))
}

/// The static numbers of every symbol in model units.
fn scaled_statics(
    config: &TrainConfig,
    trained: &[String],
) -> Result<BTreeMap<String, Vec<f32>>, SymbolsError> {
    let Some(statics) = &config.statics else { return Ok(BTreeMap::new()) };
    if let Some(symbol) = trained.iter().find(|symbol| !statics.symbols.contains_key(*symbol)) {
        return Err(SymbolsError::NoStatics(symbol.clone()));
    }
    Ok(statics.scaled(trained)?)
}
