//! From a proven graph to what is sealed: manifest and golden vectors.
//!
//! Owns what the manifest says of a foreign model. Promises that nothing in it is invented: what
//! the configuration, the data or a run did not give is `unknown`. Never writes a file.

use super::assess::Assessment;
use super::config::{PartConfig, SealConfig};
use super::data::Material;
use super::expect::Comparison;
use super::graph::{Foreign, Rewritten};
use super::run::{run_carried, run_windows};
use crate::core::features::Scaler;
use crate::core::text::excerpt;
use crate::engine::inference::Runtime;
use crate::engine::model::golden::{GOLDEN_SCHEMA, Golden, GoldenCase};
use crate::engine::model::manifest::{
    ColumnsSpec, Compared, Exactness, GraphSpec, Known, MANIFEST_SCHEMA, Manifest, Mode, Origin,
    Rows, TargetSpec,
};
use crate::engine::model::{Draft, GOLDEN_ROWS_MAX};

/// Windows of the golden case.
const GOLDEN_WINDOWS: usize = 256;

/// The most numbers in the rows of the golden case, which bounds its file.
const GOLDEN_NUMBERS_MAX: usize = 200_000;

/// How far another processor may be, relative to outputs of the size 1.
const GOLDEN_TOLERANCE: f32 = 1e-5;

/// The characters of a text out of the graph that the manifest holds.
const TEXT_CHARS_MAX: usize = 400;

/// What a draft is made of.
pub(super) struct Parts<'d> {
    pub(super) config: &'d SealConfig,
    pub(super) part: PartConfig,
    pub(super) version: &'d str,
    pub(super) material: &'d Material,
    pub(super) target_scaler: Scaler,
    pub(super) foreign: &'d Foreign,
    pub(super) rewritten: &'d Rewritten,
    pub(super) modes: &'d [Mode],
    pub(super) rewrites: Vec<String>,
    pub(super) exactness: Exactness,
    /// The hash of the predictions, how far the model is from them, and the tolerance.
    pub(super) compared: Option<(String, Comparison, f64)>,
    pub(super) assessment: Assessment,
}

/// What is sealed of one horizon.
///
/// # Errors
/// Where the golden rows cannot be made or run.
pub(super) fn draft(parts: &Parts<'_>, runtime: &dyn Runtime) -> Result<Draft, Vec<String>> {
    let graph = graph_spec(parts.rewritten, parts.config, parts.part);
    let golden = golden(parts, &graph, runtime)?;
    let Parts { config, part, version, material, target_scaler, foreign, .. } = parts;
    let facts = &foreign.facts;
    let compared = parts.compared.as_ref().map(|(sha256, comparison, tolerance)| Compared {
        predictions_sha256: sha256.clone(),
        count: u32_of(comparison.count),
        largest_difference: comparison.largest_difference,
        tolerance: *tolerance,
    });
    let manifest = Manifest {
        schema: MANIFEST_SCHEMA.to_owned(),
        name: config.name_of(*part),
        version: (*version).to_owned(),
        // Sealing fills the hashes in.
        onnx_sha256: String::new(),
        golden_sha256: String::new(),
        window_steps: u32_of(config.window_steps),
        horizon_steps: u32_of(part.horizon_steps),
        step: material.step.clone(),
        features: config.features.clone(),
        extra_fields: config.extra_fields.clone(),
        scaler: material.scaler.clone(),
        symbols: None,
        target: TargetSpec { kind: config.target.clone(), scaler: target_scaler.clone() },
        modes: parts.modes.to_vec(),
        graph,
        signal: config.signal,
        interval: parts.assessment.interval,
        outputs: Vec::new(),
        exactness: Some(parts.exactness),
        origin: Some(Origin {
            onnx_sha256: foreign.sha256.clone(),
            producer: text_of(&facts.producer),
            opset: facts.opset,
            rewrites: parts.rewrites.iter().map(|text| text_of(text)).collect(),
            compared,
            trained_until: config.trained_until.map_or(Known::Unknown, Known::Is),
        }),
        training: Known::Unknown,
        baselines: parts.assessment.baselines.clone(),
        distribution: config.trained_until.and_then(|until| material.distribution(until)),
        evaluation: parts.assessment.evaluation.clone(),
        repeats: Vec::new(),
        verdict: parts.assessment.verdict.clone(),
    };
    Ok(Draft { manifest, onnx: parts.rewritten.onnx.clone(), golden, symbols: None })
}

/// A text out of a graph as the manifest takes it: short, printable, and not empty.
fn text_of(text: &str) -> String {
    let text = excerpt(text, TEXT_CHARS_MAX);
    if text.is_empty() { "unknown".to_owned() } else { text }
}

/// How a rewritten graph is driven, with the columns of one horizon.
pub(super) fn graph_spec(
    rewritten: &Rewritten,
    config: &SealConfig,
    part: PartConfig,
) -> GraphSpec {
    let count = rewritten.columns;
    let columns = (count > 1).then(|| ColumnsSpec {
        value: u32_of(part.value),
        lower: config.ends.map(|[lower, _]| u32_of(lower)),
        upper: config.ends.map(|[_, upper]| u32_of(upper)),
        count: u32_of(count),
    });
    GraphSpec { columns, ..rewritten.spec.clone() }
}

/// One case of real rows, from which every window of them is proven.
fn golden(
    parts: &Parts<'_>,
    graph: &GraphSpec,
    runtime: &dyn Runtime,
) -> Result<Golden, Vec<String>> {
    let Parts { config, part, material, rewritten, modes, .. } = parts;
    let failed = |problem: &dyn std::fmt::Display| vec![format!("golden vectors: {problem}")];
    let width = material.width();
    let count = golden_rows_max(config.window_steps, width);
    let (steps, window) = material.golden_rows(count).map_err(|error| vec![error.to_string()])?;
    let signature = graph.signature(width);
    let mut backend = runtime.open(&rewritten.onnx, &signature).map_err(|error| failed(&error))?;
    let outputs = if **modes == [Mode::Carried] {
        let all = run_carried(&mut *backend, &signature, &window);
        all.map(|all| all.into_iter().skip(config.window_steps - 1).collect::<Vec<_>>())
    } else {
        let windows: Vec<Vec<f32>> =
            window.windows(config.window_steps).map(<[Vec<f32>]>::concat).collect();
        let windows: Vec<&[f32]> = windows.iter().map(Vec::as_slice).collect();
        run_windows(&mut *backend, &signature, Rows::Alone, &windows)
    };
    let outputs = outputs.map_err(|error| failed(&error))?;
    let column = |at: usize| outputs.iter().map(|output| output[at]).collect::<Vec<f32>>();
    let case = GoldenCase {
        symbol: None,
        steps,
        window,
        output: column(part.value),
        output_lower: config.ends.map(|[lower, _]| column(lower)).unwrap_or_default(),
        output_upper: config.ends.map(|[_, upper]| column(upper)).unwrap_or_default(),
        outputs: Vec::new(),
    };
    let (schema, cases) = (GOLDEN_SCHEMA.to_owned(), vec![case]);
    let golden = Golden { schema, tolerance: 0.0, cases };
    // By the size of what is published: another column of the model may be far larger.
    Ok(Golden { tolerance: GOLDEN_TOLERANCE * golden.size(), ..golden })
}

/// The most rows of the golden case.
fn golden_rows_max(window_steps: usize, width: usize) -> usize {
    let rows_max = (GOLDEN_NUMBERS_MAX / width).min(GOLDEN_ROWS_MAX);
    (GOLDEN_WINDOWS + window_steps - 1).min(rows_max.max(window_steps))
}

/// Counts are far below 2^32, which a manifest holds.
fn u32_of(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_golden_case_has_as_many_rows_as_a_bundle_may_have() {
        for (window, width, rows) in [
            (5, 3, 260),
            (3842, 3, 4096),
            (4095, 3, 4096),
            (4096, 3, 4096),
            (4096, 4000, 4096),
            (30, 10_000, 30),
        ] {
            assert_eq!(golden_rows_max(window, width), rows, "{window} {width}");
        }
    }
}
