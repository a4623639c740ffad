//! `tickcast feed`: recorded data as a live feed, a WebSocket server or a Kafka topic.
//!
//! Owns the command's arguments, its first line of output and its progress line. Never plays: the
//! `feed` module does.

use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use console::Term;

use super::shared::{FileArgs, open_file, time_unit};
use super::{absent, topic};
use crate::adapters::file::{Dialect, FileOptions};
use crate::adapters::kafka_config::{ClusterConfig, KafkaOption, KafkaUrl};
use crate::core::domain::TimeUnit;
use crate::ops::clock::Stopwatch;
use crate::ops::exit::{Exit, Failure};
use crate::ops::meter::Meter;
use crate::ops::shutdown::StopSignals;
use crate::tools::feed::{FeedServer, Order, Pace, Progress, Recording, Selection, WhenDone};

/// Fast enough to watch years of days pass in a minute, slow enough for any reader.
const RATE_DEFAULT: Pace = Pace::Rate(500.0);

/// Partitions of a topic that has to be made: a few instances can share it.
const PARTITIONS_DEFAULT: i32 = 4;

/// How often the progress line is written.
pub(super) const PROGRESS_EVERY: Duration = Duration::from_millis(200);

const EXAMPLES: &str = "\
Examples:
  Daily prices of two symbols in event-time order, 500 ticks a second:
    tickcast feed --input stocks.csv --symbols AAPL,MSFT \\
      --columns 'symbol=Ticker,time=Date,close=Adj Close,volume=Volume'

  Recorded ticks on a known port, an hour in 3.6 seconds, to one subscriber:
    tickcast feed --input ticks.jsonl --to ws://127.0.0.1:9701 \\
      --speed 1000x --exit-when-done

  The same recording once onto a Kafka topic, as fast as the cluster takes it:
    tickcast feed --input ticks.jsonl --to kafka://127.0.0.1:9092/ticks --speed max

  With a login, onto a topic that is made with 12 partitions:
    tickcast feed --input ticks.jsonl --to kafka://kafka-1:9093,kafka-2:9093/ticks \\
      --partitions 12 --kafka-option security.protocol=SASL_SSL \\
      --kafka-option sasl.mechanism=SCRAM-SHA-512 \\
      --kafka-option sasl.username=me \\
      --kafka-option sasl.password_file=/run/secrets/kafka

With ws:// the first line on standard output is the address. Every subscriber gets the recording
from its beginning, one tick per text message, then a close with the reason \"recording ended\".

With --history N the first N records of each symbol are not played, and the same port answers
http://HOST:PORT/history?symbol=AAPL&from=2000-03-01T00:00:00Z&to=2000-06-01T00:00:00Z&limit=60 with
{\"rows\":[...]}: native ticks, the oldest first, of those held back and of those that a subscriber
has had. `from` is part of the range and `to` is not. A daemon asks for them with [source.rest] and
history.rest = true.

With kafka:// each tick is one record, keyed by its symbol, so that all ticks of a symbol are in one
partition in their order. It ends with one line such as `12345 records acknowledged` when the
cluster has all of them, and with 75 where it does not take one.";

/// Plays recorded data as a live feed: a WebSocket server or a Kafka topic.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct FeedArgs {
    /// The recording: CSV (.csv, .tsv), Parquet (.parquet, in builds with the feature `train`) or
    /// JSON lines (.jsonl, .ndjson, .json), plain or with .gz or .zst behind; `-` is standard
    /// input, which cannot be Parquet.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,

    /// Play only these symbols; all by default. Records without a readable symbol are played too.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    symbols: Vec<String>,

    /// The unit of event times that are numbers: s, ms, us or ns.
    #[arg(long, value_name = "UNIT", default_value = "ms", value_parser = time_unit)]
    time_unit: TimeUnit,

    /// Take times for right that look like those of another unit.
    #[arg(long)]
    accept_times: bool,

    /// Where to listen: ws://HOST:PORT, port 0 takes a free one; or the topic to write:
    /// kafka://HOST:PORT/TOPIC.
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:0")]
    to: String,

    /// For kafka://: partitions of the topic where it has to be made; 4 by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    #[arg(hide = !absent::HAS_KAFKA)]
    partitions: Option<i32>,

    /// For kafka://: an option of librdkafka, such as security.protocol=SSL; repeatable.
    #[arg(long = "kafka-option", value_name = "KEY=VALUE", hide = !absent::HAS_KAFKA)]
    kafka_options: Vec<KafkaOption>,

    /// How much faster than the clock event time runs, such as 1000x, or `max`: as fast as the
    /// subscriber reads or the cluster takes it.
    #[arg(long, value_name = "FACTOR", value_parser = Pace::parse_speed, conflicts_with = "rate")]
    speed: Option<Pace>,

    /// How many ticks per second, whatever their event times, such as 500/s. This is the default,
    /// at 500/s.
    #[arg(long, value_name = "TICKS/s", value_parser = Pace::parse_rate)]
    rate: Option<Pace>,

    /// Play the file's own order instead of ordering by event time, so that times running
    /// backwards stay so.
    #[arg(long)]
    keep_order: bool,

    /// For ws://: hold the first N records of each symbol back, and answer questions about the past
    /// at /history on the same port.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    history: Option<u32>,

    /// For ws://: end once one subscriber has had the whole recording. A topic has it once anyway.
    #[arg(long)]
    exit_when_done: bool,

    /// Allow an address that other machines can reach. The feed has no authentication.
    #[arg(long)]
    insecure_bind: bool,

    #[command(flatten)]
    file: FileArgs,
}

/// Loads the recording, binds, prints the address and plays until it is told to end.
///
/// # Errors
/// 64 for an address that makes no sense, 65 for a recording that cannot be played, 75 for an
/// address that is taken.
pub(super) fn run(args: FeedArgs) -> Result<(), Exit> {
    let to = target(&args)?;
    let dialect = Dialect { keeps_order: args.keep_order, ..Dialect::default() };
    let configured = FileOptions { dialect, ..FileOptions::default() };
    let options = args.file.options(configured)?;
    let time_format = options.dialect.times.clone();
    let records = open_file(&args.input, options)?;
    let order = if args.keep_order { Order::File } else { Order::EventTime };
    let selection = Selection {
        symbols: args.symbols.into_iter().collect(),
        time_unit: args.time_unit,
        time_format,
        accepts_times: args.accept_times,
        order,
        history: args.history.map(|count| count as usize),
    };
    let recording =
        Recording::load(&args.input, records, &selection).map_err(Exit::because(Failure::Data))?;
    let pace = args.speed.or(args.rate).unwrap_or(RATE_DEFAULT);
    let when_done = if args.exit_when_done { WhenDone::Exit } else { WhenDone::Continue };
    let address = match to {
        To::Subscribers(address) => address,
        To::Topic(TopicTarget { url, cluster, partitions }) => {
            return topic::play(&url, &cluster, partitions, &recording, pace);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Exit::while_doing(Failure::Internal, "start the runtime"))?;
    runtime.block_on(async {
        let signals = StopSignals::install()
            .map_err(Exit::while_doing(Failure::Internal, "listen for signals"))?;
        let stop = signals.first();
        let server = FeedServer::bind(address).await.map_err(Exit::because(Failure::Temporary))?;
        announce(server.local_addr())?;
        let progress = Arc::new(Progress::default());
        let show = show_progress(Arc::clone(&progress));
        let play = server.run(Arc::new(recording), pace, when_done, progress, stop);
        tokio::select! {
            biased;
            () = play => {}
            () = show => {}
        }
        if Term::stderr().is_term() {
            // The last progress stays, and what follows begins on a line of its own.
            tell!("");
        }
        Ok(())
    })
}

/// The address as the first line on standard output, for whoever started this on port 0.
fn announce(address: SocketAddr) -> Result<(), Exit> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "ws://{address}")
        .and_then(|()| output.flush())
        .map_err(Exit::while_doing(Failure::Temporary, "write the address"))
}

/// Where a recording is played to.
#[derive(Debug)]
enum To {
    Subscribers(SocketAddr),
    Topic(TopicTarget),
}

/// The topic to write.
#[derive(Debug)]
struct TopicTarget {
    url: KafkaUrl,
    cluster: ClusterConfig,
    /// Where it has to be made.
    partitions: i32,
}

fn target(args: &FeedArgs) -> Result<To, Exit> {
    let FeedArgs { to, partitions, kafka_options, history, .. } = args;
    if to.starts_with(KafkaUrl::SCHEME) {
        absent::refuse_topic("--to kafka://")?;
        if history.is_some() {
            let what = "--history is for --to ws://HOST:PORT; the history of a topic is in it";
            return Err(Exit::new(Failure::Usage, what));
        }
        let url: KafkaUrl =
            to.parse().map_err(Exit::while_doing(Failure::Usage, format_args!("--to `{to}`")))?;
        let cluster = ClusterConfig::new(&url, kafka_options)
            .map_err(Exit::while_doing(Failure::Usage, "--kafka-option"))?;
        let partitions = partitions.unwrap_or(PARTITIONS_DEFAULT);
        return Ok(To::Topic(TopicTarget { url, cluster, partitions }));
    }
    for (option, given) in
        [("--partitions", partitions.is_some()), ("--kafka-option", !kafka_options.is_empty())]
    {
        if given {
            let what = format!("{option} is for --to kafka://HOST:PORT/TOPIC");
            return Err(Exit::new(Failure::Usage, what));
        }
    }
    listen_address(to, args.insecure_bind).map(To::Subscribers)
}

/// The address behind a `ws://` URL; loopback only, unless others are allowed.
fn listen_address(url: &str, insecure_bind: bool) -> Result<SocketAddr, Exit> {
    let usage = |problem: &str| Exit::new(Failure::Usage, format_args!("--to `{url}`: {problem}"));
    let rest = url
        .strip_prefix("ws://")
        .ok_or_else(|| usage("expected ws://HOST:PORT or kafka://HOST:PORT/TOPIC"))?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('/') {
        return Err(usage("a feed has no path: ws://HOST:PORT"));
    }
    let address = authority
        .to_socket_addrs()
        .map_err(|error| usage(&format!("expected ws://HOST:PORT: {error}")))?
        .next()
        .ok_or_else(|| usage("the host has no address"))?;
    if address.ip().is_loopback() || insecure_bind {
        return Ok(address);
    }
    Err(usage(
        "other machines can reach this address; use 127.0.0.1 or allow it with --insecure-bind",
    ))
}

/// Rewrites one line on standard error while it is a terminal; never ends.
async fn show_progress(progress: Arc<Progress>) {
    let terminal = Term::stderr();
    if !terminal.is_term() {
        return std::future::pending().await;
    }
    let clock = Stopwatch::start();
    let mut meter = Meter::default();
    let mut interval = tokio::time::interval(PROGRESS_EVERY);
    loop {
        interval.tick().await;
        meter.observe(clock.elapsed(), progress.ticks_sent());
        // A terminal that went away takes nothing from the feed.
        let _ = terminal.clear_line();
        let _ = terminal.write_str(&progress_line(&progress, meter.per_second()));
    }
}

fn progress_line(progress: &Progress, per_second: f64) -> String {
    let reached =
        progress.event_time().map_or_else(|| "not begun".to_owned(), |time| time.to_string());
    format!(
        "{reached}  ticks {}  {per_second:.0}/s  subscribers {}",
        progress.ticks_sent(),
        progress.subscribers()
    )
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    fn parse(arguments: &[&str]) -> Result<FeedArgs, clap::Error> {
        let command = FeedArgs::augment_args(clap::Command::new("feed").no_binary_name(true));
        command
            .try_get_matches_from(arguments)
            .and_then(|mut found| FeedArgs::from_arg_matches_mut(&mut found))
    }

    #[test]
    fn takes_what_its_examples_say() {
        let args = parse(&[
            "--input",
            "stocks.csv",
            "--columns",
            "symbol=Ticker,time=Date,close=Adj Close",
            "--symbols",
            "AAPL,GOOG",
            "--to",
            "ws://127.0.0.1:0",
            "--speed",
            "1000x",
            "--exit-when-done",
        ])
        .unwrap();
        assert_eq!(args.symbols, ["AAPL", "GOOG"]);
        assert_eq!(args.speed, Some(Pace::Speed(1000.0)));
        assert!(args.exit_when_done);
        let args = parse(&["--input", "-", "--rate", "50/s", "--time-unit", "ns"]).unwrap();
        assert_eq!((args.rate, args.time_unit), (Some(Pace::Rate(50.0)), TimeUnit::Nanoseconds));
        assert_eq!(args.history, None);
        let args = parse(&["--input", "-", "--history", "60"]).unwrap();
        assert_eq!(args.history, Some(60));
    }

    #[cfg(feature = "kafka")]
    #[test]
    fn writes_a_topic_where_the_address_is_one() {
        let url = "kafka://127.0.0.1:9092/ticks";
        let to = |more: &[&str]| {
            let args = [&["--input", "x.csv", "--to", url], more].concat();
            target(&parse(&args).unwrap()).unwrap()
        };
        let To::Topic(topic) = to(&[]) else { panic!("not a topic") };
        assert_eq!((topic.url.topic(), topic.partitions), ("ticks", 4));
        let To::Topic(topic) = to(&["--partitions", "9", "--kafka-option", "a.b=c"]) else {
            panic!("not a topic")
        };
        assert_eq!((topic.partitions, topic.cluster.options.len()), (9, 1));
        for arguments in [
            &["--to", "kafka://127.0.0.1/ticks"][..],
            &["--to", "kafka://127.0.0.1:9092"],
            &["--partitions", "3"],
            &["--kafka-option", "a=b"],
            &["--to", url, "--history", "60"],
        ] {
            let args = parse(&[&["--input", "x.csv"], arguments].concat()).unwrap();
            assert_eq!(target(&args).unwrap_err().failure(), Failure::Usage, "{arguments:?}");
        }
        assert!(parse(&["--input", "x.csv", "--partitions", "0"]).is_err());
        for option in ["acks=1", "sasl.password=hunter2-SECRET", "hunter2-SECRET"] {
            let args = ["--input", "x.csv", "--to", url, "--kafka-option", option];
            let refused = target(&parse(&args).unwrap()).unwrap_err();
            assert_eq!(refused.failure(), Failure::Usage, "{option}");
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for arguments in [
            &["--input", "x.csv", "--speed", "1x", "--rate", "1/s"][..],
            &["--input", "x.csv", "--speed", "fast"],
            &["--input", "x.csv", "--columns", "close"],
            &["--input", "x.csv", "--format", "xml"],
            &["--input", "x.csv", "--time-unit", "weeks"],
            &["--input", "x.csv", "--history", "0"],
            &["--speed", "1x"],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn listens_on_loopback_unless_told_otherwise() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(listen_address("ws://127.0.0.1:0", false).unwrap(), address("127.0.0.1:0"));
        assert_eq!(listen_address("ws://[::1]:9701/", false).unwrap(), address("[::1]:9701"));
        assert_eq!(listen_address("ws://0.0.0.0:9701", true).unwrap(), address("0.0.0.0:9701"));
        for url in [
            "ws://0.0.0.0:9701",
            "ws://[::]:9701",
            "wss://127.0.0.1:9701",
            "kafka://127.0.0.1:9092",
            "ws://127.0.0.1",
            "ws://127.0.0.1:99999",
            "ws://127.0.0.1:9701/ticks",
            "",
        ] {
            let exit = listen_address(url, false).unwrap_err();
            assert_eq!(exit.failure(), Failure::Usage, "{url}");
        }
    }
}
