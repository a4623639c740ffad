//! One training run from its configuration to a sealed bundle.
//!
//! Owns the order of things: read, divide, fit, evaluate, export, seal. Promises that nothing is
//! written before everything else succeeded, and that what is written was read back through ONNX
//! Runtime and gave the trainer's own values. Never prints and never reads a clock.

mod draft;

use std::ops::ControlFlow;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::assess::assess;
use super::config::TrainConfig;
use super::dataset::Dataset;
pub use super::error::TrainError;
use super::fit::{Fit, FitState, Progress, Recipe, fit, fit_on, resume};
use super::history::{History, read_with_steps};
use super::network::Network;
use super::repeat::{self, Material, Repeats, repeat};
use super::report::{Report, Sources};
use super::start;
pub use super::trained::Trained;
use crate::core::features::RawFeatures;
use crate::engine::model::manifest::StartSpec;
use crate::engine::model::next_version;
use crate::train::fit::checkpoint::{self, Fingerprint};

/// Everything that is known before the fit.
#[derive(Clone, Debug)]
pub struct Job {
    config: TrainConfig,
    version: String,
    features: RawFeatures,
    history: History,
    dataset: Dataset,
    network: Network,
    /// The bundle that the fit begins with.
    start: Option<StartSpec>,
}

impl Job {
    /// Reads, divides and scales the history, and plans the network.
    ///
    /// # Errors
    /// [`TrainError`]; nothing is written.
    pub fn prepare(mut config: TrainConfig) -> Result<Self, TrainError> {
        let version = version(&config)?;
        let label = config.target.label();
        let features = RawFeatures::new(&config.features, &config.extra_fields, label)?;
        let network = Network::new(config.architecture.clone())?;
        let start = start::take(&mut config, &network)?;
        let (rule, calendar) = (&config.step_rule, &config.calendar);
        let history = read_with_steps(&config.data, &features, &mut config.step, rule, calendar)?;
        let dataset = Dataset::new(&history, &config)?;
        if let Some(start) = &start {
            start::check(start, &history, &dataset, &config)?;
        }
        let job = Self { config, version, features, history, dataset, network, start };
        repeat::check(job.material())?;
        Ok(job)
    }

    /// The job of a part of a history that was read before: its model is judged by what came later,
    /// so the dataset may be without a test part.
    pub(super) fn of_part(
        config: TrainConfig,
        version: String,
        history: History,
        dataset: Dataset,
    ) -> Result<Self, TrainError> {
        let label = config.target.label();
        let features = RawFeatures::new(&config.features, &config.extra_fields, label)?;
        let network = Network::new(config.architecture.clone())?;
        Ok(Self { config, version, features, history, dataset, network, start: None })
    }

    /// The configuration.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The bundle that the fit begins with; `None` where a seed draws the parameters.
    pub fn start(&self) -> Option<&StartSpec> {
        self.start.as_ref()
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

    /// As [`Job::run`], on at most so many threads and without a checkpoint.
    ///
    /// # Errors
    /// [`TrainError::Fit`].
    pub fn run_once(
        &self,
        threads: usize,
        observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        let Self { config, dataset, network, .. } = self;
        let fit = fit_on(threads, network, dataset.examples(), &config.recipe, None, observer)?;
        self.judge(fit)
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
        let state = checkpoint::load(&self.checkpoint(), self.fingerprint())?;
        self.run_from(Some(state), observer)
    }

    fn checkpoint(&self) -> PathBuf {
        self.config.work.join(format!("{}.checkpoint", self.config.name))
    }

    /// What a state depends on. The text of `Debug` is enough: it names every field, and a
    /// release of this program reads the checkpoints of no other.
    fn fingerprint(&self) -> Fingerprint {
        let TrainConfig { data, step, window_steps, features, scaler, target, .. } = &self.config;
        let TrainConfig { horizon_steps, split, architecture, state, recipe, .. } = &self.config;
        let recipe = Recipe { epochs: 0, patience: 0, ..recipe.clone() };
        let symbols: Vec<&str> = self.history.series.iter().map(|s| s.symbol.as_str()).collect();
        let read = (&self.history.data_sha256, symbols, &data.file, data.time_unit, step);
        let labelled = (window_steps, features, scaler, target, horizon_steps, split);
        let version = env!("CARGO_PKG_VERSION");
        let text = format!("{version} {read:?} {labelled:?} {architecture:?} {state:?} {recipe:?}");
        Sha256::digest(text).into()
    }

    /// Fits from a state or from the beginning, with a checkpoint after every epoch.
    fn fit(
        &self,
        state: Option<FitState>,
        observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Fit, TrainError> {
        let examples = self.dataset.examples();
        let (path, fingerprint) = (self.checkpoint(), self.fingerprint());
        let mut failed = None;
        let mut keep = |progress: Progress| {
            if let Progress::State(state) = progress
                && let Err(error) = checkpoint::save(&path, fingerprint, state)
            {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            observer(progress)
        };
        let (network, recipe) = (&self.network, &self.config.recipe);
        let fit = match state {
            Some(state) => resume(network, examples, recipe, state, &mut keep),
            None => fit(network, examples, recipe, &mut keep),
        };
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(fit?),
        }
    }

    fn run_from(
        &self,
        state: Option<FitState>,
        observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        let fit = self.fit(state, observer)?;
        self.judge(fit)
    }

    /// Evaluates and exports a finished fit.
    fn judge(&self, fit: Fit) -> Result<Trained, TrainError> {
        let Self { config, dataset, network, .. } = self;
        let baselines = dataset.fit_baselines(config);
        let assessment = assess(network, &fit.parameters, dataset, &baselines, config)?;
        let draft = self.draft(&fit, &assessment)?;
        let (repeats, checkpoint) = (Repeats::default(), self.checkpoint());
        Ok(Trained { fit, assessment, repeats, draft, checkpoint })
    }
}

/// The version to be: the one asked for if it is free, or one more than the highest number.
fn version(config: &TrainConfig) -> Result<String, TrainError> {
    let folder = config.models_root.join(&config.name);
    next_version(&folder, config.version.as_deref()).map_err(TrainError::Version)
}

#[cfg(test)]
mod tests;
