//! Golden vectors: raw steps, the rows they make, and what the model said about them when it was
//! sealed.
//!
//! Owns the on-disk shape of `golden.json`. Promises that rows are compared bit for bit and
//! outputs within the stated tolerance (another processor may round the last bits otherwise).
//! Never runs a model: the bundle's verification does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bundle::quoted;
use crate::core::domain::{Fields, Schema, Step, UnixNanos};
use crate::core::features::{FeaturePlan, RowStatus};

/// The value of `schema` that this version reads and writes.
pub const GOLDEN_SCHEMA: &str = "tickcast.golden.v1";

/// `golden.json` as it stands on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Always [`GOLDEN_SCHEMA`].
    pub schema: String,
    /// The largest absolute difference of an output, in model units, that passes.
    pub tolerance: f32,
    /// The cases; at least one.
    pub cases: Vec<GoldenCase>,
}

/// One window with its history and its expected output, or, in mode `carried`, a run of rows from
/// zero state with the outputs that a daemon which begins there publishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenCase {
    /// Raw steps, oldest first: the features' warm-up and then one for each row.
    pub steps: Vec<GoldenStep>,
    /// The scaled rows `[n][F]` that the steps make, in model units: W, or in mode `carried` W or
    /// more.
    pub window: Vec<Vec<f32>>,
    /// The model's outputs, in model units: the one for the window, or in mode `carried` those
    /// after each row from the W-th on, `n - W + 1`.
    pub output: Vec<f32>,
}

/// One raw step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenStep {
    /// Event time.
    pub time: UnixNanos,
    /// The fields by name, each in its own unit.
    pub fields: BTreeMap<String, f64>,
}

impl GoldenStep {
    /// The step as the features take it, its fields those of `schema`.
    ///
    /// # Errors
    /// Names a field that the schema does not know or whose value is out of range.
    pub fn step(&self, schema: &Schema) -> Result<Step, String> {
        let mut fields = Fields::EMPTY;
        for (name, value) in &self.fields {
            let unknown = || format!("unknown field `{}`", quoted(name));
            let field = schema.field(name).ok_or_else(unknown)?;
            fields
                .set_checked(field, *value)
                .map_err(|reason| format!("field `{name}` = {value}: {}", reason.label()))?;
        }
        Ok(Step { time: self.time, fields, after_gap: false, patched: false })
    }
}

impl GoldenCase {
    /// Runs the raw steps through the features and compares the rows bit for bit.
    ///
    /// # Errors
    /// Says which row and feature differ, or why the steps make no window.
    pub fn check_rows(&self, features: &FeaturePlan, names: &[String]) -> Result<(), String> {
        let mut state = features.raw().initial_state();
        let mut scratch = features.raw().scratch();
        let mut rows = Vec::with_capacity(self.window.len());
        for (index, step) in self.steps.iter().enumerate() {
            let at = |reason: String| format!("steps[{index}]: {reason}");
            let step = step.step(features.raw().schema()).map_err(at)?;
            let status = features
                .row(&state, &step, &mut scratch)
                .map_err(|reason| at(reason.label().to_owned()))?;
            state.absorb(&scratch);
            if matches!(status, RowStatus::Ready { .. }) {
                rows.push(scratch.row().to_vec());
            }
        }
        if rows.len() != self.window.len() {
            let (made, stated) = (rows.len(), self.window.len());
            return Err(format!("steps make {made} rows, window has {stated}"));
        }
        for (index, (made, stated)) in rows.iter().zip(&self.window).enumerate() {
            if made.len() != stated.len() {
                return Err(format!("window[{index}] has {} features", stated.len()));
            }
            for ((made, stated), name) in made.iter().zip(stated).zip(names) {
                if made.to_bits() != stated.to_bits() {
                    return Err(format!("window[{index}] `{name}`: {stated}, steps make {made}"));
                }
            }
        }
        Ok(())
    }

    /// Compares an output with the expected one.
    ///
    /// # Errors
    /// Says which output differs and by how much.
    pub fn check_output(&self, output: &[f32], tolerance: f32) -> Result<(), String> {
        if output.len() != self.output.len() {
            let (made, stated) = (output.len(), self.output.len());
            return Err(format!("the model gives {made} outputs, the case has {stated}"));
        }
        for (index, (made, stated)) in output.iter().zip(&self.output).enumerate() {
            // Written so that a NaN on either side fails.
            let close = (made - stated).abs() <= tolerance;
            if !close {
                return Err(format!("output[{index}]: the model gives {made}, expected {stated}"));
            }
        }
        Ok(())
    }
}
