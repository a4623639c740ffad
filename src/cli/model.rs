//! `tickcast model`: what a sealed bundle says of itself, and whether it is whole.

use std::path::PathBuf;
use std::time::Duration;

use super::Global;
use crate::engine::model::Bundle;
use crate::engine::pipeline::{PipelineSettings, Prover};
use crate::keep::prove::ProofLimits;
use crate::ops::exit::{Exit, Failure};

/// What a proof may take here: what `config/default.toml` gives it.
const PROOF: ProofLimits = ProofLimits { time: Duration::from_secs(60), memory_bytes: 1 << 30 };

/// As `engine.batch_rows_max` there.
const BATCH_ROWS_MAX: usize = 512;

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
            super::print(format_args!("{}", inspect(&bundle)))
        }
        ModelCommand::Verify(BundleArgs { folder }) => {
            let runtime = super::runtime(global, None)?;
            let prover = super::child_prover(global, None, PROOF, &runtime)?;
            // In the runs that a configuration without a word on it asks for.
            let settings = PipelineSettings::of_proof(None, BATCH_ROWS_MAX);
            let proved = prover.prove(&folder, &settings, &|| true);
            let bundle = proved.map_err(Exit::because(Failure::Configuration))?;
            let cases = bundle.golden().cases.len();
            let folder = folder.display();
            super::print(format_args!("{folder} is whole; {cases} golden cases pass\n"))
        }
    }
}

fn inspect(bundle: &Bundle) -> String {
    let manifest = bundle.manifest();
    let training = &manifest.training;
    let mut text = format!(
        "{} {}\n  forecasts  {} over {} step(s)\n  window     {} steps of {}\n  trained    {} \
         windows of {}, {} to {}, best of {} epochs: {}\n",
        manifest.name,
        manifest.version,
        manifest.target.kind.label(),
        manifest.horizon_steps,
        manifest.window_steps,
        manifest.features.join(", "),
        training.windows,
        training.symbols.join(", "),
        training.from,
        training.to,
        training.epochs,
        training.best_epoch,
    );
    for part in &manifest.evaluation {
        text += &format!(
            "  {:<10} {} forecasts, {} to {}: mean absolute error {:.5}, direction right {:.1} %, \
             interval holds {:.1} %\n",
            part.part,
            part.forecasts,
            part.from,
            part.to,
            part.mean_absolute_error,
            100.0 * part.directional_accuracy,
            100.0 * part.interval_coverage,
        );
        for baseline in &part.baselines {
            let [low, high] = baseline.skill_95;
            text += &format!(
                "    against {:<12} skill {:+.3} (95 % {low:+.3} to {high:+.3}), p = {:.2e}\n",
                baseline.name, baseline.skill, baseline.p_value
            );
        }
    }
    text + &format!("  verdict    {}\n", manifest.verdict)
}
