//! One sealing from its configuration to drafts that are proven.
//!
//! Owns the order of things: read, compare the graph with the configuration, rewrite, prove against
//! the original's own run, compare with the framework's predictions, judge. Promises that all
//! problems of the inputs are found at once, and that nothing is written here. Never prints.

use std::path::{Path, PathBuf};

use super::assess::{assess, truth_range};
use super::config::{PartConfig, SealConfig};
use super::data::{Material, with_known_ranges};
use super::draft::{Parts, draft, graph_spec};
use super::expect::{Comparison, Expected};
use super::facts;
use super::graph::{self, Foreign, Hints, Rewritten, Wanted, is_plain_name, read, run_original};
use super::run::{run_carried, run_windows};
use crate::core::features::Scaler;
use crate::engine::files::read_regular_file;
use crate::engine::inference::{Backend, Runtime, Signature};
use crate::engine::model::manifest::{Exactness, Mode, Rows};
use crate::engine::model::proof::{Driven, Measured, Unmeasured, measure, measure_alone};
use crate::engine::model::{Draft, ONNX_BYTES_MAX, next_version};

/// Windows that a rewrite is proven on, beside those of the framework's predictions.
const PROOF_WINDOWS: usize = 256;

/// The most windows of the framework's predictions that the original is run on: it runs them one by
/// one.
const EXPECTED_WINDOWS: usize = 512;

/// Takes a line about what is being done.
pub type Progress<'p> = &'p mut dyn FnMut(&str);

/// Everything that a sealing reads, checked.
pub struct Prepared {
    config: SealConfig,
    foreign: Foreign,
    material: Material,
    expected: Option<(Expected, Vec<usize>)>,
    versions: Vec<String>,
}

/// What is sealed, proven.
pub struct Proven {
    /// One for each horizon.
    pub drafts: Vec<Draft>,
    /// What the person should know beside what the manifest says.
    pub notes: Vec<String>,
}

/// A graph that the engine runs, and what it gives.
struct Candidate {
    rewritten: Rewritten,
    modes: Vec<Mode>,
    exactness: Exactness,
    /// One row `[K]` for each window of the history.
    outputs: Vec<Vec<f32>>,
    /// The largest difference from the original's run, and over how many windows.
    from_original: (f32, usize),
}

impl Prepared {
    /// Reads the model, the history and the predictions, and compares them with the configuration.
    ///
    /// # Errors
    /// Every problem found, one line each, with the key to change.
    pub fn read(
        config: SealConfig,
        runtime: &dyn Runtime,
        progress: Progress<'_>,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        progress("reading the model");
        let hints = Hints {
            window: Some(config.window_steps),
            features: Some(config.features.len()),
            layout: config.layout,
            output: config.output.clone(),
            each_step: config.each_step,
            constants: config.constants.clone(),
        };
        let foreign = read_model(&config.model, runtime, &hints);
        let foreign = foreign.map_err(|found| problems.extend(found)).ok();
        if let Some(foreign) = &foreign {
            problems.extend(facts::check(&foreign.facts, &config));
        }
        let versions = versions(&config).map_err(|found| problems.extend(found));
        progress("reading the history");
        let material =
            Material::read(&config).map_err(|error| problems.push(error.to_string())).ok();
        let expected = config.expect.as_ref().and_then(|expect| {
            let read = Expected::read(expect, &config);
            read.map_err(|found| problems.extend(found)).ok()
        });
        let expected = expected.zip(material.as_ref()).and_then(|(expected, material)| {
            let ends = expected.windows(material);
            ends.map_err(|found| problems.extend(found)).ok().map(|ends| (expected, ends))
        });
        match (foreign, material, versions) {
            (Some(foreign), Some(material), Ok(versions)) if problems.is_empty() => {
                Ok(Self { config, foreign, material, expected, versions })
            }
            _ => Err(problems),
        }
    }

    /// Rewrites the graph, proves it and judges it.
    ///
    /// # Errors
    /// Why the model cannot be sealed, with what to do.
    pub fn prove(
        &self,
        runtime: &dyn Runtime,
        progress: Progress<'_>,
    ) -> Result<Proven, Vec<String>> {
        let original = self.run_original(runtime, progress)?;
        let mut notes = Vec::new();
        let candidate = self.candidate(runtime, &original, &mut notes, progress)?;
        let compared = self.compare(&candidate, &mut notes)?;
        progress("judging the model on the history");
        let mut drafts = Vec::new();
        for (part, version) in self.config.parts.iter().zip(&self.versions) {
            let Candidate { rewritten, modes, outputs, .. } = &candidate;
            let target_scaler = self.target_scaler(*part)?;
            let assessment = assess(&self.material, &self.config, *part, &target_scaler, outputs)
                .map_err(|problem| vec![problem])?;
            let parts = Parts {
                config: &self.config,
                part: *part,
                version,
                material: &self.material,
                target_scaler,
                foreign: &self.foreign,
                rewritten,
                modes,
                rewrites: candidate.rewrites(),
                exactness: candidate.exactness,
                compared: compared.clone(),
                assessment,
            };
            drafts.push(draft(&parts, runtime)?);
        }
        Ok(Proven { drafts, notes })
    }

    /// The places of the windows that the original runs on.
    fn proof_ends(&self) -> Vec<usize> {
        let count = self.material.ends.len();
        let expected = self.expected.as_ref().map(|(_, ends)| ends.as_slice()).unwrap_or_default();
        let mut ends: Vec<usize> = expected.iter().copied().take(EXPECTED_WINDOWS).collect();
        ends.extend(count.saturating_sub(PROOF_WINDOWS)..count);
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// The original's own outputs `[K]` for the windows of the proof.
    fn run_original(
        &self,
        runtime: &dyn Runtime,
        progress: Progress<'_>,
    ) -> Result<Vec<(usize, Vec<f32>)>, Vec<String>> {
        let ends = self.proof_ends();
        progress(&format!("running the original on {} windows, one by one", ends.len()));
        let window = |at: &usize| self.material.window(self.material.ends[*at]).to_vec();
        let windows: Vec<Vec<f32>> = ends.iter().map(window).collect();
        let outputs = run_original(&self.foreign, runtime, &self.wanted(false), &windows)
            .map_err(|problem| vec![format!("model: the original does not run: {problem}")])?;
        let bad = outputs.iter().flatten().any(|value| !value.is_finite());
        if bad {
            return Err(vec![
                "model: the original gives values that are not finite for rows of the history: \
                 check window.features and [scaler]"
                    .to_owned(),
            ]);
        }
        Ok(ends.into_iter().zip(outputs).collect())
    }

    fn wanted(&self, expose_states: bool) -> Wanted {
        Wanted {
            window: self.config.window_steps,
            features: self.config.features.len(),
            expose_states,
            carried: self.config.carried,
            constants: self.config.constants.clone(),
        }
    }

    /// The graph that runs in the most modes among those that are proven.
    fn candidate(
        &self,
        runtime: &dyn Runtime,
        original: &[(usize, Vec<f32>)],
        notes: &mut Vec<String>,
        progress: Progress<'_>,
    ) -> Result<Candidate, Vec<String>> {
        progress("rewriting the graph, with its states in sight");
        let stateful = self.try_graph(runtime, original, true, progress);
        match stateful {
            Ok(candidate) => {
                notes.extend(candidate.rewritten.notes.iter().cloned());
                Ok(candidate)
            }
            Err(problems) if self.config.carried => Err(problems),
            Err(problems) => {
                progress("rewriting the graph for whole windows");
                let whole = self.try_graph(runtime, original, false, progress)?;
                // Any problem that is not about states would have come again.
                let why = problems.first().map(String::as_str).unwrap_or_default();
                notes.push(format!("mode `sliding` is not served: {why}"));
                Ok(whole)
            }
        }
    }

    fn try_graph(
        &self,
        runtime: &dyn Runtime,
        original: &[(usize, Vec<f32>)],
        expose_states: bool,
        progress: Progress<'_>,
    ) -> Result<Candidate, Vec<String>> {
        let rewritten = self.foreign.rewrite(runtime, &self.wanted(expose_states))?;
        let modes = self.modes(&rewritten)?;
        let part = self.config.parts.first().copied().ok_or_else(Vec::new)?;
        let spec = graph_spec(&rewritten, &self.config, part);
        let signature = spec.signature(self.config.features.len());
        let opened = runtime.open(&rewritten.onnx, &signature);
        let mut backend = opened.map_err(|error| vec![format!("model: {error}")])?;
        let from_original = self.check_original(&mut *backend, &signature, original)?;
        progress("measuring how the rows of a run relate");
        let mut measure =
            |modes: &[Mode]| self.measure(&mut *backend, &signature, modes, rewritten.is_alone);
        let (modes, measured) = match measure(&modes) {
            // Its own states stay inputs, which are zero before each window.
            Err(Unmeasured::States { .. }) if !expose_states && modes.contains(&Mode::Full) => {
                (vec![Mode::Full], measure(&[Mode::Full]))
            }
            measured => (modes, measured),
        };
        let exactness = self.exactness(measured)?;
        progress(&format!("running the sealed graph on {} windows", self.material.ends.len()));
        let outputs = self.outputs(&mut *backend, &signature, &modes, exactness.rows)?;
        Ok(Candidate { rewritten, modes, exactness, outputs, from_original })
    }
}

impl Prepared {
    /// The modes that are asked for, of those that the graph could serve.
    fn modes(&self, rewritten: &Rewritten) -> Result<Vec<Mode>, Vec<String>> {
        let could = |mode| rewritten.modes.contains(&mode);
        if self.config.carried {
            if could(Mode::Carried) {
                return Ok(vec![Mode::Carried]);
            }
            return Err(vec![
                "carried: the state of this graph cannot go on from row to row: only forward LSTM \
                 and GRU layers whose head reads the last step can. Set carried = false"
                    .to_owned(),
            ]);
        }
        let modes = [Mode::Full, Mode::Sliding].into_iter().filter(|mode| could(*mode));
        Ok(modes.collect())
    }

    /// How the rows of a run relate, on real windows.
    fn measure(
        &self,
        backend: &mut dyn Backend,
        signature: &Signature,
        modes: &[Mode],
        is_alone: bool,
    ) -> Result<Measured, Unmeasured> {
        let rows: Vec<Vec<Vec<f32>>> =
            (0..self.material.series_count()).map(|at| self.material.rows_of(at)).collect();
        let steps = self.config.window_steps;
        let windows: Vec<&[Vec<f32>]> = self
            .material
            .ends
            .iter()
            .map(|end| &rows[end.series][end.row + 1 - steps..=end.row])
            .collect();
        let driven = Driven {
            whole: modes.contains(&Mode::Full),
            stepped: modes.iter().any(|mode| *mode != Mode::Full),
        };
        if is_alone {
            // The graph itself takes no batch, so there is none to compare with.
            return measure_alone(backend, signature, driven, &windows);
        }
        measure(backend, signature, driven, &windows)
    }

    /// What was measured, where rows may be as it says.
    fn exactness(&self, measured: Result<Measured, Unmeasured>) -> Result<Exactness, Vec<String>> {
        let measured = measured.map_err(|error| vec![format!("model: {error}")])?;
        if let Some(mixing) = measured.mixing().filter(|_| !self.config.rows_alone) {
            return Err(vec![format!(
                "rows_mix: the rows of a batch change each other: {mixing}. Dynamic quantization \
                 and norms over the batch do so: export without them, or set rows_mix = \"alone\", \
                 which runs one row at a time"
            )]);
        }
        Ok(measured.exactness)
    }

    /// The largest difference from the original's own run, and over how many windows.
    fn check_original(
        &self,
        backend: &mut dyn Backend,
        signature: &Signature,
        original: &[(usize, Vec<f32>)],
    ) -> Result<(f32, usize), Vec<String>> {
        let windows: Vec<&[f32]> =
            original.iter().map(|(at, _)| self.material.window(self.material.ends[*at])).collect();
        let outputs = run_windows(backend, signature, Rows::Alone, &windows)
            .map_err(|error| vec![format!("model: the rewritten graph does not run: {error}")])?;
        let expected: Vec<Vec<f32>> = original.iter().map(|(_, outputs)| outputs.clone()).collect();
        let compared = graph::Comparison::of(&expected, &outputs);
        if !compared.is_same() {
            return Err(vec![format!(
                "model: the rewritten graph {}, beside the original's own run, which is more than \
                 rounding: the runtime computes something else than the file says",
                compared.words()
            )]);
        }
        Ok((compared.largest_difference, windows.len()))
    }

    /// The outputs of the sealed graph for every window of the history.
    fn outputs(
        &self,
        backend: &mut dyn Backend,
        signature: &Signature,
        modes: &[Mode],
        rows: Rows,
    ) -> Result<Vec<Vec<f32>>, Vec<String>> {
        let failed = |error| vec![format!("model: {error}")];
        let material = &self.material;
        if modes != [Mode::Carried] {
            let windows: Vec<&[f32]> =
                material.ends.iter().map(|end| material.window(*end)).collect();
            return run_windows(backend, signature, rows, &windows).map_err(failed);
        }
        let mut outputs = Vec::with_capacity(material.ends.len());
        for series in 0..material.series_count() {
            let rows = material.rows_of(series);
            let all = run_carried(backend, signature, &rows).map_err(failed)?;
            outputs.extend(all.into_iter().skip(self.config.window_steps - 1));
        }
        Ok(outputs)
    }

    /// Compares with the framework's own predictions, where there are any.
    fn compare(
        &self,
        candidate: &Candidate,
        notes: &mut Vec<String>,
    ) -> Result<Option<(String, Comparison, f64)>, Vec<String>> {
        let Some(((expected, ends), expect)) =
            self.expected.as_ref().zip(self.config.expect.as_ref())
        else {
            notes.push(
                "the model was not compared with its framework: [expect] is empty".to_owned(),
            );
            return Ok(None);
        };
        let outputs: Vec<Vec<f32>> = ends.iter().map(|at| candidate.outputs[*at].clone()).collect();
        let part = self.config.parts.first().copied();
        let scaler = match (expect.in_target_unit, part) {
            (true, Some(part)) => {
                let scaler = self.target_scaler(part)?;
                Some(scaler.single().map_err(|error| vec![format!("target.scaler: {error}")])?)
            }
            _ => None,
        };
        let unit = |value| scaler.as_ref().map_or(value, |scaler| scaler.invert(value));
        let comparison = expected.compare(&outputs, unit);
        let Comparison { largest_difference, count, mean_difference, worst } = comparison.clone();
        if largest_difference > expect.tolerance {
            let (line, found, wanted) = worst.unwrap_or_default();
            let unit = if expect.in_target_unit { "target's" } else { "model's" };
            return Err(vec![format!(
                "expect: the model is off its framework's predictions by up to \
                 {largest_difference:.1e} in the {unit} unit (mean {mean_difference:.1e} of \
                 {count}; tolerance {:.1e}); line {line} says {wanted}, the sealed model gives \
                 {found}. Check the order of window.features, [scaler], the rows of [data] and \
                 expect.unit",
                expect.tolerance
            )]);
        }
        Ok(Some((expected.sha256.clone(), comparison, expect.tolerance)))
    }
}

/// Reads a graph and what lies beside it.
///
/// # Errors
/// One line for each reason why it cannot be sealed.
pub fn read_model(
    path: &Path,
    runtime: &dyn Runtime,
    hints: &Hints,
) -> Result<Foreign, Vec<String>> {
    let shown = path.display();
    let onnx = read_regular_file(path, ONNX_BYTES_MAX)
        .map_err(|error| vec![format!("model: `{shown}`: {error}")])?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    read(&onnx, &beside(folder), runtime, hints).map_err(|problems| {
        problems.into_iter().map(|problem| format!("model: `{shown}`: {problem}")).collect()
    })
}

/// Reads files of a folder by their names.
pub(super) fn beside(folder: PathBuf) -> impl Fn(&str) -> Result<Vec<u8>, String> {
    move |name| {
        // Any other path could lead out of the folder.
        if !is_plain_name(name) {
            return Err("is not the name of a file beside the model".to_owned());
        }
        read_regular_file(&folder.join(name), ONNX_BYTES_MAX).map_err(|error| error.to_string())
    }
}

/// The version of each bundle.
fn versions(config: &SealConfig) -> Result<Vec<String>, Vec<String>> {
    let (mut versions, mut problems) = (Vec::new(), Vec::new());
    for part in &config.parts {
        match version_of(config, *part) {
            Ok(version) => versions.push(version),
            Err(problem) => problems.push(format!("version: {problem}")),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    if config.version.is_none() {
        // Bundles of one graph get the same number.
        let number = |version: &String| version.parse::<u64>().unwrap_or(0);
        if let Some(newest) = versions.iter().max_by_key(|version| number(version)).cloned() {
            versions.fill(newest);
        }
    }
    Ok(versions)
}

fn version_of(config: &SealConfig, part: PartConfig) -> Result<String, String> {
    next_version(&config.models_root.join(config.name_of(part)), config.version.as_deref())
}

impl Prepared {
    /// The target's scaler with the range of the truths.
    fn target_scaler(&self, part: PartConfig) -> Result<Scaler, Vec<String>> {
        let range = truth_range(&self.material, &self.config, part);
        let range = range.map_err(|error| vec![error.to_string()])?;
        Ok(with_known_ranges(&self.config.target_scaler, &[range]))
    }
}

impl Candidate {
    /// What was changed, and how that was proven.
    fn rewrites(&self) -> Vec<String> {
        let mut rewrites = self.rewritten.rewrites.clone();
        if !rewrites.is_empty() {
            let (difference, windows) = self.from_original;
            rewrites.push(format!(
                "proven against the original's own run on {windows} windows: {}",
                match difference {
                    0.0 => "equal bits".to_owned(),
                    difference => format!("differs by at most {difference:.1e}"),
                }
            ));
        }
        rewrites
    }
}
