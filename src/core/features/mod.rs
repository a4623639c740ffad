//! From steps to feature rows: the one implementation that trainer, replay and daemon share.
//!
//! Owns the features by name, their incremental state and the scaler. Promises causality (a row
//! depends on this step and earlier ones only), that the work per step is the same however long
//! the history, that equal steps give equal bits on every machine (logarithms and sines come from
//! `libm`, not from the system), and that a row it hands out is finite in `f32`. Never absorbs a
//! step whose row it refuses, and never clamps: a value outside the training range is flagged, not
//! changed.
//!
//! `docs/features.md` lists every feature with its formula, unit, warm-up and state.

mod error;
mod kinds;
mod names;
mod plan;
mod scaler;
mod state;
mod symbols;

#[cfg(test)]
mod tests;

pub use error::FeatureError;
pub use plan::{FeaturePlan, RawFeatures, RowStatus};
pub use scaler::{
    ColumnLine, ColumnMoments, ColumnQuantiles, ColumnRange, Precision, Scaler, ScalerError,
    ScalerKind, Scikit, SingleScaler,
};
pub use state::{FeatureState, RowScratch};
pub use symbols::{
    SYMBOL_COLUMNS_MAX, SYMBOLS_MAX, SYMBOLS_SCHEMA, SymbolEntry, SymbolTable, mean_columns,
};
