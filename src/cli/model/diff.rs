//! `tickcast model diff`.

use std::path::{Path, PathBuf};

use super::{
    BundleArgs, Global, Limits, Place, candidates_of, elsewhere, newest_whole, print, runtime,
};
use crate::engine::model::Bundle;
use crate::ops::exit::{Exit, Failure};
use crate::seal::diff::difference;

#[derive(Debug, clap::Args)]
#[command(after_help = "Runs both on the golden windows of both, each with its own features and \
                        scaler.\n\n\
                        Example: tickcast model diff models/my-model/1 models/my-model/2")]
pub(super) struct DiffArgs {
    /// A bundle's folder, or a name, which means the newest version
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The other one
    #[arg(value_name = "B")]
    b: PathBuf,
    /// The folder of models, where names are given
    #[arg(long, value_name = "FOLDER", default_value = "models")]
    root: PathBuf,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: Limits,
}

pub(super) fn run(args: &DiffArgs, global: &Global) -> Result<(), Exit> {
    let what = format!("{} and {} cannot be compared", args.a.display(), args.b.display());
    if elsewhere(global, args.limits.of_proof(), &what)? == Place::Elsewhere {
        return Ok(());
    }
    let (a, b) = (read(&args.a, &args.root, global)?, read(&args.b, &args.root, global)?);
    let runtime = runtime(global, None)?;
    let difference = difference(&a, &b, &runtime).map_err(Exit::because(Failure::Configuration))?;
    if args.json {
        let answer = serde_json::to_value(&difference)
            .map_err(Exit::while_doing(Failure::Internal, "write the difference"))?;
        return print(format_args!("{answer:#}\n"));
    }
    print(format_args!("{difference}"))
}

fn read(bundle: &Path, root: &Path, global: &Global) -> Result<Bundle, Exit> {
    let folders = candidates_of(&BundleArgs { bundle: bundle.to_owned(), root: root.to_owned() })?;
    newest_whole(&folders, global).map(|(_, bundle)| bundle)
}
