//! One training run from its configuration to a sealed bundle.
//!
//! Owns the order of things: read, divide, fit, evaluate, export, seal. Promises that nothing is
//! written before everything else succeeded, and that what is written was read back through ONNX
//! Runtime and gave the trainer's own values. Never prints and never reads a clock.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::assess::{Assessment, assess};
use super::baseline::Baselines;
use super::checkpoint::{self, CheckpointError, Fingerprint};
use super::config::TrainConfig;
use super::dataset::{Dataset, DatasetError, Example, Part, scaled_rows};
use super::evaluate::{Kind, verdict};
use super::export::export;
use super::fit::{Fit, FitError, Progress, Recipe, Session, Stopped, fit, predict, resume};
use super::history::{History, HistoryError, read};
use super::network::{ArchitectureError, Network};
use super::repeat::{self, Material, Repeats, repeat};
use super::report::{Report, Sources};
use super::windows::Windows;
use crate::features::{FeatureError, FeaturePlan, RawFeatures, ScalerError};
use crate::inference::Runtime;
use crate::model::golden::{GOLDEN_SCHEMA, Golden, GoldenCase, GoldenStep};
use crate::model::manifest::{MANIFEST_SCHEMA, Manifest, Mode, StepKind, TargetSpec, TrainingSpec};
use crate::model::{BundleError, Draft};
use crate::step::StepRule;

/// How far ONNX Runtime may be from the trainer, in model units, in which forecasts lie between
/// -1 and 1. Measured: 3e-7 at most.
const GOLDEN_TOLERANCE: f32 = 1e-6;
/// Golden cases from each of the validation and the test part.
const GOLDEN_CASES_PER_PART: usize = 4;

/// Everything that is known before the fit.
#[derive(Clone, Debug)]
pub struct Job {
    config: TrainConfig,
    version: String,
    features: RawFeatures,
    history: History,
    dataset: Dataset,
    network: Network,
}

/// What a run gives, still in memory.
#[derive(Clone, Debug)]
pub struct Trained {
    /// How the fit went.
    pub fit: Fit,
    /// How the model did.
    pub assessment: Assessment,
    /// How other seeds and folds did, once they ran.
    pub repeats: Repeats,
    /// What would be sealed.
    pub draft: Draft,
    /// Where the fit's checkpoint lies.
    checkpoint: PathBuf,
}

/// Why there is no bundle.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The version is there already, or the folder of models cannot be listed.
    #[error("model.version: {0}")]
    Version(String),
    /// The features cannot be resolved.
    #[error("window.features: {0}")]
    Features(#[from] FeatureError),
    /// The network cannot be built.
    #[error("network: {0}")]
    Network(#[from] ArchitectureError),
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The history cannot be divided and scaled.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A walk-forward fold cannot be divided and scaled.
    #[error("evaluate.folds: fold {number} of {count}: {source}")]
    Fold {
        /// Counted from 1.
        number: usize,
        /// How many folds.
        count: usize,
        /// Why not.
        source: DatasetError,
    },
    /// The label's scaler cannot be inverted.
    #[error("target: {0}")]
    Target(#[from] ScalerError),
    /// The fit gave nothing.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The checkpoint cannot be read, written or used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The bundle cannot be written or does not stand the proof.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl Job {
    /// Reads, divides and scales the history, and plans the network.
    ///
    /// # Errors
    /// [`TrainError`]; nothing is written.
    pub fn prepare(config: TrainConfig) -> Result<Self, TrainError> {
        let version = version(&config)?;
        let label = config.target.label();
        let features = RawFeatures::new(&config.features, &config.extra_fields, label)?;
        let network = Network::new(config.architecture.clone())?;
        let history = read(&config.data, &features, rule(&config))?;
        let dataset = Dataset::new(&history, &config)?;
        let job = Self { config, version, features, history, dataset, network };
        repeat::check(job.material())?;
        Ok(job)
    }

    /// The configuration.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The version that the bundle will have.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The history in its parts.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Repeats a finished run with other seeds and on the folds, as the configuration says, and
    /// notes the summary in its manifest. The observer may end that early; what is done counts.
    ///
    /// # Errors
    /// [`TrainError`]; nothing is written.
    pub fn repeat(
        &self,
        trained: &mut Trained,
        observer: &mut repeat::Observer<'_>,
    ) -> Result<(), TrainError> {
        trained.repeats = repeat(self.material(), &trained.assessment.test.figures, observer)?;
        trained.draft.manifest.repeats = trained.repeats.summary();
        Ok(())
    }

    /// The report of a finished run; `None` where none is asked for.
    pub fn report(&self, trained: &Trained) -> Option<Report> {
        let Self { config, history, dataset, network, .. } = self;
        let sources = Sources { config, history, dataset, network };
        config.reports_root.is_some().then(|| Report::new(sources, trained))
    }

    fn material(&self) -> Material<'_> {
        let Self { config, history, dataset, network, .. } = self;
        Material { config, history, dataset, network }
    }

    /// Fits, evaluates and exports. The observer may end the fit early; the best epoch counts. A
    /// checkpoint is kept of every epoch.
    ///
    /// # Errors
    /// [`TrainError::Fit`], or [`TrainError::Checkpoint`] where that cannot be written; no bundle
    /// is written.
    pub fn run(
        &self,
        observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        self.run_from(None, observer)
    }

    /// As [`Job::run`], from the checkpoint of an earlier run with the same configuration, history
    /// and seed; the result is that of a run that was never interrupted. More epochs and another
    /// patience may be asked for.
    ///
    /// # Errors
    /// As [`Job::run`], and [`TrainError::Checkpoint`] where there is no such checkpoint.
    pub fn resume(
        &self,
        observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        let session = checkpoint::load(&self.checkpoint(), self.fingerprint())?;
        self.run_from(Some(session), observer)
    }

    fn checkpoint(&self) -> PathBuf {
        self.config.work.join(format!("{}.checkpoint", self.config.name))
    }

    /// What a session depends on. The text of `Debug` is enough: it names every field, and a
    /// release of this program reads the checkpoints of no other.
    fn fingerprint(&self) -> Fingerprint {
        let TrainConfig { data, step, window_steps, features, target, .. } = &self.config;
        let TrainConfig { horizon_steps, split, architecture, recipe, .. } = &self.config;
        let recipe = Recipe { epochs: 0, patience: 0, ..recipe.clone() };
        let symbols: Vec<&str> = self.history.series.iter().map(|s| s.symbol.as_str()).collect();
        let read = (&self.history.data_sha256, symbols, &data.columns, data.time_unit, step);
        let labelled = (window_steps, features, target, horizon_steps, split);
        let version = env!("CARGO_PKG_VERSION");
        let text = format!("{version} {read:?} {labelled:?} {architecture:?} {recipe:?}");
        Sha256::digest(text).into()
    }

    /// Fits from a session or from the beginning, with a checkpoint after every epoch.
    fn fit(
        &self,
        session: Option<Session>,
        observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Fit, TrainError> {
        let Dataset { training, validation, .. } = &self.dataset;
        let (training, validation) = (&training.windows, &validation.windows);
        let (path, fingerprint) = (self.checkpoint(), self.fingerprint());
        let mut failed = None;
        let mut keep = |progress: Progress| {
            if let Progress::Session(session) = progress
                && let Err(error) = checkpoint::save(&path, fingerprint, session)
            {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            observer(progress)
        };
        let (network, recipe) = (&self.network, &self.config.recipe);
        let fit = match session {
            Some(session) => resume(network, training, validation, recipe, session, &mut keep),
            None => fit(network, training, validation, recipe, &mut keep),
        };
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(fit?),
        }
    }

    fn run_from(
        &self,
        session: Option<Session>,
        observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        let Dataset { training, validation, test, .. } = &self.dataset;
        let recipe = &self.config.recipe;
        let fit = self.fit(session, observer)?;
        let kind = Kind::of(&self.config.target);
        let baselines = Baselines::fit(training, kind);
        let assessment =
            assess(&self.network, &fit.parameters, &self.dataset, &baselines, &self.config)?;
        let (interval, judged) = (assessment.terms.interval, &assessment);
        let cases = self.golden_cases(&fit.parameters, &[validation, test])?;
        let evaluation = vec![judged.validation.figures.clone(), judged.test.figures.clone()];
        let verdict = verdict(&judged.test.figures, kind, interval.coverage);
        let exported = export(&self.network, &fit.parameters, &self.config.name);
        let config = &self.config;
        let manifest = Manifest {
            schema: MANIFEST_SCHEMA.to_owned(),
            name: config.name.clone(),
            version: self.version.clone(),
            // Sealing fills the hashes in.
            onnx_sha256: String::new(),
            golden_sha256: String::new(),
            window_steps: count(config.window_steps),
            horizon_steps: count(config.horizon_steps),
            step: config.step,
            features: config.features.clone(),
            extra_fields: config.extra_fields.clone(),
            scaler: self.dataset.scaler.clone(),
            target: TargetSpec {
                kind: config.target.clone(),
                scaler: self.dataset.target_scaler.clone(),
            },
            modes: if exported.graph.states.is_empty() {
                vec![Mode::Full]
            } else {
                vec![Mode::Full, Mode::Sliding]
            },
            graph: exported.graph,
            signal: config.signal,
            interval,
            training: TrainingSpec {
                data_sha256: self.history.data_sha256.clone(),
                symbols: self.history.series.iter().map(|s| s.symbol.clone()).collect(),
                from: self.dataset.training_span.0,
                to: self.dataset.training_span.1,
                windows: count(training.examples.len()),
                epochs: count(fit.epochs.len()),
                best_epoch: count(fit.best_epoch),
                seed: recipe.seed,
            },
            evaluation,
            repeats: Vec::new(),
            verdict,
        };
        let schema = GOLDEN_SCHEMA.to_owned();
        let golden = Golden { schema, tolerance: GOLDEN_TOLERANCE, cases };
        let draft = Draft { manifest, onnx: exported.onnx, golden };
        let (repeats, checkpoint) = (Repeats::default(), self.checkpoint());
        Ok(Trained { fit, assessment, repeats, draft, checkpoint })
    }

    /// Examples spread evenly over each part, the first and the last among them.
    ///
    /// A case carries the steps of its warm-up and its window, and its rows are those of a daemon
    /// that begins with them: a feature with an endless memory, such as `ema(n)`, differs by what
    /// is left of the earlier history.
    fn golden_cases(
        &self,
        parameters: &[f32],
        parts: &[&Part],
    ) -> Result<Vec<GoldenCase>, TrainError> {
        let config = &self.config;
        let (label, scaler) = (config.target.label(), &self.dataset.scaler);
        let plan = FeaturePlan::new(&config.features, &config.extra_fields, label, scaler)?;
        let mut windows = Windows::new(config.window_steps, plan.width(), 1);
        let mut cases = Vec::new();
        for part in parts {
            let last = part.examples.len() - 1;
            let places = GOLDEN_CASES_PER_PART.min(part.examples.len());
            for place in 0..places {
                let example = part.examples[last * place / (places - 1).max(1)];
                let (steps, rows) = self.golden_window(example, &plan)?;
                let start = windows.push_rows(&rows);
                windows.push_window(start, &[0.0]);
                let window = rows.chunks_exact(plan.width()).map(<[f32]>::to_vec).collect();
                cases.push(GoldenCase { steps, window, output: Vec::new() });
            }
        }
        for (case, output) in cases.iter_mut().zip(predict(&self.network, parameters, &windows)) {
            case.output = vec![output];
        }
        Ok(cases)
    }

    /// The steps behind a window from the warm-up on, and its rows `[W, F]`.
    fn golden_window(
        &self,
        Example { series, step: newest, .. }: Example,
        plan: &FeaturePlan,
    ) -> Result<(Vec<GoldenStep>, Vec<f32>), TrainError> {
        let warm_up = usize::try_from(self.features.warm_up_steps())
            .expect("a warm-up that the history has passed is a count of its steps");
        let oldest = newest + 1 - self.config.window_steps - warm_up;
        let series = &self.history.series[series];
        let steps = &series.steps[oldest..=newest];
        let rows = scaled_rows(&series.symbol, steps, plan)?;
        let schema = self.features.schema();
        let golden = steps.iter().map(|step| {
            let fields = self.features.required().iter().filter_map(|field| {
                let value = step.fields.read(*field)?;
                Some((schema.name(*field).to_owned(), value))
            });
            GoldenStep { time: step.time, fields: fields.collect() }
        });
        Ok((golden.collect(), rows))
    }
}

impl Trained {
    /// Writes the bundle below `root`, proved by ONNX Runtime before it counts; gives its folder.
    /// The checkpoint of a fit that ended by itself is then of no more use and removed; that of one
    /// that was stopped stays.
    ///
    /// # Errors
    /// [`TrainError::Bundle`]; the place is then untouched.
    pub fn seal(self, root: &Path, runtime: &Runtime) -> Result<PathBuf, TrainError> {
        let folder = self.draft.seal(root, runtime)?;
        if self.fit.stopped != Stopped::Asked {
            // Left behind it does no harm: the next run replaces it.
            let _ = std::fs::remove_file(&self.checkpoint);
        }
        Ok(folder)
    }
}

fn rule(config: &TrainConfig) -> StepRule {
    use crate::domain::DurationNanos;
    match config.step.kind {
        StepKind::Record => StepRule::Record,
        StepKind::Time => {
            let interval = DurationNanos::from_seconds(i64::from(config.step.interval_seconds));
            StepRule::Time(interval.expect("2^32 seconds in nanoseconds fit 63 bits"))
        }
    }
}

/// The version to be: the one asked for if it is free, or one more than the highest number.
fn version(config: &TrainConfig) -> Result<String, TrainError> {
    let folder = config.models_root.join(&config.name);
    if let Some(version) = &config.version {
        if folder.join(version).exists() {
            return Err(TrainError::Version(format!(
                "{} exists, and a version is never overwritten; name another, or none for the next",
                folder.join(version).display()
            )));
        }
        return Ok(version.clone());
    }
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok("1".to_owned()),
        Err(error) => {
            return Err(TrainError::Version(format!("list {}: {error}", folder.display())));
        }
    };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
    Ok((numbers.max().unwrap_or(0) + 1).to_string())
}

/// Counts are far below 2^32, which a manifest holds.
fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::loss::Loss;
    use super::super::{config, test_runtime};
    use super::*;
    use crate::forecast::Target;
    use crate::model::Bundle;

    /// A configuration over a written history, small enough for a test.
    fn small(folder: &Path, extra: &str) -> TrainConfig {
        let mut csv = "Ticker,Date,Close,Volume,Adj Close\n".to_owned();
        for day in 0..260_u32 {
            let price = 50.0 + (f64::from(day) * 0.35).sin() * 5.0 + f64::from(day) * 0.01;
            let date = format!("2001-{:02}-{:02}", 1 + day / 28, 1 + day % 28);
            csv += &format!("AAPL,{date},1,{},{price}\n", 1000 + day * 37 % 400);
        }
        let path = folder.join("history.csv");
        std::fs::write(&path, csv).unwrap();
        let text = format!(
            "[model]\nname = 'small'\nroot = '{}'\n[data]\npath = '{}'\n\
             columns = 'symbol=Ticker,time=Date,close=Adj Close,volume=Volume'\n\
             [window]\nsteps = 8\n\
             [network]\n\
             lstm = [{{ units = 6, recurrent_dropout = 0.1 }}, {{ units = 4, dropout = 0.1 }}]\n\
             dense = [{{ units = 1, activation = '{}' }}]\n\
             [fit]\nepochs_max = 6\nbatch = 16\nlearning_rate = 0.01\nwork = '{}'\n{extra}",
            folder.join("models").display(),
            path.display(),
            if extra.contains("next_event") { "sigmoid" } else { "tanh" },
            folder.join("work").display(),
        );
        config::read(&text).unwrap()
    }

    fn onwards(_: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn train(config: &TrainConfig) -> PathBuf {
        let job = Job::prepare(config.clone()).unwrap();
        let trained = job.run(&mut onwards).unwrap();
        trained.seal(&config.models_root, test_runtime()).unwrap()
    }

    #[test]
    fn a_history_becomes_a_bundle_that_stands_its_own_proof() {
        let folder = tempfile::tempdir().unwrap();
        let config = small(folder.path(), "");
        let sealed = train(&config);
        assert_eq!(sealed, config.models_root.join("small/1"));
        let bundle = Bundle::read(&sealed).unwrap();
        bundle.open(test_runtime()).unwrap();
        let manifest = bundle.manifest();
        assert_eq!(bundle.golden().cases.len(), 2 * GOLDEN_CASES_PER_PART);
        assert_eq!(manifest.graph.states.len(), 4);
        assert_eq!(manifest.training.symbols, ["AAPL"]);
        // 259 rows behind the warm-up: 165 for training, less W - 1 and the horizon.
        assert_eq!(manifest.training.windows, 165 - 8);
        assert_eq!(manifest.evaluation[0].forecasts, 42 - 8);
        assert_eq!(manifest.evaluation[1].forecasts, 52 - 8);
        assert!(manifest.verdict.contains("persistence"), "{}", manifest.verdict);
    }

    #[test]
    fn features_with_an_endless_memory_are_sealed_as_a_fresh_daemon_computes_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = small(folder.path(), "");
        let features = ["ema_gap(5)", "rsi(3)", "macd(3,5,2)", "volatility(5)", "day_of_week_sin"];
        config.features = features.map(str::to_owned).into();
        config.architecture.inputs = features.len();
        let bundle = Bundle::read(&train(&config)).unwrap();
        bundle.open(test_runtime()).unwrap();
        // The warm-up of macd, four spans of 5 and of 2, and the window.
        let steps = bundle.golden().cases.iter().map(|case| case.steps.len());
        assert_eq!(steps.collect::<Vec<_>>(), [28 + 8; 2 * GOLDEN_CASES_PER_PART]);
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let read_all = |sealed: &Path| {
            ["model.onnx", "manifest.json", "golden.json"]
                .map(|f| std::fs::read(sealed.join(f)).unwrap())
        };
        let folder = tempfile::tempdir().unwrap();
        let config = small(folder.path(), "");
        let first = read_all(&train(&config));
        let mut again = config.clone();
        again.models_root = folder.path().join("again");
        assert!(read_all(&train(&again)) == first, "another run gave other bytes");
        again.recipe.seed = 2;
        again.models_root = folder.path().join("other");
        assert!(read_all(&train(&again))[0] != first[0], "another seed gave the same model");
    }

    #[test]
    fn seeds_and_folds_show_the_spread() {
        let folder = tempfile::tempdir().unwrap();
        let config = small(folder.path(), "[evaluate]\nseeds = 2\nfolds = 3\n");
        let job = Job::prepare(config).unwrap();
        let mut trained = job.run(&mut onwards).unwrap();
        let mut seen = Vec::new();
        let mut observer = |place: repeat::Repetition, _: Progress| {
            if seen.last() != Some(&place) {
                seen.push(place);
            }
            ControlFlow::Continue(())
        };
        job.repeat(&mut trained, &mut observer).unwrap();
        let seen: Vec<_> = seen.iter().map(|at| (at.what, at.number, at.count)).collect();
        assert_eq!(seen, [("seed", 2, 2), ("fold", 1, 3), ("fold", 2, 3), ("fold", 3, 3)]);

        let Repeats { seeds, folds } = &trained.repeats;
        assert_eq!((seeds[0].skill, &*seeds[0].part), (judged(&trained).skill, "seed 1"));
        assert_ne!(seeds[1].skill, seeds[0].skill);
        assert_eq!(
            seeds[1].persistence_mean_absolute_error,
            seeds[0].persistence_mean_absolute_error
        );
        // A fold is tested behind the one before it, and all before the test part.
        let ends: Vec<_> = folds.iter().map(|fold| (fold.from, fold.to)).collect();
        assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ends:?}");
        assert!(ends[2].1 < judged(&trained).from);

        let summary = &trained.draft.manifest.repeats;
        assert_eq!((summary[0].over.as_str(), summary[0].runs), ("seeds", 2));
        assert_eq!((summary[1].over.as_str(), summary[1].runs), ("folds", 3));
        let mean = (seeds[0].skill + seeds[1].skill) / 2.0;
        assert_eq!(summary[0].skill.mean, mean);
        assert!(
            (summary[0].skill.deviation - (seeds[0].skill - mean).abs() * 2_f64.sqrt()).abs()
                < 1e-12
        );
    }

    fn judged(trained: &Trained) -> &crate::model::manifest::Evaluation {
        &trained.assessment.test.figures
    }

    #[test]
    fn a_fold_knows_nothing_of_what_follows() {
        let folder = tempfile::tempdir().unwrap();
        // The second fold would reach into the test part if that were cut along with the rest.
        let tame = small(folder.path(), "[split]\ntest = 0.4\n[evaluate]\nfolds = 2\n");
        let mut job = Job::prepare(tame).unwrap();
        let folds = |job: &Job| {
            let mut trained = job.run(&mut onwards).unwrap();
            job.repeat(&mut trained, &mut |_, _| ControlFlow::Continue(())).unwrap();
            trained.repeats.folds
        };
        let before = folds(&job);
        let test = judged(&job.run(&mut onwards).unwrap()).from;
        for step in &mut job.history.series[0].steps {
            if step.time >= test {
                step.fields.set_checked(crate::domain::Field::CLOSE, 1e6).unwrap();
            }
        }
        assert_eq!(folds(&job), before);
    }

    #[test]
    fn repetitions_that_are_stopped_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let job = Job::prepare(small(folder.path(), "[evaluate]\nseeds = 3\nfolds = 2\n")).unwrap();
        let mut trained = job.run(&mut onwards).unwrap();
        let mut observer =
            |place: repeat::Repetition, progress: Progress| match (place.number, progress) {
                (3, Progress::Epoch(_)) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            };
        job.repeat(&mut trained, &mut observer).unwrap();
        assert_eq!((trained.repeats.seeds.len(), trained.repeats.folds.len()), (2, 0));
    }

    #[test]
    fn a_fold_that_is_too_short_is_told_before_the_fit() {
        let folder = tempfile::tempdir().unwrap();
        let error = Job::prepare(small(folder.path(), "[evaluate]\nfolds = 20\n")).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("evaluate.folds: fold 1 of 20: the "), "{error}");
    }

    #[test]
    fn versions_count_up_and_are_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = small(folder.path(), "");
        assert_eq!(version(&config).unwrap(), "1");
        for there in ["2", "10", ".11.draft", "beta"] {
            std::fs::create_dir_all(config.models_root.join("small").join(there)).unwrap();
        }
        assert_eq!(version(&config).unwrap(), "11");
        config.version = Some("10".to_owned());
        let error = Job::prepare(config).unwrap_err().to_string();
        assert!(error.contains("small/10 exists"), "{error}");
    }

    #[test]
    fn a_run_that_was_stopped_is_sealed_and_resumed_to_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let config = small(folder.path(), "");
        let checkpoint = config.work.join("small.checkpoint");
        let whole = train(&config);
        assert!(!checkpoint.exists(), "the fit ended by itself");

        let job = Job::prepare(TrainConfig { version: Some("half".into()), ..config.clone() });
        let mut until_third = |progress: Progress| match progress {
            Progress::Batch { epoch: 3, done: 4, .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let stopped = job.unwrap().run(&mut until_third).unwrap();
        assert_eq!((stopped.fit.stopped, stopped.fit.epochs.len()), (Stopped::Asked, 2));
        stopped.seal(&config.models_root, test_runtime()).unwrap();
        assert!(checkpoint.exists(), "it can go on");

        let again = folder.path().join("again");
        let job = TrainConfig { version: Some("1".into()), models_root: again, ..config.clone() };
        let job = Job::prepare(job).unwrap();
        let resumed = job.resume(&mut onwards).unwrap();
        let resumed = resumed.seal(&job.config().models_root, test_runtime()).unwrap();
        for file in ["model.onnx", "manifest.json", "golden.json"] {
            let read = |bundle: &Path| std::fs::read(bundle.join(file)).unwrap();
            assert!(read(&resumed) == read(&whole), "{file} differs");
        }
        assert!(matches!(job.resume(&mut onwards), Err(TrainError::Checkpoint(_))), "it is gone");
    }

    #[test]
    fn a_checkpoint_of_another_recipe_is_refused_and_more_epochs_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let config = small(folder.path(), "");
        let job = |change: &dyn Fn(&mut TrainConfig)| {
            let mut config = config.clone();
            change(&mut config);
            Job::prepare(config).unwrap()
        };
        job(&|_| ()).run(&mut onwards).unwrap();
        for change in [
            (&|c: &mut TrainConfig| c.recipe.seed = 2) as &dyn Fn(&mut TrainConfig),
            &|c| c.recipe.clip_norm = 1.0,
            &|c| c.window_steps = 9,
            &|c| c.split.validation = 0.21,
        ] {
            let error = job(change).resume(&mut onwards).unwrap_err().to_string();
            assert!(error.contains("of another run"), "{error}");
        }
        let longer = job(&|c| c.recipe.epochs = 8).resume(&mut onwards).unwrap();
        assert_eq!(longer.fit.epochs.len(), 8);
    }

    #[test]
    fn a_checkpoint_that_cannot_be_written_ends_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let config = small(folder.path(), "");
        std::fs::write(&config.work, "a file where the folder should be").unwrap();
        let error = Job::prepare(config).unwrap().run(&mut onwards).unwrap_err();
        assert!(matches!(error, TrainError::Checkpoint(CheckpointError::Io { .. })), "{error}");
    }

    #[test]
    fn a_model_with_attention_is_sealed_for_whole_windows() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = small(folder.path(), "");
        config.architecture.attention = Some(5);
        let bundle = Bundle::read(&train(&config)).unwrap();
        bundle.open(test_runtime()).unwrap();
        assert_eq!(bundle.manifest().modes, [Mode::Full]);
    }

    #[test]
    fn a_classifier_of_events_is_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let target = "[target]\nkind = 'next_event'\nfield = 'volume'\nabove = 1200\n\
                      [forecast]\ncoverage = 0.8\n";
        let config = small(folder.path(), target);
        assert_eq!(config.recipe.loss, Loss::BinaryCrossEntropy);
        let sealed = train(&config);
        let bundle = Bundle::read(&sealed).unwrap();
        bundle.open(test_runtime()).unwrap();
        let target = &bundle.manifest().target.kind;
        assert_eq!(*target, Target::NextEvent { field: "volume".into(), above: 1200.0 });
        let outputs = bundle.golden().cases.iter().map(|case| case.output[0]);
        assert!(outputs.into_iter().all(|y| (0.0..=1.0).contains(&y)));
    }

    #[test]
    fn nothing_is_written_when_the_fit_fails() {
        let folder = tempfile::tempdir().unwrap();
        let config = small(folder.path(), "");
        let job = Job::prepare(config.clone()).unwrap();
        let stopped = job.run(&mut |_| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(TrainError::Fit(FitError::NothingYet))));
        assert!(!config.models_root.exists());
    }

    #[test]
    fn a_model_that_is_not_the_trained_one_is_not_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let config = small(folder.path(), "");
        let job = Job::prepare(config.clone()).unwrap();
        let mut trained = job.run(&mut onwards).unwrap();
        let other = job.network().initial_parameters(99);
        trained.draft.onnx = export(job.network(), &other, "small").onnx;
        let error = trained.seal(&config.models_root, test_runtime()).unwrap_err().to_string();
        assert!(error.contains("golden.json: cases[0]: output[0]: the model gives"), "{error}");
        assert!(!config.models_root.join("small/1").exists());
    }
}
