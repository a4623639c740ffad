//! The command line: one module per command, each a few lines into the library.
//!
//! Owns the words that a person types and reads. Promises that a wrong command line ends with 64
//! and a broken configuration with 78, with all its problems. Never computes.

/// Writes a line to standard error, as `eprintln!` does. Where nothing takes it, the line is lost
/// and the command goes on.
macro_rules! tell {
    ($($words:tt)*) => { $crate::cli::shared::tell(format_args!($($words)*)) };
}

mod absent;
#[cfg(feature = "train")]
mod backtest;
mod bench;
#[cfg(feature = "kafka")]
mod bridge;
mod check;
mod config;
mod confined;
mod data;
mod docs;
mod elsewhere;
mod feed;
#[cfg(feature = "kafka")]
mod feed_topic;
mod map;
mod map_rest;
mod model;
#[cfg(not(feature = "kafka"))]
mod no_topic;
mod prove;
mod replay;
mod report;
#[cfg(feature = "train")]
mod search;
#[cfg(feature = "train")]
mod search_options;
mod serve;
mod shared;
#[cfg(feature = "kafka")]
mod topic;
#[cfg(feature = "train")]
mod train;
mod watch;

use std::ffi::OsString;
use std::io::IsTerminal;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

#[cfg(not(feature = "kafka"))]
use self::no_topic as topic;
use self::shared::{
    Global, Proven, as_daemon, child_prover, configuration, library, log_warnings, logging, print,
    proven, reference, runtime, taken_line, tell_address, token, variables,
};
use crate::keep::prove::{CONFINED, PROVE};
use crate::ops::exit::{Exit, Failure};

/// Turns live ticks into live forecasts.
#[derive(Debug, Parser)]
#[command(
    name = "tickcast",
    version,
    about = "Turns live ticks into live forecasts",
    long_about = "Turns live ticks into live forecasts: consumes ticks, keeps a rolling window of \
                  steps per symbol, runs an LSTM through ONNX Runtime, and publishes forecasts.",
    after_help = "Begin with `make demo`, or: tickcast check -c config/tickcast.toml\n\
                  Exit codes: 0 done, 64 usage, 65 data, 70 internal, 75 try again, 78 \
                  configuration.",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Serve(serve::ServeArgs),
    /// Run recorded input through the same code and write its forecasts
    Replay(replay::ReplayArgs),
    /// Report every problem of a configuration and its model at once
    Check(check::CheckArgs),
    /// Show the settings in effect, or all that there are
    Config(config::ConfigArgs),
    /// Write shell completions or the manual page
    Docs(docs::DocsArgs),
    /// List, inspect and verify sealed models
    Model(model::ModelArgs),
    /// Fit a model to a history, evaluate it and seal it
    #[cfg(feature = "train")]
    Train(train::TrainArgs),
    /// Retrain on a schedule through a history, and judge each model by what came later
    #[cfg(feature = "train")]
    Backtest(backtest::BacktestArgs),
    /// Show what is understood of a file, and which rows cannot be used
    Data(data::DataArgs),
    /// Play recorded data as a live feed: a WebSocket server or a Kafka topic
    Feed(feed::FeedArgs),
    /// Show what a venue's mapping makes of recorded messages
    Map(map::MapArgs),
    /// Put a live WebSocket feed onto a Kafka topic
    #[cfg(feature = "kafka")]
    Bridge(bridge::BridgeArgs),
    /// Watch forecasts in the terminal
    Watch(watch::WatchArgs),
    /// Measure inference and the pipeline beside raw ONNX Runtime
    Bench(bench::BenchArgs),
}

/// Runs the command line.
///
/// # Errors
/// [`Exit`] with what to tell the person and the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Exit> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // They are no commands of a person, so neither the help nor the completions know them.
    if arguments.get(1).is_some_and(|word| word == PROVE) {
        return prove::run(&arguments[1..]);
    }
    if arguments.get(1).is_some_and(|word| word == CONFINED) {
        return confined::run(&arguments[1..]);
    }
    let typed = arguments.iter().skip(1).cloned().collect();
    let mut program = program();
    let matches = match program.try_get_matches_from_mut(arguments) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => {
            // The message begins with "error: " and ends with a line end; ours does neither.
            let text = error.render();
            let text = if std::io::stderr().is_terminal() {
                text.ansi().to_string()
            } else {
                text.to_string()
            };
            return Err(Exit::new(Failure::Usage, text.trim_end()));
        }
        Err(help) => {
            // A closed pipe behind `--help` is no failure.
            let _ = help.print();
            return Ok(());
        }
    };
    absent::refuse(&matches, absent::FEATURES)?;
    let Cli { global, command } =
        Cli::from_arg_matches(&matches).map_err(Exit::because(Failure::Usage))?;
    let global = Global { arguments: typed, ..global };
    match command {
        Command::Serve(args) => serve::run(args, &global),
        Command::Replay(args) => replay::run(&args, &global),
        Command::Check(args) => check::run(&args, &global),
        Command::Config(args) => config::run(&args),
        Command::Docs(args) => docs::run(&args),
        Command::Model(args) => model::run(args, &global),
        #[cfg(feature = "train")]
        Command::Train(args) if args.search.search.is_some() => search::run(args.search, &global),
        #[cfg(feature = "train")]
        Command::Train(args) => train::run(args, &global),
        #[cfg(feature = "train")]
        Command::Backtest(args) => backtest::run(args, &global),
        Command::Data(args) => data::run(&args),
        Command::Feed(args) => feed::run(args),
        Command::Map(args) => map::run(&args),
        #[cfg(feature = "kafka")]
        Command::Bridge(args) => bridge::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Bench(args) => bench::run(&args, &global),
    }
}

/// The whole command line, with the commands that this build lacks.
fn program() -> clap::Command {
    absent::add(Cli::command(), absent::FEATURES)
}
