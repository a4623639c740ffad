//! `tickcast model`: what a sealed bundle says of itself, and whether it is whole.

use std::path::PathBuf;

use super::Global;
use crate::exit::{Exit, Failure};
use crate::model::Bundle;

/// Options of `tickcast model`.
#[derive(Debug, clap::Args)]
pub(super) struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ModelCommand {
    /// Print what a bundle is, what it was trained on and how it did
    Inspect(BundleArgs),
    /// Check hashes, rules and graph, and run the golden vectors
    Verify(BundleArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tickcast model verify models/aapl-daily/1")]
struct BundleArgs {
    /// The bundle's folder, <root>/<name>/<version>
    folder: PathBuf,
}

pub(super) fn run(args: ModelArgs, global: &Global) -> Result<(), Exit> {
    match args.command {
        ModelCommand::Inspect(BundleArgs { folder }) => {
            let bundle = Bundle::read(&folder).map_err(Exit::because(Failure::Configuration))?;
            inspect(&bundle);
        }
        ModelCommand::Verify(BundleArgs { folder }) => {
            let bundle = Bundle::read(&folder).map_err(Exit::because(Failure::Configuration))?;
            let runtime = super::runtime(global, None)?;
            bundle.open(&runtime).map_err(Exit::because(Failure::Configuration))?;
            let cases = bundle.golden().cases.len();
            println!("{} is whole; {cases} golden cases pass", folder.display());
        }
    }
    Ok(())
}

fn inspect(bundle: &Bundle) {
    let manifest = bundle.manifest();
    let training = &manifest.training;
    println!("{} {}", manifest.name, manifest.version);
    println!(
        "  forecasts  {} over {} step(s)",
        manifest.target.kind.label(),
        manifest.horizon_steps
    );
    println!("  window     {} steps of {}", manifest.window_steps, manifest.features.join(", "));
    println!(
        "  trained    {} windows of {}, {} to {}, best of {} epochs: {}",
        training.windows,
        training.symbols.join(", "),
        training.from,
        training.to,
        training.epochs,
        training.best_epoch
    );
    for part in &manifest.evaluation {
        println!(
            "  {:<10} {} forecasts: error {:.5} (no change: {:.5}), skill {:+.4}, direction \
             {:.1} %, interval holds {:.1} %",
            part.part,
            part.forecasts,
            part.mean_absolute_error,
            part.persistence_mean_absolute_error,
            part.skill,
            100.0 * part.directional_accuracy,
            100.0 * part.interval_coverage
        );
    }
    println!("  verdict    {}", manifest.verdict);
}
