//! A sealed bundle: `model.onnx`, `manifest.json`, `golden.json` and, where the model tells symbols
//! apart, `symbols.json` in one folder.
//!
//! Owns reading, verifying and sealing. Promises that the model that runs is made of the very
//! bytes whose hash was checked, and that every problem is found before the first forecast. Never
//! repairs a bundle.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use super::golden::{GOLDEN_SCHEMA, Golden, GoldenCase};
use super::graph::{ONNX_BYTES_MAX, check_graph};
use super::manifest::{Manifest, Mode, Plans, Rows, SymbolsSpec};
use super::proof::{Driven, Measured, Unmeasured, measure, measure_alone, spread};
use crate::core::features::SymbolTable;
use crate::core::forecast::Output;
use crate::core::text::{excerpt, indented_lines, with_suggestion};
use crate::engine::files::read_regular_file;
use crate::engine::inference::{Backend, InferenceError, Runtime, Shape, Signature};

/// The name of the manifest in a bundle.
pub const MANIFEST_FILE: &str = "manifest.json";
const ONNX_FILE: &str = "model.onnx";
const GOLDEN_FILE: &str = "golden.json";
const SYMBOLS_FILE: &str = "symbols.json";
pub(super) const MANIFEST_BYTES_MAX: usize = 1 << 20;
const GOLDEN_BYTES_MAX: usize = 16 << 20;
const SYMBOLS_BYTES_MAX: usize = 64 << 20;

/// The most rows of a golden case, unless the window has more.
pub(crate) const GOLDEN_ROWS_MAX: usize = 4096;

/// The largest tolerance of a bundle, for outputs of the size 1; larger outputs may have a larger
/// one in proportion, for their last bits are larger.
const TOLERANCE_MAX: f32 = 1e-3;

/// A bundle whose files, rules and graph are checked; [`Bundle::open`] runs its golden vectors.
#[derive(Clone, Debug)]
pub struct Bundle {
    folder: PathBuf,
    manifest: Manifest,
    /// Of the manifest's file, which names the hashes of the others.
    manifest_sha256: String,
    plans: Plans,
    signature: Signature,
    onnx: Vec<u8>,
    golden: Golden,
    /// The runtime that it was proven on first, by its own words.
    proven: Arc<OnceLock<String>>,
}

/// What a bundle is sealed from; the hashes in the manifest are filled in by sealing.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The manifest.
    pub manifest: Manifest,
    /// The model.
    pub onnx: Vec<u8>,
    /// The golden vectors.
    pub golden: Golden,
    /// What the model reads of each symbol; `None` where it tells none apart.
    pub symbols: Option<SymbolTable>,
}

/// Why a bundle is refused, or cannot be written: every problem found, each naming the file and
/// field at fault.
#[derive(Debug, thiserror::Error)]
#[error("bundle {} {}:{}", shown(folder), outcome(*unwritten), indented_lines(problems))]
pub struct BundleError {
    /// The bundle's folder.
    pub folder: PathBuf,
    /// One line per problem.
    pub problems: Vec<String>,
    /// Whether the bundle is good and could not be written, which may be otherwise the next time.
    pub unwritten: bool,
}

/// The most windows that prove how rows relate where the manifest does not say how many did when
/// the model was sealed.
const UNSTATED_WINDOWS: u32 = 32;

/// Problems beyond this many are counted and not listed.
const PROBLEMS_MAX: usize = 10;

/// A problem quotes the bundle, so its line is cut here.
const PROBLEM_CHARS_MAX: usize = 300;

impl BundleError {
    /// A refusal for these problems: each one short and printable, whatever it quotes.
    pub fn new(folder: &Path, problems: Vec<String>) -> Self {
        let more = problems.len().saturating_sub(PROBLEMS_MAX);
        let listed = problems.into_iter().take(PROBLEMS_MAX);
        let mut lines: Vec<_> = listed.map(|line| excerpt(&line, PROBLEM_CHARS_MAX)).collect();
        if more > 0 {
            lines.push(format!("and {more} more problems"));
        }
        Self { folder: folder.to_owned(), problems: lines, unwritten: false }
    }

    /// A bundle that could not be written.
    fn unwritten(folder: &Path, error: &io::Error) -> Self {
        Self { unwritten: true, ..Self::new(folder, vec![format!("write: {error}")]) }
    }
}

/// Lower-case hexadecimal SHA-256.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The characters of a path that are shown.
const PATH_CHARS_MAX: usize = 1024;

/// The characters of a text out of a bundle that are shown.
const QUOTED_CHARS_MAX: usize = 64;

/// A text out of a bundle, as it is quoted in a message.
pub(super) fn quoted(text: &str) -> String {
    excerpt(text, QUOTED_CHARS_MAX)
}

fn outcome(unwritten: bool) -> &'static str {
    if unwritten { "cannot be written" } else { "is refused" }
}

fn shown(path: &Path) -> String {
    excerpt(&path.to_string_lossy(), PATH_CHARS_MAX)
}

/// A file of a bundle.
fn read_file(folder: &Path, name: &str, bytes_max: usize) -> Result<Vec<u8>, String> {
    read_regular_file(&folder.join(name), bytes_max).map_err(|error| format!("{name}: {error}"))
}

/// The table of a version in the folder of models, by its manifest; `None` where it has none or the
/// file is not the one that the manifest speaks of.
pub fn read_symbols(root: &Path, manifest: &Manifest) -> Option<SymbolTable> {
    let stated = manifest.symbols.as_ref()?;
    let folder = root.join(&manifest.name).join(&manifest.version);
    let bytes = read_file(&folder, SYMBOLS_FILE, SYMBOLS_BYTES_MAX).ok()?;
    let table: SymbolTable = serde_json::from_slice(&bytes).ok()?;
    (sha256(&bytes) == stated.sha256 && table.problems().is_empty()).then_some(table)
}

impl Bundle {
    /// Reads a folder and checks all that can be checked without running the model: hashes, the
    /// manifest's rules, the graph, and the rows of the golden vectors.
    ///
    /// # Errors
    /// [`BundleError`] with every problem found.
    pub fn read(folder: &Path) -> Result<Self, BundleError> {
        let refuse = |problems| BundleError::new(folder, problems);
        let file = |name, bytes_max| read_file(folder, name, bytes_max);
        let files = (
            file(MANIFEST_FILE, MANIFEST_BYTES_MAX),
            file(ONNX_FILE, ONNX_BYTES_MAX),
            file(GOLDEN_FILE, GOLDEN_BYTES_MAX),
        );
        let (text, onnx, golden) = match files {
            (Ok(manifest), Ok(onnx), Ok(golden)) => (manifest, onnx, golden),
            (manifest, onnx, golden) => {
                let errors = [manifest.err(), onnx.err(), golden.err()];
                return Err(refuse(errors.into_iter().flatten().collect()));
            }
        };
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| {
            let words = with_suggestion(&error.to_string());
            refuse(vec![format!("{MANIFEST_FILE}: {words}")])
        })?;
        let table = manifest.symbols.as_ref().map(|_| file(SYMBOLS_FILE, SYMBOLS_BYTES_MAX));
        let table = table.transpose().map_err(|error| refuse(vec![error]))?;
        let mut problems = check_place(&manifest, folder);
        let symbols = manifest.symbols.as_ref().zip(table.as_ref());
        let symbols = symbols.map(|(s, table)| ("symbols.sha256", &s.sha256, table, SYMBOLS_FILE));
        for (field, stated, bytes, name) in [
            ("onnx_sha256", &manifest.onnx_sha256, &onnx, ONNX_FILE),
            ("golden_sha256", &manifest.golden_sha256, &golden, GOLDEN_FILE),
        ]
        .into_iter()
        .chain(symbols)
        {
            let found = sha256(bytes);
            if *stated != found {
                let stated = quoted(stated);
                problems.push(format!(
                    "{MANIFEST_FILE}: {field} is `{stated}`, but {name} has `{found}`"
                ));
            }
        }
        if !problems.is_empty() {
            // What is not what the manifest speaks of is not looked into.
            return Err(refuse(problems));
        }
        let golden = serde_json::from_slice(&golden)
            .map_err(|error| problems.push(format!("{GOLDEN_FILE}: {error}")));
        let symbols = table.map(|bytes| serde_json::from_slice(&bytes)).transpose();
        let symbols = symbols.map_err(|error| problems.push(format!("{SYMBOLS_FILE}: {error}")));
        match (golden, symbols) {
            (Ok(golden), Ok(symbols)) => {
                let draft = Draft { manifest, onnx, golden, symbols };
                Self::check(folder, sha256(&text), draft, problems).map_err(refuse)
            }
            _ => Err(refuse(problems)),
        }
    }

    /// Checks the parts against each other.
    fn check(
        folder: &Path,
        manifest_sha256: String,
        draft: Draft,
        mut problems: Vec<String>,
    ) -> Result<Self, Vec<String>> {
        let Draft { manifest, onnx, golden, symbols } = draft;
        let found = symbols.as_ref().map_or_else(Vec::new, SymbolTable::problems);
        problems.extend(found.into_iter().map(|text| format!("{SYMBOLS_FILE}: {text}")));
        if manifest.symbols.is_some() != symbols.is_some() {
            problems.push(format!("{MANIFEST_FILE}: symbols: goes with {SYMBOLS_FILE}"));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if let Err(found) = check_graph(&onnx, &manifest) {
            problems.extend(found.into_iter().map(|text| format!("{ONNX_FILE}: {text}")));
        }
        let plans = match manifest.plans_with(symbols.as_ref()) {
            Ok(plans) => plans,
            Err(found) => {
                problems.extend(found.into_iter().map(|text| format!("{MANIFEST_FILE}: {text}")));
                return Err(problems);
            }
        };
        problems.extend(check_golden(&golden, &manifest, &plans));
        if !problems.is_empty() {
            return Err(problems);
        }
        let signature = manifest.graph.signature(plans.features.inputs());
        let folder = folder.to_owned();
        let proven = Arc::default();
        Ok(Self { folder, manifest, manifest_sha256, plans, signature, onnx, golden, proven })
    }

    /// The contract.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The hash of the manifest's file. The manifest names the hashes of the other files, so two
    /// bundles of one hash are the same.
    pub fn manifest_sha256(&self) -> &str {
        &self.manifest_sha256
    }

    /// The plans that the pipeline runs by.
    pub fn plans(&self) -> &Plans {
        &self.plans
    }

    /// The names by which the graph is driven.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The golden vectors.
    pub fn golden(&self) -> &Golden {
        &self.golden
    }

    /// The verified model bytes.
    pub fn onnx(&self) -> &[u8] {
        &self.onnx
    }

    /// Opens the model. The first time, it is proven on a backend of its own, whose tensors are
    /// then given back: every window of the golden vectors gives its expected output, where the
    /// bundle serves a mode with states single steps give the bits of the whole window, and, where
    /// rows are `batched`, each window has its bits in runs of every size ([`measure`]). In mode
    /// `carried` the steps go on behind the first full window, and each must give its expected
    /// output. Later, the same runtime is asked for the first window of each case alone.
    ///
    /// # Errors
    /// [`BundleError`] naming the case and output that differ, or with the runtime's words.
    pub fn open(&self, runtime: &dyn Runtime) -> Result<Box<dyn Backend>, BundleError> {
        let refuse = |problem| BundleError::new(&self.folder, vec![problem]);
        let opened = || {
            let opened = runtime.open(&self.onnx, &self.signature);
            opened.map_err(|error| refuse(format!("{ONNX_FILE}: {error}")))
        };
        let mut backend = opened()?;
        // A runtime that chooses between two is one name for both roundings.
        let rounding = backend.rounding().name();
        let by = format!("{} {} {rounding}", runtime.name(), runtime.build());
        if self.proven.get() != Some(&by) {
            self.prove(&mut *opened()?).map_err(refuse)?;
            // Another runtime may have been the first; this one is then proven each time.
            let _ = self.proven.set(by);
        }
        self.prove_cases(&mut *backend, 1).map_err(refuse)?;
        Ok(backend)
    }

    /// The whole proof.
    fn prove(&self, backend: &mut dyn Backend) -> Result<(), String> {
        self.prove_cases(backend, usize::MAX)?;
        let stated =
            self.manifest.exactness.map_or(UNSTATED_WINDOWS, |exactness| exactness.windows);
        let windows = spread(&self.windows(), stated as usize);
        let measured = match self.plans.rows {
            Rows::Batched => measure(backend, &self.signature, self.driven(), &windows),
            // Rows are run alone, so a run of several has nothing to prove.
            Rows::Alone => measure_alone(backend, &self.signature, self.driven(), &windows),
        };
        let measured = measured.map_err(|error| match error {
            Unmeasured::States { .. } => format!("{GOLDEN_FILE}: {error}"),
            other => format!("{ONNX_FILE}: {other}"),
        })?;
        let (Rows::Batched, Some(outputs)) = (self.plans.rows, measured.difference()) else {
            return Ok(());
        };
        Err(if measured.mixes() {
            format!(
                "{ONNX_FILE}: rows of a run influence one another: {outputs}; such a model runs \
                 with exactness.rows = `alone` only"
            )
        } else {
            format!(
                "{ONNX_FILE}: rows of a run round differently here than alone: {outputs}; such a \
                 model needs exactness.rows = `alone`"
            )
        })
    }

    /// Measures how rows of one run relate, by the windows of the golden vectors.
    ///
    /// # Errors
    /// [`BundleError`] where the runtime fails or single steps give other bits than whole windows.
    pub fn measure(&self, runtime: &dyn Runtime) -> Result<Measured, BundleError> {
        let refuse = |text: String| BundleError::new(&self.folder, vec![text]);
        let opened = runtime.open(&self.onnx, &self.signature);
        let mut backend = opened.map_err(|error| refuse(format!("{ONNX_FILE}: {error}")))?;
        measure(&mut *backend, &self.signature, self.driven(), &self.windows())
            .map_err(|error| refuse(format!("{GOLDEN_FILE}: {error}")))
    }

    /// The windows of the golden vectors: every W consecutive rows of a case.
    pub fn windows(&self) -> Vec<&[Vec<f32>]> {
        let cases = self.golden.cases.iter();
        cases.flat_map(|case| case.window.windows(self.plans.window_steps)).collect()
    }

    /// How the modes of the bundle drive the model.
    pub fn driven(&self) -> Driven {
        Driven {
            whole: self.manifest.modes.contains(&Mode::Full),
            stepped: self.manifest.modes.iter().any(|mode| *mode != Mode::Full),
        }
    }

    /// Runs the golden cases: at most so many windows of each.
    fn prove_cases(&self, backend: &mut dyn Backend, windows_max: usize) -> Result<(), String> {
        for (index, case) in self.golden.cases.iter().enumerate() {
            self.prove_case(case, backend, windows_max)
                .map_err(|text| format!("{GOLDEN_FILE}: cases[{index}]: {text}"))?;
        }
        Ok(())
    }

    /// Runs one golden case.
    fn prove_case(
        &self,
        case: &GoldenCase,
        backend: &mut dyn Backend,
        windows_max: usize,
    ) -> Result<(), String> {
        let failed = |error: InferenceError| error.to_string();
        let (steps, tolerance) = (self.plans.window_steps, self.golden.tolerance);
        if self.manifest.modes == [Mode::Carried] {
            return self.prove_carried(case, backend, windows_max);
        }
        let expected = case.first(windows_max);
        let mut outputs = Vec::with_capacity(expected.output.len());
        let mut rows = Vec::with_capacity(expected.output.len());
        for window in case.window.windows(steps).take(windows_max) {
            let ran = if self.driven().stepped {
                self.run_steps(window, backend)
            } else {
                self.run_whole(window, backend)
            };
            let mut ran = ran.map_err(failed)?;
            outputs.extend(ran.outputs.pop());
            rows.extend(ran.rows.pop());
        }
        expected.check_outputs(&outputs, tolerance)?;
        expected.check_columns(&rows, tolerance)
    }

    /// One long run gives what the steps give, whether it ends with the first full window or any
    /// number of rows later.
    fn prove_carried(
        &self,
        case: &GoldenCase,
        backend: &mut dyn Backend,
        windows_max: usize,
    ) -> Result<(), String> {
        let failed = |error: InferenceError| error.to_string();
        let window = self.plans.window_steps;
        let expected = case.first(windows_max);
        let rows = window - 1 + expected.output.len();
        let stepped = self.run_steps(&case.window[..rows], backend).map_err(failed)?;
        let ends = if windows_max < case.output.len() { vec![] } else { vec![window, rows] };
        for steps in ends {
            let whole = self.run_whole(&case.window[..steps], backend).map_err(failed)?;
            let (single, at_once) = (stepped.outputs[steps - 1].value, whole.outputs[0].value);
            let exact = at_once.to_bits() == single.to_bits();
            if !exact || (steps == rows && whole.state_bits() != stepped.state_bits()) {
                return Err(format!(
                    "states are not exact in this model: after {steps} rows single steps give \
                     {single}, one run {at_once}"
                ));
            }
        }
        let tolerance = self.golden.tolerance;
        expected.check_outputs(&stepped.outputs[window - 1..], tolerance)?;
        expected.check_columns(&stepped.rows[window - 1..], tolerance)
    }

    /// Rows from zero state in one run.
    fn run_whole(
        &self,
        rows: &[Vec<f32>],
        backend: &mut dyn Backend,
    ) -> Result<Ran, InferenceError> {
        let lane = backend.lane(Shape { steps: rows.len(), batch: 1 })?;
        let states = &self.signature.states;
        (0..states.len()).for_each(|index| backend.state_mut(lane, index).fill(0.0));
        let targets = backend.rows_mut(lane).chunks_exact_mut(self.signature.features);
        targets.zip(rows).for_each(|(target, row)| target.copy_from_slice(row));
        backend.run(lane)?;
        let state = |index| backend.next_state(lane, index).to_vec();
        let states = (0..states.len()).map(state).collect();
        let row = backend.output(lane).to_vec();
        Ok(Ran { outputs: vec![self.signature.columns.read(&row)], rows: vec![row], states })
    }

    /// The same rows one step at a time, the states carried from each to the next.
    fn run_steps(
        &self,
        rows: &[Vec<f32>],
        backend: &mut dyn Backend,
    ) -> Result<Ran, InferenceError> {
        let lane = backend.lane(Shape { steps: 1, batch: 1 })?;
        let widths = self.signature.states.iter().map(|state| state.width);
        let mut states: Vec<Vec<f32>> = widths.map(|width| vec![0.0; width]).collect();
        let mut outputs = Vec::with_capacity(rows.len());
        let mut output_rows = Vec::with_capacity(rows.len());
        for row in rows {
            backend.rows_mut(lane).copy_from_slice(row);
            for (index, state) in states.iter().enumerate() {
                backend.state_mut(lane, index).copy_from_slice(state);
            }
            backend.run(lane)?;
            for (index, state) in states.iter_mut().enumerate() {
                state.copy_from_slice(backend.next_state(lane, index));
            }
            outputs.push(self.signature.columns.read(backend.output(lane)));
            output_rows.push(backend.output(lane).to_vec());
        }
        Ok(Ran { outputs, rows: output_rows, states })
    }
}

/// A bundle that was written beside its place and proven there. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct Staged {
    /// The folders of the draft, which are ours alone.
    draft_root: PathBuf,
    draft_folder: PathBuf,
    folder: PathBuf,
}

impl Staged {
    /// Moves it in. Returns the folder.
    ///
    /// # Errors
    /// [`BundleError`]; the place is then untouched.
    pub fn commit(self) -> Result<PathBuf, BundleError> {
        let failed = |error: io::Error| BundleError::unwritten(&self.folder, &error);
        fs::rename(&self.draft_folder, &self.folder).map_err(failed)?;
        let parent = self.folder.parent().map(Path::to_owned).unwrap_or_default();
        fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        Ok(self.folder.clone())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // A leftover does no harm and is replaced next time.
        let _ = fs::remove_dir_all(&self.draft_root);
    }
}

/// What a run of rows from zero state gave.
struct Ran {
    /// The output after the last row, or one after each.
    outputs: Vec<Output>,
    /// All its columns, likewise.
    rows: Vec<Vec<f32>>,
    /// The states after the last row.
    states: Vec<Vec<f32>>,
}

impl Ran {
    fn state_bits(&self) -> Vec<u32> {
        self.states.iter().flatten().map(|value| value.to_bits()).collect()
    }
}

impl Draft {
    /// The bundle in memory, checked as if it were read; nothing is written.
    ///
    /// # Errors
    /// [`BundleError`] with every problem found; its folder is where sealing would put it.
    pub fn into_bundle(mut self) -> Result<Bundle, BundleError> {
        self.manifest.onnx_sha256 = sha256(&self.onnx);
        self.manifest.golden_sha256 = sha256(&to_json(&self.golden));
        self.note_symbols();
        let folder = Path::new(&self.manifest.name).join(&self.manifest.version);
        let refuse = |problems| BundleError::new(&folder, problems);
        let manifest_sha256 = sha256(&to_json(&self.manifest));
        Bundle::check(&folder, manifest_sha256, self, Vec::new()).map_err(refuse)
    }

    /// Seals a bundle into `root/<name>/<version>/`: fills in the hashes, and where nothing is said
    /// of it, that rows round differently in a run than alone; checks everything, writes beside the
    /// place, reads back, runs the golden vectors, and only then moves it in. Returns the folder.
    ///
    /// # Errors
    /// [`BundleError`]; the place is then untouched. An existing version is never overwritten.
    pub fn seal(self, root: &Path, runtime: &dyn Runtime) -> Result<PathBuf, BundleError> {
        self.stage(root, runtime)?.commit()
    }

    /// As [`Self::seal`], all but the last step: several bundles that belong together are moved in
    /// when each of them is proven.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn stage(mut self, root: &Path, runtime: &dyn Runtime) -> Result<Staged, BundleError> {
        let parent = root.join(&self.manifest.name);
        let folder = parent.join(&self.manifest.version);
        let refuse = |problem| BundleError::new(&folder, vec![problem]);
        let failed = |error: io::Error| BundleError::unwritten(&folder, &error);
        let names = self.manifest.check_names();
        if !names.is_empty() {
            return Err(BundleError::new(&folder, names));
        }
        if folder.exists() {
            return Err(refuse("this version exists; bundles are never overwritten".to_owned()));
        }
        let is_measured = self.note_rounding(runtime);
        let golden = to_json(&self.golden);
        self.manifest.onnx_sha256 = sha256(&self.onnx);
        self.manifest.golden_sha256 = sha256(&golden);
        let symbols = self.note_symbols();
        fs::create_dir_all(&parent).map_err(failed)?;
        // The name and version are folders here too, because reading back checks them.
        let draft_root = parent.join(format!(".{}.draft", self.manifest.version));
        let draft_folder = draft_root.join(&self.manifest.name).join(&self.manifest.version);
        let staged = Staged { draft_root, draft_folder, folder: folder.clone() };
        fs::create_dir_all(&staged.draft_folder).map_err(failed)?;
        let manifest = to_json(&self.manifest);
        let symbols = symbols.iter().map(|bytes| (SYMBOLS_FILE, bytes));
        for (name, bytes) in
            [(ONNX_FILE, &self.onnx), (GOLDEN_FILE, &golden), (MANIFEST_FILE, &manifest)]
                .into_iter()
                .chain(symbols)
        {
            write_durably(&staged.draft_folder.join(name), bytes).map_err(failed)?;
        }
        Self::read_back(&staged.draft_folder, runtime, is_measured)?;
        Ok(staged)
    }

    /// Has the manifest speak of the table. Returns the bytes of its file.
    fn note_symbols(&mut self) -> Option<Vec<u8>> {
        let bytes = self.symbols.as_ref().map(to_json);
        self.manifest.symbols = self
            .symbols
            .as_ref()
            .zip(bytes.as_ref())
            .map(|(table, bytes)| SymbolsSpec { sha256: sha256(bytes), ..SymbolsSpec::of(table) });
        bytes
    }

    /// Where nothing is said of how rows relate, a model whose rows only round differently is said
    /// to run alone. Returns whether it was measured and mixes nothing: a draft that cannot be
    /// measured is refused when it is read back.
    fn note_rounding(&mut self, runtime: &dyn Runtime) -> bool {
        if self.manifest.exactness.is_some() {
            return false;
        }
        let measured = self.clone().into_bundle().and_then(|bundle| bundle.measure(runtime));
        let Some(measured) = measured.ok().filter(|measured| !measured.mixes()) else {
            return false;
        };
        let is_alone = measured.exactness.rows == Rows::Alone;
        self.manifest.exactness = is_alone.then_some(measured.exactness);
        true
    }

    /// What counts is what can be read back. How rows relate need not be measured twice.
    fn read_back(
        folder: &Path,
        runtime: &dyn Runtime,
        is_measured: bool,
    ) -> Result<(), BundleError> {
        let bundle = Bundle::read(folder)?;
        if !is_measured {
            return bundle.open(runtime).map(|_| ());
        }
        let refuse = |problem| BundleError::new(folder, vec![problem]);
        let opened = runtime.open(&bundle.onnx, &bundle.signature);
        let mut backend = opened.map_err(|error| refuse(format!("{ONNX_FILE}: {error}")))?;
        bundle.prove_cases(&mut *backend, usize::MAX).map_err(refuse)
    }
}

/// Writes and flushes to the disk.
fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Deterministic JSON for people, ending in a line end.
fn to_json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .expect("manifests and golden vectors have text keys and encode into memory");
    bytes.push(b'\n');
    bytes
}

/// Name and version must be those of the folders, or a copied bundle would lie about itself.
fn check_place(manifest: &Manifest, folder: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let mut compare = |field: &str, stated: &str, part: Option<&std::ffi::OsStr>| {
        if part.is_some_and(|part| part != stated) {
            let (stated, part) = (quoted(stated), part.unwrap_or_default().to_string_lossy());
            problems.push(format!(
                "{MANIFEST_FILE}: {field} is `{stated}`, but its folder is `{part}`"
            ));
        }
    };
    compare("version", &manifest.version, folder.file_name());
    let parent = folder.parent().and_then(Path::file_name);
    compare("name", &manifest.name, parent);
    problems
}

/// The golden vectors must be there and made by these features.
fn check_golden(golden: &Golden, manifest: &Manifest, plans: &Plans) -> Vec<String> {
    let mut problems = Vec::new();
    let mut problem = |text: String| problems.push(format!("{GOLDEN_FILE}: {text}"));
    if golden.schema != GOLDEN_SCHEMA {
        problem(format!("schema: `{}`, expected `{GOLDEN_SCHEMA}`", quoted(&golden.schema)));
    }
    let most = TOLERANCE_MAX * golden.size();
    if !(golden.tolerance >= 0.0 && golden.tolerance <= most) {
        problem(format!("tolerance: {} is not between 0 and {most}", golden.tolerance));
    }
    if golden.cases.is_empty() {
        problem("cases: there is none".to_owned());
    }
    for (index, case) in golden.cases.iter().enumerate() {
        let (have, want) = (case.window.len(), plans.window_steps);
        let (outputs, full) = (case.output.len(), (have + 1).saturating_sub(want));
        let has_ends = if manifest.graph.has_ends() { full } else { 0 };
        let ends = [&case.output_lower, &case.output_upper].map(Vec::len);
        let columns = manifest.graph.columns.map_or(1, |columns| columns.count as usize);
        let all = if manifest.outputs.is_empty() { 0 } else { full };
        let has_all =
            case.outputs.len() == all && case.outputs.iter().all(|row| row.len() == columns);
        if have < want || have > GOLDEN_ROWS_MAX.max(want) {
            problem(format!("cases[{index}]: {have} rows, the window has {want}"));
        } else if outputs != full {
            problem(format!("cases[{index}]: {outputs} outputs for {full} full windows"));
        } else if ends != [has_ends; 2] {
            problem(format!(
                "cases[{index}]: {ends:?} lower and upper ends, graph.columns asks for {has_ends} \
                 of each"
            ));
        } else if !has_all {
            problem(format!("cases[{index}]: outputs needs {all} rows of {columns} columns"));
        } else if let Err(text) = case.check_rows(&plans.features, &manifest.features) {
            problem(format!("cases[{index}]: {text}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the manifest may say since these bundles were sealed changes none of their bytes.
    #[test]
    fn the_bundles_that_ship_are_written_back_byte_for_byte() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let mut count = 0;
        for name in super::super::names(&root).unwrap() {
            for version in super::super::versions(&root, &name).unwrap() {
                let folder = root.join(&name).join(version);
                let bytes = |file| fs::read(folder.join(file)).unwrap();
                let manifest: Manifest = serde_json::from_slice(&bytes(MANIFEST_FILE)).unwrap();
                assert!(to_json(&manifest) == bytes(MANIFEST_FILE), "manifest of {name}");
                let golden: Golden = serde_json::from_slice(&bytes(GOLDEN_FILE)).unwrap();
                assert!(to_json(&golden) == bytes(GOLDEN_FILE), "golden vectors of {name}");
                count += 1;
            }
        }
        assert!(count >= 4, "{count} bundles");
    }
}
