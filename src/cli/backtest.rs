//! `tickcast backtest`: retraining on a schedule through a history.

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use super::report::ReportArgs;
use super::{Global, train};
use crate::ops::clock::Stopwatch;
use crate::ops::exit::{Exit, Failure};
use crate::train::backtest::{Backtest, BacktestError, Event, SUMMARY_FILE, plan, table};
use crate::train::config;
use crate::train::config::schedule::{Control, FOLDS_MAX, JOBS_MAX, Length, TrainingWindow};
use crate::train::fit::Progress;

/// Options of `tickcast backtest`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Cuts the history into test spans that follow each other. For each of them, it \
                  fits the model of the training configuration to the rows before the span, with \
                  scalers, baselines and interval of their own, and runs the sealed bundle through \
                  the daemon's engine. The forecasts of all spans are judged as one series, by the \
                  scores and the verdict of a replay.\n\n\
                  The options take the place of the keys of [backtest], which \
                  config/train/default.toml explains; docs/backtest.md says what the figures mean. \
                  A LENGTH is a number of steps (250) or a time (1y, 6mo, 2w, 30d, 12h).\n\n\
                  Ctrl-C stops; folds that are finished stay in the output folder, and the same \
                  command goes on with the others. A second Ctrl-C ends at once.\n\n\
                  Exit code 0: done. 75: stopped, or the output cannot be written. 78: the \
                  configuration or the history cannot be used, or the schedule gives no folds. \
                  130: ended by a second Ctrl-C.\n\n\
                  Example: tickcast backtest -c config/train/stocks-volatility.toml --every 1y \
                  --folds 5 --seeds 3"
)]
pub(super) struct BacktestArgs {
    /// The training configuration
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The history, instead of the configuration's; of the same form
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// How long the test span of each fold is
    #[arg(long, value_name = "LENGTH")]
    every: Option<Length>,
    /// How much history comes before the first test span
    #[arg(long, value_name = "LENGTH")]
    first: Option<Length>,
    /// Which rows before a test span are trained on: expanding, or the newest of a LENGTH
    #[arg(long, value_name = "WINDOW")]
    window: Option<TrainingWindow>,
    /// How many folds
    #[arg(long, value_name = "COUNT", value_parser = folds)]
    folds: Option<usize>,
    /// Fits of each fold, with seeds counted up from the first; the verdict is that of the first
    #[arg(long, value_name = "COUNT", value_parser = folds)]
    seeds: Option<usize>,
    /// The first seed, instead of the configuration's
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Learn from shuffled targets, as a check of the backtest: random-target, or none
    #[arg(long, value_name = "CONTROL", value_parser = control)]
    control: Option<Control>,
    /// How many fits run at once; 0 for as many as there are processors
    #[arg(long, value_name = "COUNT", value_parser = jobs)]
    jobs: Option<usize>,
    /// The folder of the results, instead of <backtest.output>/<name>
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    #[command(flatten)]
    report: ReportArgs,
}

pub(super) fn run(args: BacktestArgs, global: &Global) -> Result<(), Exit> {
    let mut config = config::load(&args.config).map_err(Exit::because(Failure::Configuration))?;
    config.data.path = args.input.unwrap_or(config.data.path);
    config.recipe.seed = args.seed.unwrap_or(config.recipe.seed);
    let schedule = &mut config.backtest;
    schedule.every = args.every.or(schedule.every);
    schedule.first = args.first.or(schedule.first);
    schedule.window = args.window.unwrap_or(schedule.window);
    schedule.folds = args.folds.or(schedule.folds);
    schedule.seeds = args.seeds.or(schedule.seeds);
    schedule.control = args.control.unwrap_or(schedule.control);
    let jobs = args.jobs.unwrap_or(schedule.jobs);
    let folder = match schedule.control {
        Control::None => config.name.clone(),
        control => format!("{}.{}", config.name, control.label()),
    };
    let output = args.output.unwrap_or_else(|| schedule.output.join(folder));
    let mut reports = args.report.open()?;
    // Loaded before the first fit, so that a missing library is reported at once.
    let runtime = super::runtime(global, None)?;
    train::tell_guessed(&config);
    let backtest = Backtest::prepare(config).map_err(exit)?;
    super::print(format_args!("{}", plan(&backtest)))?;

    let watch = Stopwatch::start();
    let stop = train::stop_on_signal(
        "stopping; finished folds stay; once more ends at once",
        "the same command goes on with the folds that are missing",
    )?;
    let show = Show::new(&backtest);
    let observer = |event: Event<'_>| {
        show.see(event);
        let is_stopped = stop.load(Ordering::Relaxed);
        if is_stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let summary = backtest.run(&runtime, &output, jobs, &observer);
    show.bar.finish_and_clear();
    let summary = summary.map_err(exit)?;
    let (fitted, reused) = show.counts();
    if reports.is_asked() {
        reports.add_whole(backtest.report(&output, reports.options()).map_err(exit)?);
        reports.write()?;
    }
    tell!("fitted {fitted} in {:.1} s, {reused} taken over", watch.elapsed().as_secs_f64());
    super::print(format_args!(
        "\n{}output  {}\n",
        table(&summary),
        output.join(SUMMARY_FILE).display()
    ))
}

/// The argument of `--folds` and `--seeds`.
fn folds(text: &str) -> Result<usize, String> {
    count(text, 1, FOLDS_MAX)
}

/// The argument of `--jobs`.
fn jobs(text: &str) -> Result<usize, String> {
    count(text, 0, JOBS_MAX)
}

fn count(text: &str, min: usize, max: usize) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (min..=max).contains(count));
    count.ok_or_else(|| format!("must be a whole number from {min} to {max}"))
}

/// The argument of `--control`.
fn control(text: &str) -> Result<Control, String> {
    let found = Control::CHOICES.into_iter().find(|(word, _)| *word == text);
    found.map(|(_, control)| control).ok_or_else(|| "expected random-target or none".to_owned())
}

fn exit(error: BacktestError) -> Exit {
    let failure = match &error {
        BacktestError::Train(source) | BacktestError::Fold { source, .. } => {
            train::failure_of(source)
        }
        BacktestError::Schedule(_) | BacktestError::File(_) | BacktestError::Pipeline(_) => {
            Failure::Configuration
        }
        BacktestError::Inference(_) => Failure::Internal,
        BacktestError::Output { .. } | BacktestError::Stopped => Failure::Temporary,
    };
    Exit::new(failure, error)
}

/// Shows fits on standard error: a bar where a person looks at it, otherwise a line for each.
struct Show {
    bar: ProgressBar,
    total: usize,
    fitted: AtomicUsize,
    reused: AtomicUsize,
}

impl Show {
    fn new(backtest: &Backtest) -> Self {
        let total = backtest.places().len();
        let bar = if io::stderr().is_terminal() {
            let template = "{bar:24} {pos} of {len} fits, {msg}, {eta} left";
            let style = ProgressStyle::with_template(template);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total as u64).with_style(style)
        } else {
            ProgressBar::hidden()
        };
        Self { bar, total, fitted: AtomicUsize::new(0), reused: AtomicUsize::new(0) }
    }

    fn see(&self, event: Event<'_>) {
        match event {
            Event::Fit { place, progress: Progress::Epoch(epoch) } => {
                let loss = epoch.validation_loss;
                self.bar.set_message(format!("{place} epoch {}: {loss:.6}", epoch.number));
            }
            Event::Fit { .. } => {}
            Event::Replay { place } => self.bar.set_message(format!("{place} forecasts")),
            Event::Done { place, record, is_reused } => {
                let count = if is_reused { &self.reused } else { &self.fitted };
                count.fetch_add(1, Ordering::Relaxed);
                self.bar.inc(1);
                if self.bar.is_hidden() {
                    let (fitted, reused) = self.counts();
                    let skill = record.figures.skill.map(|skill| format!("{skill:+.4}"));
                    let skill = skill.unwrap_or_else(|| "-".to_owned());
                    let how = if is_reused { ", taken over" } else { "" };
                    tell!(
                        "{} of {}, {place}: {} scores, skill {skill} against {}{how}",
                        fitted + reused,
                        self.total,
                        record.figures.scores,
                        record.against.label(),
                    );
                }
            }
        }
    }

    fn counts(&self) -> (usize, usize) {
        (self.fitted.load(Ordering::Relaxed), self.reused.load(Ordering::Relaxed))
    }
}
