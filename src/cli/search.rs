//! `tickcast train --search`: many configurations, and the best of them.
//!
//! Owns the progress of a search on the terminal and its time limit. Never judges a trial.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use super::search_options::SearchOptions;
use super::{Global, train};
use crate::ops::clock::Stopwatch;
use crate::ops::exit::{Exit, Failure};
use crate::train::config::schedule::Control;
use crate::train::fit::Progress;
use crate::train::search::{
    self, Event, Outcome, PAGE_FILE, RESULT_FILE, Search, SearchError, Settings, WINNER_FILE, Wish,
};

pub(super) fn run(options: SearchOptions, global: &Global) -> Result<(), Exit> {
    let SearchOptions { search, random_target, trials, output } = options;
    let path = search.unwrap_or_default();
    let mut settings = search::load(&path).map_err(Exit::because(Failure::Configuration))?;
    if random_target {
        settings.control = Control::RandomTarget;
        settings.seals = false;
    }
    settings.trials_max = trials.unwrap_or(settings.trials_max);
    let runtime = super::runtime(global, None)?;
    let search = Search::prepare(settings).map_err(exit)?;
    let folder = output.unwrap_or_else(|| folder(&search));
    super::print(format_args!("{}", search::plan(&search)))?;

    let watch = Stopwatch::start();
    let stop = train::stop_on_signal(
        "stopping after this trial; once more ends at once",
        "the same command goes on with the trials that are missing",
    )?;
    let mut show = Show::new(&search, watch, stop);
    let outcome = search.run(&folder, &runtime, &mut |event| show.see(event)).map_err(exit)?;
    show.bar.finish_and_clear();
    tell!("{} in {:.1} s", show.counts(), watch.elapsed().as_secs_f64());
    let Outcome { result, bundle, .. } = &outcome;
    let mut text = format!("\n{}", search::table(&outcome));
    if result.is_none() {
        return super::print(format_args!(
            "{text}\nstopped; the test part is untouched, and the same command goes on\n"
        ));
    }
    for (name, file) in [("winner", WINNER_FILE), ("report", PAGE_FILE), ("result", RESULT_FILE)] {
        text += &format!("{name:<8} {}\n", folder.join(file).display());
    }
    if let Some(bundle) = bundle {
        text += &format!("bundle   {}, proved by ONNX Runtime\n", bundle.display());
    }
    super::print(format_args!("{text}"))
}

/// A control has a folder of its own.
fn folder(search: &Search) -> PathBuf {
    let Settings { output, control, .. } = search.settings();
    let name = &search.base().name;
    match control {
        Control::None => output.join(name),
        control => output.join(format!("{name}-{}", control.label())),
    }
}

fn exit(error: SearchError) -> Exit {
    let failure = match &error {
        SearchError::Train(error) => train::failure_of(error),
        SearchError::Output { .. } => Failure::Temporary,
        _ => Failure::Configuration,
    };
    Exit::new(failure, error)
}

/// Shows a search on standard error: a bar where a person looks at it, otherwise a line for each
/// trial; and says when it ends.
struct Show {
    bar: ProgressBar,
    watch: Stopwatch,
    seconds_max: usize,
    stop: Arc<AtomicBool>,
    what: String,
    fitted: usize,
    reused: usize,
}

impl Show {
    fn new(search: &Search, watch: Stopwatch, stop: Arc<AtomicBool>) -> Self {
        let bar = if io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{bar:24} {pos} of {len}, {msg}");
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        } else {
            ProgressBar::hidden()
        };
        let seconds_max = search.settings().seconds_max;
        Self { bar, watch, seconds_max, stop, what: String::new(), fitted: 0, reused: 0 }
    }

    fn see(&mut self, event: Event<'_>) -> Wish {
        match event {
            Event::Begins { rung, trial, of, at } => {
                self.what = format!("rung {}, trial {}", rung.number, trial.number);
                self.bar.set_length(of as u64);
                self.bar.set_position(at as u64 - 1);
            }
            Event::Fit { fold, progress: Progress::Epoch(epoch) } => {
                let fold = if fold == 0 { String::new() } else { format!(", fold {fold}") };
                let (what, loss) = (&self.what, epoch.validation_loss);
                let message = format!("{what}{fold}, epoch {}: {loss:.6}", epoch.number);
                self.bar.set_message(message);
            }
            Event::Fit { .. } => {}
            Event::Done { record, is_reused } => {
                *(if is_reused { &mut self.reused } else { &mut self.fitted }) += 1;
                if self.bar.is_hidden() && !is_reused {
                    tell!("rung {}, {}", record.rung, search::line(record));
                }
            }
            Event::Untouched { trial } => {
                self.what = format!("trial {trial}, before the test part");
                if self.bar.is_hidden() {
                    tell!("fitting trial {trial} to all before the test part");
                }
            }
        }
        let limit = self.seconds_max as f64;
        if self.stop.load(Ordering::Relaxed) {
            Wish::Stop
        } else if limit > 0.0 && self.watch.elapsed().as_secs_f64() >= limit {
            Wish::TimeIsUp
        } else {
            Wish::GoOn
        }
    }

    fn counts(&self) -> String {
        format!("{} trials fitted, {} taken over", self.fitted, self.reused)
    }
}
