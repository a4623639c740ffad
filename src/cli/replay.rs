//! `tickcast replay`: recorded input through the same code as the daemon, as fast as it goes.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};

use super::report::{ReportArgs, Reports};
use super::shared::{FileArgs, open_file};
use super::{Global, absent, topic};
use crate::adapters::file::{FileFormat, FileRecords, FileSettings};
use crate::adapters::kafka_config::{ClusterConfig, KafkaOption, KafkaUrl, TopicPlace};
use crate::app::check_together;
use crate::app::config::Config;
use crate::core::domain::{Forecast, Symbol, UnixNanos};
use crate::core::score::Score;
use crate::core::text::excerpt_of_bytes;
use crate::core::verdict::{LEVEL, Pool, Verdict, Word};
use crate::engine::model::RefusedVersion;
use crate::engine::pipeline::{Chosen, Pipeline, Pipelines, Rival, Role, StreamTally};
use crate::engine::symbols::{CadencePolicy, EngineTally, Haste, Mistimed, MistimedCause};
use crate::ops::clock::Stopwatch;
use crate::ops::exit::{Exit, Failure};
use crate::tools::data::Refusals;

const EXAMPLES: &str = "\
Examples:
  A file:
    tickcast replay -c config/tickcast.toml --input ticks.jsonl --output forecasts.jsonl

  The same with a report of what the forecasts were worth, one page that opens from disk:
    tickcast replay --input ticks.jsonl --output /dev/null --report report.html

  What a Kafka topic holds of one day, and of all time up to now:
    tickcast replay --input kafka://127.0.0.1:9092/ticks --from 2026-03-02 --to 2026-03-03
    tickcast replay --input kafka://127.0.0.1:9092/ticks

The forecasts are those that `serve` publishes on the same records, byte for byte. Standard error
has the number of refused records by reason and field, with the first of each, and the verdicts
(docs/scores.md); with --scores also that of all symbols as one series. Exit code 65: the input
cannot be read to its end, or no record of it can be used.

Of a topic all partitions are read, without a group, and merged by record timestamp, then partition,
then offset, so that the same records give the same bytes in every run. Only committed records are
read, and none that came after the start. A time means the first record of that time or later in
each partition, by the records' own timestamps; --to itself is not included.";

/// The longest piece of a record in an error.
const SAMPLE_CHARS_MAX: usize = 80;

/// Options of `tickcast replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReplayArgs {
    /// The configuration file; its source gives the time unit and limits
    #[arg(short, long, value_name = "FILE", default_value = "config/tickcast.toml")]
    config: PathBuf,
    /// The recording: .jsonl, .csv, .tsv, also with .gz or .zst behind, .parquet (in builds with
    /// the feature train), - for JSON lines on standard input, or kafka://HOST:PORT/TOPIC
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Of a topic: where to begin, as beginning, end or a time (RFC 3339); the beginning by default
    #[arg(long, value_name = "PLACE", hide = !absent::HAS_KAFKA)]
    from: Option<TopicPlace>,
    /// Of a topic: where to end, likewise; the end of what it holds now by default
    #[arg(long, value_name = "PLACE", hide = !absent::HAS_KAFKA)]
    to: Option<TopicPlace>,
    /// Of a topic: an option of librdkafka, such as security.protocol=SSL; repeatable
    #[arg(long = "kafka-option", value_name = "KEY=VALUE", hide = !absent::HAS_KAFKA)]
    kafka_options: Vec<KafkaOption>,
    /// Where forecasts go as JSON lines; - is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Where forecasts of shadows go as JSON lines; nowhere without it
    #[arg(long, value_name = "FILE")]
    shadows: Option<PathBuf>,
    /// Where scores go as JSON lines, one for each forecast whose truth is in the recording
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,
    #[command(flatten)]
    file: FileArgs,
    /// Take times for right that look like those of another unit (source.accept_times), and steps
    /// of any spacing (model.cadence)
    #[arg(long)]
    accept_times: bool,
    #[command(flatten)]
    report: ReportArgs,
}

pub(super) fn run(args: &ReplayArgs, global: &Global) -> Result<(), Exit> {
    let mut config = super::configuration(&args.config)?;
    // No version comes while a recording is read.
    config.models.retain(|model| model.role != Role::Vacant);
    let mut input = open(args, &config)?;
    let mut reports = args.report.open()?;
    let mut pipelines = pipelines(args, &config, global, &mut reports)?;
    let is_enough = Rc::new(Cell::new(false));
    let open = |path: &Path| open_output(path, &is_enough);
    let mut output = Output {
        forecasts: open(&args.output)?,
        shadows: args.shadows.as_deref().map(open).transpose()?,
        scores: args.scores.as_deref().map(open).transpose()?,
        reports,
        is_enough: Rc::clone(&is_enough),
    };
    let progress = progress_bar(&*input);
    let watch = Stopwatch::start();
    let mut refusals = Refusals::default();
    let run = Run { config: &config, progress: &progress, refusals: &mut refusals };
    let outcome = replay(&mut pipelines, &mut *input, &mut output, run);
    progress.finish_and_clear();
    if is_enough.get() {
        return outcome;
    }
    summarise(&pipelines, &refusals, watch.elapsed().as_secs_f64());
    output.reports.write()?;
    outcome?;
    let tally = pipelines.tally();
    if tally.ticks > 0 && tally.used == 0 {
        let StreamTally { ticks, unwanted, .. } = tally;
        let unwanted = match unwanted {
            0 => String::new(),
            count => format!(": {count} are of symbols that no live model wants (models.symbols)"),
        };
        let what = format_args!("none of the {ticks} records can be used{unwanted}");
        return Err(Exit::new(Failure::Data, what));
    }
    if tally.ticks == 0 && input.is_table() {
        return Err(Exit::new(Failure::Data, format_args!("`{}`: no rows", args.input.display())));
    }
    Ok(())
}

/// Every model of the configuration, proved.
fn pipelines(
    args: &ReplayArgs,
    config: &Config,
    global: &Global,
    reports: &mut Reports,
) -> Result<Pipelines, Exit> {
    let super::Proven { runtime, chosen, .. } = super::proven(config, global)?;
    let bundles: Vec<_> = chosen.iter().map(|chosen| &chosen.bundle).collect();
    check_together(config, &bundles)?;
    let mut built = Vec::with_capacity(chosen.len());
    let mut settings = config.pipeline();
    for (model, Chosen { bundle, refused, taken }) in config.models.iter().zip(&chosen) {
        for taken in taken {
            tell!("{} passes over version {}", model.name, super::taken_line(taken));
        }
        for RefusedVersion { version, reason } in refused {
            let name = &model.name;
            tell!("version {version} of {name} does not prove itself, so it is not used: {reason}");
        }
        settings = config.pipeline_of(model);
        settings.keeps_scores |= args.scores.is_some() || reports.is_asked();
        settings.time_format = args.file.time_format()?.unwrap_or(settings.time_format);
        if args.accept_times {
            settings.accepts_times = true;
            settings.policy.cadence = CadencePolicy::AsItComes;
        }
        let pipeline = Pipeline::build(bundle, &runtime, &settings);
        let mut pipeline = pipeline.map_err(Exit::because(Failure::Configuration))?;
        if args.scores.is_some() {
            pipeline.compare_steps();
        }
        if let Some(why) = pipeline.passed_over() {
            tell!("{} is computed by ONNX Runtime and not natively: {why}", model.name);
        }
        reports.add(bundle, settings.signals);
        built.push(pipeline);
    }
    config.pipelines(built, &settings)
}

/// What goes along with the records.
struct Run<'r> {
    config: &'r Config,
    progress: &'r ProgressBar,
    refusals: &'r mut Refusals,
}

/// Runs all records through; what was read before an error is published before it is told.
fn replay(
    pipelines: &mut Pipelines,
    input: &mut dyn Input,
    output: &mut Output,
    run: Run<'_>,
) -> Result<(), Exit> {
    let Run { config, progress, refusals } = run;
    let mut number: u64 = 0;
    let mut waiting = 0;
    let mut broken = Ok(());
    while let Some(record) = input.next() {
        let InputRecord { bytes, received, after_gap } = match record {
            Ok(record) => record,
            Err(error) => {
                broken = Err(error);
                break;
            }
        };
        if after_gap {
            pipelines.mark_gap_before(&bytes, None);
        }
        let write = |pipeline: &mut Pipeline| flush(pipeline, output);
        number += 1;
        let rejection = pipelines.take(&bytes, None, received, || {}, write)?;
        broken = plausible_of_all(pipelines, &bytes);
        if broken.is_err() {
            break;
        }
        if let Some(rejection) = rejection {
            let first = || {
                let place = input.place().unwrap_or_else(|| format!("record {number}"));
                (place, input.row_text().unwrap_or(&bytes).to_vec())
            };
            refusals.add(rejection.named(pipelines.schema()), first);
        }
        waiting += 1;
        if waiting == config.shards.drain_records_max {
            waiting = 0;
            flush_all(pipelines, output)?;
            progress.set_position(input.reached());
            if output.is_enough.get() {
                return Ok(());
            }
        }
    }
    flush_all(pipelines, output)?;
    output.flush().map_err(|error| failed_output(&error))?;
    broken
}

/// Whether the times may be as they are, for each live model: they have cadences of their own.
fn plausible_of_all(pipelines: &Pipelines, record: &[u8]) -> Result<(), Exit> {
    let live = pipelines.each().filter(|(_, pipeline)| pipeline.post().role == Role::Live);
    let mut mistimed = live.filter_map(|(_, pipeline)| pipeline.engine().newest_mistimed());
    mistimed.try_for_each(|mistimed| plausible(mistimed, record))
}

/// Whether times may be as they are. Those of a wrong unit give forecasts of nothing.
fn plausible(mistimed: &Mistimed, record: &[u8]) -> Result<(), Exit> {
    let Mistimed { symbol, time, cause } = mistimed;
    let why = match cause {
        MistimedCause::Doubt(doubt) => doubt.advice(),
        MistimedCause::Cadence { spacing, interval, is_implausible: true } => format!(
            "its steps are {} s apart, and the model was trained on {} s: check time_unit and the \
             model",
            spacing.as_nanos() as f64 / 1e9,
            interval.as_nanos() as f64 / 1e9,
        ),
        MistimedCause::Cadence { .. } => return Ok(()),
    };
    Err(Exit::new(
        Failure::Data,
        format_args!(
            "the times of `{symbol}` cannot be right: {time} from {}; {why}; where they are right \
             as they are, use --accept-times",
            excerpt_of_bytes(record, SAMPLE_CHARS_MAX)
        ),
    ))
}

/// Where lines go.
struct Output {
    forecasts: Box<dyn Write>,
    shadows: Option<Box<dyn Write>>,
    scores: Option<Box<dyn Write>>,
    reports: Reports,
    /// Whether the reader of standard output has had enough.
    is_enough: Rc<Cell<bool>>,
}

/// Standard output whose reader may leave, as `head` does. That is no failure.
struct StandardOutput {
    output: io::Stdout,
    is_enough: Rc<Cell<bool>>,
}

impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = self.output.write(bytes);
        self.unless_closed(outcome, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = self.output.flush();
        self.unless_closed(outcome, ())
    }
}

impl StandardOutput {
    fn unless_closed<T>(&self, outcome: io::Result<T>, done: T) -> io::Result<T> {
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_enough.set(true);
                Ok(done)
            }
            outcome => outcome,
        }
    }
}

impl Output {
    fn flush(&mut self) -> io::Result<()> {
        self.forecasts.flush()?;
        self.shadows.as_mut().map_or(Ok(()), Write::flush)?;
        self.scores.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// Where records come from.
pub(super) trait Input {
    /// The next record.
    fn next(&mut self) -> Option<Result<InputRecord, Exit>>;

    /// Where the newest record is, for a person; `None` where its number says it.
    fn place(&self) -> Option<String> {
        None
    }

    /// The newest record as the input has it, where that is not the record itself.
    fn row_text(&self) -> Option<&[u8]> {
        None
    }

    /// Whether it is a table, which has rows where it is of any use.
    fn is_table(&self) -> bool {
        false
    }

    /// How far it was read, in the unit of the bar.
    fn reached(&self) -> u64;

    /// How long the whole is, where that is known, and how the bar shows it.
    fn bar(&self) -> (Option<u64>, &'static str);
}

/// One record.
pub(super) struct InputRecord {
    pub(super) bytes: Bytes,
    /// Its own timestamp; none in a recording.
    pub(super) received: Option<UnixNanos>,
    /// Whether records of its symbol may be missing right before it.
    pub(super) after_gap: bool,
}

/// A recording, by its bytes; no record stands behind a gap.
impl Input for FileRecords {
    fn next(&mut self) -> Option<Result<InputRecord, Exit>> {
        Iterator::next(self).map(|record| match record {
            Ok(record) => {
                let bytes = record.bytes.into();
                Ok(InputRecord { bytes, received: None, after_gap: false })
            }
            Err(error) => Err(Exit::new(Failure::Data, error)),
        })
    }

    fn place(&self) -> Option<String> {
        Some(FileRecords::place(self))
    }

    fn row_text(&self) -> Option<&[u8]> {
        FileRecords::row_text(self)
    }

    fn is_table(&self) -> bool {
        self.format() != FileFormat::JsonLines
    }

    fn reached(&self) -> u64 {
        self.bytes_read()
    }

    fn bar(&self) -> (Option<u64>, &'static str) {
        let template = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        (self.bytes_total(), template)
    }
}

fn open(args: &ReplayArgs, config: &Config) -> Result<Box<dyn Input>, Exit> {
    let input = args.input.to_str().filter(|input| input.starts_with(KafkaUrl::SCHEME));
    if input.is_some() {
        absent::refuse_topic("--input kafka://")?;
    }
    let of_topic = [
        ("--from", args.from.is_some()),
        ("--to", args.to.is_some()),
        ("--kafka-option", !args.kafka_options.is_empty()),
    ];
    let of_topic = of_topic.into_iter().find(|(_, given)| *given).map(|(option, _)| option);
    let (foreign, kind) = match input {
        Some(_) => (args.file.given(), "a file"),
        None => (of_topic, "--input kafka://HOST:PORT/TOPIC"),
    };
    if let Some(option) = foreign {
        return Err(Exit::new(Failure::Usage, format_args!("{option} is for {kind}")));
    }
    let Some(input) = input else {
        return Ok(Box::new(open_recording(args, config)?));
    };
    let url: KafkaUrl = input
        .parse()
        .map_err(Exit::while_doing(Failure::Usage, format_args!("--input `{input}`")))?;
    let cluster = ClusterConfig::new(&url, &args.kafka_options)
        .map_err(Exit::while_doing(Failure::Usage, "--kafka-option"))?;
    let from = args.from.unwrap_or(TopicPlace::Beginning);
    let to = args.to.unwrap_or(TopicPlace::End);
    topic::open(&cluster, &url, from, to)
}

/// The command line's recording; what is not said falls back to the configuration's, but for the
/// format, which the name tells.
fn open_recording(args: &ReplayArgs, config: &Config) -> Result<FileRecords, Exit> {
    let configured = config.source.of::<FileSettings>().map(|settings| settings.options.clone());
    let mut configured = configured.unwrap_or_default();
    configured.format = None;
    configured.dialect.times = config.source.time_format.clone();
    open_file(&args.input, args.file.options(configured)?)
}

fn open_output(path: &Path, is_enough: &Rc<Cell<bool>>) -> Result<Box<dyn Write>, Exit> {
    if path == Path::new("-") {
        let (output, is_enough) = (io::stdout(), Rc::clone(is_enough));
        return Ok(Box::new(BufWriter::new(StandardOutput { output, is_enough })));
    }
    let file = File::create(path)
        .map_err(Exit::while_doing(Failure::Data, format_args!("create {}", path.display())))?;
    Ok(Box::new(BufWriter::new(file)))
}

fn failed_output(error: &io::Error) -> Exit {
    Exit::new(Failure::Temporary, format_args!("write forecasts: {error}"))
}

/// Has the live models say what they have to say of a batch, then the shadows and the blends.
fn flush_all(pipelines: &mut Pipelines, output: &mut Output) -> Result<(), Exit> {
    pipelines.of_role_mut(Role::Live).try_for_each(|pipeline| flush(pipeline, output))?;
    pipelines.take_deferred(|pipeline| flush(pipeline, output))?;
    pipelines.of_role_mut(Role::Shadow).try_for_each(|pipeline| flush(pipeline, output))?;
    pipelines.take_blends(|pipeline| flush(pipeline, output))
}

/// Infers what waits, writes its forecasts, moves the states on.
fn flush(pipeline: &mut Pipeline, output: &mut Output) -> Result<(), Exit> {
    pipeline.infer(Haste::Latency).map_err(Exit::because(Failure::Internal))?;
    let Output { forecasts, shadows, scores, reports, .. } = output;
    let (mut no_shadows, mut no_scores) = (io::sink(), io::sink());
    let scores: &mut dyn Write = match scores {
        Some(scores) => scores,
        None => &mut no_scores,
    };
    let forecasts: &mut dyn Write = match (pipeline.post().role, shadows) {
        (Role::Live | Role::Blend, _) => forecasts,
        (Role::Shadow | Role::Vacant, Some(shadows)) => shadows,
        (Role::Shadow | Role::Vacant, None) => &mut no_shadows,
    };
    let model = pipeline.post().index;
    let write = |symbol: &Symbol, forecast: &Forecast, record: &[u8]| {
        reports.forecast(model, symbol.as_str(), forecast);
        write_line(forecasts, record)
    };
    pipeline.emit_values(write).map_err(|error| failed_output(&error))?;
    let write = |symbol: &Symbol, score: &Score, record: &[u8]| {
        reports.score(model, symbol.as_str(), score);
        write_line(scores, record)
    };
    pipeline.emit_score_values(write).map_err(|error| failed_output(&error))?;
    pipeline.engine_mut().advance().map_err(Exit::because(Failure::Internal))
}

fn write_line(output: &mut dyn Write, record: &[u8]) -> io::Result<()> {
    output.write_all(record)?;
    output.write_all(b"\n")
}

/// A bar on standard error where a person looks at it.
fn progress_bar(input: &dyn Input) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (total, template) = input.bar();
    let style = ProgressStyle::with_template(template);
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Where every record went, on standard error.
fn summarise(pipelines: &Pipelines, refusals: &Refusals, seconds: f64) {
    let stream = pipelines.tally();
    if pipelines.count() > 1 {
        tell!(
            "{} records in {seconds:.2} s: {} used, {} refused, {} of symbols that no live model \
             wants",
            stream.ticks,
            stream.used,
            stream.rejects.total(),
            stream.unwanted
        );
    }
    for (name, pipeline) in pipelines.each() {
        if pipelines.count() > 1 {
            tell!("{name}, {}:", pipeline.post().role);
        }
        summarise_model(pipeline.engine().tally(), seconds);
        summarise_verdict(pipeline);
    }
    for refusal in refusals.as_slice() {
        tell!("  refused {refusal}");
    }
}

/// What the scores have come to, by symbol and over all of them.
fn summarise_verdict(pipeline: &Pipeline) {
    let book = pipeline.engine().scores();
    if book.tally().scores == 0 {
        return;
    }
    let against = book.against().label();
    tell!("symbols by their verdict against {against}: {}", counts_of(&book.pool()));
    if let Some(Rival { model, model_version, .. }) = pipeline.rival() {
        let pool = pipeline.rival_pool().pool;
        tell!(
            "symbols by their verdict against the live model, {model} {model_version}: {}; over \
             all of them: {}",
            counts_of(&pool),
            pool.word(LEVEL).label().replace('_', " ")
        );
    }
    let Some(verdict) = pipeline.verdict_of_steps() else { return };
    let Verdict { word, since, scores, log_e_value, .. } = verdict;
    let since = since.map_or_else(String::new, |since| format!(" since {since}"));
    tell!(
        "all symbols as one series: {}{since}, by {scores} times; the evidence against equality is \
         e^{log_e_value:.1}",
        word.label().replace('_', " ")
    );
}

/// How many symbols have which word.
fn counts_of(pool: &Pool) -> String {
    let counts = Word::ALL.map(|word| (pool.symbols(word), word.label().replace('_', " ")));
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    counts.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

fn summarise_model(tally: &EngineTally, seconds: f64) {
    let EngineTally { ticks, absorbed, steps, further, patched, .. } = tally;
    let EngineTally { warming, forecasts, withheld, resets, expired, rejects, repeats, .. } = tally;
    let withheld = withheld.total();
    tell!(
        "{ticks} records in {seconds:.2} s: {steps} steps, {absorbed} absorbed into bars, \
         {} refused, {repeats} repeats",
        rejects.total()
    );
    tell!("{steps} steps: {forecasts} forecasts, {warming} while warming, {withheld} withheld");
    let EngineTally { further_forecasts, further_withheld, crossed, .. } = tally;
    if further_forecasts + further_withheld > 0 {
        tell!("further horizons: {further_forecasts} forecasts, {further_withheld} withheld");
    }
    if *crossed > 0 {
        tell!("{crossed} forecasts had quantiles that crossed and were put in order");
    }
    if *resets > 0 {
        tell!("{resets} windows began cold: a step lay too far behind the one before");
    }
    if *expired > 0 {
        tell!("{expired} symbols were silent for longer than engine.symbol_ttl and made room");
    }
    if *further > 0 {
        tell!("{further} steps beyond the first of a tick; {patched} of all made by rule");
    }
    let EngineTally { doubts, off_cadence, .. } = tally;
    if *off_cadence > 0 {
        tell!(
            "{off_cadence} steps at another spacing than the model's; their forecasts are mistimed"
        );
    }
    let doubts: u64 = doubts.iter().sum();
    if doubts > 0 {
        tell!("{doubts} records with times that cannot be right");
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::core::domain::SymbolPatterns;
    use crate::engine::model::manifest::Mode;
    use crate::engine::pipeline::{PipelineSettings, StreamModel};
    use crate::engine::test_support::{NullRuntime, Weights, draft, manifest};

    #[test]
    fn the_times_are_looked_at_for_every_live_model() {
        let settings = PipelineSettings::of_tests();
        let model = |name: &str, seat, interval_seconds| {
            let mut manifest = manifest(&[Mode::Full]);
            manifest.name = name.to_owned();
            manifest.step.interval_seconds = interval_seconds;
            let bundle = draft(manifest, Weights::default()).into_bundle().unwrap();
            let pipeline = Pipeline::build(&bundle, &NullRuntime, &settings).unwrap();
            let symbols = SymbolPatterns::default();
            StreamModel { name: name.into(), symbols, seat, role: Role::Live, pipeline }
        };
        // Steps of an hour are off for the first and impossible for the second.
        let models = vec![model("minutes", 0, 60), model("seconds", 1, 1)];
        let mut pipelines = Pipelines::of(models, &settings).unwrap();
        let record = |hour: i64| {
            format!(r#"{{"symbol":"A","time":{},"close":5}}"#, hour * 3_600_000).into_bytes()
        };
        let mut found = Vec::new();
        for hour in 0..3 {
            let flush = |pipeline: &mut Pipeline| {
                pipeline.infer(Haste::Throughput).unwrap();
                Ok::<_, Infallible>(())
            };
            let record = record(hour);
            let Ok(_) = pipelines.take(&record, None, None, || {}, flush);
            found.push(plausible_of_all(&pipelines, &record).err().map(|exit| exit.to_string()));
        }
        let [None, Some(first), Some(_)] = &found[..] else { panic!("{found:?}") };
        assert!(first.contains("3600 s apart, and the model was trained on 1 s"), "{first}");
    }
}
