//! `tickcast feed --to kafka://...`: the recording as records of a topic.
//!
//! Owns the progress line and the last line of output. Never plays: the `feed` module does.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use console::Term;

use super::feed::PROGRESS_EVERY;
use crate::adapters::kafka::{NewTopicShape, TopicWriter, WriteCounts, WriteError};
use crate::adapters::kafka_config::{ClusterConfig, KafkaUrl};
use crate::ops::clock::Stopwatch;
use crate::ops::exit::{Exit, Failure};
use crate::ops::meter::Meter;
use crate::ops::shutdown::StopSignals;
use crate::tools::feed::{Pace, Progress, Recording, play};

/// How long a record is tried before the feed gives up.
const PATIENCE_MS: u32 = 60_000;

/// How long acknowledgements are waited for after the word to stop.
const FAREWELL_MAX: Duration = Duration::from_secs(10);

/// Plays until the cluster has acknowledged everything, or a signal comes. `partitions` is for a
/// topic that has to be made.
///
/// # Errors
/// 75 where the cluster does not answer or does not take a record.
pub(super) fn run(
    url: &KafkaUrl,
    cluster: &ClusterConfig,
    partitions: i32,
    recording: &Recording,
    pace: Pace,
) -> Result<(), Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Exit::while_doing(Failure::Internal, "start the runtime"))?;
    let counts = WriteCounts::new();
    let shape = NewTopicShape { partitions, replication: -1 };
    let context = |error: WriteError| {
        let failure = match error {
            WriteError::Setup(_) => Failure::Usage,
            WriteError::Refused(_) => Failure::Configuration,
            WriteError::Open(_) | WriteError::Closed(_) => Failure::Temporary,
        };
        Exit::new(failure, format_args!("{url}: {error}"))
    };
    let open = TopicWriter::open(
        cluster,
        url.topic(),
        shape,
        PATIENCE_MS,
        counts.clone(),
        runtime.handle(),
    );
    let writer = open.map_err(context)?;
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    let clock = Stopwatch::start();
    // One record that the cluster refuses ends the feed: a recording with holes is no recording.
    let stopped = || stop.load(Ordering::Acquire) || counts.failed() > 0;
    let farewell = || {
        let since = std::cell::OnceCell::new();
        move || !stopped() || since.get_or_init(Stopwatch::start).elapsed() < FAREWELL_MAX
    };
    let played = std::thread::scope(|scope| {
        let player = scope.spawn(|| {
            let whole = play(recording, pace, &writer, &progress, stopped);
            let unsettled = writer.settle(farewell());
            whole.map(|whole| (whole, unsettled))
        });
        let waiting = runtime.block_on(attend(&stop, &progress, &counts, || player.is_finished()));
        if waiting.is_err() {
            stop.store(true, Ordering::Release);
        }
        let played = player.join();
        waiting.map(|()| played)
    })?;
    let (whole, unsettled) = played
        .map_err(|_| Exit::new(Failure::Internal, "the player panicked"))?
        .map_err(context)?;
    if Term::stderr().is_term() {
        // The last progress stays, and what follows begins on a line of its own.
        tell!("");
    }
    if let Some(why) = counts.first_failure() {
        let (failed, total) = (counts.failed(), recording.len());
        let what = format!("{url}: {failed} of {total} records were not taken: {why}");
        return Err(Exit::new(Failure::Temporary, what));
    }
    if unsettled > 0 {
        let what = format!("{url}: {unsettled} records are not acknowledged");
        return Err(Exit::new(Failure::Temporary, what));
    }
    let seconds = clock.elapsed().as_secs_f64();
    let cut = if whole { String::new() } else { format!(" of {}", recording.len()) };
    writeln!(
        std::io::stdout(),
        "{}{cut} records acknowledged by {url} ({} partitions) in {seconds:.1} s",
        counts.acknowledged(),
        writer.partitions(),
    )
    .map_err(Exit::while_doing(Failure::Temporary, "write the summary"))
}

/// Rewrites the progress line and looks for signals until the player has finished.
async fn attend(
    stop: &AtomicBool,
    progress: &Progress,
    counts: &WriteCounts,
    finished: impl Fn() -> bool,
) -> Result<(), Exit> {
    let mut signals = StopSignals::install()
        .map_err(Exit::while_doing(Failure::Internal, "listen for signals"))?;
    let terminal = Term::stderr();
    let clock = Stopwatch::start();
    let mut meter = Meter::default();
    // Often enough that a short recording ends at once.
    let mut look = tokio::time::interval(PROGRESS_EVERY / 10);
    let mut shown = Stopwatch::start();
    while !finished() {
        tokio::select! {
            biased;
            _ = signals.next() => stop.store(true, Ordering::Release),
            _ = look.tick() => {}
        }
        meter.observe(clock.elapsed(), counts.acknowledged());
        if terminal.is_term() && shown.elapsed() >= PROGRESS_EVERY {
            shown = Stopwatch::start();
            // A terminal that went away takes nothing from the feed.
            let _ = terminal.clear_line();
            let _ = terminal.write_str(&line(progress, counts, meter.per_second()));
        }
    }
    Ok(())
}

fn line(progress: &Progress, counts: &WriteCounts, per_second: f64) -> String {
    let reached =
        progress.event_time().map_or_else(|| "not begun".to_owned(), |time| time.to_string());
    format!(
        "{reached}  ticks {}  acknowledged {}  {per_second:.0}/s",
        progress.ticks_sent(),
        counts.acknowledged(),
    )
}
