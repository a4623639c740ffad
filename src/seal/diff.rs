//! What differs between two sealed bundles.
//!
//! Owns the comparison of manifests part by part, and of the outputs for the same windows. Promises
//! that outputs are compared in the target's unit, each bundle with its own features and scaler.
//! Never says which of the two is better: their figures do.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::run::{run_carried, run_windows};
use crate::core::domain::UnixNanos;
use crate::core::features::RowStatus;
use crate::engine::inference::Runtime;
use crate::engine::model::Bundle;
use crate::engine::model::golden::GoldenCase;
use crate::engine::model::manifest::{Mode, Rows};

/// Two bundles beside each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Name and version of the first.
    pub a: String,
    /// Name and version of the second.
    pub b: String,
    /// What the manifests say differently, by field.
    pub fields: Vec<FieldDifference>,
    /// How far apart the outputs are.
    pub outputs: Outputs,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldDifference {
    /// The field of the manifest.
    pub field: String,
    /// What the first says; null where it has none.
    pub a: Value,
    /// What the second says.
    pub b: Value,
}

/// How far apart the outputs of two bundles are.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outputs {
    /// They forecast different things, or share no window.
    NotComparable {
        /// Why.
        because: String,
    },
    /// They were run on the same windows.
    Compared {
        /// How many windows.
        windows: usize,
        /// The largest absolute difference, in the target's unit.
        largest_difference: f64,
        /// The mean of the absolute differences.
        mean_difference: f64,
        /// Whether every output has the same bits.
        equal_bits: bool,
    },
}

/// What is not compared: it follows from other fields, or names the bundle itself.
const PASSED_OVER: [&str; 4] = ["schema", "name", "version", "golden_sha256"];

/// Sections whose fields are listed one by one.
const OPENED: [&str; 8] =
    ["graph", "origin", "target", "interval", "signal", "exactness", "baselines", "distribution"];

/// Compares two bundles.
///
/// # Errors
/// Where one of them does not run.
pub fn difference(a: &Bundle, b: &Bundle, runtime: &dyn Runtime) -> Result<Difference, String> {
    let named = |bundle: &Bundle| {
        let manifest = bundle.manifest();
        format!("{} {}", manifest.name, manifest.version)
    };
    Ok(Difference {
        a: named(a),
        b: named(b),
        fields: fields(a, b)?,
        outputs: outputs(a, b, runtime)?,
    })
}

fn fields(a: &Bundle, b: &Bundle) -> Result<Vec<FieldDifference>, String> {
    let json = |bundle: &Bundle| {
        serde_json::to_value(bundle.manifest()).map_err(|error| format!("manifest: {error}"))
    };
    let (a, b) = (json(a)?, json(b)?);
    let mut differences = Vec::new();
    compare("", &a, &b, &mut differences);
    Ok(differences)
}

/// Notes the keys of two objects whose values differ.
fn compare(prefix: &str, a: &Value, b: &Value, differences: &mut Vec<FieldDifference>) {
    let empty = serde_json::Map::new();
    let (a, b) = (a.as_object().unwrap_or(&empty), b.as_object().unwrap_or(&empty));
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for key in keys {
        let field = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        if prefix.is_empty() && PASSED_OVER.contains(&key.as_str()) {
            continue;
        }
        let (one, other) = (
            a.get(key).cloned().unwrap_or(Value::Null),
            b.get(key).cloned().unwrap_or(Value::Null),
        );
        if one == other {
            continue;
        }
        if OPENED.contains(&key.as_str()) && one.is_object() && other.is_object() {
            compare(&field, &one, &other, differences);
        } else {
            differences.push(FieldDifference { field, a: one, b: other });
        }
    }
}

/// The value of a bundle for every full window of the steps of a case, by the time of its newest
/// one.
fn values(
    bundle: &Bundle,
    case: &GoldenCase,
    runtime: &dyn Runtime,
) -> Result<BTreeMap<UnixNanos, f64>, String> {
    let (plans, manifest) = (bundle.plans(), bundle.manifest());
    let features = &plans.features;
    let (mut state, mut scratch) = (features.raw().initial_state(), features.raw().scratch());
    let (mut times, mut rows) = (Vec::new(), Vec::new());
    let entry = features.entry(case.symbol.as_deref().unwrap_or_default());
    for step in &case.steps {
        let step = step.step(features.raw().schema())?;
        let row = features.row_of(entry, &state, &step, &mut scratch);
        let status = row.map_err(|reason| format!("at {}: {}", step.time, reason.label()))?;
        state.absorb(&scratch);
        if let RowStatus::Ready { .. } = status {
            times.push(step.time);
            rows.push(features.input_row(entry, scratch.row()));
        }
    }
    let steps = plans.window_steps;
    let mut backend = bundle.open(runtime).map_err(|error| error.to_string())?;
    let signature = bundle.signature();
    let outputs = if manifest.modes == [Mode::Carried] {
        let all = run_carried(&mut *backend, signature, &rows);
        all.map(|all| all.into_iter().skip(steps - 1).collect())
    } else {
        let windows: Vec<Vec<f32>> = rows.windows(steps).map(<[Vec<f32>]>::concat).collect();
        let windows: Vec<&[f32]> = windows.iter().map(Vec::as_slice).collect();
        run_windows(&mut *backend, signature, Rows::Alone, &windows)
    };
    let outputs: Vec<Vec<f32>> = outputs.map_err(|error| error.to_string())?;
    let scaler = manifest.target.scaler.single().map_err(|error| error.to_string())?;
    let column = manifest.graph.columns.as_ref().map_or(0, |columns| columns.value as usize);
    let value = |output: &Vec<f32>| scaler.invert(f64::from(output[column]));
    Ok(times.into_iter().skip(steps - 1).zip(outputs.iter().map(value)).collect())
}

fn outputs(a: &Bundle, b: &Bundle, runtime: &dyn Runtime) -> Result<Outputs, String> {
    let not = |because: String| Ok(Outputs::NotComparable { because });
    let (one, other) = (&a.manifest().target.kind, &b.manifest().target.kind);
    let horizons = (a.manifest().horizon_steps, b.manifest().horizon_steps);
    if one != other || horizons.0 != horizons.1 {
        return not("they forecast different things".to_owned());
    }
    if !a.manifest().step.makes_the_steps_of(&b.manifest().step) {
        return not("their steps are different".to_owned());
    }
    let (mut count, mut sum, mut largest, mut equal_bits) = (0_usize, 0.0, 0.0_f64, true);
    let mut refusal = None;
    for case in a.golden().cases.iter().chain(&b.golden().cases) {
        let (of_a, of_b) = (values(a, case, runtime), values(b, case, runtime));
        let (of_a, of_b) = match (of_a, of_b) {
            (Ok(of_a), Ok(of_b)) => (of_a, of_b),
            (Err(error), _) | (_, Err(error)) => {
                refusal = Some(error);
                continue;
            }
        };
        for (time, value) in &of_a {
            let Some(other) = of_b.get(time) else { continue };
            let difference = (value - other).abs();
            (count, sum) = (count + 1, sum + difference);
            largest = largest.max(difference);
            equal_bits &= value.to_bits() == other.to_bits();
        }
    }
    if count == 0 {
        let because = refusal.unwrap_or_else(|| "no window is full for both".to_owned());
        return not(because);
    }
    let mean_difference = sum / count as f64;
    Ok(Outputs::Compared {
        windows: count,
        largest_difference: largest,
        mean_difference,
        equal_bits,
    })
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(formatter, "a: {}\nb: {}", self.a, self.b)?;
        if self.fields.is_empty() {
            writeln!(formatter, "the manifests say the same")?;
        }
        for FieldDifference { field, a, b } in &self.fields {
            writeln!(formatter, "  {field}\n    a  {}\n    b  {}", shown(a), shown(b))?;
        }
        match &self.outputs {
            Outputs::NotComparable { because } => {
                writeln!(formatter, "outputs are not compared: {because}")
            }
            Outputs::Compared { windows, equal_bits: true, .. } => {
                writeln!(formatter, "outputs: the same bits on {windows} windows")
            }
            Outputs::Compared { windows, largest_difference, mean_difference, .. } => writeln!(
                formatter,
                "outputs on {windows} windows: {largest_difference:.1e} apart at most, \
                 {mean_difference:.1e} on average, in the target's unit"
            ),
        }
    }
}

/// A value on one line.
fn shown(value: &Value) -> String {
    const CHARS_MAX: usize = 300;
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => crate::core::text::excerpt(text, CHARS_MAX),
        other => crate::core::text::excerpt(&other.to_string(), CHARS_MAX),
    }
}
