//! `tickcast model`: which models there are, what a sealed bundle says of itself, and whether it is
//! whole.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Global;
use crate::engine::model::manifest::Mode;
use crate::engine::model::{Bundle, BundleError, MANIFEST_FILE, candidates, names, versions};
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
    /// List the models of a folder and their versions
    List(ListArgs),
    /// Print what a bundle is, what it was trained on and how it did
    Inspect(InspectArgs),
    /// Check hashes, rules and graph, and run the golden vectors
    Verify(BundleArgs),
    /// Ask a running daemon to make a shadow live
    Promote(super::promote::PromoteArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples: tickcast model list\n          \
                        tickcast model list --root /usr/share/tickcast/models --json")]
struct ListArgs {
    /// The folder of models
    #[arg(long, value_name = "FOLDER", default_value = "models")]
    root: PathBuf,
    /// One JSON array instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples: tickcast model inspect aapl-daily\n          \
                        tickcast model inspect models/aapl-daily/1 --json")]
struct InspectArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// The whole manifest as JSON instead of a summary
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tickcast model verify models/aapl-daily/1")]
struct BundleArgs {
    /// The bundle's folder, <root>/<name>/<version>; or a folder or a name without a version,
    /// which means the newest
    #[arg(value_name = "FOLDER|NAME")]
    bundle: PathBuf,
    /// The folder of models, where a name is given
    #[arg(long, value_name = "FOLDER", default_value = "models")]
    root: PathBuf,
}

/// A version of a model, as `model list` shows it.
#[derive(Debug, serde::Serialize)]
struct Listed {
    name: String,
    version: String,
    /// What it forecasts, over how many steps; `None` where it is refused.
    target: Option<&'static str>,
    horizon_steps: Option<u32>,
    window_steps: Option<u32>,
    modes: Option<Vec<Mode>>,
    /// Why it is refused.
    refused: Option<String>,
}

pub(super) fn run(args: ModelArgs, global: &Global) -> Result<(), Exit> {
    match args.command {
        ModelCommand::List(ListArgs { root, json }) => list(&root, json),
        ModelCommand::Inspect(InspectArgs { bundle, json }) => {
            let folders = candidates_of(&bundle)?;
            let (folder, bundle) = newest_whole(&folders)?;
            if json {
                let answer = serde_json::json!({
                    "folder": folder.display().to_string(),
                    "golden_cases": bundle.golden().cases.len(),
                    "manifest": bundle.manifest(),
                });
                return super::print(format_args!("{answer:#}\n"));
            }
            super::print(format_args!("{}", inspect(&bundle)))
        }
        ModelCommand::Verify(args) => {
            // The first of several is the newest, and there is one at least.
            let folder = candidates_of(&args)?.swap_remove(0);
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
        ModelCommand::Promote(args) => super::promote::run(&args),
    }
}

/// The folders of the versions that an argument means, the newest first; at least one.
fn candidates_of(BundleArgs { bundle, root }: &BundleArgs) -> Result<Vec<PathBuf>, Exit> {
    if bundle.join(MANIFEST_FILE).exists() {
        return Ok(vec![bundle.clone()]);
    }
    let name_in = |path: &Path| path.file_name().and_then(OsStr::to_str).map(str::to_owned);
    let folder_of_versions = match (bundle.is_dir(), bundle.parent(), name_in(bundle)) {
        (true, Some(parent), Some(name)) if !bundle.join(MANIFEST_FILE).exists() => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Some((parent.to_owned(), name))
        }
        _ => None,
    };
    let is_path = bundle.components().count() > 1;
    match (folder_of_versions, bundle.to_str()) {
        (Some((parent, name)), _) => candidates(&parent, &name, LATEST),
        (None, Some(name)) if !is_path => candidates(root, name, LATEST),
        // Its reading says why it is none.
        (None, _) => return Ok(vec![bundle.clone()]),
    }
    .map_err(Exit::because(Failure::Configuration))
}

/// The newest version that is whole; those before it are named on standard error.
fn newest_whole(folders: &[PathBuf]) -> Result<(&Path, Bundle), Exit> {
    let mut last = None;
    for folder in folders {
        match Bundle::read(folder) {
            Ok(bundle) => return Ok((folder, bundle)),
            Err(error) => {
                if folders.len() > 1 {
                    tell!("passed over: {error}");
                }
                last = Some(error);
            }
        }
    }
    let words = last.map_or_else(|| "there is no version".to_owned(), |error| error.to_string());
    Err(Exit::new(Failure::Configuration, words))
}

/// The version that means the newest.
const LATEST: &str = "latest";

fn list(root: &Path, json: bool) -> Result<(), Exit> {
    let refuse = Exit::because(Failure::Configuration);
    let mut listed = Vec::new();
    for name in names(root).map_err(refuse)? {
        let mut versions = versions(root, &name).map_err(Exit::because(Failure::Configuration))?;
        // The newest first.
        versions.reverse();
        for version in versions {
            let folder = root.join(&name).join(&version);
            listed.push(listed_of(name.clone(), version, Bundle::read(&folder)));
        }
    }
    if json {
        let answer = serde_json::to_value(&listed)
            .map_err(Exit::while_doing(Failure::Internal, "write the list"))?;
        return super::print(format_args!("{answer:#}\n"));
    }
    if listed.is_empty() {
        return super::print(format_args!("no models in {}\n", root.display()));
    }
    let width = |of: fn(&Listed) -> &str| listed.iter().map(|one| of(one).len()).max().unwrap_or(0);
    let (names, versions) = (width(|one| &one.name), width(|one| &one.version));
    let mut text = String::new();
    for one in &listed {
        let what = match (&one.refused, one.target, one.horizon_steps, one.window_steps) {
            (None, Some(target), Some(horizon), Some(window)) => {
                format!("{target} over {horizon} step(s), window of {window}")
            }
            (refused, ..) => format!("refused: {}", refused.as_deref().unwrap_or_default()),
        };
        text += &format!("{:names$}  {:versions$}  {what}\n", one.name, one.version);
    }
    super::print(format_args!("{text}"))
}

fn listed_of(name: String, version: String, bundle: Result<Bundle, BundleError>) -> Listed {
    match bundle {
        Ok(bundle) => {
            let manifest = bundle.manifest();
            Listed {
                name,
                version,
                target: Some(manifest.target.kind.label()),
                horizon_steps: Some(manifest.horizon_steps),
                window_steps: Some(manifest.window_steps),
                modes: Some(manifest.modes.clone()),
                refused: None,
            }
        }
        Err(error) => {
            let words = error.to_string();
            let lines: Vec<_> = words.lines().map(str::trim).collect();
            Listed {
                name,
                version,
                target: None,
                horizon_steps: None,
                window_steps: None,
                modes: None,
                refused: Some(lines.join(" ")),
            }
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
