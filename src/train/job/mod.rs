//! One training run from its configuration to a sealed bundle.
//!
//! Owns the order of things: read, divide, fit, evaluate, export, seal. Promises that nothing is
//! written before everything else succeeded, and that what is written was read back through ONNX
//! Runtime and gave the trainer's own values; a checkpoint and logs are what a fit leaves while it
//! is under way. Never prints, and reads a clock for nothing but these.

mod draft;
mod keep;

use std::ops::ControlFlow;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use self::keep::Keep;
use super::assess::assess;
use super::config::TrainConfig;
use super::dataset::{Dataset, DatasetError};
pub use super::error::TrainError;
use super::fit::{Fit, FitState, Progress, fit, fit_on, resume};
use super::history::{History, read_with_steps};
use super::network::Network;
use super::repeat::{self, Material, Repeats, repeat};
use super::report::{Report, Sources};
use super::start;
pub use super::trained::Trained;
use crate::core::features::RawFeatures;
use crate::engine::model::manifest::StartSpec;
use crate::engine::model::next_version;
use crate::train::fit::checkpoint::{self, Run};

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
        // A bundle that the fit starts from has no table of symbols, so the history changes
        // nothing.
        let planned = Network::new(config.architecture.clone())?;
        let start = start::take(&mut config, &planned)?;
        let (rule, calendar) = (&config.step_rule, &config.calendar);
        let history = read_with_steps(&config.data, &features, &mut config.step, rule, calendar)?;
        if let Some(symbol) = config.recipe.weights.unknown_symbol(&history.symbols()) {
            return Err(TrainError::WeightOf(symbol.to_owned()));
        }
        let dataset = Dataset::new(&history, &config)?;
        let network = dataset.network(&config)?;
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
        let network = dataset.network(&config)?;
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
        self.intact()
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
    /// checkpoint is kept of the last epoch, and the logs that the configuration asks for.
    ///
    /// # Errors
    /// [`TrainError::Fit`], or [`TrainError::Checkpoint`] or [`TrainError::Log`] where these cannot
    /// be written; no bundle is written.
    pub fn run(
        &self,
        observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        self.run_from(None, observer)
    }

    /// As [`Job::run`], on at most so many threads, without a checkpoint or a log.
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
    /// early stopping may be asked for.
    ///
    /// # Errors
    /// As [`Job::run`], and [`TrainError::Checkpoint`] where there is no such checkpoint.
    pub fn resume(
        &self,
        observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        let state = checkpoint::load(&self.checkpoint(), self.run_id(), false)?;
        self.run_from(Some(state), observer)
    }

    /// As [`Job::resume`], and the learning rate and its schedule may differ from those of the
    /// earlier run. Where they do, the schedule begins with the next epoch.
    ///
    /// # Errors
    /// As [`Job::resume`].
    pub fn resume_at_other_rate(
        &self,
        observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        let state = checkpoint::load(&self.checkpoint(), self.run_id(), true)?;
        self.run_from(Some(state), observer)
    }

    fn checkpoint(&self) -> PathBuf {
        self.config.work.join(format!("{}.checkpoint", self.config.name))
    }

    /// The folder of the logs.
    pub fn logs(&self) -> PathBuf {
        self.config.work.join(&self.config.name)
    }

    /// What a state depends on. The text of `Debug` is enough: it names every field, and a
    /// release of this program reads the checkpoints of no other.
    fn run_id(&self) -> Run {
        let TrainConfig { data, step, window_steps, features, scaler, target, .. } = &self.config;
        let TrainConfig { horizon_steps, split, architecture, state, recipe, .. } = &self.config;
        let (pace, recipe) = (recipe.pace(), recipe.fixed());
        let names: Vec<&str> = self.history.series.iter().map(|s| s.symbol.as_str()).collect();
        let read = (&self.history.data_sha256, names, &data.file, data.time_unit, step);
        let outputs = &self.config.outputs;
        let labelled = (window_steps, features, scaler, target, horizon_steps, outputs, split);
        let labelled = (labelled, self.config.window_stride);
        let version = env!("CARGO_PKG_VERSION");
        let symbols = (&self.config.statics, self.config.embedding, self.config.scaler_per);
        let text = format!(
            "{version} {read:?} {labelled:?} {architecture:?} {state:?} {recipe:?} {symbols:?}"
        );
        let pace = Sha256::digest(format!("{pace:?}"));
        Run { fit: Sha256::digest(text).into(), pace: pace.into() }
    }

    /// Fits from a state or from the beginning, and keeps a checkpoint and logs.
    fn fit(
        &self,
        state: Option<FitState>,
        observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Fit, TrainError> {
        let examples = self.dataset.examples();
        let (checkpoint, kinds) = (self.checkpoint(), &self.config.logs);
        let mut keep = Keep::begin(checkpoint, self.run_id(), &self.logs(), kinds, state.as_ref())?;
        let mut observer = |progress: Progress| match keep.see(progress) {
            ControlFlow::Continue(()) => observer(progress),
            stop @ ControlFlow::Break(()) => stop,
        };
        let (network, recipe) = (&self.network, &self.config.recipe);
        let fit = match state {
            Some(state) => resume(network, examples, recipe, state, &mut observer),
            None => fit(network, examples, recipe, &mut observer),
        };
        keep.end()?;
        Ok(fit?)
    }

    fn run_from(
        &self,
        state: Option<FitState>,
        observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        let fit = self.fit(state, observer);
        // Rows that could not be read are the reason for whatever else went wrong.
        self.intact()?;
        self.judge(fit?)
    }

    fn intact(&self) -> Result<(), TrainError> {
        Ok(self.dataset.intact().map_err(DatasetError::from)?)
    }

    /// Evaluates and exports a finished fit.
    fn judge(&self, fit: Fit) -> Result<Trained, TrainError> {
        let Self { config, dataset, network, .. } = self;
        let baselines = dataset.fit_baselines(config);
        let assessment = assess(network, &fit.parameters, dataset, &baselines, config)?;
        let draft = self.draft(&fit, &assessment)?;
        self.intact()?;
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
