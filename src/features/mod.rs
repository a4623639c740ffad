//! From steps to feature rows: the one implementation that trainer, replay and daemon share.
//!
//! Owns the features by name, their incremental state and the scaler. Promises causality (a row
//! depends on this step and earlier ones only), O(1) work per step, and that a row it hands out is
//! finite in `f32`. Never absorbs a step whose row it refuses, and never clamps: a value outside
//! the training range is flagged, not changed.

mod plan;
mod scaler;

pub use plan::{FeatureError, FeaturePlan, FeatureState, RawFeatures, RowScratch, RowStatus};
pub use scaler::{ColumnMoments, ColumnRange, Scaler, ScalerError, SingleScaler};
