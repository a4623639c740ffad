//! `tickcast replay`: recorded input through the same code as the daemon, as fast as it goes.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::Global;
use crate::clock::Stopwatch;
use crate::config::{Config, FileConfig, SourceKind};
use crate::engine::EngineTally;
use crate::exit::{Exit, Failure};
use crate::pipeline::Pipeline;
use crate::source::file::{FileOptions, FileRecords};

/// Options of `tickcast replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The forecasts are those that `serve` publishes on the same records, byte \
                        for byte.\n\nExample:\n  tickcast replay -c config/tickcast.toml --input \
                        ticks.jsonl --output forecasts.jsonl")]
pub(super) struct ReplayArgs {
    /// The configuration file; its source gives the time unit and limits
    #[arg(short, long, value_name = "FILE", default_value = "config/tickcast.toml")]
    config: PathBuf,
    /// The recording: .jsonl, .csv, .parquet (in builds with the feature train), or - for JSON
    /// lines on standard input
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where forecasts go as JSON lines; - is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Columns of a CSV or Parquet file, such as symbol=Ticker,time=Date,close=Close,volume=Volume
    #[arg(long, value_name = "PAIRS")]
    columns: Option<String>,
    /// The symbol of a recording that has no column for it
    #[arg(long, value_name = "NAME")]
    symbol: Option<String>,
}

pub(super) fn run(args: &ReplayArgs, global: &Global) -> Result<(), Exit> {
    let config = super::configuration(&args.config)?;
    let mut records = open(args, &config)?;
    let bundle = super::bundle(&config)?;
    let runtime = super::runtime(global, config.onnxruntime_library.as_deref())?;
    let mut pipeline = Pipeline::build(&bundle, &runtime, &config)
        .map_err(Exit::because(Failure::Configuration))?;
    let mut output = open_output(&args.output)?;
    let progress = progress_bar(records.bytes_total());
    let watch = Stopwatch::start();
    let outcome = replay(&mut pipeline, &mut records, &mut output, &config, &progress);
    progress.finish_and_clear();
    summarise(pipeline.tally(), watch.elapsed().as_secs_f64());
    outcome
}

/// Runs all records through; what was read before an error is published before it is told.
fn replay(
    pipeline: &mut Pipeline,
    records: &mut FileRecords,
    output: &mut dyn Write,
    config: &Config,
    progress: &ProgressBar,
) -> Result<(), Exit> {
    let mut waiting = 0;
    let mut broken = Ok(());
    while let Some(record) = records.next() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                broken = Err(Exit::new(Failure::Data, error));
                break;
            }
        };
        pipeline.take(&record.bytes, None, |pipeline| flush(pipeline, output))?;
        waiting += 1;
        if waiting == config.shards.drain_records_max {
            waiting = 0;
            flush(pipeline, output)?;
            progress.set_position(records.bytes_read());
        }
    }
    flush(pipeline, output)?;
    output.flush().map_err(|error| failed_output(&error))?;
    broken
}

/// The command line's recording; columns and symbol fall back to the configuration's.
fn open(args: &ReplayArgs, config: &Config) -> Result<FileRecords, Exit> {
    let configured = match &config.source.kind {
        SourceKind::File(FileConfig { columns, symbol, .. }) => (columns.clone(), symbol.clone()),
        SourceKind::WebSocket(_) | SourceKind::Kafka(_) => (None, None),
    };
    let given = args.columns.as_deref().map(str::parse).transpose();
    let columns = given.map_err(Exit::while_doing(Failure::Usage, "--columns"))?.or(configured.0);
    let symbol = args.symbol.clone().or(configured.1);
    FileRecords::open(&args.input, FileOptions { format: None, columns, symbol })
        .map_err(Exit::because(Failure::Data))
}

fn open_output(path: &Path) -> Result<Box<dyn Write>, Exit> {
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    let file = File::create(path)
        .map_err(Exit::while_doing(Failure::Data, format_args!("create {}", path.display())))?;
    Ok(Box::new(BufWriter::new(file)))
}

fn failed_output(error: &io::Error) -> Exit {
    Exit::new(Failure::Temporary, format_args!("write forecasts: {error}"))
}

/// Infers what waits, writes its forecasts, moves the states on.
fn flush(pipeline: &mut Pipeline, output: &mut dyn Write) -> Result<(), Exit> {
    pipeline.infer().map_err(Exit::because(Failure::Internal))?;
    let write = |_: &_, record: &[u8]| {
        output.write_all(record)?;
        output.write_all(b"\n")
    };
    pipeline.emit(write).map_err(|error| failed_output(&error))?;
    pipeline.advance().map_err(Exit::because(Failure::Internal))
}

/// A bar on standard error where a person looks at it.
fn progress_bar(bytes_total: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(template);
    let bar = bytes_total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Where every record went, on standard error.
fn summarise(tally: &EngineTally, seconds: f64) {
    let EngineTally { ticks, absorbed, steps, warming, forecasts, withheld, rejects, repeats } =
        tally;
    eprintln!(
        "{ticks} records in {seconds:.2} s: {steps} steps, {absorbed} absorbed into bars, \
         {} refused, {repeats} repeats",
        rejects.total()
    );
    eprintln!("{steps} steps: {forecasts} forecasts, {warming} while warming, {withheld} withheld");
    for (reason, count) in rejects.iter() {
        eprintln!("  refused {:<18} {count}", reason.label());
    }
}
