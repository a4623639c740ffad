//! `tickcast model inspect`.

use super::{
    BundleArgs, Global, Limits, Place, candidates_of, elsewhere, newest_whole, print, runtime,
};
use crate::engine::inference::Runtime;
use crate::ops::exit::Exit;
use crate::seal::words::{graph_words, inspect, inspect_json};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples: tickcast model inspect aapl-daily\n          \
                        tickcast model inspect models/aapl-daily/1 --json")]
pub(super) struct InspectArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// The whole manifest and the graph in words as JSON instead of a summary
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: Limits,
}

pub(super) fn run(args: &InspectArgs, global: &Global) -> Result<(), Exit> {
    let InspectArgs { bundle, json, limits } = args;
    let what = format!("{} cannot be inspected", bundle.bundle.display());
    if elsewhere(global, limits.of_proof(), &what)? == Place::Elsewhere {
        return Ok(());
    }
    let folders = candidates_of(bundle)?;
    let (folder, bundle) = newest_whole(&folders, global)?;
    // The sizes of a graph are found by running it; without a runtime its layers are named alone.
    let runtime = runtime(global, None).ok();
    let graph = graph_words(&bundle, runtime.as_ref().map(|runtime| runtime as &dyn Runtime));
    if *json {
        let answer = inspect_json(&bundle, &folder.display().to_string(), &graph);
        return print(format_args!("{answer:#}\n"));
    }
    print(format_args!("{}", inspect(&bundle, &graph)))
}
