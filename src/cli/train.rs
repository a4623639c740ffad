//! `tickcast train`: from a history to a sealed bundle.

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use super::search_options::SearchOptions;
use super::{Global, shared};
use crate::ops::clock::Stopwatch;
use crate::ops::exit::{Exit, Failure};
use crate::ops::shutdown::StopSignals;
use crate::train::config::{self, REPEATS_MAX, StartFrom, StateRule, TrainConfig};
use crate::train::dataset::DatasetError;
use crate::train::evaluate::headline;
use crate::train::fit::checkpoint::CheckpointError;
use crate::train::fit::{Epoch, Fit, FitError, Progress, Stopped};
use crate::train::history::HistoryError;
use crate::train::job::{Job, TrainError};
use crate::train::repeat::Repetition;
use crate::train::report::{describe, out_of_range, summary};

/// What a shell reports for a program that SIGINT ended.
const EXIT_BY_SIGNAL: i32 = 130;

/// Options of `tickcast train`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads the history through the daemon's own code, divides it in time, fits the \
                  network, evaluates it beside simple forecasts on data it never saw, seals \
                  model, manifest and golden vectors under <models>/<name>/<version>/, after \
                  ONNX Runtime gave the trainer's own values, and writes a report to \
                  <reports>/<name>/<version>/report.html.\n\n\
                  The history is a CSV file, a Parquet file (plain, snappy or zstd) or JSON lines \
                  of native ticks, as its name ends: .csv, .parquet, .jsonl. A row that cannot be \
                  used is told with its line, column and text.\n\n\
                  What a configuration may say stands, with its defaults, in \
                  config/train/default.toml.\n\n\
                  Ctrl-C seals the best epoch so far, and --resume goes on from the last one; a \
                  second Ctrl-C ends at once.\n\n\
                  With --search it tries many configurations instead, judges them by folds of the \
                  time before the test part, and judges the best of them on the test part, once. \
                  config/search/default.toml has the keys, docs/search.md how to read the result. \
                  Ctrl-C ends a search after the trial at work; the same command goes on with the \
                  others.\n\n\
                  Exit code 0: sealed. 75: the bundle, the report or a log cannot be written, or \
                  there is no epoch to seal. 78: the configuration, the history or the checkpoint \
                  cannot be used. 130: ended by a second Ctrl-C.\n\n\
                  Example: tickcast train -c config/train/aapl.toml"
)]
pub(super) struct TrainArgs {
    /// The training configuration
    #[arg(short, long, value_name = "FILE", required_unless_present = "search")]
    config: Option<PathBuf>,
    /// The folder of models, instead of the configuration's
    #[arg(long, value_name = "FOLDER")]
    models: Option<PathBuf>,
    /// The seed of everything random, instead of the configuration's
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Runs with as many seeds, counted up from the first, for mean and spread of the figures
    #[arg(long, value_name = "COUNT", value_parser = seeds)]
    seeds: Option<usize>,
    /// The version of the bundle, instead of the configuration's
    #[arg(long, value_name = "NAME")]
    version: Option<String>,
    /// Go on from the checkpoint of a run that was stopped
    #[arg(long)]
    resume: bool,
    /// The learning rate, instead of the configuration's; with --resume, the fit goes on at it and
    /// its schedule, as the configuration now has it, begins with the next epoch
    #[arg(long, value_name = "RATE", value_parser = rate)]
    learning_rate: Option<f64>,
    /// What the fit starts from, instead of the configuration's: fresh, or bundle
    #[arg(long, value_name = "WHAT", value_parser = start)]
    start: Option<StartFrom>,
    #[command(flatten)]
    pub(super) search: SearchOptions,
}

pub(super) fn run(args: TrainArgs, global: &Global) -> Result<(), Exit> {
    let learning_rate = args.learning_rate;
    let TrainArgs { config, models, seed, seeds, version, resume, start, .. } = args;
    // Without it there is a search, which another module runs.
    let config = config.unwrap_or_default();
    let mut config = config::load(&config).map_err(Exit::because(Failure::Configuration))?;
    config.start.from = start.unwrap_or(config.start.from);
    config.models_root = models.unwrap_or(config.models_root);
    config.recipe.seed = seed.unwrap_or(config.recipe.seed);
    config.seeds = seeds.unwrap_or(config.seeds);
    config.version = version.or(config.version);
    config.recipe.learning_rate = learning_rate.unwrap_or(config.recipe.learning_rate);
    // Loaded before the fit, so that a missing library is told at once and not minutes later.
    let runtime = super::runtime(global, None)?;
    tell_guessed(&config);
    let job = Job::prepare(config).map_err(exit)?;
    announce(&job)?;

    let watch = Stopwatch::start();
    let mut show = Show::new(&job, None);
    let stop = stop_on_signal(
        "sealing the best epoch so far; once more ends at once",
        "`--resume` goes on from the newest checkpoint",
    )?;
    let stopped = |seen: ControlFlow<()>| {
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { seen }
    };
    let mut observer = |progress: Progress| stopped(show.see(progress));
    let trained = match (resume, learning_rate) {
        (false, _) => job.run(&mut observer),
        (true, None) => job.resume(&mut observer),
        (true, Some(_)) => job.resume_at_other_rate(&mut observer),
    };
    let mut trained = trained.map_err(exit)?;
    show.finish();
    let outcome = outcome(&trained.fit, show.seen, watch.elapsed().as_secs_f64());
    let mut repeated = None;
    let mut observer = |place: Repetition, progress: Progress| {
        if repeated != Some(place) {
            repeated = Some(place);
            show.finish();
            show = Show::new(&job, Some(place));
        }
        stopped(show.see(progress))
    };
    job.repeat(&mut trained, &mut observer).map_err(exit)?;
    show.finish();
    let manifest = trained.draft.manifest.clone();
    let report = job.report(&trained);
    let assessment = &trained.assessment;
    let (test, kind) = (&assessment.test.figures, assessment.terms.kind);
    let headline = headline(test, kind, assessment.against());
    let folder = trained.seal(&job.config().models_root, &runtime).map_err(exit)?;
    let answered = super::print(format_args!(
        "\n{outcome}\n\n{}{}\n\nverdict  {headline}\nbundle   {}, proved by ONNX Runtime\n",
        summary(&manifest),
        manifest.verdict,
        folder.display()
    ));
    // Last, and after the bundle: a full disk takes the report and not the model.
    if let (Some(report), Some(root)) = (report, &job.config().reports_root) {
        let page = report.write(root).map_err(|(path, source)| {
            Exit::new(Failure::Temporary, format!("write {}: {source}", path.display()))
        })?;
        super::print(format_args!("report   {}\n", page.display()))?;
    }
    answered
}

/// The argument of `--start`.
fn start(text: &str) -> Result<StartFrom, String> {
    let found = StartFrom::CHOICES.into_iter().find(|(word, _)| *word == text);
    found.map(|(_, start)| start).ok_or_else(|| "expected fresh or bundle".to_owned())
}

/// The argument of `--seeds`.
fn seeds(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=REPEATS_MAX).contains(count));
    count.ok_or_else(|| format!("must be a whole number from 1 to {REPEATS_MAX}"))
}

/// The argument of `--learning-rate`.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "must be a number above 0".to_owned())
}

/// A switch that the first Ctrl-C (or SIGTERM) turns on, with the words `first`; the second ends
/// the process at once, with the words `second` about what is left.
pub(super) fn stop_on_signal(
    first: &'static str,
    second: &'static str,
) -> Result<Arc<AtomicBool>, Exit> {
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Exit::while_doing(Failure::Internal, "start the runtime"))?;
    let mut signals = {
        let _inside = runtime.enter();
        StopSignals::install()
            .map_err(Exit::while_doing(Failure::Internal, "listen for signals"))?
    };
    let switch = Arc::clone(&stop);
    let listen = move || {
        runtime.block_on(async {
            let name = signals.next().await;
            switch.store(true, Ordering::Relaxed);
            tell!("\n{name}: {first}");
            signals.next().await;
            tell!("ended; {second}");
            std::process::exit(EXIT_BY_SIGNAL);
        });
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(listen)
        .map_err(Exit::while_doing(Failure::Internal, "start a thread"))?;
    Ok(stop)
}

fn exit(error: TrainError) -> Exit {
    Exit::new(failure_of(&error), error)
}

/// What a failed fit is to a supervisor.
pub(super) fn failure_of(error: &TrainError) -> Failure {
    match error {
        TrainError::Fit(FitError::NothingYet)
        | TrainError::History(HistoryError::Spill(_))
        | TrainError::Dataset(DatasetError::Spill(_)) => Failure::Temporary,
        TrainError::Version(_)
        | TrainError::Features(_)
        | TrainError::Network(_)
        | TrainError::History(_)
        | TrainError::Dataset(_)
        | TrainError::Fold { .. }
        | TrainError::Symbols(_)
        | TrainError::Target(_)
        | TrainError::WeightOf(_)
        | TrainError::Start(_)
        | TrainError::Fit(_) => Failure::Configuration,
        TrainError::Checkpoint(error) => match error {
            CheckpointError::Io { action: "read", .. }
            | CheckpointError::Damaged { .. }
            | CheckpointError::Foreign { .. }
            | CheckpointError::OtherPace { .. } => Failure::Configuration,
            CheckpointError::Io { .. } => Failure::Temporary,
        },
        TrainError::Log(_) | TrainError::Bundle(_) => Failure::Temporary,
    }
}

/// Says what was found of the form of the history. Why one does not open, the job says.
pub(super) fn tell_guessed(config: &TrainConfig) {
    let data = &config.data;
    let _ = shared::open_file(&data.path, data.file.clone());
}

/// How many steps ahead each output looks.
fn horizons(config: &TrainConfig) -> String {
    let further = config.outputs.further_horizons.iter();
    let all = std::iter::once(&config.horizon_steps).chain(further);
    all.map(usize::to_string).collect::<Vec<_>>().join(" and ")
}

/// Says what is about to be trained on what.
fn announce(job: &Job) -> Result<(), Exit> {
    let (config, dataset) = (job.config(), job.dataset());
    let mut text = format!(
        "{} {}\n  forecasts   {} over {} step(s)\n  window      {} steps of {}\n  network     {}\n",
        config.name,
        job.version(),
        config.target.label(),
        horizons(config),
        config.window_steps,
        config.features.join(", "),
        describe(job.network())
    );
    if config.usual_features {
        text += "  features    the usual ones of this target; `window.features` names others\n";
    }
    if let Some(symbols) = &dataset.symbols {
        text += &format!("  symbols     {} told apart\n", symbols.trained().len());
    }
    if config.state == StateRule::Carried {
        let steps = config.window_steps;
        text += &format!("  state       carried, gradients through {steps} steps\n");
    }
    if !config.logs.is_empty() {
        text += &format!("  logs        {}\n", job.logs().display());
    }
    if let Some(start) = job.start() {
        text += &format!("  begins with {start}\n");
    }
    for (name, part) in [
        ("training", &dataset.training),
        ("validation", &dataset.validation),
        ("test", &dataset.test),
    ] {
        if let Some((from, to)) = part.span() {
            let count = part.examples.len();
            text += &format!("  {name:<11} {count} windows, {from} to {to}\n");
        }
    }
    if config.architecture.recurrent.iter().any(|layer| layer.recurrent_dropout > 0.0) {
        text += RECURRENT_DROPOUT;
    }
    super::print(format_args!("{text}{}", out_of_range(&dataset.out_of_range)))
}

/// For users of Keras.
const RECURRENT_DROPOUT: &str = "
  recurrent dropout: one mask for all gates, as in Keras 3.0 to 3.7; Keras from 3.8 on draws one
  for each gate, so its fits differ (docs/fitting.md)
";

/// Shows a fit on standard error: a bar where a person looks at it, otherwise a line per epoch.
struct Show {
    bar: ProgressBar,
    /// What stands before every line: which repetition it is.
    prefix: String,
    epochs: usize,
    seen: usize,
    best: Option<Epoch>,
    last: Option<Epoch>,
}

impl Show {
    /// Of the run itself, or of one repetition of it.
    fn new(job: &Job, repetition: Option<Repetition>) -> Self {
        let recipe = &job.config().recipe;
        let bar = if io::stderr().is_terminal() {
            let template = "{bar:24} {msg}, {per_sec} batches, at most {eta} left";
            let style = ProgressStyle::with_template(template);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(0).with_style(style)
        } else {
            ProgressBar::hidden()
        };
        let prefix = repetition.map_or_else(String::new, |Repetition { what, number, count }| {
            format!("{what} {number} of {count}, ")
        });
        Self { bar, prefix, epochs: recipe.epochs, seen: 0, best: None, last: None }
    }

    fn see(&mut self, progress: Progress) -> ControlFlow<()> {
        match progress {
            Progress::Batch { epoch, done, total, training_loss } => {
                // Epochs may differ by a batch.
                self.bar.set_length((total * self.epochs) as u64);
                self.bar.set_position((total * (epoch - 1) + done) as u64);
                let text = self.text(epoch, training_loss);
                self.bar.set_message(text);
            }
            Progress::Epoch(epoch) => {
                self.seen += 1;
                self.last = Some(epoch);
                if epoch.best {
                    self.best = Some(epoch);
                }
                if self.bar.is_hidden() {
                    tell!("{}", self.text(epoch.number, epoch.training_loss));
                }
            }
            Progress::State(_) => {}
        }
        ControlFlow::Continue(())
    }

    fn text(&self, epoch: usize, training_loss: f64) -> String {
        let Self { prefix, epochs, .. } = self;
        let mut text = format!("{prefix}epoch {epoch} of {epochs}: loss {training_loss:.6}");
        if let Some(last) = self.last {
            let (loss, error) = (last.validation_loss, last.validation_absolute_error);
            text += &format!(", validation {loss:.6}, absolute error {error:.6}");
        }
        if let Some(best) = self.best {
            text += &format!(" (best {:.6} in {})", best.validation_loss, best.number);
        }
        text
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// `seen` of the fit's epochs took `seconds`; the others came with a checkpoint.
fn outcome(fit: &Fit, seen: usize, seconds: f64) -> String {
    let why = match fit.stopped {
        Stopped::Epochs => "all of them",
        Stopped::Patience => "no better one for as long as the patience",
        Stopped::Asked => "stopped on request; `--resume` goes on",
    };
    let epochs = fit.epochs.len();
    format!(
        "{epochs} epochs ({why}), {seen} of them now in {seconds:.1} s, {:.3} s each; best: {}",
        seconds / seen.max(1) as f64,
        fit.best_epoch
    )
}
