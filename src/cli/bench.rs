//! `tickcast bench`: inference in process, beside raw ONNX Runtime.

use std::path::PathBuf;
use std::time::Duration;

use super::Global;
use crate::bench::{BATCHES, Bench, BenchRow, Quantiles};
use crate::exit::{Exit, Failure};
use crate::model::Bundle;

/// Options of `tickcast bench`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "raw: ONNX Runtime alone on bound buffers, the ceiling. ours: decoded ticks \
                        to forecasts, the\ncritical path. advance: to move the states on \
                        afterwards. null: ours without inference.\nratio: ours / raw, by \
                        medians.\n\nExample: tickcast bench --model models/aapl-daily/1"
)]
pub(super) struct BenchArgs {
    /// The bundle's folder
    #[arg(long, value_name = "FOLDER", default_value = "models/aapl-daily/1")]
    model: PathBuf,
    /// How long each row is measured, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    seconds: f64,
}

pub(super) fn run(args: &BenchArgs, global: &Global) -> Result<(), Exit> {
    let budget = Duration::try_from_secs_f64(args.seconds)
        .map_err(Exit::while_doing(Failure::Usage, "--seconds"))?;
    let bundle = Bundle::read(&args.model).map_err(Exit::because(Failure::Configuration))?;
    let runtime = super::runtime(global, None)?;
    // The golden vectors first: numbers of a model that computes something else mean nothing.
    bundle.open(&runtime).map_err(Exit::because(Failure::Configuration))?;
    let bench = Bench { bundle: &bundle, runtime: &runtime, budget };
    super::print(format_args!(
        "model {}, times in microseconds, one thread\n\
         {:<8} {:>5}  {:<7} {:>9} {:>9} {:>9} {:>9} {:>8}  {:>5}\n",
        args.model.display(),
        "mode",
        "batch",
        "what",
        "p50",
        "p99",
        "p99.9",
        "max",
        "runs",
        "ratio"
    ))?;
    for mode in &bundle.manifest().modes {
        for batch in BATCHES {
            let row = bench.row(*mode, batch).map_err(Exit::because(Failure::Internal))?;
            print(&row)?;
        }
    }
    Ok(())
}

fn print(row: &BenchRow) -> Result<(), Exit> {
    let ratio = format!("{:.2}", row.ratio());
    let advance = row.advance.map(|times| ("advance", times, ""));
    let lines = [("raw", row.raw, ""), ("ours", row.ours, ratio.as_str())];
    for (what, times, ratio) in lines.into_iter().chain(advance).chain([("null", row.null, "")]) {
        let Quantiles { p50, p99, p999, max, runs } = times;
        let [p50, p99, p999, max] = [p50, p99, p999, max].map(|time| 1e6 * time.as_secs_f64());
        super::print(format_args!(
            "{:<8} {:>5}  {what:<7} {p50:>9.2} {p99:>9.2} {p999:>9.2} {max:>9.2} {runs:>8}  \
             {ratio:>5}\n",
            row.mode, row.batch
        ))?;
    }
    Ok(())
}
