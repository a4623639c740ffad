//! `tickcast model`: which models there are, what a sealed bundle says of itself, whether it is
//! whole, how two of them differ, and how a model of another framework becomes one.

mod diff;
mod inspect;
mod list;
mod promote;
mod seal;
mod verify;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::elsewhere::{Limits, Place, elsewhere, limits};
use super::{Global, child_prover, print, reference, runtime, token};
use crate::engine::model::{Bundle, MANIFEST_FILE, candidates};
use crate::ops::exit::{Exit, Failure};

/// Options of `tickcast model`.
#[derive(Debug, clap::Args)]
pub(super) struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ModelCommand {
    /// List the models of a folder and their versions
    List(list::ListArgs),
    /// Print what a bundle is, where it comes from and how it did
    Inspect(inspect::InspectArgs),
    /// Check hashes, rules and graph, and run the golden vectors
    Verify(verify::VerifyArgs),
    /// Show what differs between two bundles, and how far apart their outputs are
    Diff(diff::DiffArgs),
    /// Make a bundle of an ONNX model that another framework exported
    Seal(seal::SealArgs),
    /// Ask a running daemon to make a shadow live
    Promote(promote::PromoteArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct BundleArgs {
    /// The bundle's folder, <root>/<name>/<version>; or a folder or a name without a version,
    /// which means the newest
    #[arg(value_name = "FOLDER|NAME")]
    bundle: PathBuf,
    /// The folder of models, where a name is given
    #[arg(long, value_name = "FOLDER", default_value = "models")]
    root: PathBuf,
}

pub(super) fn run(args: ModelArgs, global: &Global) -> Result<(), Exit> {
    match args.command {
        ModelCommand::List(args) => list::run(&args),
        ModelCommand::Inspect(args) => inspect::run(&args, global),
        ModelCommand::Verify(args) => verify::run(&args, global),
        ModelCommand::Diff(args) => diff::run(&args, global),
        ModelCommand::Seal(args) => seal::run(&args, global),
        ModelCommand::Promote(args) => promote::run(&args),
    }
}

/// The folders of the versions that an argument means, the newest first; at least one.
fn candidates_of(BundleArgs { bundle, root }: &BundleArgs) -> Result<Vec<PathBuf>, Exit> {
    if bundle.join(MANIFEST_FILE).exists() {
        return Ok(vec![bundle.clone()]);
    }
    let name_in = |path: &Path| path.file_name().and_then(OsStr::to_str).map(str::to_owned);
    let folder_of_versions = match (bundle.is_dir(), bundle.parent(), name_in(bundle)) {
        (true, Some(parent), Some(name)) => {
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
fn newest_whole<'f>(folders: &'f [PathBuf], global: &Global) -> Result<(&'f Path, Bundle), Exit> {
    let mut last = None;
    for folder in folders {
        match Bundle::read(folder) {
            Ok(bundle) => return Ok((folder, bundle)),
            Err(error) => {
                if folders.len() > 1 {
                    global.tell(&format!("passed over: {error}"));
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
