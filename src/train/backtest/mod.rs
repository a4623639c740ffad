//! Walk-forward: a model that is retrained on a schedule, judged by what each version had not seen.
//!
//! ```text
//! schedule ─> for each fold and seed:
//!               history before the test span ─> dataset ─> fit ─> bundle
//!               whole history ─> replay of the bundle ─> forecasts, scores of the test span
//!             chain: scores of all folds ─> ledgers ─> summary
//! ```
//!
//! | module | owns |
//! |---|---|
//! | `digest` | what a finished fold depends on |
//! | `replay` | the way through the engine |
//! | `report` | the page about all of it |
//! | `chain` | the scores of all folds as one series |
//! | `store` | the output folder |
//! | `record` | what is written down |
//! | `words` | what a person reads |
//! | `progress` | what is said on the way |
//!
//! Owns the order of things. Promises that a fold is fitted to steps before its test span and to
//! nothing else: scalers, baselines, interval, calendar, and gap are those of a history that ends
//! there, and features are checked for a look at the future as before every fit. Promises the same
//! bytes for any number of jobs and whether folds come from an earlier run or not. `docs/adr/0040`
//! has the reasons.
//!
//! Never: prints, reads a clock, or chooses anything by a test span.

mod chain;
mod digest;
mod error;
mod progress;
mod record;
mod replay;
mod report;
mod store;
mod words;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

pub use self::error::BacktestError;
pub use self::progress::{Event, Observer, Place};
pub use self::record::{
    FOLD_SCHEMA, Figures, FoldRecord, FoldSummary, PartRecord, SUMMARY_SCHEMA, SeedRecord,
    SeedSummary, Spreads, Summary, SymbolRecord, TestRecord, VerdictFigures,
};
pub use self::store::SUMMARY_FILE;
pub use self::words::{plan, table};

use self::chain::Chain;
use self::replay::{Input, Replayed, replay};
use self::store::{FORECASTS_FILE, SCORES_FILE, Store, Stored};
use super::config::TrainConfig;
use super::config::schedule::{Control, Fold};
use super::dataset::{Dataset, Part};
use super::error::TrainError;
use super::fit::{FitError, Progress, Stopped};
use super::history::{History, read, sha256};
use super::job::Job;
use super::trained::Trained;
use crate::core::domain::{DurationNanos, UnixNanos};
use crate::core::features::RawFeatures;
use crate::engine::inference::Runtime;
use crate::engine::model::Bundle;
use crate::report::{PaperOptions, ReplayReport};
use crate::train::fit::threads::threads;

/// Behind every step.
const END: UnixNanos = UnixNanos::from_nanos(i64::MAX);

/// Everything that is known before the first fit.
#[derive(Clone, Debug)]
pub struct Backtest {
    config: TrainConfig,
    features: RawFeatures,
    /// As it was read: what is said of the steps is completed fold by fold.
    history: History,
    folds: Vec<Fold>,
    seeds: Vec<u64>,
}

impl Backtest {
    /// Reads the history, finds the folds, and divides and scales the history of each once, so that
    /// one that is too short is found before the first fit.
    ///
    /// # Errors
    /// [`BacktestError`]; nothing is written.
    pub fn prepare(config: TrainConfig) -> Result<Self, BacktestError> {
        let label = config.target.label();
        let features = RawFeatures::new(&config.features, &config.extra_fields, label)
            .map_err(TrainError::from)?;
        let history = read(&config.data, &features, &config.step_rule, None);
        let history = history.map_err(TrainError::from)?;
        let folds = config.backtest.folds(&history)?;
        let count = config.backtest.seeds.unwrap_or(config.seeds);
        let seeds = (0..count as u64).map(|at| config.recipe.seed.wrapping_add(at)).collect();
        let backtest = Self { config, features, history, folds, seeds };
        for fold in &backtest.folds {
            backtest.job(fold, backtest.config.recipe.seed)?;
        }
        Ok(backtest)
    }

    /// The configuration.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The folds, oldest first.
    pub fn folds(&self) -> &[Fold] {
        &self.folds
    }

    /// The seeds; the forecasts of the first one count.
    pub fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    /// Every fit, in the order in which they begin.
    pub fn places(&self) -> Vec<Place> {
        let folds = self.folds.iter();
        let of_fold = |fold: &Fold| {
            let fold = fold.number;
            self.seeds.iter().map(move |seed| Place { fold, seed: *seed })
        };
        folds.flat_map(of_fold).collect()
    }

    /// Fits and judges every fold with every seed, `jobs` at a time (0: one for each processor),
    /// and writes the results to `output`. Folds that an earlier run has finished there are taken
    /// from it.
    ///
    /// # Errors
    /// [`BacktestError`]; folds that are finished stay, and there are no results.
    pub fn run(
        &self,
        runtime: &dyn Runtime,
        output: &Path,
        jobs: usize,
        observer: &Observer<'_>,
    ) -> Result<Summary, BacktestError> {
        let places = self.places();
        let jobs = if jobs == 0 { threads() } else { jobs }.clamp(1, places.len().max(1));
        let store = Store::open(output)?;
        let work = Work {
            backtest: self,
            runtime,
            store: &store,
            threads: (threads() / jobs).max(1),
            observer,
            is_stopped: AtomicBool::new(false),
        };
        let folds = work.all(&places, jobs)?;
        let mut records = Vec::with_capacity(self.seeds.len());
        for seed in &self.seeds {
            let mut chain = Chain::new(self.config.horizon_steps);
            for (place, stored) in places.iter().zip(&folds) {
                if place.seed == *seed {
                    chain.take(stored, store.scores(*place)?)?;
                }
            }
            records.push(chain.finish(*seed));
        }
        let summary = self.summary(&folds, records);
        let first: Vec<_> =
            places.into_iter().filter(|place| Some(&place.seed) == self.seeds.first()).collect();
        store.write_results(&first, &folds, &summary)?;
        Ok(summary)
    }

    /// The report of what [`Backtest::run`] has written to `output`.
    ///
    /// # Errors
    /// [`BacktestError`] where the results cannot be read.
    pub fn report(
        &self,
        output: &Path,
        options: PaperOptions,
    ) -> Result<ReplayReport, BacktestError> {
        let mut newest = self.places().into_iter().rev();
        let newest = newest.find(|place| Some(&place.seed) == self.seeds.first());
        let place = newest.ok_or(BacktestError::Stopped)?;
        let folder = Store::bundle(output, place, &self.config.name);
        let bundle = Bundle::read(&folder).map_err(TrainError::from)?;
        report::report(&bundle, output, options)
    }

    /// The job of one fold with one seed: everything that it knows lies before the test span.
    fn job(&self, fold: &Fold, seed: u64) -> Result<Job, BacktestError> {
        self.job_before(fold, seed).map_err(|source| self.failed(fold.number, source))
    }

    /// Why a fold gives nothing.
    fn failed(&self, number: usize, source: TrainError) -> BacktestError {
        let (count, source) = (self.folds.len(), Box::new(source));
        BacktestError::Fold { number, count, source }
    }

    fn job_before(&self, fold: &Fold, seed: u64) -> Result<Job, TrainError> {
        let mut config = self.config.clone();
        config.recipe.seed = seed;
        let mut history = self.history.before(fold.test_from);
        // The file may grow; the model of this fold does not depend on that.
        history.data_sha256 = digest::of_steps(&history, self.features.schema(), |_| END);
        let TrainConfig { data, step, step_rule, calendar, .. } = &mut config;
        history.complete_steps(step, step_rule, calendar, data.accepts_times)?;
        let mut dataset = Dataset::without_test(&history, &config, fold.train_from)?;
        if config.backtest.control == Control::RandomTarget {
            dataset.shuffle_labels(seed);
        }
        let version = Place { fold: fold.number, seed }.to_string();
        Job::of_part(config, version, history, dataset)
    }

    /// For each symbol, the instant before which a fold reads its records: the truths of its last
    /// forecasts come in the steps behind the test span, and a bar closes with a tick of the next.
    fn ends(&self, fold: &Fold) -> BTreeMap<String, UnixNanos> {
        let lateness = DurationNanos::from_milliseconds(self.config.step.lateness_ms);
        let ends = self.history.series.iter().map(|series| {
            let behind = series.steps.before(fold.test_to);
            let last = series.steps.get(behind.saturating_add(self.config.horizon_steps + 2));
            let end = last.and_then(|step| step.time.checked_add(lateness)).unwrap_or(END);
            (series.symbol.clone(), end)
        });
        ends.collect()
    }

    fn summary(&self, folds: &[Stored], mut records: Vec<SeedRecord>) -> Summary {
        let of_fold = |fold: &Fold| {
            let runs = folds.iter().map(|stored| &stored.record);
            let runs: Vec<_> = runs.filter(|record| record.fold == fold.number).collect();
            let figures: Vec<_> = runs.iter().map(|record| &record.figures).collect();
            let first = runs.first()?;
            Some(FoldSummary {
                fold: fold.number,
                test: first.test,
                against: first.against,
                figures: first.figures.clone(),
                over_seeds: Spreads::of(&figures),
            })
        };
        let seeds = records.iter().map(|record| SeedSummary {
            seed: record.seed,
            word: record.verdict.word,
            figures: record.figures.clone(),
        });
        let seeds: Vec<_> = seeds.collect();
        let figures: Vec<_> = seeds.iter().map(|seed| &seed.figures).collect();
        Summary {
            schema: SUMMARY_SCHEMA.to_owned(),
            model: self.config.name.clone(),
            control: self.config.backtest.control,
            horizon_steps: self.config.horizon_steps,
            window: self.config.backtest.window.to_string(),
            folds: self.folds.iter().filter_map(of_fold).collect(),
            over_seeds: Spreads::of(&figures),
            // There is at least one seed.
            judged: records.swap_remove(0),
            seeds,
        }
    }
}

/// The work of one run, which several threads share.
struct Work<'w> {
    backtest: &'w Backtest,
    runtime: &'w dyn Runtime,
    store: &'w Store,
    /// Of each fit.
    threads: usize,
    observer: &'w Observer<'w>,
    /// Whether nothing more is begun: the observer asked for it, or something failed.
    is_stopped: AtomicBool,
}

impl Work<'_> {
    /// Every fit, in the order of the places.
    fn all(&self, places: &[Place], jobs: usize) -> Result<Vec<Stored>, BacktestError> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while self.goes_on() {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(place) = places.get(at) else { break };
                let outcome = self.one(*place);
                if outcome.is_err() {
                    self.is_stopped.store(true, Ordering::Relaxed);
                    self.store.abandon(*place);
                }
                done.push((at, outcome));
            }
            done
        };
        let mut done = thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
            let mut done = Vec::new();
            for worker in workers {
                done.extend(worker.join().unwrap_or_else(|fault| std::panic::resume_unwind(fault)));
            }
            done
        });
        done.sort_unstable_by_key(|(at, _)| *at);
        let (mut stored, mut stopped) = (Vec::with_capacity(places.len()), false);
        for (_, outcome) in done {
            match outcome {
                Ok(one) => stored.push(one),
                // The others end because one of them failed, which is what counts.
                Err(BacktestError::Stopped) => stopped = true,
                Err(error) => return Err(error),
            }
        }
        let is_whole = !stopped && stored.len() == places.len();
        if is_whole { Ok(stored) } else { Err(BacktestError::Stopped) }
    }

    /// Fits and judges one fold with one seed.
    fn one(&self, place: Place) -> Result<Stored, BacktestError> {
        let Backtest { config, features, history, folds, .. } = self.backtest;
        let Some(fold) = folds.iter().find(|fold| fold.number == place.fold) else {
            return Err(BacktestError::Stopped);
        };
        let ends = self.backtest.ends(fold);
        let end = |symbol: &str| ends.get(symbol).copied().unwrap_or(END);
        let steps = digest::of_steps(history, features.schema(), end);
        let digest = digest::of_fold(config, fold, place.seed, &steps, self.runtime);
        if let Some(stored) = self.store.finished(place, &digest) {
            let _ = self.see(Event::Done { place, record: &stored.record, is_reused: true });
            return Ok(stored);
        }
        let failed = |source: TrainError| self.backtest.failed(place.fold, source);
        let job = self.backtest.job(fold, place.seed)?;
        let mut observer = |progress: Progress| self.see(Event::Fit { place, progress });
        let trained = match job.run_once(self.threads, &mut observer) {
            Err(TrainError::Fit(FitError::NothingYet)) => return Err(BacktestError::Stopped),
            trained => trained.map_err(failed)?,
        };
        if trained.fit.stopped == Stopped::Asked {
            return Err(BacktestError::Stopped);
        }
        let _ = self.see(Event::Replay { place });
        let draft = self.store.begin(place)?;
        let models = draft.join("models");
        let sealed = trained.draft.clone().seal(&models, self.runtime);
        let sealed = sealed.map_err(|error| failed(error.into()))?;
        let bundle = Bundle::read(&sealed).map_err(|error| failed(error.into()))?;
        let [forecasts, scores] = [FORECASTS_FILE, SCORES_FILE].map(|name| draft.join(name));
        let (data, schema) = (&config.data, features.schema());
        let input = Input { data, schema, fold, ends: &ends };
        let goes_on = || self.see(Event::Replay { place }).is_continue();
        let replayed = replay(&bundle, self.runtime, input, [&forecasts, &scores], &goes_on)?;
        let hash = |path: &Path| sha256(path).map_err(BacktestError::of(path, "read"));
        let hashes = [hash(&forecasts)?, hash(&scores)?];
        let record = record(&job, &trained, fold, &replayed, digest, hashes);
        let stored = Stored { record, sums: replayed.sums };
        self.store.finish(place, &stored)?;
        // What is finished counts, also where nothing more is begun.
        let _ = self.see(Event::Done { place, record: &stored.record, is_reused: false });
        Ok(stored)
    }

    /// Shows an event to the observer, which may end everything.
    fn see(&self, event: Event<'_>) -> ControlFlow<()> {
        if !self.goes_on() {
            return ControlFlow::Break(());
        }
        let asked = (self.observer)(event);
        if asked.is_break() {
            self.is_stopped.store(true, Ordering::Relaxed);
        }
        asked
    }

    fn goes_on(&self) -> bool {
        !self.is_stopped.load(Ordering::Relaxed)
    }
}

/// What is written down of a fold.
fn record(
    job: &Job,
    trained: &Trained,
    fold: &Fold,
    replayed: &Replayed,
    digest: String,
    [forecasts_sha256, scores_sha256]: [String; 2],
) -> FoldRecord {
    let (config, dataset, fit) = (job.config(), job.dataset(), &trained.fit);
    FoldRecord {
        schema: FOLD_SCHEMA.to_owned(),
        fold: fold.number,
        seed: config.recipe.seed,
        control: config.backtest.control,
        model: config.name.clone(),
        model_version: job.version().to_owned(),
        training: part(&dataset.training),
        validation: part(&dataset.validation),
        test: TestRecord {
            from: fold.test_from,
            until: Some(fold.test_to).filter(|until| *until < END),
            first: replayed.span.map(|[first, _]| first),
            last: replayed.span.map(|[_, last]| last),
            forecasts: replayed.forecasts,
            refused: replayed.refused,
        },
        epochs: fit.epochs.len(),
        best_epoch: fit.best_epoch,
        against: trained.assessment.baselines.against,
        figures: Figures::of(&replayed.sums.values().copied().sum()),
        digest,
        forecasts_sha256,
        scores_sha256,
    }
}

fn part(part: &Part) -> PartRecord {
    let epoch = UnixNanos::from_nanos(0);
    let (from, to) = part.span().unwrap_or((epoch, epoch));
    PartRecord { from, to, windows: part.examples.len() }
}
