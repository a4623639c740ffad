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
use crate::core::forecast::Output;

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

/// Windows with their history and their expected outputs: each W consecutive rows are a window, or,
/// in mode `carried`, the rows are one run from zero state with the outputs that a daemon which
/// begins there publishes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenCase {
    /// Whose rows these are, where the model tells symbols apart; absent for an unknown symbol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// Raw steps, oldest first: the features' warm-up and then one for each row.
    pub steps: Vec<GoldenStep>,
    /// The rows that the steps make, as the model reads them: the scaled features, and the columns
    /// of the symbol where it has any; W or more.
    pub window: Vec<Vec<f32>>,
    /// The model's values, in model units: one after each row from the W-th on, `n - W + 1`.
    pub output: Vec<f32>,
    /// The lower ends of the model's own interval, as many; empty where it gives none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output_lower: Vec<f32>,
    /// Likewise the upper ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output_upper: Vec<f32>,
    /// All columns `[K]` at the same rows; empty for a model that lists no outputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Vec<f32>>,
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

impl Golden {
    /// The largest absolute output of all cases; 1 where they are smaller.
    pub fn size(&self) -> f32 {
        let outputs = self
            .cases
            .iter()
            .flat_map(|case| {
                let columns = [&case.output, &case.output_lower, &case.output_upper];
                columns.into_iter().chain(&case.outputs)
            })
            .flatten();
        outputs.filter(|output| output.is_finite()).fold(1.0, |size, output| size.max(output.abs()))
    }
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
        let entry = features.entry(self.symbol.as_deref().unwrap_or_default());
        let names = || names.iter().chain(features.symbol_column_names());
        let mut state = features.raw().initial_state();
        let mut scratch = features.raw().scratch();
        let mut rows = Vec::with_capacity(self.window.len());
        for (index, step) in self.steps.iter().enumerate() {
            let at = |reason: String| format!("steps[{index}]: {reason}");
            let step = step.step(features.raw().schema()).map_err(at)?;
            let status = features
                .row_of(entry, &state, &step, &mut scratch)
                .map_err(|reason| at(reason.label().to_owned()))?;
            state.absorb(&scratch);
            if matches!(status, RowStatus::Ready { .. }) {
                rows.push(features.input_row(entry, scratch.row()));
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
            for ((made, stated), name) in made.iter().zip(stated).zip(names()) {
                if made.to_bits() != stated.to_bits() {
                    return Err(format!("window[{index}] `{name}`: {stated}, steps make {made}"));
                }
            }
        }
        Ok(())
    }

    /// What is expected of the first windows alone.
    pub(super) fn first(&self, windows_max: usize) -> Self {
        let first = |values: &[f32]| values[..values.len().min(windows_max)].to_vec();
        Self {
            output: first(&self.output),
            output_lower: first(&self.output_lower),
            output_upper: first(&self.output_upper),
            outputs: self.outputs.iter().take(windows_max).cloned().collect(),
            ..Self::default()
        }
    }

    /// Compares an output with the expected one.
    ///
    /// # Errors
    /// Says which output differs and by how much.
    pub fn check_output(&self, output: &[f32], tolerance: f32) -> Result<(), String> {
        check_column("output", output, &self.output, tolerance)
    }

    /// Compares values and ends with the expected ones.
    ///
    /// # Errors
    /// As [`GoldenCase::check_output`].
    pub fn check_outputs(&self, outputs: &[Output], tolerance: f32) -> Result<(), String> {
        let values: Vec<_> = outputs.iter().map(|output| output.value).collect();
        self.check_output(&values, tolerance)?;
        let ends = [("output_lower", &self.output_lower), ("output_upper", &self.output_upper)];
        for (at, (field, stated)) in ends.into_iter().enumerate() {
            let made: Vec<_> = outputs.iter().filter_map(|output| Some(output.ends?[at])).collect();
            check_column(field, &made, stated, tolerance)?;
        }
        Ok(())
    }

    /// Compares all columns of a model that lists its outputs, row by row.
    ///
    /// # Errors
    /// As [`GoldenCase::check_output`].
    pub fn check_columns(&self, rows: &[Vec<f32>], tolerance: f32) -> Result<(), String> {
        for (index, (made, stated)) in rows.iter().zip(&self.outputs).enumerate() {
            check_column(&format!("outputs[{index}]"), made, stated, tolerance)?;
        }
        Ok(())
    }
}

fn check_column(
    field: &str,
    output: &[f32],
    expected: &[f32],
    tolerance: f32,
) -> Result<(), String> {
    if output.len() != expected.len() {
        let (made, stated) = (output.len(), expected.len());
        return Err(format!("the model gives {made} outputs, {field} has {stated}"));
    }
    for (index, (made, stated)) in output.iter().zip(expected).enumerate() {
        // Written so that a NaN on either side fails.
        let close = (made - stated).abs() <= tolerance;
        if !close {
            return Err(format!("{field}[{index}]: the model gives {made}, expected {stated}"));
        }
    }
    Ok(())
}
