//! `tickcast watch`: forecasts in the terminal.
//!
//! Owns the command's arguments, its summary and its exit codes. Never draws: the `watch` module
//! does.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::time::Duration;

use console::Term;

use super::absent;
use crate::adapters::kafka_config::{ClusterConfig, KafkaOption, TopicPlace};
use crate::net::dial::{Dialer, Proxies, TlsFiles};
use crate::net::dial::{Header, Secret};
use crate::ops::exit::{Exit, Failure};
use crate::ops::shutdown::StopSignals;
use crate::tools::watch::{Summary, Target, View, WatchError, WatchRun, dial_options};

const EXAMPLES: &str = "\
Examples:
  A live table of two symbols:
    tickcast watch ws://127.0.0.1:9630/v1/stream --symbols AAPL,MSFT

  Twenty seconds, then one line such as `9612 forecasts for 4 symbols in 20 s`:
    tickcast watch ws://127.0.0.1:9630/v1/stream --seconds 20 --summary

  The records themselves, one a line:
    tickcast watch ws://127.0.0.1:9630/v1/stream --json | head -3

  The forecasts that a topic gets from now on, or all that it holds first:
    tickcast watch kafka://127.0.0.1:9092/forecasts
    tickcast watch kafka://127.0.0.1:9092/forecasts --from beginning

A topic is read from all partitions at once, without a group, and committed records only; it has no
end, so that --seconds or Ctrl-C ends it.

Without a terminal it prints one line a second instead of a table. It ends with 75 where no forecast
came, or where there was no server.";

/// Shows the forecasts of a running daemon, or of a Kafka topic.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct WatchArgs {
    /// The stream, ws://HOST:PORT/v1/stream or wss://, or the topic, kafka://HOST:PORT/TOPIC.
    #[arg(value_name = "URL")]
    target: Target,

    /// Of a stream at wss://: the file of the authorities that are trusted instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Of a topic: where to begin, as beginning, end or a time (RFC 3339); the end by default.
    #[arg(long, value_name = "PLACE", hide = !absent::HAS_KAFKA)]
    from: Option<TopicPlace>,

    /// Of a topic: an option of librdkafka, such as security.protocol=SSL; repeatable.
    #[arg(long = "kafka-option", value_name = "KEY=VALUE", hide = !absent::HAS_KAFKA)]
    kafka_options: Vec<KafkaOption>,

    /// Of a stream with a token: the file that holds it; else the variable TICKCAST_TOKEN.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Only these symbols; all by default.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    symbols: Vec<String>,

    /// Likewise one whose name has a comma; repeatable.
    #[arg(long, value_name = "NAME")]
    symbol: Vec<String>,

    /// End after so many seconds, counted from the first connection; never, by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,

    /// End when the server ends the stream; otherwise connect again.
    #[arg(long)]
    until_closed: bool,

    /// Print how much was seen as the last line; implies --until-closed.
    #[arg(long)]
    summary: bool,

    /// Print the records as they come, one a line; the summary goes to standard error.
    #[arg(long)]
    json: bool,

    /// How long it may take to find the server, at first and after every loss.
    #[arg(long, value_name = "N", default_value_t = 30)]
    connect_seconds: u64,
}

/// Watches until the end.
///
/// # Errors
/// 64 where the server refuses the request, 75 where there is no server or no forecast came.
pub(super) fn run(args: &WatchArgs) -> Result<(), Exit> {
    let target = target(args)?;
    let &WatchArgs { seconds, until_closed, summary, json, connect_seconds, .. } = args;
    let watch_run = WatchRun {
        target: target.clone(),
        dialer: dialer(args, &target)?,
        connect_max: Duration::from_secs(connect_seconds),
        watch_for: seconds.map(Duration::from_secs),
        until_closed: until_closed || summary,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Exit::while_doing(Failure::Internal, "start the runtime"))?;
    let (seen, outcome) = runtime.block_on(async {
        let signals = StopSignals::install()
            .map_err(Exit::while_doing(Failure::Internal, "listen for signals"))?;
        let stop = signals.first();
        let output = BufWriter::with_capacity(64 << 10, std::io::stdout());
        Ok::<_, Exit>(watch_run.run(output, view(json), stop).await)
    })?;
    // A client that still waits for its cluster is not waited for.
    runtime.shutdown_background();
    if let Err(WatchError::Output(error)) = &outcome
        && error.kind() == ErrorKind::BrokenPipe
    {
        // The reader has had enough, as `head` has.
        return Ok(());
    }
    if summary {
        say(&summary_line(&seen), json)
            .map_err(Exit::while_doing(Failure::Temporary, "write the summary"))?;
    }
    judge(&seen, outcome, &target)
}

/// How a stream is reached: through the proxies of the environment, as other programs do.
fn dialer(args: &WatchArgs, target: &Target) -> Result<Dialer, Exit> {
    let proxies = Proxies::from_variables(&super::variables()?)
        .map_err(|errors| Exit::new(Failure::Configuration, &errors[0]))?;
    let tls = TlsFiles { authorities: args.ca_file.clone(), client: None };
    let encrypted = matches!(target, Target::Stream(url) if url.endpoint().encrypted);
    let mut options = dial_options(tls, proxies);
    options.headers.extend(super::token(args.token_file.as_deref())?.map(|token| Header {
        name: "authorization".to_owned(),
        value: Secret::new(format!("Bearer {token}")),
    }));
    Dialer::new(options, encrypted).map_err(Exit::because(Failure::Configuration))
}

/// The address with everything that belongs to it.
fn target(args: &WatchArgs) -> Result<Target, Exit> {
    let WatchArgs { target, from, kafka_options, symbols, symbol, .. } = args;
    let mut target = target.clone();
    match &mut target {
        Target::Topic(topic) => {
            absent::refuse_topic("tickcast watch kafka://")?;
            if args.ca_file.is_some() {
                return Err(Exit::new(Failure::Usage, "--ca-file is for wss://HOST:PORT"));
            }
            topic.cluster = ClusterConfig::new(&topic.url, kafka_options)
                .map_err(Exit::while_doing(Failure::Usage, "--kafka-option"))?;
            topic.from = from.unwrap_or(topic.from);
        }
        Target::Stream(_) => {
            for (option, given) in
                [("--from", from.is_some()), ("--kafka-option", !kafka_options.is_empty())]
            {
                if given {
                    let what = format!("{option} is for kafka://HOST:PORT/TOPIC");
                    return Err(Exit::new(Failure::Usage, what));
                }
            }
        }
    }
    Ok(target.with_symbols(&[&symbols[..], symbol].concat()))
}

fn view(json: bool) -> View {
    let terminal = Term::stdout();
    match (json, terminal.features().is_attended()) {
        (true, _) => View::Json,
        (false, true) => {
            View::Table { colours: console::colors_enabled(), size: || Term::stdout().size() }
        }
        (false, false) => View::Lines,
    }
}

/// The last line, beside the records where standard output is theirs.
fn say(line: &str, json: bool) -> std::io::Result<()> {
    if json {
        return writeln!(std::io::stderr(), "{line}");
    }
    writeln!(std::io::stdout(), "{line}")
}

fn summary_line(seen: &Summary) -> String {
    format!(
        "{} forecasts for {} symbols in {}",
        seen.forecasts,
        seen.symbols,
        seconds(seen.elapsed)
    )
}

/// Whole seconds, and tenths where there are few of them.
fn seconds(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    if seconds < 9.95 { format!("{seconds:.1} s") } else { format!("{seconds:.0} s") }
}

/// The exit: no forecast is a failure, however the run ended.
fn judge(seen: &Summary, outcome: Result<(), WatchError>, target: &Target) -> Result<(), Exit> {
    outcome.map_err(|error| {
        let failure = if error.is_temporary() { Failure::Temporary } else { Failure::Usage };
        Exit::new(failure, error)
    })?;
    if seen.forecasts > 0 {
        return Ok(());
    }
    let else_came = match seen.unreadable {
        0 => String::new(),
        count => format!("; {count} messages were no forecasts"),
    };
    let message = format!("no forecast came from {target} in {}{else_came}", seconds(seen.elapsed));
    Err(Exit::new(Failure::Temporary, message))
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    fn parse(arguments: &[&str]) -> Result<WatchArgs, clap::Error> {
        let command = WatchArgs::augment_args(clap::Command::new("watch").no_binary_name(true));
        command
            .try_get_matches_from(arguments)
            .and_then(|mut found| WatchArgs::from_arg_matches_mut(&mut found))
    }

    fn seen(forecasts: u64, unreadable: u64, millis: u64) -> Summary {
        Summary { forecasts, symbols: 4, unreadable, elapsed: Duration::from_millis(millis) }
    }

    #[test]
    fn takes_what_its_examples_say() {
        let url = "ws://127.0.0.1:9630/v1/stream";
        let args = parse(&[url, "--symbols", "AAPL,MSFT", "--seconds", "20", "--summary"]).unwrap();
        assert_eq!((args.symbols.len(), args.seconds, args.summary), (2, Some(20), true));
        assert_eq!(args.connect_seconds, 30);
        assert!(parse(&[url, "--json"]).unwrap().json);
        for arguments in [
            &[][..],
            &["http://127.0.0.1:9630"],
            &[url, "--seconds", "0"],
            &[url, "--seconds", "x"],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }

    #[cfg(feature = "kafka")]
    #[test]
    fn takes_places_and_options_for_topics_alone() {
        let url = "kafka://127.0.0.1:9092/forecasts";
        let more = ["--from", "beginning", "--kafka-option", "a=b", "--symbols", "A"];
        let Ok(Target::Topic(topic)) = target(&parse(&[&[url], &more[..]].concat()).unwrap())
        else {
            panic!("not a topic")
        };
        assert_eq!((topic.from, topic.symbols.len()), (TopicPlace::Beginning, 1));
        assert_eq!(topic.cluster.options.len(), 1);
        for more in [&more[..2], &more[2..4]] {
            let args = parse(&[&["ws://127.0.0.1:1"], more].concat()).unwrap();
            assert_eq!(target(&args).unwrap_err().failure(), Failure::Usage, "{more:?}");
        }
        assert!(parse(&[url, "--from", "yesterday"]).is_err());
    }

    #[test]
    fn the_summary_is_one_line() {
        assert_eq!(summary_line(&seen(9612, 0, 20_031)), "9612 forecasts for 4 symbols in 20 s");
        assert_eq!(summary_line(&seen(3, 0, 1_449)), "3 forecasts for 4 symbols in 1.4 s");
        assert_eq!(summary_line(&seen(3, 0, 9_960)), "3 forecasts for 4 symbols in 10 s");
    }

    #[test]
    fn no_forecast_is_a_failure() {
        let target: Target = "ws://127.0.0.1:1".parse().unwrap();
        assert!(judge(&seen(1, 0, 20_000), Ok(()), &target).is_ok());
        let exit = judge(&seen(0, 0, 20_000), Ok(()), &target).unwrap_err();
        assert_eq!(exit.failure(), Failure::Temporary);
        assert_eq!(exit.to_string(), "no forecast came from ws://127.0.0.1:1/v1/stream in 20 s");
        let exit = judge(&seen(0, 7, 500), Ok(()), &target).unwrap_err();
        assert!(exit.to_string().ends_with("in 0.5 s; 7 messages were no forecasts"), "{exit}");
    }
}
