//! A search for a configuration: many are tried, folds judge them, and the winner alone is judged
//! on the test part.
//!
//! ```text
//! settings, space ─> trials ─> halving: for each rung and trial
//!                                judge: a fit and its figure for each fold before the test part
//!                              winner ─> a fit on all before the test part ─> the test part, once
//! ```
//!
//! | module | owns |
//! |---|---|
//! | `settings` | the keys of a search |
//! | `space` | what varies, and the draws |
//! | `halving` | which trials get how many epochs |
//! | `judge` | the folds and the figure of a trial |
//! | `record` | what is written down |
//! | `winner` | the winner's configuration as a file |
//! | `words`, `page` | what a person reads |
//!
//! Owns the order of things. Promises the same trials, figures and winner for the same settings,
//! history and seed, whether a search was stopped in between or not, as long as no time limit ends
//! it; and that the test part is judged once, after the choice, for the winner and for the
//! configuration that was varied.
//!
//! Never: prints, reads a clock, or chooses anything by the test part.

mod error;
mod halving;
mod judge;
mod page;
mod record;
mod settings;
mod space;
mod winner;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use config::{Value, ValueKind};
use sha2::{Digest, Sha256};

pub use self::error::SearchError;
pub use self::halving::Rung;
pub use self::judge::{Figures, FoldFigures};
pub use self::record::{
    AgainstBase, Changes, Header, PAGE_FILE, RESULT_FILE, RESULT_SCHEMA, SearchResult, TRIALS_FILE,
    TRIALS_SCHEMA, TrialRecord, Untouched, WINNER_FILE,
};
pub use self::settings::{DEFAULTS, Method, Settings, TRIALS_MAX, load};
pub use self::space::{Dimension, Trial, Values};
pub use self::words::{line, plan, table};

use self::halving::{rungs, survivors};
use self::judge::Judge;
use self::record::Record;
use super::config::{TrainConfig, load_with};
use super::dataset::Dataset;
use super::error::TrainError;
use super::evaluate::headline;
use super::fit::threads::threads;
use super::fit::{FitError, Progress};
use super::history::History;
use super::job::Job;
use super::start;
use super::statistics::comparison::{diebold_mariano, skill};
use super::statistics::{squared_losses, sums_by_moment};
use super::trained::Trained;
use crate::app::config::ConfigError;
use crate::core::domain::UnixNanos;
use crate::engine::inference::Runtime;
use crate::engine::model::next_version;
use crate::ports::section::folder_of;

/// Where a search is.
#[derive(Clone, Copy, Debug)]
pub enum Event<'e> {
    /// A trial is about to be fitted.
    Begins {
        /// The rung.
        rung: Rung,
        /// The trial.
        trial: &'e Trial,
        /// How many fits this rung has, and how many of them are done.
        of: usize,
        /// The number of this one.
        at: usize,
    },
    /// A fit of it is under way.
    Fit {
        /// The fold, counted from 1.
        fold: usize,
        /// How far it is.
        progress: Progress<'e>,
    },
    /// A trial has its figures, or a reason why it has none.
    Done {
        /// Both.
        record: &'e TrialRecord,
        /// Whether they come from an earlier run.
        is_reused: bool,
    },
    /// The test part is about to be judged: for this trial.
    Untouched {
        /// The trial.
        trial: usize,
    },
}

/// What the observer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The next trial.
    GoOn,
    /// The winner among those that are done.
    TimeIsUp,
    /// Nothing more now; the search goes on another time.
    Stop,
}

/// Told of all progress; asked before each trial, and before the test part is judged.
pub type Observer<'o> = dyn FnMut(Event<'_>) -> Wish + 'o;

/// What a run of a search has come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Every fit of a trial.
    pub trials: Vec<TrialRecord>,
    /// The result; `None` where the observer stopped the search.
    pub result: Option<SearchResult>,
    /// The folder of the sealed winner, where it was sealed now.
    pub bundle: Option<PathBuf>,
}

/// Everything that is known before the first fit.
#[derive(Clone, Debug)]
pub struct Search {
    settings: Settings,
    base: TrainConfig,
    judge: Judge,
    trials: Vec<Trial>,
    rungs: Vec<Rung>,
}

impl Search {
    /// Draws the trials, reads the history, and divides each fold once.
    ///
    /// # Errors
    /// [`SearchError`]; nothing is written.
    pub fn prepare(settings: Settings) -> Result<Self, SearchError> {
        let base = load_with(&settings.base, &[])?;
        start::refuse(&base, "a search").map_err(TrainError::from)?;
        let judge = Judge::new(&settings, &base)?;
        let trials = space::trials(&settings.space, settings.seed, settings.trials_max);
        let rungs = rungs(&settings, trials.len(), base.recipe.epochs);
        Ok(Self { settings, base, judge, trials, rungs })
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The configuration that is varied.
    pub fn base(&self) -> &TrainConfig {
        &self.base
    }

    /// The trials, the first of which is the configuration that is varied.
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// The rungs, the one with the fewest epochs first.
    pub fn rungs(&self) -> &[Rung] {
        &self.rungs
    }

    /// The first instant of the test part, and where the test span of each fold begins.
    pub fn cuts(&self) -> (UnixNanos, &[UnixNanos]) {
        (self.judge.test_from, self.judge.folds())
    }

    /// Tries every trial that an earlier run in this folder has not tried, and judges the winner on
    /// the test part, unless an earlier run has.
    ///
    /// # Errors
    /// [`SearchError`]; trials that are done stay.
    pub fn run(
        &self,
        folder: &Path,
        runtime: &dyn Runtime,
        observer: &mut Observer<'_>,
    ) -> Result<Outcome, SearchError> {
        let mut record = Record::open(folder, &self.header())?;
        if let Some(result) = record::result(folder)? {
            let trials = record.trials().to_vec();
            return Ok(Outcome { trials, result: Some(result), bundle: None });
        }
        let tried = self.try_all(&mut record, observer)?;
        let (mut result, mut bundle) = (None, None);
        if let Some((winner, is_cut)) = tried
            && observer(Event::Untouched { trial: winner }) != Wish::Stop
        {
            let (found, trained) = self.untouched(&record, winner, is_cut, observer)?;
            record::write(folder, WINNER_FILE, self.winner(winner, &found)?.as_bytes())?;
            let page = page::page(self, record.trials(), &found);
            record::write(folder, PAGE_FILE, page.as_bytes())?;
            if self.settings.seals {
                bundle = Some(self.seal(&found, trained, runtime)?);
            }
            // Last: with it, the test part counts as judged.
            record::write(folder, RESULT_FILE, &record::to_json(&found))?;
            result = Some(found);
        }
        Ok(Outcome { trials: record.trials().to_vec(), result, bundle })
    }

    /// The winner, and whether time ended the search; `None` where the observer stopped it.
    fn try_all(
        &self,
        record: &mut Record,
        observer: &mut Observer<'_>,
    ) -> Result<Option<(usize, bool)>, SearchError> {
        let mut alive: Vec<usize> = self.trials.iter().map(|trial| trial.number).collect();
        let mut last = None;
        for rung in &self.rungs {
            for (at, number) in alive.iter().enumerate() {
                if let Some(found) = record.find(*number, rung.number) {
                    observer(Event::Done { record: found, is_reused: true });
                    continue;
                }
                let trial = &self.trials[number - 1];
                let event = Event::Begins { rung: *rung, trial, of: alive.len(), at: at + 1 };
                match observer(event) {
                    Wish::GoOn => {}
                    Wish::Stop => return Ok(None),
                    Wish::TimeIsUp => {
                        // Of a rung that is not whole, only a first one says anything.
                        let tried = self.figures(record, rung, &alive);
                        let winner = last.or_else(|| best(&tried));
                        let winner = winner.ok_or_else(|| self.no_trial(record))?;
                        return Ok(Some((winner, true)));
                    }
                }
                let done = self.try_one(trial, *rung, observer)?;
                observer(Event::Done { record: &done, is_reused: false });
                record.push(done)?;
            }
            let figures = self.figures(record, rung, &alive);
            last = best(&figures);
            alive = survivors(&figures, self.settings.reduction);
        }
        let winner = last.ok_or_else(|| self.no_trial(record))?;
        Ok(Some((winner, false)))
    }

    /// The figures of trials on a rung, as far as they were tried.
    fn figures(&self, record: &Record, rung: &Rung, trials: &[usize]) -> Vec<(usize, Option<f64>)> {
        let of = |trial: &usize| {
            let record = record.find(*trial, rung.number)?;
            Some((*trial, record.figures.as_ref().map(|figures| figures.loss)))
        };
        trials.iter().filter_map(of).collect()
    }

    fn no_trial(&self, record: &Record) -> SearchError {
        let problem = record.trials().iter().find_map(|trial| trial.problem.clone());
        SearchError::NoTrial(problem.unwrap_or_else(|| "the time was too short".to_owned()))
    }

    /// Fits and judges a trial on a rung. One that cannot be fitted is a trial without figures.
    fn try_one(
        &self,
        trial: &Trial,
        rung: Rung,
        observer: &mut Observer<'_>,
    ) -> Result<TrialRecord, SearchError> {
        let mut record = TrialRecord {
            trial: trial.number,
            rung: rung.number,
            epochs_max: 0,
            changes: changes(trial),
            figures: None,
            problem: None,
        };
        let config = match load_with(&self.settings.base, &trial.changes) {
            Ok(config) => config,
            Err(ConfigError { problems, .. }) => {
                record.problem = Some(problems.join("; "));
                return Ok(record);
            }
        };
        record.epochs_max = rung.epochs(config.recipe.epochs);
        let mut observer = |fold: usize, progress: Progress<'_>| {
            observer(Event::Fit { fold, progress });
        };
        match self.judge.judge(&config, record.epochs_max, &mut observer) {
            Ok(figures) if figures.loss.is_finite() => record.figures = Some(figures),
            Ok(_) => record.problem = Some("the loss is no number".to_owned()),
            Err(error) if is_of_trial(&error) => record.problem = Some(error.to_string()),
            Err(error) => return Err(error.into()),
        }
        Ok(record)
    }

    /// Fits the winner, and the configuration that is varied, to all that lies before the test
    /// part, and judges both there.
    fn untouched(
        &self,
        record: &Record,
        winner: usize,
        is_cut: bool,
        observer: &mut Observer<'_>,
    ) -> Result<(SearchResult, Trained), SearchError> {
        let of = |trial: usize| {
            let tried = record.trials().iter().filter(|record| record.trial == trial);
            tried.max_by_key(|record| record.rung).cloned()
        };
        let chosen = of(winner).ok_or_else(|| self.no_trial(record))?;
        let beside = of(1).filter(|base| base.rung == chosen.rung && base.figures.is_some());
        let (trained, dataset, history) = self.fit_whole(winner, observer)?;
        let other = match winner {
            1 => None,
            _ => {
                observer(Event::Untouched { trial: 1 });
                Some(self.fit_whole(1, observer)?)
            }
        };
        let failed: std::collections::BTreeSet<usize> = record
            .trials()
            .iter()
            .filter(|trial| trial.figures.is_none())
            .map(|trial| trial.trial)
            .collect();
        let tried: std::collections::BTreeSet<usize> =
            record.trials().iter().map(|trial| trial.trial).collect();
        let result = SearchResult {
            schema: RESULT_SCHEMA.to_owned(),
            model: self.base.name.clone(),
            control: self.settings.control,
            trials: tried.len(),
            failed: failed.len(),
            is_cut,
            winner: chosen,
            base: beside,
            test_from: self.judge.test_from,
            untouched: untouched(&trained),
            untouched_base: other.as_ref().map(|(trained, ..)| untouched(trained)),
            against_base: other.as_ref().map(|(base, base_dataset, base_history)| {
                let ours = errors(&trained, &dataset, &history);
                let theirs = errors(base, base_dataset, base_history);
                against_base(&ours, &theirs, self.base.horizon_steps)
            }),
        };
        Ok((result, trained))
    }

    /// One fit to all that lies before the test part.
    fn fit_whole(
        &self,
        trial: usize,
        observer: &mut Observer<'_>,
    ) -> Result<(Trained, Dataset, History), SearchError> {
        let config = load_with(&self.settings.base, &self.trials[trial - 1].changes)?;
        let (config, history, dataset) = self.judge.whole(&config)?;
        let models = config.models_root.join(&config.name);
        let version = next_version(&models, config.version.as_deref());
        let version = version.map_err(TrainError::Version)?;
        let job = Job::of_part(config, version, history.clone(), dataset.clone())?;
        let mut observer = |progress: Progress<'_>| {
            observer(Event::Fit { fold: 0, progress });
            ControlFlow::Continue(())
        };
        Ok((job.run_once(threads(), &mut observer)?, dataset, history))
    }

    /// The winner's configuration as text. The instant at which the test part begins is in it, so
    /// that `tickcast train` gives the model that was judged.
    fn winner(&self, winner: usize, result: &SearchResult) -> Result<String, SearchError> {
        let path = &self.settings.base;
        let base = fs::read_to_string(path).map_err(SearchError::of(path, "read"))?;
        let mut changes = self.trials[winner - 1].changes.clone();
        let test_from = Value::new(None, ValueKind::String(self.judge.test_from.to_string()));
        changes.push(("split.test_from".to_owned(), test_from));
        let text = winner::text(&base, &folder_of(path), &changes).unwrap_or_default();
        Ok(format!(
            "# The best of {} configurations on {} folds. Chosen by those, so only what lies after \
             split.test_from\n# is evidence about it.\n\n{text}",
            result.trials, self.settings.folds,
        ))
    }

    fn seal(
        &self,
        result: &SearchResult,
        trained: Trained,
        runtime: &dyn Runtime,
    ) -> Result<PathBuf, SearchError> {
        let mut draft = trained.draft;
        let verdict = &mut draft.manifest.verdict;
        *verdict += &format!(
            " It is the best of {} configurations on folds before the test part.",
            result.trials
        );
        Ok(draft.seal(&self.base.models_root, runtime).map_err(TrainError::from)?)
    }

    /// What this search is. The text of `Debug` is enough: it names every field, and a release of
    /// this program goes on with the searches of no other.
    fn header(&self) -> Header {
        let unbound = Settings {
            base: PathBuf::new(),
            output: PathBuf::new(),
            seconds_max: 0,
            seals: false,
            space: Vec::new(),
            ..self.settings.clone()
        };
        let base = TrainConfig {
            models_root: PathBuf::new(),
            reports_root: None,
            work: PathBuf::new(),
            ..self.base.clone()
        };
        let trials: Vec<_> = self.trials.iter().map(|trial| space::words(&trial.changes)).collect();
        let data = &self.judge.data_sha256;
        let version = env!("CARGO_PKG_VERSION");
        let text = format!("{version} {unbound:?} {trials:?} {base:?} {data}");
        Header {
            schema: TRIALS_SCHEMA.to_owned(),
            model: self.base.name.clone(),
            control: self.settings.control,
            method: self.settings.method.label().to_owned(),
            test_from: self.judge.test_from,
            digest: Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// Whether an error is the fault of a trial, and not of the data or the machine.
fn is_of_trial(error: &TrainError) -> bool {
    match error {
        TrainError::Features(_)
        | TrainError::Network(_)
        | TrainError::Dataset(_)
        | TrainError::Target(_) => true,
        TrainError::Fit(error) => !matches!(error, FitError::NothingYet),
        _ => false,
    }
}

fn changes(trial: &Trial) -> Changes {
    trial.changes.iter().map(|(key, value)| (key.clone(), space::json(value))).collect()
}

/// The trial with the smallest figure; of equals the first.
fn best(figures: &[(usize, Option<f64>)]) -> Option<usize> {
    let known = figures.iter().filter_map(|(trial, figure)| Some((*trial, (*figure)?)));
    known.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(trial, _)| trial)
}

/// The figures of a fit on the test part.
fn untouched(trained: &Trained) -> Untouched {
    let assessment = &trained.assessment;
    let (test, against) = (&assessment.test.figures, assessment.against());
    let name = against.kind.label();
    let best = test.baselines.iter().find(|baseline| baseline.name == name);
    Untouched {
        forecasts: test.forecasts,
        root_mean_squared_error: test.root_mean_squared_error,
        against: name.to_owned(),
        skill: best.map_or(0.0, |best| best.skill),
        skill_95: best.map_or([0.0; 2], |best| best.skill_95),
        p_value: best.map_or(1.0, |best| best.p_value),
        interval_coverage: test.interval_coverage,
        headline: headline(test, assessment.terms.kind, against),
        best_epoch: trained.fit.best_epoch,
    }
}

/// Squared errors by moment and symbol.
type Errors = BTreeMap<(i64, String), f64>;

fn errors(trained: &Trained, dataset: &Dataset, history: &History) -> Errors {
    let outcomes = &trained.assessment.test.outcomes;
    let losses = squared_losses(&outcomes.values, &outcomes.truths);
    let examples = dataset.test.examples.iter().zip(losses);
    let key = |example: &super::dataset::Example| {
        (example.as_of.as_nanos(), history.series[example.series].symbol.clone())
    };
    examples.map(|(example, loss)| (key(&example), loss)).collect()
}

/// Two configurations on the forecasts that both make.
fn against_base(ours: &Errors, theirs: &Errors, horizon: usize) -> AgainstBase {
    let (mut moments, mut winner, mut base) = (Vec::new(), Vec::new(), Vec::new());
    for (key, loss) in ours {
        if let Some(other) = theirs.get(key) {
            moments.push(key.0);
            winner.push(*loss);
            base.push(*other);
        }
    }
    let [model, baseline] = [&winner, &base].map(|losses| sums_by_moment(&moments, losses));
    let skill = skill(&model, &baseline, horizon);
    AgainstBase {
        forecasts: moments.len(),
        skill: skill.value,
        skill_95: [skill.limits.low, skill.limits.high],
        p_value: diebold_mariano(&model, &baseline, horizon).p_value,
    }
}
